"""Several workers that share one port: starts them, replaces who dies or hangs, ends them; serves nothing itself.

The listener is one, held here: what a dying worker had not yet accepted is accepted by another. Files that the workers
share (what they have at work, their counters) lie in a folder of their own below ``run/``, locked while the gateway lives.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import msgspec
import structlog
from prometheus_client.multiprocess import mark_process_dead

from gateway.engines.shared_load import SharedLoadReader
from gateway.settings import Settings
from gateway.telemetry import logs
from gateway.telemetry.collector import WorkerCounts
from gateway.worker import LAST_BYTES_S, LOAD, METRICS, WorkerStart

TICK_S = 0.1
START_S = 60.0
HANG_S = 15.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
LONG_LIFE_S = 30.0
LAST_MOMENT_S = 5.0
NEVER_SERVED = 3


@contextlib.contextmanager
def shared_folder(run: Path) -> Iterator[Path]:
    """A new folder for one gateway's workers, gone at the block's end; so are those that killed gateways left behind."""
    run.mkdir(parents=True, exist_ok=True, mode=0o700)
    for old in run.glob("gateway-*"):
        with contextlib.suppress(OSError), _locked(old):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(mkdtemp(prefix="gateway-", dir=run))
    with _locked(folder):
        (folder / METRICS).mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


class Worker:
    """One place among the workers and the process that holds it now."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.started_s = 0.0
        self.pause_s = FIRST_PAUSE_S
        self.start_at_s = 0.0
        self.served = False


class Workers:
    """All workers of a gateway. ``run`` is its life; ``end``, from a signal, its end."""

    def __init__(self, settings: Settings, listener: socket.socket, folder: Path, *, welcome: bool) -> None:
        self._settings, self._listener, self._folder, self._welcome = settings, listener, folder, welcome
        self._watch = SharedLoadReader(folder / LOAD, settings.workers)
        self._workers = [Worker(number) for number in range(settings.workers)]
        self._signals = self._restarts = 0
        self._log = structlog.get_logger()

    def count(self) -> WorkerCounts:
        """How many should serve, how many do, and how often one was replaced; for any thread."""
        serving = sum(self._watch.pulse_ms(worker.number) > 0 for worker in self._workers)
        return WorkerCounts(len(self._workers), serving, self._restarts)

    def end(self, *_: object) -> None:
        """Let running answers end, then end; told twice, end now."""
        self._signals += 1

    def run(self, say: Callable[[], None]) -> int:
        """Serve until `end`; the exit status. ``say`` is called once all workers serve."""
        said = False
        for worker in self._workers:
            self._start(worker)
        while not self._signals:
            time.sleep(TICK_S)  # between two looks; a signal cuts it short
            for worker in self._workers:
                self._look_at(worker)
                if worker.process is None and not worker.served and not self._signals:
                    self._log.error("a worker ended before it served; the gateway ends", worker=worker.number)
                    self._finish()
                    return NEVER_SERVED
            if not said and all(worker.served for worker in self._workers):
                said = True
                say()
        return self._finish()

    def _start(self, worker: Worker) -> None:
        start = WorkerStart(
            worker.number,
            len(self._workers),
            self._listener.fileno(),
            str(self._folder),
            self._welcome and worker.number == 0 and not worker.served,
            self._settings.model_dump_json(),
        )
        worker.process = subprocess.Popen(
            [sys.executable, "-m", "gateway.worker"],
            stdin=subprocess.PIPE,
            bufsize=0,
            pass_fds=[self._listener.fileno()],
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(self._folder / METRICS)},
        )
        assert worker.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended already, as the next look will see
            worker.process.stdin.write(msgspec.json.encode(start) + b"\n")
        # Kept open: its end tells the worker that we are gone.
        worker.started_s = time.monotonic()

    def _look_at(self, worker: Worker) -> None:
        now_s = time.monotonic()
        if worker.process is None:
            if worker.served and now_s >= worker.start_at_s:
                self._start(worker)
            return
        pulse_ms = self._watch.pulse_ms(worker.number)
        worker.served = worker.served or pulse_ms > 0
        if worker.process.poll() is not None:
            self._bury(worker, worker.process)
        elif now_s - max(pulse_ms / 1000, worker.started_s) > (HANG_S if pulse_ms else START_S):
            self._log.error("a worker does nothing any more and is killed", worker=worker.number)
            worker.process.kill()

    def _bury(self, worker: Worker, process: "subprocess.Popen[bytes]") -> None:
        self._forget(worker, process)
        self._restarts += 1
        now_s = time.monotonic()
        long_life = now_s - worker.started_s > LONG_LIFE_S
        worker.pause_s = FIRST_PAUSE_S if long_life else min(LONGEST_PAUSE_S, worker.pause_s * 2)
        worker.start_at_s = now_s + worker.pause_s
        self._log.error(
            "a worker ended and is replaced", worker=worker.number, status=process.returncode, after_s=worker.pause_s
        )

    def _forget(self, worker: Worker, process: "subprocess.Popen[bytes]") -> None:
        worker.process = None
        assert process.stdin is not None
        process.stdin.close()
        self._watch.clear(worker.number)
        # Its gauges go, its counters stay.
        mark_process_dead(process.pid, str(self._folder / METRICS))  # type: ignore[no-untyped-call]  # no types there

    def _finish(self) -> int:
        """End all workers; 0 if each ended as it should."""
        if self._signals:
            logs.say_stopping(self._settings.drain_timeout_s, self._watch.exchanges())
        # Only they accept from now on: whoever connected when the last had gone would wait here, and be reset at our end.
        self._listener.close()
        running = [(worker, worker.process) for worker in self._workers if worker.process is not None]
        told, until_s = 0, time.monotonic() + self._settings.drain_timeout_s + LAST_BYTES_S + LAST_MOMENT_S
        statuses = []
        while running:
            if told < max(1, self._signals):
                told += 1
                for _, process in running:
                    process.send_signal(signal.SIGTERM)
            for worker, process in list(running):
                if process.poll() is not None:
                    running.remove((worker, process))
                    statuses.append(process.returncode)
                    self._forget(worker, process)
            if time.monotonic() > until_s:
                for _, process in running:
                    process.kill()
            time.sleep(TICK_S if running else 0)  # between two looks
        # One that was told before it had its handlers dies of the signal: nothing was lost with it.
        return 0 if all(status in (0, -signal.SIGTERM) for status in statuses) else 1
