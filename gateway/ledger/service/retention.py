"""Pruning: whole sealed segments lose their records and keep their hashes, so that old proofs stay valid."""

from __future__ import annotations

from gateway.ledger.client.messages import Pruned
from gateway.ledger.format.note import Verifier
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


def prune(layout: LogLayout, verifier: Verifier, writer: RecordWriter, before_ms: int, by: str) -> Pruned:
    """Record the pruning, make that durable, and only then delete."""
    segments = prunable(layout, verifier, before_ms)
    for segment in segments:
        writer.own(
            "prune",
            {
                "before_ms": before_ms,
                "by": by,
                "first": segment.first,
                "records": segment.records,
                "segment": segment.number,
            },
        )
    writer.log.commit()
    for segment in segments:
        path = stored_file(layout, segment.number)
        if path is not None:
            path.unlink()
    sync_folder(layout.segments)
    return Pruned(tuple(segment.number for segment in segments), sum(segment.records for segment in segments))
