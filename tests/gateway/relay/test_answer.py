"""What is read from an engine's answer, and what of it a client may have."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.front.errors import EngineBroke
from gateway.relay.answer import DONE, MAX_EVENT_BYTES, EventSplitter, Progress, read_events, read_whole
from gateway.relay.exchange import Answer


def event(**fields: object) -> bytes:
    return b"data: " + json.dumps(fields, separators=(",", ":")).encode() + b"\n\n"


def said(text: str) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text}}])


USAGE = event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2})
ERROR = b'data: {"error": {"message": "secret"}}\n\n'


@given(st.lists(st.text(max_size=20), max_size=8), st.data())
def test_however_the_chunks_fall_the_events_come_out_the_same(texts: list[str], data: st.DataObject) -> None:
    whole = b"".join(map(said, texts)) + USAGE + DONE
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    events, out = EventSplitter(), b""
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        block = events.feed(whole[start:end])
        assert not block or block.endswith(b"\n\n")
        out += block
    assert out == whole


def test_bytes_that_come_one_by_one_are_events_only_at_their_end() -> None:
    events = EventSplitter()
    assert [events.feed(bytes([byte])) for byte in said("a")] == [b""] * (len(said("a")) - 1) + [said("a")]
    assert [events.feed(bytes([byte])) for byte in b"\n\n"] == [b"", b"\n\n"]


def test_an_event_without_end_is_refused() -> None:
    events = EventSplitter()
    events.feed(b"x" * MAX_EVENT_BYTES)
    with pytest.raises(EngineBroke):
        events.feed(b"x")


@given(st.text())
def test_no_text_of_a_model_is_taken_for_the_end_or_an_error(text: str) -> None:
    for written in (said(text + '[DONE]\n\ndata: {"error"'), said('"usage":{' + text)):
        assert read_events(written, Answer(), with_usage=False) == (written, Progress.GOES_ON)


@pytest.mark.parametrize(
    ("block", "with_usage", "passed", "progress"),
    [
        (said("a") + USAGE + DONE, False, said("a"), Progress.IS_DONE),
        (said("a") + USAGE + DONE, True, said("a") + USAGE, Progress.IS_DONE),
        (DONE, True, b"", Progress.IS_DONE),
        (said("a") + ERROR + DONE, True, said("a"), Progress.BROKE),
        (USAGE, False, b"", Progress.GOES_ON),
        (b": still there\n\n" + said("a"), True, said("a"), Progress.GOES_ON),
        (said("a").replace(b"data: ", b"data:"), True, said("a").replace(b"data: ", b"data:"), Progress.GOES_ON),
    ],
)
def test_the_end_and_errors_are_held_back(block: bytes, with_usage: bool, passed: bytes, progress: Progress) -> None:
    assert read_events(block, Answer(), with_usage=with_usage) == (passed, progress)


@pytest.mark.parametrize(
    "broken",
    [
        b'data: {"error": {"message": "secret"}}',
        b'data:{"error":{"message":"secret"}}',
        b'data: { "error" : "secret" }',
        b'data: {"object":"error","message":"secret"}',
        b'data: {"object":"error","message":"secret","choices":[{"index":0,"delta":{"content":"x"}}]}',
        b'data: {"choices":[{"index":0,"delta":{"content":"x"}}],"error":{"message":"secret"}}',
        b'data: {"detail":"secret"}',
        b'data: {"choices":[],"usage":null}',
        b"data: {}",
        b"data: secret",
        b"data: ",
        b'event: error\ndata: {"message":"secret"}',
        b"secret",
        # In JSON the end of a line may be a blank: a client would read two lines, of which the second is no data.
        b'data: {"choices":[{"index":0,"delta":{"content":"x"}}],\n"x":1}',
        b'data: {"choices":[{"index":0,"delta":{"content":"x"}}],\r"x":1}',
        b': ping\ndata: {"choices":[{"index":0,"delta":{"content":"x"}}]}',
        b'data: {"choices":[{"index":0,"delta":{"content":"\xff"}}]}',
        b'data: {"choices":[],"usage":{"prompt_tokens":-1}}',
        b'data: {"choices":[],"usage":{"prompt_tokens":9223372036854775807}}',
        b'data: {"choices":[{"finish_reason":"' + b"x" * 65 + b'"}]}',
        b'data: {"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
)
def test_what_is_no_part_of_an_answer_breaks_it_and_is_passed_to_nobody(broken: bytes) -> None:
    answer = Answer()
    passed, progress = read_events(said("a") + broken + b"\n\n" + said("b") + DONE, answer, with_usage=True)
    assert (passed, progress) == (said("a"), Progress.BROKE)
    # The record's digest is of what the client got.
    assert answer.sha256.digest() == hashlib.sha256(b"a").digest()


@given(st.lists(st.text(min_size=1)))
def test_the_digest_of_a_stream_is_that_of_its_text(texts: list[str]) -> None:
    streamed, whole = Answer(), Answer()
    for text in texts:
        read_events(said(text), streamed, with_usage=True)
    read_events(USAGE + DONE, streamed, with_usage=True)
    message = {"content": "".join(texts), "reasoning": "why"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    read_whole(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}).encode(), whole)
    expected = hashlib.sha256("".join(texts).encode()).digest()
    assert streamed.sha256.digest() == whole.sha256.digest() == expected
    assert streamed.chars == whole.chars == len("".join(texts))
    assert (whole.finish, whole.reasoning_chars, streamed.completion_tokens) == ("stop", 3, 2)


def test_tool_calls_are_part_of_the_answer() -> None:
    answer = Answer()
    call = {"function": {"name": "count", "arguments": '{"a":1}'}}
    read_events(event(choices=[{"index": 0, "delta": {"tool_calls": [call]}}]), answer, with_usage=True)
    assert answer.sha256.digest() == hashlib.sha256(b'count{"a":1}').digest()


@given(st.binary(max_size=200))
def test_garbage_is_an_engine_that_broke_and_nothing_worse(garbage: bytes) -> None:
    with pytest.raises(EngineBroke):
        read_whole(garbage, Answer())


def test_usage_beside_choices_is_passed_on_and_not_taken_for_the_answers() -> None:
    running = event(
        choices=[{"index": 0, "delta": {"content": "a"}}], usage={"prompt_tokens": 3, "completion_tokens": 1}
    )
    answer = Answer()
    passed, _ = read_events(running * 2, answer, with_usage=True)
    assert passed == running * 2
    assert (answer.prompt_tokens, answer.completion_tokens) == (None, None)
    passed, progress = read_events(running + USAGE + DONE, answer, with_usage=True)
    assert (passed, progress) == (running + USAGE, Progress.IS_DONE)
    assert (answer.prompt_tokens, answer.completion_tokens) == (3, 2)
