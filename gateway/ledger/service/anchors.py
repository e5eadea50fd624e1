"""The writer's anchors: every head goes to each, beside the writer's thread. What does not fit is told, never overwritten."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from gateway.ledger.client.messages import Integrity
from gateway.ledger.errors import LedgerError, Unreadable
from gateway.ledger.format.checkpoint import TreeHead
from gateway.ledger.format.note import Verifier
from gateway.ledger.readers.reader import LogReader
from gateway.ledger.service.background import BackgroundWorker
from gateway.ledger.storage.anchor import AnchorChanged, AnchorFile, check_head, read_anchor
from gateway.ledger.storage.layout import LogLayout

MOST_WAITING = 100_000  # heads, for storage that hangs: a day of them


class Anchors:
    """Made at a start, when each anchor that is there has been checked against the log."""

    def __init__(
        self,
        paths: Sequence[Path],
        layout: LogLayout,
        verifier: Verifier,
        logger: structlog.stdlib.BoundLogger,
        on_trouble: Callable[[], None],
    ) -> None:
        self.alarms: queue.SimpleQueue[Integrity] = queue.SimpleQueue()
        self._layout, self._verifier = layout, verifier
        self._files = [AnchorFile(path, verifier) for path in paths]
        self._logger, self._on_trouble = logger, on_trouble
        self._alarmed: set[Path] = set()
        self._waiting: deque[tuple[TreeHead, bytes]] = deque(maxlen=MOST_WAITING)
        self._lock = threading.Lock()
        self._worker = BackgroundWorker("ledger-anchorer", self._complain)

    def begin(self, head: TreeHead, note: bytes, *, may_be_missing: bool) -> list[str]:
        """Write the log's last head into anchors that are missing or empty; their paths. Unreadable if none may be missing."""
        missing = [file for file in self._files if file.last is None]
        if missing and not may_be_missing:
            raise Unreadable(
                f"the anchor {missing[0].path} is missing, but the log has {head.size} signed records: bring it back; "
                f"or begin it anew with VITRINE_LEDGER_ANCHORS_MAY_BE_MISSING=true for one start, which the boot record then says"
            )
        for file in missing:
            try:
                file.append(note, head)
            except OSError as error:
                if head.size == 0 or not may_be_missing:
                    raise Unreadable(f"the anchor {file.path} cannot be begun: {error.strerror}") from error
                self._tell(file.path, error)
        return [str(file.path) for file in missing]

    def put(self, head: TreeHead, note: bytes) -> None:
        """A new head; it is written soon, with those that wait."""
        with self._lock:
            waited = bool(self._waiting)
            self._waiting.append((head, note))
        if not waited:
            self._worker.put(self._write)

    def stop(self, timeout_s: float) -> None:
        self._worker.stop(timeout_s)

    def _write(self) -> None:
        with self._lock:
            heads = list(self._waiting)
            self._waiting.clear()
        for file in self._files:
            try:
                self._grow(file, heads)
            except (OSError, AnchorChanged, LedgerError) as error:
                self._tell(file.path, error)
            else:
                self._alarmed.discard(file.path)

    def _grow(self, file: AnchorFile, heads: list[tuple[TreeHead, bytes]]) -> None:
        if file.last is None:
            self._join(file)
        # What waited while the storage was away is written too; what stands there already is not written again.
        file.append(b"".join(note for _, note in heads), heads[-1][0])

    def _join(self, file: AnchorFile) -> None:
        """An anchor that was away at the start and may be back: the log must continue what it knows."""
        known = read_anchor(file.path, self._verifier)
        if known is not None:
            reader = LogReader(self._layout, self._verifier)
            check_head(known, f"the anchor {file.path}", reader.head()[0].size, reader.tree().root)
            file.accept(known)

    def _tell(self, path: Path, error: Exception) -> None:
        """Each time in figures, once in words and as a record: an anchor that stays wrong says nothing new."""
        self._on_trouble()
        if path in self._alarmed:
            return
        self._alarmed.add(path)
        text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        self._logger.error("an anchor could not be written", anchor=str(path), error=text)
        if not isinstance(error, OSError):
            self.alarms.put(
                Integrity("an anchor does not fit the log", "ledger", facts={"anchor": str(path), "why": text})
            )

    def _complain(self, error: BaseException) -> None:
        self._on_trouble()
        self._logger.error("work beside the log failed", error=str(error))
