"""Reads a request's body under a cap and a deadline; never keeps more than the cap in memory."""

import asyncio
from types import TracebackType

from starlette.types import Receive, Scope

from gateway.front.disconnects import ClientLeft
from gateway.front.errors import BadRequest, GatewayError, TooLarge, TooSlow, Unavailable
from gateway.front.request_state import state_of

# A piece of a body is an object of 40 bytes and a place in a list besides what it carries: smaller ones are joined as they come.
SMALL_PIECE_BYTES, JOINED_BYTES = 4 << 10, 64 << 10


class MemoryBudget:
    """How many bytes are in memory in all: of bodies that arrive, wait or are being answered, and of whole answers."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.held_bytes = most_bytes, 0


class MemoryShare:
    """``with MemoryShare(bodies)``: one request's part of all that is in memory, given back at the block's end."""

    def __init__(self, bodies: MemoryBudget) -> None:
        self._bodies, self._held_bytes = bodies, 0

    def __enter__(self) -> "MemoryShare":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bodies.held_bytes -= self._held_bytes

    def check(self, more_bytes: int) -> None:
        """Raises Unavailable if so many more do not fit now."""
        if self._bodies.held_bytes + more_bytes > self._bodies.most_bytes:
            raise Unavailable(
                "too many large requests and answers are in memory; try again soon", code="memory_full", retry_after_s=2
            )

    def take(self, more_bytes: int) -> None:
        self.check(more_bytes)
        self._held_bytes += more_bytes
        self._bodies.held_bytes += more_bytes


class BodyBuffer:
    """Takes a body's pieces where they come off the socket, each counted at once, without waking anybody for each."""

    def __init__(self, room: MemoryShare, most_bytes: int) -> None:
        self._room, self._most_bytes, self._size = room, most_bytes, 0
        self._parts: list[bytes] = []
        self._small = bytearray()  # what came last, in small pieces
        self.fault: GatewayError | None = None

    def take(self, part: bytes) -> bool:
        """Keep a piece; False if no more can be, and ``fault`` says why."""
        self._size += len(part)
        try:
            if self._size > self._most_bytes:
                raise too_large(self._most_bytes)
            self._room.take(len(part))
        except GatewayError as error:
            self.fault = error
            return False
        if len(part) < SMALL_PIECE_BYTES:
            self._small += part
            if len(self._small) >= JOINED_BYTES:
                self._join_small()
        else:
            self._join_small()
            self._parts.append(part)
        return True

    def whole(self) -> bytes:
        """All that came, joined once."""
        self._join_small()
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def _join_small(self) -> None:
        if self._small:
            self._parts.append(bytes(self._small))
            self._small = bytearray()


async def read_body(scope: Scope, receive: Receive, room: MemoryShare, most_bytes: int, timeout_s: float) -> bytes:
    """The whole body. Raises Unavailable, TooLarge, TooSlow, BadRequest (an encoding that is not understood) or ClientLeft."""
    headers = dict(scope["headers"])
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise BadRequest("compressed request bodies are not accepted; send it without Content-Encoding")
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > most_bytes:
        raise too_large(most_bytes)
    # What is announced is not reserved: nobody holds memory by promising.
    room.check(int(announced) if announced.isdigit() else 0)
    buffer = BodyBuffer(room, most_bytes)
    connection = state_of(scope).connection
    whole: bytes | None = connection.whole_body(scope)
    if whole is not None:
        if connection.left:
            raise ClientLeft
        if not buffer.take(whole):
            assert buffer.fault is not None
            raise buffer.fault
        return whole
    try:
        async with asyncio.timeout(timeout_s):
            with connection.pieces_to(buffer, scope):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientLeft
                    more = message.get("more_body", False)
                    if buffer.fault is not None:
                        raise buffer.fault
            return buffer.whole()
    except TimeoutError:
        raise TooSlow(
            f"the request body did not arrive within {timeout_s:g} s; send it faster, or smaller pictures"
        ) from None


def too_large(most_bytes: int) -> TooLarge:
    return TooLarge(f"the request body is larger than {most_bytes:,} bytes; send fewer or smaller pictures")
