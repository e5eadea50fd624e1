"""To whom a pool tells what it does, so that it can be counted; counts nothing itself."""

from typing import Protocol

from gateway.metrics import Choice


class Notes(Protocol):
    """Counts. Called on the pool's event loop."""

    def chosen(self, engine: str, why: Choice) -> None:
        """An exchange goes to this engine."""

    def probed(self, engine: str, *, ok: bool) -> None:
        """A probe of this engine has ended."""


class NoNotes:
    """Where nobody counts."""

    def chosen(self, engine: str, why: Choice) -> None: ...

    def probed(self, engine: str, *, ok: bool) -> None: ...
