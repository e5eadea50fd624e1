"""An exchange that has ended, as metrics and traces are told of it: names and numbers alone, never a content."""

from dataclasses import dataclass

from gateway.telemetry.catalogue import Outcome, Stage


@dataclass(slots=True)
class EndedExchange:
    """Times are of ``time.monotonic()``, in seconds. Tokens are None where the engine counted none.

    ``stages`` are in their order, each from its moment to the next one's. ``n`` is the number of choices, ``images`` the number
    of images. ``admit_s`` and ``complete_s`` are how long the audit log took. Of a stream: when its first token was handed on,
    when its last piece came, and the longest time between two pieces.
    """

    id: str
    id_in_log: str
    route: str
    model: str
    tenant: str
    engine: str
    outcome: Outcome
    status: int
    stream: bool
    n: int
    max_tokens: int | None
    temperature: float | None
    finish: str | None
    traceparent: bytes
    prompt_tokens: int | None
    completion_tokens: int | None
    images: int
    image_bytes: int
    image_pixels: int
    body_bytes: int
    answer_bytes: int
    stages: list[tuple[Stage, float]]
    began_s: float
    ended_s: float
    waited_s: float | None
    first_byte_s: float | None
    first_token_s: float | None
    last_piece_s: float
    longest_silence_s: float
    admit_s: float | None
    complete_s: float | None

    def spent(self) -> dict[Stage, float]:
        """Seconds in each stage that it went through; together they are the whole."""
        found: dict[Stage, float] = {}
        until_s = self.ended_s
        for stage, from_s in reversed(self.stages):
            found[stage] = found.get(stage, 0.0) + until_s - from_s
            until_s = from_s
        return found
