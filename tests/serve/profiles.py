"""Profiles for tests, written as TOML files."""

import json
from pathlib import Path
from typing import Any

PLAIN: dict[str, Any] = {
    "name": "test",
    "description": "For tests.",
    "model": "",
    "served_names": ["glm-4v"],
    "device": "cpu",
}


def write(path: Path, table: dict[str, Any]) -> Path:
    """Write tables of at most two levels as TOML, in their order."""
    lines = [f"{_key(key)} = {_value(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines.append(f"[{_key(key)}]")
            lines += [f"{_key(name)} = {_value(item)}" for name, item in value.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _key(key: str) -> str:
    return json.dumps(key)


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value)
