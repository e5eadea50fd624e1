"""Pruning: whole sealed segments lose their records and keep their hashes, so that old proofs stay valid.

A prune is signed before anything is deleted: one that no head covers explains nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.ledger.client.messages import Pruned
from gateway.ledger.errors import BadSettings
from gateway.ledger.format.note import Verifier
from gateway.ledger.format.promises import Promises
from gateway.ledger.format.record import cap
from gateway.ledger.readers.prune_rules import DAY_MS, seal_digest
from gateway.ledger.readers.reader import Segment, find_segments
from gateway.ledger.service.record_writer import RecordWriter
from gateway.ledger.storage.files import sync_folder
from gateway.ledger.storage.layout import LogLayout
from gateway.ledger.storage.seal import stored_file


def prunable(layout: LogLayout, verifier: Verifier, before_ms: int) -> list[Segment]:
    """Sealed segments that still have records and ended before `before_ms` (Unix ms)."""
    return [
        segment
        for segment in find_segments(layout, verifier)
        if segment.seal is not None
        and segment.seal.to_ms < before_ms
        and stored_file(layout, segment.number) is not None
    ]


@dataclass(frozen=True)
class Pruning:
    """What is asked for now: segments that ended before a time, and by whom. Times are Unix ms."""

    now_ms: int
    before_ms: int
    by: str
    manual: bool


def prune(
    layout: LogLayout,
    verifier: Verifier,
    writer: RecordWriter,
    promises: Promises,
    wanted: Pruning,
    sign: Callable[[], None],
) -> Pruned:
    """Record the pruning, have a head signed over that, and only then delete. BadSettings if it breaks what was promised."""
    days = promises.retention_days
    if days and wanted.before_ms > wanted.now_ms - days * DAY_MS:
        raise BadSettings(
            f"records are kept for {days} days (retention_days), as the boot record says: nothing was deleted"
        )
    segments = prunable(layout, verifier, wanted.before_ms)
    for segment in segments:
        writer.own(
            "prune",
            {
                "before_ms": wanted.before_ms,
                "by": cap(wanted.by),
                "first": segment.first,
                "manual": wanted.manual,
                "records": segment.records,
                "retention_days": days,
                "seal": seal_digest(layout, segment.number),
                "segment": segment.number,
            },
        )
    if segments:
        writer.log.commit()
        sign()
    for segment in segments:
        path = stored_file(layout, segment.number)
        if path is not None:
            path.unlink()
    sync_folder(layout.segments)
    return Pruned(tuple(segment.number for segment in segments), sum(segment.records for segment in segments))
