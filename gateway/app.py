"""Puts the house together: routes, errors, headers; decides nothing about a request itself.

The routes here are the allowlist: whatever is not named is 404.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import fastapi_offline
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import errors, openapi
from gateway.chat import ROUTE as CHAT
from gateway.chat import ChatCompletions
from gateway.engines.scrape import NotScraped
from gateway.errors import GatewayError, MethodNotAllowed, NotFound, Unavailable
from gateway.exporter import TEXT
from gateway.house import House, address, peer_of
from gateway.keys.caller import Scope as KeyScope
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.identity import Identities
from gateway.record import deny

VERSION = metadata.version("vitrine")
WEB = Path(__file__).parent / "web"
_SWAGGER = Path(fastapi_offline.__file__).parent / "static"
_PAGE_HEADERS = {
    # Swagger UI styles its elements inline; scripts come from here alone.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}


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

    app = FastAPI(
        title="Vitrine", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    chat = ChatCompletions(house)
    app.router.routes.append(Route(CHAT, chat, methods=["POST"]))
    _models(app, house)
    _health(app, house)
    _receipts(app, house)
    _pages(app)
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

    @app.get(
        "/metrics", summary="Prometheus metrics, for a key with the scope metrics", response_class=PlainTextResponse
    )
    async def metrics(request: Request) -> Response:
        house.caller(request.scope, KeyScope.METRICS)
        # In a thread: what is asked at a scrape may take its time, and adding up the workers' files does.
        text = await asyncio.to_thread(generate_latest, house.metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    engines = house.settings.scraped_engines()

    @app.get(
        "/metrics/engines", summary="The engines whose own metrics are here, for Prometheus' HTTP service discovery"
    )
    async def engines_found(request: Request) -> list[dict[str, Any]]:
        house.caller(request.scope, KeyScope.METRICS)
        return await asyncio.to_thread(engines.discovered, request.headers.get("host"))

    @app.get("/metrics/engines/{engine}", summary="An engine's own metrics", response_class=PlainTextResponse)
    async def engine_metrics(engine: str, request: Request) -> Response:
        house.caller(request.scope, KeyScope.METRICS)
        try:
            return Response(await asyncio.to_thread(engines.fetch, engine), media_type=TEXT)
        except KeyError:
            raise NotFound("there is no such engine; /metrics/engines lists them") from None
        except NotScraped as error:
            raise Unavailable(f"the engine gave no metrics: {error}", retry_after_s=5) from None


def _receipts(app: FastAPI, house: House) -> None:
    @app.get("/v1/audit/receipts/{record_id}", summary="The proof that an exchange is in the audit log")
    async def receipt(record_id: str, request: Request) -> Response:
        caller = house.caller(request.scope, KeyScope.INFERENCE, KeyScope.AUDIT)
        try:
            found = await house.ledger.receipt(record_id, caller.key_id, auditor=KeyScope.AUDIT in caller.scopes)
        except LedgerUnavailable:
            raise Unavailable("the audit log does not answer; try again soon", retry_after_s=1) from None
        if found.state == "not_yet":
            retry_s = max(1, found.retry_ms // 1000)
            return JSONResponse({"id": record_id, "state": "not_yet"}, 202, {"retry-after": str(retry_s)})
        if found.state != "found":
            # Another caller's record answers as one that does not exist.
            raise NotFound(f"no exchange of yours has the id {record_id!r}; X-Audit-Id of its answer has it")
        return JSONResponse({"id": record_id, "state": "found", "proofs": found.proofs})


def _pages(app: FastAPI) -> None:
    for path, name in {"/": "index.html", "/docs": "docs.html"}.items():

        @app.get(path, include_in_schema=False)
        async def page(name: str = name) -> Response:
            return FileResponse(WEB / name, headers=_PAGE_HEADERS)

    app.mount("/static", StaticFiles(directory=WEB / "static"))
    app.mount("/swagger", StaticFiles(directory=_SWAGGER))


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
        started = time.perf_counter()
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
                structlog.get_logger().debug(
                    "answered", path=path, status=message["status"], ms=round((time.perf_counter() - started) * 1000)
                )
            await send(message)

        if not asks:
            await self._app(scope, receive, send_with_headers)
            return
        try:
            await self._chat(scope, receive, send_with_headers)
        except GatewayError as error:  # raised only while nothing was sent
            self._metrics.refuse(error)
            await _send(error, send_with_headers)
        except Exception as error:
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
