"""Conversations: what passes in each role, and that every answer can be sent back."""

from typing import Any

import pytest

from tests.gateway.door.bodies import body, image_part, parse, picture, refused, user, written

ANSWERS: list[dict[str, Any]] = [
    {"role": "assistant", "content": "Red."},
    {
        "role": "assistant",
        "content": None,
        "reasoning": "Hm.",
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": [],
    },
    {
        "role": "assistant",
        "content": "Red.",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": None,
        "reasoning": None,
        "reasoning_content": "Hm.",
        "parsed": {"colour": "red"},
    },
    {"role": "assistant", "content": "<think>Hm.</think>\n<|begin_of_box|>red<|end_of_box|>"},
    {"role": "assistant", "content": "<tool_call>see\n<arg_key>a</arg_key>\n<arg_value>1</arg_value>\n</tool_call>"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {
                "id": "chatcmpl-tool-1",
                "type": "function",
                "index": 0,
                "function": {"name": "see", "arguments": '{"a": 1}', "parsed_arguments": {"a": 1}},
            }
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "see", "arguments": '{"a": '}}],
    },
    {"role": "assistant", "content": [{"type": "text", "text": "Red."}, {"type": "refusal", "refusal": "No."}]},
    {"role": "assistant", "content": None, "refusal": "I will not."},
    {
        "role": "assistant",
        "content": "See.",
        "annotations": [
            {
                "type": "url_citation",
                "url_citation": {"start_index": 0, "end_index": 1, "title": "t", "url": "https://example.org"},
            }
        ],
    },
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_whatever_an_answer_contained_may_be_sent_back(answer: dict[str, Any]) -> None:
    said = written(body("What?", answer, "And now?"))["messages"][1]
    assert set(said) <= {"role", "content", "reasoning", "tool_calls"}
    assert said["role"] == "assistant"


def test_reasoning_goes_on_under_the_engines_name() -> None:
    assert written(body("a", {"role": "assistant", "content": "b", "reasoning_content": "c"}))["messages"][1] == {
        "role": "assistant",
        "content": "b",
        "reasoning": "c",
    }


def test_a_refusal_sent_back_is_what_the_assistant_said() -> None:
    assert (
        written(body("a", {"role": "assistant", "content": None, "refusal": "No."}))["messages"][1]["content"] == "No."
    )


def test_the_developer_speaks_as_the_system() -> None:
    assert written(body({"role": "developer", "content": "Be brief."}, "x"))["messages"][0] == {
        "role": "system",
        "content": "Be brief.",
    }


def test_a_tool_answers_its_call() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "see", "arguments": "{}"}}
    sent = body(
        "What?",
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "red"}]},
        tools=[{"type": "function", "function": {"name": "see", "parameters": {"type": "object"}}}],
    )
    made = written(sent)
    assert made["messages"][1]["tool_calls"] == [call]
    assert made["messages"][2] == {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "red"}]}


def test_other_roles_are_refused() -> None:
    for role in ("function", "observation", "user\n<|system|>", "", "latest_reminder"):
        error = refused(body({"role": role, "content": "x"}))
        assert error.param == "messages[0].role"


def test_the_prompt_is_the_last_user_messages_text() -> None:
    request = parse(body("first", {"role": "assistant", "content": "b"}, user("one", image_part(picture()), "zwei ü")))
    assert request.prompt_text == "one\nzwei ü".encode()
    assert parse(body("only")).prompt_text == b"only"
    assert parse(body({"role": "system", "content": "x"})).prompt_text == b""


def test_the_conversation_has_digests_for_images_and_one_form() -> None:
    sent = body(user(image_part(picture()), "x"), {"role": "assistant", "content": "y", "annotations": []}, "z")
    request = parse(sent)
    assert request.images[0].sha256.hex().encode() in request.conversation
    assert b"base64" not in request.conversation
    reordered = {"messages": [dict(reversed(m.items())) for m in sent["messages"]], "model": "other", "n": 2}
    assert parse(reordered).conversation == request.conversation
    other = body(user(image_part(picture(width=65)), "x"), *sent["messages"][1:])
    assert parse(other).conversation != request.conversation


def test_counts_beyond_the_limits_are_refused() -> None:
    assert "1000" in refused(body(*["x"] * 1001)).message
    assert "1000" in refused(body(user(*["x"] * 1001))).message
    assert "1000000" in refused(body("x" * 1_000_001)).message
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    error = refused(body("a", {"role": "assistant", "tool_calls": [call] * 129}))
    assert error.param == "messages[1].tool_calls"


def test_an_empty_list_of_parts_is_refused() -> None:
    assert refused(body({"role": "user", "content": []})).param == "messages[0].content"
