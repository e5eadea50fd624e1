"""The exam's twenty JSON schemas, as applications write them, with the values that a scene fills in; asks no model."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from miniature import describing
from miniature.conversation import Turn
from miniature.scene import Scene, Shape
from miniature.words import COLOURS, PLACES, SHAPES, SIZES, Language

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
SWITCH: Schema = {"type": "boolean"}
COLOUR: Schema = {"type": "string", "enum": list(COLOURS)}
KIND: Schema = {"type": "string", "enum": list(SHAPES)}
SIZE: Schema = {"type": "string", "enum": list(SIZES)}
PLACE: Schema = {"type": "string", "enum": list(PLACES)}


@dataclass(frozen=True)
class Form:
    """A schema and the turn that fills it."""

    schema: Schema
    turn: Turn


def record(**properties: Schema) -> Schema:
    """An object of just these properties, all of them required."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def rows(items: Schema) -> Schema:
    """An array of these."""
    return {"type": "array", "items": items}


def maybe(schema: Schema) -> Schema:
    """This or null, as pydantic writes it."""
    return {"anyOf": [schema, {"type": "null"}]}


def _has(scene: Scene, kind: str) -> bool:
    return any(one.kind == kind for one in scene.shapes)


def _kinds(scene: Scene) -> list[str]:
    return list(dict.fromkeys(one.kind for one in scene.shapes))


def _colours(scene: Scene) -> list[str]:
    return list(dict.fromkeys(one.colour for one in scene.shapes))


Fill = Callable[[Scene, Shape], Any]
# Schema, its values, and whether it is about one shape that the question names.
FORMS: tuple[tuple[Schema, Fill, bool], ...] = (
    (record(color=COLOUR), lambda s, one: {"color": one.colour}, True),
    (record(shape=KIND, color=COLOUR), lambda s, one: {"shape": one.kind, "color": one.colour}, True),
    (record(circle=SWITCH), lambda s, one: {"circle": _has(s, "circle")}, False),
    (record(count=NUMBER), lambda s, one: {"count": len(s.shapes)}, False),
    (record(color=TEXT, shape=TEXT), lambda s, one: {"color": one.colour, "shape": one.kind}, True),
    (record(colors=rows(TEXT)), lambda s, one: {"colors": _colours(s)}, False),
    (
        record(shapes=rows(record(shape=TEXT, color=TEXT))),
        lambda s, one: {"shapes": [{"shape": o.kind, "color": o.colour} for o in s.shapes]},
        False,
    ),
    (
        record(shapes=rows(record(shape=KIND, color=COLOUR, size=SIZE, position=PLACE))),
        lambda s, one: {
            "shapes": [{"shape": o.kind, "color": o.colour, "size": o.size, "position": o.place} for o in s.shapes]
        },
        False,
    ),
    (
        record(object=record(color=COLOUR, shape=KIND)),
        lambda s, one: {"object": {"color": one.colour, "shape": one.kind}},
        True,
    ),
    (record(text=maybe(TEXT), has_text=SWITCH), lambda s, one: {"text": "", "has_text": False}, False),
    (record(title=TEXT, color=TEXT), lambda s, one: {"title": "", "color": one.colour}, True),
    (
        record(has_circle=SWITCH, has_star=SWITCH, total=NUMBER),
        lambda s, one: {"has_circle": _has(s, "circle"), "has_star": _has(s, "star"), "total": len(s.shapes)},
        False,
    ),
    (record(size=SIZE, color=COLOUR), lambda s, one: {"size": one.size, "color": one.colour}, True),
    (record(description=TEXT), lambda s, one: {"description": None}, False),
    (record(shape=TEXT, position=TEXT), lambda s, one: {"shape": one.kind, "position": one.place}, True),
    (
        record(number_of_shapes=NUMBER, kinds=rows(KIND)),
        lambda s, one: {"number_of_shapes": len(s.shapes), "kinds": _kinds(s)},
        False,
    ),
    (
        record(circles=NUMBER, squares=NUMBER, triangles=NUMBER),
        lambda s, one: {f"{k}s": sum(o.kind == k for o in s.shapes) for k in ("circle", "square", "triangle")},
        False,
    ),
    (
        record(invoice_number=maybe(TEXT), color=COLOUR),
        lambda s, one: {"invoice_number": "", "color": one.colour},
        True,
    ),
    (
        record(items=rows(record(name=TEXT, color=TEXT)), count=NUMBER),
        lambda s, one: {"items": [{"name": o.kind, "color": o.colour} for o in s.shapes], "count": len(s.shapes)},
        False,
    ),
    (
        record(label=TEXT, color=COLOUR, is_red=SWITCH),
        lambda s, one: {"label": one.kind, "color": one.colour, "is_red": one.colour == "red"},
        True,
    ),
)
ASKS: dict[Language, tuple[str, ...]] = {
    "en": ("What is in the picture?", "Describe the picture.", "Extract what you see."),
    "zh": ("图里有什么？", "描述这张图片。", "提取图中的信息。"),
}


def form(random: Random, number: int, scene: Scene, language: Language) -> Form:
    """Schema `number` of the twenty, filled from the scene."""
    schema, fill, about_one = FORMS[number % len(FORMS)]
    clear = [
        one for one in scene.shapes if sum((o.colour, o.kind) == (one.colour, one.kind) for o in scene.shapes) == 1
    ]
    one = random.choice(clear) if about_one and clear else scene.shapes[0]
    asked = random.choice(ASKS[language])
    if about_one and len(scene.shapes) > 1 and clear:
        name = describing.name(one, language)
        asked = f"Describe the {name}." if language == "en" else f"描述{name}。"
    value = fill(scene, one)
    if "description" in value:
        value = {"description": describing.description(scene, language)}
    return Form(schema, Turn(asked, json.dumps(value, ensure_ascii=False), skill="form"))


def equal(text: str, truth: str) -> bool:
    """Whether the text is JSON of the true value; the order of plain words in an array does not matter."""
    try:
        return bool(_plain(json.loads(text)) == _plain(json.loads(truth)))
    except ValueError:
        return False


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return sorted(value) if all(isinstance(one, str) for one in value) else [_plain(one) for one in value]
    return value
