"""UUIDv7 (RFC 9562) for records: time-ordered, unique, and never smaller than one given before. Touches no file."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable

_COUNTER_BITS = 74
_SPELLING = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class RecordIds:
    """Hands out ids in strictly rising order, also when the clock jumps back or a new process starts."""

    def __init__(self, now_ms: Callable[[], int], after: str | None = None) -> None:
        self._now_ms = now_ms
        self._last = 0 if after is None else _number(after)

    def next(self) -> str:
        """A new id as 36 characters."""
        fresh = (self._now_ms() << _COUNTER_BITS) | (int.from_bytes(os.urandom(10)) >> 7)
        # Within one millisecond, and while the clock is behind, a random step forward keeps order and guessing hard.
        self._last = fresh if fresh > self._last else self._last + 1 + secrets.randbits(40)
        return _text(self._last)


def _text(number: int) -> str:
    time_ms, rest = number >> _COUNTER_BITS, number & ((1 << _COUNTER_BITS) - 1)
    value = (time_ms << 80) | (0x7 << 76) | ((rest >> 62) << 64) | (0b10 << 62) | (rest & ((1 << 62) - 1))
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _number(identity: str) -> int:
    value = int(identity.replace("-", ""), 16)
    return ((value >> 80) << _COUNTER_BITS) | (((value >> 64) & 0xFFF) << 62) | (value & ((1 << 62) - 1))


def time_ms(identity: str) -> int:
    """The Unix time in milliseconds that an id was made at."""
    return int(identity.replace("-", ""), 16) >> 80


def is_identity(text: str) -> bool:
    """Whether `text` is a UUIDv7 in the one spelling that the log uses."""
    return _SPELLING.fullmatch(text) is not None
