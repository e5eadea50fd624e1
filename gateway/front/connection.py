"""One client's connection: uvicorn's HTTP/1.1, with heads that every reader reads alike or none; never a request's content.

uvicorn leaves three things to a proxy in front: a deadline for the head, bounds for it, and an answer that is left in peace when
the client goes on with garbage. Here they are its own, since nothing may stand in front.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.front import errors, upgrades
from gateway.front.errors import BadRequest, GatewayError, HeadTooLarge, Unavailable
from gateway.front.request_state import KEY, BodySink, RequestState

MOST_HEADERS = 100
MOST_HEAD_BYTES = 32 << 10
MOST_TARGET_BYTES = 8 << 10
MOST_PIPELINED = 16
MOST_FRAMING_BYTES = (
    64 << 10
)  # of chunk sizes, chunk extensions and trailers, beside as many bytes as the body itself has
# A chunk costs as much time as a thousand bytes of a body: so many are free, and one more for each so many bytes of the body.
FREE_CHUNKS, CHUNK_BYTES = 16_384, 128
LAST_MOMENT_S = 0.5
MOST_LEFTOVER_BYTES = 8 << 20  # of a body that nobody wants any more, read so that the client gets to read our answer
_ONCE = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"authorization", b"content-type", b"content-encoding")
)
_TARGET = re.compile(rb"(?:https?://[^/?#@\s]+)?/[\x21\x22\x24-\x7e]*")
_REASONS = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


class HeadRefused(Exception):
    """Raised inside a parser's callback: the head can't pass."""


class _UntilTheEnd(int):
    """The length of an answer that nobody counts: never too short, and nothing is missing at its end."""

    def __lt__(self, _: int) -> bool:
        return False

    def __sub__(self, _: int) -> "_UntilTheEnd":
        return self


class ConnectionListener(Protocol):
    """Who keeps all connections of a worker, and is told what becomes of each."""

    def arrived(self, connection: "ClientConnection") -> bool:
        """Count a new connection; False if there is no room for it."""

    def left(self, connection: "ClientConnection") -> None: ...

    def asked(self, connection: "ClientConnection") -> None: ...

    def waits(self, connection: "ClientConnection") -> None: ...

    def refused(self, error: GatewayError) -> None: ...


class ClientConnection(HttpToolsProtocol):
    """Times are the event loop's. ``waiting_since_s`` is None while a request is being answered, ``head_since_s`` unless a head
    has begun, ``stuck_since_s`` unless the client does not read, ``slow_since_s`` unless it has not once read this answer in time,
    ``ending_since_s`` unless the last byte was written."""

    def __init__(self, manager: ConnectionListener, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._manager = manager
        self._refusal: GatewayError | None = None
        self._running: RequestResponseCycle | None = None
        self._leftover = False
        self._sink: tuple[BodySink, RequestResponseCycle] | None = None
        self._leftover_bytes = 0
        self._overhead_bytes = 0  # came since the last whole head or message and are no body: a head, framing, trailers
        self._body_bytes = self._chunks = self._trailers = 0  # of the message that arrives
        self._head_is_whole = False  # of that message
        self._offer_is_ignored = False  # whether that message's head has just been read with an Upgrade
        self._deaf = False  # whether what comes now is dropped unread
        self.asked = False  # whether a whole head ever came
        self.left = False  # whether the client is gone
        self.on_left: Callable[[], None] | None = None  # called then, for who works on its request
        self.waiting_since_s: float | None = None
        self.head_since_s: float | None = None
        self.stuck_since_s: float | None = None
        self.slow_since_s: float | None = None
        self.ending_since_s: float | None = None

    @property
    def address(self) -> str:
        return self.client[0] if self.client else "unix"

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.waiting_since_s = self.loop.time()
        if not self._manager.arrived(self):
            self.refuse(Unavailable("too many connections are open; close some, or try again", retry_after_s=1))

    def connection_lost(self, exc: Exception | None) -> None:
        self.left = True
        # uvicorn tells the request that came last. With others behind it, the one that is answered would write to nobody for ever.
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        self.pipeline.clear()
        self._manager.left(self)
        super().connection_lost(exc)
        if self.on_left is not None:
            self.on_left()

    def pause_writing(self) -> None:
        self.stuck_since_s = self.loop.time()
        self.slow_since_s = self.slow_since_s or self.stuck_since_s
        super().pause_writing()

    def resume_writing(self) -> None:
        self.stuck_since_s = None
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        if self._deaf or self.ending_since_s is not None or self.transport.is_closing():
            self._leftover_bytes += len(data)
            if self._leftover_bytes > MOST_LEFTOVER_BYTES:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        self._overhead_bytes += len(data)  # on_body takes its part away
        try:
            self._parse(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.refuse(self._refusal or _bad("this is not HTTP/1.1 as RFC 9112 has it; send a well-formed request"))
        else:
            # Counted in every state: a head behind a running request, blank lines, chunk extensions and trailers too. The parser
            # joins a value piece by piece, so an endless one costs the square of its length.
            if self._head_is_whole:
                if self._overhead_bytes > MOST_FRAMING_BYTES + self._body_bytes:
                    self.refuse(
                        _bad(
                            f"chunks and trailers take over {MOST_FRAMING_BYTES:,} bytes more than the body; send larger chunks"
                        )
                    )
                elif self._chunks > FREE_CHUNKS + self._body_bytes // CHUNK_BYTES:
                    self.refuse(_bad(f"the body has over {FREE_CHUNKS:,} chunks that are small; send larger chunks"))
            elif self._overhead_bytes > MOST_HEAD_BYTES:
                self.refuse(_head_too_large())

    def _parse(self, data: bytes) -> None:
        """Give the parser all of it. Raises HttpParserError, or HttpParserUpgrade for an upgrade that is not ignored."""
        while True:
            try:
                return self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if not self._offer_is_ignored:
                    raise
                head = upgrades.head_without_offer(
                    self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers
                )
                # The old parser takes what follows for the next request's head. A new one reads it as this one's body.
                data = data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
                self.parser.feed_data(head)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.head_since_s = self.loop.time()
        self._head_is_whole = self._offer_is_ignored = False
        self._body_bytes = self._chunks = self._trailers = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MOST_TARGET_BYTES:
            self._refuse_head(_head_too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._head_is_whole:
            # A trailer, which the parser reports as it does headers. Nothing that reads headers may see it: it would be a key, a
            # person's name or an address that no proxy has looked at.
            self._trailers += 1
            if self._trailers > MOST_HEADERS:
                self._refuse_head(_bad(f"the body has over {MOST_HEADERS} trailers; send none"))
            return
        if len(self.headers) >= MOST_HEADERS:
            self._refuse_head(_head_too_large())
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and upgrades.is_ignored(self.parser.get_method(), self.headers):
            self._offer_is_ignored = True  # the same head comes again, without the offer
            return
        if len(self.pipeline) >= MOST_PIPELINED:
            self._refuse_head(_bad("too many requests were sent before their answers; wait for some"))
        fault = self._fault_of_head()
        if fault:
            self._refuse_head(_bad(fault))
        self.head_since_s = self.waiting_since_s = None
        self._head_is_whole = True
        self._overhead_bytes = 0
        self.asked = True
        self._manager.asked(self)
        super().on_headers_complete()
        self.scope["state"][KEY] = RequestState(self)
        if self.scope["http_version"] == "1.0":
            # HTTP/1.0 knows no chunks: an answer without a length ends with its connection.
            self.cycle.chunked_encoding, self.cycle.expected_content_length = False, _UntilTheEnd()

    def on_chunk_header(self) -> None:
        self._chunks += 1

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._overhead_bytes = max(0, self._overhead_bytes - len(body))
        if self._sink is None or self._sink[1] is not self.cycle:
            super().on_body(body)
        elif not self._sink[0].take(body):
            self._sink = None
            self.cycle.message_event.set()

    def whole_body(self, scope: object) -> bytes | None:
        """The body of ``scope``'s request if all of it is here already, as where it came with its head. Gives it once."""
        cycle = self._running
        assert cycle is not None
        assert cycle.scope is scope
        if cycle.more_body or cycle.waiting_for_100_continue:
            return None
        self.flow.resume_reading()  # or nobody would see that the client leaves
        body, cycle.body = bytes(cycle.body), bytearray()
        return body

    @contextlib.contextmanager
    def pieces_to(self, sink: BodySink, scope: object) -> Iterator[None]:
        """In this block the body of ``scope``'s request goes to ``sink``, with what came before; its reader is woken at the
        body's end or at a fault. The reader bounds what comes, so that reading is not paused."""
        cycle = self._running
        assert cycle is not None
        assert cycle.scope is scope
        early = bytes(cycle.body)
        cycle.body = bytearray()
        if cycle.more_body and not cycle.response_complete:
            cycle.message_event.clear()
            self._sink = sink, cycle
        if early and not sink.take(early):
            self._sink = None
            cycle.message_event.set()
        try:
            yield
        finally:
            self._sink = None

    def on_message_complete(self) -> None:
        if self._offer_is_ignored:
            return  # only of the head: the message comes again, with its body
        self._head_is_whole = False
        self._overhead_bytes = 0
        super().on_message_complete()
        if self.cycle.response_complete and self.ending_since_s is None:
            self._wait()

    def on_response_complete(self) -> None:
        self.slow_since_s = self.stuck_since_s
        if self._leftover and not self.transport.is_closing():
            # The client still sends what nobody wants. Closed now, it would meet a reset instead of its answer.
            self.end_softly()
            return
        super().on_response_complete()
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._wait()

    def shutdown(self) -> None:
        """uvicorn calls this once nobody new is let in. Who came in the last moment is still told why it is not served."""
        if self.asked or self.transport.is_closing():
            super().shutdown()
        else:
            self.loop.call_later(LAST_MOMENT_S, self._leave)

    def _leave(self) -> None:
        if self.waiting_since_s is not None and not self.transport.is_closing():
            self.transport.close()

    def is_sending_its_body(self, scope: object) -> bool:
        """Whether the request of this scope has not yet arrived whole. Its answer must be the connection's last."""
        return self.cycle.scope is scope and self.cycle.more_body

    def leave_open(self) -> None:
        """After the head of a last answer: uvicorn must not close at its end, ``on_response_complete`` will, softly."""
        self._leftover = True
        self.cycle.keep_alive = True

    def end_softly(self) -> None:
        """Say that nothing more comes, and read what does until the client closes or the manager ends the connection."""
        self.ending_since_s = self.loop.time()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def refuse(self, error: GatewayError) -> None:
        """Answer what can't be answered by the application, and end the connection."""
        self._manager.refused(error)
        running = self._running
        if running is not None and not running.response_complete:
            # A request of this connection is being answered. Its answer must stay whole: nothing is said into it.
            if self.pipeline or not running.more_body:
                self._end_after_what_is_owed()
                return
            # Its own body went wrong: it can't be read to its end.
            running.disconnected = True
            running.message_event.set()
            if running.response_started:
                self.transport.abort()
                return
        if not self.transport.is_closing():
            status, headers, content = errors.response(error)
            head = [b"HTTP/1.1 %d %b" % (status, _REASONS[status]), *(b"%b: %b" % header for header in headers)]
            self.transport.write(b"\r\n".join([*head, b"connection: close", b"", content]))
            self.end_softly()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _end_after_what_is_owed(self) -> None:
        """Read no further, answer the whole requests that came, then close."""
        self._deaf = True
        if self.pipeline and self.pipeline[0][0].more_body:
            self.pipeline.popleft()
        last = self.pipeline[0][0] if self.pipeline else self._running
        self.flow.pause_reading()
        if last is not None and not last.response_complete:
            last.keep_alive = False
        else:
            self.transport.close()

    def _wait(self) -> None:
        if self.waiting_since_s is None and not self.pipeline:
            self.waiting_since_s = self.loop.time()
            self._manager.waits(self)

    def _refuse_head(self, error: GatewayError) -> None:
        self._refusal = error
        raise HeadRefused

    def _fault_of_head(self) -> str:
        """What of a head readers may understand differently, or an empty text."""
        version = self.parser.get_http_version()
        values: dict[bytes, bytes] = {}
        twice = b""
        size = len(self.url)
        for name, value in self.headers:
            size += len(name) + len(value)
            if name in _ONCE:
                twice = name if name in values else twice
                values[name] = value
        if size > MOST_HEAD_BYTES:
            self._refuse_head(_head_too_large())
        if version not in ("1.0", "1.1"):
            return "only HTTP/1.0 and HTTP/1.1 are spoken here"
        if self.parser.should_upgrade():
            return "no other protocol is spoken here; leave out CONNECT and Upgrade, and read streams as server-sent events"
        if twice:
            return f"the header {twice.decode()} was sent more than once; send it once"
        if version == "1.1" and b"host" not in values:
            return "the header Host is missing; send it"
        if not _TARGET.fullmatch(self.url):
            return "the request's target must be a path"
        return _fault_of_length(version, values.get(b"content-length"), values.get(b"transfer-encoding"))


def _fault_of_length(version: str, length: bytes | None, coding: bytes | None) -> str:
    if coding is not None:
        if length is not None:
            return "Content-Length and Transfer-Encoding were sent together; send one"
        if version == "1.0" or coding.lower() != b"chunked":
            return "the only Transfer-Encoding is chunked, in HTTP/1.1"
    elif length is not None and not length.isdigit():
        return "Content-Length is not a number"
    return ""


def _bad(message: str) -> BadRequest:
    return BadRequest(message, code="invalid_http")


def _head_too_large() -> HeadTooLarge:
    return HeadTooLarge(f"the request's head has over {MOST_HEAD_BYTES:,} bytes or {MOST_HEADERS} headers; send less")
