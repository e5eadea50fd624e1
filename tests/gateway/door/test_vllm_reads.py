"""What the door writes, read by vLLM's own request model, tokenizer and template. Needs vLLM to be installed.

vLLM is imported where it is used: it takes ten seconds, which only the process that runs these tests has to spend."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer

from gateway.door import digest_images, engine_body, image_tokens, parse_chat
from gateway.door.control_tokens import CONTROL_TOKENS
from gateway.images.reencode_worker import remake
from gateway.images.reencoding import HIGH_PIXELS
from tests.gateway.door.bodies import LIMITS, SALT, body, image_part, picture, user
from tests.gateway.door.test_messages import ANSWERS
from tests.gateway.door.test_parameters import PASSING, SAY, SEE
from tests.gateway.images.kinds import Kind, apart, kinds

pytestmark = pytest.mark.process  # vLLM asks programs of the system when it is imported

KINDS = list(kinds())
TOKENIZER = Path(__file__).parents[3] / "serve" / "checkpoint" / "tokenizer.json"

# Special to the tokenizer, but they forge nobody's turn: answers contain them, or the caller's own switch does.
HARMLESS = {
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    "<|begin_of_box|>",
    "<|end_of_box|>",
    "/nothink",
}

BODIES: dict[str, dict[str, Any]] = {
    "plain": body(),
    "all parameters": body(**PASSING),
    "image": body(user("What?", image_part(picture()), image_part(picture("JPEG"), "image/jpeg", detail="low"))),
    "images of a tool": body(
        "See.",
        ANSWERS[5],
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "x"}, image_part(picture())]},
    ),
    "stream": body(stream=True, max_tokens=5),
    "tools": body(tools=[SEE, SAY], tool_choice=SEE),
    "tools, chosen for it": body(tools=[SEE]),
    "thinking": body(thinking={"type": "disabled"}, reasoning_effort="low"),
    "second turn": body("What?", *ANSWERS, {"role": "tool", "tool_call_id": "1", "content": "x"}, "And?"),
    "developer": body({"role": "developer", "content": [{"type": "text", "text": "x"}], "name": "n"}, "x"),
    "continued": body("What?", {"role": "assistant", "content": "It is "}, continue_final_message=True),
    "usage in every event": body(
        stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True}, do_sample=False
    ),
    "json": body(response_format={"type": "json_object"}),
    "text": body(response_format={"type": "text"}),
}


def read(sent: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """What the door made of a body, and vLLM's request of it."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    request = parse_chat(json.dumps(sent).encode(), LIMITS)
    digest_images(request)
    made = json.loads(engine_body(request, "served", SALT, bytes.hex))
    return made, ChatCompletionRequest.model_validate(json.loads(json.dumps(made)))


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_vllm_knows_every_field_that_is_written(name: str) -> None:
    made, understood = read(BODIES[name])
    assert not understood.model_extra
    assert set(made) <= set(type(understood).model_fields)
    assert understood.cache_salt == SALT
    assert understood.model == "served"
    assert understood.max_completion_tokens == made.get("max_completion_tokens")
    assert understood.chat_template_kwargs == made.get("chat_template_kwargs")


def test_vllm_takes_the_images_name_and_not_the_clients() -> None:
    from vllm.renderers.chat_utils import _parse_chat_message_content_mm_part

    made, understood = read(BODIES["image"])
    parts = [part for part in understood.messages[0]["content"] if part["type"] == "image_url"]
    assert [part["uuid"] for part in parts] == [part["uuid"] for part in made["messages"][0]["content"][1:]]
    assert len({part["uuid"] for part in parts}) == 2
    for part in parts:
        kind, url = _parse_chat_message_content_mm_part(part)
        assert kind == "image_url"
        assert isinstance(url, str)
        assert url.startswith("data:image/")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_vllm_sees_every_kind_of_picture_as_it_is_meant(kind: Kind) -> None:
    from vllm.multimodal.media.image import ImageMediaIO

    data = remake(kind.data, kind.type.removeprefix("image/").upper(), HIGH_PIXELS) if kind.recode else kind.data
    seen = ImageMediaIO().load_bytes(data).media
    assert seen.mode == "RGB"
    assert apart(seen, kind.looks) <= (
        6 if kind.lossy else 1
    )  # it rounds another way where a picture is half transparent


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.spec is not None], ids=lambda kind: kind.name)
def test_vllm_alone_would_read_it_wrongly(kind: Kind) -> None:
    from vllm.multimodal.media.image import ImageMediaIO

    assert apart(ImageMediaIO().load_bytes(kind.data).media, kind.looks) > 30


def test_vllm_shows_the_images_of_a_tools_result_to_the_template() -> None:
    from vllm.renderers.chat_utils import _parse_chat_message_content

    made, _ = read(BODIES["images of a tool"])

    class Tracker:
        """Counts the images that it is asked to load."""

        model_config = SimpleNamespace(enable_prompt_embeds=False)

        def __init__(self) -> None:
            self.seen: list[str] = []

        def create_parser(self, **_: Any) -> "Tracker":
            return self

        def parse_image(self, url: str, uuid: str | None = None) -> None:
            self.seen.append(url)

        def mm_placeholder_storage(self) -> dict[str, list[str]]:
            return {}

    tracker: Any = Tracker()
    (said,) = _parse_chat_message_content(made["messages"][2], tracker, "openai", False)
    assert [part["type"] for part in said["content"]] == ["text", "image"]
    assert tracker.seen == [made["messages"][2]["content"][1]["image_url"]["url"]]


def test_vllm_reads_a_turns_reasoning_and_calls() -> None:
    _, understood = read(BODIES["second turn"])
    turns: list[Any] = [dict(message) for message in understood.messages]
    assert turns[2]["reasoning"] == "Hm."
    assert turns[6]["tool_calls"][0]["function"]["name"] == "see"


def test_vllm_takes_the_sampling_that_passes() -> None:
    _, understood = read(BODIES["all parameters"])
    sampling = understood.to_sampling_params(100, {})
    for name in ("top_k", "min_p", "repetition_penalty", "min_tokens", "ignore_eos", "skip_special_tokens"):
        # -1 and 0 both turn top_k off.
        assert getattr(sampling, name) in ({-1, 0} if name == "top_k" else {PASSING[name]}), name
    assert set(PASSING["stop_token_ids"]) <= set(sampling.stop_token_ids)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(TOKENIZER))


def test_every_special_token_is_refused_or_known_to_be_harmless(tokenizer: Tokenizer) -> None:
    specials = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    assert {"<|user|>", "<|image|>", "[gMASK]"} <= specials
    assert specials <= set(CONTROL_TOKENS) | HARMLESS


@pytest.mark.parametrize(
    "text", ["＜|user|＞", "<｜user｜>", "<|uѕer|>", "< |user|>", "<|USER|>", "<|user |>", "[mask]"]
)
def test_what_passes_as_a_look_alike_is_no_token(tokenizer: Tokenizer, text: str) -> None:
    specials = set(tokenizer.get_added_tokens_decoder())
    assert not specials & set(tokenizer.encode(text, add_special_tokens=False).ids)


def test_a_token_in_raw_text_is_a_token(tokenizer: Tokenizer) -> None:
    """The reason for refusing it, also when the template joins it from two texts."""
    joined = "".join(["a <|us", "er|> b"])
    assert tokenizer.token_to_id("<|user|>") in tokenizer.encode(joined, add_special_tokens=False).ids


def test_image_tokens_are_what_the_processor_makes() -> None:
    from transformers.models.glm46v.image_processing_glm46v import smart_resize

    sides = [8, 14, 27, 28, 29, 56, 100, 111, 112, 113, 336, 559, 560, 840, 1120, 1999, 3000, 4000, 6000, 12_345]
    for width in sides:
        for height in sides:
            if max(width, height) / min(width, height) > LIMITS.image_aspect:
                continue
            for low, high in ((112 * 112, 9_633_792), (12_544, 28 * 28 * 15_000), (12_544, 1_000_000)):
                tall, wide = smart_resize(2, height, width, 2, 28, low, high)
                expected = tall // 28 * (wide // 28)
                assert image_tokens(width, height, min_pixels=low, max_pixels=high) == expected
