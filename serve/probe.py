"""Asks an engine over its Unix socket whether it lives and whether it can see; never sends anything of a user's."""

import base64
import struct
import zlib
from pathlib import Path

import aiohttp

from serve.errors import ServeError

HEALTH_DEADLINE_S = 5.0
ANSWER_DEADLINE_S = 300.0
_PICTURE_SIDE = 112
_COUNTERS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")


async def healthy(socket: Path, deadline_s: float = HEALTH_DEADLINE_S) -> bool:
    """Whether ``GET /health`` answers 200 within ``deadline_s``."""
    try:
        async with _session(socket, deadline_s) as session, session.get("http://engine/health") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False


async def tokens_counted(socket: Path, deadline_s: float = HEALTH_DEADLINE_S) -> float | None:
    """How many tokens of prompts and answers the engine has counted so far; None if it does not say within ``deadline_s``."""
    try:
        async with _session(socket, deadline_s) as session, session.get("http://engine/metrics") as answer:
            lines = (await answer.text(errors="replace")).splitlines()
        found = [float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(_COUNTERS)]
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, LookupError):
        return None
    return sum(found) if found else None


async def context_tokens(socket: Path) -> int:
    """The longest prompt and answer together that the engine takes, in tokens. Raises ServeError if it does not say."""
    try:
        async with _session(socket, HEALTH_DEADLINE_S) as session, session.get("http://engine/v1/models") as answer:
            return int((await answer.json())["data"][0]["max_model_len"])
    except (aiohttp.ClientError, OSError, ValueError, LookupError, TypeError) as error:
        raise ServeError(
            f"the engine does not say its context length ({type(error).__name__}: {error}); its lines above may say why"
        ) from None


async def fault(socket: Path, model: str, *, picture: bool = True, deadline_s: float = ANSWER_DEADLINE_S) -> str:
    """Ask for one token, about a small grey picture or about nothing. An empty string when it came, else what came instead."""
    question = {
        "model": model,
        "max_tokens": 1,
        "messages": [
            {
                "role": "user",
                "content": [
                    *([{"type": "image_url", "image_url": {"url": _picture()}}] if picture else []),
                    {"type": "text", "text": "?"},
                ],
            }
        ],
    }
    try:
        async with (
            _session(socket, deadline_s) as session,
            session.post("http://engine/v1/chat/completions", json=question) as answer,
        ):
            body = await answer.json(content_type=None)
            tokens = body["usage"]["completion_tokens"] if answer.status == 200 else 0
            return "" if tokens == 1 else f"status {answer.status}: {str(body)[:300]}"
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError, LookupError, TypeError) as error:
        return f"{type(error).__name__}: {error}"


def _session(socket: Path, deadline_s: float) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(str(socket)), timeout=aiohttp.ClientTimeout(total=deadline_s)
    )


def _picture() -> str:
    """A grey PNG as a data URL (PNG, ISO/IEC 15948: signature, IHDR, IDAT, IEND), so that no image library is needed."""
    row = b"\0" + b"\x80" * _PICTURE_SIDE
    header = struct.pack(">IIBBBBB", _PICTURE_SIDE, _PICTURE_SIDE, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * _PICTURE_SIDE)), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    return "data:image/png;base64," + base64.b64encode(png).decode()
