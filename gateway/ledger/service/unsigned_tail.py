"""Records that no head covers, as a start finds them: what a crash can leave there, and what only a hand can. Writes nothing.

Nobody has signed these records. A crash leaves some, so a start takes them over and says how many. Three things no crash leaves:
a record behind a shutdown that is not of the next start, a recovery that no boot precedes, and a prune whose segment is gone
already (a prune is signed before anything is deleted).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.ledger.errors import Tampered
from gateway.ledger.format.record import decode
from gateway.ledger.storage.layout import LogLayout
from gateway.ledger.storage.seal import stored_file


def check_tail(layout: LogLayout, first: int, signed: Sequence[bytes], tail: Sequence[bytes]) -> None:
    """Tampered if `tail`, the records from index `first` on, cannot come from a crash. `signed` are those before it."""
    last: dict[str, Any] = decode(signed[-1]) if signed else {"kind": "seal"}
    stopped = last["kind"] == "shutdown"
    booted = _is_boot(last)
    for index, line in enumerate(tail, first):
        record = decode(line)
        kind, boots = record["kind"], _is_boot(record)
        if kind == "recovery" and not booted:
            raise Tampered(f"record {index} is a recovery, but no start stands before it")
        if stopped and not boots and kind != "recovery":
            raise Tampered(
                f"record {index} ({kind}) stands between the end of one ledger and the first head of the next: "
                f"no ledger wrote it there"
            )
        if kind == "prune" and _is_gone(layout, record):
            raise Tampered(
                f"record {index} says that segment {record['segment']} was pruned, but no head covers it, and the records "
                f"are gone: a prune is signed before anything is deleted; restore them from a backup"
            )
        # A start answers nobody before its first head: behind its boot only a recovery can stand without one.
        stopped = stopped or boots or kind == "shutdown"
        booted = boots


def _is_boot(record: dict[str, Any]) -> bool:
    return record["kind"] == "boot" and record.get("room") == "ledger"


def _is_gone(layout: LogLayout, record: dict[str, Any]) -> bool:
    number = record.get("segment")
    return isinstance(number, int) and stored_file(layout, number) is None
