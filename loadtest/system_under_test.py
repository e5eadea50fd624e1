"""Starts the gateway as it is run in earnest, ledger and durable log included, for a measurement; measures nothing."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtest.cores import children_on

READY_S = 60.0
_TOP = Path(__file__).parents[1]


class NotStarted(Exception):
    """Something that is to be measured did not start (exit 1)."""


@dataclass(frozen=True)
class Gateway:
    """A running one: its port on this machine, a key for it, and its processes by name."""

    port: int
    key: str
    pids: dict[str, int]


@contextlib.contextmanager
def running(home: Path, core: int | None, more: dict[str, str]) -> Iterator[Gateway]:
    """Ledger and gateway on one ``core``, or on any, for the state folder ``home``, in which an engine's state file may appear
    later; ``more`` settings."""
    # A late record is a fault of a busy disk, not of speed: it must not end a measurement.
    settings = {
        "VITRINE_HOME": str(home),
        "VITRINE_PORT": "0",
        "VITRINE_METRICS_PORT": "0",
        "VITRINE_ADMIT_TIMEOUT_S": "10",
        "VITRINE_MAX_CONNECTIONS_PER_ADDRESS": "4096",
        **more,
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VITRINE_")}
    environment = {**kept, "PYTHONUNBUFFERED": "1", "PYTHONPATH": _path(), **settings}
    log = home / "processes.log"
    log.unlink(missing_ok=True)  # an earlier one's port would be read
    with contextlib.ExitStack() as stack:
        with children_on(core) if core is not None else contextlib.nullcontext():
            ledger = stack.enter_context(
                child([sys.executable, "-m", "gateway.ledger", "serve"], environment, home, log)
            )
            _wait_for_socket(home / "run" / "ledger.sock", ledger, log)
            made = subprocess.run(
                [sys.executable, "-m", "gateway.keys", "create", "--name", "bench", "--quiet"],
                env=environment,
                cwd=home,
                capture_output=True,
                text=True,
                timeout=READY_S,
                check=False,
            )
            if made.returncode:
                raise NotStarted(f"no key could be made: {made.stderr.strip()}")
            gateway = stack.enter_context(child([sys.executable, "-m", "gateway"], environment, home, log))
        port = int(_wait_for_line(r"http://127\.0\.0\.1:(\d+)", gateway, log))
        yield Gateway(port, made.stdout.strip(), {"gateway": gateway.pid, "ledger": ledger.pid})


def _path() -> str:
    """This repository first, then where the machine's packages may lie."""
    return os.pathsep.join(filter(None, (str(_TOP), os.environ.get("PYTHONPATH"))))


@contextlib.contextmanager
def child(
    words: list[str], environment: dict[str, str], folder: Path, log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process whose output goes to ``log``; ended on leaving, with all that it started."""
    with log.open("ab") as file:
        process = subprocess.Popen(words, env=environment, cwd=folder, stdout=file, stderr=file, start_new_session=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def wait_for_port(port: int, process: "subprocess.Popen[bytes]", log: Path, within_s: float = READY_S) -> None:
    """Until somebody listens on a TCP port of this machine."""

    def open_() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait(open_, process, log, within_s)


def _wait_for_socket(path: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
    def answers() -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            return probe.connect_ex(str(path)) == 0

    wait(answers, process, log, READY_S)


def _wait_for_line(pattern: str, process: "subprocess.Popen[bytes]", log: Path) -> str:
    wait(lambda: re.search(pattern, log.read_text()) is not None, process, log, READY_S)
    found = re.search(pattern, log.read_text())
    assert found is not None
    return found[1]


def wait(ready: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path, within_s: float) -> None:
    """Until ``ready``. Raises NotStarted with the end of the log if the process ends before, or time does."""
    end_s = time.monotonic() + within_s
    while not ready():
        said = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        if process.poll() is not None:
            raise NotStarted(f"{process.args!s} ended with {process.returncode}:\n{said}")
        if time.monotonic() > end_s:
            raise NotStarted(f"{process.args!s} was not ready within {within_s:.0f} s:\n{said}")
        time.sleep(0.02)  # between two looks
