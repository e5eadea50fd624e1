"""Parameters: each within its limit, none against another, and what is in effect reaches the engine."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from tests.gateway.door.bodies import LIMITS, body, image_part, parse, picture, refused, user, written

SEE = {"type": "function", "function": {"name": "see"}}
SAY = {
    "type": "function",
    "function": {"name": "say", "description": "x", "parameters": {"type": "object"}, "strict": True},
}

PASSING: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "frequency_penalty": -2.0,
    "presence_penalty": 2.0,
    "top_k": -1,
    "min_p": 1.0,
    "repetition_penalty": 0.1,
    "min_tokens": 5,
    "ignore_eos": True,
    "stop_token_ids": [0, 151_329],
    "skip_special_tokens": False,
    "seed": 2**63 - 1,
    "stop": ["a", "b"],
    "logprobs": True,
    "top_logprobs": 20,
    "logit_bias": {"5": -100.0},
    "n": 8,
    "parallel_tool_calls": False,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "x", "strict": True, "schema": {"type": "object", "default": None}},
    },
}


def test_openais_parameters_reach_the_engine_as_they_came() -> None:
    made = written(body(**PASSING))
    for name, value in PASSING.items():
        assert made[name] == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 2.1),
        ("temperature", -0.1),
        ("top_p", 0),
        ("top_p", 1.1),
        ("frequency_penalty", 3),
        ("presence_penalty", -2.5),
        ("top_k", -2),
        ("top_k", 2**31),
        ("top_k", 1.5),
        ("min_p", 1.1),
        ("min_p", -0.1),
        ("repetition_penalty", 0),
        ("repetition_penalty", 10.5),
        ("min_tokens", -1),
        ("ignore_eos", "yes"),
        ("stop_token_ids", [-1]),
        ("stop_token_ids", [10**7]),
        ("stop_token_ids", list(range(17))),
        ("stop_token_ids", 5),
        ("skip_special_tokens", 1),
        ("do_sample", "no"),
        ("enable_thinking", "no"),
        ("continue_final_message", True),
        ("add_generation_prompt", False),
        ("n", 0),
        ("n", 9),
        ("n", 1.5),
        ("n", True),
        ("seed", "1"),
        ("seed", 0.5),
        ("max_tokens", 0),
        ("max_tokens", -1),
        ("max_tokens", 1.5),
        ("top_logprobs", 21),
        ("top_logprobs", -1),
        ("top_logprobs", 5),
        ("logit_bias", {"a": 1}),
        ("logit_bias", {"1": 101}),
        ("logit_bias", {"-1": 1}),
        ("logit_bias", {"01": 1, "1": 1}),
        ("logit_bias", {str(i): 1 for i in range(301)}),
        ("stop", ["a"] * 5),
        ("stop", [""]),
        ("stop", ""),
        ("stop", "x" * 257),
        ("stop", [1]),
        ("stream", "yes"),
        ("stream_options", {"include_usage": True}),
        ("logprobs", 5),
        ("metadata", {"k" * 65: "v"}),
        ("metadata", {"k": "v" * 513}),
        ("metadata", {str(i): "" for i in range(17)}),
        ("metadata", {"k": 1}),
        ("user", "x" * 513),
        ("user", 7),
        ("model", ""),
        ("model", "x" * 257),
        ("reasoning_effort", "extreme"),
        ("tools", [SEE] * 2),
        ("tool_choice", "required"),
        ("tool_choice", SEE),
        ("tool_choice", "see"),
        ("response_format", {"type": "json_schema"}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "x"}}),
        ("response_format", {"type": "regex"}),
        ("response_format", "json"),
        ("thinking", {"type": "auto"}),
        ("thinking", True),
    ],
)
def test_a_parameter_beyond_its_limits_is_refused_by_name(name: str, value: Any) -> None:
    error = refused(body(**{name: value}))
    assert error.status == 400
    assert (error.param or "").startswith(name)


def test_max_tokens_has_two_names_and_one_value() -> None:
    for fields in ({"max_tokens": 5}, {"max_completion_tokens": 5}, {"max_tokens": 5, "max_completion_tokens": 5}):
        assert parse(body(**fields)).max_tokens == 5
        made = written(body(**fields))
        assert made["max_completion_tokens"] == 5
        assert "max_tokens" not in made
    assert refused(body(max_tokens=5, max_completion_tokens=6)).param == "max_tokens"


def test_max_tokens_is_capped_or_defaulted_where_the_policy_says_so() -> None:
    assert parse(body()).max_tokens is None
    policy = replace(LIMITS, max_tokens=100, over_max_tokens="cap", default_max_tokens=50)
    assert parse(body(), policy).max_tokens == 50
    assert written(body(max_tokens=1000), policy)["max_completion_tokens"] == 100
    assert parse(body(max_tokens=10**6)).max_tokens == 10**6
    assert parse(body(max_tokens=10**18)).max_tokens == 10**9
    assert refused(body(max_tokens=101), replace(LIMITS, max_tokens=100)).param == "max_tokens"
    assert refused(body(min_tokens=101), replace(LIMITS, max_tokens=100)).param == "min_tokens"


@pytest.mark.parametrize(
    ("fields", "on"),
    [
        ({}, None),
        ({"thinking": {"type": "enabled"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"chat_template_kwargs": {}}, None),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "low"}, True),
        ({"reasoning_effort": "high", "thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "enabled"}, "chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"enable_thinking": False}, False),
        ({"enable_thinking": True, "reasoning_effort": "none"}, True),
        ({"chat_template_kwargs": {"thinking": False}}, False),
        ({"chat_template_kwargs": {"thinking": True, "enable_thinking": True}, "enable_thinking": True}, True),
        ({"thinking": {"type": "disabled", "clear_thinking": False, "budget_tokens": 5}}, False),
        ({"thinking": {"clear_thinking": True}}, None),
        ({"chat_template_kwargs": {"enable_thinking": True, "clear_thinking": False}}, True),
    ],
)
def test_thinking_has_one_switch_in_the_engine(fields: dict[str, Any], on: bool | None) -> None:
    made = written(body(**fields))
    assert made.get("chat_template_kwargs") == (None if on is None else {"enable_thinking": on})
    assert "thinking" not in made


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"thinking": {"type": "enabled"}, "chat_template_kwargs": {"enable_thinking": False}}, "thinking"),
        ({"thinking": {"type": "disabled"}, "enable_thinking": True}, "thinking"),
        ({"enable_thinking": True, "chat_template_kwargs": {"thinking": False}}, "enable_thinking"),
        (
            {"chat_template_kwargs": {"thinking": False, "enable_thinking": True}},
            "chat_template_kwargs.enable_thinking",
        ),
    ],
)
def test_two_switches_that_differ_are_refused(fields: dict[str, Any], param: str) -> None:
    error = refused(body(**fields))
    assert error.param == param
    assert "contradict" in error.message


def test_do_sample_false_is_temperature_0() -> None:
    assert written(body(do_sample=False))["temperature"] == 0
    assert written(body(do_sample=False, temperature=0.7))["temperature"] == 0
    assert written(body(do_sample=True, temperature=0.7))["temperature"] == 0.7
    made = written(body(do_sample=True))
    assert "temperature" not in made
    assert "do_sample" not in made


def test_min_tokens_is_not_over_what_the_answer_may_have() -> None:
    assert written(body(min_tokens=5, max_tokens=5))["min_tokens"] == 5
    assert refused(body(min_tokens=6, max_tokens=5)).param == "min_tokens"


BEGUN = {"role": "assistant", "content": "The colour is"}


def test_the_last_turn_is_continued() -> None:
    parts = {"role": "assistant", "content": [{"type": "text", "text": "The "}, {"type": "text", "text": "colour"}]}
    for last in (BEGUN, parts, {**BEGUN, "reasoning_content": "Red."}):
        for more in ({}, {"add_generation_prompt": False}):
            made = written(body("What?", last, continue_final_message=True, **more))
            assert made["continue_final_message"] is True
            assert made["add_generation_prompt"] is False
    made = written(body("What?", BEGUN, continue_final_message=False, add_generation_prompt=True))
    assert not {"continue_final_message", "add_generation_prompt"} & made.keys()


@pytest.mark.parametrize(
    "last",
    [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": "  "},
        {"role": "assistant", "content": "<think>a</think>b"},
        {"role": "assistant", "content": "x", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": ""}}]},
        {"role": "assistant", "content": "a<|user|>"},
    ],
)
def test_a_turn_that_cannot_be_continued_is_refused(last: dict[str, Any]) -> None:
    assert refused(body("What?", last, continue_final_message=True)).status == 400


def test_a_turn_is_not_continued_and_begun_at_once() -> None:
    error = refused(body("What?", BEGUN, continue_final_message=True, add_generation_prompt=True))
    assert error.param == "add_generation_prompt"


def test_usage_in_every_event_needs_the_usage_event() -> None:
    both = {"include_usage": True, "continuous_usage_stats": True}
    assert written(body(stream=True, stream_options=both))["stream_options"] == both
    for options in ({"continuous_usage_stats": True}, {"include_usage": False, "continuous_usage_stats": True}):
        assert written(body(stream=True, stream_options=options))["stream_options"] == {"include_usage": True}


def test_tools_and_their_choice() -> None:
    assert written(body(tools=[SEE, SAY]))["tools"] == [SEE, SAY]
    assert written(body(tools=[SEE], tool_choice="required"))["tool_choice"] == "required"
    assert written(body(tools=[SEE, SAY], tool_choice=SEE))["tool_choice"] == SEE
    assert "tools" not in written(body(tools=[], tool_choice="auto"))
    assert "tool_choice" not in written(body(tool_choice="none"))
    assert refused(body(tools=[SAY], tool_choice=SEE)).param == "tool_choice"


def test_allowed_tools_narrow_what_the_model_sees() -> None:
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [SEE]}}
    made = written(body(tools=[SAY, SEE], tool_choice=choice))
    assert (made["tools"], made["tool_choice"]) == ([SEE], "required")
    assert refused(body(tools=[SAY], tool_choice=choice)).param == "tool_choice"
    choice["allowed_tools"] = {"mode": "auto", "tools": []}
    assert refused(body(tools=[SAY], tool_choice=choice)).param == "tool_choice"


def test_too_many_or_too_large_tools_are_refused() -> None:
    many = [{"type": "function", "function": {"name": f"f{i}"}} for i in range(129)]
    assert "128" in refused(body(tools=many)).message
    large = [{"type": "function", "function": {"name": f"f{i}", "description": "x" * 50_000}} for i in range(6)]
    assert "262144" in refused(body(tools=large)).message


def test_usage_is_always_asked_for_in_a_stream() -> None:
    for options in (None, {}, {"include_usage": False}, {"include_usage": True}):
        sent = body(stream=True, stream_options=options)
        assert written(sent)["stream_options"] == {"include_usage": True}
        assert parse(sent).include_usage == bool(options and options.get("include_usage"))
    assert "stream_options" not in written(body())
    assert parse(body(stream=False)).stream is False


def test_the_engine_gets_its_own_name_salt_and_image_names() -> None:
    part = image_part(picture(), detail="low")
    made = written(body(user(part)), uuid=lambda digest: f"ours {digest.hex()}")
    assert (made["model"], made["cache_salt"]) == ("served", "5a" * 32)
    assert made["messages"][0]["content"] == [
        {
            "type": "image_url",
            "image_url": {"url": part["image_url"]["url"]},
            "uuid": f"ours {hashlib.sha256(picture()).hexdigest()}",
        }
    ]
