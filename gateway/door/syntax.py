"""Strict JSON: refuses what parsers disagree on before anything reads a value; it never interprets a field.

Parsers differ on duplicate keys (first, last, error), on NaN and Infinity, on integers past 64 bits, on lone
surrogates and on depth: what one checks, the next reads otherwise. Here they are all errors.

The check costs nothing for images: base64 is cut out of a copy of the body first. What is cut out goes on to the end of its
string, so the structure of what remains is the structure of the whole. Whoever uses what was cut out reads it strictly.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway.door.errors import BadSyntax, OverBound, OverBytes
from gateway.door.field_paths import find, path

_MARK = b";base64,"
_URL, _URL_NAMES, _LONGEST_NAME = b'url"', (b'"url"', b'"image_url"'), len(b'"image_url"')
_VALUE = re.compile(rb'[ \t\r\n]*:[ \t\r\n]*"')
_BACKSLASH = ord("\\")
_WORTH_CUTTING_BYTES = 1024
_MUCH_BYTES = 256 * 1024  # less, as most text is, is read sooner than unusual base64 is looked for in it
_MOST_MARKS = 4096  # no honest body has so many; what is left over counts as text
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_INT_CHARS = 20
_EXTREME_CHARS = len("1e-300")
_PLAIN_CHARS, _SMALLEST_PLAIN, _LARGEST_PLAIN = 40, 1e-280, 1e280


def check_syntax(body: bytes, *, depth: int, text_bytes: int, values: int, extreme_numbers: int) -> dict[str, Any]:
    """The body as plain objects, long base64 payloads left out: for finding a fault's place, never for the engine.

    Raises BadSyntax (400) for all that is not one strict JSON object in UTF-8, OverBound (400) for more than `depth`
    levels, `values` values or `extreme_numbers` extreme numbers, OverBytes (413) for more than `text_bytes` bytes besides base64.
    """
    skeleton = without_base64(body)
    if len(skeleton) > text_bytes:
        raise OverBytes(
            f"The body has {len(skeleton)} bytes besides its images; the limit is {text_bytes}. Send less text."
        )
    if values_at_most(skeleton, values) > values:
        raise OverBound(f"The body has more than {values} values. Send fewer, or larger ones.")
    try:
        text = skeleton.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadSyntax(f"The body is not UTF-8 (near byte {error.start}). Encode it as UTF-8.") from None
    try:
        few = len(text) < _EXTREME_CHARS * extreme_numbers
        tree = (_DECODER if few else _decoder(_Floats(extreme_numbers).read)).decode(text)
    except RecursionError:
        raise _too_deep(depth) from None
    except json.JSONDecodeError as error:
        raise BadSyntax(f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    if isinstance(tree, _Fault):
        raise BadSyntax(tree.reason, param=path((tree.name,)))
    if not isinstance(tree, dict):
        raise BadSyntax("The body is JSON, but not an object. Send an object with `model` and `messages`.")
    # Decoded UTF-8 has no half of a pair: only an escape can write one.
    _check_tree(tree, depth, may_be_halved="\\ud" in text or "\\uD" in text)
    return tree


def check_text(text: str) -> None:
    """Raises BadSyntax (400) if `text` has half of a surrogate pair: no UTF-8 can carry it."""
    if _halved(text):
        raise _half()


def without_base64(body: bytes) -> bytes:
    """The body without its long base64: what follows `;base64,`, and long strings named `url` or `image_url`."""
    return cut_base64(body)[0]


def cut_base64(body: bytes, mark: bytes = b"") -> tuple[bytes, list[tuple[int, int]]]:
    """As `without_base64`, and where in the body the payloads are: from, to. With `mark`, each leaves it and its number."""
    cuts = _marked(body)
    if len(body) - sum(end - payload for payload, end in cuts) >= _MUCH_BYTES:
        cuts = sorted([*cuts, *_unmarked(body, cuts)])
    if not cuts:
        return body, cuts
    kept: list[bytes] = []
    start = 0
    for number, (payload, end) in enumerate(cuts):
        kept.append(body[start:payload])
        if mark:
            kept.append(b"%b%08d" % (mark, number))
        start = end
    kept.append(body[start:])
    return b"".join(kept), cuts


def _marked(body: bytes) -> list[tuple[int, int]]:
    """The payloads of usual data URLs."""
    cuts: list[tuple[int, int]] = []
    at = body.find(_MARK)
    for _ in range(_MOST_MARKS):
        if at < 0:
            break
        payload = at + len(_MARK)
        end = body.find(b'"', payload)
        if end < 0:
            break
        if _worth_cutting(body, payload, end):
            cuts.append((payload, end))
        at = body.find(_MARK, end)
    return cuts


def _unmarked(body: bytes, marked: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Long values of `url` and `image_url` outside of what is `marked`: base64 without a head, or with an unusual one."""
    cuts: list[tuple[int, int]] = []
    left = _MOST_MARKS
    at = 0
    for stop, next_at in [*marked, (len(body), len(body))]:
        while stop - at >= _WORTH_CUTTING_BYTES and left > 0 and (at := body.find(_URL, at, stop)) >= 0:
            left -= 1
            at += len(_URL)
            found = _VALUE.match(body, at, stop)
            if found is None or not body.endswith(_URL_NAMES, max(0, at - _LONGEST_NAME), at):
                continue
            end = body.find(b'"', found.end(), stop)
            if end < 0:
                break
            if _worth_cutting(body, found.end(), end):
                cuts.append((found.end(), end))
            at = end
        at = next_at
    return cuts


def _worth_cutting(body: bytes, payload: int, end: int) -> bool:
    """Whether it is long, and the quote at `end` ends it: behind a backslash the quote may be escaped."""
    return end - payload >= _WORTH_CUTTING_BYTES and body[end - 1] != _BACKSLASH


def values_at_most(text: bytes, enough: int) -> int:
    """A bound of the number of values in JSON `text`: exact but for empty arrays and objects where it exceeds `enough`."""
    loose = _openings(text)
    if loose <= enough:
        return loose
    # Strings may hold commas and brackets: leave them out. Without escapes, every second piece between quotes is one.
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    quotes = plain.count(b'"')
    if quotes > 4 * enough:
        return quotes // 4
    return _openings(b"".join(plain.split(b'"')[::2]))


def _openings(text: bytes) -> int:
    return 1 + text.count(b",") + text.count(b"[") + text.count(b"{")


@dataclass(eq=False, slots=True)
class _Fault:
    """Stands in the tree for what must not be there, so that its place can be named."""

    reason: str
    name: str = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Fault:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return _Fault("One object has the same field twice. Send it once.", name)
        seen.add(name)
    raise AssertionError("no name is there twice")


def _int(digits: str) -> int | _Fault:
    if len(digits) <= _INT_CHARS:
        number = int(digits)
        if _INT_MIN <= number <= _INT_MAX:
            return number
    return _Fault("The integer does not fit in 64 bits. Send a smaller one.")


def _float(digits: str) -> float | _Fault:
    number = float(digits)
    return number if number - number == 0 else _Fault("The number does not fit in a double. Send a smaller one.")


class _Floats:
    """Reads the numbers with a point or an exponent of one body, and counts the extreme ones.

    A reader that has to be exact takes ten or twenty microseconds for one of them: msgspec, and the engine too.
    """

    def __init__(self, most: int) -> None:
        self._most = self._left = most

    def read(self, digits: str) -> float | _Fault:
        number = _float(digits)
        if isinstance(number, _Fault):
            return number
        if len(digits) > _PLAIN_CHARS or not (_SMALLEST_PLAIN < abs(number) < _LARGEST_PLAIN or number == 0):
            self._left -= 1
            if self._left < 0:
                raise OverBound(
                    f"The body has more than {self._most} numbers of over {_PLAIN_CHARS} characters or beyond "
                    f"{_SMALLEST_PLAIN:g} to {_LARGEST_PLAIN:g}. Round them."
                )
        return number


def _constant(name: str) -> _Fault:
    return _Fault(f"{name} is not JSON. Send a number or null.")


def _decoder(read_float: Callable[[str], float | _Fault]) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=_object, parse_int=_int, parse_float=read_float, parse_constant=_constant, strict=True
    )


_DECODER = _decoder(_float)


def _check_tree(tree: dict[str, Any], depth: int, *, may_be_halved: bool) -> None:
    level: list[Any] = [tree]
    reached = 0
    while level:
        reached += 1
        if reached > depth:
            raise _too_deep(depth)
        below: list[Any] = []
        for node in level:
            values: Any = node
            if isinstance(node, dict):
                values = node.values()
                if may_be_halved and any(map(_halved, node)):
                    raise _half(path(find(tree, node)))
            for value in values:
                if isinstance(value, str):
                    if may_be_halved and _halved(value):
                        raise _half(path(find(tree, value)))
                elif isinstance(value, dict | list):
                    below.append(value)
                elif isinstance(value, _Fault):
                    place = find(tree, value)
                    raise BadSyntax(value.reason, param=path((*place, value.name) if value.name else place))
        level = below


def _halved(text: str) -> bool:
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def _half(param: str | None = None) -> BadSyntax:
    return BadSyntax("A string has half of a surrogate pair (\\ud800 to \\udfff). Send whole characters.", param=param)


def _too_deep(depth: int) -> OverBound:
    return OverBound(f"The body nests deeper than {depth} levels. Send it flatter.")
