r"""Names from outside: which may come in, and how any text goes out to a terminal. Pure: prints nothing itself.

A terminal obeys some characters instead of showing them: ESC and the other control characters (C0, C1), line breaks (also
U+2028 and U+2029), and the format characters that turn or hide text (bidi overrides, zero width). Whoever may choose a name
could otherwise forge a line of a report or of a log.
"""

from __future__ import annotations

import json
import traceback
import unicodedata
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, TextIO

import orjson

MOST_NAME_CHARS = 64
MOST_MODEL_CHARS = 256


def printable(text: str) -> str:
    r"""The text as one line that steers no terminal: each character that has no look stands as ``\x1b``, ``\n`` or ``\u202e``.

    A backslash stays what it is, so that ``DOMAIN\user`` reads as it was written.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines of our own: line feeds and tabs stay."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def ascii_json(value: Any, *, indent: bool = False, sort: bool = False) -> str:
    """JSON in plain ASCII: JSON itself escapes only the control characters below U+0020."""
    option = (orjson.OPT_INDENT_2 if indent else 0) | (orjson.OPT_SORT_KEYS if sort else 0)
    line = orjson.dumps(value, option=option)
    if line.isascii() and b"\x7f" not in line:
        return line.decode("ascii")
    separators = (",", ": ") if indent else (",", ":")
    text = json.dumps(
        value, ensure_ascii=True, indent=2 if indent else None, sort_keys=sort, separators=separators, allow_nan=False
    )
    return text.replace("\x7f", "\\u007f")


def printable_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A log event with all its texts printable: a processor for structlog, before one that renders for people."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in event.items()}


def printable_traceback(out: TextIO, fault: tuple[type[BaseException], BaseException, TracebackType | None]) -> None:
    """Write where an exception came from, without what its variables held: a formatter for structlog's ConsoleRenderer."""
    out.write("\n" + printable_lines("".join(traceback.format_exception(*fault)).rstrip("\n")))


def name_fault(name: str, most: int = MOST_NAME_CHARS) -> str | None:
    """What keeps a new name from being taken, as ``it ...``, with the way out; None for a good one.

    For what comes in. What is stored already is read as it is and shown with ``printable``.
    """
    fault = text_fault(name, most)
    if fault:
        return fault
    if name != name.strip():
        return "it begins or ends with a space; leave the space out"
    if name.startswith("."):
        return "it begins with a dot, and such names are Vitrine's own; begin with a letter"
    if not unicodedata.is_normalized("NFC", name):
        return "it is not in Unicode's composed form (NFC), so it would look like another name; write it composed"
    return None


def text_fault(text: str, most: int) -> str | None:
    """The same for a text that may begin with a dot and be spelled in any way: the name that an engine gives its model."""
    if not text.strip():
        return "it is empty; write at least one letter"
    if len(text) > most:
        return f"it has {len(text)} characters; write at most {most}"
    if not text.isprintable():
        letter = next(letter for letter in text if not letter.isprintable())
        return f"it has the character U+{ord(letter):04X}, which has no look; leave it out"
    return None


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
