"""Boxes for programs: JSON in pixels or plain numbers instead of a model's marks, whole or in a stream, however it is cut."""

import hashlib
import io
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

from gateway.door.image_headers.orientation import lies_on_its_side
from gateway.relay.answer import Progress, read_events, read_whole
from gateway.relay.boxes import BEGIN, END, Boxes, BoxText, label_before
from gateway.relay.exchange import Answer
from gateway.relay.rewriting import Rewriting
from tests.gateway.door.bodies import body, image_part, parse, picture, user
from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway, question

CIRCLE = f"A red circle {BEGIN}[[75,335,400,665]]{END}."


def written(text: str, sizes: Any = ((200, 100),), boxes: Boxes = Boxes.JSON) -> str:
    made = BoxText(boxes, sizes)
    return made.feed(text) + made.finish()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CIRCLE, 'A red circle [{"label":"A red circle","bbox":[15,34,80,66]}].'),
        (f"{BEGIN}[0,0,1000,1000]{END}", '[{"label":"","bbox":[0,0,200,100]}]'),
        (
            f"1. 红色圆形 {BEGIN}[[0,0,500,500]]{END}\n2. 蓝色：{BEGIN}[[500,500,1000,1000]]{END}",
            '1. 红色圆形 [{"label":"红色圆形","bbox":[0,0,100,50]}]\n2. 蓝色：[{"label":"蓝色","bbox":[100,50,200,100]}]',
        ),
        (
            f"two {BEGIN}[[0,0,10,10],[20,20,30,30]]{END}",
            'two [{"label":"","bbox":[0,0,2,1]},{"label":"","bbox":[4,2,6,3]}]',
        ),
        (
            f'{BEGIN}[{{"bbox_2d": [100, 100, 300, 300], "label": "cat"}}]{END}',
            '[{"label":"cat","bbox":[20,10,60,30]}]',
        ),
        (f"{BEGIN}[[900,900,100,2000]]{END}", '[{"label":"","bbox":[20,90,180,100]}]'),
        (f"The sum is {BEGIN}27.90{END}.", "The sum is 27.90."),
        (f"{BEGIN}[[1,2,3]]{END}{BEGIN}[]{END}{BEGIN}{{}}{END}{BEGIN}[true,1,2,3]{END}", "[[1,2,3]][]{}[true,1,2,3]"),
        (f"cut {BEGIN}[[1,2,", "cut [[1,2,"),
        (f"cut {BEGIN}[[0,0,500,500]]", 'cut [{"label":"cut","bbox":[0,0,100,50]}]'),
        ("a < b <| c <|begin_of_", "a < b <| c <|begin_of_"),
        (f"lost {END} end", "lost  end"),
        (f"{BEGIN}{'x' * 20_000}{END} after", "x" * 20_000 + " after"),
        ("", ""),
    ],
    ids=range(14),
)
def test_boxes_become_json_in_pixels_and_all_else_stays(text: str, expected: str) -> None:
    assert written(text) == expected


def test_plain_text_has_the_numbers_and_no_marks() -> None:
    assert written(CIRCLE, boxes=Boxes.PLAIN) == "A red circle [[75,335,400,665]]."
    assert written(f"The sum is {BEGIN}27.90{END}.", boxes=Boxes.PLAIN) == "The sum is 27.90."


@pytest.mark.parametrize(
    ("line", "label"),
    [("a red circle ", "a red circle"), ("- **Cat**: ", "Cat"), ("left, a dog ", "a dog"), ("x" * 41, ""), ("", "")],
)
def test_a_label_is_what_the_line_says_before(line: str, label: str) -> None:
    assert label_before(line) == label


def test_of_several_pictures_the_one_is_told_that_is_known() -> None:
    sizes = [(200, 100), (1000, 1000)]
    box = f"{BEGIN}[[0,0,500,500]]{END}"
    assert written(f"cat {box}", sizes) == 'cat [{"label":"cat","bbox_1000":[0,0,500,500]}]'
    assert '"image":2,"bbox":[0,0,500,500]' in written(f"In image 2 the cat {box}", sizes)
    assert '"image":1,"bbox":[0,0,100,50]' in written(f"图1中的猫 {box}", sizes)
    named = f'{BEGIN}[{{"image": 2, "label": "cat", "bbox": [0,0,500,500]}}]{END}'
    assert '"image":2,"bbox":[0,0,500,500]' in written(named, sizes)
    assert "bbox_1000" in written(f"In image 3 the cat {box}", sizes)
    assert '"bbox":[0,0,5,5]' in written(f"cat {box}", [(10, 10), (10, 10)])
    assert "bbox_1000" in written(f"cat {box}", [])


PIECES = st.sampled_from(
    [BEGIN, END, "[[1,2,300,400]]", "[[", "7", '{"bbox":[1,2,3,4],"label":"a"}']
) | st.sampled_from(["<", "<|", "<|begin", "_of_box|>", "\n", "a cat ", "图", ", "])
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=14).map("".join)


@given(TEXTS, st.lists(st.integers(0, 200), max_size=12), st.sampled_from(Boxes))
def test_however_a_text_is_cut_the_result_is_the_same(text: str, cuts: list[int], boxes: Boxes) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    made = BoxText(boxes, [(640, 480)])
    pieces = [made.feed(text[a:b]) for a, b in itertools.pairwise(places)]
    assert "".join(pieces) + made.finish() == written(text, [(640, 480)], boxes)
    assert made.finish() == ""


@given(st.text(max_size=60).filter(lambda text: BEGIN not in text and END not in text), st.sampled_from(Boxes))
def test_a_text_without_marks_stays_as_it_is(text: str, boxes: Boxes) -> None:
    assert written(text, boxes=boxes) == text


def test_a_very_long_inside_is_cut_alike_however_it_comes() -> None:
    text = f"a {BEGIN}[{'1,' * 20_000}2]{END} b"
    for step in (1, 7, 4096, 16_384, 16_400):
        made = BoxText(Boxes.JSON, [])
        assert "".join(made.feed(text[at : at + step]) for at in range(0, len(text), step)) + made.finish() == written(
            text
        )


def event(choices: list[dict[str, Any]]) -> bytes:
    return b"data: " + json.dumps({"id": "a", "choices": choices}).encode() + b"\n\n"


@given(TEXTS, TEXTS)
def test_choices_of_a_stream_are_kept_apart_and_the_digest_is_of_what_the_client_got(one: str, other: str) -> None:
    answer, rewriting = Answer(), Rewriting(Boxes.JSON, [(100, 100)])
    block = b"".join(
        event([{"index": index, "delta": {"content": char}, "finish_reason": None}])
        for pair in zip(one.ljust(20), other.ljust(20), strict=False)  # of the longer one the rest is not sent
        for index, char in enumerate(pair)
    )
    block += event([{"index": 0, "delta": {}, "finish_reason": "stop"}]) + b"data: [DONE]\n\n"
    passed, progress = read_events(block, answer, with_usage=True, rewriting=rewriting)
    assert progress is Progress.IS_DONE
    said, digest = ["", ""], hashlib.sha256()
    for line in passed.split(b"\n\n")[:-1]:
        for choice in json.loads(line.removeprefix(b"data: "))["choices"]:
            said[choice["index"]] += choice["delta"].get("content", "")
            digest.update(choice["delta"].get("content", "").encode("utf-8", "surrogatepass"))
    length = min(len(one.ljust(20)), len(other.ljust(20)))
    assert said == [written(text.ljust(20)[:length], [(100, 100)]) for text in (one, other)]
    assert answer.sha256.digest() == digest.digest()


def test_tool_calls_reasoning_and_usage_stay() -> None:
    message = {"content": CIRCLE, "reasoning": CIRCLE, "tool_calls": [{"function": {"name": "f", "arguments": CIRCLE}}]}
    sent = {
        "choices": [{"message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    made = json.loads(read_whole(json.dumps(sent).encode(), Answer(), Rewriting(Boxes.JSON, [(1000, 1000)])))
    content = made["choices"][0]["message"].pop("content")
    assert '"bbox":[75,335,400,665]' in content
    del message["content"]
    assert made == sent


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["json", "JSON", "plain", "model", "Model", None])
def test_a_client_asks_by_a_header_and_is_told(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str, kind: str | None, stream: bool
) -> None:
    engine.script = [{"role": "assistant", "content": ""}, *({"content": char} for char in CIRCLE)]
    headers = {} if kind is None else {"X-Vitrine-Boxes": kind}
    sent = question(stream=stream, messages=[user("Where?", image_part(picture(width=200, height=100)))])
    if not stream:
        usage = {"prompt_tokens": 7, "completion_tokens": 2}
        message = {"role": "assistant", "content": CIRCLE}
        engine.raw = json.dumps(
            {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
        ).encode()
    answer = gateway.request("POST", "/v1/chat/completions", key=key, body=sent, headers=headers)
    assert answer.status == 200
    text = _text(answer.body, stream)
    boxes = None if kind is None or kind.lower() == "model" else Boxes(kind.lower())
    assert text == (CIRCLE if boxes is None else written(CIRCLE, boxes=boxes))
    assert answer.headers.get("x-vitrine-boxes") == boxes
    admitted = ledger.records(kind="admit", id=answer.headers["x-audit-id"])[0]
    assert admitted["params"].get("boxes") == boxes


def _text(body: bytes, stream: bool) -> str:
    if not stream:
        return str(json.loads(body)["choices"][0]["message"]["content"])
    events = [json.loads(line.removeprefix(b"data: ")) for line in body.split(b"\n\n") if line.startswith(b"data: {")]
    return "".join(choice["delta"].get("content") or "" for one in events for choice in one["choices"])


def test_a_word_that_means_nothing_is_refused_with_those_that_do(
    gateway: Gateway, engine: FakeEngine, key: str
) -> None:
    answer = gateway.request(
        "POST", "/v1/chat/completions", key=key, body=question(), headers={"X-Vitrine-Boxes": "xml"}
    )
    assert (answer.status, answer.error["code"]) == (400, "invalid_value")
    assert "json, plain or model" in answer.error["message"]
    assert engine.bodies == []


@pytest.mark.parametrize("turn", range(9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_that_lies_on_its_side_has_its_upright_size(kind: str, turn: int) -> None:
    exif = Picture.Exif()
    exif[0x0112] = turn
    out = io.BytesIO()
    Picture.new("RGB", (64, 48)).save(out, kind, exif=exif)
    request = parse(body(user("x", image_part(out.getvalue(), f"image/{kind.lower()}"))))
    assert request.images[0].upright == ((48, 64) if turn in (5, 6, 7, 8) else (64, 48))


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP"]))
def test_broken_metadata_means_upright(data: bytes, start: bytes) -> None:
    assert lies_on_its_side(start + data) in (True, False)
    assert not lies_on_its_side(data[:3])
