"""What an engine refuses: every refusal that vLLM 0.32 was seen to give for what may reach it, and what the client is told."""

import json
import re
from typing import Any

import pytest

from gateway.door import ChatRequest, DoorLimits, digest_images, parse_chat
from gateway.front.errors import BadRequest, EngineBroke
from gateway.relay import refusals
from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway, question
from tests.support.scrape import scrape

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
CONTEXT = 4096


def refused(message: str, param: str | None = None, status: int = 400) -> tuple[int, dict[str, Any]]:
    kind = "InternalServerError" if status == 500 else "BadRequestError"
    return status, {"message": message, "type": kind, "param": param, "code": status}


AT_LEAST = refused(
    "This model's maximum context length is 4096 tokens. However, your prompt contains at least 4097 input tokens, which exceeds"
    " this limit even without any output tokens. Please reduce the length of the input prompt.",
    "input_tokens",
)
CHARACTERS = refused(
    "This model's maximum context length is 4096 tokens. However, your prompt contains 4500059 characters (more than 106496"
    " characters, which is the upper bound for 4096 input tokens). Please reduce the length of the input prompt."
    " (parameter=input_text, value=4500059)",
    "input_text",
)
ANSWER = refused(
    "max_completion_tokens=8000 cannot be greater than max_model_len=4096. Please request fewer output tokens."
    " (parameter=max_completion_tokens, value=8000)",
    "max_completion_tokens",
)
EXACT = refused(
    "This model's maximum context length is 4096 tokens. However, your prompt contains 5000 input tokens, which exceeds this limit"
    " even without any output tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value=5000)",
    "input_tokens",
)
INTERNAL = refused("Internal server error", status=500)
GRAMMAR = {
    "type": refused("Grammar error: Invalid type: str"),
    "ref": refused("Grammar error: Pointer '/definitions/none' does not exist"),
    "uniqueItems": refused('Grammar error: Unimplemented keys: ["uniqueItems"]'),
    "pattern": refused("Grammar error: regex parse error:\n    (\n    ^\nerror: unclosed group"),
    "tools": refused("Invalid grammar specification: 'triggers'"),
    "tools, with one backend": refused("Invalid structural tag specification."),
    "xgrammar": refused(
        "Failed to transform json schema into a grammar: [00:00:00] /project/cpp/x.cc:1: items must be"
    ),
    "features": refused("The provided JSON schema contains features not supported by xgrammar."),
    "compiled too late": INTERNAL,
}


def asked(**changes: Any) -> ChatRequest:
    request = parse_chat(json.dumps(question(**changes)).encode(), DoorLimits())
    digest_images(request)
    return request


def told(given: tuple[int, dict[str, Any]], context: int | None = CONTEXT, **changes: Any) -> refusals.Judgement:
    """The judgement, which must be the same for a whole answer and for a stream."""
    status, error = given
    request = asked(**changes)
    of_answer = refusals.of_answer(status, json.dumps({"error": error}).encode(), request, context)
    of_event = refusals.of_event(json.dumps(error).encode(), request, context)
    assert (of_answer.error.message, of_answer.error.code) == (of_event.error.message, of_event.error.code)
    assert type(of_answer.error) is type(of_event.error)
    return of_answer


def numbers(message: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", message)]


@pytest.mark.parametrize("given", [AT_LEAST, CHARACTERS, ANSWER, EXACT])
def test_a_context_that_is_too_long_is_told_in_openais_words(given: tuple[int, dict[str, Any]]) -> None:
    error = told(given, max_tokens=8000).error
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    found = re.match(
        r"This model's maximum context length is 4096 tokens\. However, you requested (\d+) tokens \((\d+) in the messages, 8000 in"
        r" the completion\)\. Please reduce the length of the messages or completion\.",
        error.message,
    )
    assert found, error.message
    assert int(found[1]) == int(found[2]) + 8000 > CONTEXT


def test_the_engines_own_count_is_told_and_where_it_stopped_counting_the_larger_estimate() -> None:
    assert "(5000 in the messages" in told(EXACT, max_tokens=10).error.message
    assert "(4097 in the messages" in told(AT_LEAST, max_tokens=10).error.message
    text = [{"role": "user", "content": "circle " * 30_000}]
    assert numbers(told(AT_LEAST, max_tokens=10, messages=text).error.message)[2] > 60_000
    assert numbers(told(CHARACTERS, max_tokens=10, messages=text).error.message)[2] > 60_000


def test_without_max_tokens_the_messages_alone_are_told() -> None:
    message = told(EXACT).error.message
    assert message.startswith(
        "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens. Please reduce"
    )


def test_pictures_are_told_where_there_are_any() -> None:
    assert "1 picture(s) take " in told(EXACT).error.message
    assert "picture" not in told(EXACT, messages=[{"role": "user", "content": "x"}]).error.message


@pytest.mark.parametrize("what", GRAMMAR)
@pytest.mark.parametrize(
    ("changes", "param"),
    [({"tools": [TOOL]}, "tools"), ({"response_format": FORMAT}, "response_format")],
    ids=["tools", "response_format"],
)
def test_a_schema_that_no_grammar_can_hold_is_the_callers_to_change(what: str, changes: Any, param: str) -> None:
    error = told(GRAMMAR[what], **changes).error
    assert isinstance(error, BadRequest)
    assert (error.code, error.param) == ("unsupported_parameter", param)
    assert "JSON Schema" in error.message


def test_a_request_that_fails_without_a_schema_is_the_engines_fault() -> None:
    assert isinstance(told(INTERNAL).error, EngineBroke)
    dead = refused("EngineCore encountered an issue. See stack trace (above) for the root cause.", status=500)
    assert isinstance(told(dead, tools=[TOOL]).error, EngineBroke)
    for status in (401, 403, 404, 405, 408, 429, 500, 502, 503):
        assert isinstance(told(refused("anything", status=status), tools=[TOOL]).error, EngineBroke)


@pytest.mark.parametrize("param", ["logit_bias", "stop_token_ids"])
def test_a_token_id_that_the_model_does_not_have_is_named(param: str) -> None:
    given = refused(f"token_id(s) [9] in {param} contain out-of-vocab token ids. Vocabulary size: 1860", param)
    error = told(given).error
    assert (error.status, error.code, error.param) == (400, "invalid_value", param)


PICTURES = refused(
    "At most 8 image(s) may be provided in one prompt. Set `--limit-mm-per-prompt` to increase this limit.", "image"
)


def test_more_pictures_than_the_model_takes_are_told_in_numbers() -> None:
    error = told(PICTURES).error
    assert (error.status, error.code, error.param) == (400, "over_limit", "messages")
    assert numbers(error.message) == [1, 8]


KNOWN = [AT_LEAST, CHARACTERS, ANSWER, EXACT, PICTURES, *GRAMMAR.values()]


@pytest.mark.parametrize("given", KNOWN, ids=lambda given: given[1]["message"][:30])
def test_every_known_refusal_has_words_of_its_own(given: tuple[int, dict[str, Any]]) -> None:
    assert told(given, tools=[TOOL]).unknown == ""


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (refused("/srv/secret is not there"), "400 BadRequestError"),
        (refused("secret", "temperature"), "400 BadRequestError temperature"),
        (refused("secret", "a secret\n"), "400 BadRequestError"),
        ((422, {"message": "x", "type": "secret", "param": None, "code": 422}), "422 other"),
        ((501, {"message": "x", "type": "NotImplementedError", "param": None, "code": 501}), "501 NotImplementedError"),
    ],
)
def test_an_unknown_refusal_is_a_400_that_is_logged_by_its_kind(given: tuple[int, dict[str, Any]], kind: str) -> None:
    judgement = told(given)
    assert (judgement.error.status, judgement.error.code, judgement.unknown) == (400, "engine_refused", kind)
    assert "secret" not in judgement.error.message + judgement.unknown


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"\xff", b'{"error":7}', b"[" * 5000, b'{"error":{"code":"x"}}'])
def test_an_error_that_is_none_is_judged_by_its_status(body: bytes) -> None:
    assert refusals.of_answer(400, body, asked(), CONTEXT).error.code == "engine_refused"
    assert isinstance(refusals.of_answer(500, body, asked(), CONTEXT).error, EngineBroke)
    assert isinstance(refusals.of_event(body, asked(), CONTEXT).error, EngineBroke)


OPENING = b'data: {"id":"a","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n'


@pytest.mark.parametrize("opened", [b"", OPENING, OPENING * 8], ids=["at once", "after an opening", "after eight"])
@pytest.mark.parametrize("what", GRAMMAR)
def test_a_stream_that_is_refused_before_its_first_token_is_a_400(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str, what: str, opened: bytes
) -> None:
    engine.raw = opened + b"data: " + json.dumps({"error": GRAMMAR[what][1]}).encode() + b"\n\ndata: [DONE]\n\n"
    before = scrape(gateway.metrics_port)
    answer = gateway.chat(key, stream=True, tools=[TOOL])
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "unsupported_parameter", "tools")
    assert answer.headers["x-audit-id"]
    ended = ledger.records(kind="complete", id=answer.headers["x-audit-id"])
    assert [(record["outcome"], record["status"]) for record in ended] == [("refused", 400)]
    assert len(engine.bodies) == 1
    assert _failures(scrape(gateway.metrics_port)) == _failures(before)


@pytest.mark.parametrize("what", GRAMMAR)
def test_a_whole_answer_that_is_refused_sets_no_engine_aside(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str, what: str
) -> None:
    engine.raw_status, error = GRAMMAR[what]
    engine.raw = json.dumps({"error": error}).encode()
    before = scrape(gateway.metrics_port)
    for _ in range(4):  # more than make an engine a suspect
        answer = gateway.chat(key, tools=[TOOL])
        assert (answer.status, answer.error["code"]) == (400, "unsupported_parameter")
    assert len(engine.bodies) == 4
    assert _failures(scrape(gateway.metrics_port)) == _failures(before)


def _failures(found: dict[str, float]) -> dict[str, float]:
    return {
        name: value
        for name, value in found.items()
        if value and name.startswith(("vitrine_engine_failures_total", "vitrine_retries_total"))
    }


def test_a_stream_without_a_word_still_arrives(gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str) -> None:
    end = b'data: {"id":"a","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    engine.raw = OPENING + end + b"data: [DONE]\n\n"
    answer = gateway.chat(key, stream=True)
    assert (answer.status, answer.body) == (200, engine.raw)


def test_an_unknown_refusal_is_logged_without_its_text(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str
) -> None:
    engine.raw_status = 400
    engine.raw = json.dumps({"error": refused("a-secret-of-the-engine", "top_p")[1]}).encode()
    answer = gateway.chat(key)
    assert (answer.status, answer.error["code"]) == (400, "engine_refused")
    line = gateway.process.line_with("engine_refused")
    assert "400 BadRequestError top_p" in line
    assert answer.headers["x-request-id"] in line
    assert "a-secret-of-the-engine" not in gateway.process.output
