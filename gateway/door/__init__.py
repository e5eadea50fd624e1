"""What may pass: bodies parsed strictly, images checked, the engine's body written anew; pure functions, never I/O.

    request = parse_chat(body, limits)      # on the event loop: cheap
    image.take(...) for image in request.remote     # only where the limits let URLs pass
    digest_images(request)                  # in a thread: base64, headers, SHA-256
    engine_body(request, served_name, cache_salt, image_uuid)

All refusals are DoorErrors. This package imports nothing else of the gateway.
"""

from gateway.door.body_limits import DoorLimits
from gateway.door.chat_schema import chat_schema
from gateway.door.engine_request import engine_body
from gateway.door.errors import (
    BadImage,
    BadSyntax,
    BadValue,
    DoorError,
    ForgedToken,
    OverBound,
    OverBytes,
    UnknownField,
    Unsupported,
)
from gateway.door.hints import SDK_FIELDS
from gateway.door.image import Image
from gateway.door.image_tokens import GLM_4V_9B_IMAGE_TOKENS, image_tokens
from gateway.door.parsing import parse_chat
from gateway.door.remote_url import BadURL, RemoteURL, parse_remote_url
from gateway.door.request import ChatRequest, digest_images
from gateway.door.unknown_fields import named

__all__ = [
    "GLM_4V_9B_IMAGE_TOKENS",
    "SDK_FIELDS",
    "BadImage",
    "BadSyntax",
    "BadURL",
    "BadValue",
    "ChatRequest",
    "DoorError",
    "DoorLimits",
    "ForgedToken",
    "Image",
    "OverBound",
    "OverBytes",
    "RemoteURL",
    "UnknownField",
    "Unsupported",
    "chat_schema",
    "digest_images",
    "engine_body",
    "image_tokens",
    "named",
    "parse_chat",
    "parse_remote_url",
]
