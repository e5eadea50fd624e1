"""The chat completions body as types: every field that is understood, and no other; it never checks limits.

The types refuse every other name. unknown_fields.py takes ignored names out of a body before its second reading.
`None` means the same as absent. A field whose only type is None is part of OpenAI's API that this service does not
have: null passes, anything else is refused (hints.py says what to send instead).
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Penalty = Annotated[float, Meta(ge=-2, le=2)]
TokenId = Annotated[int, Meta(ge=0, le=9_999_999)]
Label = Annotated[str, Meta(max_length=512)]
# The lookahead: `$` alone lets Python accept a line feed at the end; `\Z` is unknown to JSON Schema.
ToolName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.\-]+$(?!\n)")]


class Part(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The strictness that all parts of the body share."""


# --- content parts -------------------------------------------------------------------------------------------------


class CacheBreakpoint(Part):
    mode: Literal["explicit"]
    ttl: Literal["30m", "12h"] | None = None


class TextPart(Part, tag_field="type", tag="text"):
    text: str
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class RefusalPart(Part, tag_field="type", tag="refusal"):
    refusal: str


class ImageURL(Part):
    # Raw: a view of the body, so that a megabyte of base64 is not copied into a str.
    url: msgspec.Raw
    detail: Literal["auto", "low", "high", "original"] | None = None


class PlainURL(ImageURL):
    """An `image_url` that came as a string; parsing.py makes one of each, so that no other code sees strings."""


class ImagePart(Part, tag_field="type", tag="image_url"):
    image_url: ImageURL | str
    prompt_cache_breakpoint: CacheBreakpoint | None = None


# --- messages ------------------------------------------------------------------------------------------------------


class CalledFunction(Part):
    name: ToolName
    arguments: str
    parsed_arguments: Any = None  # the SDK's own reading of `arguments`, sent back with an answer; dropped


class ToolCall(Part):
    id: Annotated[str, Meta(max_length=256)]
    function: CalledFunction
    type: Literal["function"] = "function"
    index: int | None = None  # streamed answers carry it


class SystemMessage(Part, tag_field="role", tag="system"):
    content: str | list[TextPart]
    name: Label | None = None


class DeveloperMessage(Part, tag_field="role", tag="developer"):
    content: str | list[TextPart]
    name: Label | None = None


class UserMessage(Part, tag_field="role", tag="user"):
    content: str | list[TextPart | ImagePart]
    name: Label | None = None


class AssistantMessage(Part, tag_field="role", tag="assistant"):
    content: str | list[TextPart | RefusalPart] | None = None
    name: Label | None = None
    tool_calls: list[ToolCall] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    annotations: Any = None  # dropped, whatever shape other services gave it
    parsed: Any = None  # the SDK's own reading of `content`, sent back with an answer; dropped
    audio: None = None
    function_call: None = None


class ToolMessage(Part, tag_field="role", tag="tool"):
    content: str | list[TextPart | ImagePart]
    tool_call_id: Annotated[str, Meta(max_length=256)]
    name: Label | None = None


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


# --- tools and formats ---------------------------------------------------------------------------------------------


class Function(Part):
    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FunctionTool(Part, tag_field="type", tag="function"):
    function: Function


class FunctionName(Part):
    name: ToolName


class NamedTool(Part, tag_field="type", tag="function"):
    function: FunctionName


class AllowedTools(Part):
    mode: Literal["auto", "required"]
    tools: list[NamedTool]


class AllowedToolChoice(Part, tag_field="type", tag="allowed_tools"):
    allowed_tools: AllowedTools


ToolChoice = Literal["none", "auto", "required"] | NamedTool | AllowedToolChoice


class TextFormat(Part, tag_field="type", tag="text"):
    pass


class JsonObjectFormat(Part, tag_field="type", tag="json_object"):
    pass


class JsonSchema(Part):
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class JsonSchemaFormat(Part, tag_field="type", tag="json_schema"):
    json_schema: JsonSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat


# --- the body ------------------------------------------------------------------------------------------------------


class StreamOptions(Part):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    include_obfuscation: Literal[False] | None = None


class Thinking(Part):
    type: Literal["enabled", "disabled"] | None = None


class TemplateSwitches(Part):
    enable_thinking: bool | None = None
    thinking: bool | None = None


class Prediction(Part):
    type: Literal["content"]
    content: str | list[TextPart]


class CacheOptions(Part):
    mode: Literal["implicit", "explicit"] | None = None
    ttl: Literal["30m"] | None = None


class ChatBody(Part):
    """`POST /v1/chat/completions`."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: list[Message]

    # How the answer is made
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    n: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    seed: int | None = None
    top_k: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None  # the engine keeps it in 32 bits
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(ge=0.1, le=10)] | None = None
    do_sample: bool | None = None
    min_tokens: Annotated[int, Meta(ge=0)] | None = None
    ignore_eos: bool | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[TokenId] | None = None
    skip_special_tokens: bool | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0)] | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    response_format: ResponseFormat | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    thinking: Thinking | None = None
    enable_thinking: bool | None = None
    chat_template_kwargs: TemplateSwitches | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    # For the record
    user: Label | None = None
    safety_identifier: Label | None = None
    metadata: (
        Annotated[dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)]
        | None
    ) = None

    # Accepted without effect
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None
    verbosity: Literal["medium"] | None = None
    modalities: list[Literal["text"]] | None = None
    prediction: Prediction | None = None
    prompt_cache_key: Label | None = None
    prompt_cache_retention: Literal["in_memory", "24h"] | None = None
    prompt_cache_options: CacheOptions | None = None

    # Not here
    audio: None = None
    functions: None = None
    function_call: None = None
    moderation: None = None
    web_search_options: None = None
