"""Turns a failed typed parse into a refusal that names the exact field and what to do; it never lets a body pass."""

import re
from typing import Any

import msgspec

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
    reason = _NOT_ONE_OF.sub("This value is not one of those accepted", reason)
    return BadValue(f"`{param or 'body'}`: {reason}. docs/api.md says what passes.", param=param or None)


def _split(text: str) -> tuple[str, Place]:
    """msgspec's reason, and its place; "somewhere in this mapping" (`$.metadata[...]`) becomes the mapping's place."""
    reason, mark, rest = text.rpartition(" - at ")
    where = rest[:-1].rpartition("`")[2]
    if not mark or not rest.endswith("`") or not where.startswith("$"):
        return text, ()
    return reason, tuple(name or int(index) for name, index in _STEP.findall(where[1:]))
