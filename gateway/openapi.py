"""The OpenAPI document: FastAPI's own, with the key's scheme and the routes that bypass FastAPI; describes only, checks nothing."""

from typing import Any

from fastapi import FastAPI

from gateway.chat import ROUTE as CHAT
from gateway.door import Limits, chat_schema

_PUBLIC = {"/healthz", "/readyz"}
_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


def describe(app: FastAPI, door: Limits) -> None:
    """Make ``app`` publish the whole document, of what ``door`` lets pass."""
    made_by_fastapi = app.openapi

    def whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made_by_fastapi()
            _add(document, door)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = whole  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _add(document: dict[str, Any], door: Limits) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= {**chat_schema(door), "Error": _ERROR}
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "vt_..."}}
    document["paths"][CHAT] = {
        "post": {
            "summary": "Ask about pictures and text",
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ChatBody"}}},
            },
            "responses": {
                "200": {
                    "description": "The answer: whole, or as server-sent events if `stream` is true.",
                    "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
                }
            },
        }
    }
    errors = {"description": "What went wrong, in OpenAI's shape", "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/Error"}}
    }}  # fmt: skip
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"].setdefault("default", errors)
            if path not in _PUBLIC:
                operation["security"] = [{"key": []}]
