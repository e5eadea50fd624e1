"""The OpenAPI document: FastAPI's own, with the key's scheme and the routes that bypass FastAPI; describes only, checks nothing."""

from typing import Any

import msgspec
from fastapi import FastAPI

from gateway.door import DoorLimits, chat_schema
from gateway.ledger.readers.browse import RecordQuery
from gateway.routes.chat_completions import ROUTE as CHAT

_PUBLIC = {"/healthz", "/readyz", "/health", "/ping", "/auth/methods", "/auth/sign-in"}
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


def describe(app: FastAPI, door: DoorLimits) -> None:
    """Make ``app`` publish the whole document, of what ``door`` lets pass."""
    made_by_fastapi = app.openapi

    def whole() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made_by_fastapi()
            _add(document, door)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = whole  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _add(document: dict[str, Any], door: DoorLimits) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= {**chat_schema(door), "Error": _ERROR}
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "vt_..."}}
    _describe_filters(document["paths"]["/v1/audit/records"]["get"])
    _describe_credentials(document["paths"]["/auth/sign-in"]["post"])
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
    errors = {
        "description": "What went wrong, in OpenAI's shape",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"].setdefault("default", errors)
            if path not in _PUBLIC:
                operation["security"] = [{"key": []}]


def _describe_filters(operation: dict[str, Any]) -> None:
    (query,), components = msgspec.json.schema_components([RecordQuery], ref_template="#/components/schemas/{name}")
    fields = components[query["$ref"].rpartition("/")[2]]["properties"]
    operation["parameters"] = [
        {"name": name, "in": "query", "required": False, "schema": _without_null(schema)}
        for name, schema in fields.items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """In an address nothing can be null: it is left out."""
    kept = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    return {name: value for name, value in kept[0].items() if name != "default"}


def _describe_credentials(operation: dict[str, Any]) -> None:
    text = {"type": "string", "minLength": 1}
    operation["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["user", "password"],
                    "additionalProperties": False,
                    "properties": {"user": {**text, "maxLength": 256}, "password": {**text, "maxLength": 1024}},
                }
            }
        },
    }
