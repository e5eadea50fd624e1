"""The chat template says what GLM-4.6V's says, and training sees the very same text."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from miniature import dialogue
from miniature.conversation import answered, messages, spans
from miniature.drawing import load_fonts
from tests.support.process import TOP

pytestmark = pytest.mark.process  # transformers asks programs of the system when it is imported

CHECKPOINT = TOP / "serve" / "checkpoint"
PICTURE = "<|begin_of_image|><|image|><|end_of_image|>"


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer  # seconds of import, which only these tests pay

    return AutoTokenizer.from_pretrained(CHECKPOINT)


def render(tokenizer: Any, conversation: list[dict[str, Any]], **options: Any) -> str:
    options = {"add_generation_prompt": True} | options
    return str(tokenizer.apply_chat_template(conversation, tokenize=False, **options))


def test_thinking_is_on_unless_it_is_switched_off(tokenizer: Any) -> None:
    asked = [{"role": "user", "content": "Hi"}]
    assert render(tokenizer, asked) == "[gMASK]<sop><|user|>\nHi<|assistant|>\n"
    assert render(tokenizer, asked, enable_thinking=True) == "[gMASK]<sop><|user|>\nHi<|assistant|>\n"
    quiet = "[gMASK]<sop><|user|>\nHi/nothink<|assistant|>\n<think></think>\n"
    assert render(tokenizer, asked, enable_thinking=False) == quiet


def test_nothink_is_not_said_twice(tokenizer: Any) -> None:
    asked = [{"role": "user", "content": "Hi/nothink"}]
    assert render(tokenizer, asked, enable_thinking=False).count("/nothink") == 1


def test_pictures_stand_before_the_text_wherever_they_were_put(tokenizer: Any) -> None:
    parts = [{"type": "image"}, {"type": "text", "text": "and"}, {"type": "image_url", "image_url": {"url": "x"}}]
    told = render(tokenizer, [{"role": "user", "content": parts}])
    assert told == f"[gMASK]<sop><|user|>\n{PICTURE}{PICTURE}and<|assistant|>\n"


def test_a_past_thought_is_forgotten_and_a_present_one_is_kept(tokenizer: Any) -> None:
    past: list[dict[str, Any]] = [
        {"role": "user", "content": "A"},
        {"role": "assistant", "content": "B", "reasoning_content": "old"},
        {"role": "user", "content": "C"},
        {"role": "assistant", "content": "", "reasoning_content": "new", "tool_calls": [_call({"city": "Oslo"})]},
        {"role": "tool", "content": "sunny"},
    ]
    assert render(tokenizer, past) == (
        "[gMASK]<sop><|user|>\nA<|assistant|>\n<think></think>\nB<|user|>\nC<|assistant|>\n<think>new</think>"
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n</tool_call>"
        "<|observation|>\n<tool_response>\nsunny\n</tool_response><|assistant|>\n"
    )


def _call(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "get_weather", "arguments": arguments}}


def test_two_results_share_one_observation(tokenizer: Any) -> None:
    told = render(
        tokenizer,
        [
            {"role": "user", "content": "A"},
            {"role": "assistant", "content": None, "tool_calls": [_call({"n": 1}), _call({"on": True, "of": ["a"]})]},
            {"role": "tool", "content": "1"},
            {"role": "tool", "content": [{"type": "text", "text": "2"}]},
        ],
    )
    assert told.count("<|observation|>") == 1
    assert "<arg_value>1</arg_value>" in told
    assert "<arg_value>true</arg_value>" in told
    assert '<arg_value>["a"]</arg_value>' in told
    assert told.endswith("<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response><|assistant|>\n")


def test_tools_come_before_the_system_text_as_plain_json(tokenizer: Any) -> None:
    tool = {"type": "function", "function": {"name": "f", "description": "天气", "parameters": {"type": "object"}}}
    told = render(tokenizer, [{"role": "system", "content": "S"}, {"role": "user", "content": "A"}], tools=[tool])
    line = '{"type": "function", "function": {"name": "f", "description": "天气", "parameters": {"type": "object"}}}'
    assert told.startswith(f"[gMASK]<sop><|system|>\n# Tools\n\n<tools>\n{line}\n</tools>\n")
    assert told.endswith("</tool_call><|system|>\nS<|user|>\nA<|assistant|>\n")


@pytest.mark.parametrize("seed", range(100))
def test_training_sees_the_text_that_serving_renders(tokenizer: Any, seed: int) -> None:
    random = Random(seed)
    fonts = load_fonts(Path(), (32,))
    size = (336, 336)
    makers = (
        lambda: dialogue.scene_sample(random, size),
        lambda: dialogue.text_sample(random, size, fonts),
        lambda: dialogue.pair_sample(random, size),
        lambda: dialogue.counting_sample(random, size, fonts),
        lambda: dialogue.talk_sample(random),
        lambda: dialogue.unclear_sample(random, size, fonts),
        lambda: dialogue.manner_sample(random, size),
        lambda: dialogue.form_sample(random, size, fonts),
        lambda: dialogue.long_sample(random, size, 2048, pictured=True),
        lambda: dialogue.long_sample(random, size, 2048, pictured=False),
    )
    talk = makers[seed % len(makers)]().conversation
    told = "".join(piece.text for piece in spans(talk))
    asked = render(tokenizer, messages(talk), tools=talk.tools or None, enable_thinking=talk.thinking)
    assert told.startswith(asked)
    if not talk.thinking:
        whole = messages(talk) + answered(talk.turns[-1])
        full = render(tokenizer, whole, tools=talk.tools or None, enable_thinking=False, add_generation_prompt=False)
        stop = "<|observation|>" if talk.turns[-1].calls and not talk.turns[-1].conclusion else "<|user|>"
        assert told == full + stop


@pytest.mark.parametrize("seed", range(20))
def test_only_answers_and_their_stops_are_learnt(seed: int) -> None:
    talk = dialogue.talk_sample(Random(seed)).conversation
    learnt = "".join(piece.text for piece in spans(talk) if piece.learn)
    for turn in talk.turns[:-1] if talk.thinking else []:
        assert turn.question not in learnt
    assert "<|assistant|>" not in learnt
    assert "<tools>" not in learnt
