"""One request and its answer: plain data that the relay fills, and the record is made of; does nothing itself."""

import enum
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.course import Course
from gateway.keys.caller import Caller

if TYPE_CHECKING:
    from gateway.door import ChatRequest


class Outcome(enum.StrEnum):
    """How an exchange ended."""

    COMPLETED = "completed"
    CLIENT_LEFT = "client_left"
    ENGINE_BROKE = "engine_broke"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"


CLIENT_LEFT_STATUS = 499  # no client sees it; the number that proxies log for this


@dataclass
class Answer:
    """What was answered, read after it was passed on: a digest and lengths, never the text.

    ``sha256`` covers the text of every choice and every tool call (name and arguments) in the order they came.
    """

    sha256: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    chars: int = 0
    reasoning_chars: int = 0
    finish: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


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
    request: "ChatRequest"
    tokens: int
    course: Course
    engine: str = ""
    id_in_log: str = ""
    traceparent: bytes = b""  # of who asks, where traces are made
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
