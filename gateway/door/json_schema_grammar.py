"""Writes a JSON Schema as the engine's grammar compiler can hold it, or refuses it by the name of a keyword; pure.

The compiler is xgrammar 0.2.8, behind vLLM 0.32's own check; tests/gateway/door/test_grammars.py compares with both. What it
can't hold is refused with `strict: true`, since a client relies on it then; else it is left out and its name is told.
"""

from typing import Any

import msgspec

from gateway.door.body_limits import DoorLimits
from gateway.door.errors import OverBound
from gateway.door.field_paths import Place, path
from gateway.door.json_schema_keywords import KeywordRules, bad
from gateway.door.json_schema_merge import ANNOTATIONS, asserts, merged
from gateway.door.json_schema_references import DEFINITIONS, References, circular
from gateway.door.json_schema_types import (
    TYPES,
    Unfit,
    settle_exclusive,
    settle_null,
    settle_numbers,
    settle_types,
)

# Schemas that are written and entries that are put together, each some 30 microseconds: a small schema must not grow much.
_MOST_STEPS, _FEW_STEPS, _BYTES_PER_STEP = 5_000, 300, 8
_SIMPLE = frozenset({"type", "description", "title", "default"})
_DEEPEST = 64
_CHOICES = ("anyOf", "oneOf")
_SHAPES: dict[str, type] = {
    "properties": dict,
    "patternProperties": dict,
    "required": list,
    "enum": list,
    "anyOf": list,
    "oneOf": list,
    "allOf": list,
    "prefixItems": list,
    "pattern": str,
    "format": str,
    "$ref": str,
    "$dynamicRef": str,
}
# Generators write null for a keyword that they do not use.
_KEYWORDS = frozenset(_SHAPES) | {
    "type",
    "items",
    "additionalItems",
    "additionalProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "propertyNames",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "nullable",
    "uniqueItems",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "$defs",
    "definitions",
}
_SHAPE_NAMES: dict[type, str] = {dict: "an object", list: "a list", str: "a text"}


class GrammarSchema:
    """One schema. `schema` is what the engine gets; `left_out` the keywords that the answer need not keep to."""

    def __init__(self, schema: dict[str, Any], place: Place, limits: DoorLimits, *, strict: bool) -> None:
        """Raises DoorError (400) with the place of a keyword as its `param`."""
        self._place, self._limits = place, limits
        self._rules = KeywordRules(strict=strict)
        self._references = References(schema)
        self._left = min(_MOST_STEPS, _FEW_STEPS + len(msgspec.json.encode(schema)) // _BYTES_PER_STEP)
        self._open: list[tuple[str, str]] = []  # definitions that are referred to and not yet written: reference, name
        self._written: dict[str, Any] = {}
        self.schema: dict[str, Any] = self._root(schema)
        self.left_out = self._rules.left_out

    def _root(self, schema: dict[str, Any]) -> dict[str, Any]:
        made = self._object(schema, self._place, 1)
        while self._open:
            reference, name = self._open.pop()
            if name not in self._written:
                self._written[name] = {}
                target = self._references.target(reference)
                below = (*self._place, *(step for step in reference.removeprefix("#/").split("/") if step))
                self._written[name] = self._schema(target, below, 1)
        if self._written:
            made["$defs"] = self._written
        if circular(made):
            raise bad((*self._place, "$ref"), "A schema refers to itself without a property or an item between.")
        if made != schema and len(msgspec.json.encode(made)) > self._limits.schema_bytes:
            raise self._too_large()
        return made

    def _schema(self, node: Any, place: Place, depth: int) -> Any:
        if isinstance(node, bool):
            return node
        if not isinstance(node, dict):
            raise bad(place, "A schema is an object, as in {type: string}.")
        if node.keys() <= _SIMPLE and isinstance(kind := node.get("type", TYPES[0]), str) and kind in TYPES:
            return node  # most are: nothing to be done, and nothing below
        return self._object(node, place, depth)

    def _object(self, node: dict[str, Any], place: Place, depth: int) -> dict[str, Any]:
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise self._too_large()
        node = self._flat(_own(node, place), place, depth)
        settle_exclusive(node)
        try:
            settle_types(node)
            self._rules.leave_out(node, place)
            settle_types(node)  # once more: what was left out may have spoken of another type
            settle_numbers(node)
        except Unfit as unfit:
            raise bad((*place, unfit.keyword), unfit.say) from None
        node = settle_null(node)
        if node.get("enum") == []:
            raise bad((*place, "enum"), "It is empty. List at least one value.")
        self._rules.settle_strings(node, place)
        self._rules.settle_arrays(node, place)
        self._rules.settle_objects(node, place)
        return self._below(node, place, depth)

    # References and combinations

    def _flat(self, node: dict[str, Any], place: Place, depth: int) -> dict[str, Any]:
        """Without `allOf`, and without keywords beside `$ref`, `anyOf` and `oneOf`, which the compiler does not read."""
        if node.get("$recursiveRef") == "#" or "$dynamicRef" in node:
            node.setdefault("$ref", node.pop("$dynamicRef", node.pop("$recursiveRef", "#")))
        if "$ref" in node:
            self._check_target(node["$ref"], place)
            if not asserts(node, "$ref", "nullable"):
                return node
        parts = [part for part in node.pop("allOf", ()) if part is not True]
        if parts or ("$ref" in node):
            node = self._together(node, parts, place, depth)
        choices = [key for key in _CHOICES if key in node]
        for key in choices:
            node[key] = [{} if choice is True else choice for choice in node[key] if choice is not False]
            if not node[key]:
                raise bad((*place, key), "No schema in it can be fulfilled. Send at least one that can.")
        if choices and (len(choices) > 1 or asserts(node, choices[0], "nullable")):
            node = self._spread(node, choices, place, depth)
        return node

    def _together(self, node: dict[str, Any], parts: list[Any], place: Place, depth: int) -> dict[str, Any]:
        reference = node.pop("$ref", None)
        if reference is not None:
            parts = [{"$ref": reference}, *parts]
        if len(parts) == 1 and not asserts(node, "nullable"):
            only = parts[0]
            if isinstance(only, dict) and "$ref" in only and not asserts(only, "$ref"):
                return {**node, **only}
        made = node
        for part in parts:
            plain = self._resolved(part, place, depth)
            both = None if plain is None else self._merged(made, plain)
            if both is None:
                if reference is None or len(parts) > 1:
                    raise self._rules.refused("allOf", place, "Write one schema instead.", way_out="")
                # Beside a reference: drafts before 2019 pass over it.
                self._rules.unheld(min(asserts(node)), place)
                return {**{key: value for key, value in node.items() if key in ANNOTATIONS}, "$ref": reference}
            made = both
        return made

    def _resolved(self, part: Any, place: Place, depth: int) -> dict[str, Any] | None:
        """`part` without `$ref` and `allOf` of its own; None where that can't be."""
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            raise self._too_large()
        if not isinstance(part, dict):
            return None
        part = _own(part, place)
        settle_exclusive(part)
        try:
            settle_types(part)  # before `nullable` of one and the types of another meet
        except Unfit as unfit:
            raise bad((*place, unfit.keyword), unfit.say) from None
        inner = [*part.pop("allOf", ())]
        if "$ref" in part:
            self._check_target(part["$ref"], place)
            inner.insert(0, self._references.target(part.pop("$ref")))
        for below in inner:
            plain = {} if below is True else self._resolved(below, place, depth + 1)
            both = None if plain is None else self._merged(part, plain)
            if both is None:
                return None
            part = both
        return {key: value for key, value in part.items() if key not in DEFINITIONS}

    def _spread(self, node: dict[str, Any], choices: list[str], place: Place, depth: int) -> dict[str, Any]:
        """What stands beside the alternatives is written into each of them."""
        key = choices[0]
        beside = {name: value for name, value in node.items() if name != key and name not in ANNOTATIONS}
        around = {name: value for name, value in node.items() if name in ANNOTATIONS or name == "nullable"}
        beside.pop("nullable", None)
        if set(beside) == {"type"}:
            kinds = beside["type"] if isinstance(beside["type"], list) else [beside["type"]]
            return {**around, key: [_with_type(choice, kinds) for choice in node[key]]}
        found = []
        for choice in node[key]:
            plain = self._resolved(choice, place, depth + 1)
            both = None if plain is None else self._merged(beside, plain)
            if both is not None:
                found.append(both)
        if len(found) == len(node[key]):
            return {**around, key: found}
        self._rules.unheld(key, place)
        for name in choices:
            node.pop(name)
        return node

    def _merged(self, one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any] | None:
        self._left -= sum(
            len(value) for both in (one, other) for value in both.values() if isinstance(value, dict | list)
        )
        if self._left < 0:
            raise self._too_large()
        return merged(one, other)

    def _check_target(self, reference: str, place: Place) -> None:
        if self._references.target(reference) is None:
            raise bad((*place, "$ref"), "It refers to nothing in this schema. Put the schema under `$defs`.")

    # What stands below

    def _below(self, node: dict[str, Any], place: Place, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in node.items():
            here = (*place, key)
            if key == "$ref":
                made[key] = self._rewritten(value)
            elif key in ("properties", "patternProperties"):
                made[key] = {name: self._schema(below, (*here, name), depth + 1) for name, below in value.items()}
            elif key in ("anyOf", "oneOf", "prefixItems"):
                made[key] = [self._schema(below, (*here, n), depth + 1) for n, below in enumerate(value)]
            elif key in ("items", "additionalProperties", "unevaluatedItems", "unevaluatedProperties", "propertyNames"):
                made[key] = self._schema(value, here, depth + 1)
            elif key not in DEFINITIONS:
                made[key] = value
        return made

    def _rewritten(self, reference: str) -> str:
        if reference in ("#", "#/"):
            return "#"
        name = self._references.name(reference)
        self._open.append((reference, name))
        return f"#/$defs/{name}"

    def _too_large(self) -> OverBound:
        at = path(self._place)
        return OverBound(
            "The schema grows too large when its references are put together. Send a smaller one.", param=at
        )


def _with_type(choice: Any, kinds: list[Any]) -> Any:
    """An alternative that says nothing of its type, with the type that stands beside all of them."""
    if not isinstance(choice, dict) or any(
        key in choice for key in ("type", "$ref", "enum", "const", *_CHOICES, "allOf")
    ):
        return choice
    return {"type": kinds[0] if len(kinds) == 1 else kinds, **choice}


def _own(node: dict[str, Any], place: Place) -> dict[str, Any]:
    """A copy, without nulls where a keyword has its value, and without `required: true`, which its parent has read."""
    made = {name: value for name, value in node.items() if value is not None or name not in _KEYWORDS}
    if isinstance(made.get("required"), bool):
        del made["required"]
    for name, kind in _SHAPES.items():
        if name in made and not isinstance(made[name], kind):
            raise bad((*place, name), f"It is {_SHAPE_NAMES[kind]}.")
    return made
