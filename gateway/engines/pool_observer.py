"""To whom a pool tells what it does, so that it can be counted; counts nothing itself."""

from typing import Protocol

from gateway.telemetry.catalogue import RoutingReason


class PoolObserver(Protocol):
    """Counts. Called on the pool's event loop."""

    def chosen(self, engine: str, why: RoutingReason) -> None:
        """An exchange goes to this engine."""

    def probed(self, engine: str, *, ok: bool) -> None:
        """A probe of this engine has ended."""


class NoObserver:
    """Where nobody counts."""

    def chosen(self, engine: str, why: RoutingReason) -> None: ...

    def probed(self, engine: str, *, ok: bool) -> None: ...
