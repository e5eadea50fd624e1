"""What a boot record says about the machine's state: versions, digests of code and settings. Reads, never writes."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib import metadata
from pathlib import Path

from gateway.ledger.format.record import Value, cap

_PACKAGES = ("vitrine", "cryptography", "msgspec", "orjson")


def versions() -> dict[str, Value]:
    found: dict[str, Value] = {"kernel": platform.release(), "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def code_digest(folder: Path) -> str:
    """SHA-256 over names and bytes of all Python files under a folder, in sorted order; 64 hexadecimal characters."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{content}  {path.relative_to(folder).as_posix()}\n".encode())
    return total.hexdigest()


def engines(run: Path) -> list[Value]:
    """What the supervisors of the engines wrote about them: profile, manifest root and flags digest, as they say."""
    found: list[Value] = []
    for path in sorted(run.glob("engine-*/state.json"))[:32]:
        try:
            state = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(state, dict):
            facts: dict[str, Value] = {
                cap(str(name), 64): cap(str(value)) for name, value in state.items() if isinstance(value, str | int)
            }
            found.append({"engine": path.parent.name, "state": facts})
    return found
