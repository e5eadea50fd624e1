"""Checking a whole log from its files and the public key alone. Reads every byte, changes none, needs no secret.

Every line is hashed, every hash compared, every head's signature and root recomputed, every seal opened. What a crash
may leave at the very end (a torn line, a torn head, records that no head covers yet) is told, not blamed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from gateway.ledger.errors import EXIT_OK, Gap, LedgerError, RolledBack, Tampered, Unreadable
from gateway.ledger.format.checkpoint import TreeHead
from gateway.ledger.format.head_file import last_head, read_heads, split_notes
from gateway.ledger.format.merkle import HASH_BYTES, Frontier
from gateway.ledger.format.note import Verifier
from gateway.ledger.format.record import decode, decode_header, number, torn_files
from gateway.ledger.readers.known_heads import KnownHeads
from gateway.ledger.readers.lives import OWN_KINDS, STRAY, Lives
from gateway.ledger.readers.prune_rules import check_prune
from gateway.ledger.readers.reader import LogReader, Segment, StoredLines, read_stored
from gateway.ledger.storage.layout import LogLayout, read_origin
from gateway.ledger.storage.seal import stored_file
from gateway.ledger.storage.tree import LeafRuns, split

STEP = 8192  # records between two calls of `progress`
TURNS = 10  # looks at a log that is pruned meanwhile

Progress = Callable[[int, int], None]


@dataclass
class Report:
    """What a log that verifies holds. Times are Unix milliseconds."""

    origin: str = ""
    records: int = 0
    signed_records: int = 0
    unsigned_records: int = 0
    taken_over: int = 0
    signed_ms: int = 0
    root: str = ""
    heads: int = 0
    segments: int = 0
    pruned_records: int = 0
    first_ms: int | None = None
    last_ms: int | None = None
    kinds: Counter[str] = field(default_factory=Counter)
    open_exchanges: int = 0
    open_ids: list[str] = field(default_factory=list)
    lost: int = 0
    torn_bytes: int = 0
    clock_steps_back: int = 0
    anchors: int = 0
    silences: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """What a log ends with in which no byte is wrong."""
        return Gap.exit_code if self.lost or self.silences else EXIT_OK


def verify(layout: LogLayout, verifier: Verifier, anchors: Sequence[Path], progress: Progress) -> Report:
    """Check everything; the error tells what is wrong and its exit code of which kind (errors.py)."""
    for turn in range(TURNS):
        run = _Verification(layout, verifier, anchors, progress)
        try:
            return run.run()
        except LedgerError:
            # Pruned while we read: the record that says so came after what we looked at.
            if turn + 1 == TURNS or not run.lost_while_reading():
                raise
    raise AssertionError("the last turn returns or raises")


class _Verification:
    def __init__(self, layout: LogLayout, verifier: Verifier, anchors: Sequence[Path], progress: Progress) -> None:
        self.layout = layout
        self.verifier = verifier
        self.progress = progress
        self.report = Report()
        self.frontier = Frontier()
        self.runs = LeafRuns([])
        self.nodes = bytearray()
        self.open: dict[str, None] = {}
        self.torn_told: dict[str, str] = {}
        self.lives = Lives()
        self.events: list[tuple[int, dict[str, Any]]] = []  # of the segment that is read: records of the log's own life
        self.stopped = False  # the last record was a shutdown
        self.pruned: list[Segment] = []
        self.there: set[int] = set()  # segments that had their records when we began
        self.last = TreeHead(verifier.name, 0, b"")
        self.anchors = KnownHeads(
            anchors, verifier
        )  # what is in them now: a head that comes meanwhile is not looked at

    def run(self) -> Report:
        # The nodes first: a log that grows meanwhile has more records than nodes, never fewer.
        stored_nodes = self.layout.nodes.read_bytes() if self.layout.nodes.exists() else b""
        read_origin(self.layout, self.verifier)
        sealed = [number for number in self.layout.numbers() if self.layout.file(number, "seal").exists()]
        pruned_before = {number for number in sealed if stored_file(self.layout, number) is None}
        reader = LogReader(self.layout, self.verifier)
        self.there = {segment.number for segment in reader.segments} - pruned_before
        report = self.report
        report.origin = reader.origin
        for segment in reader.segments:
            self._segment(segment, last=segment is reader.segments[-1])
        if reader.segments[-1].seal is not None:
            after = reader.segments[-1].number
            raise Gap(f"segment {after + 1:08d} is missing: the log went on after {after:08d} was sealed")
        if not report.heads:
            raise RolledBack(f"{self.layout.folder} has no signed head: its heads are gone")
        self._check_nodes(stored_nodes)
        self._check_torn()
        self._check_pruned()
        self.anchors.end(self.last, self.frontier.size)
        report.records = self.frontier.size
        report.segments = len(reader.segments)
        report.signed_records, report.signed_ms = self.last.size, (self.last.time_s or 0) * 1000
        report.unsigned_records = report.records - report.signed_records
        report.taken_over, report.silences = self.lives.adopted, self.lives.silences + self.anchors.missing_heads
        report.anchors = self.anchors.compared
        report.root = self.last.root.hex()
        report.open_exchanges, report.open_ids = len(self.open), list(self.open)[:20]
        return report

    def lost_while_reading(self) -> bool:
        """Whether the records of a segment went while the log was read."""
        return any(segment.number in self.there for segment in self.pruned)

    def _segment(self, segment: Segment, *, last: bool) -> None:
        heads_path, hashes_path = (self.layout.file(segment.number, kind) for kind in ("heads", "hashes"))
        # Heads before hashes before lines: each vouches for what a growing log has written before it. All three at once, and
        # only then checked: a record that came meanwhile is not one without a head.
        try:
            heads_data, hashes = heads_path.read_bytes(), hashes_path.read_bytes()
            stored = read_stored(self.layout, segment.number, segment.seal, self.verifier)
        except FileNotFoundError as error:
            raise Gap(f"{error.filename} is missing: restore it from a backup") from error
        except OSError as error:
            raise Unreadable(f"cannot read {error.filename}: {error.strerror}") from error
        heads, torn = read_heads(heads_data, self.verifier, last=last)
        if not last and (not heads or heads[-1].size != segment.end):
            raise Tampered(f"segment {segment.number:08d} was not closed, but another follows it")
        self.report.torn_bytes += torn
        self._check_seal(segment, heads_data, hashes, stored)
        if stored is None:
            self._pruned_segment(segment, heads, hashes)
            return
        lines = stored.plain.split(b"\n")
        tail = lines.pop()
        if last:
            lines = self._until_torn(segment, lines, tail, hashes)
        elif tail or len(lines) * HASH_BYTES != len(hashes):
            raise Tampered(f"segment {segment.number:08d} does not have as many lines as hashes")
        self._records(segment, lines, hashes, heads)

        def time_of(index: int) -> int:
            return decode_header(lines[index - segment.first]).time_ms

        self.lives.segment(heads, split_notes(heads_data)[0], self.events, time_of)
        self.events = []
        if last:
            grows = self._signed_since(heads_path)
            silence = self.lives.end(segment.first + len(lines), time_of, grows=grows)
            self.lives.silences += [silence] if silence else []

    def _signed_since(self, path: Path) -> bool:
        """Whether a head came while we read: the log lives, and was only held up."""
        head, _ = last_head(path.read_bytes(), self.verifier)
        return head is not None and head.size > self.last.size

    def _until_torn(self, segment: Segment, lines: list[bytes], tail: bytes, hashes: bytes) -> list[bytes]:
        """The lines of the open segment that count; what a crash left behind them is only measured."""
        known = len(hashes) // HASH_BYTES
        if len(lines) < known:
            raise RolledBack(
                f"segment {segment.number:08d} ends at record {segment.first + len(lines)}, "
                f"but {segment.first + known} were durable"
            )
        keep = known
        while keep < len(lines) and _reads(lines[keep]):
            keep += 1
        self.report.torn_bytes += sum(len(line) + 1 for line in lines[keep:]) + len(tail)
        return lines[:keep]

    def _records(self, segment: Segment, lines: list[bytes], hashes: bytes, heads: list[TreeHead]) -> None:
        waiting = heads[::-1]
        hashes = hashes[: len(hashes) // HASH_BYTES * HASH_BYTES]
        for at in range(0, max(1, len(lines)), STEP):
            part = lines[at : at + STEP]
            leaves = [sha256(b"\x00" + line).digest() for line in part]
            stored = hashes[at * HASH_BYTES : (at + len(part)) * HASH_BYTES]
            if b"".join(leaves)[: len(stored)] != stored:
                wrong = next(i for i, leaf in enumerate(leaves) if leaf != stored[i * 32 : i * 32 + 32])
                raise Tampered(f"record {segment.first + at + wrong} is not what was written")
            self._leaves(segment, leaves, waiting, end=at + STEP >= len(lines))
            self._contents(part, segment.first + at)
            self.progress(self.frontier.size, len(lines) - at - len(part))

    def _leaves(self, segment: Segment, leaves: list[bytes], waiting: list[TreeHead], *, end: bool) -> None:
        """Grow the tree, stopping at each size that a head or an anchor speaks of."""
        self.nodes += self.runs.extend(leaves)
        done, first = 0, self.frontier.size
        while True:
            sizes = [*(head.size for head in waiting[-1:]), self.anchors.next_size]
            stop = min((size for size in sizes if size is not None and size <= first + len(leaves)), default=None)
            if stop is None:
                break
            if stop < self.frontier.size:
                raise Tampered(f"segment {segment.number:08d} has a head of {stop} records out of order")
            self.frontier.extend(leaves[done : stop - first])
            done = stop - first
            self._check_heads(waiting)
        self.frontier.extend(leaves[done:])
        if end and waiting:
            raise RolledBack(f"a head was signed over {waiting[-1].size} records, but there are {self.frontier.size}")

    def _check_heads(self, waiting: list[TreeHead]) -> None:
        root = self.frontier.root()
        while waiting and waiting[-1].size == self.frontier.size:
            head = waiting.pop()
            if head.root != root:
                raise Tampered(f"the records do not give the root that was signed over {head.size} of them")
            self.report.heads += 1
            self.last = head
            self.anchors.log_has(head)
        self.anchors.compare(self.frontier.size, root)

    def _contents(self, lines: list[bytes], first: int) -> None:
        report, opened, kinds, stopped = self.report, self.open, self.report.kinds, self.stopped
        last_ms = report.last_ms or 0
        for index, line in enumerate(lines, first):
            try:
                header = decode_header(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise Tampered(f"a record is signed but is not one: {line[:80]!r}") from error
            kind = header.kind
            kinds[kind] += 1
            if header.time_ms < last_ms:
                report.clock_steps_back += 1
            last_ms = header.time_ms
            if report.first_ms is None:
                report.first_ms = last_ms
            if kind == "admit":
                opened[header.id] = None
            elif kind == "complete":
                opened.pop(header.id, None)
            elif kind == "gap":
                report.lost += number(decode(line), "count") or 0
            if kind in OWN_KINDS or stopped:
                stopped = self._own(index, kind, line, after_shutdown=stopped)
        report.last_ms = last_ms or report.last_ms
        self.stopped = stopped

    def _own(self, index: int, kind: str, line: bytes, *, after_shutdown: bool) -> bool:
        """A record of the log's own life, or one behind a shutdown; whether it is a shutdown."""
        fields = decode(line)
        boots = kind == "boot" and fields.get("room") == "ledger"
        if after_shutdown and not boots:
            self.events.append((index, {"kind": STRAY}))
        if kind == "recovery":
            self.torn_told.update(torn_files(fields))
        if boots or (kind != "boot" and kind in OWN_KINDS):
            self.events.append((index, fields))
        return kind == "shutdown"

    def _pruned_segment(self, segment: Segment, heads: list[TreeHead], hashes: bytes) -> None:
        self.pruned.append(segment)
        if segment.seal is None:
            raise Gap(f"the records of segment {segment.number:08d} are missing: restore them from a backup")
        self.report.pruned_records += segment.records
        self.stopped = False
        self.lives.skip(heads)
        self._leaves(segment, split(hashes), heads[::-1], end=True)

    def _check_seal(self, segment: Segment, heads: bytes, hashes: bytes, stored: StoredLines | None) -> None:
        seal = segment.seal
        if seal is None:
            return
        found = [(seal.heads, heads), (seal.hashes, hashes)]
        if stored is not None:
            found.append((seal.lines, stored.plain))
            # While plain lines and their packed copy lie side by side, only the packed one is what the seal names.
            found.append((seal.stored, stored.plain if stored.packed is None else stored.packed))
        for expected, content in found:
            if sha256(content).hexdigest() != expected:
                raise Tampered(f"segment {segment.number:08d} is not what was sealed")

    def _check_nodes(self, stored: bytes) -> None:
        if len(stored) // HASH_BYTES * HASH_BYTES > len(self.nodes) or not self.nodes.startswith(
            stored[: len(stored) // HASH_BYTES * HASH_BYTES]
        ):
            raise Tampered(f"{self.layout.nodes} is not what the records give")

    def _check_torn(self) -> None:
        present = {path.name: path for path in self.layout.segments.glob("*.torn-*")}
        for name, digest in self.torn_told.items():
            if name not in present:
                raise Gap(f"{name}, the torn bytes that a start set aside, is missing: restore it from a backup")
            if sha256(present[name].read_bytes()).hexdigest() != digest:
                raise Tampered(f"{name} is not what was set aside")

    def _check_pruned(self) -> None:
        for segment in self.pruned:
            told = self.lives.prunes.get(segment.number)
            if told:
                check_prune(self.layout, segment, told)
            elif segment.number in self.lives.unsigned_prunes:
                raise Tampered(
                    f"a record says that segment {segment.number:08d} was pruned, but no head covers it, and the records are gone: "
                    f"a prune is signed before anything is deleted"
                )
            else:
                raise Gap(
                    f"the records of segment {segment.number:08d} are missing, and no prune record says why: "
                    f"restore them from a backup"
                )


def _reads(line: bytes) -> bool:
    try:
        decode_header(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True
