"""Two JSON Schemas that must both hold, written as one; pure. What can't be written as one is told, never guessed."""

from typing import Any

ANNOTATIONS = frozenset(
    {
        "title",
        "description",
        "default",
        "examples",
        "example",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$comment",
        "$schema",
        "$id",
        "id",
        "discriminator",
        "xml",
        "externalDocs",
        "$anchor",
        "$dynamicAnchor",
        "$defs",
        "definitions",
    }
)
_LARGEST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_SMALLEST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_BELOW = ("items", "contains", "propertyNames", "additionalItems")


def asserts(schema: dict[str, Any], *but: str) -> set[str]:
    """The keywords of `schema` that may rule a value out, without those named."""
    found = {key for key in schema if key not in ANNOTATIONS and not key.startswith("x-") and key not in but}
    return found - {"nullable"} if schema.get("nullable") in (False, None) else found


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any] | None:
    """A schema for what both allow; None where the two can't be written as one, or exclude each other.

    Neither has `$ref`, `allOf` or, both at once, `anyOf` or `oneOf`.
    """
    if not _properties_agree(one, other) or not _properties_agree(other, one):
        return None
    made = dict(one)
    for key, value in other.items():
        if key not in made:
            made[key] = value
        elif not _equal(made[key], value) and key not in ANNOTATIONS:
            found = _both(key, made[key], value)
            if found is None:
                return None
            made[key] = found
    return made


def _both(key: str, one: Any, other: Any) -> Any:
    """The value of the keyword `key` for both; None where there is none."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    if key in _LARGEST and numbers:
        return max(one, other)
    if key in _SMALLEST and numbers:
        return min(one, other)
    if key == "type":
        return _both_types(one, other)
    if key in ("properties", "patternProperties") and isinstance(one, dict) and isinstance(other, dict):
        return {
            name: _both_schemas(one[name], other[name])
            if name in one and name in other
            else one.get(name, other.get(name))
            for name in (*one, *(name for name in other if name not in one))
        }
    if key == "required" and isinstance(one, list) and isinstance(other, list):
        return [*one, *(name for name in other if name not in one)]
    if key == "enum" and isinstance(one, list) and isinstance(other, list):
        return [value for value in one if any(_equal(value, each) for each in other)] or None
    if key == "nullable":
        return False
    if key in _BELOW or (key == "additionalProperties" and isinstance(one, dict) and isinstance(other, dict)):
        return _both_schemas(one, other)
    return None


def _both_types(one: Any, other: Any) -> Any:
    ours = one if isinstance(one, list) else [one]
    theirs = other if isinstance(other, list) else [other]
    found = [kind for kind in ours if kind in theirs or (kind == "integer" and "number" in theirs)]
    found += [kind for kind in theirs if kind == "integer" and "number" in ours and kind not in found]
    return found[0] if len(found) == 1 else found or None


def _both_schemas(one: Any, other: Any) -> Any:
    if one is True or _equal(one, other):
        return other
    return one if other is True else {"allOf": [one, other]}


def _properties_agree(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether what `one` says of properties that it does not name is right for those that only `other` names."""
    rule = one.get("additionalProperties", True)
    if rule is True or _equal(rule, other.get("additionalProperties", True)):
        mine, theirs = one.get("properties", {}), other.get("properties", {})
        return rule is True or not isinstance(mine, dict) or not isinstance(theirs, dict) or set(theirs) <= set(mine)
    theirs, mine = other.get("properties", {}), one.get("properties", {})
    return isinstance(theirs, dict) and isinstance(mine, dict) and set(theirs) <= set(mine)


def _equal(one: Any, other: Any) -> bool:
    """As JSON: 1 is 1.0, but true is not 1."""
    if one is other:
        return True
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)
