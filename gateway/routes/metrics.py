"""``/metrics``, behind the scope ``metrics``: the gateway's own and each engine's. Counts nothing.

They may wait for the ledger or for an engine. So they have threads of their own: those that digest pictures are not theirs.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway.front.errors import NotFound, Unavailable
from gateway.keys.caller import Scope
from gateway.routes.services import Services
from gateway.telemetry.exporter import TEXT, NotScraped

T = TypeVar("T")
THREADS = 4


class MetricsRoutes:
    """``add`` the routes to an application, ``close`` at its end."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="scrape")

    def add(self, app: FastAPI) -> None:
        app.get(
            "/metrics", summary="Prometheus metrics, for a key with the scope metrics", response_class=PlainTextResponse
        )(self.metrics)
        app.get(
            "/metrics/engines", summary="The engines whose own metrics are here, for Prometheus' HTTP service discovery"
        )(self.engines)
        app.get("/metrics/engines/{engine}", summary="An engine's own metrics", response_class=PlainTextResponse)(
            self.engine
        )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def metrics(self, request: Request) -> Response:
        self._services.authentication.caller(request.scope, Scope.METRICS)
        text = await self._aside(generate_latest, self._services.metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    async def engines(self, request: Request) -> list[dict[str, Any]]:
        self._services.authentication.caller(request.scope, Scope.METRICS)
        return await self._aside(self._services.scraper.discovered, request.headers.get("host"))

    async def engine(self, engine: str, request: Request) -> Response:
        self._services.authentication.caller(request.scope, Scope.METRICS)
        try:
            return Response(await self._aside(self._services.scraper.fetch, engine), media_type=TEXT)
        except KeyError:
            raise NotFound("there is no such engine; /metrics/engines lists them") from None
        except NotScraped as error:
            raise Unavailable(f"the engine gave no metrics: {error}", retry_after_s=5) from None

    async def _aside(self, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)
