"""Whatever arrives, the door answers with a request or a refusal, and what it writes has only fields that it knows."""

import base64
import json
import os
import re
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.door import DoorError, digest_images, engine_body, parse_chat
from gateway.door.image_headers import Header, ImageFault, Steps, TooManySteps, read_header
from gateway.images.reencoding import HIGH_PIXELS
from tests.attack.shield import UNKNOWN
from tests.gateway.door.bodies import LIMITS, SALT, animation, body, data_url, image_part, picture, user
from tests.support.examples import examples

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
fuzz = settings(
    max_examples=examples(EXAMPLES),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

TOP = {
    "model",
    "messages",
    "cache_salt",
    "stream",
    "stream_options",
    "max_completion_tokens",
    "chat_template_kwargs",
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "top_k",
    "min_p",
    "repetition_penalty",
    "min_tokens",
    "ignore_eos",
    "stop_token_ids",
    "skip_special_tokens",
    "continue_final_message",
    "add_generation_prompt",
    "seed",
    "stop",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "n",
    "parallel_tool_calls",
    "reasoning_effort",
    "response_format",
    "tools",
    "tool_choice",
}
PARTS = {"text": {"type", "text"}, "image_url": {"type", "image_url", "uuid"}}
ROLES = {
    "system": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {"role", "content", "name", "reasoning", "tool_calls"},
    "tool": {"role", "content", "name", "tool_call_id"},
}


def check_written(made: dict[str, Any]) -> None:
    """Only fields of the tables above, at every level but inside schemas."""
    assert set(made) <= TOP
    assert made["model"] == "served"
    assert made["cache_salt"] == SALT
    options = made.get("stream_options", {"include_usage": True})
    assert options in ({"include_usage": True}, {"include_usage": True, "continuous_usage_stats": True})
    assert made.get("continue_final_message", False) is not made.get("add_generation_prompt", True)
    assert UNKNOWN not in json.dumps(made)
    assert set(made.get("chat_template_kwargs", {})) <= {"enable_thinking"}
    for message in made["messages"]:
        assert set(message) <= ROLES[message["role"]]
        for part in message["content"] if isinstance(message["content"], list) else ():
            assert set(part) <= PARTS[part["type"]]
            if part["type"] == "image_url":
                assert set(part["image_url"]) == {"url"}
                assert fits_usual_url(part["image_url"]["url"])
                assert len(part["uuid"]) == 64
        for call in message.get("tool_calls", ()):
            assert set(call) == {"id", "type", "function"}
            assert set(call["function"]) == {"name", "arguments"}
    for tool in made.get("tools", ()):
        assert set(tool) == {"type", "function"}
        assert set(tool["function"]) <= {"name", "description", "parameters", "strict"}
    chosen = made.get("response_format", {})
    assert set(chosen) <= {"type", "json_schema"}
    assert set(chosen.get("json_schema", {})) <= {"name", "description", "schema", "strict"}
    if isinstance(made.get("tool_choice"), dict):
        assert set(made["tool_choice"]) == {"type", "function"}
        assert set(made["tool_choice"]["function"]) == {"name"}


def send(sent: bytes) -> bool:
    """Whether it passed; anything but a DoorError is a failure of the door."""
    refusal = None
    try:
        request = parse_chat(sent, LIMITS)
        digest_images(request)
    except DoorError as error:
        refusal = error
    if refusal is not None:
        assert refusal.status in (400, 413)
        assert len(refusal.message) < 600
        assert refusal.message.isprintable()
        return False
    for image in request.images:
        if image.recode:
            image.show(picture(), HIGH_PIXELS, LIMITS)
    made = engine_body(request, "served", SALT, bytes.hex)
    check_written(json.loads(made))
    for value in (request.conversation, request.prompt_text, *request.free_form.values()):
        value.decode()
    assert request.model
    assert request.n >= 1
    return True


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
tokens = st.sampled_from(["<|", "user", "|>", "<|user|>", "[gMASK]", "<sop>", "\\u003c", '"', "data:image/png;base64,"])
text = st.lists(st.text(max_size=10) | tokens, max_size=6).map("".join)
anything = st.recursive(
    plain | text, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4)
)
names = st.sampled_from(sorted(TOP | {"uuid", "thinking", "user", "metadata", "max_tokens", "top_k", "store", "audio"}))
schemas = st.dictionaries(
    st.sampled_from(["type", "properties", "pattern", "enum", "maxItems", "$ref"]) | text, anything, max_size=4
)
images = st.sampled_from(["PNG", "JPEG", "GIF", "WEBP"]).map(
    lambda kind: image_part(picture(kind), f"image/{kind.lower()}")
)
parts = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": text})
    | images
    | st.dictionaries(text, anything, max_size=3),
    max_size=4,
)
calls = st.lists(
    st.fixed_dictionaries(
        {
            "id": text,
            "type": st.just("function"),
            "function": st.fixed_dictionaries(
                {"name": st.sampled_from(["f", "g", "<|user|>"]), "arguments": anything.map(json.dumps) | text}
            ),
        }
    ),
    max_size=2,
)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "developer"]), "content": text | parts})
    | st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": text | st.none()},
        optional={"reasoning": text, "tool_calls": calls, "refusal": text | st.none(), "audio": st.none()},
    )
    | st.fixed_dictionaries({"role": st.just("tool"), "content": text, "tool_call_id": text}),
    min_size=1,
    max_size=4,
)
likely = st.fixed_dictionaries(
    {"model": text, "messages": messages},
    optional={
        "n": st.integers(0, 10),
        "stream": st.booleans(),
        "stop": text | st.lists(text, max_size=5),
        "user": text,
        "max_tokens": st.integers(0, 40_000),
        "temperature": st.floats(-1, 3),
        "logit_bias": st.dictionaries(text, st.floats()),
        "metadata": st.dictionaries(text, text, max_size=3),
        "thinking": st.sampled_from([{"type": "enabled"}, {"type": "x"}]),
        "tools": st.lists(
            st.fixed_dictionaries(
                {
                    "type": st.just("function"),
                    "function": st.fixed_dictionaries(
                        {"name": st.sampled_from(["f", "g"])}, optional={"description": text, "parameters": schemas}
                    ),
                }
            ),
            max_size=2,
        ),
        "tool_choice": st.sampled_from(["auto", "required", {"type": "function", "function": {"name": "f"}}]),
        "response_format": st.fixed_dictionaries(
            {"type": st.just("json_schema"), "json_schema": st.fixed_dictionaries({"name": text, "schema": schemas})}
        ),
    },
)


@fuzz
@given(st.binary(max_size=400))
def test_any_bytes_end_in_a_refusal(sent: bytes) -> None:
    assert not send(sent)


@fuzz
@given(anything)
def test_any_json_ends_in_a_refusal(value: Any) -> None:
    assert not send(json.dumps(value).encode())


@fuzz
@given(likely, st.dictionaries(names, anything, max_size=2))
def test_likely_bodies_pass_clean_or_not_at_all(sent: dict[str, Any], more: dict[str, Any]) -> None:
    send(json.dumps(sent).encode())
    send(json.dumps(sent | more, ensure_ascii=False).encode("utf-8", "surrogatepass"))


@cache
def whole() -> bytes:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    return json.dumps(
        body(
            {"role": "system", "content": "Be brief."},
            user("What?", image_part(picture("PNG", 16, 16))),
            {"role": "assistant", "content": None, "reasoning": "r", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "x"},
            n=2,
            stream=True,
            stream_options={"include_usage": True},
            stop=["a"],
            metadata={"a": "b"},
            tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        )
    ).encode()


edits = st.lists(
    st.tuples(
        st.integers(0, 2**20),
        st.integers(0, 8),
        st.binary(max_size=6)
        | st.sampled_from(
            [
                b'"',
                b"{",
                b"}",
                b"[",
                b"]",
                b",",
                b":",
                b"\\",
                b"null",
                b"1e999",
                b"NaN",
                b'"model":',
                b"<|user|>",
                b"\\u0000",
            ]
        ),
    ),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for at, length, insert in changes:
        at %= len(data) + 1
        data = data[:at] + insert + data[at + length :]
    return data


def test_the_body_that_is_mutated_passes_unmutated() -> None:
    assert send(whole())


@fuzz
@given(edits)
def test_a_mutated_body_passes_clean_or_not_at_all(changes: list[tuple[int, int, bytes]]) -> None:
    send(edited(whole(), changes))


@cache
def originals() -> tuple[bytes, ...]:
    stills = [
        picture(kind, 33, 21, **options)
        for kind, options in (
            ("PNG", {}),
            ("JPEG", {}),
            ("JPEG", {"progressive": True}),
            ("GIF", {}),
            ("WEBP", {}),
            ("WEBP", {"lossless": True}),
            ("WEBP", {"exif": b"Exif\0\0MM"}),
            ("AVIF", {}),
        )
    ]
    return (*stills, animation("GIF"), animation("WEBP"), animation("PNG"), animation("AVIF"))


def fits_usual_url(url: str) -> bool:
    """Whether it is of the one form that an engine gets, its type true, and no file that must be encoded anew."""
    found = re.fullmatch(r"data:(image/(?:jpeg|png|webp|gif));base64,([A-Za-z0-9+/]+={0,2})", url)
    if found is None or len(found[2]) % 4:
        return False
    header = walk(base64.b64decode(found[2], validate=True))
    return header is not None and header.type == found[1] and not header.recode


def walk(data: bytes) -> Header | None:
    try:
        header = read_header(data, Steps(LIMITS.image_steps, LIMITS.images_steps))
    except (ImageFault, TooManySteps):
        return None
    assert header.width > 0
    assert header.height > 0
    return header


@fuzz
@given(st.integers(0, 11), edits)
def test_a_mutated_picture_has_a_size_or_a_fault(which: int, changes: list[tuple[int, int, bytes]]) -> None:
    walk(edited(originals()[which], changes))


@fuzz
@given(
    st.sampled_from(
        [
            b"\xff\xd8\xff",
            b"\x89PNG\r\n\x1a\n",
            b"RIFF\0\0\0\0WEBP",
            b"GIF89a",
            b"GIF87a",
            b"\0\0\0\x10ftypavif\0\0\0\0",
        ]
    ),
    st.binary(max_size=200),
)
def test_a_magic_followed_by_anything_has_a_size_or_a_fault(magic: bytes, rest: bytes) -> None:
    walk(magic + rest)


@pytest.mark.parametrize("which", range(8))
def test_each_byte_of_a_picture_may_change_and_the_size_stays_what_a_decoder_reads(which: int) -> None:
    """What the walkers accept and Pillow opens must have the same size: the limits are checked on ours."""
    import io

    from PIL import Image as Picture

    data = originals()[which]
    agreed = 0
    for at in range(min(len(data), 600)):
        for flip in (0x01, 0x80, 0xFF):
            changed = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
            header = walk(changed)
            if header is None:
                continue
            try:
                with Picture.open(io.BytesIO(changed)) as opened:
                    size = opened.size
            except (OSError, SyntaxError, ValueError, RuntimeError, EOFError, Warning):
                continue
            assert size == (header.width, header.height), f"byte {at}"
            agreed += 1
    # A PNG's CRCs leave no byte that may change.
    assert agreed == 0 if data.startswith(b"\x89PNG") else agreed > 0


def test_a_data_url_may_be_followed_by_nothing() -> None:
    assert send(json.dumps(body(user({"type": "image_url", "image_url": {"url": data_url(picture())}}))).encode())
