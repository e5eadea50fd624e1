"""Runs the processes of one host together and stops them in order; knows nothing of what they do.

They start together. They stop in reverse order, each after the one before it has ended: the gateway lets its answers end while
engine and ledger still serve, and the ledger goes last, with every record. docs/decisions/0068 says why this is our own.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

TICK_S = 0.1
TELL_EVERY_S = 10.0
AT_ONCE_S = 5.0  # after a second signal; then SIGKILL
NEVER_SERVED = 3
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Part:
    """One process: what it is called and what starts it."""

    name: str
    command: tuple[str, ...]


class Stack:
    """All parts, in the order of their start. ``run`` is its life. One thread owns it, the main one."""

    def __init__(self, parts: Sequence[Part], say: Callable[[str], None], at_once_s: float = AT_ONCE_S) -> None:
        self._parts, self._say, self._at_once_s = parts, say, at_once_s
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._signals: list[int] = []
        self._killed = False

    def run(self) -> int:
        """Live until a signal, or until one part ends; then stop the others in order. The exit status.

        It is the first ended part's, or 0 after one signal, or 128 and the signal after a second one.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked)
        # A process whose parent died is handed to us, not to init: so we can end it.
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        try:
            status = self._live()
            statuses = self._stop()
        finally:
            self._end_orphans()
        if len(self._signals) > 1 or self._killed:
            return 128 + (self._signals or [signal.SIGKILL])[-1]
        if status is None:
            # One that was stopped while it loaded has never served, as asked.
            status = next((one for one in statuses if one not in (0, NEVER_SERVED, -signal.SIGTERM)), 0)
        return status if status >= 0 else 128 - status

    def _asked(self, number: int, _: object) -> None:
        self._signals.append(number)

    def _live(self) -> int | None:
        """Start all; the status of the part that ended first, or None if a signal came before."""
        for part in self._parts:
            if not self._signals:
                self._start(part)
        while not self._signals:
            for name, process in self._running.items():
                if process.poll() is not None:
                    self._say(f"{name} ended with status {process.returncode}; the others are stopped")
                    return process.returncode
            _reap(self._pids())
            time.sleep(TICK_S)  # between two looks; a signal cuts it short
        return None

    def _start(self, part: Part) -> None:
        # A session of its own: Ctrl-C in the terminal reaches us alone, and we pass it on in order.
        self._running[part.name] = subprocess.Popen(
            part.command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_begin
        )

    def _stop(self) -> list[int]:
        """Stop what runs, the last part first; the status of each."""
        if self._signals:
            order = ", then ".join(reversed(self._running))
            self._say(f"stopping {order}; a second Ctrl-C ends at once")
        statuses = []
        for name, process in reversed(self._running.items()):
            if process.poll() is None:
                self._stop_one(name, process)
            statuses.append(process.returncode)
        return statuses

    def _stop_one(self, name: str, process: "subprocess.Popen[bytes]") -> None:
        started_s = told_s = time.monotonic()
        until_s: float | None = None
        process.terminate()
        while process.poll() is None:
            now_s = time.monotonic()
            if until_s is None and len(self._signals) > 1:
                # All of them now: whoever got one signal takes the second as "at once", and the engine's need two.
                self._hurry(process)
                until_s = now_s + self._at_once_s
            elif until_s is not None and now_s > until_s:
                self._say(f"{name} has not ended {self._at_once_s:.0f} s after the second signal and is killed")
                self._killed = True
                process.kill()
                process.wait(self._at_once_s)
                return
            if now_s - told_s >= TELL_EVERY_S:
                told_s = now_s
                self._say(f"waiting for {name} to end, {now_s - started_s:.0f} s so far; a second Ctrl-C ends at once")
            time.sleep(TICK_S)  # between two looks

    def _hurry(self, first: "subprocess.Popen[bytes]") -> None:
        """The second signal to ``first``, both signals to every other part but the one that started first: it still has to
        record how the others ended."""
        first.terminate()
        for process in list(self._running.values())[1:]:
            if process is not first and process.poll() is None:
                process.terminate()
                time.sleep(TICK_S)  # two signals at once would be one
                process.terminate()

    def _pids(self) -> set[int]:
        return {process.pid for process in self._running.values()}

    def _end_orphans(self) -> None:
        """SIGKILL to every process that is left below us: parts too, where a fault of ours left them."""
        until_s = time.monotonic() + self._at_once_s
        while left := psutil.Process().children(recursive=True):
            for process in left:
                if process.pid not in self._pids():
                    self._say(f"killing {process.pid}, which outlived its parent")
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            _, alive = psutil.wait_procs(left, timeout=1)
            if alive and time.monotonic() > until_s:
                self._say(f"{len(alive)} processes cannot be killed: {', '.join(str(one.pid) for one in alive)}")
                return


def write_line(line: str) -> None:
    """Print a line in one write, so that no line of a part comes between; print makes two of it where output is not buffered."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _reap(ours: set[int]) -> None:
    """Take leave of adopted processes that have ended."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return
    if found is not None and found.si_pid not in ours:
        os.waitpid(found.si_pid, 0)


def _begin() -> None:
    """In a new process, before its program: it ends with us, even if we are killed."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
