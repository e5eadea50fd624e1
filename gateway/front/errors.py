"""What can go wrong with a request, and its one translation to HTTP, in OpenAI's shape; never logs and never sends.

GatewayError
├── BadRequest 400        the caller's fault; says what and the way out
├── Unauthenticated 401   one answer for unknown, revoked and expired keys
├── Forbidden 403         the key lacks a scope
├── NotFound 404          path or model
├── MethodNotAllowed 405
├── TooSlow 408           the body did not arrive in time
├── TooLarge 413
├── HeadTooLarge 431
├── OverLimit 429        a limit, or a queue that is full of the caller's own requests; Retry-After says when to ask again
├── Unavailable 503       nothing can answer now; Retry-After says when to ask again
│   └── Unreachable 503   nobody takes the engine's connection
├── EngineBroke 502       the engine answered with an error, or stopped answering
└── TimedOut 504          the engine's answer did not end in time

The ``type`` and ``code`` are OpenAI's (https://platform.openai.com/docs/guides/error-codes), so that its SDK raises the class
that a developer expects.
"""

from typing import Any

import orjson


class GatewayError(Exception):
    """A request that ends without the answer it asked for. ``message`` is one sentence with the way out."""

    status = 500
    type = "server_error"
    code: str | None = None

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.message, self.param, self.retry_after_s = message, param, retry_after_s
        self.who: str | None = None  # whose id the record of this refusal names, where no caller is known
        self.headers: list[tuple[bytes, bytes]] = []  # more of them for the answer: its receipt
        if code is not None:
            self.code = code


class BadRequest(GatewayError):
    status, type = 400, "invalid_request_error"


class Unauthenticated(GatewayError):
    status, type, code = 401, "invalid_request_error", "invalid_api_key"


class Forbidden(GatewayError):
    status, type, code = 403, "invalid_request_error", "insufficient_permissions"


class NotFound(GatewayError):
    status, type, code = 404, "invalid_request_error", "not_found"


class MethodNotAllowed(GatewayError):
    status, type, code = 405, "invalid_request_error", "method_not_allowed"


class TooSlow(GatewayError):
    status, type, code = 408, "invalid_request_error", "request_timeout"


class TooLarge(GatewayError):
    status, type, code = 413, "invalid_request_error", "request_too_large"


class HeadTooLarge(GatewayError):
    status, type, code = 431, "invalid_request_error", "request_header_too_large"


class OverLimit(GatewayError):
    """``kind`` is what there is too much of: ``requests`` or ``tokens``; OpenAI gives it as the type."""

    status, code = 429, "rate_limit_exceeded"

    def __init__(self, message: str, *, kind: str = "requests", code: str | None = None, retry_after_s: int) -> None:
        super().__init__(message, code=code, retry_after_s=retry_after_s)
        self.type = kind
        self.limit = self.scope = ""  # which limit, and whether of the key or of the tenant, where it was one


class EngineBroke(GatewayError):
    status, code = 502, "engine_broke"


class Unavailable(GatewayError):
    status, code = 503, "unavailable"


class Unreachable(Unavailable):
    """Nothing was asked: another engine can be."""


class TimedOut(GatewayError):
    status, code = 504, "timed_out"


def fault(request_id: str) -> GatewayError:
    """The answer to a request that met a fault of the gateway's own: an id to find it by, and no detail."""
    return GatewayError(f"the gateway has a fault; tell the operator this id: {request_id}", code="fault")


def body(error: GatewayError) -> dict[str, Any]:
    """OpenAI's error object for the response body or a stream's error event."""
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}


def response(error: GatewayError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body that answer a request with this error."""
    content = orjson.dumps(body(error))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content)), *error.headers]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return error.status, headers, content
