"""The lives of a ledger, from one start to the next, and what each promised: which prunes hold, and where heads are missing.

It sees the heads and the records of the log's own life in their order: a head over N records comes before record N. A life begins
with a boot record of the ledger. What a head of the same life covers is the ledger's word. What was there without a head when the
next life began was only taken over: a prune among it does not count. Version 0.1.0 has rules of its own (decision 0070).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.ledger.errors import Tampered
from gateway.ledger.format.checkpoint import TreeHead
from gateway.ledger.format.promises import (
    CLOCK_BACK,
    LATE,
    NO_PROMISES,
    OLD_RULES,
    HeadsPin,
    Promises,
    read_promises,
)
from gateway.ledger.format.record import number

OWN_KINDS = frozenset(("boot", "recovery", "seal", "prune", "shutdown", "segment", "rhythm", "shred"))
STRAY = "stray"  # a record that stands between a shutdown and the next boot

TimeOf = Callable[[int], int]


class Lives:
    """Fed by a verification, segment by segment. `prunes` are those that hold so far: segment -> records with their index."""

    def __init__(self) -> None:
        self.prunes: dict[int, list[dict[str, Any]]] = {}
        self.unsigned_prunes: set[int] = set()
        self.adopted = 0
        self.silences: list[str] = []
        self._promises: Promises = NO_PROMISES
        self._began = -1  # index of the boot, -1 where it is not known
        self._heads = 0  # of this life
        self._found: int | None = None  # records without a head when this life began
        self._told: int | None = None  # how many its recovery said there were
        self._last = TreeHead("", 0, b"")
        self._waiting: list[dict[str, Any]] = []
        self._excused: set[str] = set()
        self._stray: int | None = None
        self._pin_fault: tuple[int, str] | None = None  # of a record that no head has covered so far

    def skip(self, heads: list[TreeHead]) -> None:
        """A segment whose records were pruned: what began there is not known."""
        if heads:
            self._last = heads[-1]
        self._promises, self._began, self._heads, self._found = NO_PROMISES, -1, 0, None
        self._waiting, self._excused, self._stray, self._pin_fault = [], set(), None, None

    def segment(
        self, heads: list[TreeHead], notes: list[str], events: list[tuple[int, dict[str, Any]]], time_of: TimeOf
    ) -> None:
        """One segment: its heads with their notes, and the records of the log's own life. `time_of` gives a record's time."""
        pin = HeadsPin()
        at = 0
        for index, fields in events:
            while at < len(heads) and heads[at].size <= index:
                self._head(heads[at], time_of)
                pin.take(notes[at].encode())
                at += 1
            self._record(index, fields, pin, time_of)
        for head in heads[at:]:
            self._head(head, time_of)

    def end(self, size: int, time_of: TimeOf, *, grows: bool) -> str | None:
        """The log's end: the silence that its unsigned records show, if any. `grows`: a head came while the log was read."""
        if grows:
            return None
        self._refuse_headless(size)
        self._lose_waiting()
        self._refuse_stray()
        return self._silence(size, time_of)

    # Heads

    def _head(self, head: TreeHead, time_of: TimeOf) -> None:
        new = self._promises.rules > OLD_RULES
        if self._pin_fault is not None and head.size > self._pin_fault[0]:
            raise Tampered(self._pin_fault[1])
        if new and self._heads:
            self._check_rhythm(head, time_of)
        elif new and self._found is not None:
            self._take_over()
        if not new:
            self._stray = None  # version 0.1.0 signed it: its own rules
        self._heads += 1
        self._last = head
        self._excused = set()
        signed, self._waiting = self._waiting, [fields for fields in self._waiting if fields["index"] >= head.size]
        for fields in signed:
            if fields["index"] < head.size:
                self.prunes.setdefault(fields["segment"], []).append(fields)

    def _check_rhythm(self, head: TreeHead, time_of: TimeOf) -> None:
        before, after = self._last.time_s or 0, head.time_s or 0
        if after < before and CLOCK_BACK not in self._excused:
            raise Tampered(
                f"the head of {head.size} records is {before - after} s older than the one before it, and no record says "
                f"that the clock went back: heads were swapped"
            )
        if LATE in self._excused:
            return
        late = head.size > self._last.size and self._promises.is_late(time_of(self._last.size), after * 1000)
        if self._promises.is_silence(before, after) or late:
            raise Tampered(
                f"between the heads of {self._last.size} and {head.size} records no head was signed for {after - before} s, "
                f"longer than was promised, and no record says why: heads are missing"
            )

    def _take_over(self) -> None:
        """The first head of a life: it covers what the start found without a head, which the recovery must tell."""
        found, told = self._found or 0, self._told or 0
        if found != told:
            raise Tampered(
                f"a start at record {self._began} says that {told} records had no head, but {found} have none: "
                f"heads were removed"
            )
        self.adopted += found

    # Records of the log's own life

    def _record(self, index: int, fields: dict[str, Any], pin: HeadsPin, time_of: TimeOf) -> None:
        kind = fields["kind"]
        if kind == "boot":
            self._boot(index, fields, time_of)
        elif kind == STRAY:
            self._stray = index if self._stray is None else self._stray
        elif kind == "segment" and self._began < 0:
            self._promises = read_promises(fields)
        elif kind == "prune" and number(fields, "segment") is not None:
            self._waiting.append(fields | {"index": index, "promises": self._promises})
        elif kind == "rhythm" and self._promises.rules > OLD_RULES:
            self._excused.add(str(fields.get("what")))
        elif kind == "recovery":
            if self._began >= 0 and index == self._began + 1:
                self._told = number(fields, "unsigned_records") or 0
            elif self._promises.rules > OLD_RULES:
                raise Tampered(f"record {index} is a recovery, but no start stands before it")
        if self._promises.rules > OLD_RULES:
            self._refuse_stray()
            self._check_pin(index, fields, pin)

    def _boot(self, index: int, fields: dict[str, Any], time_of: TimeOf) -> None:
        promises = read_promises(fields)
        if promises.rules > OLD_RULES:
            self._refuse_headless(index)
            self._lose_waiting()
            self._refuse_stray()
            silence = self._silence(index, time_of)
            if silence:
                self.silences.append(silence)
        self._promises, self._began, self._heads = promises, index, 0
        self._found, self._told, self._excused = index - self._last.size, None, set()

    def _check_pin(self, index: int, fields: dict[str, Any], pin: HeadsPin) -> None:
        told = fields.get("heads")
        if isinstance(told, dict) and told != pin.fields() and self._pin_fault is None:
            # Heads are read before lines: only where a head covers the record were all that came before it read.
            self._pin_fault = (
                index,
                f"record {index} ({fields['kind']}) says that the segment had {told.get('count')} heads before it, but {pin.count} "
                f"are here, or others: heads were removed or changed",
            )

    def _lose_waiting(self) -> None:
        self.unsigned_prunes |= {fields["segment"] for fields in self._waiting}
        self._waiting = []

    def _refuse_headless(self, end: int) -> None:
        """A start answers nobody before its first head: a life without one has a boot and a recovery, and no more."""
        introduced = self._began + (1 if self._told is None else 2)
        if self._began >= 0 and not self._heads and end > introduced:
            raise Tampered(
                f"record {introduced} follows a start that signed no head: no ledger wrote it there, or heads were removed"
            )

    def _refuse_stray(self) -> None:
        if self._stray is not None:
            raise Tampered(
                f"record {self._stray} stands behind a shutdown and before the next start: no ledger wrote it there"
            )

    def _silence(self, size: int, time_of: TimeOf) -> str | None:
        """Records up to `size` that no head covers span more time than a ledger lets pass without one."""
        if self._promises.rules <= OLD_RULES or not self._heads or size <= self._last.size:
            return None
        first_ms, last_ms = time_of(self._last.size), time_of(size - 1)
        if not self._promises.is_late(first_ms, last_ms):
            return None
        return (
            f"records {self._last.size} to {size - 1} span {(last_ms - first_ms) // 1000} s without a head, though one was "
            f"promised every {self._promises.sign_every_ms / 1000:g} s: heads are missing"
        )
