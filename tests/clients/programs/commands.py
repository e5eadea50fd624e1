# mypy: ignore-errors
"""Runs a client that is a command, to its end; says what it printed. It knows no client."""

import os
import subprocess
from collections.abc import Sequence

from tasks import FOLDER

# Some programs send all through a proxy, also what goes to this machine.
DIRECT = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "")


class CommandError(Exception):
    """A command ended with another status than 0, or did not end."""


def run(words: Sequence[str], within_s: float = 150, **environment: str) -> str:
    """What a command printed; its errors are in the exception if it failed."""
    done = subprocess.run(
        list(map(str, words)),
        env={name: value for name, value in {**os.environ, "PWD": str(FOLDER), **environment}.items() if value},
        cwd=FOLDER,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    if done.returncode != 0:
        raise CommandError(f"{words[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
    return done.stdout
