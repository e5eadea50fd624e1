"""The keywords of one schema object, brought into the form that the engine's grammar compiler reads; pure, and never looks below.

What older drafts and OpenAPI 3.0 write otherwise means the same here: `nullable`, a boolean `exclusiveMinimum`, types in capitals.
"""

import math
import re
import warnings
from typing import Any

from gateway.door.errors import quoted

TYPES = ("string", "integer", "number", "boolean", "object", "array", "null")
# What people write who think of a programming language; the last are no JSON at all.
_MEANT = {
    "str": "string",
    "text": "string",
    "char": "string",
    "varchar": "string",
    "date": "string",
    "datetime": "string",
    "uuid": "string",
    "int": "integer",
    "int32": "integer",
    "int64": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "decimal": "number",
    "numeric": "number",
    "bool": "boolean",
    "dict": "object",
    "map": "object",
    "struct": "object",
    "list": "array",
    "tuple": "array",
    "set": "array",
    "none": "null",
    "nil": "null",
    "undefined": "null",
}
# The formats that the compiler turns into a pattern (vLLM 0.32, xgrammar 0.2.8).
FORMATS = frozenset(
    {"email", "date", "time", "date-time", "duration", "ipv4", "ipv6", "hostname", "uuid", "uri", "uri-reference"}
) | {"uri-template", "json-pointer", "relative-json-pointer"}
# Each keyword with the type it speaks of. The first row has no keyword that only one type knows.
_OF_TYPE = {
    "string": ("minLength", "maxLength", "pattern"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": (
        "items",
        "prefixItems",
        "additionalItems",
        "unevaluatedItems",
        "minItems",
        "maxItems",
        "uniqueItems",
        "contains",
    ),
    "object": (
        "properties",
        "required",
        "additionalProperties",
        "unevaluatedProperties",
        "patternProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
    ),
}
_SIZES = (("minLength", "maxLength"), ("minItems", "maxItems"), ("minProperties", "maxProperties"))
_INT64 = 2**63 - 1
# Seen with the compiler: it refuses these, or takes them for something else (a look ahead is left out, \\A is the letter A).
_UNHELD_PATTERN = re.compile(r"\(\?(?:[=!>(]|<[=!]|[aiLmsux-]+[:)])|\\[bBpPkAZzG1-9]|[*+?}]\+|\{(?!\d+(?:,\d*)?\})")
_ESCAPED = re.compile(r"\\.", re.DOTALL)


class Unfit(Exception):
    """A keyword has a value that no schema can have: its name, and what to do."""

    def __init__(self, keyword: str, say: str) -> None:
        super().__init__(say)
        self.keyword, self.say = keyword, say


def known_type(word: Any) -> str | None:
    """The JSON type that `word` names beyond doubt, in any case; None for every other word."""
    return word.casefold() if isinstance(word, str) and word.casefold() in TYPES else None


def meant_type(word: Any) -> str | None:
    """The JSON type that somebody meant who wrote `word`; None where that is not known."""
    return known_type(word) or (_MEANT.get(word.casefold()) if isinstance(word, str) else None)


def types_of(schema: dict[str, Any]) -> tuple[str, ...]:
    """The types that `schema` names itself, after `settle_types`; empty for none."""
    given = schema.get("type")
    return (given,) if isinstance(given, str) else tuple(given or ())


def settle_exclusive(schema: dict[str, Any]) -> None:
    """Draft-04's `exclusiveMinimum: true`, which says of `minimum` that it is one, as the number itself."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(exclusive), bool) and schema.pop(exclusive) and bound in schema:
            schema[exclusive] = schema.pop(bound)


def settle_types(schema: dict[str, Any]) -> None:
    """Write `type` as the compiler reads it, and write it where only one type can be meant. Raises Unfit."""
    if "type" in schema:
        given = schema["type"]
        words = given if isinstance(given, list) else [given]
        if not words or "any" in words:
            del schema["type"]  # draft-03 called this any
        else:
            found = list(dict.fromkeys(_type(word) for word in words))
            if "number" in found and "integer" in found:
                found.remove("integer")  # every integer is a number
            schema["type"] = found if isinstance(given, list) and len(found) > 1 else found[0]
    if "type" not in schema and not any(key in schema for key in ("$ref", "const", "enum", "anyOf", "oneOf", "allOf")):
        implied = [kind for kind, keywords in _OF_TYPE.items() if any(key in schema for key in keywords)]
        if len(implied) == 1:
            schema["type"] = implied[0]


def _type(word: Any) -> str:
    if found := known_type(word):
        return found
    if isinstance(word, str):
        meant = meant_type(word)
        hint = f'Did you mean "{meant}"? Write it so.' if meant else f"Use one of {', '.join(TYPES)}."
        raise Unfit("type", f"{quoted(word)} is no type of JSON Schema. {hint}")
    raise Unfit("type", f"It is a text, or a list of texts: {', '.join(TYPES)}.")


def settle_null(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI's `nullable` written as a type, a value or an alternative."""
    nullable = schema.get("nullable")
    if not isinstance(nullable, bool):
        return schema
    del schema["nullable"]
    if not nullable:
        return schema
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if any(key in schema for key in ("$ref", "anyOf", "oneOf", "allOf")):
        return {"anyOf": [schema, {"type": "null"}]}
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
    found = types_of(schema)
    if found and "null" not in found:
        schema["type"] = [*found, "null"]
    return schema


def settle_numbers(schema: dict[str, Any]) -> None:
    """Bounds of numbers and sizes in the compiler's form. Raises Unfit, also where no value can be within them."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        for name in (bound, exclusive):
            if name in schema and not _is_number(schema[name]):
                raise Unfit(name, "It is a number.")
    if "integer" in types_of(schema):
        _settle_integers(schema)
    lows = [(schema[name], name == "minimum") for name in ("minimum", "exclusiveMinimum") if name in schema]
    highs = [(schema[name], name == "maximum") for name in ("maximum", "exclusiveMaximum") if name in schema]
    for low, with_low in lows:
        for high, with_high in highs:
            if low > high or (low == high and not (with_low and with_high)):
                raise Unfit("minimum", "No number is within these bounds.")
    for least, most in _SIZES:
        for name in (least, most):
            if name in schema:
                schema[name] = _size(name, schema[name])
        if least in schema and most in schema and schema[least] > schema[most]:
            raise Unfit(least, f"It is more than {most}.")


def _settle_integers(schema: dict[str, Any]) -> None:
    for bound, exclusive, whole, tightest in (
        ("minimum", "exclusiveMinimum", math.ceil, max),
        ("maximum", "exclusiveMaximum", math.floor, min),
    ):
        found = [whole(schema[bound])] if bound in schema else []
        if exclusive in schema:
            given = schema[exclusive]
            step = 1 if bound == "minimum" else -1
            found.append(given + step if given == whole(given) else whole(given))
        if not found:
            continue
        edge = int(tightest(found))
        if isinstance(schema.get(bound), int) and edge == schema[bound] and abs(edge) < _INT64:
            schema.pop(exclusive, None)
        elif isinstance(schema.get(exclusive), int) and bound not in schema and abs(edge) < _INT64:
            pass  # as it came
        else:
            schema.pop(bound, None)
            schema.pop(exclusive, None)
            if abs(edge) < _INT64:
                schema[bound] = edge


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _size(name: str, value: Any) -> int:
    if not _is_number(value) or value != int(value):
        raise Unfit(name, "It is a whole number.")
    if value < 0:
        raise Unfit(name, "It is not below 0.")
    return int(value)


def pattern_fault(pattern: str) -> str | None:
    """What of a regular expression the compiler can't hold; None for one that it can. Raises Unfit for one that is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that later versions of Python will read otherwise
            re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", pattern))
    except (re.error, OverflowError, RecursionError):
        # ECMAScript knows a few escapes that Python does not.
        if not re.search(r"\\[pPcuxk]|\[\^?\]", pattern):
            raise Unfit("pattern", "It is no regular expression.") from None
    found = _UNHELD_PATTERN.search(_ESCAPED.sub(lambda match: match[0] if match[0][1].isalnum() else "x", pattern))
    return found[0] if found else None
