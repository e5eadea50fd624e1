# mypy: ignore-errors
"""Runs a client that is a command, to its end; says what it printed. It knows no client."""

import os
import subprocess
from collections.abc import Sequence

from tasks import FOLDER


class CommandError(Exception):
    """A command ended with another status than 0, or did not end."""


def run(words: Sequence[str], within_s: float = 150, **environment: str) -> str:
    """What a command printed; its errors are in the exception if it failed."""
    done = subprocess.run(
        list(map(str, words)),
        env={**os.environ, **environment},
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
