"""``/v1/models``: the models that are served."""

from typing import Any

from fastapi import FastAPI, Request

from gateway.engines.engine import Engine
from gateway.front.errors import NotFound
from gateway.keys.caller import Scope
from gateway.routes.services import Services


def _entry(name: str, engine: Engine) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": name,
        "object": "model",
        "created": int(engine.state.started_at_s if engine.state else 0),
        "owned_by": "vitrine",
        "max_model_len": engine.max_model_len,
    }
    if engine.demo:
        entry |= {"demo": True, "description": engine.demo}
    return entry


def add(app: FastAPI, services: Services) -> None:
    """Add the two routes."""

    def models(request: Request) -> list[dict[str, Any]]:
        services.authentication.caller(request.scope, Scope.INFERENCE)
        return [_entry(name, engine) for name, engine in services.pool.served().items()]

    @app.get("/v1/models", summary="The models that are served")
    async def list_models(request: Request) -> dict[str, Any]:
        return {"object": "list", "data": models(request)}

    @app.get("/v1/models/{model}", summary="One model")
    async def get_model(model: str, request: Request) -> dict[str, Any]:
        for entry in models(request):
            if entry["id"] == model:
                return entry
        raise NotFound(f"the model {model!r} is not served here; GET /v1/models lists them", code="model_not_found")
