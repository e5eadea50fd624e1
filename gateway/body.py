"""Reads a request's body under a cap and a deadline; never keeps more than the cap in memory."""

import asyncio

from starlette.types import Receive

from gateway.errors import BadRequest, TooLarge, TooSlow
from gateway.presence import ClientLeft


async def read_body(headers: dict[bytes, bytes], receive: Receive, most_bytes: int, timeout_s: float) -> bytes:
    """The whole body. Raises TooLarge, TooSlow, BadRequest (an encoding that is not understood) or ClientLeft."""
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise BadRequest("compressed request bodies are not accepted; send it without Content-Encoding")
    announced = headers.get(b"content-length", b"0")
    too_large = TooLarge(f"the request body is larger than {most_bytes:,} bytes; send fewer or smaller pictures")
    if announced.isdigit() and int(announced) > most_bytes:
        raise too_large
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > most_bytes:
                    raise too_large
                if not message.get("more_body", False):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
    except TimeoutError:
        raise TooSlow(
            f"the request body did not arrive within {timeout_s:g} s; send it faster, or smaller pictures"
        ) from None
