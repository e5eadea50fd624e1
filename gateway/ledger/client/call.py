"""One question to the ledger that is on its way, and how it ended; sends nothing and knows no socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from gateway.ledger.client.messages import Ask, Fault, Say
from gateway.ledger.errors import LedgerRefused, LedgerUnavailable

T = TypeVar("T", bound=Say)


class LedgerCall(Generic[T]):
    """The client settles it. One may wait for it at a time, and who stops waiting does not take the question back."""

    __slots__ = ("_asked_s", "_kinds", "_said", "_waiter", "ask", "n", "on_failure", "timer", "took_s")

    def __init__(self, n: int, ask: Ask, kinds: tuple[type[T], ...]) -> None:
        """`kinds`: what the answer may be."""
        self.n, self.ask = n, ask
        self.timer: asyncio.TimerHandle | None = None
        self.on_failure: Callable[[], None] | None = None  # called once there will be no good answer
        self.took_s = 0.0  # once it is over
        self._kinds = kinds
        self._asked_s = time.monotonic()
        self._said: Say | LedgerUnavailable | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def over(self) -> bool:
        return self._said is not None

    @property
    def failed(self) -> bool:
        return isinstance(self._said, LedgerUnavailable | Fault)

    def settle(self, said: Say | LedgerUnavailable) -> None:
        """The answer, or why there is none."""
        self._said = said
        self.took_s = time.monotonic() - self._asked_s
        if self.timer is not None:
            self.timer.cancel()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if self.failed and self.on_failure is not None:
            self.on_failure()

    async def wait(self) -> T:
        """The answer. Raises LedgerUnavailable if there is none in time, LedgerRefused if it is a fault."""
        while self._said is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        said = self._said
        if isinstance(said, self._kinds):
            return said
        if isinstance(said, LedgerUnavailable):
            raise said
        if isinstance(said, Fault):
            raise LedgerRefused(said.text)
        raise LedgerUnavailable(f"the ledger answered something else: {type(said).__name__}")
