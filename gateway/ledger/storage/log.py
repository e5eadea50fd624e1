"""The log as its one writer holds it: append, commit, sign, rotate. Never retries, never reads a clock, never parses.

What is durable when: `commit` writes the lines, syncs them, and only then may an answer leave. The hashes are written
after the lines are durable, so a hash on disk proves that its line was. The tree's nodes are made later, for many records
at once, since nobody waits for them and a start makes those that are missing. `sign` reads the lines back from the disk and
compares before it signs: a bit flip that was signed once could never be repaired. Any OSError breaks the log for good:
after a failed fsync the kernel may have dropped the pages and would report success the next time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.ledger.errors import LogBroken
from gateway.ledger.format.checkpoint import TreeHead
from gateway.ledger.format.head_file import sign_stored
from gateway.ledger.format.merkle import Frontier, leaf_hash
from gateway.ledger.format.note import Signing
from gateway.ledger.format.promises import HeadsPin
from gateway.ledger.storage.files import sync_folder, write_all
from gateway.ledger.storage.layout import LogLayout
from gateway.ledger.storage.tree import LeafRuns

_APPEND = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass
class OpenSegment:
    """The files that grow. The log owns and closes the descriptors."""

    number: int
    first: int
    records: int
    bytes: int
    lines: int
    hashes: int
    heads: int
    lines_path: Path

    @classmethod
    def open(cls, layout: LogLayout, number: int, first: int, records: int) -> OpenSegment:
        path = layout.file(number, "jsonl")
        lines, hashes, heads = (os.open(layout.file(number, kind), _APPEND) for kind in ("jsonl", "hashes", "heads"))
        return cls(number, first, records, os.fstat(lines).st_size, lines, hashes, heads, path)

    @classmethod
    def create(cls, layout: LogLayout, number: int, first: int) -> OpenSegment:
        """New empty files, durable with their names. Finishes what a crash began; never touches a record."""
        for kind in ("heads", "hashes", "jsonl"):
            descriptor = os.open(layout.file(number, kind), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            os.fsync(descriptor)
            os.close(descriptor)
        sync_folder(layout.segments)
        return cls.open(layout, number, first, 0)

    def close(self) -> None:
        for descriptor in (self.lines, self.hashes, self.heads):
            os.close(descriptor)


class Log:
    """The open log. One thread owns it, and one process at a time (the caller holds the lock)."""

    def __init__(
        self, layout: LogLayout, signer: Signing, segment: OpenSegment, frontier: Frontier, runs: LeafRuns
    ) -> None:
        """`frontier` and `runs` cover every record on disk; `segment` is positioned behind the last."""
        self.origin = signer.verifier.name
        self.segment = segment
        self.signed = TreeHead(self.origin, 0, b"")
        self._layout = layout
        self._signer = signer
        self._frontier = frontier
        self._runs = runs
        self._nodes = os.open(layout.nodes, _APPEND | os.O_CREAT, 0o600)
        self._lines: list[bytes] = []
        self._leaves: list[bytes] = []
        self._ungrown: list[bytes] = []
        self._unread: list[bytes] = []
        self._read_to = segment.bytes
        self._broken: str | None = None
        self.note = b""  # the last head as it was stored
        self.pin = HeadsPin()  # of the heads that the open segment has
        self.first_unsigned: bytes | None = None  # the first record that was committed since the last head

    @property
    def size(self) -> int:
        """Durable records."""
        return self._frontier.size + len(self._ungrown)

    @property
    def waiting(self) -> int:
        """Records appended since the last commit."""
        return len(self._lines)

    @property
    def unread(self) -> int:
        """Durable records that `read_back` has yet to take."""
        return len(self._ungrown) + len(self._unread)

    def append(self, line: bytes) -> tuple[int, bytes]:
        """Take a record into the next commit; its index and leaf hash, which hold only once `commit` returned."""
        self._check()
        leaf = leaf_hash(line)
        self._lines.append(line)
        self._leaves.append(leaf)
        return self.size + len(self._lines) - 1, leaf

    def commit(self) -> None:
        """Make all appended records durable. LogBroken if that cannot be said; then the process must end."""
        self._check()
        if not self._lines:
            return
        data = b"\n".join(self._lines) + b"\n"
        with self._fatal("write the records"):
            write_all(self.segment.lines, data)
            os.fdatasync(self.segment.lines)
            self._check_same_file()
            write_all(self.segment.hashes, b"".join(self._leaves))
        self.segment.records += len(self._lines)
        self.segment.bytes += len(data)
        self._ungrown += self._leaves
        if self.first_unsigned is None:
            self.first_unsigned = self._lines[0]
        self._lines, self._leaves = [], []

    def grow(self) -> None:
        """Take what was committed since the last call into the tree."""
        self._check()
        if not self._ungrown:
            return
        with self._fatal("write the tree's nodes"):
            full = self._runs.extend(self._ungrown)
            if full:
                write_all(self._nodes, full)
        # Only after the store: a leaf that we counted but lost would fork the tree.
        self._frontier.extend(self._ungrown)
        self._unread += self._ungrown
        self._ungrown = []

    def read_back(self) -> None:
        """Compare what was committed since the last call with the bytes as the file now gives them."""
        self.grow()
        if not self._unread:
            return
        with self._fatal("read the records back"):
            data = os.pread(self.segment.lines, self.segment.bytes - self._read_to, self._read_to)
        if [leaf_hash(line) for line in data.split(b"\n")[:-1]] != self._unread:
            self._broken = "the records read back are not those that were written: check the disk and the memory"
            raise LogBroken(self._broken)
        self._read_to = self.segment.bytes
        self._unread = []

    def sign(self, time_s: int) -> TreeHead:
        """Sign the head over all durable records, store it durably, and give it. The order is the promise:
        lines durable, read back, hashes and nodes durable, then the head."""
        self.read_back()
        head = TreeHead(self.origin, self.size, self._frontier.root(), time_s)
        with self._fatal("store a signed head"):
            if head.size != self.signed.size:
                os.fdatasync(self.segment.hashes)
                os.fdatasync(self._nodes)
            note = sign_stored(head, self._signer)
            write_all(self.segment.heads, note)
            os.fdatasync(self.segment.heads)
        self.pin.take(note)
        self.note = note
        self.first_unsigned = None
        self.signed = head
        return head

    def rotate(self) -> int:
        """Close the open segment, whose last record must be signed, and open the next; the closed one's number."""
        self._check()
        if self.signed.size != self.size or self._lines:
            raise ValueError("a segment is closed only when a head covers all of it")
        closed = self.segment
        with self._fatal("open the next segment"):
            self.segment = OpenSegment.create(self._layout, closed.number + 1, self.size)
            closed.close()
        self._read_to = 0
        self.pin = HeadsPin()
        return closed.number

    def close(self) -> None:
        """Let go of the files; signs and writes nothing."""
        self.segment.close()
        os.close(self._nodes)
        self._broken = "the log is closed"

    def _check(self) -> None:
        if self._broken is not None:
            raise LogBroken(self._broken)

    def _check_same_file(self) -> None:
        """A log that was deleted or swapped under us must not swallow records that nobody will find."""
        ours, named = os.fstat(self.segment.lines), os.stat(self.segment.lines_path)
        if ours.st_nlink != 1 or (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino):
            raise OSError(0, "the file at its path is not the one we write to")

    def _fatal(self, doing: str) -> _Fatal:
        return _Fatal(self._break, doing)

    def _break(self, reason: str) -> None:
        self._broken = reason


class _Fatal:
    """Turns an OSError into a log that stays broken."""

    def __init__(self, breaks: Callable[[str], None], doing: str) -> None:
        self._breaks = breaks
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            reason = f"could not {self._doing}: {error.strerror or error}"
            self._breaks(reason)
            raise LogBroken(reason) from error
