"""The relay of one exchange: asks the engine, passes its answer on, and records how it ended. Knows no HTTP but its status.

What is wrong before the first byte is raised and answered by the application; after it, an ending has to be told inside the
stream.
"""

import asyncio
import contextlib
import functools
import hmac
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
import structlog
from starlette.types import Send

from gateway.door import ChatRequest, engine_body
from gateway.engines.connections import EngineConnection
from gateway.engines.engine import Engine
from gateway.engines.pool import Pool
from gateway.engines.queue import EngineRemoved
from gateway.front import errors
from gateway.front.bodies import MemoryShare
from gateway.front.disconnects import ClientLeft, DisconnectGuard
from gateway.front.errors import (
    BadRequest,
    EngineBroke,
    GatewayError,
    NotFound,
    OverLimit,
    TimedOut,
    Unavailable,
    Unreachable,
)
from gateway.front.request_state import ConnectionView
from gateway.front.shutdown import Shutdown
from gateway.ledger.client.async_client import LedgerClient
from gateway.relay import limit_policy, refusals
from gateway.relay.answer import DONE, EventSplitter, Progress, read_events, read_whole
from gateway.relay.exchange import CLIENT_LEFT_STATUS, Answer, Exchange
from gateway.relay.exchange_record import ExchangeRecord, Header
from gateway.relay.limit_policy import LimitPolicy
from gateway.relay.rewriting import Rewriting
from gateway.telemetry.catalogue import Outcome, Stage
from gateway.telemetry.counters import Metrics

if TYPE_CHECKING:
    from gateway.relay.shared_limits.client import SharedLimits
    from gateway.telemetry.traces import Traces

MOST_ERROR_BYTES = 64 << 10
MOST_OPENING_BYTES = 64 << 10  # of a stream, before its first token
PIECE_BYTES = 64 << 10
DEFAULT_CONTEXT = 131_072  # tokens, where the engine does not say


@dataclass(frozen=True)
class Relay:
    """One worker's: what every exchange needs. ``shared`` are the limits of several hosts, where there are any."""

    pool: Pool
    ledger: LedgerClient
    metrics: Metrics
    limits: LimitPolicy
    shutdown: Shutdown
    silence_timeout_s: float
    answer_timeout_s: float
    shared: "SharedLimits | None" = None
    traces: "Traces | None" = None

    async def run(
        self,
        exchange: Exchange,
        engine: Engine,
        key: bytes,
        share: MemoryShare,
        connection: ConnectionView,
        send: Send,
    ) -> None:
        """Relay the whole answer. Raises GatewayError only while nothing was sent.

        ``key`` is what the choice of an engine goes by, should this one fail. A whole answer takes its memory from ``share``.
        """
        await _Run(self, exchange, engine, key, share, send).run(connection)


class _Run:
    """Asks the engine and passes its answer on; the exchange is told how it ended, and the ledger before the client."""

    def __init__(
        self, relay: Relay, exchange: Exchange, engine: Engine, key: bytes, share: MemoryShare, send: Send
    ) -> None:
        self._relay, self._exchange, self._engine, self._key, self._send = relay, exchange, engine, key, send
        self._share = share
        self._bounds = relay.limits.of(exchange.caller)
        self._record = ExchangeRecord(relay.ledger, exchange, self._bounds, relay.shared)
        self._asked = self._started = False

    async def run(self, connection: ConnectionView) -> None:
        exchange, metrics = self._exchange, self._relay.metrics
        metrics.in_flight.add()
        guard = DisconnectGuard(connection)
        try:
            with guard:
                self._relay.shutdown.running.add(guard)
                try:
                    await self._answer(guard)
                finally:
                    self._record.let_go()
        except ClientLeft:
            exchange.outcome, exchange.status = Outcome.CLIENT_LEFT, CLIENT_LEFT_STATUS
            if not self._asked:
                exchange.answer.prompt_tokens = exchange.answer.completion_tokens = 0  # nothing to be charged for
            with contextlib.suppress(Unavailable):  # there is nobody left to be told
                await self._record.completed()
        except GatewayError as error:
            await self._fail(error)
        except Exception as fault:  # noqa: BLE001  whatever it is, the exchange ends with a name and a record
            structlog.get_logger().error("fault", request_id=exchange.id, exc_info=fault)
            await self._fail(errors.fault(exchange.id))
        except asyncio.CancelledError:
            exchange.outcome, exchange.status = Outcome.TIMED_OUT, TimedOut.status
            with contextlib.suppress(GatewayError):
                await asyncio.shield(self._record.completed())
            raise
        finally:
            self._relay.shutdown.running.discard(guard)
            exchange.stage_times.end()
            metrics.in_flight.add(-1)
            ended = exchange.ended()
            metrics.count(ended)
            if self._relay.traces is not None:
                self._relay.traces.tell(ended)

    async def _answer(self, guard: DisconnectGuard) -> None:
        # Wherever it is then, also in the queue: what will have no record must cost the engine nothing.
        self._record.stop_unless_admitted(guard.stop)
        if self._bounds:
            # A request over its limits must cost no engine work; without limits the engine need not wait.
            await self._record.permitted()
        whole = await self._ask_until_answered(guard)
        if whole is not None:
            # Not before here: a client that reads slowly must not hold a place at the engine.
            await self._hand_on_whole(whole, guard)

    async def _ask_until_answered(self, guard: DisconnectGuard) -> bytes | None:
        """Ask the engine; if it fails before the client saw a byte, one other, once. After that byte nobody else is asked.

        Returns a whole answer, of which the client has nothing yet; None for a stream, of which it has all.
        """
        tried: set[str] = set()
        since_s = time.monotonic()
        while True:
            try:
                return await self._take_turn(guard, since_s)
            except EngineRemoved:
                failure = None  # nothing was asked of it
            except TimedOut as error:
                self._relay.metrics.failed(self._engine.name, error)
                raise
            except (EngineBroke, Unreachable) as error:
                self._relay.metrics.failed(self._engine.name, error)
                if self._started or tried:
                    raise
                failure = error
                tried.add(self._engine.name)
            self._move_on(tried, failure)

    def _move_on(self, tried: set[str], failure: GatewayError | None) -> None:
        """Choose another engine. Raises ``failure`` where there is none."""
        exchange, relay = self._exchange, self._relay
        try:
            engine = relay.pool.pick(exchange.request.model, self._key, exchange.tokens, but=tried)
        except (NotFound, Unavailable) as nobody:
            raise failure or nobody from None
        if failure is not None:
            relay.metrics.retried(self._engine.name)
        self._engine, exchange.engine, exchange.answer, exchange.last_piece_s = engine, engine.name, Answer(), 0.0

    async def _take_turn(self, guard: DisconnectGuard, since_s: float) -> bytes | None:
        exchange = self._exchange
        exchange.stage_times.enter(Stage.QUEUE)
        async with self._engine.queue.turn(exchange.caller.counted_as, exchange.tokens, since_s) as exchange.waited_s:
            exchange.stage_times.enter(Stage.ENGINE)
            self._asked = True
            return await self._ask(guard)

    async def _ask(self, guard: DisconnectGuard) -> bytes | None:
        exchange, relay = self._exchange, self._relay
        secret = exchange.caller.tenant_secret
        body = engine_body(
            exchange.request,
            served_name=exchange.request.model,
            cache_salt=_cache_salt(secret),
            image_uuid=lambda digest: hmac.digest(secret, digest, "sha256").hex(),
            context=self._engine.max_model_len,
            count_prompt=self._counts_prompt(),
        )
        silence_s = relay.silence_timeout_s if exchange.request.stream else relay.answer_timeout_s
        async with self._engine.post(
            exchange.route, body, silence_timeout_s=silence_s, answer_timeout_s=relay.answer_timeout_s
        ) as answer:
            exchange.status = answer.status
            if answer.status != 200:
                body = await answer.read(MOST_ERROR_BYTES)
                raise self._told(refusals.of_answer(answer.status, body, exchange.request, self._engine.max_model_len))
            if not exchange.request.stream:
                return await self._whole(answer)
            await self._stream(answer, guard)
            return None

    async def _stream(self, answer: EngineConnection, guard: DisconnectGuard) -> None:
        exchange, events, progress = self._exchange, EventSplitter(), Progress.GOES_ON
        rewriting = self._rewriting()
        untold, opening = True, b""
        while chunk := await answer.chunk():
            now_s = time.monotonic()
            if now_s - exchange.last_piece_s > exchange.longest_silence_s:
                if exchange.last_piece_s:
                    exchange.longest_silence_s = now_s - exchange.last_piece_s
                else:
                    exchange.stage_times.enter(Stage.ANSWER)
            exchange.last_piece_s = now_s
            block = events.feed(chunk)
            if not block:
                continue
            # Understood before it is passed on: of an engine that talks nonsense the client sees nothing.
            passed, progress = read_events(
                block, exchange.answer, with_usage=exchange.request.include_usage, rewriting=rewriting
            )
            if not self._started:
                # vLLM opens a stream before it looks at the whole request. Until the first token it can still be refused.
                opening += passed
                if exchange.answer.chars or exchange.answer.reasoning_chars or len(opening) > MOST_OPENING_BYTES:
                    passed, opening = opening, b""
                else:
                    passed = b""
            if passed:
                await self._pass_on(passed)
            if untold and (exchange.answer.chars or exchange.answer.reasoning_chars):
                untold, exchange.first_token_s = False, time.monotonic()
            if progress is not Progress.GOES_ON:
                break
        if not self._started and exchange.answer.error:
            context = self._engine.max_model_len
            raise self._told(refusals.of_event(exchange.answer.error, exchange.request, context))
        if progress is Progress.IS_DONE and opening:
            await self._pass_on(opening)  # an answer without a word
        if progress is not Progress.IS_DONE or not self._started:
            raise EngineBroke("the engine broke off in the middle of its answer; try again")
        exchange.outcome = Outcome.COMPLETED
        await self._record.completed()
        guard.over = True
        await self._hand_on(DONE)

    async def _whole(self, answer: EngineConnection) -> bytes:
        exchange = self._exchange
        exchange.stage_times.enter(Stage.ANSWER)
        most_bytes = _most_answer_bytes(exchange.request, self._engine.max_model_len)
        body = await answer.read(most_bytes, self._share.take)
        return read_whole(body, exchange.answer, self._rewriting())

    async def _hand_on_whole(self, body: bytes, guard: DisconnectGuard) -> None:
        exchange = self._exchange
        exchange.outcome = Outcome.COMPLETED
        exchange.first_byte_s = time.monotonic()
        await self._record.completed()
        guard.over = True
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self._start(headers)
        # In pieces, each of which waits for the client: until it has read, its answer counts as held memory.
        for at in range(0, len(body) - PIECE_BYTES, PIECE_BYTES):
            await self._hand_on(body[at : at + PIECE_BYTES], more=True)
        await self._hand_on(body[(len(body) - 1) // PIECE_BYTES * PIECE_BYTES :])

    def _counts_prompt(self) -> bool:
        """Whether a stream's prompt is counted before its first token, to say how far the engine lowered `max_tokens`."""
        request = self._exchange.request
        wanted = request.stream and not request.continuous_usage
        return wanted and limit_policy.may_fill(request, self._engine.max_model_len)

    def _rewriting(self) -> Rewriting | None:
        boxes, counted = self._exchange.boxes, self._counts_prompt()
        if boxes is None and not counted:
            return None
        sizes = [image.upright for image in self._exchange.request.images] if boxes else []
        return Rewriting(boxes, sizes, counted=counted)

    def _told(self, judgement: refusals.Judgement) -> GatewayError:
        if judgement.unknown:
            structlog.get_logger().warning(
                "engine_refused", request_id=self._exchange.id, engine=self._engine.name, kind=judgement.unknown
            )
        return judgement.error

    async def _pass_on(self, block: bytes) -> None:
        if not self._started:
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
            await self._start(headers)
        await self._hand_on(block, more=True)

    async def _hand_on(self, body: bytes, *, more: bool = False) -> None:
        self._exchange.answer_bytes += len(body)
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def _start(self, headers: list[Header]) -> None:
        """Send the head of the answer; not before the admit record is durable."""
        headers += await self._record.headers()
        request, answer = self._exchange.request, self._exchange.answer
        left = limit_policy.lowered(request, answer.prompt_seen, self._engine.max_model_len)
        if left is not None:
            headers.append((b"x-vitrine-max-tokens", str(left).encode()))
        if self._exchange.boxes is not None:
            headers.append((b"x-vitrine-boxes", self._exchange.boxes.value.encode()))
        self._started = True
        if self._exchange.first_byte_s is None:
            self._exchange.first_byte_s = time.monotonic()
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _fail(self, error: GatewayError) -> None:
        exchange = self._exchange
        exchange.status = error.status
        exchange.outcome = _OUTCOMES.get(type(error), Outcome.ENGINE_BROKE)
        if isinstance(error, OverLimit) and error.limit:
            self._relay.metrics.limited(exchange.caller.tenant, error.limit, error.scope)
        try:
            await self._record.completed()
            error.headers += await self._record.headers()
        except Unavailable as unrecorded:
            error = unrecorded
            if not self._started:
                # The caller has nothing of it, and pays nothing.
                exchange.answer.prompt_tokens = exchange.answer.completion_tokens = 0
                exchange.status, exchange.outcome = error.status, Outcome.REFUSED
        except OverLimit:
            pass  # it is the error itself
        if not self._started:
            raise error
        self._relay.metrics.refuse(error)
        # The status line is gone already: the client must find the error in the stream, and no [DONE] after it.
        await self._hand_on(b"data: %b\n\n" % orjson.dumps(errors.body(error)))


_OUTCOMES: dict[type[GatewayError], Outcome] = {
    TimedOut: Outcome.TIMED_OUT,
    BadRequest: Outcome.REFUSED,
    NotFound: Outcome.REFUSED,
    Unavailable: Outcome.REFUSED,
    OverLimit: Outcome.REFUSED,
}


_TOKEN_BYTES = 256  # as JSON: the longest tokens are runs of blanks, and a character may be written in six
# One entry of a list of alternatives: a token of up to 128 bytes, as text and as a list of numbers (128 blanks take 557).
_LOGPROB_BYTES = 1536


def _most_answer_bytes(request: ChatRequest, context: int | None) -> int:
    """How long a whole answer may be: what its tokens can take, and what is around them."""
    tokens = min(request.max_tokens or DEFAULT_CONTEXT, context or DEFAULT_CONTEXT)
    body = request.body
    each = _TOKEN_BYTES + (_LOGPROB_BYTES * (1 + (body.top_logprobs or 0)) if body.logprobs else 0)
    return MOST_ERROR_BYTES + tokens * request.n * each


@functools.lru_cache(maxsize=1024)
def _cache_salt(tenant_secret: bytes) -> str:
    return hmac.digest(tenant_secret, b"cache_salt", "sha256").hex()
