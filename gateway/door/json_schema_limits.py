"""Bounds JSON Schemas before the engine compiles a grammar from them; it never judges whether a schema is right.

A grammar compiler unrolls repetitions and walks every branch, so a small schema can cost minutes. What is counted:
bytes, depth, properties, enum values, patterns, their length, and the product of repetitions in each pattern.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.door.body_limits import DoorLimits
from gateway.door.errors import BadValue, OverBound

_REPEATS = frozenset(
    {"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties", "minContains", "maxContains"}
)
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_BRACES = re.compile(r"\{(\d*+),?+(\d*+)\}")  # possessive: going back over digits would cost their square


def check_schema(schema: dict[str, Any], path: str, limits: DoorLimits) -> None:
    """Raises OverBound or BadValue (400), naming the limit, if `schema` (at `path`) goes beyond `limits`."""
    size = len(msgspec.json.encode(schema))
    if size > limits.schema_bytes:
        raise OverBound(
            f"The schema has {size} bytes; the limit is {limits.schema_bytes}. Send a smaller one.", param=path
        )
    properties = enum_values = patterns = 0
    for depth, key, value in _entries(schema):
        if depth > limits.schema_depth:
            raise OverBound(f"The schema nests deeper than {limits.schema_depth} levels. Send it flatter.", param=path)
        if isinstance(value, dict):
            if key == "properties":
                properties += len(value)
            elif key == "patternProperties":
                patterns += len(value)
                _check_count(patterns, limits.schema_patterns, "patterns", path)
                for pattern in value:
                    _check_pattern(pattern, path, limits)
        elif key == "enum" and isinstance(value, list):
            enum_values += len(value)
        elif key == "pattern" and isinstance(value, str):
            patterns += 1
            _check_count(patterns, limits.schema_patterns, "patterns", path)
            _check_pattern(value, path, limits)
        elif key in _REPEATS and isinstance(value, int | float) and value > limits.schema_repeat:
            raise OverBound(
                f"`{key}` in the schema is over {limits.schema_repeat}. Send a lower bound or none.", param=path
            )
        elif key in _REFERENCES and isinstance(value, str) and not value.startswith("#"):
            raise BadValue("The schema refers to another document. Use references within it (#/$defs/...).", param=path)
    _check_count(properties, limits.schema_properties, "properties", path)
    _check_count(enum_values, limits.schema_enum_values, "enum values", path)


def texts(value: Any) -> Iterator[str]:
    """Every string in `value`, keys too, in the order of the text."""
    stack: list[Any] = [value]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            for key, below in reversed(node.items()):
                stack.append(below)
                stack.append(key)
        elif isinstance(node, list):
            stack.extend(reversed(node))


def _entries(schema: dict[str, Any]) -> Iterator[tuple[int, str, Any]]:
    """(depth, key, value) of every object in `schema`; elements of arrays carry the array's key."""
    stack: list[tuple[int, str, Any]] = [(1, "", schema)]
    while stack:
        depth, key, node = stack.pop()
        yield depth, key, node
        if isinstance(node, dict):
            stack.extend((depth + isinstance(value, dict | list), name, value) for name, value in node.items())
        elif isinstance(node, list):
            stack.extend((depth + 1, "", value) for value in node if isinstance(value, dict | list))


def _check_pattern(pattern: str, path: str, limits: DoorLimits) -> None:
    if len(pattern) > limits.schema_pattern_chars:
        raise OverBound(
            f"A pattern in the schema has {len(pattern)} characters; the limit is {limits.schema_pattern_chars}.",
            param=path,
        )
    if "\0" in pattern:
        raise BadValue("A pattern in the schema has a NUL character. Remove it.", param=path)
    repeats = 1
    for low, high in _BRACES.findall(pattern):
        # Nested repetitions multiply; their product bounds any nesting.
        repeats *= max(int(low or 0), int(high or 0), 1)
        if repeats > limits.schema_repeat:
            raise OverBound(f"A pattern in the schema repeats more than {limits.schema_repeat} times.", param=path)


def _check_count(count: int, limit: int, what: str, path: str) -> None:
    if count > limit:
        raise OverBound(f"The schema has {count} {what}; the limit is {limit}. Send fewer.", param=path)
