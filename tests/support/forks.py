"""Starts our Python programs as forks of a process that has imported them already: a real process without seconds of imports.

``start`` asks a server (this module as a program, one for each process of tests) for a fork. The fork gets the given
environment, folder, standard streams and default signals, and then runs the module as ``python -m`` does.
"""

import array
import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

TOP = Path(__file__).parents[2]
ROOMS = ("gateway", "serve")  # whose programs are imported ahead
_READ_AT_THE_START = ("PYTHON", "LANG", "LC_", "LD_", "MALLOC_", "OMP_", "OPENSSL_", "SSL_")
_MOST_BYTES = 1 << 20
_lock = threading.Lock()


class Fork:
    """What `subprocess.Popen` is to its callers, as far as tests use it."""

    def __init__(self, pid: int, args: Sequence[str], ended: int, stdout: IO[str] | None) -> None:
        self.pid, self.args, self.stdout = pid, list(args), stdout
        self.returncode: int | None = None
        self._ended = ended
        self._waiting = threading.Lock()

    def poll(self) -> int | None:
        """The exit status, or None while it runs; negative for a signal."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        status = self._look(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, within_s: float | None) -> int | None:
        give_up = None if within_s is None else time.monotonic() + within_s
        # Another thread may wait without end: who has no time looks again instead of queueing behind it.
        while self.returncode is None:
            if self._waiting.acquire(timeout=0.005):
                try:
                    if (
                        self.returncode is None
                        and select.select([self._ended], [], [], 0 if within_s == 0 else 0.05)[0]
                    ):
                        text = os.read(self._ended, 32)
                        os.close(self._ended)
                        self.returncode = int(text)
                finally:
                    self._waiting.release()
            if give_up is not None and time.monotonic() >= give_up:
                break
        return self.returncode


def start(
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    stdout: int | IO[Any],
    stderr: int | IO[Any],
) -> Fork:
    """``python -m WORDS`` in a session of its own; ``stdout`` and ``stderr`` as `subprocess.Popen` takes them."""
    sys.audit("tests.fork", words[0])
    read = None
    ours: list[int] = []
    if stdout == subprocess.PIPE:
        read, write = os.pipe()
        ours.append(write)
    else:
        write = _descriptor(stdout)
    error = write if stderr == subprocess.STDOUT else _descriptor(stderr)
    ended, tell = os.pipe()
    ours.append(tell)
    with open(os.devnull, "rb") as nothing:
        asked = json.dumps({"words": list(words), "env": dict(env), "cwd": str(cwd)}).encode()
        with _lock:
            server = _server()
            descriptors = array.array("i", [nothing.fileno(), write, error, tell])
            server.sendmsg([asked], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
            answer = server.recv(64)
    for descriptor in ours:
        os.close(descriptor)
    assert answer, "the server of forks is gone"
    stream = None if read is None else os.fdopen(read, encoding="utf-8", errors="replace")
    return Fork(int(answer), [sys.executable, "-m", *words], ended, stream)


def run(
    words: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float
) -> "subprocess.CompletedProcess[str]":
    """`start`, and wait until it ends; what it said."""
    with _memory() as out, _memory() as err:
        process = start(words, env=env, cwd=cwd, stdout=out, stderr=err)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(process.args, process.wait(), out.read().decode(), err.read().decode())


def possible(words: Sequence[str], extra: Mapping[str, str]) -> bool:
    """Whether a fork is the same as a start anew: the program is one of ours that is imported ahead, and ``extra`` says
    nothing that Python or a library reads as it starts."""
    ours = words[0].partition(".")[0] in ROOMS
    return ours and not any(name != "PYTHONPATH" and name.startswith(_READ_AT_THE_START) for name in extra)


def _memory() -> IO[bytes]:
    return open(os.memfd_create("output"), "w+b", buffering=0)


def _descriptor(target: int | IO[Any]) -> int:
    return target if isinstance(target, int) else target.fileno()


_servers: dict[int, socket.socket] = {}


def _server() -> socket.socket:
    """The connection to this process's server, started with the first fork."""
    known = _servers.get(os.getpid())
    if known is not None:
        return known
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VITRINE_")}
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forks", str(theirs.fileno())],
            cwd=TOP,
            pass_fds=[theirs.fileno()],
            env={**kept, "PYTHONPATH": str(TOP)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def end() -> None:
        ours.close()
        server.wait(10)

    atexit.register(end)
    _servers[os.getpid()] = ours
    return ours


# The server's side.


def serve(connection: socket.socket) -> Callable[[], None] | None:
    """Fork for each request until the other end is gone. In a fork: what it is to run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told, tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(tell)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    while True:
        readable = select.select([connection.fileno(), told], [], [])[0]
        if told in readable:
            os.read(told, 4096)
            _reap(running)
        if connection.fileno() not in readable:
            continue
        content, descriptors, *_ = socket.recv_fds(connection, _MOST_BYTES, 4)
        if not content:
            return None
        assert threading.active_count() == 1, "a fork of several threads may hang"
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            connection.detach()
            return _child(json.loads(content), descriptors[:3])
        running[pid] = descriptors.pop()
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(str(pid).encode())


def _reap(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        descriptor = running.pop(pid)
        with contextlib.suppress(BrokenPipeError):
            os.write(descriptor, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(descriptor)


def _child(asked: dict[str, Any], descriptors: list[int]) -> Callable[[], None]:
    """Become what a start anew would be, and return what remains to be done."""
    os.setsid()
    for changed in (signal.SIGCHLD, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(changed, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    os.chdir(asked["cwd"])
    # As `python -m` has it: the folder, then the environment's, then what is installed.
    given = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.path = [asked["cwd"], *given, *(place for place in sys.path if place != str(TOP))]
    sys.stdin = sys.__stdin__ = os.fdopen(0, encoding="utf-8", closefd=False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "backslashreplace")  # type: ignore[misc]
    module, *words = asked["words"]
    sys.argv = [module, *words]
    return lambda: _run(module)


def _run(module: str) -> None:
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _stream(descriptor: int, errors: str) -> io.TextIOWrapper:
    """As with PYTHONUNBUFFERED: what is printed is there at once."""
    raw: Any = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors=errors, write_through=True)


def import_ahead() -> None:
    """What the rooms' programs import, without the programs themselves: those run as ``__main__``."""
    for room in ROOMS:
        for path in sorted((TOP / room).rglob("__main__.py")):
            name = ".".join(path.relative_to(TOP).with_suffix("").parts)
            importlib.import_module(name)
            del sys.modules[name]


if __name__ == "__main__":
    import_ahead()
    gc.collect()
    gc.freeze()  # what is imported stays: a fork that looked at it would copy it
    job = serve(socket.socket(fileno=int(sys.argv[1])))
    # Here and not in the loop: an exit, or an exception, ends the fork as it ends a program.
    if job is not None:
        job()
