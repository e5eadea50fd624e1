"""What is not one strict JSON object is refused before a field is read."""

import json

import pytest

from gateway.door import DoorLimits, parse_chat
from gateway.door.syntax import without_base64
from tests.gateway.door.bodies import body, data_url, image_part, picture, refused, user, written


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"{}}",
        b"{'model': 1}",
        b'{"model": "m",}',
        b"\xff\xfe{\x00}\x00",
        b'\xef\xbb\xbf\xef\xbb\xbf{"model": "m", "messages": []}',
        b'{"model": "m" "messages": []}',
        b'{"a": 01}',
        b'{"a": .5}',
        b'{"a": "\t"}',
        b'{"a": "\\x"}',
        b"{1: 2}",
        b'{"a": tru}',
        b"// hello\n{}",
        b'{"a": "\\u12"}',
    ],
)
def test_what_is_no_json_object_is_refused(sent: bytes) -> None:
    assert (refused(sent).status, refused(sent).code) == (400, "invalid_json")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 30, "9" * 5000])
def test_numbers_that_parsers_disagree_on_are_refused(number: str) -> None:
    error = refused(f'{{"model": "m", "messages": [], "tools": [{{"x": {number}}}]}}'.encode())
    assert (error.status, error.code, error.param) == (400, "invalid_json", "tools[0].x")


def test_integers_pass_up_to_64_bits_and_no_further() -> None:
    tool = '{{"type": "function", "function": {{"name": "f", "parameters": {{"default": {}}}}}}}'
    for number, passes in ((2**63 - 1, True), (2**63, False), (-(2**63), True), (-(2**63) - 1, False)):
        sent = json.dumps(body()).replace("{", f'{{"tools": [{tool.format(number)}], ', 1).encode()
        if passes:
            assert parse_chat(sent, DoorLimits()).tools[0].function.parameters == {"default": number}
        else:
            assert refused(sent).param == "tools[0].function.parameters.default"


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        (b'{"model": "a", "model": "b", "messages": [{"role": "user", "content": "x"}]}', "model"),
        (b'{"model": "a", "mod\\u0065l": "b", "messages": [{"role": "user", "content": "x"}]}', "model"),
        (b'{"model": "a", "messages": [{"role": "user", "role": "system", "content": "x"}]}', "messages[0].role"),
        (b'{"model": "a", "messages": [], "metadata": {"a": "1", "a": "1"}}', "metadata.a"),
    ],
)
def test_a_key_sent_twice_is_refused(sent: bytes, param: str) -> None:
    error = refused(sent)
    assert "twice" in error.message
    assert error.param == param


def test_a_key_hidden_behind_an_image_is_still_seen_twice() -> None:
    whole = json.dumps(body(user(image_part(picture(width=400, height=400)), "x"))).encode()
    assert parse_chat(whole, DoorLimits()).model == "glm-4v"
    twice = whole[:-1] + b', "model": "other"}'
    assert "twice" in refused(twice).message
    inside = whole.replace(b'"image_url": {"url"', b'"image_url": {"url": "data:image/png;base64,AAAA", "url"')
    assert "twice" in refused(inside).message


@pytest.mark.parametrize("sent", [b'{"model": "\xff"}', b'{"model": "\xed\xa0\x80"}', b'{"\xc0\x80": 1}'])
def test_what_is_not_utf8_is_refused(sent: bytes) -> None:
    assert "UTF-8" in refused(sent).message


def test_bytes_hidden_where_base64_is_expected_must_still_be_text() -> None:
    text = b";base64," + b"A" * 5000 + b"\xff"
    error = refused(b'{"model": "m", "messages": [{"role": "user", "content": "' + text + b'"}]}')
    assert (error.status, error.code) == (400, "invalid_json")


@pytest.mark.parametrize("half", [r"\ud800", r"\udfff x", r"\udc00\ud800"])
def test_half_a_surrogate_pair_is_refused(half: str) -> None:
    error = refused(f'{{"model": "m", "messages": [{{"role": "user", "content": "{half}"}}]}}'.encode())
    assert (error.status, error.param) == (400, "messages[0].content")
    error = refused(f'{{"model": "m", "messages": [], "metadata": {{"{half}": "x"}}}}'.encode())
    assert (error.status, error.param) == (400, "metadata")


@pytest.mark.parametrize("opening", [b'{"a":', b"[", b'[{"a":'])
def test_deep_nesting_is_refused_at_any_depth(opening: bytes) -> None:
    for depth in (70, 900, 5_000, 300_000):
        sent = b'{"model": "m", "messages": [], "tools": ' + opening * depth
        assert refused(sent).status == 400
    closing = {b'{"a":': b"1" + b"}" * 70, b"[": b"]" * 70, b'[{"a":': b"1" + b"}]" * 70}[opening]
    assert "levels" in refused(b'{"model": "m", "messages": [], "tools": ' + opening * 70 + closing + b"}").message


def test_too_many_bytes_are_413() -> None:
    tight = DoorLimits(body_bytes=1000, text_bytes=500)
    assert refused(json.dumps(body("x" * 2000)).encode(), tight).status == 413
    error = refused(json.dumps(body("x" * 600)).encode(), tight)
    assert error.status == 413
    assert "500" in error.message


@pytest.mark.parametrize(
    "value", ["[]", "{}", "1", '""', '"a,b"', "[[]]", '{"a": 1}', r'"\","', r'"\\"', "null", "1.5e3"]
)
def test_more_values_than_allowed_are_refused_and_their_number_is_known(value: str) -> None:
    inside = {"[[]]": 2, '{"a": 1}': 1}.get(value, 1)

    def sent(count: int) -> bytes:
        parsed = f'{{"role": "assistant", "content": "x", "parsed": [{", ".join([value] * count)}]}}'
        return f'{{"model": "m", "messages": [{parsed}]}}'.encode()

    tight = DoorLimits(values=1000)
    parse_chat(sent(900 // (inside + 1)), tight)
    assert "1000 values" in refused(sent(1001), tight).message


def test_commas_and_brackets_in_text_are_no_values() -> None:
    text = 'a, [b], {c}: "d\\" \\,' * 5000
    sent = json.dumps(body(text)).encode()
    parse_chat(sent, DoorLimits(values=20))
    call = {"id": "1", "function": {"name": "f", "arguments": json.dumps({"a": text})}}
    sent = json.dumps(body("x", {"role": "assistant", "tool_calls": [call]})).encode()
    parse_chat(sent, DoorLimits(values=30))
    call["function"] = {"name": "f", "arguments": "[" + "1," * 5000 + "1]"}
    sent = json.dumps(body("x", {"role": "assistant", "tool_calls": [call]})).encode()
    assert "arguments" in refused(sent, DoorLimits(values=4000)).message


def test_base64_does_not_count_as_text() -> None:
    sent = json.dumps(body(user(image_part(picture(width=600, height=600)), "x"))).encode()
    assert len(sent) > 2000
    parse_chat(sent, DoorLimits(text_bytes=1000))


def test_cutting_base64_leaves_the_structure() -> None:
    long = data_url(b"\0" * 3000)
    tricky = [
        {"a": long, "b": f"text with {long} inside", "c": 'quote " then ;base64,' + "A" * 3000},
        {"a": ";base64," + "\\" * 3000, "b": [long] * 3, ";base64,": 1},
        {"a": ';base64,";base64,";base64,' + "x" * 2000 + '"', "b": ";base64," + "\n" * 2000},
    ]
    for sent in tricky:
        cut = json.loads(without_base64(json.dumps(sent).encode()))
        assert json.dumps(shape(cut)) == json.dumps(shape(sent))


def shape(value: object) -> object:
    if isinstance(value, dict):
        return {key: shape(below) for key, below in value.items()}
    if isinstance(value, list):
        return [shape(below) for below in value]
    return type(value).__name__


def test_a_byte_order_mark_before_the_body_is_skipped() -> None:
    sent = json.dumps(body(user("a", image_part(picture())))).encode()
    assert written(b"\xef\xbb\xbf" + sent) == written(sent)
