"""``POST /v1/chat/completions``: from a request to its exchange, in order; pure ASGI, because the answer is passed on as it comes.

Who may enter, what may pass, where it goes; then the relay. What is refused here is recorded here.
"""

from starlette.types import Receive, Scope, Send

from gateway.door import SDK_FIELDS, ChatRequest, DoorError
from gateway.front.bodies import MemoryShare, read_body
from gateway.front.disconnects import ClientLeft, DisconnectGuard
from gateway.front.errors import BadRequest, GatewayError, TooLarge
from gateway.front.request_state import RequestState, state_of
from gateway.images.reencoding import reencode
from gateway.keys.authentication import require
from gateway.keys.caller import Caller
from gateway.keys.caller import Scope as KeyScope
from gateway.relay import limit_policy
from gateway.relay.boxes import Boxes
from gateway.relay.exchange import Exchange
from gateway.relay.exchange_record import deny
from gateway.relay.stage_times import StageTimes
from gateway.routes.services import Services
from gateway.telemetry.catalogue import OTHER, Stage

ROUTE = "/v1/chat/completions"


class ChatCompletions:
    """The ASGI application of the route."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        services, state = self._services, state_of(scope)
        caller: Caller | None = None
        times = StageTimes()
        with MemoryShare(services.memory) as share:
            try:
                caller = services.authentication.known(scope)
                services.shutdown.refuse_new()
                require(caller, KeyScope.INFERENCE)
                boxes = _boxes(scope)
                request = await self._understand(scope, receive, state, share, times, caller.key_id)
                services.shutdown.refuse_new()
                key = b"%b\0%b" % (caller.tenant.encode(), request.subject)
                prompt = limit_policy.prompt_tokens(request)
                engine = services.pool.pick(request.model, key, prompt)
            except ClientLeft:
                return  # in its own body or before its pictures were ready: there is nobody to answer and nothing was asked
            except GatewayError as error:
                bounds = services.limits.of(caller) if caller else ()
                await deny(services.ledger, error, state, route=ROUTE, caller=caller, bounds=bounds)
                raise
            tokens = limit_policy.reservation(
                request, prompt, services.limits.unnamed_answer_tokens, engine.max_model_len
            )
            exchange = Exchange(
                state.request_id, caller, ROUTE, state.client_ip, state.peer, request, tokens, times, engine=engine.name
            )
            exchange.boxes = boxes
            if services.relay.traces is not None:
                exchange.traceparent = dict(scope["headers"]).get(b"traceparent", b"")
            await services.relay.run(exchange, engine, key, share, state.connection, send)

    async def _understand(
        self, scope: Scope, receive: Receive, state: RequestState, share: MemoryShare, times: StageTimes, key: str
    ) -> ChatRequest:
        services = self._services
        times.enter(Stage.READ)
        body = await read_body(scope, receive, share, services.door.body_bytes, services.body_timeout_s)
        times.enter(Stage.DOOR)
        times.body_bytes = len(body)
        try:
            request = await services.reader.read(body, services.door, key)
            if request.ignored:
                self._note_ignored(request.ignored, state)
            if request.remote:
                with DisconnectGuard(state.connection):
                    await services.fetcher.fetch(request, share)
                await services.reader.digest(request, key)
            share.take(sum(image.copied_bytes for image in request.images))
            if services.sanitize or any(image.recode for image in request.images):
                with DisconnectGuard(state.connection):
                    await reencode(request, services.image_workers, share, key, sanitize=services.sanitize)
        except DoorError as error:
            if error.ignored and not state.ignored:
                self._note_ignored(error.ignored, state)
            kind = TooLarge if error.status == 413 else BadRequest
            raise kind(error.message, param=error.param, code=error.code) from None
        return request

    def _note_ignored(self, names: tuple[str, ...], state: RequestState) -> None:
        state.ignored = names
        self._services.metrics.ignored(name if name in SDK_FIELDS else OTHER for name in names)


def _boxes(scope: Scope) -> Boxes | None:
    """How the client wants boxes. Raises BadRequest for a word that means nothing."""
    said = dict(scope["headers"]).get(b"x-vitrine-boxes")
    word = "model" if said is None else said.decode("latin-1").strip().lower()
    if word == "model":
        return None
    try:
        return Boxes(word)
    except ValueError:
        raise BadRequest(
            "the header X-Vitrine-Boxes is json, plain or model: boxes as JSON in pixels, without control tokens, or as they come",
            code="invalid_value",
        ) from None
