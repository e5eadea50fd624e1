"""The log as an auditor turns its pages: newest first, with filters, an exchange as one row. Reads only; sees a picture's SHA-256.

Lines stay bytes until they may fit. A page ends when it is full or its time is over; its cursor goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from gateway.ledger.format.digest import PLAIN, keyed, record_key
from gateway.ledger.format.record import decode, is_about
from gateway.ledger.readers.reader import LogReader, Segment, read_lines

MOST_ROWS = 200
LOOK_AHEAD = 50_000  # an exchange's end stands at most so far above its begin, or is looked up
MOST_LOOK_UPS = 16
DAY_MS = 86_400_000

Name = Annotated[str, Meta(max_length=256)]
Time = Annotated[int, Meta(ge=0, le=2**53)]
_Exchange = Literal["exchange", "deny", "key", "integrity", "gap"]
_Own = Literal["boot", "recovery", "seal", "segment", "rhythm", "prune", "shred", "shutdown"]
Kind = Literal[_Exchange, _Own]
Outcome = Literal["completed", "client_left", "engine_broke", "refused", "timed_out", "running", "denied"]


class RecordQuery(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All that is given must fit. Times are Unix milliseconds; ``image`` is a picture's SHA-256, 64 hexadecimal characters.

    ``before`` is the cursor of the page before this one.
    """

    since_ms: Time | None = None
    until_ms: Time | None = None
    tenant: Name | None = None
    key: Name | None = None
    model: Name | None = None
    outcome: Outcome | None = None
    kind: Kind | None = None
    image: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    before: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MOST_ROWS)] = 50


@dataclass
class Page:
    """``rows`` newest first; ``next`` is the cursor of the next page, None at the log's beginning. ``blind`` are epochs with
    pictures that could not be looked for, since their secrets were shredded."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    next: int | None = None
    looked_at: int = 0
    records: int = 0
    pruned: bool = False
    blind: list[str] = field(default_factory=list)


def browse(reader: LogReader, query: RecordQuery, epoch_keys: dict[str, bytes], seconds: float) -> Page:
    """One page. ``epoch_keys`` open the digests of those epochs; pictures of other epochs are not found."""
    return _Browsing(reader, query, epoch_keys, seconds).run()


class _Browsing:
    def __init__(self, reader: LogReader, query: RecordQuery, epoch_keys: dict[str, bytes], seconds: float) -> None:
        self._reader, self._query, self._epoch_keys = reader, query, epoch_keys
        self._over_s = time.monotonic() + seconds
        self._below = reader.size if query.before is None else min(query.before, reader.size)
        self._top = min(reader.size, self._below + LOOK_AHEAD)
        self._ends: dict[bytes, tuple[int, bytes]] = {}
        self._look_ups = 0
        self._page = Page(records=reader.size)

    def run(self) -> Page:
        """Each look-up may read every newer segment: none begins when the time is over."""
        page, index = self._page, self._below
        for index, line in self._backwards():
            self._take(index, line)
            page.looked_at += index < self._below
            if len(page.rows) == self._query.limit or (
                page.looked_at % 1024 == 1023 and time.monotonic() > self._over_s
            ):
                page.next = index or None
                return page
        return page

    def _backwards(self) -> Iterator[tuple[int, bytes]]:
        for segment in reversed(self._reader.segments):
            if segment.first >= self._top or self._is_too_old(segment):
                continue
            data = read_lines(self._reader.layout, segment.number, segment.seal, self._reader.verifier)
            if data is None:
                self._page.pruned = True
                continue
            lines = data.split(b"\n")[: segment.records]
            for index in range(min(segment.first + len(lines), self._top) - 1, segment.first - 1, -1):
                yield index, lines[index - segment.first]

    def _is_too_old(self, segment: Segment) -> bool:
        # By the seal's times a segment is skipped only with a day to spare: the clock is data, not order.
        since_ms = self._query.since_ms
        return since_ms is not None and segment.seal is not None and segment.seal.to_ms < since_ms - DAY_MS

    def _take(self, index: int, line: bytes) -> None:
        if b'"kind":"complete"' in line:
            self._ends[_identity(line)] = (index, line)
            return
        is_admit = b'"kind":"admit"' in line
        end = self._ends.pop(_identity(line), None) if is_admit else None
        if index >= self._below or not self._may_fit(line, is_admit):
            return
        record = decode(line)
        if not self._fits(record):
            return
        row: dict[str, Any] = {"index": index, "record": record, "end": None, "end_index": None}
        if is_admit:
            if end is None and self._top < self._reader.size:
                end = self._look_up(record["id"], row)
            if end is not None:
                row["end_index"], row["end"] = end[0], decode(end[1])
        if self._has_outcome(row):
            self._page.rows.append(row)

    def _may_fit(self, line: bytes, is_admit: bool) -> bool:
        """A cheap look at the bytes; only what passes is taken apart."""
        query = self._query
        if (query.kind == "exchange" or query.model is not None or query.image is not None) and not is_admit:
            return False
        if is_admit and query.kind not in (None, "exchange"):
            return False
        if any(word is not None and word.encode() not in line for word in (query.key, query.tenant)):
            return False
        return query.image is None or self._shows(line, query.image)

    def _shows(self, line: bytes, image: str) -> bool:
        """Whether the exchange carried the picture: its digest under the record's own key."""
        if b'"images":[{' not in line:
            return False
        epoch = _text_after(line, b'"epoch":"')
        digest = image
        if epoch != PLAIN:
            key = self._epoch_keys.get(epoch)
            if key is None:
                if epoch not in self._page.blind:
                    self._page.blind.append(epoch)
                return False
            digest = keyed(record_key(key, _identity(line).decode()), bytes.fromhex(image))
        # Taken apart only where the 64 characters are there: that is one search and two HMACs for the others.
        return digest.encode() in line and any(shown["digest"] == digest for shown in decode(line)["images"])

    def _fits(self, record: dict[str, Any]) -> bool:
        query, kind = self._query, record["kind"]
        return (
            (query.kind is None or ("exchange" if kind == "admit" else kind) == query.kind)
            and (query.key is None or is_about(query.key, record))
            and (query.tenant is None or record.get("tenant", _tenant_in_facts(record)) == query.tenant)
            and (query.model is None or record.get("model") == query.model)
            and (query.since_ms is None or record["time_ms"] >= query.since_ms)
            and (query.until_ms is None or record["time_ms"] < query.until_ms)
        )

    def _has_outcome(self, row: dict[str, Any]) -> bool:
        wanted, kind = self._query.outcome, row["record"]["kind"]
        if wanted is None:
            return True
        if wanted == "denied":
            return bool(kind == "deny")
        if kind != "admit" or row.get("end_unknown"):
            return False
        return bool((row["end"]["outcome"] if row["end"] else "running") == wanted)

    def _look_up(self, identity: str, row: dict[str, Any]) -> tuple[int, bytes] | None:
        """An end that stands far above its begin."""
        self._look_ups += 1
        if self._look_ups > MOST_LOOK_UPS or time.monotonic() > self._over_s:
            row["end_unknown"] = True
            return None
        found = [pair for pair in self._reader.find(identity) if b'"kind":"complete"' in pair[1]]
        return found[0] if found else None


def _identity(line: bytes) -> bytes:
    at = line.find(b'"id":"') + 6
    return line[at : at + 36]


def _text_after(line: bytes, name: bytes) -> str:
    at = line.find(name) + len(name)
    return line[at : line.find(b'"', at)].decode()


def _tenant_in_facts(record: dict[str, Any]) -> Any:
    facts = record.get("facts")
    return facts.get("tenant") if isinstance(facts, dict) else None
