"""What the bench asks: small questions and pictures of a mebibyte; makes bytes, sends nothing."""

import base64
import io
import json
import os

from PIL import Image

MEBIBYTE = 1 << 20
ROUTE = "/v1/chat/completions"
_SIDE = 936  # pixels; noise of this size is a JPEG of about three quarters of a mebibyte


def small(*, stream: bool = False) -> bytes:
    """A short question without a picture."""
    return _body("What is the capital of France, and for how long has it been?", stream=stream)


def pictures(count: int) -> list[bytes]:
    """Questions about different pictures, each body a little under one mebibyte."""
    return [_with_picture() for _ in range(count)]


def request(body: bytes, headers: dict[str, str]) -> bytes:
    """The whole HTTP request."""
    fields = {"host": "bench", "content-type": "application/json", "content-length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {ROUTE} HTTP/1.1\r\n{head}\r\n".encode() + body


def _with_picture() -> bytes:
    for side in range(_SIDE, 0, -8):
        file = io.BytesIO()
        Image.frombytes("RGB", (side, side), os.urandom(side * side * 3)).save(file, "JPEG", quality=90)
        url = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
        body = _body(
            [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is in this picture?"}],
            stream=False,
        )
        if len(body) <= MEBIBYTE:
            return body
    raise AssertionError("no picture is small enough")


def _body(content: object, *, stream: bool) -> bytes:
    body = {"model": "glm-4v", "messages": [{"role": "user", "content": content}], "max_tokens": 128, "stream": stream}
    return json.dumps(body).encode()
