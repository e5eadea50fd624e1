"""Records as bytes: canonical JSON lines, and the little that is read back from them. Never hashes, never writes.

Canonical: one line, ASCII, keys sorted, no spaces, integers only, every string capped. What a line holds is described
field by field in docs/audit.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import orjson

VERSION = 1
MOST_LINE_BYTES = 65_535  # an entry of a tlog-tiles bundle has a length of 16 bits
MOST_CHARS = 256
MOST_NAME_CHARS = 64

KINDS = (
    *("boot", "admit", "complete", "deny", "gap", "integrity", "key"),
    *("recovery", "seal", "segment", "rhythm", "prune", "shred", "shutdown"),
)

Value = str | int | bool | None | list["Value"] | dict[str, "Value"]


class RecordError(ValueError):
    """Not something the log may hold."""


def cap(text: str, most: int = MOST_CHARS) -> str:
    """A string of at most `most` characters; a cut one ends in an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def encode(fields: Mapping[str, Value]) -> bytes:
    """The line of a record, without its newline."""
    line = orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)
    # Plain ASCII keeps a terminal, a CSV reader and an old editor from being steered by what a client sent.
    if not line.isascii() or b"\x7f" in line:
        text = json.dumps(fields, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
        line = text.replace("\x7f", "\\u007f").encode("ascii")
    if len(line) > MOST_LINE_BYTES:
        raise RecordError(f"a record has at most {MOST_LINE_BYTES} bytes, not {len(line)}")
    return line


class RecordHeader(msgspec.Struct):
    """What every record has; the rest of the line is checked to be JSON and dropped."""

    kind: str
    id: str
    time_ms: int
    v: int


decode_header = msgspec.json.Decoder(RecordHeader).decode


def decode(line: bytes) -> dict[str, Any]:
    """A record's fields; RecordError if the line is not one."""
    try:
        decode_header(line)
        fields: dict[str, Any] = orjson.loads(line)
    except (msgspec.DecodeError, orjson.JSONDecodeError) as error:
        raise RecordError("not a record") from error
    return fields


def number(fields: Mapping[str, Any], name: str) -> int | None:
    """A field that must be an integer; None if it is none, which no record of ours is."""
    value = fields.get(name)
    return value if type(value) is int else None


def torn_files(fields: Mapping[str, Any]) -> dict[str, str]:
    """What a recovery tells of torn bytes: file -> SHA-256."""
    torn = fields.get("torn")
    return torn if isinstance(torn, dict) else {}


def is_about(key: str, fields: Mapping[str, Any]) -> bool:
    """Whether the record names this caller, alone or among those of a flood's roll-up."""
    return bool(fields.get("key") == key or (fields["kind"] == "deny" and key in fields.get("keys", ())))


def is_canonical(line: bytes) -> bool:
    """Whether the line is exactly what `encode` would write for its own fields."""
    try:
        return encode(decode(line)) == line
    except (RecordError, TypeError, ValueError, RecursionError):
        return False
