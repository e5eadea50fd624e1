"""Makes the environment of a client below .clients/ from its lock, and starts its driver there; judges nothing.

Each has a folder of its own, so that no client changes what Vitrine itself runs with.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.process import TOP, clean_environment

LOCKS = TOP / "locks" / "clients"
FOLDER = TOP / ".clients"
PROGRAMS = Path(__file__).parent / "programs"
# Nothing that a client starts talks to anybody but the stack: a proxy that is not there ends what would leave this machine.
NOWHERE = "http://127.0.0.1:9"
LOCAL = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


class UnavailableError(Exception):
    """Why a client can't be had on this machine."""


def lock_of(environment: str) -> Path:
    """The file that pins what an environment holds; ``engine`` is .venv itself, which is not made here."""
    if environment == "engine":
        return TOP / "locks" / "cpu.txt"
    node = LOCKS / environment / "package-lock.json"
    return node if node.exists() else LOCKS / f"{environment}.txt"


def folder_of(environment: str) -> Path:
    """Where an environment is; its programs are below venv/bin or node_modules/.bin."""
    return TOP if environment == "engine" else FOLDER / environment


def _venv(environment: str) -> Path:
    return folder_of(environment) / (".venv" if environment == "engine" else "venv")


def pinned(environment: str, package: str) -> bool:
    """Whether the lock has a package."""
    lock = lock_of(environment)
    text = lock.read_text(encoding="utf-8")
    if lock.suffix == ".json":
        return f"node_modules/{package}" in json.loads(text)["packages"]
    return re.search(rf"^{re.escape(package)}==", text, re.MULTILINE) is not None


def version(environment: str, package: str) -> str:
    """The version of a package that is installed; a lock may have several, for other versions of Python."""
    folder = folder_of(environment)
    if lock_of(environment).suffix == ".json":
        text = (folder / "node_modules" / package / "package.json").read_text(encoding="utf-8")
        return str(json.loads(text)["version"])
    (place,) = _venv(environment).glob(f"lib/python*/site-packages/{package.replace('-', '_')}-*.dist-info")
    return place.name.removesuffix(".dist-info").rpartition("-")[2]


def made(environment: str) -> Path:
    """The folder of an environment, installed from its lock; nothing is done where that was done before."""
    lock = lock_of(environment)
    folder = folder_of(environment)
    if environment == "engine":
        return folder
    stamp, wanted = folder / "installed", hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if lock.suffix == ".json":
        _with_npm(lock.parent, folder)
    else:
        _with_uv(lock, folder)
    stamp.write_text(wanted)
    return folder


def _with_npm(locks: Path, folder: Path) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise UnavailableError("node or npm is missing (Debian: nodejs, npm)")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(locks / name, folder)
    # Not `npm ci`: a lock has the optional packages of the platform alone that made it, and `ci` wants those of all.
    _install(["npm", "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error"], folder)


def _with_uv(lock: Path, folder: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    _install([str(uv), "venv", "-q", "--python", sys.executable, str(folder / "venv")], TOP)
    # Not `install`, which looks again for what packages ask for: the lock leaves out what a client can do without.
    words = ["pip", "sync", "-q", "--require-hashes", "--python", str(folder / "venv" / "bin" / "python")]
    _install([str(uv), *words, str(lock)], TOP)


def _install(words: list[str], cwd: Path) -> None:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=1500, check=False)
    if done.returncode != 0:
        raise UnavailableError(f"{' '.join(words[:3])} failed (no internet?): {done.stderr.strip()[-300:]}")


def driver(program: str, environment: str) -> list[str]:
    """The command that runs a driver of programs/ in its environment."""
    if program.endswith(".java"):
        if shutil.which("javac") is None:
            raise UnavailableError("java or javac is missing (Debian: default-jdk-headless)")
        # Its default is the locale's encoding, and the driver has Chinese in it.
        return ["java", "-Dfile.encoding=UTF-8", "-XX:TieredStopAtLevel=1", str(PROGRAMS / program)]
    folder = made(environment)
    if program.endswith(".mjs"):  # Node looks for packages beside the file
        for path in PROGRAMS.glob("*.mjs"):
            shutil.copy(path, folder)
        return ["node", str(folder / program)]
    python = _venv(environment) / "bin" / "python"
    return [str(python if python.exists() else sys.executable), str(PROGRAMS / program)]


def surroundings(environment: str, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of a driver: it finds the commands of its own environment first."""
    commands = folder_of(environment) / "node_modules" / ".bin"
    path = f"{_venv(environment) / 'bin'}:{commands}:{os.environ['PATH']}"
    kept = clean_environment({**LOCAL, "PATH": path, **extra})
    del kept["PYTHONPATH"]  # our own packages are none of theirs
    return kept
