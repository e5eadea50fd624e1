"""Small requests to a Unix socket, without a library and with a deadline: health, metrics, the profiler's switches."""

import http.client
import socket
from pathlib import Path


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("engine", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def get(path: Path, route: str, *, method: str = "GET", timeout_s: float = 10.0) -> tuple[int, str]:
    """Status and body. Raises OSError where nobody answers."""
    connection = _Connection(path, timeout_s)
    try:
        connection.request(method, route)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(str(error)) from None
    finally:
        connection.close()
