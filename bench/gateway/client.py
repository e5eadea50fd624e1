"""The load generator's connection: writes whole requests, parses answers in C, tells its owner; measures nothing itself."""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools


class WrongAnswer(Exception):
    """An answer that is not 200, or no answer at all: nothing can be measured (exit 1)."""


class BenchConnection(asyncio.Protocol):
    """One keep-alive connection. ``on_bytes`` gets each piece of a body, ``on_end`` follows a whole answer with 200;
    ``fault`` gets the reason when nothing more can come."""

    def __init__(self, fault: Callable[[str], None]) -> None:
        self._fault = fault
        self._parser = httptools.HttpResponseParser(self)
        self._closing = False
        self._wrong: list[bytes] | None = None
        self.on_bytes: Callable[[bytes], None] | None = None
        self.on_end: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of it.
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes) -> None:
        self.transport.write(request)

    def close(self) -> None:
        self._closing = True
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fault(f"what came back is not HTTP: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closing:
            self._fault(f"the connection was closed in the middle of the run ({error or 'in order'})")

    def on_headers_complete(self) -> None:
        self._wrong = None if self._parser.get_status_code() == 200 else []

    def on_body(self, data: bytes) -> None:
        if self._wrong is not None:
            self._wrong.append(data)
        elif self.on_bytes is not None:
            self.on_bytes(data)

    def on_message_complete(self) -> None:
        if self._wrong is not None:
            text = b"".join(self._wrong)[:300].decode(errors="replace")
            self._fault(f"answered with status {self._parser.get_status_code()}: {text}")
        elif self.on_end is not None:
            self.on_end()


class Events:
    """Counts events in a stream that comes in any pieces."""

    def __init__(self) -> None:
        self.count = 0
        self._ends_with_newline = False

    def feed(self, data: bytes) -> int:
        """How many events this piece ended."""
        ended = data.count(b"\n\n") + (self._ends_with_newline and data.startswith(b"\n"))
        self._ends_with_newline = data.endswith(b"\n") and not data.endswith(b"\n\n")
        self.count += ended
        return ended
