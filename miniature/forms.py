"""JSON schemas as clients send them, and the JSON that a picture fills into them; checks nothing against a schema."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from miniature import describing, reading
from miniature.conversation import Turn
from miniature.facts import Fact, fact
from miniature.scene import Scene, Shape
from miniature.smalltalk import random_name
from miniature.words import COLOURS, PLACES, SHAPES, SHORT_WORDS, SIZES, Language, plural

Schema = dict[str, Any]


@dataclass
class Blank:
    """A key, the value that belongs there and the schema of that value."""

    key: str
    value: Any
    schema: Schema


@dataclass
class Seen:
    """What blanks are filled from: a scene, or a text, or neither; `one` is the shape that the question is about."""

    scene: Scene | None = None
    text: str | None = None
    language: Language = "en"
    one: Shape | None = None
    answer: Fact | None = None


KEYS: dict[str, Sequence[str]] = {
    "colour": ("color", "color", "color", "colour", "shape_color", "main_color", "fill", "paint", "颜色"),
    "kind": ("shape", "shape", "kind", "type", "form", "object", "shape_type", "figure", "name", "label", "形状"),
    "size": ("size", "size", "scale", "size_class", "大小"),
    "place": ("position", "position", "place", "location", "where", "area", "位置"),
    "count": (
        "count",
        "count",
        "number_of_shapes",
        "shape_count",
        "total",
        "num_shapes",
        "quantity",
        "how_many",
        "n",
        "shapes_count",
        "数量",
    ),
    "text": (
        "text",
        "text",
        "word",
        "content",
        "ocr",
        "ocr_text",
        "value",
        "written",
        "transcription",
        "string",
        "文字",
    ),
    "whole": ("description", "description", "summary", "caption", "details", "scene", "alt_text", "描述"),
    "list": ("shapes", "shapes", "objects", "items", "elements", "figures", "results", "图形"),
    "colours": ("colors", "colors", "colours", "palette", "all_colors"),
    "kinds": ("shapes", "kinds", "types", "labels", "names", "tags", "categories"),
    "nested": (
        "shape",
        "object",
        "first",
        "main",
        "item",
        "figure",
        "main_shape",
        "subject",
        "data",
        "picture",
        "image",
        "result",
    ),
    "has text": ("has_text", "contains_text", "text_present", "is_text"),
    "has shapes": ("has_shapes", "contains_shapes", "shapes_present"),
    "sure": ("confidence", "score", "probability", "certainty"),
    "answer": ("answer", "answer", "result", "reply", "response", "final_answer", "output", "回答"),
}
UNKNOWN = (
    "title",
    "author",
    "date",
    "invoice_number",
    "email",
    "price",
    "brand",
    "notes",
    "address",
    "phone",
    "company",
    "currency",
    "comment",
    "country",
    "city",
    "mood",
    "weather",
    "person",
    "url",
    "id",
    "year",
    "age",
    "amount",
    "tax",
    "reason",
    "license_plate",
    "vendor",
    "due_date",
    "first_name",
    "signature",
)
FORM_ASKS: dict[Language, tuple[str, ...]] = {
    "en": (
        "Extract the data.",
        "Fill in the form.",
        "Extract what you see.",
        "Analyze the picture.",
        "Return the fields.",
        "Extract the information from the image.",
        "Describe the shape.",
        "What is it?",
        "Classify the image.",
        "Return the data as JSON.",
    ),
    "zh": ("提取数据。", "请填写表格。", "提取图中的信息。", "分析图片。", "这是什么？", "请返回结构化数据。"),
}
ABOUT: dict[Language, tuple[str, ...]] = {
    "en": ("Describe the {}.", "Tell me about the {}.", "Look at the {}.", "What about the {}?", "Extract the {}."),
    "zh": ("描述{}。", "说说{}。", "看{}。", "{}是什么样的？", "提取{}。"),
}


def _key(random: Random, role: str) -> str:
    return random.choice(KEYS[role])


def _word(random: Random, value: str, allowed: Sequence[str], dress: Callable[[str], str]) -> tuple[str, Schema]:
    schema: Schema = {"type": "string"}
    if random.random() < 0.4:
        some = [*{value, *random.sample(list(allowed), random.randint(2, len(allowed)))}]
        random.shuffle(some)
        schema = {"enum": [dress(one) for one in some]} | ({"type": "string"} if random.random() < 0.8 else {})
    return dress(value), schema


def _nullable(random: Random, schema: Schema) -> Schema:
    chance = random.random()
    if chance < 0.5 or "enum" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    return schema | {"type": [schema.get("type", "string"), "null"]}


def _maybe_nullable(random: Random, schema: Schema) -> Schema:
    return _nullable(random, schema) if random.random() < 0.3 else schema


def _absent(random: Random, key: str) -> Blank:
    """Something that the picture does not tell: empty, and never null where a string may be empty."""
    empty = random.choice(("string", "string", "string", "string", "nullable", "integer", "number", "boolean", "array"))
    if empty == "nullable":
        return Blank(key, None, _nullable(random, {"type": random.choice(("integer", "number", "boolean"))}))
    value = {"string": "", "integer": 0, "number": 0, "boolean": False, "array": []}[empty]
    schema: Schema = {"type": empty}
    if empty == "string":
        return Blank(key, value, _maybe_nullable(random, schema))
    if empty == "array":
        schema["items"] = {"type": "string"}
    return Blank(key, value, schema)


def _of_shape(random: Random, one: Shape, dress: Callable[[str], str]) -> list[Blank]:
    rows = [
        ("colour", one.colour, COLOURS),
        ("kind", one.kind, SHAPES),
        ("size", one.size, SIZES),
        ("place", one.place, PLACES),
    ]
    weights = (5, 5, 2, 2)
    some = [row for row, weight in zip(rows, weights, strict=True) if random.random() < weight / 6] or rows[:1]
    random.shuffle(some)
    out = []
    for role, value, allowed in some:
        told, schema = _word(random, value, allowed, dress)
        if random.random() < 0.08:
            schema = _nullable(random, schema)
        out.append(Blank(_key(random, role), told, schema))
    return out


def _object(blanks: list[Blank]) -> tuple[dict[str, Any], Schema]:
    unique = list({blank.key: blank for blank in blanks}.values())
    schema = {"type": "object", "properties": {blank.key: blank.schema for blank in unique}}
    return {blank.key: blank.value for blank in unique}, schema | {"required": [blank.key for blank in unique]}


def _scene_blank(random: Random, seen: Seen, dress: Callable[[str], str]) -> list[Blank]:
    """One or more blanks about a scene."""
    assert seen.scene is not None
    scene, first = seen.scene, seen.one or seen.scene.shapes[0]
    chance = random.random()
    if chance < 0.30:
        return _of_shape(random, first, dress)
    if chance < 0.40:
        return [Blank(_key(random, "count"), len(scene.shapes), {"type": "integer"})]
    if chance < 0.47:
        kind = random.choice([*(one.kind for one in scene.shapes), *random.sample(SHAPES, 2)])
        many = sum(one.kind == kind for one in scene.shapes)
        key = random.choice((plural(kind), f"{kind}_count", f"num_{plural(kind)}", f"number_of_{plural(kind)}"))
        return [Blank(key, many, {"type": "integer"})]
    if chance < 0.63:
        return [_switch(random, seen, scene)]
    if chance < 0.68:
        role = random.choice(("has text", "has shapes"))
        return [Blank(_key(random, role), role == "has shapes", {"type": "boolean"})]
    if chance < 0.73:
        return [Blank(_key(random, "text"), "", _maybe_nullable(random, {"type": "string"}))]
    if chance < 0.81:
        return [Blank(_key(random, "whole"), describing.description(scene, seen.language), {"type": "string"})]
    if chance < 0.85:
        return [Blank(_key(random, "sure"), 1.0, {"type": "number"})]
    if chance < 0.93:
        return [_plain_list(random, scene, dress)]
    value, schema = _object(_of_shape(random, first, dress))
    return [Blank(_key(random, "nested"), value, schema)]


def _switch(random: Random, seen: Seen, scene: Scene) -> Blank:
    """Whether a kind or a colour is there; of the one shape that a question is about, whether it is that."""
    whom = [seen.one] if seen.one else scene.shapes
    only = len(whom) == 1
    if random.random() < 0.6:
        what = random.choice([*sorted({one.kind for one in whom}), *random.sample(SHAPES, 2)])
        if only and random.random() < 0.5:
            return Blank(f"is_{what}", whom[0].kind == what, {"type": "boolean"})
        key = random.choice((f"has_{what}", what, f"{what}_present", f"contains_{what}"))
        return Blank(key, any(one.kind == what for one in scene.shapes), {"type": "boolean"})
    what = random.choice([*sorted({one.colour for one in whom}), *random.sample(COLOURS, 2)])
    if only and random.random() < 0.5:
        return Blank(f"is_{what}", whom[0].colour == what, {"type": "boolean"})
    key = random.choice((f"has_{what}", what, f"contains_{what}", f"any_{what}"))
    return Blank(key, any(one.colour == what for one in scene.shapes), {"type": "boolean"})


def _plain_list(random: Random, scene: Scene, dress: Callable[[str], str]) -> Blank:
    role = random.choice(("colours", "kinds"))
    words = [one.colour if role == "colours" else one.kind for one in scene.shapes]
    words = list(dict.fromkeys(words))
    items: Schema = {"type": "string"}
    if random.random() < 0.3:
        items["enum"] = [dress(one) for one in (COLOURS if role == "colours" else SHAPES)]
    return Blank(_key(random, role), [dress(one) for one in words], {"type": "array", "items": items})


def _shape_list(random: Random, scene: Scene, dress: Callable[[str], str]) -> Blank:
    """All shapes as objects of the same keys."""
    rows: list[tuple[str, str, Sequence[str]]] = [
        ("colour", "colour", COLOURS),
        ("kind", "kind", SHAPES),
        ("size", "size", SIZES),
        ("place", "place", PLACES),
    ]
    some = random.sample(rows, random.randint(1, 4))
    keys = {_key(random, role): name for role, name, _ in some}
    properties: Schema = {}
    for key, name in keys.items():
        words = next(allowed for _, other, allowed in rows if other == name)
        properties[key] = {"type": "string"}
        if random.random() < 0.3:
            properties[key]["enum"] = [dress(word) for word in words]
    items: Schema = {"type": "object", "properties": properties, "required": list(keys)}
    told = [{key: dress(getattr(one, name)) for key, name in keys.items()} for one in scene.shapes]
    return Blank(_key(random, "list"), told, {"type": "array", "items": items})


def _answered(random: Random, seen: Seen, dress: Callable[[str], str]) -> Blank:
    found = seen.answer
    assert found is not None
    value: Any = found.value
    if isinstance(value, bool):
        key = random.choice((*KEYS["answer"], "present", "found", "exists", "yes", "is_there", "visible"))
        if random.random() < 0.6:
            return Blank(key, value, {"type": "boolean"})
        both = random.choice((("yes", "no"), ("Yes", "No")))
        return Blank(key, both[0 if value else 1], {"type": "string", "enum": list(both)})
    key = _key(random, "answer")
    if isinstance(value, int):
        if random.random() < 0.75:
            return Blank(random.choice((key, _key(random, "count"))), value, {"type": "integer"})
        return Blank(key, found.answer[seen.language], {"type": "string"})
    if random.random() < 0.4:
        return Blank(key, found.answer[seen.language], {"type": "string"})
    role, words = next((r, w) for r, w in (("colour", COLOURS), ("kind", SHAPES), ("place", PLACES)) if value in w)
    told, schema = _word(random, str(value), words, dress)
    if "enum" not in schema:
        return Blank(_key(random, role), told, schema)
    return Blank(random.choice((key, _key(random, role))), told, schema)


def _text_blank(random: Random, seen: Seen) -> Blank:
    text = seen.text or ""
    chance = random.random()
    if chance < 0.5:
        schema: Schema = {"type": "string"}
        return Blank(_key(random, "text"), text, _nullable(random, schema) if random.random() < 0.2 else schema)
    if chance < 0.62:
        if text.isdigit() and text[0] != "0":
            return Blank(random.choice(("number", "value", "digits")), int(text), {"type": "integer"})
        return Blank(random.choice(("is_number", "numeric")), text.isdigit(), {"type": "boolean"})
    if chance < 0.70:
        return Blank(random.choice(("length", "characters", "letters")), len(text), {"type": "integer"})
    if chance < 0.80:
        return Blank(_key(random, "has text"), True, {"type": "boolean"})
    if chance < 0.88:
        return Blank(_key(random, "whole"), reading.description(text, seen.language), {"type": "string"})
    kind = "number" if text.isdigit() else "word"
    return Blank(random.choice(("type", "kind", "category")), kind, {"type": "string", "enum": ["number", "word"]})


def _unclear_blank(random: Random) -> Blank:
    """Of a picture that cannot be made out everything is absent."""
    role = random.choice(
        ("colour", "kind", "size", "place", "count", "text", "list", "colours", "has text", "has shapes", "whole")
    )
    key = _key(random, role)
    if role == "count":
        return Blank(key, 0, {"type": "integer"})
    if role.startswith("has"):
        return Blank(key, False, {"type": "boolean"})
    if role in ("list", "colours"):
        return Blank(key, [], {"type": "array", "items": {"type": "string"}})
    return Blank(key, "", _maybe_nullable(random, {"type": "string"}))


def _made_up_key(random: Random) -> str:
    if random.random() < 0.7:
        return random.choice(UNKNOWN)
    words = [
        random.choice((random_name(random, "en").lower(), random.choice(SHORT_WORDS).lower()))
        for _ in range(random.randint(1, 2))
    ]
    return "_".join(words)


def blanks_of(random: Random, seen: Seen) -> list[Blank]:
    """The blanks of one form."""
    chance = random.random()
    dress: Callable[[str], str] = str if chance < 0.86 else str.upper if chance < 0.93 else str.capitalize
    out: list[Blank] = []
    many = random.choices((1, 2, 3, 4), (3, 4, 3, 1))[0]
    if seen.answer is not None:
        out.append(_answered(random, seen, dress))
        many = random.choices((0, 1), (3, 2))[0]
    for number in range(many):
        if random.random() < 0.13 and (number or many > 1):
            out.append(_absent(random, _made_up_key(random)))
        elif seen.text is not None:
            out.append(_text_blank(random, seen))
        elif seen.scene is None:
            out.append(_unclear_blank(random))
        elif number == 0 and seen.one is None and random.random() < 0.22:
            out.append(_shape_list(random, seen.scene, dress))
        else:
            out += _scene_blank(random, seen, dress)
    if random.random() < 0.3:
        random.shuffle(out)
    return list({blank.key: blank for blank in out}.values())


def written(value: Any) -> tuple[str, list[tuple[int, int]]]:
    """Compact JSON and where in it values stand, each with the mark that ends it: (start, end) in characters."""
    text: list[str] = []
    at = 0
    marks: list[tuple[int, int]] = []

    def put(part: str) -> None:
        nonlocal at
        text.append(part)
        at += len(part)

    def walk(one: Any) -> None:
        if isinstance(one, dict):
            put("{")
            for number, (key, inner) in enumerate(one.items()):
                put(("," if number else "") + json.dumps(key, ensure_ascii=False) + ":")
                walk(inner)
            put("}")
        elif isinstance(one, list):
            put("[")
            for number, inner in enumerate(one):
                if number:
                    put(",")
                walk(inner)
            marks.append((at - 1, at + 1))
            put("]")
        else:
            told = json.dumps(one, ensure_ascii=False)
            marks.append((at + isinstance(one, str), at + len(told) + (0 if isinstance(one, str) else 1)))
            put(told)

    walk(value)
    return "".join(text), marks


def dressed(random: Random, schema: Schema) -> Schema:
    """The schema with what pydantic and others add to it."""
    out = dict(schema)
    if random.random() < 0.4:
        out["title"] = random.choice(("Shape", "Answer", "Picture", "Response", "Result", "Form"))
    if random.random() < 0.5:
        out["additionalProperties"] = False
    if random.random() < 0.3:
        out["properties"] = {
            key: inner | ({"title": key.replace("_", " ").title()} if isinstance(inner, dict) else {})
            for key, inner in out["properties"].items()
        }
    return out


WITH_SCHEMA = (
    "Answer with JSON that fits this schema: {}",
    "Return JSON with this schema:\n{}",
    "Respond only with JSON that matches the schema {}",
    "Output JSON for this JSON schema:\n```json\n{}\n```",
    "请按照这个JSON模式回答：{}",
)


def question_of(random: Random, seen: Seen) -> str:
    """A question that such a form may come with."""
    language = seen.language
    if seen.answer is not None:
        return seen.answer.question[language]
    if seen.one is not None:
        name = describing.name(seen.one, language)
        return random.choice(ABOUT[language]).format(name)
    asks: Sequence[str] = FORM_ASKS[language]
    chance = random.random()
    if chance < 0.35:
        asks = describing.DESCRIBE[language]
    elif chance < 0.5:
        asks = describing.JSON[language]
    elif chance < 0.7 and seen.text is not None:
        asks = reading.READ[language]
    return random.choice(asks)


def seen_scene(random: Random, scene: Scene, language: Language) -> Seen:
    """A scene seen as a whole, one of its shapes, or an answer about it."""
    chance = random.random()
    looks = [(one.colour, one.kind) for one in scene.shapes]
    clear = [one for one in scene.shapes if looks.count((one.colour, one.kind)) == 1]
    if chance < 0.2 and clear:
        return Seen(scene, language=language, one=random.choice(clear))
    if chance < 0.45:
        found = fact(random, scene)
        if not isinstance(found.value, str) or found.value in (*COLOURS, *SHAPES, *PLACES):
            return Seen(scene, language=language, answer=found, one=found.about)
    return Seen(scene, language=language)


def form(random: Random, seen: Seen) -> tuple[str, Turn]:
    """A system text (maybe with the schema) and a turn whose answer is the filled form."""
    value, schema = _object(blanks_of(random, seen))
    told, marks = written(value)
    question = question_of(random, seen)
    system = ""
    # Without the schema in sight only values can be known: keys are what the grammar lets through.
    known = random.random() < 0.3
    if known:
        shown = random.choice(WITH_SCHEMA).format(json.dumps(dressed(random, schema), ensure_ascii=False))
        if random.random() < 0.5:
            system = shown
        else:
            question = f"{question} {shown}"
    return system, Turn(question, told, skill="form", marks=[] if known else marks)
