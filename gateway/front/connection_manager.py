"""The connection manager: how many connections are open, and for how long each may wait. Reads nothing of what they say.

One sweep over all connections, twice a second, instead of timers for each: every wait of a client has a deadline, and
a request costs none. When no more connections may be open, the one that has waited longest without a request is closed.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from gateway.front.connection import ClientConnection
from gateway.front.errors import GatewayError, TooSlow
from gateway.front.proxies import TrustedProxies

SWEEP_EVERY_S = 0.5
SOFT_END_S = 5.0


@dataclass(frozen=True)
class ConnectionBounds:
    """``head_s``: until a head is whole. ``idle_s``: between requests. ``stall_s``: while a client does not read its answer;
    ``answer_s``: until it has read one, since it was first late."""

    connections: int
    per_address: int
    head_s: float
    idle_s: float
    stall_s: float
    answer_s: float


class ConnectionGauge(Protocol):
    def set(self, value: float) -> None: ...


class ConnectionMetrics(Protocol):
    """Who counts what becomes of connections."""

    @property
    def connections(self) -> ConnectionGauge: ...

    def refuse(self, error: GatewayError) -> None: ...

    def dismissed(self) -> None: ...


class ConnectionManager:
    """All connections of one worker. One event loop owns it."""

    def __init__(self, bounds: ConnectionBounds, proxies: TrustedProxies, observer: ConnectionMetrics) -> None:
        self._bounds, self._proxies, self._observer = bounds, proxies, observer
        self._all: set[ClientConnection] = set()
        self._waiting: dict[ClientConnection, None] = {}  # without a request, longest first
        self._addresses: Counter[str] = Counter()

    def arrived(self, connection: ClientConnection) -> bool:
        """Count a new connection; False if there is no room for it."""
        address = connection.address
        room = len(self._all) < self._bounds.connections or self._dismiss(None)
        few = self._addresses[address] < self._bounds.per_address or self._proxies.trusts(address)
        room = room and (few or self._dismiss(address))
        self._all.add(connection)
        self._addresses[address] += 1
        self._observer.connections.set(len(self._all))
        if room:
            self._waiting[connection] = None
        return room

    def left(self, connection: ClientConnection) -> None:
        self._all.discard(connection)
        self._waiting.pop(connection, None)
        self._addresses[connection.address] -= 1
        if not self._addresses[connection.address]:
            del self._addresses[connection.address]
        self._observer.connections.set(len(self._all))

    def asked(self, connection: ClientConnection) -> None:
        """A whole head came."""
        self._waiting.pop(connection, None)

    def waits(self, connection: ClientConnection) -> None:
        """Its request is answered."""
        self._waiting[connection] = None

    def refused(self, error: GatewayError) -> None:
        """A connection is ended with an answer that the application did not give."""
        self._observer.refuse(error)

    async def watch(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            self.sweep(asyncio.get_running_loop().time())

    def sweep(self, now_s: float) -> None:
        """End every wait that took too long."""
        for connection in list(self._waiting):
            self._hurry(connection, now_s)
        for connection in list(self._all):
            self._hurry_head(connection, now_s)
            ending_s, stuck_s = connection.ending_since_s, connection.stuck_since_s
            if ending_s is None and connection.transport.is_closing():
                connection.ending_since_s = now_s  # closed, with bytes that the client does not take
            # Reading a little now and then ends each stall, and would hold an engine's place or an answer's memory for days.
            slow_s = connection.slow_since_s
            if (
                (ending_s is not None and now_s - ending_s > SOFT_END_S)
                or (stuck_s is not None and now_s - stuck_s > self._bounds.stall_s)
                or (slow_s is not None and now_s - slow_s > self._bounds.answer_s)
            ):
                connection.transport.abort()

    def _hurry_head(self, connection: ClientConnection, now_s: float) -> None:
        """Refuse a head that takes too long, also one behind a request that is being answered."""
        since_s = connection.head_since_s
        if since_s is not None and now_s - since_s > self._bounds.head_s:
            connection.head_since_s = None
            self._waiting.pop(connection, None)
            late = f"the request's head did not arrive within {self._bounds.head_s:g} s; send it faster"
            connection.refuse(TooSlow(late))

    def _hurry(self, connection: ClientConnection, now_s: float) -> None:
        waiting_s = connection.waiting_since_s
        if waiting_s is not None and connection.head_since_s is None:
            limit_s = self._bounds.idle_s if connection.asked else self._bounds.head_s
            if now_s - waiting_s > limit_s:
                connection.transport.close()

    def _dismiss(self, address: str | None) -> bool:
        """Close the connection (of an address) that has waited longest; False if none waits."""
        for connection in self._waiting:
            if address is None or connection.address == address:
                del self._waiting[connection]
                self._observer.dismissed()
                connection.transport.abort()
                return True
        return False
