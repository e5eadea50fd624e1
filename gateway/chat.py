"""``POST /v1/chat/completions``: from a request to its answer, in order; pure ASGI, because the answer is passed on as it comes.

Who may enter, what may pass, where it goes, the relay, the record. What is wrong before the first byte is raised and
answered by the application; after it, an ending has to be told inside the stream.
"""

import asyncio
import contextlib
import functools
import hmac
import time

import orjson
from starlette.types import Receive, Scope, Send

from gateway import errors, limits
from gateway.answer import DONE, Events, Progress, read_events, read_whole, sift
from gateway.authentication import require
from gateway.body import Room, read_body
from gateway.course import Course
from gateway.door import ChatRequest, DoorError, digest_images, engine_body, parse_chat
from gateway.engines.engine import Engine
from gateway.engines.hop import Hop
from gateway.engines.queue import Evicted
from gateway.errors import (
    BadRequest,
    EngineBroke,
    GatewayError,
    NotFound,
    OverLimit,
    TimedOut,
    TooLarge,
    Unavailable,
    Unreachable,
)
from gateway.exchange import CLIENT_LEFT_STATUS, Answer, Exchange, Outcome
from gateway.house import House, address, peer_of
from gateway.keys.caller import Caller
from gateway.keys.caller import Scope as KeyScope
from gateway.metrics import Stage
from gateway.pictures.sanitize import sanitize
from gateway.presence import ClientLeft, Connection, Presence
from gateway.record import Header, Recording, deny

ROUTE = "/v1/chat/completions"
MOST_ANSWER_BYTES = 64 << 20


class ChatCompletions:
    """The ASGI application of the route."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        identifier = scope["state"]["request_id"]
        house, ip, peer = self._house, address(scope), peer_of(scope)
        caller: Caller | None = None
        course = Course()
        with Room(house.bodies) as room:
            try:
                caller = house.known(scope)
                house.closing.refuse_new()
                require(caller, KeyScope.INFERENCE)
                request = await self._understand(scope, receive, room, course)
                house.closing.refuse_new()
                key = b"%b\0%b" % (caller.tenant.encode(), request.subject)
                prompt = limits.prompt_tokens(request)
                engine = house.pool.pick(request.model, key, prompt)
            except ClientLeft:
                return  # in its own body or before its pictures were ready: there is nobody to answer and nothing was asked
            except GatewayError as error:
                bounds = house.bounds(caller) if caller else ()
                await deny(
                    house.ledger, error, request_id=identifier, route=ROUTE, ip=ip, peer=peer, caller=caller, bounds=bounds
                )  # fmt: skip
                raise
            tokens = limits.reservation(request, prompt, house.settings.reserve_tokens, engine.max_model_len)
            exchange = Exchange(identifier, caller, ROUTE, ip, peer, request, tokens, course, engine=engine.name)
            if house.traces is not None:
                exchange.traceparent = dict(scope["headers"]).get(b"traceparent", b"")
            await _Relay(house, exchange, engine, key, send).run(scope["state"]["connection"])

    async def _understand(self, scope: Scope, receive: Receive, room: Room, course: Course) -> ChatRequest:
        settings = self._house.settings
        course.enter(Stage.READ)
        body = await read_body(scope, receive, room, settings.max_body_bytes, settings.body_timeout_s)
        course.enter(Stage.DOOR)
        course.body_bytes = len(body)
        try:
            request = parse_chat(body, self._house.door)
            if request.remote:
                with Presence(scope["state"]["connection"]):
                    await self._house.fetcher.fetch(request, room)
            if request.images:
                # Decoding and hashing release the GIL: other requests go on meanwhile.
                await asyncio.to_thread(digest_images, request)
                if self._house.workshop is not None:
                    with Presence(scope["state"]["connection"]):
                        await sanitize(request, self._house.workshop, room)
        except DoorError as error:
            kind = TooLarge if error.status == 413 else BadRequest
            raise kind(error.message, param=error.param, code=error.code) from None
        return request


class _Relay:
    """Asks the engine and passes its answer on; the exchange is told how it ended, and the ledger before the client."""

    def __init__(self, house: House, exchange: Exchange, engine: Engine, key: bytes, send: Send) -> None:
        self._house, self._exchange, self._engine, self._key, self._send = house, exchange, engine, key, send
        self._bounds = house.bounds(exchange.caller)
        self._recording = Recording(house.ledger, exchange, self._bounds, house.shared)
        self._asked = self._started = False

    async def run(self, connection: Connection) -> None:
        """Relay the whole answer. Raises GatewayError only while nothing was sent."""
        exchange, metrics = self._exchange, self._house.metrics
        metrics.in_flight.add()
        presence = Presence(connection)
        try:
            with presence:
                self._house.closing.running.add(presence)
                if self._bounds:
                    # A request over its limits must cost no engine work; without limits the engine need not wait.
                    await self._recording.permitted()
                await self._ask_until_answered(presence)
        except ClientLeft:
            exchange.outcome, exchange.status = Outcome.CLIENT_LEFT, CLIENT_LEFT_STATUS
            if not self._asked:
                exchange.answer.prompt_tokens = exchange.answer.completion_tokens = 0  # nothing to be charged for
            with contextlib.suppress(Unavailable):  # there is nobody left to be told
                await self._recording.completed()
        except GatewayError as error:
            await self._fail(error)
        finally:
            self._house.closing.running.discard(presence)
            exchange.course.end()
            metrics.in_flight.add(-1)
            metrics.count(exchange)
            if self._house.traces is not None:
                self._house.traces.tell(exchange)

    async def _ask_until_answered(self, presence: Presence) -> None:
        """Ask the engine; if it fails before the client saw a byte, one other, once. After that byte nobody else is asked."""
        tried: set[str] = set()
        since_s = time.monotonic()
        while True:
            try:
                return await self._take_turn(presence, since_s)
            except Evicted:
                failure = None  # nothing was asked of it
            except TimedOut as error:
                self._house.metrics.failed(self._engine.name, error)
                raise
            except (EngineBroke, Unreachable) as error:
                self._house.metrics.failed(self._engine.name, error)
                if self._started or tried:
                    raise
                failure = error
                tried.add(self._engine.name)
            self._move_on(tried, failure)

    def _move_on(self, tried: set[str], failure: GatewayError | None) -> None:
        """Choose another engine. Raises ``failure`` where there is none."""
        exchange, house = self._exchange, self._house
        try:
            engine = house.pool.pick(exchange.request.model, self._key, exchange.tokens, but=tried)
        except (NotFound, Unavailable) as nobody:
            raise failure or nobody from None
        if failure is not None:
            house.metrics.retried(self._engine.name)
        self._engine, exchange.engine, exchange.answer, exchange.last_piece_s = engine, engine.name, Answer(), 0.0

    async def _take_turn(self, presence: Presence, since_s: float) -> None:
        exchange = self._exchange
        exchange.course.enter(Stage.QUEUE)
        async with self._engine.queue.turn(exchange.caller.key_id, exchange.tokens, since_s) as exchange.waited_s:
            exchange.course.enter(Stage.ENGINE)
            self._asked = True
            await self._ask(presence)

    async def _ask(self, presence: Presence) -> None:
        exchange, settings = self._exchange, self._house.settings
        secret = exchange.caller.tenant_secret
        body = engine_body(
            exchange.request,
            served_name=exchange.request.model,
            cache_salt=_cache_salt(secret),
            image_uuid=lambda digest: hmac.digest(secret, digest, "sha256").hex(),
        )
        silence_s = settings.silence_timeout_s if exchange.request.stream else settings.answer_timeout_s
        async with self._engine.post(
            ROUTE, body, silence_timeout_s=silence_s, answer_timeout_s=settings.answer_timeout_s
        ) as answer:
            exchange.status = answer.status
            if answer.status != 200:
                raise await _refusal(answer)
            if exchange.request.stream:
                await self._stream(answer, presence)
            else:
                await self._whole(answer, presence)

    async def _stream(self, answer: Hop, presence: Presence) -> None:
        exchange, events, progress = self._exchange, Events(), Progress.GOES_ON
        untold = True
        while chunk := await answer.chunk():
            now_s = time.monotonic()
            if now_s - exchange.last_piece_s > exchange.longest_silence_s:
                if exchange.last_piece_s:
                    exchange.longest_silence_s = now_s - exchange.last_piece_s
                else:
                    exchange.course.enter(Stage.ANSWER)
            exchange.last_piece_s = now_s
            block = events.feed(chunk)
            if not block:
                continue
            passed, progress = sift(block, with_usage=exchange.request.include_usage)
            is_first = not self._started
            if is_first:
                # Understood before it is passed on, this once: of an engine that talks nonsense the client sees nothing.
                read_events(block, exchange.answer)
            if passed:
                await self._pass_on(passed)
            if not is_first:
                read_events(block, exchange.answer)
            if untold and (exchange.answer.chars or exchange.answer.reasoning_chars):
                untold, exchange.first_token_s = False, time.monotonic()
            if progress is not Progress.GOES_ON:
                break
        if progress is not Progress.IS_DONE or not self._started:
            raise EngineBroke("the engine broke off in the middle of its answer; try again")
        exchange.outcome = Outcome.COMPLETED
        await self._recording.completed()
        presence.over = True
        await self._hand_on(DONE)

    async def _whole(self, answer: Hop, presence: Presence) -> None:
        self._exchange.course.enter(Stage.ANSWER)
        body = await answer.read(MOST_ANSWER_BYTES)
        read_whole(body, self._exchange.answer)
        self._exchange.outcome = Outcome.COMPLETED
        self._exchange.first_byte_s = time.monotonic()
        await self._recording.completed()
        presence.over = True
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await self._start(headers)
        await self._hand_on(body)

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
        headers += await self._recording.headers()
        self._started = True
        if self._exchange.first_byte_s is None:
            self._exchange.first_byte_s = time.monotonic()
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _fail(self, error: GatewayError) -> None:
        exchange = self._exchange
        exchange.status = error.status
        exchange.outcome = _OUTCOMES.get(type(error), Outcome.ENGINE_BROKE)
        if isinstance(error, OverLimit) and error.limit:
            self._house.metrics.limited(exchange.caller.tenant, error.limit, error.scope)
        try:
            await self._recording.completed()
            error.headers += await self._recording.headers()
        except Unavailable as unrecorded:
            error = unrecorded
        except OverLimit:
            pass  # it is the error itself
        if not self._started:
            raise error
        self._house.metrics.refuse(error)
        # The status line is gone already: the client must find the error in the stream, and no [DONE] after it.
        await self._hand_on(b"data: %b\n\n" % orjson.dumps(errors.body(error)))


_OUTCOMES: dict[type[GatewayError], Outcome] = {
    TimedOut: Outcome.TIMED_OUT, BadRequest: Outcome.REFUSED, NotFound: Outcome.REFUSED, Unavailable: Outcome.REFUSED,
    OverLimit: Outcome.REFUSED,
}  # fmt: skip


@functools.lru_cache(maxsize=1024)
def _cache_salt(tenant_secret: bytes) -> str:
    return hmac.digest(tenant_secret, b"cache_salt", "sha256").hex()


async def _refusal(answer: Hop) -> GatewayError:
    """Our own words for the engine's error: its text has leaked addresses and paths, so only its ``param`` is read."""
    if answer.status != 400:
        return EngineBroke(f"the engine answered with status {answer.status}; try again")
    try:
        param = orjson.loads(await answer.read(MOST_ANSWER_BYTES))["error"]["param"]
    except (ValueError, KeyError, TypeError):
        param = None
    if param in ("max_tokens", "input_tokens", "input_text"):
        return BadRequest(
            "the prompt and max_tokens together are longer than the model's context; shorten the conversation, send fewer or"
            " smaller pictures, or lower max_tokens",
            param="messages", code="context_length_exceeded",
        )  # fmt: skip
    return BadRequest("the engine can't do what was asked; check the parameters against /docs", code="engine_refused")
