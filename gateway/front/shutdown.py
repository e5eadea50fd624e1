"""How the gateway ends: from the signal on it takes no new work, running answers may end, for a while; starts nothing."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import uvicorn

from gateway.front.disconnects import DisconnectGuard
from gateway.front.errors import TimedOut, Unavailable

LINGER_S = 3.0  # a proxy asks /readyz every second; until it has heard the answer it sends new requests here


class Shutdown:
    """Whether the end has begun, and which answers are still going on."""

    def __init__(self) -> None:
        self.begun = False
        self.running: set[DisconnectGuard] = set()

    def refuse_new(self) -> None:
        """Raises Unavailable once the end has begun."""
        if self.begun:
            raise shutting_down()

    def end_running(self) -> None:
        """Their time is over: each ends with an error that its client sees and a record."""
        for guard in list(self.running):
            guard.stop(TimedOut("the gateway is shutting down and can't wait for the end of this answer; ask again"))


class Server(uvicorn.Server):
    """uvicorn's server, which after the signal goes on accepting, to say that it is shutting down, until the last answer ended."""

    def __init__(
        self,
        config: uvicorn.Config,
        end: Shutdown,
        close_queues: Callable[[], None],
        drain_s: float,
        linger_s: float,
        say: Callable[[], None],
        say_stopping: Callable[[int], None] = lambda answers: None,
    ) -> None:
        """At most ``drain_s`` for what runs, at least ``linger_s`` for who has not heard yet. ``say``: connections are accepted.
        ``say_stopping``: the end has begun and so many answers are waited for."""
        super().__init__(config)
        self._end, self._close_queues, self._say, self._say_stopping = end, close_queues, say, say_stopping
        self._said = False
        self._drain_s, self._linger_s = drain_s, min(linger_s, drain_s)
        self._since_s: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._say()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, but for who has connected and was not accepted yet: a listening socket that closes would reset them."""
        listeners = sockets or []
        late = [one for listener in listeners for one in _not_accepted(listener)]
        for server in self.servers:
            server.close()
        for listener in listeners:
            listener.close()
        made: Any = self.config.http_protocol_class
        protocol = partial(made, config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        for one in late:
            await asyncio.get_running_loop().connect_accepted_socket(protocol, one)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._end.begun:
            super().handle_exit(sig, frame)  # a second signal means now
        self._end.begun = True

    async def on_tick(self, counter: int) -> bool:
        """uvicorn calls this ten times a second."""
        if self._end.begun and not self.should_exit:
            now_s = asyncio.get_running_loop().time()
            if self._since_s is None:
                self._since_s = now_s
                self._close_queues()
            elif not self._said:
                self._said = True  # one look later: those who waited for an engine are gone
                self._say_stopping(len(self._end.running))
            past_s = now_s - self._since_s
            if not self._end.running:
                self.should_exit = past_s >= self._linger_s
            elif past_s >= self._drain_s:
                self._end.end_running()
                self.should_exit = True
        return await super().on_tick(counter)


def _not_accepted(listener: socket.socket) -> Iterator[socket.socket]:
    listener.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            yield listener.accept()[0]


def shutting_down() -> Unavailable:
    """What a request is told that comes too late."""
    return Unavailable(
        "the gateway is shutting down; try again, another one may answer", code="shutting_down", retry_after_s=1
    )
