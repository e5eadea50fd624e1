"""How much a caller may use, as the ledger is asked and as the client is told; decides nothing: the ledger does.

A request reserves its prompt's estimate and the longest answer it may have. What it really used replaces that at its end.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.door import ChatRequest, image_tokens
from gateway.front.errors import OverLimit
from gateway.keys.allowance import Allowance
from gateway.keys.caller import Caller
from gateway.ledger.client.messages import Limit, LimitExceeded, LimitRemaining, Refusal

_CHARS_PER_TOKEN = 3  # English has some four characters a token and Chinese under two; the engine's count settles it
_TOKENS_PER_MESSAGE = 8
_TOKENS_AT_MOST = (
    12  # times the estimate: a character takes four tokens at most, where the vocabulary has only its bytes
)
_TEMPLATE_TOKENS = 512
_ANSWERS = ("requests", "tokens")
_COUNTED = {"requests_per_min": "requests", "tokens_per_min": "tokens", "tokens_per_day": "tokens"}
_WORDS = {
    "requests_per_min": "requests a minute",
    "tokens_per_min": "tokens a minute",
    "tokens_per_day": "tokens a day",
    "concurrent": "requests at once",
    "images_per_min": "pictures a minute",
}


@dataclass(frozen=True)
class LimitPolicy:
    """What bounds callers of whom nothing else was said, and what is reserved for an answer that names no ``max_tokens``."""

    key: Allowance
    tenant: Allowance
    unnamed_answer_tokens: int

    def of(self, caller: Caller) -> tuple[Limit, ...]:
        """What holds for this caller now: for its key, for its tenant; empty if nothing bounds it."""
        key = caller.key_allowance.over(self.key).bounds
        tenant = caller.tenant_allowance.over(self.tenant).bounds
        own = [Limit("key", caller.counted_as, **key)] if key else []
        shared = [Limit("tenant", caller.tenant, **tenant)] if tenant else []
        return (*own, *shared)


def prompt_tokens(request: ChatRequest) -> int:
    """An estimate of the prompt's tokens; those of its pictures are exact for GLM-4.1V to 4.6V."""
    text = request.text_chars // _CHARS_PER_TOKEN + _TOKENS_PER_MESSAGE * len(request.body.messages)
    return text + sum(image_tokens(*image.shown) for image in request.images)


def reservation(request: ChatRequest, prompt: int, unnamed_answer: int, context: int | None) -> int:
    """Tokens that a request may use at most; ``unnamed_answer`` is reserved where it names no ``max_tokens``."""
    answer = request.max_tokens or unnamed_answer
    if context is not None:
        answer = min(answer, max(context - prompt, 1))
    return prompt + answer * request.n


def may_fill(request: ChatRequest, context: int | None) -> bool:
    """Whether the prompt may leave less of the context than `max_tokens`; the engine lowers it then."""
    if context is None or request.max_tokens is None:
        return False
    return request.max_tokens + _TOKENS_AT_MOST * prompt_tokens(request) + _TEMPLATE_TOKENS > context


def lowered(request: ChatRequest, prompt: int | None, context: int | None) -> int | None:
    """The tokens that an answer may have where the prompt leaves fewer than `max_tokens`; None where it does not."""
    if context is None or prompt is None or request.max_tokens is None:
        return None
    return context - prompt if request.max_tokens > context - prompt else None


def refused(refusal: Refusal, tokens: int, images: int) -> OverLimit:
    """The ledger's refusal as the client is told it, with a way out."""
    error = over(refusal, tokens, images)
    error.headers += headers(refusal.left)
    error.headers.append((b"x-audit-id", refusal.id.encode()))
    return error


def over(refusal: Refusal | LimitExceeded, tokens: int, images: int) -> OverLimit:
    """What a limit refused, in words; headers of what is left are still to be added."""
    whose = "this API key" if refusal.scope == "key" else "this tenant's keys together"
    what = f"the limit of {refusal.value:,} {_WORDS[refusal.limit]} for {whose} is reached"
    needed = {"tokens_per_min": tokens, "tokens_per_day": tokens, "images_per_min": images}.get(refusal.limit, 1)
    kind = _COUNTED.get(refusal.limit, "requests")
    if needed > refusal.value:
        error = OverLimit(
            f"the request needs {needed:,} {_WORDS[refusal.limit].split()[0]}, and the limit for {whose} is {refusal.value:,}"
            f" {_WORDS[refusal.limit]}; lower max_tokens, send less, or ask the operator for more",
            kind=kind,
            retry_after_s=_seconds(refusal.reset_ms),
        )
        # Read by OpenAI's client: asking again does not help.
        error.headers.append((b"x-should-retry", b"false"))
    else:
        error = OverLimit(f"{what}; try again later", kind=kind, retry_after_s=_seconds(refusal.reset_ms))
    error.limit, error.scope = refusal.limit, refusal.scope
    return error


def headers(left: Iterable[LimitRemaining]) -> list[tuple[bytes, bytes]]:
    """OpenAI's ``x-ratelimit-*``: of several limits on the same thing the one that is nearest."""
    nearest: dict[str, LimitRemaining] = {}
    for one in left:
        what = _COUNTED.get(one.limit)
        if what and (what not in nearest or one.remaining < nearest[what].remaining):
            nearest[what] = one
    found = []
    for what in _ANSWERS:
        if what in nearest:
            one = nearest[what]
            for name, value in (("limit", one.value), ("remaining", one.remaining), ("reset", duration(one.reset_ms))):
                found.append((f"x-ratelimit-{name}-{what}".encode(), str(value).encode()))
    return found


def duration(ms: int) -> str:
    """A time as OpenAI writes it: ``850ms``, ``6s``, ``1m12s``, ``2h0m5s``."""
    if ms < 1000:
        return f"{ms}ms"
    hours, rest = divmod(_seconds(ms), 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _seconds(ms: int) -> int:
    return max(1, math.ceil(ms / 1000))
