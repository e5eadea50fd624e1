"""Reading a log that may be growing: its segments, lines, hashes and heads. Writes nothing, takes no lock."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.ledger.errors import Gap, RecordNotFound, RolledBack, Tampered, Unreadable
from gateway.ledger.format.checkpoint import TreeHead
from gateway.ledger.format.head_file import last_head, split_notes
from gateway.ledger.format.merkle import HASH_BYTES
from gateway.ledger.format.note import Verifier
from gateway.ledger.format.record_id import time_ms
from gateway.ledger.storage.layout import LogLayout, read_origin
from gateway.ledger.storage.seal import Seal, decompress, read_seal
from gateway.ledger.storage.tree import RUN, LeafRuns, StoredTree, split

MOST_LOOKS = 20
SLACK_MS = 24 * 3_600_000  # how far the clock may have jumped back before a search by id misses a segment


@dataclass(frozen=True)
class Segment:
    """One segment as found: `records` by its hashes; `seal` None while it is open or being sealed."""

    number: int
    first: int
    records: int
    seal: Seal | None

    @property
    def end(self) -> int:
        return self.first + self.records


class LogReader:
    """One look at a log: what it held when the reader was made."""

    def __init__(self, layout: LogLayout, verifier: Verifier) -> None:
        self.layout = layout
        self.verifier = verifier
        self.origin = read_origin(layout, verifier)
        self.segments = find_segments(layout, verifier)
        self._firsts = [segment.first for segment in self.segments]
        self._nodes = bytearray()
        self._tree = StoredTree(self._nodes, self.leaves)

    def refresh(self) -> None:
        """Look again: the log may have grown. What was computed of the tree stays good."""
        self.segments = find_segments(self.layout, self.verifier)
        self._firsts = [segment.first for segment in self.segments]

    @property
    def size(self) -> int:
        return self.segments[-1].end

    def head(self) -> tuple[TreeHead, str]:
        """The newest signed head and its checkpoint text."""
        for segment in reversed(self.segments):
            data = self.layout.file(segment.number, "heads").read_bytes()
            head, _ = last_head(data, self.verifier)
            if head is not None:
                return head, split_notes(data)[0][-1]
        raise RolledBack(f"{self.layout.folder} has no signed head")

    def head_of(self, size: int) -> tuple[TreeHead, str] | None:
        """A stored head of exactly this size."""
        wanted = f"{self.origin}\n{size}\n"
        for segment in reversed(self.segments):
            for note in split_notes(self.layout.file(segment.number, "heads").read_bytes())[0]:
                if note.startswith(wanted):
                    return last_head(note.encode(), self.verifier)[0] or self.head()[0], note
        return None

    def leaves(self, first: int, end: int) -> bytes:
        """Concatenated leaf hashes of the records [first, end)."""
        parts = []
        while first < end:
            segment = self.segment_of(first)
            stop = min(end, segment.end)
            with self.layout.file(segment.number, "hashes").open("rb") as file:
                part = os.pread(file.fileno(), (stop - first) * HASH_BYTES, (first - segment.first) * HASH_BYTES)
            if len(part) != (stop - first) * HASH_BYTES:
                raise RolledBack(f"segment {segment.number} has fewer hashes than records")
            parts.append(part)
            first = stop
        return b"".join(parts)

    def tree(self) -> StoredTree:
        """The tree over all records, its nodes read from the file where they are and computed where not."""
        have, want = len(self._nodes) // HASH_BYTES, self.size // RUN
        if have < want:
            stored = self.layout.nodes.read_bytes() if self.layout.nodes.exists() else b""
            stored = stored[: min(want, len(stored) // HASH_BYTES) * HASH_BYTES]
            self._nodes += stored[have * HASH_BYTES :]
            runs = LeafRuns([])
            for run in range(len(self._nodes) // HASH_BYTES, want):
                self._nodes += runs.extend(split(self.leaves(run * RUN, (run + 1) * RUN)))
        return self._tree

    def segment_of(self, index: int) -> Segment:
        if not 0 <= index < self.size:
            raise RecordNotFound(f"there is no record {index}: the log has {self.size}")
        return self.segments[bisect_right(self._firsts, index) - 1]

    def text(self, segment: Segment) -> bytes:
        """All whole lines of a segment; Gap if it was pruned."""
        data = read_lines(self.layout, segment.number, segment.seal, self.verifier)
        if data is None:
            raise Gap(f"the records of segment {segment.number} were pruned; their hashes are still here")
        return data

    def line(self, index: int) -> bytes:
        """One record by its index."""
        segment = self.segment_of(index)
        return self.text(segment).split(b"\n")[index - segment.first]

    def lines(self, first: int = 0) -> Iterator[tuple[int, bytes]]:
        """Records from `first` on with their indexes, pruned segments left out."""
        for segment in self.segments:
            if segment.end <= first:
                continue
            data = read_lines(self.layout, segment.number, segment.seal, self.verifier)
            if data is None:
                continue
            found = data.split(b"\n")[: segment.records]
            for index, line in enumerate(found, segment.first):
                if index >= first:
                    yield index, line

    def find(self, identity: str) -> list[tuple[int, bytes]]:
        """All records with this id, oldest first (an exchange has two), from the segments that can have it."""
        made_ms = time_ms(identity)
        found = []
        for segment in self.segments:
            if segment.seal is None or segment.seal.to_ms >= made_ms - SLACK_MS:
                found += self.find_within(segment, identity)
        return found

    def find_within(self, segment: Segment, identity: str) -> list[tuple[int, bytes]]:
        """Records of one segment with this id. Works on the bytes: no line is taken apart that is not wanted."""
        data = read_lines(self.layout, segment.number, segment.seal, self.verifier)
        needle = f'"id":"{identity}"'.encode()
        found, index, counted = [], segment.first, 0
        at = -1 if data is None else data.find(needle)
        while data is not None and at >= 0:
            start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
            index, counted = index + data.count(b"\n", counted, start), start
            if end < 0 or index >= segment.end:
                break
            found.append((index, data[start:end]))
            at = data.find(needle, end)
        return found


def find_segments(layout: LogLayout, verifier: Verifier) -> list[Segment]:
    """Every segment in order; Gap if one is missing in between.

    The last one has no seal, unless the next one is missing: a segment is sealed only when another follows. One that was sealed
    while we looked is looked for again.
    """
    segments = _list_segments(layout, verifier)
    for _ in range(MOST_LOOKS):
        if segments[-1].seal is None or layout.numbers()[-1] == segments[-1].number:
            break
        segments = _list_segments(layout, verifier)
    return segments


def _list_segments(layout: LogLayout, verifier: Verifier) -> list[Segment]:
    numbers = layout.numbers()
    if not numbers:
        raise RolledBack(f"{layout.segments} is empty: the log's records are gone")
    expected = list(range(1, numbers[-1] + 1))
    if numbers != expected:
        missing = sorted(set(expected) - set(numbers))[0]
        raise Gap(f"segment {missing:08d} is missing from {layout.segments}: restore it from a backup")
    if len(numbers) > 1 and _only_begun(layout, numbers[-1]):
        numbers.pop()
    segments, first = [], 0
    for number in numbers:
        seal = read_seal(layout, number, verifier)
        hashes = layout.file(number, "hashes")
        try:
            records = hashes.stat().st_size // HASH_BYTES
        except FileNotFoundError as error:
            raise Gap(f"{hashes} is missing: restore it from a backup") from error
        except OSError as error:
            raise Unreadable(f"cannot read {hashes}: {error.strerror}") from error
        if seal is not None and (seal.first != first or seal.records != records):
            raise Tampered(f"segment {number:08d} does not have the records that its seal says")
        segments.append(Segment(number, first, records, seal))
        first += records
    return segments


def _only_begun(layout: LogLayout, number: int) -> bool:
    """Whether a crash came while the files of the next segment were made: not all are there, and none has a byte."""
    found = [layout.file(number, kind) for kind in ("heads", "hashes", "jsonl", "jsonl.zst", "seal")]
    sizes = [path.stat().st_size for path in found if path.exists()]
    return not any(sizes) and len(sizes) < 3


@dataclass(frozen=True)
class StoredLines:
    """A segment's lines, and the packed file as it lies there, None if there is none."""

    plain: bytes
    packed: bytes | None


def read_stored(
    layout: LogLayout, number: int, seal: Seal | None, verifier: Verifier | None = None
) -> StoredLines | None:
    """A segment's lines, plain or packed, each file read once; None if pruned. A sealing that goes on meanwhile is no error:
    with ``verifier`` the seal is read anew where the segment was open when ``seal`` was looked for."""
    plain_path, packed_path = (layout.file(number, kind) for kind in ("jsonl", "jsonl.zst"))
    for _ in range(3):
        # Plain first: it is removed only when the packed one is durable, so one of the two is there.
        plain = _read(plain_path)
        packed = _read(packed_path) if plain is None or seal is not None else None
        if plain is not None:
            return StoredLines(plain, packed)
        if packed is None:
            if _read(plain_path) is None:
                return None
            continue
        if seal is None and verifier is not None:
            seal = read_seal(layout, number, verifier)
        if seal is None:
            raise Tampered(f"{packed_path} has no seal that says what is in it")
        return StoredLines(decompress(packed, seal.bytes), packed)
    raise Unreadable(f"segment {number:08d} changes faster than it can be read")


def read_lines(layout: LogLayout, number: int, seal: Seal | None, verifier: Verifier | None = None) -> bytes | None:
    """Only the lines of `read_stored`."""
    stored = read_stored(layout, number, seal, verifier)
    return None if stored is None else stored.plain


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from error
