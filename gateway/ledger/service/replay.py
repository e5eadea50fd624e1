"""After a start, what the writer must know again: which exchanges are open, and what the last day used. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from gateway.ledger.errors import Tampered
from gateway.ledger.format.merkle import leaf_hash
from gateway.ledger.readers.reader import Segment, read_lines
from gateway.ledger.service.open_exchanges import OpenExchange, OpenExchanges
from gateway.ledger.service.rate_limits import DAY_MS, RateLimits
from gateway.ledger.storage.layout import LogLayout

MOST_RECORDS = 2_000_000  # of closed segments: some ten seconds of a start


class _Params(msgspec.Struct):
    limits_of: str = ""  # of a key that replaced another: the key as which it is counted


class _Glimpse(msgspec.Struct):
    """What is read of each record."""

    id: str
    kind: str
    time_ms: int
    epoch: str = ""
    key: str | None = None  # null in a deny of somebody unknown
    tenant: str | None = None
    outcome: str = ""
    tokens: int = 0
    params: _Params | None = None
    images: list[msgspec.Raw] = []
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    open_ids: list[str] = []  # of a recovery


_glimpse = msgspec.json.Decoder(_Glimpse).decode


def last_day(closed: Sequence[Segment], now_ms: int) -> tuple[list[Segment], bool]:
    """The closed segments that hold records of the last 24 hours, oldest first, and whether those are all."""
    found: list[Segment] = []
    records = 0
    for segment in reversed(closed):
        if segment.seal is None or segment.seal.to_ms < now_ms - DAY_MS:
            return found, True
        records += segment.records
        if records > MOST_RECORDS:
            return found, False
        found.insert(0, segment)
    return found, True


def lines_of(layout: LogLayout, segments: Iterable[Segment]) -> Iterator[tuple[int, bytes]]:
    """Index and line of each record of closed segments; pruned ones have none."""
    for segment in segments:
        data = read_lines(layout, segment.number, segment.seal)
        if data is not None:
            yield from enumerate(data.split(b"\n")[: segment.records], segment.first)


class Replay:
    """Takes the records oldest first. Times go from the wall's clock, which records have, to the monotonic one."""

    def __init__(self, exchanges: OpenExchanges, limits: RateLimits, wall_ms: int, monotonic_ms: int) -> None:
        self._exchanges, self._limits = exchanges, limits
        self._now_ms, self._behind_ms = monotonic_ms, wall_ms - monotonic_ms
        self.first_ms: int | None = None

    def take(self, index: int, line: bytes) -> None:
        """One record at its index."""
        try:
            seen = _glimpse(line)
        except msgspec.DecodeError as error:
            raise Tampered(f"record {index} is none that a ledger writes: {error}") from error
        if self.first_ms is None:
            self.first_ms = seen.time_ms
        at_ms = min(seen.time_ms - self._behind_ms, self._now_ms)
        if seen.kind == "admit":
            counted = (seen.params.limits_of if seen.params else "") or seen.key or ""
            subjects = (("key", counted), ("tenant", seen.tenant or ""))
            held = self._limits.take(subjects, seen.tokens, len(seen.images), at_ms)
            self._exchanges.admit(OpenExchange(seen.id, seen.key or "", seen.epoch, index, held=held))
        elif seen.kind == "complete":
            self._complete(seen, index, leaf_hash(line), at_ms)
        elif seen.kind == "recovery":
            for identity in seen.open_ids:
                self._exchanges.tell(identity)

    def finish(self) -> None:
        """Nobody runs what is still open, as far as we know: it counts no longer as running."""
        for exchange in self._exchanges.held():
            self._limits.release(exchange)

    def _complete(self, seen: _Glimpse, index: int, leaf: bytes, at_ms: int) -> None:
        known = self._exchanges.get(seen.id)
        if known is None or known.ended is not None:
            return
        if known.held is not None:
            self._limits.end(known.held, seen.outcome, seen.prompt_tokens, seen.answer_tokens, at_ms)
        self._exchanges.end(known, index, leaf)
