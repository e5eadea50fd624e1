"""One request and its answer: plain data that the relay fills, and the record and the metrics are made of."""

import hashlib
import time
from dataclasses import dataclass, field

from gateway.door import ChatRequest
from gateway.keys.caller import Caller
from gateway.relay.boxes import Boxes
from gateway.relay.stage_times import StageTimes
from gateway.telemetry.catalogue import Outcome
from gateway.telemetry.ended_exchange import EndedExchange

CLIENT_LEFT_STATUS = 499  # no client sees it; the number that proxies log for this


@dataclass
class Answer:
    """What was answered, read after it was passed on: a digest and lengths, never the text.

    ``prompt_seen`` is the prompt's length as the first event that has usage tells it, before the answer has ended.
    ``error`` is what the engine sent in place of an answer, as JSON; no client sees it.
    ``sha256`` covers the text of every choice and every tool call (name and arguments) in the order they came.
    """

    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    chars: int = 0
    reasoning_chars: int = 0
    finish: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_seen: int | None = None
    error: bytes = b""


@dataclass
class Exchange:
    """One exchange. Times are from ``time.monotonic()``. ``ip`` is the client's address, ``peer`` the
    socket's other end (a proxy's, where there is one). ``tokens`` may be used at most, as estimated before it began.

    ``admit_s`` and ``complete_s`` are how long the audit log took. Of a stream: when its first token was handed on, when its last
    piece came, and the longest time between two pieces.
    """

    id: str
    caller: Caller
    route: str
    ip: str
    peer: str
    request: ChatRequest
    tokens: int
    stage_times: StageTimes
    engine: str = ""
    id_in_log: str = ""
    traceparent: bytes = b""  # of who asks, where traces are made
    boxes: Boxes | None = None  # how the client wants boxes; None for the model's own form
    status: int = CLIENT_LEFT_STATUS
    outcome: Outcome = Outcome.CLIENT_LEFT  # until the last byte proves otherwise
    answer: Answer = field(default_factory=Answer)
    started_s: float = field(default_factory=time.monotonic)
    first_byte_s: float | None = None
    ended_s: float | None = None
    waited_s: float | None = None
    first_token_s: float | None = None
    last_piece_s: float = 0.0
    longest_silence_s: float = 0.0
    answer_bytes: int = 0
    admit_s: float | None = None
    complete_s: float | None = None

    def ended(self) -> EndedExchange:
        """What metrics and traces are told at its end."""
        request, answer, times = self.request, self.answer, self.stage_times
        images = request.images
        return EndedExchange(
            id=self.id,
            id_in_log=self.id_in_log,
            route=self.route,
            model=request.model,
            tenant=self.caller.tenant,
            engine=self.engine,
            outcome=self.outcome,
            status=self.status,
            stream=request.stream,
            n=request.n,
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            finish=answer.finish,
            traceparent=self.traceparent,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            images=len(images),
            image_bytes=sum(image.size_bytes for image in images),
            image_pixels=sum(image.width * image.height for image in images),
            body_bytes=times.body_bytes,
            answer_bytes=self.answer_bytes,
            stages=times.stages,
            began_s=times.began_s,
            ended_s=times.ended_s,
            waited_s=self.waited_s,
            first_byte_s=self.first_byte_s,
            first_token_s=self.first_token_s,
            last_piece_s=self.last_piece_s,
            longest_silence_s=self.longest_silence_s,
            admit_s=self.admit_s,
            complete_s=self.complete_s,
        )
