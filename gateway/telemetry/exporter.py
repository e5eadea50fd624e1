"""The metrics' own port: ours at /metrics, each engine's at /metrics/engines/NAME; a few threads, no keys, nothing else.

It is served from threads of the process that the operator started, so that a scrape goes on while workers are busy or gone.
"""

import contextlib
import json
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from socketserver import TCPServer, ThreadingMixIn
from threading import Lock, Semaphore, Thread
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

PATH = "/metrics"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_S = 5.0  # until a request has come whole
WHOLE_S = 20.0  # until its answer has gone; Prometheus itself waits ten seconds
MOST_CONNECTIONS = 64
LEAVING = 16  # of those that are sent away, how many may still be there
OURS_AT_ONCE = 4
ENGINES_AT_ONCE = 16  # of their own: engines that hang must not keep the gateway's metrics away


class NotScraped(Exception):
    """The engine gave no metrics; the text says why, without its address."""


class EngineMetrics(Protocol):
    """The engines whose own metrics may be asked for. Any thread may ask."""

    def discovered(self, host: str | None) -> list[dict[str, object]]:
        """What Prometheus' HTTP service discovery reads, for a scrape that came to ``host``."""

    def fetch(self, name: str) -> bytes:
        """The engine's metrics. Raises KeyError for a name that is none, and NotScraped."""


Start = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]


def application(registry: CollectorRegistry, engines: EngineMetrics) -> Application:
    """A WSGI application."""
    ours: Application = make_wsgi_app(registry)
    ours_at_once, engines_at_once = Semaphore(OURS_AT_ONCE), Semaphore(ENGINES_AT_ONCE)

    def answer(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _say(start, "405 Method Not Allowed", "only GET is answered here\n", ("Allow", "GET, HEAD"))
        if path == PATH:
            return _bounded(ours_at_once, start, lambda: ours(environ, start))
        if path == f"{PATH}/engines":
            found = json.dumps(engines.discovered(environ.get("HTTP_HOST")))
            return _say(start, "200 OK", found, ("Content-Type", "application/json"))
        if path.startswith(f"{PATH}/engines/"):
            name = path.removeprefix(f"{PATH}/engines/")
            return _bounded(engines_at_once, start, lambda: _of_engine(start, engines, name))
        return _say(start, "404 Not Found", f"{PATH}, {PATH}/engines and {PATH}/engines/NAME are here\n")

    return answer


def _bounded(at_once: Semaphore, start: Start, answer: Callable[[], Iterable[bytes]]) -> Iterable[bytes]:
    if not at_once.acquire(blocking=False):
        return _say(
            start, "503 Service Unavailable", "too many scrapes at once; try again soon\n", ("Retry-After", "1")
        )
    try:
        return answer()
    finally:
        at_once.release()


def _of_engine(start: Start, engines: EngineMetrics, name: str) -> Iterable[bytes]:
    try:
        return _say(start, "200 OK", engines.fetch(name), ("Content-Type", TEXT))
    except KeyError:
        return _say(start, "404 Not Found", f"there is no such engine; {PATH}/engines lists them\n")
    except NotScraped as error:
        return _say(start, "503 Service Unavailable", f"the engine gave no metrics: {error}\n")


def _say(start: Start, status: str, body: str | bytes, *headers: tuple[str, str]) -> Iterable[bytes]:
    content = body.encode() if isinstance(body, str) else body
    kinds = (
        () if any(name == "Content-Type" for name, _ in headers) else (("Content-Type", "text/plain; charset=utf-8"),)
    )
    start(status, [*kinds, *headers, ("Content-Length", str(len(content)))])
    return [content]


class _Handler(WSGIRequestHandler):
    timeout = WHOLE_S
    server: "_Server"

    def parse_request(self) -> bool:
        asked = super().parse_request()
        if asked:
            self.server.asked(self.connection)
        return asked

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape is nothing to tell."""


@dataclass
class _ScrapeConnection:
    """One connection: how long it may stay, and whether it may be sent away for another."""

    until_s: float
    asked: bool = False
    gone: bool = False


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each connection, and not too many of them; each has a deadline, which `service_actions` looks after."""

    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(self, *where: Any) -> None:
        self._guests: dict[Any, _ScrapeConnection] = {}
        self._lock = Lock()
        super().__init__(*where)

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the resolver for our own name: where there is none, that takes seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]
        self.setup_environ()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room. Who has waited longest without asking makes it, or a few silent ones would keep Prometheus out."""
        with self._lock:
            if len(self._guests) >= MOST_CONNECTIONS:
                silent = next((one for one, guest in self._guests.items() if not (guest.asked or guest.gone)), None)
                if silent is None or len(self._guests) >= MOST_CONNECTIONS + LEAVING:
                    return False
                self._send_away(silent)
            self._guests[request] = _ScrapeConnection(time.monotonic() + REQUEST_S)
        return True

    def asked(self, request: Any) -> None:
        """The request is here whole; from now on the time is ours."""
        with self._lock:
            self._guests[request].asked = True
            self._guests[request].until_s += WHOLE_S - REQUEST_S

    def service_actions(self) -> None:
        now_s = time.monotonic()
        with self._lock:
            for request, guest in self._guests.items():
                if now_s >= guest.until_s and not guest.gone:
                    self._send_away(request)

    def _send_away(self, request: Any) -> None:
        self._guests[request].gone = True
        with contextlib.suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)  # its thread reads the end, and closes

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._guests.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # who leaves early, or is sent away, is nothing to tell either
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serve_metrics(host: str, port: int, registry: CollectorRegistry, engines: EngineMetrics) -> Iterator[int]:
    """Serve in threads; gives the port. Raises OSError if it can't be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kind = type("_Server", (_Server,), {"address_family": family})
    server = kind((host, port), _Handler)
    server.set_app(application(registry, engines))
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
