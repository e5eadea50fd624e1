"""Puts the house together: routes, errors, headers; decides nothing about a request itself.

The routes here are the allowlist: whatever is not named is 404.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from functools import partial
from importlib import metadata
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import audit, errors, openapi, pages, sign_in
from gateway.chat import ROUTE as CHAT
from gateway.chat import ChatCompletions
from gateway.errors import GatewayError, MethodNotAllowed, NotFound
from gateway.house import House, address, peer_of
from gateway.keys.caller import Scope as KeyScope
from gateway.ledger.identity import Identities
from gateway.record import deny
from gateway.watching import Watching

VERSION = metadata.version("vitrine")


def build(house: House) -> ASGIApp:
    """The application for one worker."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        house.pool.refresh()
        watch = asyncio.create_task(house.pool.watch())
        try:
            yield
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            if house.workshop is not None:
                await house.workshop.close()
            watching.close()
            if house.reading is not None:
                await house.reading.close()

    watching = Watching(house)
    app = FastAPI(
        title="Vitrine", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    chat = ChatCompletions(house)
    app.router.routes.append(Route(CHAT, chat, methods=["POST"]))
    _models(app, house)
    _health(app, house)
    watching.add(app)
    audit.routes(app, house)
    sign_in.routes(app, house)
    pages.add(app)
    openapi.describe(app, house.door)
    app.add_exception_handler(GatewayError, partial(_answer_and_record, house))
    app.add_exception_handler(HTTPException, partial(_answer_http_exception, house))
    app.add_exception_handler(Exception, partial(_answer_fault, house))
    return Envelope(app, chat, house)


def _models(app: FastAPI, house: House) -> None:
    def models(request: Request) -> list[dict[str, Any]]:
        house.caller(request.scope, KeyScope.INFERENCE)
        return [
            {"id": name, "object": "model", "created": int(engine.state.started_at_s if engine.state else 0), "owned_by": "vitrine",
             "max_model_len": engine.max_model_len}
            for name, engine in house.pool.served().items()
        ]  # fmt: skip

    @app.get("/v1/models", summary="The models that are served")
    async def list_models(request: Request) -> dict[str, Any]:
        return {"object": "list", "data": models(request)}

    @app.get("/v1/models/{model}", summary="One model")
    async def get_model(model: str, request: Request) -> dict[str, Any]:
        for entry in models(request):
            if entry["id"] == model:
                return entry
        raise NotFound(f"the model {model!r} is not served here; GET /v1/models lists them", code="model_not_found")


def _health(app: FastAPI, house: House) -> None:
    @app.get("/healthz", summary="Whether the gateway lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether a question can be answered now")
    async def readyz() -> Response:
        waiting = house.waiting_for()
        if waiting:
            return JSONResponse({"status": "waiting", "waiting_for": waiting}, 503, {"retry-after": "5"})
        return JSONResponse({"status": "ready"})


async def _answer_and_record(house: House, request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    route = getattr(request.scope.get("route"), "path", "")
    if error.status in (401, 403, 429) and route != CHAT:  # that route records its own refusals
        await deny(
            house.ledger, error, request_id=request.scope["state"]["request_id"], route=route, ip=address(request.scope),
            peer=peer_of(request.scope), caller=None,
        )  # fmt: skip
    return await _answer_error(house, error)


async def _answer_error(house: House, error: GatewayError) -> Response:
    house.metrics.refuse(error)
    status, headers, content = errors.response(error)
    answer = Response(content, status)
    answer.raw_headers = headers
    return answer


async def _answer_http_exception(house: House, request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = MethodNotAllowed if error.status_code == 405 else NotFound
    return await _answer_error(
        house, kind(f"{request.method} {request.url.path} is not part of this API; /docs lists what is")
    )


async def _answer_fault(house: House, request: Request, error: Exception) -> Response:
    return await _answer_error(house, _fault(request.scope["state"]["request_id"], error))


def _fault(identifier: str, error: Exception) -> GatewayError:
    structlog.get_logger().error("fault", request_id=identifier, exc_info=error)
    return GatewayError(f"the gateway has a fault; tell the operator this id: {identifier}", code="fault")


class Envelope:
    """What every answer has: its own id (a client's is dropped), safe headers, and a place in the metrics.

    Questions go straight to ``chat``: the framework's layers cost each of them, and each piece of its answer, a tenth.
    """

    def __init__(self, app: ASGIApp, chat: ASGIApp, house: House) -> None:
        self._chat = chat
        self._app, self._metrics, self._closing = app, house.metrics, house.closing
        self._proxies = house.proxies
        self._identities = Identities(lambda: time.time_ns() // 1_000_000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identifier = self._identities.next()
        scope["state"]["request_id"] = identifier
        peer = scope["client"][0] if scope["client"] else "unix"
        forwarded = (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for")
        scope["state"]["ip"] = self._proxies.client(peer, forwarded)
        connection = scope["state"]["connection"]
        asks = scope["path"] == CHAT and scope["method"] == "POST"
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                route = scope.get("route")
                path = CHAT if asks else getattr(route, "path", "") or "none"
                self._metrics.answered(path, _method(scope["method"]), message["status"])
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", identifier.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
                unread = connection.is_sending_its_body(scope)
                if unread or self._closing.begun:
                    message["headers"].append((b"connection", b"close"))
                if unread:
                    await send(message)
                    connection.leave_open()
                    return
            await send(message)

        if not asks:
            await self._app(scope, receive, send_with_headers)
            return
        try:
            await self._chat(scope, receive, send_with_headers)
        except GatewayError as error:  # raised only while nothing was sent
            self._metrics.refuse(error)
            await _send(error, send_with_headers)
        except Exception as error:  # a fault of ours: told without its words, and raised for the log
            if not begun:
                await _send(_fault(identifier, error), send_with_headers)
            raise


async def _send(error: GatewayError, send: Send) -> None:
    status, headers, content = errors.response(error)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _method(method: str) -> str:
    # A client can send any word as its method: only known ones become labels.
    return method if method in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE") else "other"
