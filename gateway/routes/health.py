"""``/healthz``: whether the gateway lives. ``/readyz``, ``/health``, ``/ping``: whether a question can be answered now."""

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from gateway.routes.services import Services


def add(app: FastAPI, services: Services) -> None:
    """Add the four routes. ``/health`` means what it does with vLLM: an engine answers."""

    @app.get("/healthz", summary="Whether the gateway lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ping", summary="The same as /readyz, for load balancers", operation_id="ping")
    @app.get("/health", summary="The same as /readyz, for load balancers", operation_id="health")
    @app.get("/readyz", summary="Whether a question can be answered now")
    async def readyz() -> Response:
        waiting = await services.readiness.waiting_for()
        if waiting:
            return JSONResponse({"status": "waiting", "waiting_for": waiting}, 503, {"retry-after": "5"})
        return JSONResponse({"status": "ready"})
