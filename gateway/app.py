"""The application of one worker: its routes, which are the allowlist, and what surrounds them. Decides nothing about a request.

Whatever is not named here is 404.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib import metadata

from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp

from gateway.routes import audit, health, models, openapi, pages, sign_in
from gateway.routes.chat_completions import ROUTE as CHAT
from gateway.routes.chat_completions import ChatCompletions
from gateway.routes.metrics import MetricsRoutes
from gateway.routes.middleware import RequestMiddleware, add_error_handlers
from gateway.routes.services import Services

VERSION = metadata.version("vitrine")


def build(services: Services) -> ASGIApp:
    """The application for one worker."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.pool.refresh()
        watch = asyncio.create_task(services.pool.watch())
        try:
            yield
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
            if services.image_workers is not None:
                await services.image_workers.close()
            metrics.close()
            await services.log_reader.close()

    metrics = MetricsRoutes(services)
    app = FastAPI(
        title="Vitrine", version=VERSION, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    chat = ChatCompletions(services)
    app.router.routes.append(Route(CHAT, chat, methods=["POST"]))
    models.add(app, services)
    health.add(app, services)
    metrics.add(app)
    audit.add(app, services)
    sign_in.add(app, services)
    pages.add(app)
    openapi.describe(app, services.door)
    add_error_handlers(app, services)
    return RequestMiddleware(app, chat, services)
