"""The way out for each thing that clients send and this service does not take; it decides nothing, it only says."""

from typing import Any

_SAMPLING = "It is not in OpenAI's API; the operator sets it in the engine's profile."
_ENGINE = "It steers the engine and is not open to clients."
_INLINE = "Send images inline: {type: image_url, image_url: {url: data:image/jpeg;base64,...}}."

# Fields that the engine or other APIs know, by name.
UNKNOWN: dict[str, str] = {
    "uuid": "The gateway names images itself.",
    "cache_salt": "The gateway sets it, one for each tenant.",
    "request_id": "The gateway sets its own; read X-Request-Id of the answer.",
    "chat_template": "The model's own template is used.",
    "documents": "Put documents into the text of a message.",
    "mm_processor_kwargs": _ENGINE,
    "media_io_kwargs": _ENGINE,
    "priority": _ENGINE,
    "allowed_token_ids": _ENGINE,
    "bad_words": "Use `logit_bias` or `stop`.",
    "kv_transfer_params": _ENGINE,
    "ec_transfer_params": _ENGINE,
    "vllm_xargs": _ENGINE,
    "best_of": "Use `n`.",
    "top_k": _SAMPLING,
    "min_p": _SAMPLING,
    "repetition_penalty": _SAMPLING,
    "length_penalty": _SAMPLING,
    "guided_json": "Use `response_format` with a json_schema.",
    "structured_outputs": "Use `response_format` with a json_schema.",
    "prompt": "Use `messages`.",
    "input": "Use `messages`.",
    "cache_control": "Caching needs no marks here.",
    "detail": "It belongs into `image_url`, beside `url`.",
}

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
    "image_url": "It is an object: {url: data:image/jpeg;base64,...}.",
}

# Values of `type` and `role`.
_TYPES: dict[str, str] = {
    "video_url": "This service takes no video; send frames as images.",
    "video": "This service takes no video; send frames as images.",
    "input_audio": "This service takes no audio.",
    "audio_url": "This service takes no audio.",
    "file": "This service takes no files; send pages as images.",
    "image": _INLINE,
    "input_image": _INLINE,
    "input_text": "Use type text.",
    "output_text": "Use type text.",
    "image_url": "Images stand in user messages only.",
    "refusal": "Refusals stand in assistant messages only.",
    "custom": "Only tools of type function are served.",
    "structural_tag": "Use json_schema or json_object.",
    "json_schema": "It needs a `json_schema` object beside `type`.",
}
_ROLES: dict[str, str] = {"function": "Use role tool with a tool_call_id."}


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
