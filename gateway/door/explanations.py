"""Turns a failed typed parse into a refusal that names the exact field and what to do; it never lets a body pass."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import inspect

from gateway.door.chat_body import ChatBody
from gateway.door.errors import BadValue, DoorError, Unsupported
from gateway.door.field_paths import Place, look_up, path
from gateway.door.hints import hint_for_field, hint_for_value

_MISSING = re.compile(r"Object missing required field `(.*)`", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_NOT_ONE_OF = re.compile(r"Invalid (enum )?value .*", re.DOTALL)


def explain(error: msgspec.ValidationError, tree: dict[str, Any]) -> DoorError:
    """The refusal for `error`, raised for the body whose plain objects are `tree`."""
    reason, place = _split(str(error))
    param = path(place)
    if found := _MISSING.fullmatch(reason):
        at = path((*place, found[1]))
        return BadValue(f"`{at}` is missing. Send it.", code="missing_parameter", param=at)
    hint = hint_for_value(place, look_up(tree, place)) or hint_for_field(place)
    if hint:
        return Unsupported(f"`{param}` is not supported as sent. {hint}", param=param)
    accepted = ", ".join(_accepted(place))
    reason = _NOT_ONE_OF.sub(f"This value is not one of those accepted{': ' if accepted else ''}{accepted}", reason)
    return BadValue(f"`{param or 'body'}`: {reason}. /docs says what passes.", param=param or None)


def _accepted(place: Place) -> tuple[str, ...]:
    """The words that may stand at `place`; empty where there is no list of them."""
    kinds: list[inspect.Type] = [inspect.type_info(ChatBody)]
    words: dict[str, None] = {}
    for step in place:
        words = {}
        below: list[inspect.Type] = []
        for kind in _plain(kinds):
            if isinstance(kind, inspect.ListType):
                below.append(kind.item_type)
            elif isinstance(kind, inspect.DictType):
                below.append(kind.value_type)
            elif isinstance(kind, inspect.StructType):
                below += [field.type for field in kind.fields if field.encode_name == step]
                if kind.tag_field == step and kind.tag is not None:
                    words[str(kind.tag)] = None
        kinds = below
    for kind in _plain(kinds):
        if isinstance(kind, inspect.LiteralType):
            words |= dict.fromkeys("false" if word is False else str(word) for word in kind.values)
    return tuple(words)


def _plain(kinds: list[inspect.Type]) -> Iterator[inspect.Type]:
    """The alternatives of unions, and what annotations are about."""
    stack = kinds[::-1]
    while stack:
        kind = stack.pop()
        if isinstance(kind, inspect.UnionType):
            stack += reversed(kind.types)
        elif isinstance(kind, inspect.Metadata):
            stack.append(kind.type)
        else:
            yield kind


def _split(text: str) -> tuple[str, Place]:
    """msgspec's reason, and its place; "somewhere in this mapping" (`$.metadata[...]`) becomes the mapping's place."""
    reason, mark, rest = text.rpartition(" - at ")
    where = rest[:-1].rpartition("`")[2]
    if not mark or not rest.endswith("`") or not where.startswith("$"):
        return text, ()
    return reason, tuple(name or int(index) for name, index in _STEP.findall(where[1:]))
