"""Exchanges as a table for spreadsheets (CSV of RFC 4180). A cell never starts like a formula."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

from gateway.ledger.format.printable import printable

# fmt: off
COLUMNS = (
    "index", "time", "kind", "id", "key", "tenant", "ip", "route", "model", "outcome", "status", "reason", "images",
    "prompt_chars", "prompt_digest", "image_digests", "answer_chars", "answer_digest", "prompt_tokens", "answer_tokens",
    "finish", "engine", "ttft_ms", "total_ms",
)
# fmt: on


def header() -> str:
    return _line(list(COLUMNS))


def to_row(index: int, record: dict[str, Any], origin: str, admit: dict[str, Any] | None = None) -> str:
    """One line with its line end; `admit` is the admit record of a complete record."""
    who = admit or record
    images = record.get("images") or []
    prompt, answer = record.get("prompt") or {}, record.get("answer") or {}
    cells: dict[str, Any] = {name: record.get(name, who.get(name)) for name in COLUMNS}
    cells |= {
        "index": index,
        "time": datetime.fromtimestamp(record["time_ms"] / 1000, UTC).isoformat(timespec="milliseconds"),
        "images": len(images),
        "image_digests": " ".join(image["digest"] for image in images),
        "prompt_chars": prompt.get("chars"),
        "prompt_digest": prompt.get("digest"),
        "answer_chars": answer.get("chars"),
        "answer_digest": answer.get("digest"),
    }
    return _line([_cell(cells[name]) for name in COLUMNS])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = str(value)
    # A spreadsheet runs what starts with these; a client chose some of these texts.
    formula = text.startswith(("=", "+", "-", "@", "\t", "\r")) and not isinstance(value, int)
    return printable("'" + text if formula else text)


def _line(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()
