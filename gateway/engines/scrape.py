"""Fetches an engine's own metrics: by name, from its socket or its host, within a deadline and up to a size; reads none of it."""

import contextlib
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.engines import roster
from gateway.engines.endpoint import Endpoint, parse
from gateway.engines.state_file import read_all
from gateway.front.resolver import Resolver
from gateway.telemetry.exporter import PATH, NotScraped

DEADLINE_S = 5.0  # Prometheus itself waits ten seconds
MOST_BYTES = 16 << 20
_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")


class EngineScraper:
    """The engines that may be scraped, as the files say now. Any thread may ask."""

    def __init__(
        self,
        home: Path,
        listed: Mapping[str, roster.RosterEntry],
        tls: ssl.SSLContext | None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._home, self._listed, self._tls, self._deadline_s = home, listed, tls, deadline_s
        self._resolver = Resolver()

    def endpoints(self) -> dict[str, Endpoint]:
        """All of them by name: those of this host that were ever started, and those of others."""
        run = self._home / "run"
        found = {name: Endpoint(path=run / name / "engine.sock") for name in read_all(run)}
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
        return _fetch(self.endpoints()[name], self._tls, self._resolver, self._deadline_s)


def _fetch(endpoint: Endpoint, tls: ssl.SSLContext | None, resolver: Resolver, deadline_s: float) -> bytes:
    until_s = time.monotonic() + deadline_s
    parts = urlsplit(endpoint.origin)
    connection = http.client.HTTPConnection(parts.hostname or "engine", parts.port)
    try:
        # Held here too: the connection lets go of its socket as soon as it knows that the answer is the last one.
        ours = connection.sock = _opened(endpoint, tls, until_s, resolver)
        with _cut_at(until_s, ours):
            connection.request("GET", PATH)
            answer = connection.getresponse()
            if answer.status != 200:
                raise NotScraped(f"it answered with status {answer.status}")
            body = answer.read(MOST_BYTES + 1)
        # What was cut can look like an end: a head without its rest, a body that goes on until the connection closes.
        if answer.length or len(body) > MOST_BYTES or time.monotonic() >= until_s:
            raise NotScraped(f"its metrics were not there within {deadline_s:g} s, or are over {MOST_BYTES:,} bytes")
    except (OSError, http.client.HTTPException) as error:
        raise NotScraped(f"it could not be asked ({type(error).__name__})") from None
    finally:
        connection.close()
    return body


def _opened(endpoint: Endpoint, tls: ssl.SSLContext | None, until_s: float, resolver: Resolver) -> socket.socket:
    """A connection that was made before the moment, however slow the name server is. Raises OSError."""
    if endpoint.path is not None:
        return _connected(socket.AF_UNIX, str(endpoint.path), until_s)
    parts = urlsplit(endpoint.origin)
    host = parts.hostname or ""
    failed = OSError("the name has no address")
    for address in resolver.wait_for(host, _left(until_s)):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            ours = _connected(family, (address, parts.port), until_s)
            if parts.scheme != "https":
                return ours
            ours.settimeout(_left(until_s))
            return (tls or ssl.create_default_context()).wrap_socket(ours, server_hostname=host)
        except OSError as error:
            failed = error
    raise failed


def _connected(family: int, address: Any, until_s: float) -> socket.socket:
    ours = socket.socket(family, socket.SOCK_STREAM)
    try:
        ours.settimeout(_left(until_s))
        ours.connect(address)
    except OSError:
        ours.close()
        raise
    return ours


def _left(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


@contextlib.contextmanager
def _cut_at(until_s: float, ours: socket.socket) -> Iterator[None]:
    """End the connection at the moment: its own timeout is for each read, and one that trickles would go on for ever."""
    deadline = threading.Timer(_left(until_s), _cut, (ours,))
    deadline.daemon = True
    deadline.start()
    try:
        yield
    finally:
        deadline.cancel()


def _cut(ours: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is gone already
        # Not TLS's own, which would let the reading thread go on in clear.
        socket.socket.shutdown(ours, socket.SHUT_RDWR)
