"""What every answer has: its own id (a client's is dropped), safe headers, a place in the metrics; and errors as answers."""

import time
from functools import partial

import structlog
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.door import named
from gateway.front import errors
from gateway.front.errors import GatewayError, MethodNotAllowed, NotFound
from gateway.front.request_state import state_of
from gateway.ledger.format.record_id import RecordIds
from gateway.relay.exchange_record import deny
from gateway.routes import unknown_routes
from gateway.routes.chat_completions import ROUTE as CHAT
from gateway.routes.services import Services


class RequestMiddleware:
    """The ASGI application around all others.

    Questions go straight to ``chat``: the framework's layers cost each of them, and each piece of its answer, a tenth.
    """

    def __init__(self, app: ASGIApp, chat: ASGIApp, services: Services) -> None:
        self._app, self._chat, self._metrics = app, chat, services.metrics
        self._shutdown, self._proxies, self._cors = services.shutdown, services.proxies, services.cors
        self._identities = RecordIds(lambda: time.time_ns() // 1_000_000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = state_of(scope)
        host, port = scope["client"] or ("unix", 0)
        forwarded = (value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for")
        state.request_id = identifier = self._identities.next()
        state.client_ip, state.peer = self._proxies.client(host, forwarded), f"{host}:{port}"
        connection = state.connection
        path = scope["path"]
        if path != CHAT:
            path = scope["path"] = unknown_routes.forgiven(path, scope["raw_path"])
        asks = path == CHAT and scope["method"] == "POST"
        # To the routes HEAD is GET. The connection keeps the body back, since its own scope says HEAD.
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        begun = False
        cross_origin = self._cors.headers(scope["headers"]) if self._cors.concerns(path) else []

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                route = inner.get("route")
                path = CHAT if asks else getattr(route, "path", "") or "none"
                self._metrics.answered(path, _method(scope["method"]), message["status"])
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", identifier.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    *cross_origin,
                ]
                if state.ignored:
                    message["headers"].append((b"x-vitrine-ignored", named(state.ignored).encode()))
                if state.limits_left is not None:
                    message["headers"] += await state.limits_left()
                unread = connection.is_sending_its_body(scope)
                if unread or self._shutdown.begun:
                    message["headers"].append((b"connection", b"close"))
                if unread:
                    await send(message)
                    connection.leave_open()
                    return
            await send(message)

        if cross_origin and scope["method"] == "OPTIONS":
            preflight = self._cors.preflight(scope["headers"])
            if preflight:
                cross_origin = preflight
                await _send_nothing(send_with_headers)
                return
        if not asks:
            await self._app(inner, receive, send_with_headers)
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


def add_error_handlers(app: FastAPI, services: Services) -> None:
    """Every error as an answer in OpenAI's shape; refusals of a caller are recorded."""
    app.add_exception_handler(GatewayError, partial(_answer_and_record, services))
    app.add_exception_handler(HTTPException, partial(_answer_http_exception, services))
    app.add_exception_handler(Exception, partial(_answer_fault, services))


async def _answer_and_record(services: Services, request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    route = getattr(request.scope.get("route"), "path", "")
    if error.status in (401, 403, 429) and route != CHAT:  # that route records its own refusals
        await deny(services.ledger, error, state_of(request.scope), route=route, caller=None)
    return _answer_error(services, error)


def _answer_error(services: Services, error: GatewayError) -> Response:
    services.metrics.refuse(error)
    status, headers, content = errors.response(error)
    answer = Response(content, status)
    answer.raw_headers = headers
    return answer


async def _answer_http_exception(services: Services, request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 405:
        allowed = _allowed(request)
        wrong = MethodNotAllowed(f"{request.method} is not for {path}; send {' or '.join(allowed)}")
        wrong.headers.append((b"allow", ", ".join(allowed).encode()))
        return _answer_error(services, wrong)
    advice = unknown_routes.advice(path)
    ways = f"{advice}; /docs lists all routes" if advice else "/docs lists what is"
    return _answer_error(services, NotFound(f"{request.method} {path} is not part of this API; {ways}"))


def _allowed(request: Request) -> list[str]:
    """The methods of this path's routes; those of files where none is found."""
    found: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    if not found or "GET" in found:
        found |= {"GET", "HEAD"}
    return sorted(found)


async def _answer_fault(services: Services, request: Request, error: Exception) -> Response:
    return _answer_error(services, _fault(state_of(request.scope).request_id, error))


def _fault(identifier: str, error: Exception) -> GatewayError:
    structlog.get_logger().error("fault", request_id=identifier, exc_info=error)
    return errors.fault(identifier)


async def _send_nothing(send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _send(error: GatewayError, send: Send) -> None:
    status, headers, content = errors.response(error)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _method(method: str) -> str:
    # A client can send any word as its method: only known ones become labels.
    return method if method in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE") else "other"
