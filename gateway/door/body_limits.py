"""How much may pass: every bound of the door in one frozen object, with defaults; it never decides who gets which."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorLimits:
    """Bounds of one request. The app makes one from its settings, and from a key's policy where that is tighter."""

    # The body
    body_bytes: int = 32 * 1024 * 1024
    text_bytes: int = 2 * 1024 * 1024  # the body without its base64
    depth: int = 64  # of the JSON; the engine allows a schema as many levels
    values: int = 50_000  # of the JSON, those in tool calls' arguments apart: objects cost far more time than text
    unknown_fields: Literal["ignore", "refuse"] = "ignore"
    ignored_fields: int = 64  # different names that are ignored in one request
    text_chars: int = 1_000_000  # of all that the chat template renders
    messages: int = 1_000
    parts: int = 1_000  # content parts in all messages together
    extreme_numbers: int = 1_000  # of over 40 characters, or beyond 1e±280: each takes as long to read as 500 others

    # The answer
    n: int = 8
    max_tokens: int | None = None  # the engine lowers what is beyond its context
    over_max_tokens: Literal["refuse", "cap"] = "refuse"
    default_max_tokens: int | None = None  # when the client names none
    top_logprobs: int = 20
    stops: int = 4  # as many as OpenAI; the engine refuses more
    stop_chars: int = 256
    stop_token_ids: int = 16  # the engine's own bound is 128, and passing it stops the engine
    logit_biases: int = 300

    # Tools and schemas
    tools: int = 128
    tools_bytes: int = 256 * 1024
    tool_calls: int = 128  # in one message
    schema_bytes: int = 64 * 1024
    schema_depth: int = 32
    schema_properties: int = 1_000
    schema_enum_values: int = 1_000
    schema_patterns: int = 16
    schema_pattern_chars: int = 256
    schema_repeat: int = 10_000  # minItems, maxLength, {m,n} in a pattern and the like: grammars unroll them

    # Images
    remote_images: bool = False  # http(s) URLs pass, for somebody else to fetch
    images: int = 16
    image_bytes: int = 10 * 1024 * 1024
    images_bytes: int = 20 * 1024 * 1024
    image_pixels: int = 40_000_000
    image_side_min: int = 8
    image_side_max: int = 16_384
    image_steps: int = 65_536  # to walk through one file: 16 a chunk or segment, 1 a GIF's block (image_headers)
    images_steps: int = 131_072
    images_decoding: int = 400_000_000  # pixels x scans of all images together
    image_aspect: int = 100  # longer side by shorter; the model's own processor raises over 200
