"""Fetches an engine's own metrics: by name, from its socket or its host, within a deadline and up to a size; reads none of it."""

import http.client
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from gateway.engines import roster
from gateway.engines.endpoint import Endpoint, parse
from gateway.engines.state import read as read_state

DEADLINE_S = 5.0  # Prometheus itself waits ten seconds
MOST_BYTES = 16 << 20
PATH = "/metrics"
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")


class NotScraped(Exception):
    """The engine gave no metrics; the text says why, without its address."""


class Engines:
    """The engines that may be scraped, as the files say now. Any thread may ask."""

    def __init__(self, home: Path, listed: Mapping[str, roster.Entry], tls: ssl.SSLContext | None) -> None:
        self._home, self._listed, self._tls = home, listed, tls

    def endpoints(self) -> dict[str, Endpoint]:
        """All of them by name: those of this host that were ever started, and those of others."""
        found = {}
        for path in sorted((self._home / "run").glob("engine-*/state.json")):
            if read_state(path) is not None:
                found[path.parent.name] = Endpoint(path=path.parent / "engine.sock")
        try:
            entries = roster.read(self._home / roster.FILE)
        except roster.BadRoster:
            entries = {}
        for name, url in roster.remote(self._listed, entries).items():
            found[name] = parse(url)
        return found

    def discovered(self, host: str | None) -> list[dict[str, object]]:
        """What Prometheus' HTTP service discovery reads: a target for each engine, at the ``host`` by which it came to us."""
        target = host if host and _HOST.fullmatch(host) else "127.0.0.1:8081"
        return [
            {"targets": [target], "labels": {"__metrics_path__": f"{PATH}/engines/{name}", "engine": name}}
            for name in self.endpoints()
        ]

    def fetch(self, name: str) -> bytes:
        """The engine's metrics, as Prometheus' text. Raises KeyError for a name that is none, and NotScraped."""
        return _fetch(self.endpoints()[name], self._tls)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=DEADLINE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _connection(endpoint: Endpoint, tls: ssl.SSLContext | None) -> http.client.HTTPConnection:
    if endpoint.path is not None:
        return _UnixConnection(endpoint.path)
    parts = urlsplit(endpoint.origin)
    if parts.scheme == "https":
        context = tls or ssl.create_default_context()
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=DEADLINE_S, context=context)
    return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=DEADLINE_S)


def _fetch(endpoint: Endpoint, tls: ssl.SSLContext | None) -> bytes:
    connection = _connection(endpoint, tls)
    # The socket's own timeout is for each read: one that trickles would go on for ever.
    deadline = threading.Timer(DEADLINE_S, _cut, (connection,))
    deadline.daemon = True
    deadline.start()
    try:
        connection.request("GET", PATH)
        answer = connection.getresponse()
        if answer.status != 200:
            raise NotScraped(f"it answered with status {answer.status}")
        body = answer.read(MOST_BYTES + 1)
        if answer.length or len(body) > MOST_BYTES:
            raise NotScraped(f"its metrics were not there within {DEADLINE_S:g} s, or are over {MOST_BYTES:,} bytes")
    except (OSError, http.client.HTTPException) as error:
        raise NotScraped(f"it could not be asked ({type(error).__name__})") from None
    finally:
        deadline.cancel()
        connection.close()
    return body


def _cut(connection: http.client.HTTPConnection) -> None:
    ours = connection.sock
    if ours is not None:
        try:
            ours.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is gone already
