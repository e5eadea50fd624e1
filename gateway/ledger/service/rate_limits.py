"""Who may use how much, exactly: requests, tokens, images and exchanges at once. Pure; time is given, never read.

A minute is any 60 s, not a box on the clock: no burst of twice the limit fits around a boundary. The day's tokens are
kept by the minute, and a minute counts until it is wholly older than 24 hours, so never more than the limit fits into
any day. A refusal uses nothing up; a reservation that was too large is given back at the moment it was made.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from gateway.ledger.client.messages import Limit, LimitExceeded, LimitRemaining

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS

Column = Literal["requests", "amount"]


@dataclass(slots=True)
class WindowEntry:
    """What fell into one moment of a window; both shrink or grow when an exchange is settled."""

    at_ms: int
    requests: int
    amount: int


@dataclass(slots=True)
class Window:
    """The uses within the last `span_ms`, in steps of `grain_ms`: how many requests, and their `amount` of something."""

    span_ms: int
    grain_ms: int = 1
    uses: deque[WindowEntry] = field(default_factory=deque)
    requests: int = 0
    amount: int = 0

    def forget(self, now_ms: int) -> None:
        """Drop what is older than the window. A grain counts until its last millisecond is."""
        edge = now_ms - self.span_ms - (self.grain_ms - 1)
        uses = self.uses
        while uses and uses[0].at_ms <= edge:
            use = uses.popleft()
            self.requests -= use.requests
            self.amount -= use.amount

    def add(self, now_ms: int, amount: int) -> WindowEntry:
        """Count one request and its amount."""
        at_ms = now_ms - now_ms % self.grain_ms
        # Also when the clock stepped back: an older use must not stand behind a newer one.
        if self.uses and self.uses[-1].at_ms >= at_ms:
            use = self.uses[-1]
            use.requests += 1
            use.amount += amount
        else:
            use = WindowEntry(at_ms, 1, amount)
            self.uses.append(use)
        self.requests += 1
        self.amount += amount
        return use

    def settle(self, use: WindowEntry, requests: int, amount: int, now_ms: int) -> None:
        """Correct a use by so many more (negative gives back), unless it has left the window."""
        if use.at_ms > now_ms - self.span_ms - (self.grain_ms - 1):
            use.requests += requests
            use.amount += amount
            self.requests += requests
            self.amount += amount

    def until_free_ms(self, column: Column, more: int, limit: int, now_ms: int) -> int:
        """Milliseconds until so many more would fit; the whole span if they never do."""
        if more > limit:
            return self.span_ms
        over = int(getattr(self, column)) + more - limit
        for use in self.uses:
            if over <= 0:
                break
            over -= int(getattr(use, column))
            if over <= 0:
                return max(1, use.at_ms + self.span_ms + (self.grain_ms - 1) - now_ms)
        return 0

    def until_whole_ms(self, now_ms: int) -> int:
        """Milliseconds until nothing in the window counts any more."""
        return max(0, self.uses[-1].at_ms + self.span_ms + (self.grain_ms - 1) - now_ms) if self.uses else 0


@dataclass(slots=True)
class LimitedSubject:
    """What one key or one tenant has used: tokens of a minute and of a day, images of a minute."""

    minute: Window = field(default_factory=lambda: Window(MINUTE_MS))
    day: Window = field(default_factory=lambda: Window(DAY_MS, grain_ms=MINUTE_MS))
    images: Window = field(default_factory=lambda: Window(MINUTE_MS))
    running: int = 0

    def forget(self, now_ms: int) -> None:
        self.minute.forget(now_ms)
        self.day.forget(now_ms)
        self.images.forget(now_ms)

    def idle(self) -> bool:
        return not (self.running or self.minute.uses or self.day.uses or self.images.uses)


@dataclass(slots=True)
class SubjectReservation:
    """What an admitted exchange took from one subject."""

    subject: LimitedSubject
    minute: WindowEntry
    day: WindowEntry
    images: WindowEntry | None


@dataclass(slots=True)
class Reservation:
    """What an admitted exchange holds until it is settled."""

    shares: list[SubjectReservation]
    tokens: int
    images: int
    running: bool = True


class RateLimits:
    """All windows of all subjects. One thread owns it."""

    def __init__(self) -> None:
        self._subjects: dict[tuple[str, str], LimitedSubject] = {}

    def admit(
        self, limits: tuple[Limit, ...], tokens: int, images: int, now_ms: int
    ) -> tuple[LimitExceeded | Reservation, tuple[LimitRemaining, ...]]:
        """Take one request, `tokens` and `images` from every subject, or from none and name the limit; and what is left."""
        found = [(limit, self._subject(limit.scope, limit.subject, now_ms)) for limit in limits]
        worst: LimitExceeded | None = None
        for limit, subject in found:
            over = _over(limit, subject, tokens, images, now_ms)
            if over is not None and (worst is None or over.reset_ms > worst.reset_ms):
                worst = over
        if worst is not None:
            return worst, _left(found, now_ms)
        held = _take([subject for _, subject in found], tokens, images, now_ms)
        return held, _left(found, now_ms)

    def take(self, subjects: tuple[tuple[str, str], ...], tokens: int, images: int, now_ms: int) -> Reservation:
        """Take it from every subject (scope and name) whatever their limits: it was admitted before."""
        return _take([self._subject(scope, name, now_ms) for scope, name in subjects], tokens, images, now_ms)

    def release(self, held: Reservation) -> None:
        """Whoever ran it is gone: it counts no longer as running. What it reserved stays so until it is ended."""
        if held.running:
            held.running = False
            for share in held.shares:
                share.subject.running -= 1

    def end(
        self, held: Reservation, outcome: str, prompt_tokens: int | None, answer_tokens: int | None, now_ms: int
    ) -> None:
        """End an exchange as its record says: `refused` used nothing, no usage means what was reserved."""
        if outcome == "refused":
            self.give_back(held, now_ms)
        else:
            self.settle(held, None if prompt_tokens is None else prompt_tokens + (answer_tokens or 0), now_ms)

    def settle(self, held: Reservation, tokens: int | None, now_ms: int) -> None:
        """End an exchange: it used `tokens`, or its estimate if None. Call once for each reservation."""
        self.release(held)
        more = 0 if tokens is None else tokens - held.tokens
        for share in held.shares:
            if more:
                share.subject.minute.settle(share.minute, 0, more, now_ms)
                share.subject.day.settle(share.day, 0, more, now_ms)

    def give_back(self, held: Reservation, now_ms: int) -> None:
        """End an exchange that never ran: nothing was used, not even the request. Instead of `settle`."""
        self.settle(held, 0, now_ms)
        for share in held.shares:
            share.subject.minute.settle(share.minute, -1, 0, now_ms)
            share.subject.day.settle(share.day, -1, 0, now_ms)
            if share.images is not None:
                share.subject.images.settle(share.images, -1, -held.images, now_ms)

    def left(self, limits: tuple[Limit, ...], now_ms: int) -> tuple[LimitRemaining, ...]:
        """What is left of every limit that is set, for `x-ratelimit-*`."""
        return _left([(limit, self._subject(limit.scope, limit.subject, now_ms)) for limit in limits], now_ms)

    def sweep(self, now_ms: int) -> None:
        """Forget subjects that have nothing in any window. Call now and then."""
        for name, subject in list(self._subjects.items()):
            subject.forget(now_ms)
            if subject.idle():
                del self._subjects[name]

    def _subject(self, scope: str, name: str, now_ms: int) -> LimitedSubject:
        subject = self._subjects.get((scope, name))
        if subject is None:
            subject = self._subjects[scope, name] = LimitedSubject()
        subject.forget(now_ms)
        return subject


def _take(subjects: list[LimitedSubject], tokens: int, images: int, now_ms: int) -> Reservation:
    shares = []
    for subject in subjects:
        subject.running += 1
        pictures = subject.images.add(now_ms, images) if images else None
        shares.append(
            SubjectReservation(subject, subject.minute.add(now_ms, tokens), subject.day.add(now_ms, tokens), pictures)
        )
    return Reservation(shares, tokens, images)


def _windows(limit: Limit, subject: LimitedSubject) -> tuple[tuple[str, int | None, Window, Column], ...]:
    return (
        ("requests_per_min", limit.requests_per_min, subject.minute, "requests"),
        ("tokens_per_min", limit.tokens_per_min, subject.minute, "amount"),
        ("tokens_per_day", limit.tokens_per_day, subject.day, "amount"),
        ("images_per_min", limit.images_per_min, subject.images, "amount"),
    )


def _left(found: list[tuple[Limit, LimitedSubject]], now_ms: int) -> tuple[LimitRemaining, ...]:
    answer = []
    for limit, subject in found:
        for name, value, window, column in _windows(limit, subject):
            if value is not None:
                used = window.requests if column == "requests" else window.amount
                answer.append(
                    LimitRemaining(name, limit.scope, value, max(0, value - used), window.until_whole_ms(now_ms))
                )
        if limit.concurrent is not None:
            remaining = max(0, limit.concurrent - subject.running)
            answer.append(LimitRemaining("concurrent", limit.scope, limit.concurrent, remaining, 0))
    return tuple(answer)


def _over(limit: Limit, subject: LimitedSubject, tokens: int, images: int, now_ms: int) -> LimitExceeded | None:
    """The limit of one subject that is in the way the longest, or None."""
    worst: LimitExceeded | None = None
    amounts = (1, tokens, tokens, images)
    for (name, value, window, column), more in zip(_windows(limit, subject), amounts, strict=True):
        if value is None or more == 0:
            continue
        used = window.requests if column == "requests" else window.amount
        if used + more <= value:
            continue
        reset_ms = window.until_free_ms(column, more, value, now_ms)
        if worst is None or reset_ms > worst.reset_ms:
            worst = LimitExceeded(name, limit.scope, value, max(0, value - used), reset_ms)
    if worst is None and limit.concurrent is not None and subject.running >= limit.concurrent:
        # Nobody knows when a running exchange ends; a second is when to ask again.
        worst = LimitExceeded("concurrent", limit.scope, limit.concurrent, 0, 1000)
    return worst
