"""The way out for each thing that clients send and this service does not take; it decides nothing, it only says."""

from typing import Any

_ENGINE = "It steers the engine and is not open to clients. Leave it out."
_INLINE = "Send images inline: {type: image_url, image_url: {url: data:image/jpeg;base64,...}}."
_SCHEMA = "Use `response_format` with a json_schema."
_RAW = "Answers hold text, not token ids. Leave it out."
_LENGTH = "Use `max_completion_tokens`."
_PART = "Send it as a content part of its own."
_NO_AUDIO = "This service takes no audio."
_NO_VIDEO = "This service takes no video; send frames as images."

# Names that no type knows and that are refused: their absence would show in the answer, or they have done harm.
REFUSED: dict[str, str] = {
    # What separates callers, or steers the engine
    "uuid": "The gateway names images itself.",
    "cache_salt": "The gateway sets it, one for each tenant.",
    "request_id": "The gateway sets its own; read X-Request-Id of the answer.",
    "priority": _ENGINE,
    "mm_processor_kwargs": _ENGINE,
    "media_io_kwargs": _ENGINE,
    "kv_transfer_params": _ENGINE,
    "ec_transfer_params": _ENGINE,
    "vllm_xargs": _ENGINE,
    "logits_processors": "Use `logit_bias`.",
    "custom_logit_processor": "Use `logit_bias`.",
    "lora_request": _ENGINE,
    "watermarking": _ENGINE,
    "repetition_detection": _ENGINE,
    "truncate_prompt_tokens": "Shorten the conversation yourself.",
    "truncation_side": "Shorten the conversation yourself.",
    # What the model would read
    "chat_template": "The model's own template is used.",
    "chat_template_kwargs": "It stands in the body itself, with `enable_thinking` only.",
    "documents": "Put documents into the text of a message.",
    "prompt": "Use `messages`.",
    "input": "Use `messages`.",
    "input_ids": "Use `messages`.",
    "prompt_token_ids": "Use `messages`.",
    "system": "Use a message of role system.",
    "instructions": "Use a message of role system.",
    "images": _INLINE,
    "image": _INLINE,
    "audio": _NO_AUDIO,
    "audios": _NO_AUDIO,
    "audio_url": _NO_AUDIO,
    "input_audio": _NO_AUDIO,
    "video": _NO_VIDEO,
    "videos": _NO_VIDEO,
    "video_url": _NO_VIDEO,
    "add_special_tokens": "The model's own template writes them. Leave it out.",
    "extra_body": "Send its fields in the body itself.",
    # How the answer is made, or what stands in it
    "allowed_token_ids": "Use `logit_bias`.",
    "bad_words": "Use `logit_bias` or `stop`.",
    "best_of": "Use `n`.",
    "use_beam_search": "Use `n` or `temperature`.",
    "echo": "Put the texts together yourself.",
    "prefix": "Use `continue_final_message` in the body.",
    "include_stop_str_in_output": "Add the text of `stop` yourself.",
    "include_reasoning": "Use `thinking` with type disabled, or leave the reasoning unread.",
    "return_token_ids": _RAW,
    "return_tokens_as_token_ids": _RAW,
    "return_prompt_text": _RAW,
    "prompt_logprobs": "Use `logprobs`, for the answer.",
    "logprob_token_ids": "Use `top_logprobs`.",
    "structured_outputs": _SCHEMA,
    "regex": _SCHEMA,
    "ebnf": _SCHEMA,
    "grammar": _SCHEMA,
    "json_schema": _SCHEMA,
    "response_schema": _SCHEMA,
    "format": "Use `response_format`.",
    "max_new_tokens": _LENGTH,
    "max_output_tokens": _LENGTH,
    "num_predict": _LENGTH,
    "n_predict": _LENGTH,
    "stop_sequences": "Use `stop`.",
    "think": "Use `thinking`.",
    "web_search": "This service reaches no network and searches nothing.",
}
_REFUSED_BEGINNINGS = {"guided_": _SCHEMA}
_REFUSED_ENDINGS = {"_embeds": _INLINE}

# Refused at some places only: content in a part of another type, a schema beside `type`, every other switch.
_REFUSED_IN: dict[str, dict[str, str]] = {
    "TextPart": {"image_url": _PART, "file": _PART},
    "RefusalPart": {"text": _PART, "image_url": _PART, "file": _PART},
    "ImagePart": {"text": _PART, "file": _PART},
    "JsonObjectFormat": {"schema": _SCHEMA},
    "TextFormat": {"schema": _SCHEMA},
}
_SWITCHES = "Only `enable_thinking` stands here. Leave it out."
_IGNORED_SWITCHES = frozenset({"clear_thinking"})

# In messages, tools and calls these are a client's own notes.
_NOTES = frozenset({"uuid", "request_id", "priority", "input", "prompt", "system", "instructions", "format", "regex"})
_IMAGE_NOTES = frozenset({("ImageURL", "format"), ("ImagePart", "format")})  # a media type: the bytes say it
_WITH_NOTES = frozenset(
    {
        "SystemMessage",
        "DeveloperMessage",
        "UserMessage",
        "AssistantMessage",
        "ToolMessage",
        "ToolCall",
        "CalledFunction",
        "FunctionTool",
        "Function",
        "JsonSchema",
    }
)

# Values of refused fields that say what happens anyway: with them the field is ignored.
HARMLESS: dict[str, tuple[Any, ...]] = {
    "add_special_tokens": (False,),
    "best_of": (1,),
    "echo": (False,),
    "extra_body": ({},),
    "include_reasoning": (True,),
    "include_stop_str_in_output": (False,),
    "prefix": (False,),
    "return_prompt_text": (False,),
    "return_token_ids": (False,),
    "return_tokens_as_token_ids": (False,),
    "text": ("",),
    "use_beam_search": (False,),
    "watermarking": (False,),
}

# Names that clients are known to send and that are ignored: no slips of others, and the only labels of the metric.
SDK_FIELDS: frozenset[str] = frozenset(
    {
        "annotations",
        "budget_tokens",
        "cache_control",
        "chat_id",
        "citations",
        "clear_thinking",
        "context",
        "created",
        "created_at",
        "custom_llm_provider",
        "defer_loading",
        "detail",
        "experimental_attachments",
        "extra_headers",
        "features",
        "files",
        "finish_reason",
        "id",
        "include",
        "index",
        "input_examples",
        "is_error",
        "length_penalty",
        "litellm_metadata",
        "logprobs",
        "metadata",
        "mirostat",
        "model",
        "models",
        "name",
        "num_ctx",
        "object",
        "options",
        "parsed",
        "plugins",
        "provider",
        "provider_options",
        "provider_specific_fields",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "refusal",
        "repeat_penalty",
        "request_id",
        "role",
        "route",
        "safe_prompt",
        "session_id",
        "signature",
        "spaces_between_special_tokens",
        "state",
        "status",
        "stream_interval",
        "strict",
        "thinking_blocks",
        "thinking_budget",
        "thinking_token_budget",
        "timestamp",
        "timeout",
        "title",
        "tool_calls",
        "tool_call_id",
        "tool_name",
        "tool_stream",
        "top_a",
        "transforms",
        "type",
        "typical_p",
        "usage",
        "user_id",
        "uuid",
        "variables",
    }
)

# OpenAI's fields that are typed but not served, or served for some values only, by their last name.
_FIELDS: dict[str, str] = {
    "functions": "Use `tools`.",
    "function_call": "Use `tool_choice` in the body and `tool_calls` in messages.",
    "audio": "This service has no audio.",
    "modalities": 'Only ["text"] is served.',
    "moderation": "This service has no moderation model.",
    "web_search_options": "This service reaches no network and searches nothing.",
    "store": "Answers are not stored here; send false or leave it out.",
    "service_tier": "There is one tier; send auto or leave it out.",
    "verbosity": "Ask for a short or a long answer in the system message.",
    "include_obfuscation": "Streams are not padded here; send false or leave it out.",
    "image_url": "It is an object, {url: data:image/jpeg;base64,...}, or such a URL alone.",
}

# Values of `type` and `role`.
_TYPES: dict[str, str] = {
    "video_url": _NO_VIDEO,
    "video": _NO_VIDEO,
    "input_audio": _NO_AUDIO,
    "audio_url": _NO_AUDIO,
    "file": "This service takes no files; send pages as images.",
    "image": _INLINE,
    "input_image": _INLINE,
    "input_text": "Use type text.",
    "output_text": "Use type text.",
    "image_url": "Images stand in user and tool messages only.",
    "refusal": "Refusals stand in assistant messages only.",
    "custom": "Only tools of type function are served.",
    "structural_tag": "Use json_schema or json_object.",
    "json_schema": "It needs a `json_schema` object beside `type`.",
}
_ROLES: dict[str, str] = {"function": "Use role tool with a tool_call_id."}


def way_out(name: str, kind: str) -> str | None:
    """What to send instead of the unknown field in an object of this type of model.py; None where it may be ignored."""
    if kind == "TemplateSwitches":
        return None if name in _IGNORED_SWITCHES else _SWITCHES
    if (kind in _WITH_NOTES and name in _NOTES) or (kind, name) in _IMAGE_NOTES:
        return None
    say = _REFUSED_IN.get(kind, {}).get(name) or REFUSED.get(name)
    if say is not None:
        return say
    ways = [say for start, say in _REFUSED_BEGINNINGS.items() if name.startswith(start)]
    ways += [say for end, say in _REFUSED_ENDINGS.items() if name.endswith(end)]
    return ways[0] if ways else None


def hint_for_field(place: tuple[str | int, ...]) -> str | None:
    """What to send instead of the refused field at `place`."""
    for step in reversed(place):
        if isinstance(step, str):
            return _FIELDS.get(step)
    return None


def hint_for_value(place: tuple[str | int, ...], value: Any) -> str | None:
    """What to send instead of `value`, which was refused at `place`."""
    if not isinstance(value, str) or not place:
        return None
    if place[-1] == "type":
        return _TYPES.get(value)
    if place[-1] == "role":
        return _ROLES.get(value)
    return None
