"""Asks an engine what it serves and for one real token; never sends anything of a caller's."""

import msgspec

from gateway.engines.connections import ConnectFailed, ConnectionBroken, EngineConnections
from gateway.ledger.format.printable import MOST_MODEL_CHARS, text_fault

_QUESTION = "?"
_MOST_ANSWER_BYTES = 1 << 20


class ProbeFailed(Exception):
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


async def models(connections: EngineConnections, timeout_s: float) -> list[Model]:
    """What it says that it serves, at least one model. Raises ProbeFailed."""
    body = await _answer(connections, "GET", "/v1/models", b"", timeout_s)
    try:
        found = msgspec.json.decode(body, type=_Models).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProbeFailed("its list of models was not understood") from None
    if not found:
        raise ProbeFailed("it serves no model")
    for model in found:
        fault = text_fault(model.id, MOST_MODEL_CHARS)
        if fault:
            raise ProbeFailed(f"the name of its model {model.id[:MOST_MODEL_CHARS]!r} can't be used: {fault}")
    return found


async def token(connections: EngineConnections, model: str, timeout_s: float) -> None:
    """Ask for one token of ``model``. Raises ProbeFailed if it does not come, or from another model."""
    question = {
        "model": model,
        "max_tokens": 1,
        "messages": [{"role": "user", "content": _QUESTION}],
        "cache_salt": "probe",
    }
    body = await _answer(connections, "POST", "/v1/chat/completions", msgspec.json.encode(question), timeout_s)
    try:
        completion = msgspec.json.decode(body, type=_Completion)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProbeFailed("its answer was not understood") from None
    if completion.model != model:
        raise ProbeFailed("it answered with another model than it was asked for")
    if completion.usage.completion_tokens < 1:
        raise ProbeFailed("it answered without a token")


async def _answer(connections: EngineConnections, method: str, path: str, body: bytes, timeout_s: float) -> bytes:
    try:
        answer = await connections.ask(method, path, body, silence_s=timeout_s, answer_s=timeout_s)
        try:
            if await answer.head() != 200:
                raise ProbeFailed(f"it answered with status {answer.status}")
            return await answer.read(_MOST_ANSWER_BYTES)
        finally:
            answer.release()
    except TimeoutError:
        raise ProbeFailed("it did not answer in time") from None
    except (ConnectionBroken, ConnectFailed) as error:
        raise ProbeFailed(f"it could not be asked ({error})") from None
