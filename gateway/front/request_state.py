"""What the gateway itself knows of one request, in ``scope["state"]``: one typed object instead of loose names. Reads no header."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

KEY = "vitrine"


class BodySink(Protocol):
    """Takes a body's pieces where they come off the socket."""

    def take(self, part: bytes) -> bool:
        """Keep a piece; False if no more can be kept."""


class ConnectionView(Protocol):
    """A client's connection as routes and the relay see it. ``on_left`` is called once it is lost; ``left`` from then on."""

    on_left: Callable[[], None] | None

    @property
    def left(self) -> bool: ...

    def whole_body(self, scope: object) -> bytes | None: ...

    def pieces_to(self, sink: BodySink, scope: object) -> AbstractContextManager[None]: ...

    def is_sending_its_body(self, scope: object) -> bool: ...

    def leave_open(self) -> None: ...


@dataclass(slots=True)
class RequestState:
    """The connection that the request came by, and what the envelope made of it.

    ``request_id`` is our own, ``client_ip`` the client's address as a trusted proxy says or the socket (``unix`` on a Unix
    socket), ``peer`` the socket's other end. ``ignored``: names of the body's fields that were ignored, as the client wrote them.
    ``limits_left`` gives the headers that tell what is left of the caller's limits; it is set once the caller is known, where the
    route's own answer does not tell.
    """

    connection: ConnectionView
    request_id: str = ""
    client_ip: str = ""
    peer: str = ""
    ignored: tuple[str, ...] = ()
    limits_left: Callable[[], Awaitable[list[tuple[bytes, bytes]]]] | None = None


def state_of(scope: Mapping[str, Any]) -> RequestState:
    """The state of the request of this ASGI scope."""
    state: RequestState = scope["state"][KEY]
    return state
