"""The digest that stands for every file of a model folder; reads files, never interprets them.

Root = SHA-256 over one line a file, ``sha256 size name`` with LF, sorted by the bytes of the name. Files whose size and
modification time have not changed since the last time are not read again.
"""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from serve.errors import ServeError

_CHUNK_BYTES = 1 << 20


class Stopped(Exception):
    """Asked to stop before every file was read."""


def root(folder: Path, cache: Path, stopped: Callable[[], bool] = lambda: False) -> str:
    """The manifest root (hex) of all files below ``folder``; remembers file digests in the JSON file ``cache``.

    Raises OSError for a file that cannot be read, ServeError for a name that cannot stand in a line, Stopped soon after
    ``stopped`` says so (a large model takes a minute).
    """
    known = _load(cache)
    digests: dict[str, object] = {}
    lines = []
    files = {os.fsencode(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    for name, path in sorted(files.items()):
        if b"\n" in name:  # one file could pass for two
            raise ServeError(f"{folder} has a file with a line break in its name ({name!r}); rename or remove it")
        status = path.stat()
        key = str(path.resolve())
        entry = known.get(key)
        if not isinstance(entry, list) or len(entry) != 3 or entry[:2] != [status.st_size, status.st_mtime_ns]:
            entry = [status.st_size, status.st_mtime_ns, _sha256(path, stopped)]
        digests[key] = entry
        lines.append(f"{entry[2]} {status.st_size} ".encode() + name + b"\n")
    temporary = cache.with_suffix(".tmp")
    temporary.write_text(json.dumps({**known, **digests}))
    os.replace(temporary, cache)
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _load(cache: Path) -> dict[str, object]:
    try:
        value = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _sha256(path: Path, stopped: Callable[[], bool]) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            if stopped():
                raise Stopped
            digest.update(chunk)
    return digest.hexdigest()
