"""One question and its streamed answer as a client sees it: when what came, and how it ended; reads bytes, sends none."""

from array import array
from dataclasses import dataclass, field

import orjson

OK = "ok"
_END = b"\n\n"


@dataclass(slots=True)
class MeasuredExchange:
    """Times in seconds: ``at_s``, when it was to be sent, from the start of the run; all others from ``at_s`` on.

    ``gaps_s`` are the times between one event that carries text and the next. ``outcome`` is pessimistic until the answer is
    whole: ``ok``, ``status 429``, ``cut``, ``no end``, ``error event``, ``timeout``, ``no connection``, ``not HTTP``,
    ``no tokens``. ``said`` is what an error said.
    """

    kind: str
    turn: int
    at_s: float
    sent_s: float = 0.0
    first_event_s: float = 0.0
    first_s: float = 0.0
    end_s: float = 0.0
    events: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    gaps_s: "array[float]" = field(default_factory=lambda: array("f"))
    outcome: str = "cut"
    said: str = ""

    @property
    def per_token_s(self) -> float | None:
        """Mean time of each token after the first; None where one event had them all."""
        if self.answer_tokens < 2 or not self.gaps_s:
            return None
        return sum(self.gaps_s) / (self.answer_tokens - 1)


class MeasuredAnswer:
    """Reads the events of one answer. Times are of the clock that ``due`` is of, the moment it was to be sent."""

    def __init__(self, exchange: MeasuredExchange, due: float) -> None:
        self.exchange = exchange
        self.text: list[str] = []  # what the model said, for the next turn
        self._due, self._rest, self._last = due, b"", 0.0
        self._done = False

    def feed(self, data: bytes, now: float) -> None:
        """One piece of the body, however it was cut."""
        events = (self._rest + data if self._rest else data).split(_END)
        self._rest = events.pop()
        for event in events:
            if event.startswith(b"data: "):
                self._event(event[6:], now)

    def end(self, now: float) -> None:
        """The body is whole."""
        exchange = self.exchange
        exchange.end_s = now - self._due
        if exchange.outcome == "cut":
            exchange.outcome = "no end" if not self._done else OK if exchange.first_event_s else "no tokens"

    def _event(self, data: bytes, now: float) -> None:
        if data == b"[DONE]":
            self._done = True
            return
        exchange = self.exchange
        try:
            event = orjson.loads(data)
            if "error" in event:
                exchange.outcome, exchange.said = "error event", str(event["error"])[:300]
                return
            for choice in event["choices"]:
                self._choice(choice["delta"], now)
            if usage := event.get("usage"):
                exchange.prompt_tokens, exchange.answer_tokens = usage["prompt_tokens"], usage["completion_tokens"]
        except (ValueError, KeyError, TypeError, AttributeError):
            exchange.outcome, exchange.said = "error event", f"not an event: {data[:200]!r}"

    def _choice(self, delta: dict[str, object], now: float) -> None:
        exchange = self.exchange
        exchange.first_event_s = exchange.first_event_s or now - self._due
        content = delta.get("content")
        if not (content or delta.get("reasoning") or delta.get("reasoning_content") or delta.get("tool_calls")):
            return
        exchange.events += 1
        if exchange.first_s:
            exchange.gaps_s.append(now - self._last)
        else:
            exchange.first_s = now - self._due
        self._last = now
        if isinstance(content, str):
            self.text.append(content)
