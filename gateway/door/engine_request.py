"""Writes the engine's body anew from a request that passed; a field not written here never reaches the engine."""

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.door.engine_messages import wire_message
from gateway.door.image import Image
from gateway.door.request import ChatRequest

# Fields that mean to the engine what they mean to the client, and go on as they came. They touch no other caller.
PASSED = (
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
    "seed",
    "stop",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "n",
    "parallel_tool_calls",
    "reasoning_effort",
)


def engine_body(
    request: ChatRequest,
    served_name: str,
    cache_salt: str,
    image_uuid: Callable[[bytes], str],
    context: int | None = None,
    *,
    count_prompt: bool = False,
) -> bytes:
    """The body for vLLM's `/v1/chat/completions`, JSON in UTF-8. After `digest_images`.

    `cache_salt` separates tenants in the KV cache, `image_uuid` (of an image's `identity`) in the processor and encoder
    caches: vLLM uses both verbatim. Usage is always asked for, since vLLM sends none in streams otherwise; with `count_prompt` in
    every event. The engine refuses a `max_tokens` over its `context`, and lowers one that its prompt leaves no room for.
    """

    def show(image: Image) -> dict[str, Any]:
        # No `detail`: vLLM has no meaning for it (docs/decisions/0010); with sanitize it was followed already.
        return {"type": "image_url", "image_url": {"url": image.json_url()}, "uuid": image_uuid(image.identity)}

    body = request.body
    images = iter(request.images)
    written: dict[str, Any] = {
        "model": served_name,
        "messages": [wire_message(message, images, show) for message in body.messages],
        "cache_salt": cache_salt,
        "stream": request.stream,
    }
    if request.stream:
        written["stream_options"] = {"include_usage": True}
        if request.continuous_usage or count_prompt:
            written["stream_options"]["continuous_usage_stats"] = True
    if request.max_tokens is not None:
        written["max_completion_tokens"] = min(request.max_tokens, context or request.max_tokens)
    if request.thinking is not None:
        written["chat_template_kwargs"] = {"enable_thinking": request.thinking}
    if body.continue_final_message:
        written["continue_final_message"], written["add_generation_prompt"] = True, False
    if request.temperature is not None:
        written["temperature"] = request.temperature
    for name in PASSED:
        value = getattr(body, name)
        if value is not None:
            written[name] = value
    if body.response_format is not None:
        written["response_format"] = _without_none(msgspec.to_builtins(body.response_format))
        if request.format_schema is not None:
            written["response_format"]["json_schema"]["schema"] = request.format_schema
    if request.tools:
        written["tools"] = [_without_none(msgspec.to_builtins(tool)) for tool in request.tools]
        for tool in written["tools"]:
            if tool["function"]["name"] in request.tool_schemas:
                tool["function"]["parameters"] = request.tool_schemas[tool["function"]["name"]]
        if request.tool_choice is not None:
            written["tool_choice"] = request.tool_choice
    return msgspec.json.encode(written)


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    """Without absent fields, two levels down: what stands below (schemas) is the client's own and keeps its nulls."""
    return {
        name: {key: below for key, below in value.items() if below is not None} if isinstance(value, dict) else value
        for name, value in fields.items()
        if value is not None
    }
