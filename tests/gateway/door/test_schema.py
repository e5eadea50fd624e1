"""JSON Schemas: bounded before the engine compiles them, wherever they come in."""

from typing import Any

import pytest

from tests.gateway.door.bodies import body, refused, written


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


TOO_MUCH: dict[str, tuple[dict[str, Any], str]] = {
    "bytes": ({"description": "x" * 70_000}, "65536"),
    "depth": (nested(20), "32"),
    "depth of arrays": ({"enum": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}, "32"),
    "properties": ({"properties": {f"p{i}": {} for i in range(1001)}}, "1000"),
    "properties, spread": (
        {"properties": {f"p{i}": {"properties": {f"q{j}": {} for j in range(40)}} for i in range(30)}},
        "1000",
    ),
    "enum values": ({"enum": list(range(1001))}, "1000"),
    "patterns": ({"properties": {f"p{i}": {"pattern": "a"} for i in range(17)}}, "16"),
    "pattern properties": ({"patternProperties": {f"p{i}": {} for i in range(17)}}, "16"),
    "pattern length": ({"pattern": "a" * 257}, "256"),
    "repetition": ({"pattern": "a{10001}"}, "10000"),
    "nested repetition": ({"pattern": "((a{99}){99}){99}"}, "10000"),
    "open repetition": ({"pattern": "(a{5000,}){3,}"}, "10000"),
    "items": ({"minItems": 10**9}, "10000"),
    "length": ({"properties": {"a": {"maxLength": 10**9}}}, "10000"),
}


def as_format(schema: dict[str, Any]) -> dict[str, Any]:
    return body(response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})


def as_tool(schema: dict[str, Any]) -> dict[str, Any]:
    return body(tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_schema_beyond_a_limit_is_refused_with_the_limit(name: str) -> None:
    schema, limit = TOO_MUCH[name]
    for sent, param in ((as_format(schema), "response_format.json_schema.schema"), (as_tool(schema), "tools[0]")):
        error = refused(sent)
        assert error.status == 400
        assert limit in error.message
        assert (error.param or "").startswith(param)


def test_references_stay_inside_the_schema() -> None:
    assert written(as_format({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}))
    for reference in ("https://example.org/s", "file:///etc/passwd", "other.json#/a"):
        assert refused(as_format({"properties": {"a": {"$ref": reference}}})).status == 400


def test_a_pattern_with_nul_is_refused() -> None:
    assert refused(as_format({"pattern": "a\0"})).status == 400


def test_a_property_may_be_called_pattern_or_enum() -> None:
    schema = {
        "type": "object",
        "properties": {
            "pattern": {"type": "string"},
            "enum": {"type": "integer"},
            "maxLength": {"type": "integer"},
            "$ref": {"type": "string"},
        },
    }
    assert written(as_format(schema))["response_format"]["json_schema"]["schema"] == schema


def test_a_schema_reaches_the_engine_unchanged() -> None:
    schema = {
        "type": "object",
        "properties": {
            "ä": {"type": ["string", "null"], "default": None, "pattern": "^a{2,3}$"},
            "n": {"type": "number", "minimum": 0.5, "maximum": 10**12},
        },
        "required": ["ä"],
        "x": None,
    }
    assert written(as_format(schema))["response_format"]["json_schema"] == {"name": "x", "schema": schema}
    assert written(as_tool(schema))["tools"][0]["function"] == {"name": "f", "parameters": schema}
