"""What all workers of a host have at work at each engine: a few numbers in shared memory; each writes its own, no locks.

Without it each worker would know its own share only, and a worker that got many connections would queue while the engine
idles. A sum may be a moment old: a bound can be passed by what two workers begin at the same time, never by more.
"""

import hashlib
import mmap
from pathlib import Path

SLOTS = 256  # engines that can have been there during one life of the board
_FIELDS = 3  # tag of the engine's name, exchanges, tokens
_WORD_BYTES = 8


class Board:
    """One worker's view. Made by `alone`, or by `shared` in each of the workers."""

    def __init__(self, memory: "bytearray | mmap.mmap", workers: int, worker: int) -> None:
        self._words = memoryview(memory).cast("q")
        self._rows = [row * SLOTS * _FIELDS for row in range(workers)]
        self._own = self._rows[worker]
        self._tags: dict[str, int] = {}
        # The worker that had this row before may have died with numbers in it.
        for word in range(self._own, self._own + SLOTS * _FIELDS):
            self._words[word] = 0

    @classmethod
    def alone(cls) -> "Board":
        return cls(bytearray(_size(1)), 1, 0)

    @classmethod
    def shared(cls, path: Path, workers: int, worker: int) -> "Board":
        """Row ``worker`` (from 0) of the board in a file of that many workers; see `create`."""
        with path.open("r+b") as file:
            return cls(mmap.mmap(file.fileno(), _size(workers)), workers, worker)

    @staticmethod
    def create(path: Path, workers: int) -> None:
        """An empty board for so many workers."""
        path.write_bytes(b"\0" * _size(workers))

    def add(self, engine: str, exchanges: int, tokens: int) -> None:
        """Count at work at ``engine``; negative when it ended."""
        slot = self._slot(self._own, self._tag(engine))
        self._words[slot + 1] += exchanges
        self._words[slot + 2] += tokens

    def at_work(self, engine: str) -> tuple[int, int]:
        """Exchanges and tokens of all workers at ``engine``."""
        tag, words = self._tag(engine), self._words
        exchanges = tokens = 0
        for row in self._rows:
            slot = self._slot(row, tag)
            exchanges += words[slot + 1]
            tokens += words[slot + 2]
        return exchanges, tokens

    def _tag(self, engine: str) -> int:
        tag = self._tags.get(engine)
        if tag is None:
            digest = hashlib.sha256(engine.encode()).digest()
            tag = self._tags[engine] = int.from_bytes(digest[:7], "big") + 1  # never 0, which is an empty slot
        return tag

    def _slot(self, row: int, tag: int) -> int:
        """The engine's slot in a row; in our own it is taken if it is new."""
        words = self._words
        for step in range(SLOTS):
            slot = row + (tag + step) % SLOTS * _FIELDS
            if words[slot] == tag:
                return slot
            if words[slot] == 0:
                if row == self._own:
                    words[slot] = tag
                return slot
        raise RuntimeError(f"over {SLOTS} engines have come and gone; restart the gateway")


def _size(workers: int) -> int:
    return workers * SLOTS * _FIELDS * _WORD_BYTES
