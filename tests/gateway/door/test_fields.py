"""Which fields pass, and how the others are named."""

from typing import Any

import pytest

from gateway.door import DoorLimits
from tests.gateway.door.bodies import body, image_part, parse, picture, refused, user, written

STRICT = DoorLimits(unknown_fields="refuse")
ENGINE_FIELDS: dict[str, Any] = {
    "chat_template": "{{ messages }}",
    "mm_processor_kwargs": {"max_pixels": 1},
    "media_io_kwargs": {"image": {}},
    "prompt_embeds": "AAAA",
    "documents": [{"text": "x"}],
    "priority": -1,
    "allowed_token_ids": [1],
    "bad_words": ["x"],
    "kv_transfer_params": {"remote": 1},
    "cache_salt": "other tenant",
    "request_id": "x",
    "best_of": 2,
    "prompt_logprobs": 1,
    "structured_outputs": {"regex": "x"},
    "echo": True,
    "return_token_ids": True,
    "vllm_xargs": {},
    "truncate_prompt_tokens": 1,
    "return_prompt_text": True,
    "include_reasoning": False,
    "logprob_token_ids": [1],
    "repetition_detection": {},
    "watermarking": True,
    "guided_json": {"type": "object"},
    "guided_anything": "x",
    "chat_template_kwargs": {"documents": []},
    "logits_processors": ["os.system"],
    "custom_logit_processor": "x",
    "image_embeds": "AA",
    "anything_embeds": "AA",
    "uuid": "x",
    "video": "AA",
    "images": ["AA"],
    "ec_transfer_params": {},
    "use_beam_search": True,
    "add_special_tokens": True,
    "include_stop_str_in_output": True,
    "return_tokens_as_token_ids": True,
    "max_new_tokens": 5,
    "system": "Obey.",
    "extra_body": {"top_k": 1},
    "regex": "a*",
}


@pytest.mark.parametrize("name", ENGINE_FIELDS)
def test_a_field_that_steers_the_engine_is_refused_by_name(name: str) -> None:
    error = refused(body(**{name: ENGINE_FIELDS[name]}))
    assert (error.status, error.code) == (400, "unknown_parameter")
    assert (error.param or "").startswith(name)
    assert f"`{(error.param or '').rpartition('.')[2]}`" in error.message


def test_the_answer_says_what_to_use_instead() -> None:
    assert "response_format" in refused(body(guided_json={})).message
    assert "messages" in refused(body(prompt="x")).message
    assert "/docs" in refused(body(whatever=1), STRICT).message


def test_an_unknown_field_is_named_with_its_place() -> None:
    part = image_part(picture()) | {"uuid": "someone else's picture"}
    error = refused(body("Hello.", {"role": "assistant", "content": "Yes?"}, user(part, "What?")))
    assert error.param == "messages[2].content[0].uuid"
    error = refused(body(user("a", "b", image_part(picture(), uuid="x"))))
    assert error.param == "messages[0].content[2].image_url.uuid"
    error = refused(body("Hello.", {"role": "user", "content": "x", "task": "y"}), STRICT)
    assert error.param == "messages[1].task"


def test_a_wrong_type_is_named_with_its_place() -> None:
    assert refused(body(n="2")).param == "n"
    assert refused(body("a", {"role": "user", "content": 3})).param == "messages[1].content"
    assert refused(body(metadata={"a": "b", "c": 4})).param == "metadata"
    assert refused(body(stop=["a", 4])).param == "stop[1]"
    error = refused(body("a", {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f"}}]}))
    assert (error.code, error.param) == ("missing_parameter", "messages[1].tool_calls[0].function.arguments")


def test_a_missing_field_is_named() -> None:
    assert refused(b'{"model": "m"}').param == "messages"
    assert refused(b'{"messages": []}').param == "model"
    assert refused(b'{"model": "m", "messages": []}').param == "messages"


@pytest.mark.parametrize(
    "switches",
    [{"enable_thinking": False, "tools": []}, {"add_vision_id": True}, {"enable_thinking": "no"}, {"thinking": 1}],
)
def test_template_switches_other_than_thinking_are_refused(switches: dict[str, Any]) -> None:
    error = refused(body(chat_template_kwargs=switches))
    assert error.status == 400
    assert error.param is not None
    assert error.param.startswith("chat_template_kwargs.")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("audio", {"voice": "alloy", "format": "wav"}),
        ("modalities", ["text", "audio"]),
        ("functions", [{"name": "f"}]),
        ("function_call", "auto"),
        ("web_search_options", {}),
        ("moderation", {"model": "m"}),
        ("store", True),
        ("service_tier", "priority"),
        ("verbosity", "low"),
        ("tools", [{"type": "custom", "custom": {"name": "f"}}]),
        ("response_format", {"type": "structural_tag", "format": {}}),
        ("stream_options", {"include_usage": True, "include_obfuscation": True}),
    ],
)
def test_what_this_service_does_not_have_is_refused_with_a_way_out(name: str, value: Any) -> None:
    error = refused(body(stream=True, **{name: value}) if name == "stream_options" else body(**{name: value}))
    assert error.status == 400
    assert (error.param or "").startswith(name)
    assert len(error.message) > 40


@pytest.mark.parametrize(
    "part",
    [
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "x"}},
        {"type": "image_embeds", "image_embeds": "AAAA"},
        {"type": "image_pil", "image_pil": "x"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
        {"image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "thinking", "thinking": "x"},
        {"type": "tool_reference", "name": "x"},
    ],
)
def test_other_kinds_of_content_are_refused_at_their_place(part: dict[str, Any]) -> None:
    error = refused(body("Hello.", user("a", part)))
    assert error.status == 400
    assert (error.param or "").startswith("messages[1].content[1]")


def test_images_stand_in_user_and_tool_messages_only() -> None:
    for role in ("system", "developer", "assistant"):
        message: dict[str, Any] = {"role": role, "content": [image_part(picture())]}
        error = refused(body("Hello.", message))
        assert error.param == "messages[1].content[0].type"


def test_null_is_the_same_as_absent() -> None:
    names = (
        "max_tokens",
        "max_completion_tokens",
        "n",
        "temperature",
        "top_p",
        "seed",
        "stop",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning_effort",
        "thinking",
        "chat_template_kwargs",
        "stream",
        "stream_options",
        "user",
        "metadata",
        "store",
        "service_tier",
        "audio",
        "functions",
        "function_call",
        "moderation",
        "web_search_options",
        "modalities",
        "prediction",
        "verbosity",
    )
    assert written(body(**dict.fromkeys(names))) == written(body())


def test_what_has_no_effect_passes_and_does_not_reach_the_engine() -> None:
    sent = body(
        store=False,
        service_tier="auto",
        verbosity="medium",
        modalities=["text"],
        prompt_cache_key="k",
        prompt_cache_retention="24h",
        prompt_cache_options={"mode": "implicit"},
        safety_identifier="s",
        user="u",
        metadata={"team": "a"},
        prediction={"type": "content", "content": "x"},
    )
    assert written(sent) == written(body())


def test_a_long_field_name_is_shortened_in_the_answer() -> None:
    error = refused(body(**{"x" * 5000 + "\n`": 1}), STRICT)
    assert len(error.message) < 300
    assert len(error.param or "") < 100


def test_the_free_form_fields_are_ready_for_digests() -> None:
    request = parse(body(user="Ünal", metadata={"b": "2", "a": "1"}, stop="END"))
    assert request.free_form == {"user": "Ünal".encode(), "metadata": b'{"a":"1","b":"2"}', "stop": b'["END"]'}
