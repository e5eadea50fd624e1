"""`max_tokens` beyond the context: the engine lowers it to what the prompt leaves, and the answer says how far."""

import json
from typing import Any

import pytest

from gateway.relay import limit_policy
from gateway.relay.answer import read_events
from gateway.relay.exchange import Answer
from gateway.relay.rewriting import Rewriting
from tests.gateway.relay.test_refusals import CONTEXT, asked, refused, told
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway

LEFT = CONTEXT - 7  # the fake engine says of every prompt that it has seven tokens
HEADER = "x-vitrine-max-tokens"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tokens", [LEFT + 1, CONTEXT, CONTEXT + 1, 32_000, 10**15])
def test_more_than_the_prompt_leaves_is_lowered_and_said(
    gateway: Gateway, engine: FakeEngine, key: str, name: str, stream: bool, tokens: int
) -> None:
    answer = gateway.chat(key, stream=stream, **{name: tokens})
    assert (answer.status, answer.headers[HEADER]) == (200, str(LEFT))
    assert engine.bodies[0]["max_completion_tokens"] == min(tokens, CONTEXT)
    assert len(engine.bodies) == 1


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tokens", [1, 16, LEFT, None])
def test_what_fits_is_not_mentioned(gateway: Gateway, engine: FakeEngine, key: str, stream: bool, tokens: Any) -> None:
    answer = gateway.chat(key, stream=stream, max_tokens=tokens)
    assert answer.status == 200
    assert HEADER not in answer.headers


def test_a_client_sees_the_stream_as_if_nothing_were_counted(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    plain, counted = gateway.chat(key, stream=True, max_tokens=16), gateway.chat(key, stream=True, max_tokens=9999)
    assert "continuous_usage_stats" not in engine.bodies[0]["stream_options"]
    assert engine.bodies[1]["stream_options"]["continuous_usage_stats"] is True
    assert _events(counted.body) == _events(plain.body)


def test_a_client_that_asks_for_usage_in_every_event_has_it(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    answer = gateway.chat(key, stream=True, max_tokens=9999, stream_options=options)
    assert all("usage" in event for event in _events(answer.body))
    assert answer.headers[HEADER] == str(LEFT)


def _events(body: bytes) -> list[Any]:
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n\n") if line]
    assert lines.pop() == b"[DONE]"
    return [json.loads(line) for line in lines]


def test_the_reservation_is_what_the_context_can_hold() -> None:
    for tokens in (CONTEXT, 10**9):
        request = asked(max_tokens=tokens)
        prompt = limit_policy.prompt_tokens(request)
        assert limit_policy.reservation(request, prompt, 100, CONTEXT) == CONTEXT


def test_usage_beside_choices_is_taken_out_where_only_the_gateway_asked_for_it() -> None:
    block = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":7}}\n\n'
    answer = Answer()
    passed, _ = read_events(block, answer, with_usage=True, rewriting=Rewriting(None, counted=True))
    assert passed == b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    assert (answer.prompt_seen, answer.prompt_tokens) == (7, None)
    assert read_events(block, Answer(), with_usage=True)[0] == block


def test_more_min_tokens_than_an_answer_can_have_are_the_callers() -> None:
    judgement = told(refused("min_tokens must be less than or equal to max_tokens=20, got 30."), min_tokens=30)
    assert (judgement.error.status, judgement.error.code, judgement.error.param) == (400, "invalid_value", "min_tokens")
    assert "20" in judgement.error.message
    assert not judgement.unknown


@pytest.mark.parametrize("text", ["This model's maximum context length is", "context_length_exceeded"])
def test_clients_find_the_words_that_they_look_for(text: str) -> None:
    """The first is LiteLLM's for ContextWindowExceededError (exception_mapping_utils.py), the second LangChain's."""
    error = told(
        refused(
            "This model's maximum context length is 4096 tokens. However, your prompt contains 5000 input tokens",
            "input_tokens",
        )
    ).error
    assert text.lower() in f"Error code: 400 - {{'message': '{error.message}', 'code': '{error.code}'}}".lower()
