"""Asks an engine what it serves and for one real token; never sends anything of a caller's."""

import aiohttp
import msgspec

from gateway.engines.endpoint import Endpoint

_QUESTION = "?"
_MOST_ANSWER_BYTES = 1 << 20


class NoProof(Exception):
    """The engine did not do what it should; the text says what it did."""


class Model(msgspec.Struct):
    id: str
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[Model]


class _Usage(msgspec.Struct):
    completion_tokens: int


class _Completion(msgspec.Struct):
    model: str
    usage: _Usage


async def models(session: aiohttp.ClientSession, endpoint: Endpoint, timeout_s: float) -> list[Model]:
    """What it says that it serves, at least one model. Raises NoProof."""
    body = await _answer(session.get(endpoint.base + "/v1/models", timeout=aiohttp.ClientTimeout(timeout_s)))
    try:
        found = msgspec.json.decode(body, type=_Models).data
    except msgspec.DecodeError:
        raise NoProof("its list of models was not understood") from None
    if not found:
        raise NoProof("it serves no model")
    return found


async def token(session: aiohttp.ClientSession, endpoint: Endpoint, model: str, timeout_s: float) -> None:
    """Ask for one token of ``model``. Raises NoProof if it does not come, or from another model."""
    question = {
        "model": model,
        "max_tokens": 1,
        "messages": [{"role": "user", "content": _QUESTION}],
        "cache_salt": "probe",
    }
    body = await _answer(
        session.post(endpoint.base + "/v1/chat/completions", json=question, timeout=aiohttp.ClientTimeout(timeout_s))
    )
    try:
        completion = msgspec.json.decode(body, type=_Completion)
    except msgspec.DecodeError:
        raise NoProof("its answer was not understood") from None
    if completion.model != model:
        raise NoProof("it answered with another model than it was asked for")
    if completion.usage.completion_tokens < 1:
        raise NoProof("it answered without a token")


async def _answer(asking: "aiohttp.client._RequestContextManager") -> bytes:
    try:
        async with asking as answer:
            if answer.status != 200:
                raise NoProof(f"it answered with status {answer.status}")
            body = await answer.content.read(_MOST_ANSWER_BYTES)
            while chunk := await answer.content.read(_MOST_ANSWER_BYTES):
                body += chunk
                if len(body) > _MOST_ANSWER_BYTES:
                    raise NoProof("its answer has no end")
            return body
    except TimeoutError:
        raise NoProof("it did not answer in time") from None
    except (aiohttp.ClientError, OSError) as error:
        raise NoProof(f"it could not be asked ({type(error).__name__})") from None
