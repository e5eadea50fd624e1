"""JSON Schemas as programs send them, each with a value that it allows and, where the grammar holds that, one that it does not."""

import enum
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, HttpUrl

NOTHING: Any = object()


class Known(NamedTuple):
    schema: dict[str, Any]
    good: Any
    bad: Any = NOTHING
    left_out: tuple[str, ...] = ()  # without `strict`; with it the schema is refused, unless it is `format` alone


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    x: int
    y: float = 0.5


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Zoo(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    other: Cat | Dog | None = None


class Tree(BaseModel):
    name: str
    children: list["Tree"] = []


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    colour: Colour
    point: Point
    seen: Point | None


class Kinds(BaseModel):
    day: date
    at: datetime
    id: UUID
    price: Decimal
    link: HttpUrl
    pair: tuple[int, str]
    words: dict[str, int]
    by_colour: dict[Colour, int]
    code: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    share: Annotated[float, Field(ge=0, le=1)]
    few: Annotated[list[int], Field(min_length=1, max_length=3)]
    anything: Any
    several: set[str]


def zod(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An object as zod-to-json-schema writes it."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        **more,
    }


A = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
B = {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]}

PASSING: dict[str, Known] = {
    # Pydantic 2
    "pydantic: plain": Known(Point.model_json_schema(), {"x": 1, "y": 2.5}, {"x": "1"}),
    "pydantic: union with discriminator": Known(
        Zoo.model_json_schema(), {"pet": {"kind": "cat", "lives": 9}}, {"pet": {}}
    ),
    "pydantic: recursive": Known(
        Tree.model_json_schema(), {"name": "a", "children": [{"name": "b"}]}, {"children": []}
    ),
    "pydantic: enum, reference, optional": Known(
        Strict.model_json_schema(), {"colour": "red", "point": {"x": 1}, "seen": None}, {"colour": "green"}
    ),
    "pydantic: kinds of text and number": Known(
        Kinds.model_json_schema(),
        {
            "day": "2026-11-30",
            "at": "2026-11-30T10:00:00Z",
            "id": "123e4567-e89b-12d3-a456-426614174000",
            "price": "1.5",
            "link": "https://example.org",
            "pair": [1, "a"],
            "words": {"a": 1},
            "by_colour": {"red": 1},
            "code": "ABC",
            "share": 0.5,
            "few": [1],
            "anything": {"x": 1},
            "several": ["a"],
        },
        {"day": "tomorrow"},
        ("format", "uniqueItems"),
    ),
    "pydantic 1: single allOf": Known(
        {
            "type": "object",
            "properties": {"a": {"title": "A", "default": 1, "allOf": [{"$ref": "#/definitions/A"}]}},
            "definitions": {"A": A},
            "required": ["a"],
        },
        {"a": {"a": 1}},
        {"a": 1},
    ),
    # zod
    "zod: plain": Known(zod({"a": {"type": "string"}, "b": {"type": "number"}}), {"a": "x", "b": 1}, {"a": 1}),
    "zod: int": Known(
        zod({"a": {"type": "integer", "minimum": -9007199254740991, "maximum": 9007199254740991}}), {"a": 5}, {"a": 0.5}
    ),
    "zod: positive, draft-04": Known(
        zod({"a": {"type": "number", "exclusiveMinimum": True, "minimum": 0}}), {"a": 0.5}, {"a": -1}
    ),
    "zod: tuple": Known(
        zod({"a": {"type": "array", "minItems": 2, "maxItems": 2, "items": [{"type": "string"}, {"type": "number"}]}}),
        {"a": ["x", 1]},
        {"a": [1, "x"]},
    ),
    "zod: tuple with a rest": Known(
        {"type": "array", "items": [{"type": "string"}], "additionalItems": {"type": "integer"}, "minItems": 1},
        ["a", 1, 2],
        ["a", "b"],
    ),
    "zod: nullable as OpenAPI": Known(zod({"a": {"type": "string", "nullable": True}}), {"a": None}, {"a": 1}),
    "zod: nullable enum": Known(
        zod({"a": {"type": "string", "enum": ["x"], "nullable": True}}), {"a": None}, {"a": "y"}
    ),
    "zod: record": Known({"type": "object", "additionalProperties": {"type": "number"}}, {"k": 1}, {"k": "v"}),
    "zod: record with a key's enum": Known(
        {"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "number"}},
        {"a": 1},
        {"c": 1},
    ),
    "zod: email and url": Known(
        zod({"a": {"type": "string", "format": "email"}, "b": {"type": "string", "format": "uri"}}),
        {"a": "a@example.org", "b": "https://example.org/"},
        {"a": "no", "b": ""},
    ),
    "zod: unknown format": Known(zod({"a": {"type": "string", "format": "cuid"}}), {"a": "x"}, left_out=("format",)),
    "zod: intersection": Known({"allOf": [A, B]}, {"a": 1, "b": "x"}, {"a": 1}),
    "zod: lazy, by path": Known(
        {"type": "object", "properties": {"a": A, "b": {"$ref": "#/properties/a"}}, "required": ["a", "b"]},
        {"a": {"a": 1}, "b": {"a": 2}},
        {"a": {"a": 1}, "b": 2},
    ),
    "zod: set": Known(
        {"type": "array", "uniqueItems": True, "items": {"type": "string"}}, ["a"], [1], left_out=("uniqueItems",)
    ),
    "zod: literal": Known(zod({"a": {"type": "string", "const": "x"}}), {"a": "x"}, {"a": "y"}),
    "zod: any": Known(zod({"a": {}}), {"a": [1]}, {}),
    "zod: never": Known(zod({"a": {"type": "string"}, "b": {"not": {}}}), {"a": "x", "b": 1}, {"a": 1}, ("not",)),
    "zod: multiple of": Known(
        zod({"a": {"type": "number", "multipleOf": 0.01}}), {"a": 0.5}, {"a": "x"}, ("multipleOf",)
    ),
    "zod: integer step": Known(zod({"a": {"type": "integer", "multipleOf": 1}}), {"a": 5}, {"a": "x"}),
    # OpenAPI 3.0 and Gemini
    "openapi: nullable reference": Known(
        {
            "type": "object",
            "properties": {"a": {"nullable": True, "allOf": [{"$ref": "#/components/schemas/A"}]}},
            "required": ["a"],
            "components": {"schemas": {"A": A}},
        },
        {"a": None},
        {"a": 1},
    ),
    "openapi: inheritance": Known(
        {
            "allOf": [{"$ref": "#/definitions/A"}, {"type": "object", "properties": {"c": {"type": "boolean"}}}],
            "definitions": {"A": A},
        },
        {"a": 1, "c": True},
        {"c": True},
    ),
    "openapi: int32": Known({"type": "integer", "format": "int32"}, 5, "5"),
    "openapi: binary": Known({"type": "string", "format": "binary"}, "x", 5, ("format",)),
    "openapi: reference with a description": Known(
        {
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/A", "description": "x"}},
            "$defs": {"A": A},
            "required": ["a"],
        },
        {"a": {"a": 1}},
        {"a": 1},
    ),
    "gemini: types in capitals": Known(
        {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["a"]}, {"a": "x"}, {"a": 1}
    ),
    # Older drafts
    "draft-03: required in the property": Known(
        {
            "type": "object",
            "properties": {"a": {"type": "string", "required": True}, "b": {"type": "string", "required": False}},
        },
        {"a": "x"},
        {"b": "x"},
    ),
    "draft-03: any": Known({"type": "object", "properties": {"a": {"type": "any"}}, "required": ["a"]}, {"a": 1}, {}),
    "draft-04: exclusive false": Known({"type": "integer", "minimum": 1, "exclusiveMinimum": False}, 1, 0),
    "draft-04: both exclusive": Known(
        {"type": "integer", "minimum": 1, "exclusiveMinimum": True, "maximum": 3, "exclusiveMaximum": True}, 2, 1
    ),
    "draft-04: id": Known({"id": "http://example.org/a", **A}, {"a": 1}, {}),
    "draft-07: definitions": Known({"$ref": "#/definitions/A", "definitions": {"A": A}}, {"a": 1}, {}),
    "draft-07: boolean schema": Known({"type": "object", "properties": {"a": True}, "required": ["a"]}, {"a": 1}, {}),
    "draft-07: forbidden property": Known(
        {"type": "object", "properties": {"a": {"type": "string"}, "b": False}, "additionalProperties": False},
        {"a": "x"},
        {"b": 1},
    ),
    "draft-07: if": Known(
        {**A, "if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}}, {"a": 1}, {}, ("then",)
    ),
    "2019: recursive reference": Known(
        {"type": "object", "properties": {"a": {"type": "array", "items": {"$recursiveRef": "#"}}}, "required": ["a"]},
        {"a": [{"a": []}]},
        {"a": [1]},
    ),
    "2019: dependentRequired": Known({**A, "dependentRequired": {"a": ["b"]}}, {"a": 1}, {}, ("dependentRequired",)),
    "2020: prefixItems with true": Known(
        {"type": "array", "prefixItems": [True, {"type": "integer"}], "minItems": 2}, ["x", 1], ["x", "y"]
    ),
    "2020: anchor": Known({"$ref": "#point", "$defs": {"A": {"$anchor": "point", **A}}}, {"a": 1}, {}),
    "2020: unevaluated": Known({**A, "unevaluatedProperties": False}, {"a": 1}, {"a": 1, "b": 2}),
    # References
    "reference with escapes": Known({"$ref": "#/$defs/a~1b", "$defs": {"a/b": A}}, {"a": 1}, {}),
    "reference with per cent": Known({"$ref": "#/$defs/a%20b", "$defs": {"a b": A}}, {"a": 1}, {}),
    "reference into a list": Known({"anyOf": [A, B, {"$ref": "#/anyOf/0"}]}, {"b": "x"}, {}),
    "reference to the root": Known(
        {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["a"]},
        {"a": {"a": None}},
        {"a": 1},
    ),
    "definitions by both names": Known(
        {
            "type": "array",
            "prefixItems": [{"$ref": "#/$defs/A"}, {"$ref": "#/definitions/A"}],
            "minItems": 2,
            "$defs": {"A": A},
            "definitions": {"A": B},
        },
        [{"a": 1}, {"b": "x"}],
        [{"b": "x"}, {"a": 1}],
    ),
    "unused definition with anything": Known(
        {**A, "$defs": {"X": {"type": "array", "uniqueItems": True}}}, {"a": 1}, {}
    ),
    # Values and types
    "several types": Known({"type": ["string", "null"]}, None, 1),
    "integer or number": Known({"type": ["integer", "number"], "minimum": 0.5}, 0.75, 0.25),
    "integer with a fraction as a bound": Known({"type": "integer", "minimum": 0.5, "maximum": 2.5}, 1, 3),
    "bounds beyond 64 bits": Known({"type": "integer", "maximum": 1e300}, 5, "x"),
    "size as a float": Known({"type": "string", "minLength": 1.0}, "x", ""),
    "enum of all kinds": Known({"enum": ["a", 1, None, True, {"b": [1]}]}, {"b": [1]}, "b"),
    "const null": Known({"const": None}, None, 1),
    "no type but a pattern": Known({"pattern": "^a+$"}, "aa", "b"),
    "no type but items": Known({"items": {"type": "integer"}}, [1], ["x"]),
    "keywords that are null": Known({**A, "additionalProperties": None, "enum": None, "pattern": None}, {"a": 1}, {}),
    "pattern and length": Known({"type": "string", "pattern": "^a+$", "maxLength": 3}, "aa", "b", ("maxLength",)),
    "format and length": Known({"type": "string", "format": "uri", "maxLength": 20}, "x", "x" * 21, ("format",)),
    "lookahead": Known({"type": "string", "pattern": "^(?=.*a).*$"}, "a", 1, ("pattern",)),
    "named group": Known({"type": "string", "pattern": "(?<year>[0-9]{4})"}, "2026", "x"),
    "Chinese": Known(
        {"type": "object", "properties": {"颜色": {"enum": ["红", "蓝"]}}, "required": ["颜色"]},
        {"颜色": "红"},
        {"颜色": "x"},
    ),
    # Objects and arrays
    "required without a description": Known({"type": "object", "required": ["a"]}, {"a": 1}, {}),
    "at least one property": Known({"type": "object", "minProperties": 1}, {"a": 1}, {}),
    "at least one item": Known({"type": "array", "minItems": 1}, [1], []),
    "pattern of names": Known(
        {"type": "object", "patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": False},
        {"a": 1},
        {"b": 1},
    ),
    "pattern of names beside names": Known(
        {**A, "patternProperties": {"^x": {}}}, {"a": 1}, {}, ("patternProperties",)
    ),
    "more items in front than allowed": Known({"type": "array", "prefixItems": [{}, {}], "maxItems": 1}, [1], [1, 2]),
    # Combinations
    "alternatives of required names": Known(
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        },
        {"b": 1},
        {},
    ),
    "type beside alternatives": Known({"type": "object", "anyOf": [A, B]}, {"a": 1}, {}),
    "one of": Known({"oneOf": [A, B]}, {"b": "x"}, {}),
    "nested allOf": Known({"allOf": [{"allOf": [A]}, B, {"minProperties": 2}]}, {"a": 1, "b": "x"}, {"a": 1}),
    "allOf of texts": Known({"allOf": [{"type": "string"}, {"enum": ["a", "b"]}]}, "a", "c"),
    "allOf of bounds": Known(
        {"allOf": [{"type": "integer", "minimum": 1}, {"type": "number", "maximum": 3, "minimum": 2}]}, 2, 1
    ),
    "an alternative that is false": Known({"anyOf": [False, A]}, {"a": 1}, {}),
    "reference beside an assertion": Known(
        {"$ref": "#/$defs/A", "required": ["c"], "$defs": {"A": A}}, {"a": 1, "c": 2}, {"a": 1}
    ),
}

# Refused whatever `strict` says: the place that is named, below the schema.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "str": ({"type": "object", "properties": {"a": {"type": "str"}}}, "properties.a.type"),
    "int in a list": ({"type": ["int", "null"]}, "type"),
    "unknown type": ({"type": "widget"}, "type"),
    "type that is an object": ({"type": {"a": 1}}, "type"),
    "reference to nothing": ({"$ref": "#/definitions/none"}, "$ref"),
    "reference to itself": ({"$ref": "#"}, "$ref"),
    "two that are each other": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}},
        "$ref",
    ),
    "no alternative": ({"anyOf": []}, "anyOf"),
    "no value": ({"type": "object", "properties": {"a": {"enum": []}}}, "properties.a.enum"),
    "enum that is no list": ({"enum": "a"}, "enum"),
    "schema that is a text": ({"type": "object", "properties": {"a": "string"}}, "properties.a"),
    "properties that are a list": ({"type": "object", "properties": ["a"]}, "properties"),
    "items that are a text": ({"type": "array", "items": "string"}, "items"),
    "nothing between the bounds": ({"type": "integer", "minimum": 3, "maximum": 1}, "minimum"),
    "bound that is a text": ({"type": "number", "minimum": "0"}, "minimum"),
    "more than the most": ({"type": "string", "minLength": 3, "maxLength": 1}, "minLength"),
    "no regular expression": ({"type": "string", "pattern": "(a"}, "pattern"),
    "allOf that excludes itself": ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "allOf"),
    "allOf of closed objects": ({"allOf": [{**A, "additionalProperties": False}, B]}, "allOf"),
    "more items than allowed": ({"type": "array", "prefixItems": [{}], "items": False, "minItems": 2}, "minItems"),
    "required that is no name": ({"type": "object", "required": [1]}, "required"),
    "allOf that grows without end": (
        {
            "$ref": "#/$defs/T",
            "$defs": {"T": {"type": "object", "properties": {"t": {"$ref": "#/$defs/T", "minProperties": 1}}}},
        },
        "",
    ),
}
