"""A real redis-server for tests, on a Unix socket of its own and, if told so, in TLS; nothing of it is kept."""

import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.deadline import until
from tests.support.ports import free_port


class RedisServer:
    """``url`` is where it answers once started. May be stopped, started again and held still.

    ``tls``: its certificate and key, on a port of 127.0.0.1, too. ``clients``: whose certificates clients must come with.
    """

    def __init__(self, folder: Path, tls: tuple[Path, Path] | None = None, clients: Path | None = None) -> None:
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            pytest.skip("redis-server is missing (Debian: redis-server)")
        self._program, self._folder = program, folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._options: list[str] = []
        if tls is not None:
            port = free_port()
            self.url = f"rediss://127.0.0.1:{port}/0"
            named = {
                "tls-port": port,
                "bind": "127.0.0.1",
                "tls-cert-file": tls[0],
                "tls-key-file": tls[1],
                "tls-ca-cert-file": clients or tls[0],
                "tls-auth-clients": "yes" if clients else "no",
            }
            self._options = [word for name, value in named.items() for word in (f"--{name}", str(value))]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "RedisServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                self._program,
                "--port",
                "0",
                "--unixsocket",
                str(self.socket),
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                str(self._folder),
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._answers, what="redis-server answers")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
            self.socket.unlink(missing_ok=True)

    def send(self, number: signal.Signals) -> None:
        """SIGSTOP: it accepts, and says nothing."""
        assert self._process is not None
        self._process.send_signal(number)

    def ask(self, *words: str) -> bytes:
        """One command, spoken by hand; the raw answer's first piece."""
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(10)
            link.connect(str(self.socket))
            link.sendall(
                f"*{len(words)}\r\n".encode() + b"".join(b"$%d\r\n%b\r\n" % (len(w), w.encode()) for w in words)
            )
            return link.recv(1 << 20)

    def _answers(self) -> bool:
        try:
            return self.ask("PING") == b"+PONG\r\n"
        except OSError:
            return False
