"""What an engine refuses, in our own words; pure. Of the engine's text only numbers and its kind are read: it has leaked
addresses and paths.

An answer that is refused is the caller's fault (400): the engine stays in rotation, and no other engine is asked.
"""

import re
from dataclasses import dataclass

import msgspec

from gateway.door import ChatRequest, image_tokens
from gateway.front.errors import BadRequest, EngineBroke, GatewayError
from gateway.relay.limit_policy import prompt_tokens

_OF_THE_CALLER = (400, 422, 501)  # 422: content that can't be processed; 501: a feature that this model does not have
_LENGTH = ("max_tokens", "max_completion_tokens", "input_tokens", "input_text")
_CONTEXT = re.compile(r"(?:maximum context length is |max_model_len=)(\d{1,9})\b")
_PROMPT = re.compile(r"your prompt contains (at least )?(\d{1,9}) input tokens")
_GRAMMAR = re.compile(
    r"Grammar error: |Invalid (?:grammar|structural tag) specification|Failed to (?:transform|convert) |Invalid JSON grammar|"
    r"The provided JSON schema contains features not supported"
)
_MIN_TOKENS = re.compile(r"min_tokens must be less than or equal to max_tokens=(\d{1,9})\b")
_PICTURES = re.compile(r"At most (\d{1,4}) image\(s\) may be provided in one prompt")
_TOKEN_IDS = re.compile(r"contain out-of-vocab token ids")
_ONE_REQUEST_FAILED = (
    "Internal server error"  # what vLLM says of one request that failed, when the engine itself is well
)
_KINDS = frozenset(("BadRequestError", "UnprocessableEntityError", "NotImplementedError", "InternalServerError"))
_PARAM = re.compile(r"[a-z][a-z0-9_.]{0,63}")


class EngineError(msgspec.Struct):
    """vLLM's error object. ``code`` is the status also where it comes as an event of a stream."""

    message: str = ""
    type: str = ""
    param: str | None = None
    code: int | None = None


class _Body(msgspec.Struct):
    error: EngineError


@dataclass(frozen=True)
class Judgement:
    """``error`` is what the client is told. ``unknown`` is the kind of a refusal that no line of the table names, for the log."""

    error: GatewayError
    unknown: str = ""


def of_answer(status: int, body: bytes, request: ChatRequest, context: int | None) -> Judgement:
    """What an answer with an error's status means. ``context`` is the engine's, in tokens."""
    try:
        error = msgspec.json.decode(body, type=_Body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        error = EngineError()
    return _judged(status, error, request, context)


def of_event(raw: bytes, request: ChatRequest, context: int | None) -> Judgement:
    """What an error event at a stream's beginning means: its status was sent before the engine looked at the request."""
    try:
        error = msgspec.json.decode(raw, type=EngineError)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        error = EngineError()
    return _judged(error.code or 500, error, request, context)


def _judged(status: int, error: EngineError, request: ChatRequest, context: int | None) -> Judgement:
    # vLLM compiles a grammar after it took the request. Then it says of a schema what it says of any request that failed. That
    # the schema is to blame holds where the profile pins one backend for grammars; else the first request decides which it is.
    grammar_failed = status == 500 and error.message == _ONE_REQUEST_FAILED and _has_grammar(request)
    if grammar_failed or (status == 400 and _GRAMMAR.match(error.message)):
        return Judgement(_no_grammar(request))
    if status not in _OF_THE_CALLER:
        return Judgement(EngineBroke(f"the engine answered with status {status}; try again"))
    if error.param in _LENGTH:
        return Judgement(_too_long(error, request, context))
    if error.param in ("logit_bias", "stop_token_ids") and _TOKEN_IDS.search(error.message):
        return Judgement(
            BadRequest(
                f"{error.param} has a token id that this model does not have; send ids of its own vocabulary",
                param=error.param,
                code="invalid_value",
            )
        )
    if found := _MIN_TOKENS.match(error.message):
        return Judgement(
            BadRequest(
                f"min_tokens is more than the {found[1]} tokens that an answer may have here; ask for fewer",
                param="min_tokens",
                code="invalid_value",
            )
        )
    if found := _PICTURES.match(error.message):
        return Judgement(
            BadRequest(
                f"the request has {len(request.images)} images; this model takes at most {found[1]} in a conversation; send fewer",
                param="messages",
                code="over_limit",
            )
        )
    words = "the engine can't do what was asked; leave out unusual parameters (/docs lists all) or send other values"
    param = error.param if error.param and _PARAM.fullmatch(error.param) else ""
    kind = error.type if error.type in _KINDS else "other"
    return Judgement(BadRequest(words, code="engine_refused"), unknown=f"{status} {kind} {param}".rstrip())


def _too_long(error: EngineError, request: ChatRequest, context: int | None) -> BadRequest:
    """OpenAI's wording and the order of its numbers: clients look for both."""
    said, counted = _CONTEXT.search(error.message), _PROMPT.search(error.message)
    limit = int(said[1]) if said else context
    prompt = prompt_tokens(request)
    if counted:
        # "At least": the engine stopped counting just over its limit.
        prompt = max(prompt, int(counted[2])) if counted[1] else int(counted[2])
    elif limit is not None and error.param in ("input_tokens", "input_text"):
        prompt = max(prompt, limit + 1)
    answer = request.max_tokens
    if limit is None:
        text = "The prompt and the answer are longer than this model's maximum context length."
    elif answer is None:
        text = (
            f"This model's maximum context length is {limit} tokens. However, your messages resulted in {prompt} tokens."
            " Please reduce the length of the messages."
        )
    else:
        text = (
            f"This model's maximum context length is {limit} tokens. However, you requested {prompt + answer} tokens"
            f" ({prompt} in the messages, {answer} in the completion). Please reduce the length of the messages or completion."
        )
    pictures = sum(image_tokens(*image.shown) for image in request.images)
    if pictures:
        text += (
            f" Of the messages' tokens, {len(request.images)} picture(s) take {pictures}: send fewer or smaller ones."
        )
    return BadRequest(text, param="messages", code="context_length_exceeded")


def _has_grammar(request: ChatRequest) -> bool:
    return bool(request.tools) or _format_of(request) in ("json_schema", "json_object")


def _format_of(request: ChatRequest) -> object:
    form = request.body.response_format
    return None if form is None else form.__struct_config__.tag


def _no_grammar(request: ChatRequest) -> BadRequest:
    param = (
        "response_format" if _format_of(request) == "json_schema" else "tools" if request.tools else "response_format"
    )
    return BadRequest(
        f"the engine can't hold answers to the JSON Schema in {param}; use type, properties, required, items (one schema), enum,"
        " anyOf and $ref to the schema's own $defs, and leave other keywords out",
        param=param,
        code="unsupported_parameter",
    )
