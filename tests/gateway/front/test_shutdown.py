"""The last moment of a gateway: who connected in it."""

import asyncio
import socket
from functools import partial

import uvicorn
from starlette.types import Receive, Scope, Send

from gateway.front.connection import ClientConnection
from gateway.front.connection_manager import ConnectionBounds, ConnectionManager
from gateway.front.proxies import TrustedProxies
from gateway.front.shutdown import Server, Shutdown
from gateway.telemetry.counters import Metrics


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def test_who_connected_and_was_not_accepted_yet_is_answered_all_the_same() -> None:
    porter = ConnectionManager(ConnectionBounds(10, 10, 5, 5, 5, 5), TrustedProxies(""), Metrics("0"))
    config = uvicorn.Config(
        _answer,
        http=partial(ClientConnection, porter),  # type: ignore[arg-type]  # as worker.py
        ws="none",
        lifespan="off",
        log_level="warning",
    )
    config.load()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = Server(config, Shutdown(), lambda: None, 5, 0, lambda: None)
    server.lifespan = config.lifespan_class(config)
    await server.startup([listener])
    with socket.create_connection(listener.getsockname(), 5) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")  # the loop has not run since: nobody has accepted
        await server.shutdown([listener])
        answer = await asyncio.to_thread(client.recv, 1000)
    assert answer.startswith(b"HTTP/1.1 503 ")
