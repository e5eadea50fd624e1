"""Sorts the fields that no type knows: null is absent, some are refused by name, the others are left out and named.

It never lets one of them pass: what it returns holds only names that the types know. The strict types read it next.
"""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from msgspec import inspect

from gateway.door.body_limits import DoorLimits
from gateway.door.chat_body import ChatBody
from gateway.door.errors import OverBound, UnknownField, quoted
from gateway.door.field_paths import Place, path
from gateway.door.hints import HARMLESS, SDK_FIELDS, way_out

_MOST_SHOWN, _SHOWN_CHARS = 16, 40
_NOT_SHOWN = re.compile(r"[^A-Za-z0-9_.\-]")
_SHORT_NAME_CHARS = 6  # a shorter name is a slip of the other only one letter away


@dataclass(eq=False)
class Shape:
    """One type of the body: its fields, and the types that may stand in each; none where a value is not looked into."""

    name: str
    tag_field: str | None
    tag: str | int | None
    fields: dict[str, "tuple[Shape, ...]"] = field(default_factory=dict)
    mappings: set[str] = field(default_factory=set)  # fields with names of the client's own and values of one type
    unserved: set[str] = field(default_factory=set)  # fields that only null may stand in


@cache
def body_shapes() -> tuple[Shape, ...]:
    """The shape of the whole body, from the types that parse it."""
    return _shapes(inspect.type_info(ChatBody), {})


@cache
def known_names() -> frozenset[str]:
    """Every name that a type knows at some place."""
    found: dict[str, Shape] = {}
    left = list(body_shapes())
    while left:
        shape = left.pop()
        if shape.name not in found:
            found[shape.name] = shape
            left += (below for shapes in shape.fields.values() for below in shapes)
    return frozenset(name for shape in found.values() for name in (*shape.fields, shape.tag_field) if name)


class UnknownFields:
    """Those of one body. `names`: what was left out so far, in the order of the body, each once."""

    __slots__ = ("_judged", "_limits", "_names")

    def __init__(self, limits: DoorLimits) -> None:
        self._limits = limits
        self._names: dict[str, None] = {}
        self._judged: set[tuple[str, str]] = set()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._names)

    def without(self, body: Any) -> Any:
        """The body as plain objects without nulls and unknown fields. Raises UnknownField or OverBound (400)."""
        return self._cleaned(body, body_shapes(), ())

    def _cleaned(self, node: Any, shapes: tuple[Shape, ...], place: Place) -> Any:
        if isinstance(node, list):
            return [self._cleaned(below, shapes, (*place, index)) for index, below in enumerate(node)]
        if not isinstance(node, dict) or not shapes:
            return node
        shape = _shape_of(node, shapes)
        if shape is None:  # an object of no type, which the types refuse by this field
            return {name: value for name, value in node.items() if name == shapes[0].tag_field}
        kept: dict[str, Any] = {}
        for name, value in node.items():
            if value is None:
                continue
            below = shape.fields.get(name)
            if below:
                kept[name] = self._cleaned(value, below, (*place, name))
            elif name in shape.mappings and isinstance(value, dict):
                kept[name] = {key: one for key, one in value.items() if one is not None}
            elif below is not None or name == shape.tag_field:
                kept[name] = value
            else:
                self._leave_out(name, value, shape, place)
        return kept

    def _leave_out(self, name: str, value: Any, shape: Shape, place: Place) -> None:
        refusal = way_out(name, shape.name)
        if self._limits.unknown_fields == "refuse":
            raise _refused(name, place, refusal or "Leave it out; /docs lists the fields that pass.")
        # Before anything is remembered: ignored at one place, a name may still be refused at another.
        if refusal is not None and not _harmless(name, value):
            raise _refused(name, place, refusal)
        if (shape.name, name) in self._judged:
            return
        if name not in known_names() and name not in SDK_FIELDS and (meant := _meant(name, shape)):
            raise _refused(name, place, f"Did you mean {quoted(meant)}? Write it so, or leave it out.")
        self._judged.add((shape.name, name))
        self._names[name] = None
        if len(self._names) > self._limits.ignored_fields:
            raise OverBound(
                f"The body has more than {self._limits.ignored_fields} different fields that are not known here. "
                "Leave them out; /docs lists the fields that pass."
            )


def named(names: tuple[str, ...]) -> str:
    """The names for a header or a record: ASCII letters, digits, `_`, `.` and `-`, with commas between; at most 16 of 40
    characters, and how many more there are."""
    shown = [_NOT_SHOWN.sub("?", name[:_SHOWN_CHARS]) for name in names[:_MOST_SHOWN]]
    if len(names) > _MOST_SHOWN:
        shown.append(f"+{len(names) - _MOST_SHOWN}")
    return ", ".join(shown)


def _refused(name: str, place: Place, say: str) -> UnknownField:
    param = path(place)
    where = f" in {param}" if param else ""
    return UnknownField(f"The field {quoted(name)}{where} is not accepted. {say}", param=path((*place, name)))


def _harmless(name: str, value: Any) -> bool:
    """Whether the value only says what happens anyway."""
    return any(type(value) is type(one) and value == one for one in HARMLESS.get(name, ()))


def _shape_of(node: dict[str, Any], shapes: tuple[Shape, ...]) -> Shape | None:
    for shape in shapes:
        if shape.tag_field is None or node.get(shape.tag_field) == shape.tag:
            return shape
    return None


def _meant(name: str, shape: Shape) -> str | None:
    """The known field that `name` is a slip of."""
    plain = _plain(name)
    for known in shape.fields:
        if known not in shape.unserved and (plain == _plain(known) or _near(name, known)):
            return known
    return None


def _plain(name: str) -> str:
    return name[:64].casefold().replace("_", "").replace("-", "")


def _near(name: str, known: str) -> bool:
    """Whether one or, in a long name, two letters were added, left out, changed or swapped."""
    most = 0 if len(known) < 2 else 1 if len(known) < _SHORT_NAME_CHARS else 2
    if abs(len(name) - len(known)) > most or len(set(name).symmetric_difference(known)) > 2 * most:
        return False
    return _within(name, known, most)


def _within(name: str, known: str, most: int) -> bool:
    if most <= 0 or name == known:
        return name == known
    at = next((at for at, (one, other) in enumerate(zip(name, known, strict=False)) if one != other), None)
    if at is None:
        at = min(len(name), len(known))
    left, right, fewer = name[at:], known[at:], most - 1
    return (
        _within(left[1:], right[1:], fewer)
        or _within(left[1:], right, fewer)
        or _within(left, right[1:], fewer)
        or (left[:2] == right[1::-1] and _within(left[2:], right[2:], fewer))
    )


def _shapes(kind: inspect.Type, made: dict[type, Shape]) -> tuple[Shape, ...]:
    if isinstance(kind, inspect.Metadata):
        return _shapes(kind.type, made)
    if isinstance(kind, inspect.UnionType):
        return tuple(shape for one in kind.types for shape in _shapes(one, made))
    if isinstance(kind, inspect.ListType):
        return _shapes(kind.item_type, made)
    if not isinstance(kind, inspect.StructType):
        return ()
    if kind.cls not in made:
        shape = made[kind.cls] = Shape(kind.cls.__name__, kind.tag_field, kind.tag)
        for one in kind.fields:
            shape.fields[one.encode_name] = _shapes(one.type, made)
            kinds = one.type.types if isinstance(one.type, inspect.UnionType) else (one.type,)
            if any(isinstance(k, inspect.DictType) and not isinstance(k.value_type, inspect.AnyType) for k in kinds):
                shape.mappings.add(one.encode_name)
            if all(isinstance(k, inspect.NoneType) for k in kinds):
                shape.unserved.add(one.encode_name)
    return (made[kind.cls],)
