"""Heads that anchors know, beside those of a log that is verified: each must be of this history, and in the log. Reads only."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.ledger.errors import RolledBack, Tampered, Unreadable
from gateway.ledger.format.checkpoint import TreeHead
from gateway.ledger.format.note import Verifier
from gateway.ledger.storage.anchor import anchor_heads

Known = tuple[int, str, TreeHead]


class KnownHeads:
    """All heads of all anchors, those over fewer records first. `compared` counts the anchors that had one."""

    def __init__(self, paths: Sequence[Path], verifier: Verifier) -> None:
        self._missing = [path for path in paths if not path.exists()]
        there = [path for path in paths if path not in self._missing]
        # Sizes now, heads later: an anchor that grows meanwhile may be ahead of what was read of the log.
        streams = [_of(path, verifier, path.stat().st_size) for path in there]
        self._stream: Iterator[Known] = heapq.merge(*streams, key=lambda known: known[0])
        self._next = next(self._stream, None)
        self._seen: dict[str, int] = {}  # anchor -> records of its last head
        self._at, self._times = -1, set[int | None]()
        self._claims: list[Known] = []
        self.missing_heads: list[str] = []

    @property
    def compared(self) -> int:
        return len(self._seen)

    @property
    def next_size(self) -> int | None:
        """How many records the next head is over that an anchor knows."""
        return None if self._next is None else self._next[0]

    def log_has(self, head: TreeHead) -> None:
        """A head of the log, in its order."""
        self._move_to(head.size)
        self._times.add(head.time_s)

    def compare(self, size: int, root: bytes) -> None:
        """The tree over `size` records has this root."""
        while self._next is not None and self._next[0] == size:
            known, self._next = self._next, next(self._stream, None)
            if known[2].root != root:
                raise Tampered(f"the anchor {known[1]} knows another history of the first {size} records")
            self._seen[known[1]] = size
            self._move_to(size)
            self._claims.append(known)

    def end(self, last: TreeHead, records: int) -> None:
        """The log has no more. Unreadable if an anchor is missing, unless the log has no record."""
        self._move_to(-1)
        ahead = {name: size for name, size in self._seen.items() if size > last.size}
        if self._next is not None:
            ahead[self._next[1]] = self._next[0]
        for name, size in ahead.items():
            raise RolledBack(
                f"the anchor {name} knows {size} records, the log's own heads {last.size}: it was rolled back"
            )
        if self._missing and records:
            raise Unreadable(f"the anchor {self._missing[0]} is missing, though the log has records: bring it back")

    def _move_to(self, size: int) -> None:
        """The log goes on to heads over other records: what anchors know of the last ones must have been among them."""
        if size == self._at:
            return
        for _, name, head in self._claims:
            if head.time_s is not None and head.time_s not in self._times:
                self.missing_heads.append(
                    f"the anchor {name} has a head over {head.size} records of {head.time_s} (Unix seconds) that the log has not: "
                    f"heads were removed, or this is an older copy"
                )
        self._at, self._times, self._claims = size, set(), []


def _of(path: Path, verifier: Verifier, end: int) -> Iterator[Known]:
    for head in anchor_heads(path, verifier, end):
        yield head.size, str(path), head
