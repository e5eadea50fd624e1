"""The pages for people: files, and the headers that let them do nothing but what they are for; answers no question itself."""

import os
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

WEB = Path(__file__).parents[1] / "web"
_SWAGGER = Path(fastapi_offline.__file__).parent / "static"
_STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "manifest-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify"
)
# Swagger UI styles its elements inline; scripts come from here alone.
_SWAGGERS = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
PAGES = {"/": ("index.html", _STRICT), "/audit": ("audit.html", _STRICT), "/docs": ("docs.html", _SWAGGERS)}


def headers(policy: str) -> dict[str, str]:
    """What comes with a page, besides what every answer has."""
    return {
        "content-security-policy": policy,
        "referrer-policy": "no-referrer",
        "permissions-policy": "camera=(self), microphone=(), geolocation=()",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        # Asked again each time, by its ETag: a page and its modules must be of one version.
        "cache-control": "no-cache",
    }


def add(app: FastAPI) -> None:
    """The pages and the files that they are made of."""
    for path, (name, policy) in PAGES.items():
        app.router.routes.append(Route(path, _Whole(_Page(WEB / name, policy)), methods=["GET"]))
    app.mount("/static", _Whole(_Files(directory=WEB / "static")))
    app.mount("/swagger", _Whole(StaticFiles(directory=_SWAGGER)))


class _Whole:
    """Files are answered whole: a list of a hundred ranges costs twenty times as much as the file, and no page asks for one."""

    def __init__(self, files: ASGIApp) -> None:
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [header for header in scope["headers"] if header[0] != b"range"]
        await self._files({**scope, "headers": headers}, receive, send)


class _Page:
    """One file. Not a function of the framework's: there a parameter with a default can be set by the URL's query."""

    def __init__(self, path: Path, policy: str) -> None:
        self._path, self._headers = path, headers(policy)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await FileResponse(self._path, headers=self._headers)(scope, receive, send)


class _Files(StaticFiles):
    """Static files that are asked for again by their ETag."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        answer = super().file_response(full_path, stat_result, scope, status_code)
        answer.headers["cache-control"] = "no-cache"
        answer.headers["cross-origin-resource-policy"] = "same-origin"
        return answer
