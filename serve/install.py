"""Makes ``.venv`` from the locks; needs nothing but a Python, and installs nothing that is not in a lock.

Runs before anything is installed, so it keeps to the standard library, and to syntax that an older Python can read far enough to
be told that it is too old.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 14)
NEEDED_BYTES = {"cpu": 9_000_000_000, "gpu": 20_000_000_000}
LOCKS = Path("locks")
LIBRARIES = {"libnuma.so.1": "libnuma1"}  # vLLM's CPU kernels are linked to it, and no wheel brings it


class InstallError(Exception):
    """One sentence with the way out."""


def main(engine: str, folder: str = ".venv") -> None:
    """Make ``folder`` hold the gateway, the engine for ``cpu`` or ``gpu``, and the tools; quick when it does already."""
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        raise InstallError(
            f"this is Python {sys.version_info[0]}.{sys.version_info[1]}, Vitrine needs 3.11 to 3.14; "
            "name another: make setup PYTHON=python3.11"
        )
    if engine not in NEEDED_BYTES:
        raise InstallError(f"there is no lock for {engine!r}; ENGINE is cpu or gpu")
    venv = Path(folder)
    locks = [LOCKS / name for name in ("uv.txt", f"{engine}.txt", "dev.txt")]
    wanted = _fingerprint([*locks, Path("pyproject.toml")])
    stamp = venv / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    _system(engine)
    _room(venv, engine)
    stamp.unlink(missing_ok=True)
    python = venv / "bin" / "python"
    if not (venv / "bin" / "pip").exists():  # it comes last: without it an earlier run was stopped half way
        _say(f"making {venv}")
        _run([sys.executable, "-m", "venv", str(venv)], "look at the lines above")
    way_out = (
        "look at the lines above; a full disk, a closed network or a proxy are the usual reasons; then run it again"
    )
    _say("fetching the installer")
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    _run([*pip, "--require-hashes", "-r", str(locks[0])], way_out)
    uv = str(venv / "bin" / "uv")
    _say(f"installing gateway, engine ({engine}) and tools: some {NEEDED_BYTES[engine] / 1e9:.0f} GB on disk, minutes")
    environment = {**os.environ, "VIRTUAL_ENV": str(venv.absolute())}
    _run([uv, "pip", "sync", "--require-hashes", *map(str, locks)], way_out, environment)
    _run([uv, "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--editable", "."], way_out, environment)
    stamp.write_text(wanted)
    _say("done")


def _system(engine: str) -> None:
    """Refuse before anything is fetched if the machine lacks what no Python package brings."""
    lacks = [] if importlib.util.find_spec("ensurepip") else ["python3-venv"]
    lacks += lacking(LIBRARIES) if engine == "cpu" else []
    if lacks:
        raise InstallError(
            f"this machine lacks {' and '.join(lacks)}; as root, on Debian or Ubuntu: apt install {' '.join(lacks)}"
        )


def lacking(libraries: dict[str, str]) -> list[str]:
    """The packages of those shared libraries (by their name for the loader) that this machine can't load."""
    packages = []
    for library, package in libraries.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            packages.append(package)
    return packages


def _room(venv: Path, engine: str) -> None:
    have, need = shutil.disk_usage(venv.absolute().parent).free, NEEDED_BYTES[engine]
    if venv.exists():
        return  # a part of it is there already, and uv puts a file in place only when it is whole
    if have < need:
        raise InstallError(
            f"{venv.absolute().parent} has {have / 1e9:.1f} GB free, {need / 1e9:.0f} GB are needed; free some, or clone elsewhere"
        )


def _fingerprint(paths: list[Path]) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def _run(command: list[str], way_out: str, environment: dict[str, str] | None = None) -> None:
    if subprocess.run(command, env=environment, check=False).returncode != 0:
        raise InstallError(f"`{' '.join(command[:6])} ...` failed: {way_out}")


def _say(text: str) -> None:
    print(f"setup    | {text}", flush=True)


if __name__ == "__main__":
    try:
        if not 2 <= len(sys.argv) <= 3:
            raise InstallError("name the engine: install.py cpu, or install.py gpu")
        main(*sys.argv[1:])
    except InstallError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: stopped; run it again, it goes on where it was")
