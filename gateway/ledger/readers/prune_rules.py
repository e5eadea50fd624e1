"""Which prune record explains that a segment's records are gone. Reads the seal that it must name, decides nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from gateway.ledger.errors import Tampered
from gateway.ledger.format.promises import OLD_RULES, Promises
from gateway.ledger.format.record import number
from gateway.ledger.readers.reader import Segment
from gateway.ledger.storage.layout import LogLayout

DAY_MS = 86_400_000


def seal_digest(layout: LogLayout, number: int) -> str:
    """SHA-256 of a segment's seal as it is stored: what a prune names."""
    return sha256(layout.file(number, "seal").read_bytes()).hexdigest()


def check_prune(layout: LogLayout, segment: Segment, records: Sequence[dict[str, Any]]) -> None:
    """Tampered unless one of `records`, prunes of this segment under a head, keeps what the ledger promised."""
    faults = [_fault(layout, segment, fields, fields["promises"]) for fields in records]
    if None in faults:
        return
    raise Tampered(
        f"segment {segment.number:08d} was pruned, but not as promised: record {records[-1]['index']} {faults[-1]}"
    )


def _fault(layout: LogLayout, segment: Segment, fields: dict[str, Any], promises: Promises) -> str | None:
    if promises.rules <= OLD_RULES:
        return None
    if fields.get("seal") != seal_digest(layout, segment.number):
        return "does not name its seal"
    if (fields.get("first"), fields.get("records")) != (segment.first, segment.records):
        return "speaks of other records"
    before_ms = number(fields, "before_ms")
    if before_ms is None or segment.seal is None or segment.seal.to_ms >= before_ms:
        return "speaks of older records"
    days = promises.retention_days
    if days and before_ms > fields["time_ms"] - days * DAY_MS:
        return f"came before the {days} days were over for which records are kept"
    if not days and not (fields.get("manual") is True and fields.get("by")):
        return "does not say who asked, and records are kept for ever"
    return None
