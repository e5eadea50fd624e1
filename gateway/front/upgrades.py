"""Requests that offer to change the protocol (Upgrade): which are ignored, and their heads without the offer; parses no body.

RFC 9110, section 7.8, lets a server ignore an Upgrade that it does not want. The parser cannot: it takes every byte behind such
a head for the other protocol. So a head with an ignored offer is written anew without it, and the parser reads that one.
"""

from collections.abc import Iterable

Header = tuple[bytes, bytes]


def is_ignored(method: bytes, headers: Iterable[Header]) -> bool:
    """Whether the request can be answered as if it had offered nothing.

    A WebSocket client can do nothing without its upgrade. An old proxy in front might also take the connection for a tunnel.
    """
    offered = b",".join(value for name, value in headers if name == b"upgrade").lower().split(b",")
    return method != b"CONNECT" and not any(one.strip().partition(b"/")[0] == b"websocket" for one in offered)


def head_without_offer(method: bytes, target: bytes, version: str, headers: Iterable[Header]) -> bytes:
    """The same head without Upgrade. Every other header stays, so that each rule about heads and lengths is applied to it."""
    lines = [b"%b: %b" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, target, version.encode()), *lines, b"", b""])
