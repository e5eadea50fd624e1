"""The organisation's LDAP directory: who has this name and password, in which groups. Never waits longer than its deadline.

Each question goes to a process of its own (directory_process.py), which is killed at the deadline.
"""

import asyncio
import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.people.browser_origin import is_local
from gateway.people.person import MOST_NAME_CHARS, accepted_name

MOST_AT_ONCE = 4
_PROGRAM = Path(__file__).with_name("directory_process.py")
_PORTS = {"ldap": 389, "ldaps": 636}
HOW_TO_INSTALL = (
    "signing in with LDAP needs the package bonsai, which is built on this machine: "
    "apt install gcc python3-dev libldap-dev libsasl2-dev, then .venv/bin/uv pip install --require-hashes -r locks/ldap.txt"
)


class DirectoryAway(Exception):
    """The directory did not answer, or not as it should; the text is for the operator's log."""


class BadDirectory(ValueError):
    """Settings with which no directory can be asked; the text names them and the way out."""


@dataclass(frozen=True)
class DirectoryEntry:
    """Somebody whose password was right: their name as the directory spells it, and the names of their groups."""

    name: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class DirectoryPlan:
    """How the directory is asked: an address that ``check_url`` let pass, and what the settings say."""

    url: str
    start_tls: bool
    ca: str
    bind_dn: str
    bind_password: str
    base: str
    filter: str
    name_attribute: str
    group_attribute: str
    group_base: str
    group_filter: str
    timeout_s: float


def check_url(url: str, *, start_tls: bool) -> str:
    """``url`` in its one form, with a port. Raises BadDirectory, also where a password would go out readable."""
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        port = None
    if (
        port is None
        or not parts.hostname
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise BadDirectory(
            f"{url!r} is no directory's address; write ldaps://HOST or ldap://HOST, with :PORT if need be"
        )
    if parts.scheme == "ldap" and not start_tls and not is_local(parts.hostname) and parts.hostname != "localhost":
        raise BadDirectory(
            f"{url} would send passwords readable; use ldaps://, or ldap:// with VITRINE_LDAP_START_TLS=true"
        )
    if parts.scheme == "ldaps" and start_tls:
        raise BadDirectory(f"{url} has TLS from its first byte; leave VITRINE_LDAP_START_TLS out")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def require_library() -> None:
    """Raises BadDirectory where bonsai is not installed. It is looked for, not imported: only the asking process does."""
    if importlib.util.find_spec("bonsai") is None:
        raise BadDirectory(HOW_TO_INSTALL)


class Directory:
    """Asks by the plan; at most MOST_AT_ONCE questions run, the others wait."""

    def __init__(self, plan: DirectoryPlan) -> None:
        self._plan = plan
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

    async def groups_now(self, names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """The groups of each of these people who can still sign in, by the name that ``find`` gave. Raises DirectoryAway."""
        said = await self._ask({"names": list(names)})
        if said.get("is") != "people":
            raise DirectoryAway(f"{self._plan.url}: {said.get('text')}")
        return {name: tuple(map(str, groups)) for name, groups in said["found"].items()}

    async def _ask(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(self._plan.timeout_s), self._places:
                return await _ask(json.dumps({**asdict(self._plan), **asked}).encode())
        except TimeoutError:
            raise DirectoryAway(f"{self._plan.url} did not answer within {self._plan.timeout_s:g} s") from None

    async def find(self, user: str, password: str) -> DirectoryEntry | None:
        """Who this is; None for an unknown name and a wrong password alike. Raises DirectoryAway."""
        said = await self._ask({"user": user, "password": password})
        match said.get("is"):
            case "known":
                name = accepted_name(str(said["name"]))
                if name is None:
                    raise DirectoryAway(
                        f"{self._plan.url} names somebody {str(said['name'])[:MOST_NAME_CHARS]!r}, which can't be used as a name"
                    )
                return DirectoryEntry(name, tuple(map(str, said["groups"])))
            case "wrong":
                return None
        raise DirectoryAway(f"{self._plan.url}: {said.get('text')}")


async def _ask(question: bytes) -> Mapping[str, Any]:
    # LDAPNOINIT: no file or variable of this machine may switch the check of certificates off.
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(_PROGRAM),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"LDAPNOINIT": "1", "PATH": os.environ.get("PATH", "")},
    )
    try:
        out, _ = await process.communicate(question)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
    try:
        said = json.loads(out)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise DirectoryAway(f"the asking process ended with {process.returncode}")
    return said
