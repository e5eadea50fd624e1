"""Reads what an engine answered, whole or as server-sent events; pure, sends nothing and keeps no text.

Event stream format: https://html.spec.whatwg.org/multipage/server-sent-events.html (vLLM ends events with LF LF).
"""

import enum
from typing import Annotated

import msgspec

from gateway.front.errors import EngineBroke
from gateway.relay.exchange import Answer
from gateway.relay.rewriting import Rewriting

MAX_EVENT_BYTES = 1 << 20
DONE = b"data: [DONE]\n\n"
_SEPARATOR = b"\n\n"

Tokens = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
Word = Annotated[str, msgspec.Meta(max_length=64)]


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
    finish_reason: Word | None = None


class AnswerUsage(msgspec.Struct):
    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None


class Completion(msgspec.Struct):
    """A whole answer, or one event of it. ``error`` and ``object`` tell an engine's own error, however it is spelled."""

    choices: list[AnswerChoice] = []
    usage: AnswerUsage | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")
    object: Word = ""

    @property
    def is_answer(self) -> bool:
        return (
            bytes(self.error) == b"null" and self.object != "error" and (bool(self.choices) or self.usage is not None)
        )


_decoder = msgspec.json.Decoder(Completion)


class EventSplitter:
    """Cuts a byte stream into blocks of whole events, however the chunks fall."""

    def __init__(self) -> None:
        self._tail = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        """The whole events that are there now, as they came; empty if there are none. Raises EngineBroke over the limit."""
        # What came before has no end of an event in it; one may lie across the seam.
        looked = max(0, len(self._tail) - 1)
        whole = chunk
        if self._tail:
            self._tail += chunk
            whole = bytes(self._tail) if self._tail.find(_SEPARATOR, looked) >= 0 else b""
        found = whole.rfind(_SEPARATOR)
        if found < 0:
            if not self._tail:
                self._tail += chunk
            if len(self._tail) > MAX_EVENT_BYTES:
                raise EngineBroke("the engine sent an event without end; try again")
            return b""
        end = found + len(_SEPARATOR)
        if end == len(whole):
            self._tail.clear()
            return whole
        self._tail = bytearray(whole[end:])
        return whole[:end]


class Progress(enum.Enum):
    """What the engine has said of its answer so far."""

    GOES_ON = enum.auto()
    IS_DONE = enum.auto()
    BROKE = enum.auto()


def read_events(
    block: bytes, answer: Answer, *, with_usage: bool, rewriting: Rewriting | None = None
) -> tuple[bytes, Progress]:
    """Add a block of whole events to what is known of the answer; what of it the client may have, and whether it goes on.

    Only what was understood as a part of an answer is passed on. The closing ``[DONE]`` is held back: it may only follow the
    durable record. The usage event goes to a client that asked for it; usage in other events is of one choice and not
    noted. ``rewriting`` changes what the client gets, and the record's digest is of that. Anything else, an engine's error event
    in whatever spelling, is held back with all that follows it, since its text is the engine's own.
    """
    events = block.split(_SEPARATOR)
    events.pop()  # what is behind the last separator: nothing
    kept: list[bytes] = []
    progress, changed = Progress.GOES_ON, False
    for event in events:
        if b"\n" in event or b"\r" in event:
            # vLLM writes each event on one line. In JSON a line's end may be a blank, and a client would read something else.
            progress = Progress.BROKE
            break
        if event.startswith(b":"):
            continue  # a comment, which keeps a connection alive
        data = event.removeprefix(b"data:").removeprefix(b" ")
        if data == b"[DONE]":
            progress = Progress.IS_DONE
            break
        completion = _decoded(data) if event.startswith(b"data:") else None
        if completion is None or not completion.is_answer:
            if completion is not None and bytes(completion.error) != b"null":
                answer.error = bytes(completion.error)
            progress = Progress.BROKE
            break
        if rewriting is not None and completion.choices:
            _note_prompt(completion, answer)
            event, completion = _rewritten(data, rewriting)
            changed = True
        _note(completion, answer)
        if completion.choices or with_usage:
            kept.append(event)
    if progress is Progress.IS_DONE and rewriting is not None and (rest := rewriting.rest()):
        _note(_decoder.decode(rest), answer)
        kept.append(b"data: " + rest)
    if len(kept) == len(events) and not changed:
        return block, progress
    return b"".join(event + _SEPARATOR for event in kept), progress


def read_whole(body: bytes, answer: Answer, rewriting: Rewriting | None = None) -> bytes:
    """Note what is known of a whole answer; the client's form of it. Raises EngineBroke if it is none."""
    completion = _decoded(body)
    if completion is None or not completion.is_answer or not completion.choices or completion.usage is None:
        raise EngineBroke("the engine's answer was not understood; try again")
    if rewriting is not None:
        body = rewriting.whole(body)
        completion = _decoder.decode(body)
    _note(completion, answer)
    return body


def _decoded(data: bytes) -> Completion | None:
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # no JSON, not of this form, not UTF-8, a number that none can be, or nested too deep


def _rewritten(data: bytes, rewriting: Rewriting) -> tuple[bytes, Completion]:
    made = rewriting.event(data)
    return b"data: " + made, _decoder.decode(made)


def _note_prompt(completion: Completion, answer: Answer) -> None:
    if answer.prompt_seen is None and completion.usage is not None:
        answer.prompt_seen = completion.usage.prompt_tokens


def _note(completion: Completion, answer: Answer) -> None:
    for choice in completion.choices:
        said = choice.delta or choice.message
        if said is not None:
            _note_said(said, answer)
        if choice.finish_reason:
            answer.finish = choice.finish_reason
    _note_prompt(completion, answer)
    # Beside the choices of an event stands what one choice has used so far: less than the whole answer costs.
    if completion.usage is not None and not any(choice.delta for choice in completion.choices):
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
