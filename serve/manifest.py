"""The digest that stands for every file of a model folder; reads files, never interprets them.

Root = SHA-256 over one line a file, ``sha256 size name`` with LF, sorted by name. Files whose size and modification
time have not changed since the last time are not read again.
"""

import hashlib
import json
import os
from pathlib import Path


def root(folder: Path, cache: Path) -> str:
    """The manifest root (hex) of all files below ``folder``; remembers file digests in the JSON file ``cache``."""
    known = _load(cache)
    digests: dict[str, list[object]] = {}
    lines = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        status = path.stat()
        name = str(path.relative_to(folder))
        key = str(path.resolve())
        entry = known.get(key)
        if not entry or entry[:2] != [status.st_size, status.st_mtime_ns]:
            entry = [status.st_size, status.st_mtime_ns, _sha256(path)]
        digests[key] = entry
        lines.append(f"{entry[2]} {status.st_size} {name}\n")
    temporary = cache.with_suffix(".tmp")
    temporary.write_text(json.dumps({**known, **digests}))
    os.replace(temporary, cache)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _load(cache: Path) -> dict[str, list[object]]:
    try:
        value = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
