"""``/healthz`` and ``/readyz``: whether the gateway lives, and whether a question can be answered now."""

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from gateway.routes.services import Services


def add(app: FastAPI, services: Services) -> None:
    """Add the two routes."""

    @app.get("/healthz", summary="Whether the gateway lives")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether a question can be answered now")
    async def readyz() -> Response:
        waiting = services.waiting_for()
        if waiting:
            return JSONResponse({"status": "waiting", "waiting_for": waiting}, 503, {"retry-after": "5"})
        return JSONResponse({"status": "ready"})
