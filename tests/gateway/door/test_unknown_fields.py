"""Fields that no type knows: which are ignored and how they are named, which are refused; none reaches the engine."""

import copy
import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.door import SDK_FIELDS, BadImage, DoorLimits, UnknownField, digest_images, named, parse_chat
from gateway.door.hints import HARMLESS, REFUSED
from gateway.door.unknown_fields import _near, known_names
from tests.attack.shield import UNKNOWN
from tests.gateway.door.bodies import LIMITS, body, data_url, image_part, parse, picture, refused, user, written
from tests.gateway.door.test_fields import STRICT
from tests.support.examples import examples

TOOL: dict[str, Any] = {"type": "function", "function": {"name": "see", "parameters": {"type": "object", "x": None}}}
CALL: dict[str, Any] = {"id": "1", "type": "function", "function": {"name": "see", "arguments": "{}"}}


def conversation() -> dict[str, Any]:
    """A body with every kind of object in it."""
    sent = body(
        {"role": "system", "content": [{"type": "text", "text": "s"}]},
        user("What?", image_part(picture("JPEG", 200, 160), "image/jpeg", detail="low")),
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        "And?",
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "see"}},
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"default": None}}},
        thinking={"type": "enabled"},
        stream=True,
        stream_options={"include_usage": True},
        prediction={"type": "content", "content": "x"},
    )
    return copy.deepcopy(sent)


def objects(node: Any, kept: tuple[str, ...] = ("schema", "parameters")) -> list[dict[str, Any]]:
    """Every object of the body that a type reads: not those below `kept`, which are the client's own."""
    found: list[dict[str, Any]] = [node] if isinstance(node, dict) else []
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in below:
        if name not in kept:
            found += objects(value)
    return found


PLAIN = written(conversation())
COUNT = len(objects(conversation()))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.one_of(
    st.sampled_from(
        sorted((SDK_FIELDS - known_names() - REFUSED.keys()) | {"whatever", "x-y", "a,b", "\r\nSet-Cookie"})
    ),
    texts.map(lambda name: f"of-an-unknown-field {name}"),
)
values = st.recursive(
    st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | texts | st.just(UNKNOWN),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(texts, below, max_size=3),
    max_leaves=5,
)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.tuples(st.integers(0, COUNT - 1), names, values), min_size=1, max_size=6))
def test_no_unknown_name_or_value_reaches_the_engine(added: list[tuple[int, str, Any]]) -> None:
    sent = conversation()
    places = objects(sent)
    for index, name, value in added:
        places[index][name] = value
    request = parse(sent)
    assert written(sent) == PLAIN
    assert set(request.ignored) == {name for _, name, _ in added}
    shown = named(request.ignored)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) < 1000


def test_every_object_of_a_body_may_have_unknown_fields() -> None:
    for index in range(COUNT):
        sent = conversation()
        objects(sent)[index]["whatever"] = {"engine": UNKNOWN}
        assert parse(sent).ignored == ("whatever",)
        assert UNKNOWN not in json.dumps(written(sent))
        assert refused(sent, STRICT).code == "unknown_parameter"


@pytest.mark.parametrize(
    "name",
    ["provider_specific_fields", "refusal", "annotations", "id", "cache_control", "reasoning_details", "function_call"],
)
def test_what_sdks_add_to_messages_is_ignored_by_name(name: str) -> None:
    sent = body({"role": "user", "content": "x", name: {"a": UNKNOWN}}, tools=[TOOL])
    assert parse(sent).ignored == (name,)
    assert written(sent) == written(body("x", tools=[TOOL]))


def test_an_answer_of_litellm_may_be_sent_back() -> None:
    said = {
        "role": "assistant",
        "content": "Red.",
        "provider_specific_fields": {"refusal": None},
        "annotations": [{"type": "file_citation", "file": 1}],
        "function_call": None,
        "tool_calls": None,
        "id": "msg_1",
    }
    request = parse(body("x", said, "y"))
    assert request.ignored == ("provider_specific_fields", "id")
    assert written(body("x", said, "y")) == written(body("x", {"role": "assistant", "content": "Red."}, "y"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("temprature", "temperature"),
        ("Temperature", "temperature"),
        ("maxTokens", "max_tokens"),
        ("max_token", "max_tokens"),
        ("max_tokes", "max_tokens"),
        ("sotp", "stop"),
        ("seeds", "seed"),
        ("streem", "stream"),
        ("tool", "tools"),
        ("top-p", "top_p"),
        ("responce_fromat", "response_format"),
        ("repetition_penality", "repetition_penalty"),
    ],
)
def test_a_slip_of_a_known_name_is_refused_with_what_was_meant(name: str, meant: str) -> None:
    error = refused(body(**{name: 1}))
    assert isinstance(error, UnknownField)
    assert error.param == name
    assert f"Did you mean `{meant}`?" in error.message


def test_slips_are_found_in_every_object() -> None:
    error = refused({"model": "m", "mesages": [{"role": "user", "content": "x"}]})
    assert "Did you mean `messages`?" in error.message
    error = refused(body({"role": "assistant", "content": "x", "tool_cals": [CALL]}))
    assert (error.param, "Did you mean `tool_calls`?" in error.message) == ("messages[0].tool_cals", True)
    error = refused(body(tools=[{"type": "function", "function": {"name": "f", "parameter": {}}}]))
    assert "Did you mean `parameters`?" in error.message


def test_a_name_that_is_known_elsewhere_is_no_slip() -> None:
    sent = body({"role": "user", "content": "x", "model": "a", "names": None, "mode": 1}, models=["a"], top_a=0, id="x")
    assert parse(sent).ignored == ("model", "mode", "models", "top_a", "id")


@pytest.mark.parametrize("name", HARMLESS)
def test_a_refused_field_that_says_what_happens_anyway_is_ignored(name: str) -> None:
    sent = image_part(picture()) | {name: HARMLESS[name][0]} if name == "text" else None
    request = parse(body(user(sent))) if sent else parse(body(**{name: HARMLESS[name][0]}))
    assert request.ignored == (name,)


def test_content_that_would_be_lost_is_refused() -> None:
    png = image_part(picture())
    for part in (
        {"type": "text", "text": "x", "image_url": png["image_url"]},
        png | {"text": "x"},
        png | {"uuid": "x"},
    ):
        assert refused(body(user("a", part))).code == "unknown_parameter"
    for field in ("images", "audio", "video", "documents", "image_embeds", "input_audio", "prefix"):
        error = refused(body({"role": "user", "content": "x", field: ["AA"]}))
        assert (error.code, error.param) == ("unknown_parameter", f"messages[0].{field}")
    error = refused(body(response_format={"type": "json_object", "schema": {"type": "object"}}))
    assert error.param == "response_format.schema"


def test_notes_on_a_message_are_ignored_where_the_same_name_steers_the_engine() -> None:
    sent = body({"role": "user", "content": "x", "uuid": "1", "priority": 1, "request_id": "2"})
    assert parse(sent).ignored == ("uuid", "priority", "request_id")
    sent = body({"role": "user", "content": [image_part(picture()) | {"uuid": "x"}], "uuid": "1"})
    sent["messages"].insert(0, {"role": "user", "uuid": "1", "content": "x"})
    assert refused(sent).param == "messages[1].content[0].uuid"
    assert (
        refused(body("x", {"role": "user", "content": "x", "prefix": True}, prefix=False)).code == "unknown_parameter"
    )
    assert refused(body({"role": "user", "content": "x", "priority": 1}, priority=1)).param == "priority"


def test_a_slip_is_found_also_where_the_same_name_was_no_slip_before() -> None:
    tool = {"type": "function", "function": {"name": "f"}, "contnt": 1}
    error = refused({"tools": [tool], **body("x", {"role": "assistant", "content": "x", "contnt": 1})})
    assert (error.param, "Did you mean `content`?" in error.message) == ("messages[1].contnt", True)


def test_null_is_absent_everywhere() -> None:
    for name in (*REFUSED, "whatever", "guided_json", "temprature"):
        for index in (0, 1, 2, 5):
            sent = conversation()
            place = objects(sent)[index]
            if place.setdefault(name, None) is None:
                request = parse(sent)
                assert request.ignored == ()
                assert written(sent) == PLAIN
    sent = body(
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": data_url(picture()), "detail": None}}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL | {"type": None, "index": None}], "name": None},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
        metadata={"a": None, "b": "c"},
        logit_bias={"5": None, "6": 1},
        chat_template_kwargs={"tools": None},
        thinking={"type": None},
    )
    assert written(sent)["logit_bias"] == {"6": 1}
    assert parse(sent).free_form["metadata"] == b'{"b":"c"}'
    error = refused(body({"role": "user", "content": None}))
    assert (error.code, error.param) == ("missing_parameter", "messages[0].content")


def test_null_is_absent_in_every_optional_field_of_every_type() -> None:
    seen: set[str] = set()
    for index in range(COUNT):
        for name in sorted(known_names()):
            sent = conversation()
            place = objects(sent)[index]
            if place.setdefault(name, None) is None:
                assert written(sent) == PLAIN, (index, name)
                seen.add(name)
    assert seen == known_names()


def test_a_schemas_own_fields_stay_as_they_are() -> None:
    schema = {"type": "object", "default": None, "temprature": 1, "properties": {"guided_json": {"const": None}}}
    chosen = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "whatever": 1}}
    made = written(body(response_format=chosen, whatever=1))
    assert made["response_format"]["json_schema"] == {"name": "x", "schema": schema}


def test_pictures_and_long_texts_are_the_same_with_unknown_fields() -> None:
    first, second = data_url(picture("PNG", 900, 900)), data_url(picture("JPEG", 400, 300), "image/jpeg")
    assert min(len(first), len(second)) > 1200
    shown = [{"type": "image_url", "image_url": {"url": url}} for url in (first, second)]
    for spoken in ("short", f"the page has {second} in it"):
        plain = body(user(*shown, spoken))
        sent = body(
            user({**shown[0], "preview": first}, {**shown[1], "preview": [second, UNKNOWN]}, spoken), copy=first
        )
        assert written(sent) == written(plain)
        escaped = json.dumps(sent).replace("data:image/", "data:image\\/").encode()
        assert [image.sha256 for image in parse(escaped).images] == [image.sha256 for image in parse(plain).images]
        assert written(escaped) == written(plain)


def test_names_are_bounded_in_number_and_shown_in_safe_letters() -> None:
    parse(body(**{f"field{n:03}": 1 for n in range(LIMITS.ignored_fields)}))
    error = refused(body(**{f"field{n:03}": 1 for n in range(LIMITS.ignored_fields + 1)}))
    assert "64 different" in error.message
    assert named(("a\r\nb: c", "ü", "x" * 100, 'q",')) == f"a??b??c, ?, {'x' * 40}, q??"
    assert named(tuple(f"f{n}" for n in range(20))).endswith("f15, +4")
    assert named(()) == ""


def test_a_refusal_knows_what_was_ignored_before_it() -> None:
    assert refused(body("<|user|>", whatever=1)).ignored == ("whatever",)
    request = parse_chat(json.dumps(body(user(image_part(b"no picture")), whatever=1)).encode(), LIMITS)
    with pytest.raises(BadImage) as caught:
        digest_images(request)
    assert caught.value.ignored == ("whatever",)


def test_refusing_all_is_a_setting() -> None:
    for sent in (body(whatever=1), body({"role": "user", "content": "x", "cache_control": {}}), body(echo=False)):
        assert parse(sent).ignored
        assert refused(sent, DoorLimits(unknown_fields="refuse")).code == "unknown_parameter"
    assert parse(body(whatever=None), STRICT).ignored == ()


def distance(one: str, other: str) -> int:
    """By the textbook: letters added, left out, changed or swapped with their neighbour."""
    rows = [
        [column if not row else row if not column else 0 for column in range(len(other) + 1)]
        for row in range(len(one) + 1)
    ]
    for row, column in itertools.product(range(1, len(one) + 1), range(1, len(other) + 1)):
        here, there = one[row - 1], other[column - 1]
        rows[row][column] = min(
            rows[row - 1][column] + 1, rows[row][column - 1] + 1, rows[row - 1][column - 1] + (here != there)
        )
        if row > 1 and column > 1 and here == other[column - 2] and one[row - 2] == there:
            rows[row][column] = min(rows[row][column], rows[row - 2][column - 2] + 1)
    return rows[-1][-1]


@settings(max_examples=examples(1000), deadline=None)
@given(st.text("abc", min_size=1, max_size=8), st.text("abc", min_size=1, max_size=8))
def test_nearness_is_the_distance_of_the_textbook(name: str, known: str) -> None:
    most = 0 if len(known) < 2 else 1 if len(known) < 6 else 2
    assert _near(name, known) == (distance(name, known) <= most)


def test_a_short_body_full_of_unknown_names_is_cheap() -> None:
    """It is read on the event loop. The time is the processor's, and generous: ordinary bodies take some 0.03 ms."""
    fields = {
        ("prompt_cache_retention"[: n % 20 + 3] + "qzvw" * 6)[:19] + f"{n:03}": 1 for n in range(LIMITS.ignored_fields)
    }
    sent = json.dumps(body(**fields)).encode()
    took = []
    for _ in range(5):
        began = time.process_time()
        assert len(parse_chat(sent, LIMITS).ignored) == LIMITS.ignored_fields
        took.append(time.process_time() - began)
    assert min(took) < 0.05


def test_the_documentation_lists_what_is_refused() -> None:
    api = (Path(__file__).parents[3] / "docs" / "api.md").read_text()
    assert [name for name in REFUSED if f"`{name}`" not in api] == []
