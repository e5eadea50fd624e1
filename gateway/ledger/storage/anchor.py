"""Heads kept elsewhere: what another place knows of the log, the log must still be. Never holds a key.

An anchor is a file of checkpoints, one behind the other. It only grows: nothing in it is ever written again, so it can lie on
storage that only appends. The writer keeps one beside its keys; more can lie on other hosts. A head is written there only after it
is durable in the log, so an anchor is never ahead of it. A crash may leave the beginning of a head; the next one begins a new line.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from gateway.ledger.errors import RolledBack, Tampered, Unreadable
from gateway.ledger.format.checkpoint import TreeHead, open_head
from gateway.ledger.format.head_file import LINES, is_beginning
from gateway.ledger.format.note import NoteError, Verifier
from gateway.ledger.storage.files import sync_folder, write_all

BLOCK_BYTES = 1 << 20
TAIL_BYTES = 64 << 10  # more than one head takes, whoever else has signed it


class AnchorChanged(Exception):
    """Somebody else wrote into the anchor, or took it away; the text says what is there."""


def read_anchor(path: Path, verifier: Verifier) -> TreeHead | None:
    """The last head that an anchor knows; None if there is no such file, or none in it."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            data = file.read(TAIL_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unreadable(f"cannot read the anchor {path}: {error.strerror}") from error
    name = verifier.name.encode() + b"\n"
    if size > TAIL_BYTES:
        data = data[data.find(b"\n" + name) + 1 :]
    return next(iter(deque(_heads_in(path, [data], verifier), maxlen=1)), None)


def anchor_heads(path: Path, verifier: Verifier, end: int) -> Iterator[TreeHead]:
    """All heads in the first `end` bytes of an anchor, each verified; Tampered where there is anything else."""
    return _heads_in(path, _blocks(path, end), verifier)


def _blocks(path: Path, end: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while end > 0 and (block := file.read(min(end, BLOCK_BYTES))):
                end -= len(block)
                yield block
    except OSError as error:
        raise Unreadable(f"cannot read the anchor {path}: {error.strerror}") from error


def _heads_in(path: Path, blocks: Iterable[bytes], verifier: Verifier) -> Iterator[TreeHead]:
    """A head begins at a line that is the log's name, and is never over fewer records than the one before."""
    last = 0
    for note, ended in _notes_in(blocks, verifier.name.encode() + b"\n"):
        head = _head_of(path, note, verifier, ended=ended)
        if head is not None and head.size < last:
            raise Tampered(f"the anchor {path} has a head of {head.size} records behind one of {last}")
        if head is not None:
            last = head.size
            yield head


def _notes_in(blocks: Iterable[bytes], name: bytes) -> Iterator[tuple[bytes, bool]]:
    """Each piece from one line with the name to the next, and whether another follows."""
    rest, begun = b"\n", b""
    for block in blocks:
        *whole, rest = (rest + block).split(b"\n" + name)
        for piece in whole:
            yield (begun + piece + b"\n" if begun else piece[1:]), True
            begun = name
    yield (begun + rest if begun else rest[1:]), False


def _head_of(path: Path, note: bytes, verifier: Verifier, *, ended: bool) -> TreeHead | None:
    """A head, or None for what a crash left of one. A crash may also have left some letters of the next one's name."""
    at = note.rfind(b"\n", 0, -1 if ended else None) + 1
    if at and verifier.name.encode().startswith(note[at:].removesuffix(b"\n" if ended else b"")):
        note = note[:at]
    try:
        return open_head(note.decode(), verifier)
    except (NoteError, ValueError) as error:
        torn = note.removesuffix(b"\n") if ended else note
        whole = torn.count(b"\n") == LINES - 1 and torn.endswith(b"==")
        if is_beginning(note, verifier) or (ended and not whole and is_beginning(torn, verifier)):
            return None
        raise Tampered(f"the anchor {path} does not verify: {error}") from error


def check_head(head: TreeHead, known_as: str, signed: int, root_at: Callable[[int], bytes]) -> None:
    """Check that a log whose last head is over `signed` records, and whose roots `root_at` gives, continues `head`."""
    if head.size > signed:
        raise RolledBack(f"{known_as} knows {head.size} records, the log's own heads {signed}: it was rolled back")
    if root_at(head.size) != head.root:
        raise Tampered(f"{known_as} knows another history of the first {head.size} records")


def check_anchors(
    anchors: Sequence[Path], verifier: Verifier, signed: int, root_at: Callable[[int], bytes]
) -> list[TreeHead]:
    """Check the log against the last head of every anchor that exists; the heads that were found."""
    found = []
    for path in anchors:
        head = read_anchor(path, verifier)
        if head is not None:
            check_head(head, f"the anchor {path}", signed, root_at)
            found.append(head)
    return found


class AnchorFile:
    """One anchor as the writer of a log grows it. What is there when it is opened must have been checked against the log."""

    def __init__(self, path: Path, verifier: Verifier) -> None:
        self.path = path
        self._verifier = verifier
        self.last = read_anchor(path, verifier)
        self._end = _size(path)

    def append(self, notes: bytes, last: TreeHead) -> None:
        """Put whole checkpoints behind what is there, durably; `last` is the newest of them. Makes the file if `last` of this
        object is None. AnchorChanged if the file is not as this object left it; then nothing is written."""
        if _size(self.path) != self._end:
            self._look_again()
        begins = self._end is None
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if begins else 0)
        descriptor = os.open(self.path, flags, 0o644)
        try:
            write_all(descriptor, (b"" if begins else self._separator()) + notes)
            os.fsync(descriptor)
            self._end = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if begins:
            sync_folder(self.path.parent)
        self.last = last

    def accept(self, head: TreeHead) -> None:
        """What is there now was checked against the log: go on behind it."""
        self.last, self._end = head, _size(self.path)

    def _look_again(self) -> None:
        """What a write that failed left is fine; a head that we did not write is another log's."""
        try:
            found = read_anchor(self.path, self._verifier)
        except (Tampered, Unreadable) as error:
            raise AnchorChanged(str(error)) from error
        if found is None and self.last is not None:
            raise AnchorChanged(f"the anchor {self.path} is gone, which knew {self.last.size} records")
        if found != self.last:
            known = 0 if found is None else found.size
            raise AnchorChanged(
                f"somebody else wrote into the anchor {self.path}: its last head is over {known} records"
            )
        self._end = _size(self.path)

    def _separator(self) -> bytes:
        """What must come before the next head: nothing behind a whole one, a new line behind what a crash left."""
        if not self._end:
            return b""
        name = self._verifier.name.encode()
        with self.path.open("rb") as file:
            file.seek(max(0, self._end - TAIL_BYTES))
            data = b"\n" + file.read()
        if data.endswith(b"\n" + name):
            return b"\n\n"  # so that this name begins no head
        tail = data[data.rfind(b"\n" + name + b"\n") + 1 :]
        try:
            open_head(tail.decode(), self._verifier)
        except (NoteError, ValueError):
            return b"\n" if tail else b""
        return b""


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
