"""What of an exchange goes into the record, and the words with the ledger about it; digests and lengths, never contents.

Fails closed: without a durable `admit` no byte of an answer leaves, without a durable `complete` not the last one.
"""

import asyncio
import base64
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from gateway.door import named
from gateway.front.errors import GatewayError, OverLimit, Unavailable
from gateway.front.request_state import RequestState
from gateway.keys.caller import Caller
from gateway.ledger.client.async_client import LedgerClient
from gateway.ledger.client.messages import (
    Admit,
    Complete,
    Deny,
    Fact,
    ImageDigest,
    Limit,
    LimitRemaining,
    Receipt,
    Refusal,
    TextDigest,
)
from gateway.ledger.errors import LedgerRefused, LedgerUnavailable
from gateway.relay import limit_policy
from gateway.relay.exchange import Exchange
from gateway.telemetry.catalogue import Outcome, Stage

if TYPE_CHECKING:
    from gateway.relay.shared_limits.client import SharedLimits, SharedVerdict

Header = tuple[bytes, bytes]
T = TypeVar("T")


class ExchangeRecord:
    """The records of one exchange. ``admit`` is asked for at once and runs while the engine is being asked."""

    def __init__(
        self, ledger: LedgerClient, exchange: Exchange, bounds: tuple[Limit, ...], shared: "SharedLimits | None" = None
    ) -> None:
        self._ledger, self._exchange, self._bounds = ledger, exchange, bounds
        self._left: tuple[LimitRemaining, ...] | None = None  # after an end that gave something back
        self._admission = ledger.admission(_admit(exchange, bounds))
        self._completed = False
        self._shared = shared
        self._taking: asyncio.Task[SharedVerdict | None] | None = None
        self._shared_left: tuple[LimitRemaining, ...] = ()

    def stop_unless_admitted(self, stop: Callable[[GatewayError], None]) -> None:
        """Have ``stop`` called as soon as it is known that there will be no record. Raises Unavailable if it is known now."""
        if self._admission.failed:
            raise _no_record()
        self._admission.on_failure = lambda: stop(_no_record())

    def let_go(self) -> None:
        """Have nothing called any more."""
        self._admission.on_failure = None

    async def admitted(self) -> Receipt:
        """Wait until the exchange is admitted durably. Raises Unavailable or OverLimit."""
        # A client that leaves now does not lose the record of what it asked: the ledger has the question.
        try:
            said = await self._admission.wait() if self._admission.over else await self._waited(self._admission.wait())
        except LedgerUnavailable:
            raise _no_record() from None
        exchange = self._exchange
        exchange.admit_s, exchange.id_in_log = self._admission.took_s, said.id
        if isinstance(said, Refusal):
            raise limit_policy.refused(said, exchange.tokens, len(exchange.request.images))
        return said

    async def permitted(self) -> None:
        """Wait until the limits of this host, and then those that hosts share, let it run. Raises Unavailable or OverLimit."""
        await self.admitted()
        if self._shared is None:
            return
        exchange = self._exchange
        caller, pictures = exchange.caller, len(exchange.request.images)
        # Shielded: what was taken must be given back.
        self._taking = asyncio.create_task(
            self._shared.take(exchange.id, caller.tenant, self._bounds, exchange.tokens, pictures)
        )
        verdict = await self._waited(asyncio.shield(self._taking))
        if verdict is not None:
            self._shared_left = verdict.left
            if verdict.over is not None:
                raise limit_policy.over(verdict.over, exchange.tokens, pictures)

    async def completed(self) -> None:
        """Wait until the exchange's end is recorded durably; a second call does nothing. Raises Unavailable.

        One that a limit refused has its record already.
        """
        try:
            receipt = await self.admitted()
        except OverLimit:
            return
        if self._completed:
            return
        self._exchange.stage_times.enter(Stage.COMPLETE)
        ended_s = self._exchange.ended_s = time.monotonic()
        settling = asyncio.create_task(self._settle(self._taking)) if self._taking else None
        try:
            # A whole answer's headers say what was reserved, as a stream's do; an error's what its end left.
            failed = self._exchange.outcome is not Outcome.COMPLETED
            ended = await self._recorded(_complete(receipt.id, self._exchange, self._bounds if failed else ()))
        except LedgerUnavailable:
            raise _no_record() from None
        finally:
            # Before the last byte: who asks again at once must find its place free.
            if settling is not None:
                await asyncio.shield(settling)
        self._exchange.complete_s = time.monotonic() - ended_s
        self._exchange.stage_times.enter(Stage.SEND)
        if failed and ended.left:
            self._left = ended.left
        self._completed = True

    async def _recorded(self, ask: Complete) -> Receipt:
        try:
            return await self._ledger.complete(ask)
        except LedgerRefused:
            # Something of the engine's answer can't stand in a record. The end of the exchange is recorded all the same, or its
            # place among those that run would never be free again.
            bare = Complete(id=ask.id, outcome=ask.outcome, status=ask.status, total_ms=ask.total_ms, limits=ask.limits)
            return await self._ledger.complete(bare)

    async def _waited(self, answer: Awaitable[T]) -> T:
        """Wait for it; the time belongs to the stage of admission."""
        stage_times = self._exchange.stage_times
        stage = stage_times.stage
        stage_times.enter(Stage.ADMIT)
        try:
            return await answer
        finally:
            stage_times.enter(stage)

    async def headers(self) -> list[Header]:
        """Receipt and limits, for the answer's headers. Raises Unavailable or OverLimit."""
        receipt = await self.admitted()
        leaf = f"{receipt.origin} {receipt.index} {base64.b64encode(receipt.leaf).decode()}"
        left = receipt.left if self._left is None else self._left
        return [
            (b"x-audit-id", receipt.id.encode()),
            (b"x-audit-leaf", leaf.encode()),
            *limit_policy.headers([*left, *self._shared_left]),
        ]

    async def _settle(self, taking: "asyncio.Task[SharedVerdict | None]") -> None:
        """Tell the shared limits what was really used."""
        assert self._shared is not None
        await taking
        exchange, answer = self._exchange, self._exchange.answer
        tokens = None if answer.prompt_tokens is None else answer.prompt_tokens + (answer.completion_tokens or 0)
        refused = exchange.outcome is Outcome.REFUSED
        left = await self._shared.settle(exchange.id, tokens, refused=refused)
        if left is not None and exchange.outcome is not Outcome.COMPLETED:
            self._shared_left = left


async def deny(
    ledger: LedgerClient,
    error: GatewayError,
    state: RequestState,
    *,
    route: str,
    caller: Caller | None,
    bounds: tuple[Limit, ...] = (),
) -> None:
    """Record a request that is refused before it became an exchange, and tell its error what is left of the caller's limits.

    The refusal stands also when the ledger is away; it then says nothing of limits.
    """
    record = Deny(
        reason=error.code or error.type,
        status=error.status,
        ip=state.client_ip,
        peer=state.peer,
        route=route,
        request=state.request_id,
        key=caller.key_id if caller else error.who,
        tenant=caller.tenant if caller else None,
        limits=bounds,
    )
    with contextlib.suppress(LedgerUnavailable):
        receipt = await ledger.deny(record)
        error.headers += limit_policy.headers(receipt.left)


async def limits_left(ledger: LedgerClient, bounds: tuple[Limit, ...]) -> list[Header]:
    """The headers of what is left of ``bounds``; none while the ledger is away. For answers that use nothing up."""
    try:
        return limit_policy.headers(await ledger.limits_left(bounds))
    except (LedgerUnavailable, LedgerRefused):
        return []


def _no_record() -> Unavailable:
    return Unavailable(
        "the audit log does not answer, and nothing is answered without a record; try again soon",
        code="audit_unavailable",
        retry_after_s=1,
    )


def _admit(exchange: Exchange, bounds: tuple[Limit, ...]) -> Admit:
    request, caller = exchange.request, exchange.caller
    return Admit(
        key=caller.key_id,
        tenant=caller.tenant,
        ip=exchange.ip,
        peer=exchange.peer,
        route=exchange.route,
        model=request.model,
        stream=request.stream,
        request=exchange.id,
        prompt=_text(request.prompt_text),
        conversation=_text(request.conversation),
        images=tuple(
            ImageDigest(image.sha256, image.size_bytes, image.type, image.width, image.height)
            for image in request.images
        ),
        fields={name: _text(value) for name, value in request.free_form.items()},
        params=_params(exchange),
        tokens=exchange.tokens,
        limits=bounds,
    )


def _params(exchange: Exchange) -> dict[str, Fact]:
    """The parameters that matter, as integers and short words: the log has no floats."""
    request, caller = exchange.request, exchange.caller
    body = request.body
    given: dict[str, Fact | None] = {
        "boxes": exchange.boxes.value if exchange.boxes else None,
        "ignored": named(request.ignored) or None,
        "recoded": sum(image.recoded for image in request.images) or None,
        "limits_of": None if caller.counted_as == caller.key_id else caller.counted_as,
        "n": request.n,
        "max_tokens": request.max_tokens,
        "thinking": request.thinking,
        "tools": len(request.tools),
        "temperature": None if request.temperature is None else f"{request.temperature:g}",
        "response_format": None if body.response_format is None else body.response_format.__struct_config__.tag,
    }
    return {name: value for name, value in given.items() if value is not None}


def _complete(record_id: str, exchange: Exchange, bounds: tuple[Limit, ...]) -> Complete:
    answer = exchange.answer
    return Complete(
        id=record_id,
        outcome=exchange.outcome.value,
        status=exchange.status,
        answer=TextDigest(answer.sha256.digest(), answer.chars),
        finish=answer.finish,
        prompt_tokens=answer.prompt_tokens,
        answer_tokens=answer.completion_tokens,
        engine=exchange.engine,
        ttft_ms=_ms(exchange.started_s, exchange.first_byte_s),
        total_ms=_ms(exchange.started_s, exchange.ended_s) or 0,
        limits=bounds,
    )


def _text(content: bytes) -> TextDigest:
    return TextDigest(hashlib.sha256(content).digest(), len(content.decode()))


def _ms(start_s: float, end_s: float | None) -> int | None:
    return None if end_s is None else round((end_s - start_s) * 1000)
