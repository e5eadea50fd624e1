"""Sealing in a process of its own, with the lowest priority: in a thread it held the writer up for half a second each time.

It ends with the ledger, whatever ends that; the next start finishes what it had begun.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

from gateway.ledger.errors import LedgerError, Tampered
from gateway.ledger.storage.keyring import Keyring
from gateway.ledger.storage.layout import LogLayout
from gateway.ledger.storage.seal import seal_segment

DEADLINE_S = 3600
_PR_SET_PDEATHSIG = 1
_TOP = Path(__file__).parents[3]


class NotSealed(Exception):
    """It could not be done now; the text says why."""


def seal_apart(folder: Path, keys: Path, number: int, first: int, *, compressed: bool) -> None:
    """Seal a closed segment and wait for it. Raises Tampered if the segment is not what was written, else NotSealed."""
    # The child works in another folder than we may do.
    words = [
        str(folder.absolute()),
        str(keys.absolute()),
        str(number),
        str(first),
        str(int(compressed)),
        str(os.getpid()),
    ]
    try:
        ended = subprocess.run(
            [sys.executable, "-m", __name__, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
            cwd=_TOP,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotSealed(str(error)) from None
    if ended.returncode == Tampered.exit_code:
        raise Tampered(ended.stderr.strip())
    if ended.returncode != 0:
        raise NotSealed(ended.stderr.strip()[-500:] or f"ended with {ended.returncode}")


def main(folder: str, keys: str, number: str, first: str, compressed: str, parent: str) -> int:
    """One segment; the exit status is the error's."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        return 1  # it ended before we could ask to end with it
    os.nice(19)
    try:
        seal_segment(
            LogLayout(Path(folder)), int(number), int(first), Keyring(Path(keys)).signer(), compressed=compressed == "1"
        )
    except LedgerError as error:
        print(error, file=sys.stderr)  # for the process that started this one, which logs it
        return error.exit_code
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
