"""Forms hold what was seen, marks lie on values, and the exam's forms, tools and pictures are sound."""

import json
from pathlib import Path
from random import Random
from typing import Any

import jsonschema_rs
import numpy as np
import pytest

from miniature import dialogue, exam, exam_forms, exam_tools, facts, forms, manners, unclear, unseen
from miniature.data_loader import Coder
from miniature.drawing import load_fonts
from miniature.scene import random_scene
from miniature.tokenizer import load
from miniature.words import LANGUAGES
from tests.support.process import TOP

SIZE = (336, 336)
FONTS = load_fonts(Path(), (24, 48))

CHECKPOINT = TOP / "serve" / "checkpoint"


@pytest.fixture(scope="module")
def coder() -> Coder:
    return Coder(load(CHECKPOINT))


def any_form(seed: int) -> tuple[forms.Seen, Any, Any, Any]:
    random = Random(seed)
    scene = random_scene(random, *SIZE)
    seen = (
        forms.seen_scene(random, scene, LANGUAGES[seed % 2])
        if seed % 4
        else forms.Seen(text="4271" if seed % 8 else None)
    )
    value, schema = forms._object(forms.blanks_of(random, seen))
    return seen, value, schema, random


@pytest.mark.parametrize("seed", range(200))
def test_a_filled_form_fits_its_schema_and_its_marks_lie_on_values(seed: int) -> None:
    seen, value, schema, random = any_form(seed)
    jsonschema_rs.validate(schema, value)
    text, marks = forms.written(value)
    assert json.loads(text) == value
    assert " " not in text.split('"')[0]
    for start, end in marks:
        # A value, or an array's end, and behind it the mark that ends it.
        assert 0 <= start < end <= len(text)
        assert text[end - 1] in '",}]'
    _, turn = forms.form(random, seen)
    assert isinstance(json.loads(turn.answer), dict)


def test_a_form_about_a_scene_tells_no_word_that_the_scene_does_not_hold() -> None:
    for seed in range(200):
        seen, value, _, _ = any_form(seed)
        if seen.scene is None or seen.answer:
            continue
        looks = {(one.colour, one.kind) for one in seen.scene.shapes}
        for key in ("color", "shape"):
            told = value.get(key)
            if isinstance(told, str) and told:
                assert told.lower() in {word for look in looks for word in look}


def test_what_a_picture_does_not_tell_is_empty_and_never_null_where_it_may_be_text() -> None:
    random = Random(1)
    for _ in range(300):
        blank = forms._absent(random, "title")
        kinds = json.dumps(blank.schema)
        jsonschema_rs.validate(blank.schema, blank.value)
        assert not blank.value
        if "string" in kinds and "array" not in kinds:
            assert blank.value == ""


def test_keys_cut_in_two_are_the_same_text(coder: Coder) -> None:
    text, marks = forms.written({"number_of_shapes": 3, "colors": ["red"], "title": ""})
    plain, inside = coder.marked(text, tuple(marks))
    assert plain == coder(text)
    told = coder._tokenizer.decode([i for i, within in zip(plain, inside, strict=True) if within])
    assert "3" in told
    assert "red" in told
    assert "number" not in told
    cut = [coder.marked(text, tuple(marks), Random(seed))[0] for seed in range(20)]
    assert any(ids != plain for ids in cut)
    assert {coder._tokenizer.decode(ids, skip_special_tokens=False) for ids in cut} == {text}


def test_the_exams_twenty_schemas_differ_and_are_filled_by_what_fits() -> None:
    assert len({json.dumps(schema) for schema, _, _ in exam_forms.FORMS}) == len(exam_forms.FORMS) == 20
    kinds = json.dumps([schema for schema, _, _ in exam_forms.FORMS])
    for word in ('"enum"', '"boolean"', '"integer"', '"array"', '"null"', '"object": {"type": "object"'):
        assert word in kinds
    for number in range(60):
        random = Random(number)
        form = exam_forms.form(random, number, random_scene(random, *SIZE, judged=True), LANGUAGES[number % 2])
        jsonschema_rs.validate(form.schema, json.loads(form.turn.answer))


def test_an_answer_that_is_no_json_or_another_value_is_wrong() -> None:
    assert exam_forms.equal('{"a":["x","y"]}', '{"a": ["y", "x"]}')
    assert not exam_forms.equal('{"a":1', '{"a": 1}')
    assert not exam_forms.equal('{"a":1}', '{"a": 2}')
    assert not exam_forms.equal('{"a":[{"b":1},{"b":2}]}', '{"a": [{"b": 2}, {"b": 1}]}')


def test_the_exams_tools_are_long_and_of_different_names(coder: Coder) -> None:
    tools = exam_tools.tools(30)
    assert len({tool["function"]["name"] for tool in tools}) == 30
    assert sum(len(coder(json.dumps(tool))) for tool in tools[:28]) > 5_000
    for tool in tools:
        jsonschema_rs.meta.validate(tool["function"]["parameters"])


@pytest.mark.parametrize("seed", range(40))
def test_long_prompts_call_a_tool_that_is_there_or_none(coder: Coder, seed: int) -> None:
    sample = dialogue.long_sample(Random(seed), SIZE, 4096, pictured=bool(seed % 2))
    (turn,) = sample.conversation.turns
    tools = {tool["function"]["name"]: tool["function"] for tool in sample.conversation.tools}
    assert len(tools) == len(sample.conversation.tools)
    assert len(sample.pictures) == turn.pictures == seed % 2
    for call in turn.calls:
        assert set(call.arguments) <= set(tools[call.name]["parameters"]["properties"])
        for value in call.arguments.values():
            if isinstance(value, str) and turn.question and call.name in turn.question:
                assert value in turn.question


@pytest.mark.parametrize("maker", [maker for maker, _, _ in unclear.MAKERS], ids=lambda maker: maker.__name__)
def test_what_cannot_be_made_out_is_painted_in_any_size(maker: Any) -> None:
    for size in ((336, 336), (448, 252)):
        picture = (
            maker(Random(3), size, FONTS) if maker in (unclear.page, unclear.blurred_text) else maker(Random(3), size)
        )
        assert (picture.size, picture.mode) == (size, "RGB")


def test_a_blurred_text_has_no_edge_left() -> None:
    for seed in range(10):
        values = np.asarray(unseen.scan(Random(seed), SIZE, FONTS).convert("L"), np.int16)
        assert np.abs(np.diff(values[40:-40, 40:-40], axis=1)).max() < 40


def test_what_cannot_be_made_out_is_said_whatever_is_asked() -> None:
    random = Random(2)
    for _ in range(100):
        assert unclear.ask(random, "en").answer in (unclear.UNCLEAR["en"], unclear.NO_SHAPES)


def test_instructions_leads_and_mixed_questions_keep_the_truth() -> None:
    for seed in range(100):
        random = Random(seed)
        scene = random_scene(random, *SIZE)
        system, turn = manners.instructed(random, scene)
        assert system
        if any(rule in system for rule in manners.CAPITALS):
            assert turn.answer == turn.answer.upper()
        turn = manners.begun(random, scene)
        assert turn.answer.startswith(turn.lead)
        assert turn.answer != turn.lead
        turn = manners.mixed(random, scene)
        chinese = [character for character in turn.question if "\u4e00" <= character <= "\u9fff"]
        letters = [character for character in turn.question if character.isascii() and character.isalpha()]
        assert chinese
        assert letters


def test_a_fact_is_the_same_in_both_languages() -> None:
    for seed in range(60):
        random = Random(seed)
        found = facts.fact(random, random_scene(random, *SIZE), facts.SHORT)
        assert found.answer.keys() == found.question.keys() == found.short.keys() == set(LANGUAGES)
        if isinstance(found.value, int) and not isinstance(found.value, bool):
            assert str(found.value) in found.answer["en"]
            assert str(found.value) in found.answer["zh"]


def test_the_exams_later_cases_leave_the_earlier_ones_as_they_were() -> None:
    skills = [case.skill for case in exam.cases(2026, 1, Path("none"))]
    assert skills[:13] == [
        "describe",
        "question",
        "locate",
        "read",
        "compare",
        "tool",
        "result",
        "tool",
        "refuse",
        "identity",
        "json",
        "thinking",
        "describe, other sizes",
    ]
    assert skills[13:] == [
        "many tools, none asked for",
        "many tools, one asked for",
        "unclear",
        "instruction",
        "continued",
        "mixed",
        "form",
    ]
