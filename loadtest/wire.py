"""HTTP from the client's side: connections that are used again, parsed in C; measures when bytes came, judges nothing."""

import asyncio
import os
import resource
import ssl
import time
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools

from loadtest.errors import WrongUsage
from loadtest.exchange import MeasuredAnswer

_SAID_BYTES = 300


@dataclass(frozen=True)
class ServerTarget:
    """Where requests go: ``url`` is http://, https://, or unix:/path of a socket. ``key`` is sent as a bearer."""

    url: str
    key: str = ""
    model: str = "glm-4v"
    certificates: str = ""  # of authorities, for https; empty for the system's

    def check(self) -> None:
        """Raises WrongUsage for a url that no connection can be made to."""
        parts = urlsplit(self.url)
        if not (parts.scheme in ("http", "https") and parts.hostname) and not (parts.scheme == "unix" and parts.path):
            raise WrongUsage(f"url {self.url!r}: expected http://host:port, https://host or unix:/path/to/a.sock")

    def head(self) -> bytes:
        """Request line and headers, but for the length and the empty line."""
        parts = urlsplit(self.url)
        lines = [
            f"POST {parts.path.rstrip('/') if parts.scheme != 'unix' else ''}/v1/chat/completions HTTP/1.1",
            f"host: {parts.netloc or 'localhost'}",
            "content-type: application/json",
            "accept: text/event-stream",
            *([f"authorization: Bearer {self.key}"] if self.key else []),
            "content-length: ",
        ]
        return "\r\n".join(lines).encode()


class LoadConnection(asyncio.Protocol):
    """One connection, one exchange at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answer: MeasuredAnswer | None = None
        self._ended: asyncio.Future[None] | None = None
        self._wrong: list[bytes] = []
        self._now = 0.0
        self.usable = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of it.
        self.transport = cast(asyncio.Transport, transport)
        self.usable = True

    async def ask(self, request: bytes, answer: MeasuredAnswer) -> None:
        """Send a request; returns when its answer ended, in whatever way."""
        self._answer, self._wrong = answer, []
        self._ended = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        await self._ended

    def close(self) -> None:
        self.usable = False
        self._answer = None
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._now = time.monotonic()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._answer is not None:
                self._answer.exchange.outcome, self._answer.exchange.said = "not HTTP", str(error)
            self.transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self.usable = False
        self._finish()

    def on_body(self, data: bytes) -> None:
        if self._answer is None:
            return
        if self._parser.get_status_code() == 200:
            self._answer.feed(data, self._now)
        else:
            self._wrong.append(data)

    def on_message_complete(self) -> None:
        answer, status = self._answer, self._parser.get_status_code()
        if answer is not None:
            if status != 200:
                answer.exchange.outcome = f"status {status}"
                answer.exchange.said = b"".join(self._wrong)[:_SAID_BYTES].decode(errors="replace")
            answer.end(self._now)
        if not self._parser.should_keep_alive():
            self.usable = False
            self.transport.close()
        self._finish()

    def _finish(self) -> None:
        self._answer = None
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


class LoadConnections:
    """All connections of one process: a free one is taken, else one is opened, as many as there are exchanges."""

    def __init__(self, target: ServerTarget) -> None:
        self._parts = urlsplit(target.url)
        self._free: list[LoadConnection] = []
        self._tls = None
        if self._parts.scheme == "https":
            self._tls = ssl.create_default_context(cafile=target.certificates or None)

    async def take(self) -> LoadConnection:
        """Raises OSError where none can be opened."""
        while self._free:
            connection = self._free.pop()
            if connection.usable:
                return connection
        loop = asyncio.get_running_loop()
        if self._parts.scheme == "unix":
            _, connection = await loop.create_unix_connection(LoadConnection, self._parts.path)
        else:
            port = self._parts.port or (443 if self._tls else 80)
            host = self._parts.hostname or ""
            _, connection = await loop.create_connection(LoadConnection, host, port, ssl=self._tls)
        return connection

    def give_back(self, connection: LoadConnection) -> None:
        if connection.usable:
            self._free.append(connection)

    def close(self) -> None:
        for connection in self._free:
            connection.close()
        self._free.clear()


def raise_the_limit_of_open_files() -> None:
    """As many connections as the system lets a process have; the default of 1,024 is soon reached by an open loop."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def cpu_s() -> float:
    """CPU time of this process so far."""
    times = os.times()
    return times.user + times.system
