"""A server of pictures on loopback, plain and with TLS, that misbehaves at certain paths; runs in a thread of its own."""

import asyncio
import ssl
import threading
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.door import DoorLimits
from tests.gateway.door.bodies import body, picture, user
from tests.support.certificate import certificate

PNG = picture()
LIMITS = DoorLimits(remote_images=True)


def asking(*urls: str) -> dict[str, Any]:
    return body(user("What is this?", *[{"type": "image_url", "image_url": {"url": url}} for url in urls]))


class Pictures:
    """Answers any path with ``PNG`` unless a name below says otherwise. ``asked`` are paths and headers; ``most_at_once`` is how
    many of ``/slow`` were being served at the same time, ``left`` how many answers without end were abandoned."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.most_at_once = self.at_once = self.left = 0
        self.moves: dict[str, str] = {}
        self.certificate, self._key = certificate(folder, "localhost")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Pictures":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self._key)
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self.port, self.tls_port = (address[1] for address in self._runner.addresses)

    def url(self, path: str, host: str = "localhost") -> str:
        return f"http://{host}:{self.port}/{path}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        self.asked.append((request.raw_path, dict(request.headers)))
        if path in self.moves:
            return web.Response(status=302, headers={"Location": self.moves[path], "Set-Cookie": "a=b"})
        match path:
            case "slow":
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                await asyncio.sleep(0.1)
                self.at_once -= 1
            case "drip":
                return await self._write(request, PNG[:1], pause_s=0.05)
            case "endless":
                return await self._write(request, b"\x89PNG\r\n\x1a\n" + b"x" * 65536, pause_s=0)
            case "announced":
                return web.Response(body=b"x" * (LIMITS.image_bytes + 1))
            case "page":
                return web.Response(text="<html>no picture</html>", content_type="image/png")
            case "empty":
                return web.Response(body=b"", content_type="image/png")
            case "squeezed":
                squeezed = web.Response(body=PNG * 1000)
                squeezed.enable_compression(web.ContentCoding.gzip)
                return squeezed
            case "cut":
                answer = web.StreamResponse(headers={"Content-Length": str(len(PNG))})
                await answer.prepare(request)
                await answer.write(PNG[:20])
                assert request.transport is not None
                request.transport.abort()
                return answer
            case "missing":
                return web.Response(status=404)
        return web.Response(body=PNG, content_type="application/octet-stream")

    async def _write(self, request: web.Request, chunk: bytes, pause_s: float) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(chunk)
                await asyncio.sleep(pause_s)
        finally:
            self.left += 1
