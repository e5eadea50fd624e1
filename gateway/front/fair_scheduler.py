"""Whose turn it is: callers take turns for a few seats, or for whatever else their work needs; knows no engine and no image.

Deficit round robin (Shreedhar and Varghese, 1996): each turn of a caller is worth as much cost, and what a turn leaves over
is kept. So one caller's thousand pieces of work delay another's single one by a turn, not by a thousand.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType


@dataclass(eq=False)
class Waiter:
    """One piece of work of the caller ``key``. ``turn`` is done when it may begin, or never will."""

    key: str
    cost: int
    turn: asyncio.Future[None]


@dataclass
class CallerQueue:
    """One caller's waiters, oldest first, and the cost that its turns have left over."""

    waiters: deque[Waiter] = field(default_factory=deque)
    credit: int = 0


class DeficitRoundRobin:
    """All who wait, a line for each caller. It gives nobody a turn by itself."""

    def __init__(self, worth: int) -> None:
        """``worth``: the cost that a caller's turn pays for."""
        self._worth = worth
        self._lines: dict[str, CallerQueue] = {}
        self._order: deque[str] = deque()

    def __bool__(self) -> bool:
        return bool(self._order)

    def __iter__(self) -> Iterator[Waiter]:
        for line in self._lines.values():
            yield from line.waiters

    def waiting(self, key: str) -> int:
        """How many of this caller wait."""
        return len(self._lines[key].waiters) if key in self._lines else 0

    def longest(self) -> tuple[str, deque[Waiter]]:
        """The caller with most waiters, and these."""
        key, line = max(self._lines.items(), key=lambda item: len(item[1].waiters))
        return key, line.waiters

    def add(self, key: str, cost: int) -> Waiter:
        waiter = Waiter(key, cost, asyncio.get_running_loop().create_future())
        if key not in self._lines:
            self._lines[key] = CallerQueue()
            self._order.append(key)
        self._lines[key].waiters.append(waiter)
        return waiter

    def next(self) -> Waiter | None:
        """Whose turn it is: the same until it is removed, or another comes with credit left. None if nobody waits."""
        while self._order:
            line = self._lines[self._order[0]]
            if line.waiters[0].cost <= line.credit:
                return line.waiters[0]
            line.credit += self._worth
            self._order.rotate(-1)
        return None

    def pay(self, waiter: Waiter) -> None:
        """It had its turn."""
        self._lines[waiter.key].credit -= waiter.cost

    def remove(self, waiter: Waiter) -> bool:
        """Whether it was still there."""
        line = self._lines.get(waiter.key)
        if line is None or waiter not in line.waiters:
            return False
        line.waiters.remove(waiter)
        if not line.waiters:
            del self._lines[waiter.key]
            self._order.remove(waiter.key)
        return True


class FairSemaphore:
    """So many pieces of work at once; the callers of the others wait in turn. One event loop owns it."""

    def __init__(self, seats: int, worth: int) -> None:
        self._free = seats
        self._rounds = DeficitRoundRobin(worth)

    def seat(self, key: str, cost: int) -> "Seat":
        """A seat for the length of a block."""
        return Seat(self, key, cost)

    async def take(self, key: str, cost: int) -> None:
        """Wait for a seat; who got it gives it back. Cancelled while it waits, it leaves nothing behind."""
        if self._free and not self._rounds:
            self._free -= 1
            return
        waiter = self._rounds.add(key, cost)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            self._rounds.remove(waiter)
            if waiter.turn.done() and not waiter.turn.cancelled():
                self.give_back()  # its turn came in the same moment: nobody else would give this seat back
            raise

    def give_back(self) -> None:
        self._free += 1
        while self._free:
            waiter = self._rounds.next()
            if waiter is None:
                return
            self._rounds.pay(waiter)
            self._rounds.remove(waiter)
            if not waiter.turn.done():
                self._free -= 1
                waiter.turn.set_result(None)


class Seat:
    """One seat of FairSemaphore, held in an ``async with`` block."""

    def __init__(self, seats: FairSemaphore, key: str, cost: int) -> None:
        self._seats, self._key, self._cost = seats, key, cost

    async def __aenter__(self) -> None:
        await self._seats.take(self._key, self._cost)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._seats.give_back()
