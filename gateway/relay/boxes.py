"""Boxes in a model's text, written for programs; pure. Of `<|begin_of_box|>[[x1,y1,x2,y2]]<|end_of_box|>`, on a grid of 0 to 1000,
it makes JSON in pixels of the picture that was sent, turned upright. What stands between the marks and is no box stays as text.
"""

import enum
import re
from collections.abc import Sequence
from typing import Any

import msgspec

BEGIN, END = "<|begin_of_box|>", "<|end_of_box|>"
GRID = 1000
_MOST_INSIDE_CHARS = 16_384
_LONGEST_LABEL = 40
_LINE_CHARS = 400  # of the text before a box, that its label is taken from
_CLAUSE = re.compile(r"[。.;；,，、]|\]\]|[\]}]")
_TRIMMED = re.compile(r"^[\s\-*#\d)]+|[\s:：*]+$")
_PICTURE = re.compile(r"(?:image|picture|photo|图片?|第)\s*#?(\d{1,2})(?:\s*张)?", re.IGNORECASE)
_Size = tuple[int, int]


class Boxes(enum.StrEnum):
    """How a client wants boxes: as JSON, or as the model's numbers without its control tokens."""

    JSON = "json"
    PLAIN = "plain"


class BoxText:
    """The text of one choice, in pieces as they come; how it is cut changes nothing. ``sizes``: of the pictures, upright."""

    def __init__(self, boxes: Boxes, sizes: Sequence[_Size]) -> None:
        self._boxes, self._sizes = boxes, sizes
        self._held = ""  # what may be part of a mark, or the inside of a box
        self._inside = self._raw = False  # raw: so long that it is no box
        self._line = ""

    def feed(self, text: str) -> str:
        """What of the text, with what was held back, is sure now."""
        self._held += text
        said = []
        while True:
            piece, again = self._inside_step() if self._inside and not self._raw else self._outside_step()
            said.append(self._passed(piece))
            if not again:
                return "".join(said)

    def finish(self) -> str:
        """What was held back when the text ended, cut short or not."""
        held, self._held = self._held, ""
        return self._passed(self._written(held) if self._inside and not self._raw else held)

    def _outside_step(self) -> tuple[str, bool]:
        held = self._held
        places = [(at, mark) for mark in (BEGIN, END) if (at := held.find(mark)) >= 0]
        if not places:
            keep = _begun(held)
            self._held = held[len(held) - keep :]
            return held[: len(held) - keep], False
        at, mark = min(places)
        self._held = held[at + len(mark) :]
        self._inside, self._raw = mark == BEGIN and self._boxes is Boxes.JSON, False
        return held[:at], True

    def _inside_step(self) -> tuple[str, bool]:
        held = self._held
        at = held.find(END, 0, _MOST_INSIDE_CHARS + len(END))
        if at >= 0:
            self._held, self._inside = held[at + len(END) :], False
            return self._written(held[:at]), True
        if len(held) < _MOST_INSIDE_CHARS + len(END):
            return "", False
        self._raw = True
        self._held = held[_MOST_INSIDE_CHARS:]
        return held[:_MOST_INSIDE_CHARS].replace(BEGIN, ""), True

    def _passed(self, text: str) -> str:
        self._line = (self._line + text)[-_LINE_CHARS:].rpartition("\n")[2]
        return text

    def _written(self, inside: str) -> str:
        found = _read(inside)
        if not found:
            return inside.replace(BEGIN, "")
        before = label_before(self._line)
        for box in found:
            if not box["label"] and len(found) == 1:
                box["label"] = before
        return msgspec.json.encode([self._placed(box) for box in found]).decode()

    def _placed(self, box: dict[str, Any]) -> dict[str, Any]:
        """In pixels, where it is known of which picture; else on the model's own grid, by another name."""
        made: dict[str, Any] = {"label": box["label"]}
        number = box["image"] or _number_in(self._line)
        size = self._sizes[0] if len(set(self._sizes)) == 1 else None
        if len(self._sizes) > 1 and number is not None and 1 <= number <= len(self._sizes):
            size, made["image"] = self._sizes[number - 1], number
        if size is None:
            return {**made, "bbox_1000": box["edges"]}
        width, height = size
        sides = (width, height, width, height)
        return {**made, "bbox": [round(edge * side / GRID) for edge, side in zip(box["edges"], sides, strict=True)]}


def label_before(line: str) -> str:
    """What a line said before the box, if it is short enough to be its name."""
    words = _TRIMMED.sub("", _CLAUSE.split(line.rstrip())[-1])
    return words if len(words) <= _LONGEST_LABEL else ""


def _begun(text: str) -> int:
    """How many characters at the end of the text may be the beginning of a mark."""
    at = text.rfind("<", max(0, len(text) - len(BEGIN) + 1))
    while at >= 0:
        if BEGIN.startswith(text[at:]) or END.startswith(text[at:]):
            return len(text) - at
        at = text.rfind("<", max(0, len(text) - len(BEGIN) + 1), at)
    return 0


def _number_in(line: str) -> int | None:
    found = _PICTURE.findall(line)
    return int(found[-1]) if found else None


def _read(inside: str) -> list[dict[str, Any]]:
    """The boxes between two marks; none where something there is no box."""
    try:
        value = msgspec.json.decode(inside)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return []
    if isinstance(value, dict) or (isinstance(value, list) and value and not isinstance(value[0], list | dict)):
        value = [value]
    if not isinstance(value, list):
        return []
    found = [_box(one) for one in value]
    return [one for one in found if one is not None] if None not in found else []


def _box(value: Any) -> dict[str, Any] | None:
    """Of four numbers, or of an object with a name and four numbers, as some prompts ask for."""
    named = value if isinstance(value, dict) else {}
    edges = next((named[key] for key in ("bbox_2d", "bbox", "box") if key in named), None) if named else value
    if not isinstance(edges, list) or len(edges) != 4:
        return None
    if not all(isinstance(edge, int | float) and not isinstance(edge, bool) for edge in edges):
        return None
    left, top, right, bottom = (min(max(edge, 0), GRID) for edge in edges)
    label, image = named.get("label", named.get("name", "")), named.get("image")
    return {
        "label": label if isinstance(label, str) else "",
        "image": image if isinstance(image, int) and not isinstance(image, bool) else None,
        "edges": [min(left, right), min(top, bottom), max(left, right), max(top, bottom)],
    }
