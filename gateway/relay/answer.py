"""Reads what an engine answered, whole or as server-sent events; pure, sends nothing and keeps no text.

Event stream format: https://html.spec.whatwg.org/multipage/server-sent-events.html (vLLM ends events with LF LF).
"""

import enum

import msgspec

from gateway.front.errors import EngineBroke
from gateway.relay.exchange import Answer

MAX_EVENT_BYTES = 4 << 20
DONE = b"data: [DONE]\n\n"
_SEPARATOR = b"\n\n"
_DATA = b"data: "


class AnswerFunction(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class AnswerToolCall(msgspec.Struct):
    function: AnswerFunction | None = None


class AnswerMessage(msgspec.Struct):
    """A message or a part of one."""

    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[AnswerToolCall] | None = None


class AnswerChoice(msgspec.Struct):
    delta: AnswerMessage | None = None
    message: AnswerMessage | None = None
    finish_reason: str | None = None


class AnswerUsage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Completion(msgspec.Struct):
    """A whole answer, or one event of it."""

    choices: list[AnswerChoice] = []
    usage: AnswerUsage | None = None


_decoder = msgspec.json.Decoder(Completion)


class EventSplitter:
    """Cuts a byte stream into blocks of whole events, however the chunks fall."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, chunk: bytes) -> bytes:
        """The whole events that are there now, as they came; empty if there are none. Raises EngineBroke over the limit."""
        block = self._tail + chunk if self._tail else chunk
        end = block.rfind(_SEPARATOR)
        if end < 0:
            if len(block) > MAX_EVENT_BYTES:
                raise EngineBroke("the engine sent an event without end; try again")
            self._tail = block
            return b""
        end += len(_SEPARATOR)
        self._tail = block[end:]
        return block[:end]


class Progress(enum.Enum):
    """What the engine has said of its answer so far."""

    GOES_ON = enum.auto()
    IS_DONE = enum.auto()
    BROKE = enum.auto()


def sift(block: bytes, *, with_usage: bool) -> tuple[bytes, Progress]:
    """What of a block of whole events the client may have now, and whether the engine goes on after it.

    The closing ``[DONE]`` is held back: it may only follow the durable record. The usage event goes to who asked for it.
    An error event is held back too, since its text is the engine's own, and so is all that follows it.
    """
    # A model's own text can't match: inside a JSON string its quotes and line ends are escaped.
    if b"[DONE]" not in block and b'"usage":{' not in block and b'data: {"error"' not in block:
        return block, Progress.GOES_ON
    kept: list[bytes] = []
    for event in block.split(_SEPARATOR)[:-1]:
        data = event.removeprefix(_DATA)
        if data == b"[DONE]":
            return b"".join(kept), Progress.IS_DONE
        if data.startswith(b'{"error"'):
            return b"".join(kept), Progress.BROKE
        if b'"usage":{' in data and not with_usage and not _completion(data).choices:
            continue
        kept.append(event + _SEPARATOR)
    return b"".join(kept), Progress.GOES_ON


def read_events(block: bytes, answer: Answer) -> None:
    """Add a block of whole events to what is known of the answer. Raises EngineBroke for what is none."""
    for event in block.split(_SEPARATOR):
        data = event.removeprefix(_DATA)
        if data.startswith(b"{"):
            _note(_completion(data), answer)
        elif data != b"[DONE]" and data and not data.startswith(b":"):  # a comment keeps a connection alive
            raise _not_understood()


def read_whole(body: bytes, answer: Answer) -> None:
    """Note a whole answer. Raises EngineBroke if it is none."""
    completion = _completion(body)
    if not completion.choices or completion.usage is None:
        raise _not_understood()
    _note(completion, answer)


def _completion(data: bytes) -> Completion:
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError:
        raise _not_understood() from None


def _not_understood() -> EngineBroke:
    return EngineBroke("the engine's answer was not understood; try again")


def _note(completion: Completion, answer: Answer) -> None:
    for choice in completion.choices:
        said = choice.delta or choice.message
        if said is not None:
            _note_said(said, answer)
        if choice.finish_reason:
            answer.finish = choice.finish_reason
    if completion.usage is not None:
        answer.prompt_tokens = completion.usage.prompt_tokens
        answer.completion_tokens = completion.usage.completion_tokens


def _note_said(said: AnswerMessage, answer: Answer) -> None:
    texts = [said.content or ""]
    for call in said.tool_calls or ():
        if call.function is not None:
            texts += [call.function.name or "", call.function.arguments or ""]
    for text in filter(None, texts):
        answer.sha256.update(text.encode("utf-8", "surrogatepass"))
        answer.chars += len(text)
    answer.reasoning_chars += len(said.reasoning or "")
