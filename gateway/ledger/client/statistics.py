"""What the ledger has done since its start, in numbers for whoever watches it; counts what it is told, asks nobody.

The writer's thread owns a LedgerCounters. Errors of helper threads are counted by these: each has a word of its own, so that no two
threads ever count the same one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

# Upper bounds, in seconds: from a disk with a battery to one that is stuck.
COMMIT_BOUNDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
BATCH_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
Trouble = Literal["anchor", "seal", "archive", "packet"]
TROUBLES: tuple[Trouble, ...] = ("anchor", "seal", "archive", "packet")
KINDS = (
    *("boot", "recovery", "seal", "segment", "rhythm", "shutdown", "prune", "shred"),
    *("admit", "complete", "deny", "key", "integrity", "gap"),
)


class StatisticsAsk(Struct, frozen=True, forbid_unknown_fields=True, tag_field="do", tag="figures"):
    """What the ledger has done. Answer: LedgerStatistics."""


class HistogramData(Struct, frozen=True):
    """How many measurements fell at or below each bound and above the one before; the last count is of those above all."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float


class LedgerStatistics(Struct, frozen=True, tag_field="is", tag="figures"):
    """Answer to StatisticsAsk. Sizes in records unless named otherwise, times Unix milliseconds."""

    commit_s: HistogramData
    batch: HistogramData
    appended: dict[str, int]
    troubles: dict[str, int]
    size: int
    head_size: int
    head_ms: int
    commit_ms: int
    open_exchanges: int
    connections: int
    segment_bytes: int
    free_bytes: int
    disk_bytes: int
    since_ms: int


class HistogramBuilder:
    """Measurements of one kind, sorted into their bounds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(float(bound) for bound in bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def take(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def spread(self) -> HistogramData:
        return HistogramData(self._bounds, tuple(self._counts), self._sum)


class LedgerCounters:
    """All that is counted. `commit_ms` is when the last batch was committed, 0 before the first."""

    def __init__(self) -> None:
        self.commit_s = HistogramBuilder(COMMIT_BOUNDS)
        self.batch = HistogramBuilder(BATCH_BOUNDS)
        self.appended: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        self.troubles: Counter[str] = Counter(dict.fromkeys(TROUBLES, 0))
        self.commit_ms = 0

    def committed(self, seconds: float, records: int, now_ms: int) -> None:
        self.commit_s.take(seconds)
        self.batch.take(records)
        self.commit_ms = now_ms

    def trouble(self, what: Trouble) -> None:
        self.troubles[what] += 1
