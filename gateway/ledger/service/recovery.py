"""Opening a log for writing: what a crash explains is repaired and told, anything else stops the start. Never signs.

Repaired: a torn tail of lines that no hash knows (cut off and kept beside the segment), hashes and nodes that a crash
cut short, a torn end of the heads, a closed segment that was not sealed yet. Everything below the last signed head must
be as it was signed (Tampered), and nothing that a head or an anchor knows may be missing (RolledBack).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from gateway.ledger.errors import Gap, LogBusy, RolledBack, Tampered
from gateway.ledger.format.checkpoint import TreeHead
from gateway.ledger.format.head_file import last_head, sign_stored, split_notes
from gateway.ledger.format.merkle import HASH_BYTES, leaf_hash
from gateway.ledger.format.note import Signing
from gateway.ledger.format.record import RecordError, decode, decode_header, torn_files
from gateway.ledger.readers.reader import Segment, find_segments
from gateway.ledger.service.unsigned_tail import check_tail
from gateway.ledger.storage.anchor import check_anchors
from gateway.ledger.storage.files import sync_folder, write_all
from gateway.ledger.storage.layout import LogLayout, read_origin
from gateway.ledger.storage.log import Log, OpenSegment
from gateway.ledger.storage.seal import finish_removal, seal_segment
from gateway.ledger.storage.tree import RUN, LeafRuns, StoredTree, split


@dataclass
class Repairs:
    """What the start found and did."""

    torn_bytes: int = 0
    torn_files: list[str] = field(default_factory=list)
    torn_head_bytes: int = 0
    unsigned_records: int = 0
    rewritten_hashes: int = 0
    sealed_segments: int = 0

    @property
    def any(self) -> bool:
        return bool(
            self.torn_bytes or self.torn_files or self.torn_head_bytes or self.rewritten_hashes or self.unsigned_records
        )


@dataclass
class Opened:
    """The log, what was repaired, the closed segments, and the open one's lines."""

    log: Log
    repairs: Repairs
    closed: list[Segment]
    lines: list[bytes]
    last_id: str | None
    last_kind: str | None


def lock(layout: LogLayout) -> int:
    """Take the log for writing; LogBusy if another process has it. The lock lives as long as the descriptor."""
    descriptor = os.open(layout.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise LogBusy(f"another process writes to {layout.folder}: one log has one writer") from error
    return descriptor


def open_log(layout: LogLayout, signer: Signing, anchors: Sequence[Path], *, compressed: bool) -> Opened:
    """Check, repair and open the log. The caller holds the lock."""
    return _Opening(layout, signer, compressed).run(anchors)


class _Opening:
    """One start, told in order by `run`."""

    def __init__(self, layout: LogLayout, signer: Signing, compressed: bool) -> None:
        self.layout = layout
        self.signer = signer
        self.compressed = compressed
        self.repairs = Repairs()

    def run(self, anchors: Sequence[Path]) -> Opened:
        layout, verifier = self.layout, self.signer.verifier
        read_origin(layout, verifier)
        for leftover in layout.segments.glob("*.new"):
            leftover.unlink()
        segments = self._finish_seals(find_segments(layout, verifier))
        last = segments[-1]
        if last.seal is not None:
            raise Gap(f"segment {last.number + 1:08d} is missing: the log went on after {last.number:08d} was sealed")
        closed = segments[:-1]
        head = self._last_head(segments)
        lines, leaves = self._open_lines(last, head)
        size = last.first + len(lines)
        if head.size > size:
            raise RolledBack(f"a head was signed over {head.size} records, but there are {size}: restore the rest")
        tree = self._tree(closed, last.first, leaves, head.size)
        if tree.root(head.size) != head.root:
            raise Tampered(f"the records do not give the root that was signed over {head.size} of them")
        check_anchors(anchors, verifier, head.size, tree.root)
        signed = max(0, head.size - last.first)
        check_tail(layout, last.first + signed, lines[:signed], lines[signed:])
        self.repairs.unsigned_records = size - head.size
        opened = self._opened(last, head, len(lines), tree)
        newest = decode_header(lines[-1]) if lines else None
        return Opened(
            opened, self.repairs, closed, lines, newest.id if newest else None, newest.kind if newest else None
        )

    def _finish_seals(self, segments: list[Segment]) -> list[Segment]:
        done = []
        for segment in segments:
            if segment.seal is not None:
                hashes = self.layout.file(segment.number, "hashes").read_bytes()
                if sha256(hashes).hexdigest() != segment.seal.hashes:
                    raise Tampered(f"the hashes of segment {segment.number:08d} are not those that were sealed")
                finish_removal(self.layout, segment.number)
            elif segment is not segments[-1]:
                self._check_closed(segment)
                compressed = self.compressed
                seal = seal_segment(
                    self.layout, segment.number, segment.first, self.signer, compressed=compressed
                )  # its lines against its hashes; the hashes against the head further down
                segment = Segment(segment.number, segment.first, segment.records, seal)
                self.repairs.sealed_segments += 1
            done.append(segment)
        return done

    def _check_closed(self, segment: Segment) -> None:
        """A segment that another follows ends with a head over all of it; a copied one does not."""
        head, torn = last_head(self.layout.file(segment.number, "heads").read_bytes(), self.signer.verifier)
        if torn or head is None or head.size != segment.end:
            raise Tampered(f"segment {segment.number:08d} was not closed, but another follows it")

    def _last_head(self, segments: list[Segment]) -> TreeHead:
        for segment in reversed(segments):
            path = self.layout.file(segment.number, "heads")
            try:
                head, torn = last_head(path.read_bytes(), self.signer.verifier)
            except FileNotFoundError as error:
                raise Gap(f"{path} is missing: restore it from a backup") from error
            if torn:
                if segment is not segments[-1]:
                    raise Tampered(f"{path} ends in the middle of a head, but the log went on")
                self.repairs.torn_head_bytes = torn
                _truncate(path, path.stat().st_size - torn)
            if head is not None:
                return head
        raise RolledBack(f"{self.layout.folder} has no signed head: its heads are gone")

    def _open_lines(self, segment: Segment, head: TreeHead) -> tuple[list[bytes], list[bytes]]:
        """Lines and leaf hashes of the open segment after its torn tail was cut; its hash file made to fit."""
        lines_path, hashes_path = (self.layout.file(segment.number, kind) for kind in ("jsonl", "hashes"))
        try:
            data, hashes = lines_path.read_bytes(), hashes_path.read_bytes()
        except FileNotFoundError as error:
            raise Gap(f"{error.filename} is missing: restore it from a backup") from error
        known = split(hashes[: len(hashes) // HASH_BYTES * HASH_BYTES])
        signed = max(0, head.size - segment.first)
        lines = data.split(b"\n")
        tail = lines.pop()
        leaves = [leaf_hash(line) for line in lines]
        keep = _explained(leaves, known, signed, lines_path)
        while keep < len(lines) and _is_record(lines[keep]):
            keep += 1
        torn = b"".join(line + b"\n" for line in lines[keep:]) + tail
        if torn:
            if keep < len(known) and any(known[keep]):
                raise Tampered(f"record {segment.first + keep} was durable, but {lines_path} ends before it")
            self._cut(segment, keep, torn, len(data) - len(torn))
        lines, leaves = lines[:keep], leaves[:keep]
        if hashes != b"".join(leaves):
            self.repairs.rewritten_hashes = sum(1 for ours, old in zip(leaves, known, strict=False) if ours != old)
            self.repairs.rewritten_hashes += abs(len(leaves) - len(known))
            _rewrite(hashes_path, b"".join(leaves))
        self._unreferenced_torn(segment, lines)
        return lines, leaves

    def _cut(self, segment: Segment, keep: int, torn: bytes, keep_bytes: int) -> None:
        """Keep the torn bytes beside the segment, durably, before they leave the segment."""
        path = self.layout.file(segment.number, f"torn-{segment.first + keep}")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        write_all(descriptor, torn)
        os.fsync(descriptor)
        os.close(descriptor)
        sync_folder(self.layout.segments)
        _truncate(self.layout.file(segment.number, "jsonl"), keep_bytes)
        self.repairs.torn_bytes = len(torn)

    def _unreferenced_torn(self, segment: Segment, lines: list[bytes]) -> None:
        """Torn files that no recovery record tells of yet: also those of a start that was itself cut short."""
        told = {name for line in lines if b'"kind":"recovery"' in line for name in torn_files(decode(line))}
        files = sorted(self.layout.segments.glob(f"{segment.number:08d}.torn-*"))
        self.repairs.torn_files = [path.name for path in files if path.name not in told]

    def _tree(self, closed: list[Segment], first: int, leaves: list[bytes], signed: int) -> StoredTree:
        """The tree over closed segments (their hashes) and the open one (hashes just computed from its lines)."""
        firsts = {segment.first: segment for segment in closed}
        starts = sorted(firsts)

        def leaves_at(start: int, end: int) -> bytes:
            parts = []
            while start < min(end, first):
                segment = firsts[max(at for at in starts if at <= start)]
                stop = min(end, segment.end)
                with self.layout.file(segment.number, "hashes").open("rb") as file:
                    parts.append(
                        os.pread(file.fileno(), (stop - start) * HASH_BYTES, (start - segment.first) * HASH_BYTES)
                    )
                start = stop
            if start < end:
                parts.append(b"".join(leaves[start - first : end - first]))
            return b"".join(parts)

        size = first + len(leaves)
        path = self.layout.nodes
        stored = path.read_bytes() if path.exists() else b""
        # Nodes wholly below the open segment are taken as stored: a wrong one gives a wrong root, and stops the start.
        nodes = bytearray(stored[: first // RUN * HASH_BYTES])
        nodes = nodes[: len(nodes) // HASH_BYTES * HASH_BYTES]
        runs = LeafRuns([])
        for run in range(len(nodes) // HASH_BYTES, size // RUN):
            nodes += runs.extend(split(leaves_at(run * RUN, (run + 1) * RUN)))
        if stored != nodes:
            vouched = min(len(stored) // HASH_BYTES, signed // RUN) * HASH_BYTES
            if stored[:vouched] != nodes[:vouched]:
                raise Tampered(f"{path} is not what the records give")
            _rewrite(path, bytes(nodes))
        return StoredTree(nodes, leaves_at)

    def _opened(self, last: Segment, head: TreeHead, records: int, tree: StoredTree) -> Log:
        size = last.first + records
        waiting = [tree.node(0, index) for index in range(size // RUN * RUN, size)]
        segment = OpenSegment.open(self.layout, last.number, last.first, records)
        log = Log(self.layout, self.signer, segment, tree.frontier(size), LeafRuns(waiting))
        log.signed, log.note = head, sign_stored(head, self.signer)
        heads = self.layout.file(last.number, "heads").read_bytes()
        log.pin.take(heads, len(split_notes(heads)[0]))
        return log


def _explained(leaves: list[bytes], known: list[bytes], signed: int, path: Path) -> int:
    """How many lines the stored hashes vouch for; stops on any difference that a crash does not explain."""
    if len(known) < signed:
        raise Tampered(f"{path} has a signed head over {signed} records, but hashes for {len(known)}")
    for at, hashed in enumerate(known):
        if at < len(leaves) and leaves[at] == hashed:
            continue
        # A hash of zeros is a page that a power cut left unwritten; it vouches for nothing.
        if at >= signed and not any(hashed):
            return at
        if at >= len(leaves):
            raise RolledBack(
                f"{path} ends at its record {len(leaves)}, but {len(known)} were durable: restore the rest"
            )
        raise Tampered(f"record {at} of {path} is not what was written")
    return len(known)


def _is_record(line: bytes) -> bool:
    try:
        decode(line)
    except RecordError:
        return False
    return True


def _truncate(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rewrite(path: Path, data: bytes) -> None:
    """Derived bytes, in place: the log keeps its one link, and what is derived can be derived again."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
