"""Real processes of ours for tests: started with a clean environment, watched, and ended by pid."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import forks
from tests.support.deadline import until

TOP = Path(__file__).parents[2]
PYTHON = (sys.executable, "-m")


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment without any of our settings, with ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VITRINE_")}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(TOP), **extra}


def default_signals() -> None:
    """Let the processes that we start have the default signals, also where a shell in the background let us ignore some:
    who is ignored here would be ignored there. A handler that does nothing is not inherited."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def run(
    *words: str, env: Mapping[str, str], cwd: Path = TOP, within_s: float = 60, anew: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m WORDS`` to its end; ``anew`` in an interpreter of its own, which takes a second."""
    if forks.possible(words, env) and not anew:
        return forks.run(words, env=clean_environment(env), cwd=cwd, timeout=within_s)
    return subprocess.run(
        [sys.executable, "-m", *words],
        env=clean_environment(env),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )


class Process:
    """``python -m WORDS``, or another program, in the background and in a session of its own. ``lines`` is all that it has
    printed so far, errors included."""

    def __init__(
        self, *words: str, env: Mapping[str, str], cwd: Path = TOP, program: Sequence[str] = PYTHON, anew: bool = False
    ) -> None:
        self._popen: subprocess.Popen[str] | forks.Fork
        if program == PYTHON and forks.possible(words, env) and not anew:
            self._popen = forks.start(
                words, env=clean_environment(env), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        else:
            self._popen = subprocess.Popen(
                [*program, *words],
                env=clean_environment(env),
                cwd=cwd,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def line_with(self, text: str, *, within_s: float = 30) -> str:
        """The first line that contains ``text``, once it is printed."""

        def found() -> str | None:
            line = next((line for line in self.lines if text in line), None)
            assert line or self._popen.poll() is None, f"ended with {self._popen.returncode}:\n{self.output}"
            return line

        line = until(found, within_s=within_s, what=f"a line with {text!r}")
        assert line is not None
        return line

    def end(self, number: signal.Signals = signal.SIGTERM, *, within_s: float = 30) -> int:
        """Send a signal if it still runs, and wait; its exit status."""
        if self._popen.poll() is None:
            self._popen.send_signal(number)
        return self.wait(within_s=within_s)

    def send(self, number: signal.Signals) -> None:
        """Send a signal and go on."""
        self._popen.send_signal(number)

    def interrupt(self, *, within_s: float = 60) -> int:
        """Ctrl-C: SIGINT to the whole group, as a terminal does; its exit status."""
        os.killpg(self._popen.pid, signal.SIGINT)
        return self.wait(within_s=within_s)

    def wait(self, *, within_s: float = 30) -> int:
        try:
            return self._popen.wait(within_s)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait(10)
            raise
        finally:
            self._reader.join(10)

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as stream:
            for line in stream:
                self.lines.append(line.rstrip("\n"))
