"""The watched file that names engines of other hosts and those that are draining; who writes it holds its lock.

``{"gpu-1": {"url": "https://gpu-1:8000", "draining": false}, "engine-0": {"url": null, "draining": true}}``. An entry without
a URL speaks of an engine that somebody else names: its supervisor, if it is of this host, or the settings.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from gateway.engines.endpoint import BadEndpoint, parse

FILE = "engines.json"
_NAME = re.compile("[a-z0-9][a-z0-9._-]{0,62}")
_LOCAL = re.compile("engine-[0-9]+")


class BadRoster(Exception):
    """The file, or what should go into it, can't be used; the text says why and what to do (exit 1)."""


class RosterEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``url`` None: an engine of this host, or of the settings."""

    url: str | None = None
    draining: bool = False


_decoder = msgspec.json.Decoder(dict[str, RosterEntry])


def read(path: Path) -> dict[str, RosterEntry]:
    """The entries by name; none if there is no file. Raises BadRoster."""
    try:
        entries = _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise BadRoster(f"{path} can't be used ({error}); mend it, or remove it and add the engines again") from None
    for name, entry in entries.items():
        check(name, entry, str(path))
    return entries


def check(name: str, entry: RosterEntry, where: str) -> None:
    """Raises BadRoster for a name or an address that can't be an engine's."""
    if not _NAME.fullmatch(name):
        raise BadRoster(f"{where}: {name!r} is no engine's name; use up to 63 of a-z, 0-9, '.', '_' and '-'")
    if entry.url is None:
        return
    if _LOCAL.fullmatch(name):
        raise BadRoster(f"{where}: {name} is a name for engines of this host; choose another for {entry.url}")
    try:
        parse(entry.url)
    except BadEndpoint as error:
        raise BadRoster(f"{where}: {name}: {error}") from None


def check_new(name: str, url: str, where: str) -> None:
    """Raises BadRoster for what can't be an engine's, or an address with characters that have no look."""
    check(name, RosterEntry(url), where)
    if not url.isprintable():
        raise BadRoster(f"{where}: {name}: {url!r} has characters that have no look; leave them out")


def listed(text: str) -> dict[str, RosterEntry]:
    """The entries of a setting: ``NAME=URL`` pairs between spaces or commas. Raises BadRoster."""
    entries = {}
    for pair in text.replace(",", " ").split():
        name, separator, url = pair.partition("=")
        if not separator:
            raise BadRoster(f"{pair!r} is no pair; write NAME=URL, as in gpu-1=https://gpu-1:8000")
        if name in entries:
            raise BadRoster(f"engines: {name} is there twice; give each engine a name of its own")
        entries[name] = RosterEntry(url)
        check_new(name, url, "engines")
    return entries


def remote(named: Mapping[str, RosterEntry], entries: Mapping[str, RosterEntry]) -> dict[str, str]:
    """The addresses of engines of other hosts: those of the file, and those ``named`` by the settings, which are right."""
    both = [*entries.items(), *named.items()]
    return {name: entry.url for name, entry in both if entry.url is not None}


@contextlib.contextmanager
def changing(path: Path) -> Iterator[dict[str, RosterEntry]]:
    """The entries, to be changed; written back atomically at the block's end. Raises BadRoster."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadRoster(f"{path} can't be changed ({error.strerror}); check VITRINE_HOME") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        entries = read(path)
        yield entries
        for name, entry in entries.items():
            check(name, entry, str(path))
        _write(path, entries)
    finally:
        os.close(descriptor)


def _write(path: Path, entries: Mapping[str, RosterEntry]) -> None:
    temporary = path.with_suffix(".tmp")
    body = msgspec.json.format(msgspec.json.encode(entries, order="sorted"), indent=1) + b"\n"
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
