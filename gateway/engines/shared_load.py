"""What all workers of a host have at work at each engine: a few numbers in shared memory; each writes its own, no locks.

Without it each worker would know its own share only, and a worker that got many connections would queue while the engine
idles. A sum may be a moment old: a bound can be passed by what two workers begin at the same time, never by more.
"""

import hashlib
import mmap
from pathlib import Path

SLOTS = 256  # engines that can have been there during one life of the file
_FIELDS = 4  # tag of the engine's name, exchanges, tokens, waiting
_ROW = 1 + SLOTS * _FIELDS  # the first word is the worker's pulse
_WORD_BYTES = 8


class SharedLoad:
    """One worker's view. Made by `alone`, or by `shared` in each of the workers."""

    def __init__(self, memory: "bytearray | mmap.mmap", workers: int, worker: int) -> None:
        self._words = memoryview(memory).cast("q")
        self._rows = [row * _ROW + 1 for row in range(workers)]
        self._own = self._rows[worker]
        self._tags: dict[str, int] = {}

    @classmethod
    def alone(cls) -> "SharedLoad":
        return cls(bytearray(_size(1)), 1, 0)

    @classmethod
    def shared(cls, path: Path, workers: int, worker: int) -> "SharedLoad":
        """The view of ``worker`` (from 0) on the file that a SharedLoadReader made for so many."""
        with path.open("r+b") as file:
            return cls(mmap.mmap(file.fileno(), _size(workers)), workers, worker)

    def add(self, engine: str, *, exchanges: int = 0, tokens: int = 0, waiting: int = 0) -> None:
        """Count at work and waiting at ``engine``; negative when it ended."""
        slot = self._slot(self._own, self._tag(engine))
        self._words[slot + 1] += exchanges
        self._words[slot + 2] += tokens
        self._words[slot + 3] += waiting

    def at_work(self, engine: str) -> tuple[int, int]:
        """Exchanges and tokens of all workers at ``engine``."""
        tag, words = self._tag(engine), self._words
        exchanges = tokens = 0
        for row in self._rows:
            slot = self._slot(row, tag)
            exchanges += words[slot + 1]
            tokens += words[slot + 2]
        return exchanges, tokens

    def others_waiting(self, engine: str) -> int:
        """How many other workers have somebody who waits for ``engine``."""
        if len(self._rows) == 1:
            return 0
        tag, words = self._tag(engine), self._words
        return sum(words[self._slot(row, tag) + 3] > 0 for row in self._rows if row != self._own)

    def beat(self, now_ms: int) -> None:
        """Say that this worker serves and lives."""
        self._words[self._own - 1] = now_ms

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


class SharedLoadReader:
    """The supervisor's view: who lives. It makes the file, in a file."""

    def __init__(self, path: Path, workers: int) -> None:
        path.write_bytes(b"\0" * _size(workers))
        with path.open("r+b") as file:
            self._words = memoryview(mmap.mmap(file.fileno(), _size(workers))).cast("q")
        self._workers = workers

    def exchanges(self) -> int:
        """What all workers have at work at all engines."""
        return sum(
            self._words[row * _ROW + 1 + slot * _FIELDS + 1] for row in range(self._workers) for slot in range(SLOTS)
        )

    def pulse_ms(self, worker: int) -> int:
        """When the worker last said that it lives, by the monotonic clock; 0 if it never did."""
        return self._words[worker * _ROW]

    def clear(self, worker: int) -> None:
        """Forget what a dead worker had at work."""
        for word in range(worker * _ROW, (worker + 1) * _ROW):
            self._words[word] = 0


def _size(workers: int) -> int:
    return workers * _ROW * _WORD_BYTES
