"""Starts ledger, engine and gateway together, as the Procfile says, by becoming honcho; starts nothing that is missing."""

import importlib.util
import os
import sys
from pathlib import Path

from vitrine.dispatch import NotInstalled

PROCFILE = Path(__file__).with_name("Procfile")
_WAY_OUT = "run `make setup` in a clone, or install the wheel with its extra 'gpu'"


def command(procfile: Path) -> list[str]:
    """What starts the processes. Raises NotInstalled if the Procfile, honcho or vLLM is not there."""
    if not procfile.is_file():
        raise NotInstalled(
            f"{procfile} is missing, so it is not known what to start; run `make setup` in a clone again"
        )
    if importlib.util.find_spec("honcho") is None:
        raise NotInstalled(f"honcho, which starts the processes, is not installed here; {_WAY_OUT}")
    if importlib.util.find_spec("vllm") is None:
        raise NotInstalled(
            f"the engine, vLLM, is not installed here; {_WAY_OUT};"
            " a host of the gateway alone runs `vitrine ledger serve` and `vitrine gateway`"
        )
    honcho = [sys.executable, "-m", "honcho", "start"]
    return [*honcho, "--no-prefix", "--app-root", ".", "--procfile", str(procfile)]


def up() -> None:
    """Become honcho: signals and the exit status are its own from now on. Raises NotInstalled."""
    words = command(PROCFILE)
    # The processes get the Python that runs this, wherever it is installed.
    os.execve(words[0], words, {**os.environ, "PYTHON": sys.executable})  # noqa: S606 - a list, no shell
