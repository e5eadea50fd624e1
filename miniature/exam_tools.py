"""The tools of the exam: what a client of today sends with every message; training never sees them. Calls nothing."""

import json
from pathlib import Path
from typing import Any

# Name, what it does, parameters as name, type and description; a * marks those that are required.
FILE = Path(__file__).with_name("exam_tools.json")


def _property(kind: str, about: str, required: bool) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": kind} | ({"items": {"type": "string"}} if kind == "array" else {})
    if required:
        return inner | {"description": about}
    return {"anyOf": [inner, {"type": "null"}], "default": None, "description": about}


def tools(many: int) -> list[dict[str, Any]]:
    """The first so many of them, as the API takes them."""
    out = []
    for one in json.loads(FILE.read_text())[:many]:
        properties = {key.lstrip("*"): _property(kind, told, key[0] == "*") for key, kind, told in one["parameters"]}
        required = [key[1:] for key, _, _ in one["parameters"] if key[0] == "*"]
        schema = {"type": "object", "properties": properties, "required": required}
        function = {"name": one["name"], "description": one["description"], "parameters": schema}
        out.append({"type": "function", "function": function})
    return out
