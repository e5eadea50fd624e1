"""Bodies and pictures for the door's tests."""

import base64
import io
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from PIL import Image as Picture

from gateway.door import ChatRequest, DoorError, DoorLimits, digest_images, engine_body, parse_chat

LIMITS = DoorLimits()
SALT = "5a" * 32


@cache
def picture(kind: str = "PNG", width: int = 64, height: int = 48, **options: Any) -> bytes:
    """A real file with a gradient, as Pillow writes it."""
    image = Picture.linear_gradient("L").resize((width, height)).convert("RGB")
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@cache
def animation(kind: str) -> bytes:
    frames = [Picture.new("RGB", (32, 32), colour) for colour in ("red", "blue", "green")]
    out = io.BytesIO()
    frames[0].save(out, kind, save_all=True, append_images=frames[1:], duration=100)
    return out.getvalue()


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image_part(data: bytes, kind: str = "image/png", **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(data, kind), **more}}


def body(*messages: dict[str, Any] | str, **fields: Any) -> dict[str, Any]:
    said = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages or ("What is this?",)]
    return {"model": "glm-4v", "messages": said, **fields}


def user(*parts: dict[str, Any] | str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]}


def parse(sent: dict[str, Any] | bytes, limits: DoorLimits = LIMITS) -> ChatRequest:
    """Through the whole door, images too."""
    request = parse_chat(sent if isinstance(sent, bytes) else json.dumps(sent).encode(), limits)
    digest_images(request)
    return request


def refused(sent: dict[str, Any] | bytes, limits: DoorLimits = LIMITS) -> DoorError:
    with pytest.raises(DoorError) as caught:
        parse(sent, limits)
    error = caught.value
    assert error.message.endswith(".")
    return error


def written(
    sent: dict[str, Any] | bytes, limits: DoorLimits = LIMITS, uuid: Callable[[bytes], str] = bytes.hex
) -> dict[str, Any]:
    """What the engine would read."""
    made: dict[str, Any] = json.loads(engine_body(parse(sent, limits), "served", SALT, uuid))
    return made
