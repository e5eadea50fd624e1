"""The metrics' own port: ours at /metrics, each engine's at /metrics/engines/NAME; a few threads, no keys, nothing else.

It is served from threads of the process that the operator started, so that a scrape goes on while workers are busy or gone.
"""

import contextlib
import json
import socket
from collections.abc import Callable, Iterable, Iterator
from socketserver import TCPServer, ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from gateway.engines.scrape import PATH, Engines, NotScraped

TEXT = "text/plain; version=0.0.4; charset=utf-8"
SLOW_CLIENT_S = 15.0

Start = Callable[[str, list[tuple[str, str]]], Any]
Application = Callable[[dict[str, Any], Start], Iterable[bytes]]


def application(registry: CollectorRegistry, engines: Engines) -> Application:
    """A WSGI application."""
    ours: Application = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _say(start, "405 Method Not Allowed", "only GET is answered here\n", ("Allow", "GET, HEAD"))
        if path == PATH:
            return ours(environ, start)
        if path == f"{PATH}/engines":
            found = json.dumps(engines.discovered(environ.get("HTTP_HOST")))
            return _say(start, "200 OK", found, ("Content-Type", "application/json"))
        if path.startswith(f"{PATH}/engines/"):
            return _of_engine(start, engines, path.removeprefix(f"{PATH}/engines/"))
        return _say(start, "404 Not Found", f"{PATH}, {PATH}/engines and {PATH}/engines/NAME are here\n")

    return answer


def _of_engine(start: Start, engines: Engines, name: str) -> Iterable[bytes]:
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
    timeout = SLOW_CLIENT_S

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape is nothing to tell."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the resolver for our own name: where there is none, that takes seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.socket.getsockname()[:2]
        self.setup_environ()


@contextlib.contextmanager
def exporting(host: str, port: int, registry: CollectorRegistry, engines: Engines) -> Iterator[int]:
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
