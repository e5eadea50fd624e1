"""Who may use how much, exactly: requests, tokens, images and exchanges at once. Pure; time is given, never read.

A minute is any 60 s, not a box on the clock: no burst of twice the limit fits around a boundary. The day's tokens are
kept by the minute, and a minute counts until it is wholly older than 24 hours, so never more than the limit fits into
any day. A refusal uses nothing up; a reservation that was too large is given back at the moment it was made.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from gateway.ledger.messages import Left, Limit

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS


@dataclass(slots=True)
class Use:
    """One exchange's share of a window; `amount` shrinks or grows when it is settled."""

    at_ms: int
    amount: int


@dataclass(slots=True)
class Window:
    """The sum of uses within the last `span_ms`, in steps of `grain_ms`."""

    span_ms: int
    grain_ms: int = 1
    uses: deque[Use] = field(default_factory=deque)
    total: int = 0

    def forget(self, now_ms: int) -> None:
        """Drop what is older than the window. A grain counts until its last millisecond is."""
        edge = now_ms - self.span_ms - (self.grain_ms - 1)
        while self.uses and self.uses[0].at_ms <= edge:
            self.total -= self.uses.popleft().amount

    def add(self, now_ms: int, amount: int) -> Use:
        at_ms = now_ms - now_ms % self.grain_ms
        # Also when the clock stepped back: an older use must not stand behind a newer one.
        if self.uses and self.uses[-1].at_ms >= at_ms:
            use = self.uses[-1]
            use.amount += amount
        else:
            use = Use(at_ms, amount)
            self.uses.append(use)
        self.total += amount
        return use

    def settle(self, use: Use, more: int, now_ms: int) -> None:
        """Correct a use by `more` (negative gives back), unless it has left the window."""
        if use.at_ms > now_ms - self.span_ms - (self.grain_ms - 1):
            use.amount += more
            self.total += more

    def until_free_ms(self, amount: int, limit: int, now_ms: int) -> int:
        """Milliseconds until `amount` more would fit; the whole span if it never does."""
        if amount > limit:
            return self.span_ms
        over = self.total + amount - limit
        for use in self.uses:
            if over <= 0:
                break
            over -= use.amount
            if over <= 0:
                return max(1, use.at_ms + self.span_ms + (self.grain_ms - 1) - now_ms)
        return 0

    def until_whole_ms(self, now_ms: int) -> int:
        """Milliseconds until nothing in the window counts any more."""
        return max(0, self.uses[-1].at_ms + self.span_ms + (self.grain_ms - 1) - now_ms) if self.uses else 0


@dataclass(slots=True)
class Subject:
    """What one key or one tenant has used."""

    requests: Window = field(default_factory=lambda: Window(MINUTE_MS))
    tokens: Window = field(default_factory=lambda: Window(MINUTE_MS))
    day: Window = field(default_factory=lambda: Window(DAY_MS, grain_ms=MINUTE_MS))
    images: Window = field(default_factory=lambda: Window(MINUTE_MS))
    running: int = 0

    def forget(self, now_ms: int) -> None:
        for window in (self.requests, self.tokens, self.day, self.images):
            window.forget(now_ms)

    def idle(self) -> bool:
        return not (self.running or self.requests.uses or self.tokens.uses or self.day.uses or self.images.uses)


@dataclass(frozen=True, slots=True)
class Over:
    """The limit that said no."""

    limit: str
    scope: str
    value: int
    remaining: int
    reset_ms: int


@dataclass(frozen=True, slots=True)
class Share:
    """What an admitted exchange took from one subject."""

    subject: Subject
    request: Use
    images: Use | None
    tokens: Use
    day: Use


@dataclass(frozen=True, slots=True)
class Reservation:
    """What an admitted exchange holds until it is settled."""

    shares: tuple[Share, ...]
    tokens: int
    images: int


class Limits:
    """All windows of all subjects. One thread owns it."""

    def __init__(self) -> None:
        self._subjects: dict[tuple[str, str], Subject] = {}

    def admit(self, limits: tuple[Limit, ...], tokens: int, images: int, now_ms: int) -> Over | Reservation:
        """Take one request, `tokens` and `images` from every subject, or from none and name the limit."""
        found = [(limit, self._subject(limit, now_ms)) for limit in limits]
        worst: Over | None = None
        for limit, subject in found:
            over = _over(limit, subject, tokens, images, now_ms)
            if over is not None and (worst is None or over.reset_ms > worst.reset_ms):
                worst = over
        if worst is not None:
            return worst
        shares = []
        for _, subject in found:
            subject.running += 1
            pictures = subject.images.add(now_ms, images) if images else None
            request = subject.requests.add(now_ms, 1)
            minute, day = subject.tokens.add(now_ms, tokens), subject.day.add(now_ms, tokens)
            shares.append(Share(subject, request, pictures, minute, day))
        return Reservation(tuple(shares), tokens, images)

    def settle(self, held: Reservation, tokens: int | None, now_ms: int) -> None:
        """End an exchange: it used `tokens`, or its estimate if None. Call once for each reservation."""
        more = 0 if tokens is None else tokens - held.tokens
        for share in held.shares:
            share.subject.running -= 1
            if more:
                share.subject.tokens.settle(share.tokens, more, now_ms)
                share.subject.day.settle(share.day, more, now_ms)

    def give_back(self, held: Reservation, now_ms: int) -> None:
        """End an exchange that never ran: nothing was used, not even the request. Instead of `settle`."""
        self.settle(held, 0, now_ms)
        for share in held.shares:
            share.subject.requests.settle(share.request, -1, now_ms)
            if share.images is not None:
                share.subject.images.settle(share.images, -held.images, now_ms)

    def left(self, limits: tuple[Limit, ...], now_ms: int) -> tuple[Left, ...]:
        """What is left of every limit that is set, for `x-ratelimit-*`."""
        answer = []
        for limit in limits:
            subject = self._subject(limit, now_ms)
            for name, value, window in _windows(limit, subject):
                if value is not None:
                    remaining = max(0, value - window.total)
                    answer.append(Left(name, limit.scope, value, remaining, window.until_whole_ms(now_ms)))
            if limit.concurrent is not None:
                remaining = max(0, limit.concurrent - subject.running)
                answer.append(Left("concurrent", limit.scope, limit.concurrent, remaining, 0))
        return tuple(answer)

    def replay(self, subjects: tuple[tuple[str, str], ...], tokens: int, images: int, at_ms: int, now_ms: int) -> None:
        """After a restart: count an exchange that the log remembers, at the time it was made."""
        for scope, name in subjects:
            subject = self._subjects.setdefault((scope, name), Subject())
            if at_ms > now_ms - MINUTE_MS:
                subject.requests.add(at_ms, 1)
                subject.tokens.add(at_ms, tokens)
                if images:
                    subject.images.add(at_ms, images)
            if at_ms > now_ms - DAY_MS:
                subject.day.add(at_ms, tokens)

    def sweep(self, now_ms: int) -> None:
        """Forget subjects that have nothing in any window. Call now and then."""
        for name, subject in list(self._subjects.items()):
            subject.forget(now_ms)
            if subject.idle():
                del self._subjects[name]

    def _subject(self, limit: Limit, now_ms: int) -> Subject:
        subject = self._subjects.setdefault((limit.scope, limit.subject), Subject())
        subject.forget(now_ms)
        return subject


def _windows(limit: Limit, subject: Subject) -> tuple[tuple[str, int | None, Window], ...]:
    return (
        ("requests_per_min", limit.requests_per_min, subject.requests),
        ("tokens_per_min", limit.tokens_per_min, subject.tokens),
        ("tokens_per_day", limit.tokens_per_day, subject.day),
        ("images_per_min", limit.images_per_min, subject.images),
    )


def _over(limit: Limit, subject: Subject, tokens: int, images: int, now_ms: int) -> Over | None:
    """The limit of one subject that is in the way the longest, or None."""
    worst: Over | None = None
    amounts = (1, tokens, tokens, images)
    for (name, value, window), amount in zip(_windows(limit, subject), amounts, strict=True):
        if value is None or amount == 0 or window.total + amount <= value:
            continue
        reset_ms = window.until_free_ms(amount, value, now_ms)
        if worst is None or reset_ms > worst.reset_ms:
            worst = Over(name, limit.scope, value, max(0, value - window.total), reset_ms)
    if worst is None and limit.concurrent is not None and subject.running >= limit.concurrent:
        # Nobody knows when a running exchange ends; a second is when to ask again.
        worst = Over("concurrent", limit.scope, limit.concurrent, 0, 1000)
    return worst
