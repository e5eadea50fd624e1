"""Who is asked next: a bounded number of exchanges works at one engine, the rest waits here, fairly by caller; asks nobody.

Callers take turns (gateway/front/fair_scheduler.py), and each turn is worth as many tokens.
"""

import asyncio
import time
from dataclasses import dataclass, replace
from types import TracebackType

from gateway.engines.shared_load import SharedLoad
from gateway.front.errors import GatewayError, OverLimit, Unavailable
from gateway.front.fair_scheduler import DeficitRoundRobin, Waiter

TURN_TOKENS = 1024
RETRY_AFTER_S = 5
LOOK_AGAIN_S = 0.02


class EngineRemoved(Exception):
    """The engine went away while one waited for it: nothing was asked, another engine may be."""


@dataclass(frozen=True)
class QueueBounds:
    """How much may work and wait at one engine. ``tokens``: text and pictures of the prompts and the answers' bounds."""

    exchanges: int
    tokens: int
    waiting: int
    waiting_per_key: int
    wait_s: float


class Queue:
    """One worker's queue for one engine. ``exchanges`` and ``tokens`` are this worker's at work, ``waiting`` and
    ``waiting_tokens`` are not yet. The bounds hold for all workers together. One event loop owns it."""

    def __init__(self, engine: str, bounds: QueueBounds, load: SharedLoad) -> None:
        self._engine, self._bounds, self._load = engine, bounds, load
        self.exchanges = self.tokens = self.waiting = self.waiting_tokens = 0
        self._most = bounds.exchanges
        self._looking = False
        self._working: dict[str, int] = {}
        self._rounds = DeficitRoundRobin(TURN_TOKENS)
        self._closed = False

    @property
    def bound(self) -> int:
        """How many exchanges may be at work at the engine."""
        return self._bounds.exchanges

    def follow(self, places: int | None) -> None:
        """Let no more be at work than the engine has places: what waits waits here, fairly and visibly. None: the bounds alone."""
        exchanges = self._most if places is None else max(1, min(self._most, places))
        if exchanges != self._bounds.exchanges:
            self._bounds = replace(self._bounds, exchanges=exchanges)
            self._admit()

    def turn(self, key: str, tokens: int, since_s: float) -> "QueueTurn":
        """Hold a place at the engine; gives the seconds that were waited since ``since_s`` (monotonic), elsewhere included.

        Raises Unavailable, EngineRemoved, or OverLimit where the queue is full of the caller's own requests. Cancelled while it
        waits, it leaves nothing behind.
        """
        return QueueTurn(self, key, tokens, since_s)

    async def enter(self, key: str, tokens: int, since_s: float) -> None:
        """Wait for a place; who got it gives it back with ``leave``."""
        if self._closed:
            raise _closing()
        if self._rounds or not self._fits(tokens):
            await self._wait(key, tokens, since_s)
        else:
            self._take(key, tokens)

    def leave(self, key: str, tokens: int) -> None:
        self._give_back(key, tokens)
        self._admit()

    @property
    def load_tokens(self) -> int:
        """What is at work at the engine, of all workers, and what waits here."""
        return self._load.at_work(self._engine)[1] + self.waiting_tokens

    def close(self) -> None:
        """Refuse all who wait and all who come."""
        self._closed = True
        self._send_away(_closing())

    def evict(self) -> None:
        """Send away all who wait: another engine may take them."""
        self._send_away(EngineRemoved())

    def _send_away(self, why: Exception) -> None:
        for waiter in self._rounds:
            if not waiter.turn.done():
                waiter.turn.set_exception(why)

    async def _wait(self, key: str, tokens: int, since_s: float) -> None:
        waiter = self._line_up(key, tokens)
        try:
            async with asyncio.timeout(since_s + self._bounds.wait_s - time.monotonic()):
                await waiter.turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.exception() is None:
                # Its turn came in the same moment: it holds a place that nobody else would give back.
                self._give_back(key, tokens)
            if isinstance(error, TimeoutError):
                raise self._refusal(key, "no place became free in time") from None
            raise
        finally:
            self._forget(waiter)
            self._admit()

    def _line_up(self, key: str, tokens: int) -> Waiter:
        if self._rounds.waiting(key) >= self._bounds.waiting_per_key:
            raise OverLimit(
                "too many requests of this API key wait already; send fewer at once", retry_after_s=RETRY_AFTER_S
            )
        if self.waiting >= self._bounds.waiting:
            self._make_room(key)
        waiter = self._rounds.add(key, tokens)
        self.waiting += 1
        self.waiting_tokens += tokens
        self._load.add(self._engine, waiting=1)
        self._look_again()
        return waiter

    def _look_again(self) -> None:
        """Room that another worker gives back is not told to us: while anybody waits, look."""
        if not self._looking and self._rounds:
            self._looking = True
            asyncio.get_running_loop().call_later(LOOK_AGAIN_S, self._look)

    def _look(self) -> None:
        self._looking = False
        self._admit()
        self._look_again()

    def _make_room(self, key: str) -> None:
        """The longest line gives up its newest waiter for a caller who has fewer; raises where there is none."""
        longest, waiters = self._rounds.longest()
        newest = next((waiter for waiter in reversed(waiters) if not waiter.turn.done()), None)
        if newest is None or len(waiters) <= self._rounds.waiting(key) + 1:
            raise self._refusal(key, "too many requests wait already")
        newest.turn.set_exception(self._refusal(longest, "too many requests wait already"))
        self._forget(newest)

    def _admit(self) -> None:
        """Give turns while there is room. Who is next but too large for the room that is left is waited for."""
        while not self._closed:
            waiter = self._rounds.next()
            if waiter is None or not self._fits(waiter.cost):
                return
            self._rounds.pay(waiter)
            if not waiter.turn.done():
                self._take(waiter.key, waiter.cost)
                waiter.turn.set_result(None)
            self._forget(waiter)

    def _fits(self, tokens: int) -> bool:
        # One that is larger than all the room there is passes alone, or it would never pass.
        bounds, (exchanges, at_work) = self._bounds, self._load.at_work(self._engine)
        room = at_work + tokens <= bounds.tokens or not exchanges
        if not room or exchanges >= bounds.exchanges:
            return False
        if not self.exchanges:
            return True
        # Where callers of other workers wait too, nobody takes more than an equal part: or who has all the places, and
        # sees first that one is free, would keep them for ever.
        parts = 1 + self._load.others_waiting(self._engine)
        return parts == 1 or (
            (self.exchanges + 1) * parts <= bounds.exchanges and (self.tokens + tokens) * parts <= bounds.tokens
        )

    def _take(self, key: str, tokens: int) -> None:
        self.exchanges += 1
        self.tokens += tokens
        self._load.add(self._engine, exchanges=1, tokens=tokens)
        self._working[key] = self._working.get(key, 0) + 1

    def _give_back(self, key: str, tokens: int) -> None:
        self.exchanges -= 1
        self.tokens -= tokens
        self._load.add(self._engine, exchanges=-1, tokens=-tokens)
        self._working[key] -= 1
        if not self._working[key]:
            del self._working[key]

    def _forget(self, waiter: Waiter) -> None:
        if self._rounds.remove(waiter):
            self.waiting -= 1
            self.waiting_tokens -= waiter.cost
            self._load.add(self._engine, waiting=-1)

    def _refusal(self, key: str, why: str) -> GatewayError:
        mine = self._working.get(key, 0) + self._rounds.waiting(key)
        if mine > 1 and 2 * mine > self.exchanges + self.waiting:
            return OverLimit(f"{why}, and most are of this API key; send fewer at once", retry_after_s=RETRY_AFTER_S)
        return Unavailable(
            f"the engine is busy: {why}; try again later", code="engine_busy", retry_after_s=RETRY_AFTER_S
        )


class QueueTurn:
    """A place at the engine for the length of a block. A class, since a generator costs each request a hundredth."""

    def __init__(self, queue: Queue, key: str, tokens: int, since_s: float) -> None:
        self._queue, self._key, self._tokens, self._since_s = queue, key, tokens, since_s

    async def __aenter__(self) -> float:
        await self._queue.enter(self._key, self._tokens, self._since_s)
        return time.monotonic() - self._since_s

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.leave(self._key, self._tokens)


def _closing() -> Unavailable:
    return Unavailable(
        "the gateway is shutting down; try again, another one may answer", code="shutting_down", retry_after_s=1
    )
