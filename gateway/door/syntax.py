"""Strict JSON: refuses what parsers disagree on before anything reads a value; it never interprets a field.

Parsers differ on duplicate keys (first, last, error), on NaN and Infinity, on integers past 64 bits, on lone
surrogates and on depth: what one checks, the next reads otherwise. Here they are all errors.

The check costs nothing for images: base64 is cut out of a copy of the body first. A data URL's payload has neither
quotes nor backslashes, so the structure of what remains is the structure of the whole.
"""

import json
from typing import Any, NoReturn

from gateway.door.errors import BadSyntax, OverLimit, TooLarge, quoted

_MARK = b";base64,"
_WORTH_CUTTING_BYTES = 1024
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_INT_CHARS = 20


def check_syntax(body: bytes, *, depth: int, text_bytes: int) -> dict[str, Any]:
    """The body as plain objects, long base64 payloads left out: for finding a fault's place, never for the engine.

    Raises BadSyntax (400) for all that is not one strict JSON object in UTF-8, OverLimit for depth, TooLarge (413) for
    more than `text_bytes` bytes besides base64.
    """
    skeleton = without_base64(body)
    if len(skeleton) > text_bytes:
        raise TooLarge(
            f"The body has {len(skeleton)} bytes besides its images; the limit is {text_bytes}. Send less text."
        )
    try:
        text = skeleton.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadSyntax(f"The body is not UTF-8 (near byte {error.start}). Encode it as UTF-8.") from None
    try:
        tree = _DECODER.decode(text)
    except RecursionError:
        raise _too_deep(depth) from None
    except json.JSONDecodeError as error:
        raise BadSyntax(f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from None
    if not isinstance(tree, dict):
        raise BadSyntax("The body is JSON, but not an object. Send an object with `model` and `messages`.")
    _check_tree(tree, depth)
    return tree


def without_base64(body: bytes) -> bytes:
    """The body with every long base64 payload that follows `;base64,` cut out, up to its closing quote."""
    kept: list[bytes] = []
    start = 0
    at = body.find(_MARK)
    while at >= 0:
        payload = at + len(_MARK)
        end = body.find(b'"', payload)
        if end < 0:
            break
        # A backslash may escape that quote: then leave the string as it is.
        if end - payload >= _WORTH_CUTTING_BYTES and body.find(b"\\", payload, end) < 0:
            kept.append(body[start:payload])
            start = end
        at = body.find(_MARK, end)
    if not kept:
        return body
    kept.append(body[start:])
    return b"".join(kept)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise BadSyntax(f"The field {quoted(name)} appears twice in one object. Send it once.", param=name[:80])
            seen.add(name)
    return made


def _int(digits: str) -> int:
    if len(digits) <= _INT_CHARS:
        number = int(digits)
        if _INT_MIN <= number <= _INT_MAX:
            return number
    raise BadSyntax("The body has an integer that does not fit in 64 bits.")


def _float(digits: str) -> float:
    number = float(digits)
    if number - number != 0:
        raise BadSyntax("The body has a number too large for a double.")
    return number


def _constant(name: str) -> NoReturn:
    raise BadSyntax(f"The body has {name}, which is not JSON. Send a number or null.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant, strict=True
)


def _check_tree(tree: dict[str, Any], depth: int) -> None:
    level: list[Any] = [tree]
    reached = 0
    while level:
        reached += 1
        if reached > depth:
            raise _too_deep(depth)
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                for name in node:
                    check_text(name)
                values: Any = node.values()
            else:
                values = node
            for value in values:
                if isinstance(value, str):
                    check_text(value)
                elif isinstance(value, dict | list):
                    below.append(value)
        level = below


def check_text(text: str) -> None:
    """Raises BadSyntax (400) if `text` has half of a surrogate pair: no UTF-8 can carry it."""
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise BadSyntax("The body has half of a surrogate pair (\\ud800 to \\udfff) in a string.") from None


def _too_deep(depth: int) -> OverLimit:
    return OverLimit(f"The body nests deeper than {depth} levels. Send it flatter.")
