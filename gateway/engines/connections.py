"""HTTP/1.1 to one engine: kept connections, one request at a time on each; never retries, never reads what it carries.

vLLM stops generating when the connection of a request is closed: an answer that is left before its end closes its connection.
Of an answer only the status is read. It must say where it ends, by its length or by chunks: the end of a connection ends nothing.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import httptools

from gateway.engines.endpoint import Endpoint
from gateway.front.resolver import Resolver

# Shorter than vLLM's own 5 s (VLLM_HTTP_TIMEOUT_KEEP_ALIVE): a request must not meet a connection that is being closed.
KEEP_ALIVE_S = 4.0
CONNECT_TIMEOUT_S = 5.0
LOOK_EVERY_S = 0.1
MOST_HEAD_BYTES = 64 << 10
MOST_UNREAD_BYTES = 512 << 10
SEND_BUFFER_BYTES = 4 << 20  # a picture goes to an engine of this host in one write


class ConnectionBroken(Exception):
    """The engine hung up, or said what is not HTTP."""


class ConnectFailed(Exception):
    """Nobody takes a connection there."""


class EngineConnection(asyncio.Protocol):
    """One connection, and the answer that it carries: ``head``, then ``chunk`` until nothing comes, then ``release``."""

    def __init__(self, connections: "EngineConnections") -> None:
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[None] | None = None
        self._pieces: deque[bytes] = deque()
        self._unread_bytes = self._head_bytes = 0
        self._paused = self._asked = self._whole = self._keeps = False
        self._error: Exception | None = None
        self._silence_s = self._until_s = self._since_s = self._came_s = self._latest_s = 0.0
        self.status = 0
        self.kept_since_s = 0.0

    async def head(self) -> int:
        """The answer's status. Raises ConnectionBroken, or TimeoutError like every wait here."""
        while not self.status:
            await self._wait()
        return self.status

    async def chunk(self) -> bytes:
        """All that has come since the last call, at least something; nothing at the answer's end."""
        while not self._pieces:
            if self._whole:
                return b""
            await self._wait()
        # What has lain here was not waited for: a client that reads slowly must not make its engine look slow.
        now_s = self._loop.time()
        self._until_s = min(self._until_s + now_s - self._came_s, self._latest_s)
        if now_s > self._until_s:
            raise TimeoutError  # nobody looks while there is always something
        piece = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._unread_bytes = 0
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return piece

    async def read(self, most_bytes: int, take: Callable[[int], None] = lambda _: None) -> bytes:
        """The whole answer, joined once. Raises ConnectionBroken if it is longer; ``take`` is told of each piece and may raise."""
        pieces, size = [], 0
        while piece := await self.chunk():
            size += len(piece)
            if size > most_bytes:
                raise ConnectionBroken("its answer has no end")
            take(len(piece))
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def release(self) -> None:
        """Give the connection back, or close it if the answer has not been read to its end."""
        if self._keeps and not self._pieces and self._error is None and not self._transport.is_closing():
            self._asked = self._whole = self._keeps = False
            self.status = self._head_bytes = 0
            self._connections.keep(self)
        else:
            self.abort()

    def ask(self, request: bytes, body: bytes, silence_s: float, answer_s: float) -> None:
        """Send a request; its answer may be silent for ``silence_s`` at a time, and be waited for ``answer_s`` in all.

        With the time in which nobody took what was there it has twice that.
        """
        self._asked = True
        self._silence_s, self._until_s = silence_s, self._loop.time() + answer_s
        self._latest_s = self._until_s + answer_s
        if len(body) < SEND_BUFFER_BYTES >> 6:
            self._transport.write(request + body)
        else:
            self._transport.write(request)
            self._transport.write(body)

    def look(self, now_s: float) -> None:
        """Give up what has been waited for too long."""
        if self._waiter is not None and now_s > min(self._since_s + self._silence_s, self._until_s):
            self._fail(TimeoutError())

    def abort(self) -> None:
        self._connections.forget(self)
        self._transport.abort()

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's

    def data_received(self, data: bytes) -> None:
        if not self._asked or self._whole:
            self.abort()  # said without being asked
            return
        if not self.status:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._keeps = False
            self._fail(ConnectionBroken("what came is not HTTP/1.1"))
            return
        if not self.status and self._head_bytes > MOST_HEAD_BYTES:
            self._fail(ConnectionBroken("its head has no end"))
            return
        if self._unread_bytes > MOST_UNREAD_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.forget(self)
        self._fail(ConnectionBroken("it hung up"))

    # What the parser calls

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and not self._whole:
            self.status = status

    def on_body(self, body: bytes) -> None:
        if not self._whole:
            if not self._pieces:
                self._came_s = self._loop.time()
            self._pieces.append(body)
            self._unread_bytes += len(body)

    def on_message_complete(self) -> None:
        if self.status and not self._whole:
            self._whole, self._keeps = True, self._parser.should_keep_alive()

    def on_message_begin(self) -> None:
        if self._whole:  # a second answer to one question
            self._keeps = False

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._since_s = self._loop.time()
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._error is None and not self._whole:
            self._error = error
        self._wake()


class EngineConnections:
    """The connections to one engine, as many as it is asked questions at once. Use on one event loop only."""

    def __init__(self, endpoint: Endpoint, tls: ssl.SSLContext | None, resolver: Resolver) -> None:
        self._endpoint, self._resolver = endpoint, resolver
        self._tls = tls
        self._kept: list[EngineConnection] = []
        self._all: set[EngineConnection] = set()
        self._look: asyncio.TimerHandle | None = None
        self._closed = False
        parts = urlsplit(endpoint.origin)
        self._host, self._port = parts.hostname or "", parts.port or 0
        if parts.scheme == "https" and tls is None:
            self._tls = ssl.create_default_context()
        elif parts.scheme != "https":
            self._tls = None
        host = parts.netloc or "engine"
        self._head = b"Host: %b\r\nAccept: */*\r\nAccept-Encoding: identity\r\n" % host.encode()

    async def ask(
        self, method: str, path: str, body: bytes = b"", *, silence_s: float, answer_s: float
    ) -> EngineConnection:
        """Send a request; its answer is the caller's, who releases it. Raises ConnectFailed."""
        connection = self._take() or await self._connect()
        head = b"%b %b HTTP/1.1\r\n%b" % (method.encode(), path.encode(), self._head)
        if body:
            head += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        connection.ask(head + b"\r\n", body, silence_s, answer_s)
        return connection

    def close(self) -> None:
        """Cut all connections."""
        self._closed = True
        for connection in list(self._all):
            connection.abort()
        if self._look is not None:
            self._look.cancel()

    def keep(self, connection: EngineConnection) -> None:
        connection.kept_since_s = asyncio.get_running_loop().time()
        self._kept.append(connection)

    def forget(self, connection: EngineConnection) -> None:
        self._all.discard(connection)
        if connection in self._kept:
            self._kept.remove(connection)

    def _take(self) -> EngineConnection | None:
        """The connection that was used last: it is the least likely to have been closed."""
        if not self._kept:
            return None
        connection = self._kept.pop()
        if asyncio.get_running_loop().time() - connection.kept_since_s < KEEP_ALIVE_S:
            return connection
        connection.abort()
        return None

    async def _connect(self) -> EngineConnection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                if self._endpoint.path:
                    transport, connection = await loop.create_unix_connection(
                        lambda: EngineConnection(self), str(self._endpoint.path)
                    )
                    own = transport.get_extra_info("socket")
                    own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
                else:
                    _, connection = await self._resolver.connect(
                        lambda: EngineConnection(self), self._host, self._port, self._tls
                    )
        except (OSError, TimeoutError) as error:
            raise ConnectFailed(str(error)) from None
        self._all.add(connection)
        if self._closed:
            connection.abort()
        elif self._look is None:
            self._look = loop.call_later(LOOK_EVERY_S, self._look_at_all)
        return connection

    def _look_at_all(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        while self._kept and now_s - self._kept[0].kept_since_s > KEEP_ALIVE_S:
            self._kept[0].abort()
        for connection in self._all:
            connection.look(now_s)
        self._look = loop.call_later(LOOK_EVERY_S, self._look_at_all) if self._all else None
