"""Reads a body into a request: a short one on the event loop, a long one in a thread, where callers take turns; no I/O.

The door bounds what a request may cost, and that is still up to a tenth of a second of Python. Such work leaves the loop.
There are few seats for it, because threads that compute share one lock with the loop, which waits for each of them.
"""

import asyncio

from gateway.door import ChatRequest, DoorLimits, digest_images, parse_chat
from gateway.front.fair_scheduler import FairSemaphore

_SEATS = 2
_TURN_BYTES = 1 << 20  # that one turn of a caller pays for
# Costs at most some five milliseconds, and a thread costs two tenths of one.
_SHORT_BYTES = 16 << 10
# Schemas that a grammar is made of cost up to ten times as much a byte. An escape may hide a name in a body.
_SHORT_SCHEMA_BYTES = 2 << 10
_OF_SCHEMAS = (b"json_schema", b"strict", b"\\u00")


class BodyReader:
    """One worker's. ``key`` is the caller's id."""

    def __init__(self) -> None:
        self._seats = FairSemaphore(_SEATS, _TURN_BYTES)

    async def read(self, body: bytes, limits: DoorLimits, key: str) -> ChatRequest:
        """The request, its images digested unless some are remote: `digest` is for these. Raises DoorError."""
        if len(body) > _SHORT_BYTES or (len(body) > _SHORT_SCHEMA_BYTES and any(name in body for name in _OF_SCHEMAS)):
            async with self._seats.seat(key, len(body)):
                return await asyncio.to_thread(_read, body, limits)
        request = parse_chat(body, limits)
        if request.images and not request.remote:
            await self.digest(request, key)
        return request

    async def digest(self, request: ChatRequest, key: str) -> None:
        """`digest_images`, in a thread. Raises DoorError."""
        async with self._seats.seat(key, sum(image.size_bytes for image in request.images)):
            await asyncio.to_thread(digest_images, request)


def _read(body: bytes, limits: DoorLimits) -> ChatRequest:
    request = parse_chat(body, limits)
    if not request.remote:
        digest_images(request)
    return request
