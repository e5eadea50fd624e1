"""One connection of the gateway with real sockets and an application of the test's own: what of its bytes becomes a head."""

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
import uvicorn

from gateway.front.bodies import BodyBuffer, MemoryBudget, MemoryShare
from gateway.front.connection import (
    CHUNK_BYTES,
    FREE_CHUNKS,
    MOST_FRAMING_BYTES,
    MOST_HEAD_BYTES,
    MOST_HEADERS,
    MOST_PIPELINED,
    ClientConnection,
)
from gateway.front.connection_manager import ConnectionBounds, ConnectionManager
from gateway.front.errors import GatewayError
from gateway.front.proxies import TrustedProxies
from tests.attack.wire import statuses

HEAD_S = 0.5
POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNK = b"5\r\nhello\r\n"
# Every header that something in the gateway reads, and two that the parser itself reads.
CONSUMED = (
    b"Authorization",
    b"X-Remote-User",
    b"X-Remote-Groups",
    b"X-Forwarded-For",
    b"X-Forwarded-Proto",
    b"Cookie",
    b"X-CSRF-Token",
    b"Origin",
    b"Sec-Fetch-Site",
    b"Host",
    b"Content-Type",
    b"Content-Encoding",
    b"Traceparent",
    b"Expect",
    b"Connection",
)


class Gauge:
    def set(self, value: float) -> None: ...


class Counted:
    """Counts for the connection manager what is refused."""

    def __init__(self) -> None:
        self.connections = Gauge()
        self.refused: list[GatewayError] = []

    def refuse(self, error: GatewayError) -> None:
        self.refused.append(error)

    def dismissed(self) -> None: ...


class Site:
    """A server on loopback. ``held`` keeps its answers back while it is clear; one that ``streams`` tells no length.

    ``seen`` are the heads that came, ``bodies`` the bodies.
    """

    def __init__(self) -> None:
        self.seen: list[list[tuple[bytes, bytes]]] = []
        self.bodies: list[bytes] = []
        self.held = asyncio.Event()
        self.held.set()
        self.streams = False
        self.connections: list[ClientConnection] = []
        self.port = 0

    async def app(self, scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body, more = body + message.get("body", b""), message.get("more_body", False)
        await self.held.wait()
        self.seen.append(list(scope["headers"]))
        self.bodies.append(body)
        if self.streams:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for word in (b"one ", b"two ", b"three"):
                await send({"type": "http.response.body", "body": word, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    def connection(self, manager: ConnectionManager, *arguments: Any, **named: Any) -> ClientConnection:
        made = ClientConnection(manager, *arguments, **named)
        self.connections.append(made)
        return made


@pytest.fixture
async def server() -> AsyncIterator[Site]:
    site = Site()
    manager = ConnectionManager(ConnectionBounds(100, 100, HEAD_S, 5, 5, 30), TrustedProxies(""), Counted())
    made: Any = partial(site.connection, manager)
    running = uvicorn.Server(
        uvicorn.Config(
            site.app,
            http=made,
            ws="none",
            proxy_headers=False,
            interface="asgi3",
            lifespan="off",
            log_level="error",
            port=0,
        )
    )
    tasks = [asyncio.create_task(running.serve()), asyncio.create_task(manager.watch())]
    async with asyncio.timeout(10):
        while not running.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.01)
    site.port = running.servers[0].sockets[0].getsockname()[1]
    yield site
    running.should_exit = True
    site.held.set()
    tasks[1].cancel()
    async with asyncio.timeout(10):
        await tasks[0]


async def talk(site: Site, *parts: bytes) -> bytes:
    """Send all, as far as it is taken, and read until the other side closes."""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        with contextlib.suppress(ConnectionError):
            for part in parts:
                writer.write(part)
                await writer.drain()
        received = b""
        with contextlib.suppress(ConnectionError):
            received = await reader.read(-1)
        writer.close()
        return received


@pytest.mark.parametrize("name", CONSUMED)
async def test_a_trailer_is_never_a_header(server: Site, name: bytes) -> None:
    trailers = b"0\r\n%b: planted\r\nX-Other: planted\r\n\r\n" % name
    received = await talk(server, POST + CHUNK + trailers + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert statuses(received) == (200, 200)
    assert server.bodies == [b"hello", b""]
    assert not [value for head in server.seen for _, value in head if value == b"planted"]


async def test_trailers_in_pieces_and_more_of_them_than_headers_may_be(server: Site) -> None:
    many = b"".join(b"X-%d: planted\r\n" % number for number in range(MOST_HEADERS + 1))
    assert statuses(await talk(server, POST + CHUNK + b"0\r\n", many, b"\r\n")) == (400,)
    assert server.seen == []


ENDLESS = {
    "a header's value": b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ",
    "a header's name": b"GET / HTTP/1.1\r\nHost: x\r\nX-",
    "a target": b"GET /",
    "blank lines": b"",
    "a trailer's value": POST + CHUNK + b"0\r\nX-Long: ",
    "a chunk's extension": POST + b"5;",
    "the extension of the last chunk": POST + CHUNK + b"0;",
}
FILLING = {"blank lines": b"\r\n"}


@pytest.mark.parametrize("behind", [False, True], ids=["alone", "behind a running request"])
@pytest.mark.parametrize("what", ENDLESS)
async def test_bytes_without_end_are_not_parsed_beyond_their_bound(
    server: Site, monkeypatch: pytest.MonkeyPatch, what: str, behind: bool
) -> None:
    """What is counted is what the parser was given: 8 MB are offered."""
    fed = 0
    was = ClientConnection.data_received

    def counting(self: ClientConnection, data: bytes) -> None:
        nonlocal fed
        fed += 0 if self._deaf or self.ending_since_s is not None else len(data)
        was(self, data)

    monkeypatch.setattr(ClientConnection, "data_received", counting)
    if behind:
        server.held.clear()
        asyncio.get_running_loop().call_later(0.3, server.held.set)
    filling = FILLING.get(what, b"a") * 8192
    received = await talk(server, *([GET] if behind else []), ENDLESS[what], *[filling] * (8 << 20 >> 13))
    at_once = 256 << 10  # what one read of the socket may bring
    assert fed <= MOST_HEAD_BYTES + MOST_FRAMING_BYTES + 3 * at_once
    expected = (200,) if behind else (400,) if what.startswith(("a trailer", "a chunk", "the ext")) else (431,)
    # A client that goes on sending may meet a reset before it reads: then it has no answer, and never a wrong one.
    assert statuses(received) in (expected, ())
    assert len(server.seen) == (1 if behind else 0)


async def test_many_small_chunks_are_no_flood(server: Site) -> None:
    body = b"1\r\nx\r\n" * 10_000
    close = POST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert statuses(await talk(server, close + body + b"0\r\n\r\n")) == (200,)
    assert server.bodies == [b"x" * 10_000]


async def test_a_body_that_is_nearly_all_framing_is_refused(server: Site) -> None:
    body = b"1\r\nx\r\n" * 100_000
    assert statuses(await talk(server, POST, *[body[at : at + 8192] for at in range(0, len(body), 8192)])) in (
        (400,),
        (),
    )
    assert server.seen == []


@pytest.mark.parametrize("size", [6, 64])
async def test_a_body_of_very_many_small_chunks_is_refused(server: Site, size: int) -> None:
    """Their framing is no more than what they carry; 8 MB are offered. What is counted is chunks, since each costs time."""
    offered = (8 << 20) // size
    chunks = (b"%x\r\n%b\r\n" % (size, b" " * size)) * (offered // 128)
    received = await talk(server, POST, *[chunks] * 128)
    assert statuses(received) in ((400,), ())
    assert server.seen == []
    at_once = (256 << 10) // (size + 5)  # what one read of the socket may bring
    assert server.connections[0]._chunks <= FREE_CHUNKS + server.connections[0]._body_bytes // CHUNK_BYTES + 2 * at_once


async def test_chunks_as_clients_send_them_are_no_flood(server: Site) -> None:
    chunks = b"400\r\n" + b" " * 1024 + b"\r\n"
    close = POST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert statuses(await talk(server, close, *[chunks] * 2048, b"0\r\n\r\n")) == (200,)
    assert server.bodies == [b" " * (2 << 20)]


def test_small_pieces_of_a_body_are_kept_together() -> None:
    """A piece of six bytes would be an object of forty: a budget of 1 GiB would hold ten of memory."""
    pieces = [b"abcdef"] * 100_000 + [b"g" * 8192, b"hijk"] * 10
    with MemoryShare(MemoryBudget(1 << 20)) as share:
        buffer = BodyBuffer(share, 1 << 20)
        tracemalloc.start()
        try:
            assert all(map(buffer.take, pieces))
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        size = sum(map(len, pieces))
        assert held < 2 * size
        assert buffer.whole() == b"".join(pieces)


async def test_a_head_behind_a_running_request_has_its_deadline_too(server: Site) -> None:
    """The answer that is owed comes whole, then the connection ends: nobody waits for the rest of the second head."""
    server.held.clear()
    asyncio.get_running_loop().call_later(4 * HEAD_S, server.held.set)
    received = await talk(server, GET + b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    assert statuses(received) == (200,)
    assert len(server.seen) == 1


async def test_a_second_request_that_came_whole_is_still_answered(server: Site) -> None:
    server.held.clear()
    asyncio.get_running_loop().call_later(0.2, server.held.set)
    close = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert statuses(await talk(server, GET + GET + close)) == (200, 200, 200)


# Java's HttpClient sends these three with every first request of a connection.
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n"
CLOSING = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
UPGRADES = {
    "without a body": (b"GET / HTTP/1.1\r\nHost: x\r\n" + H2C + b"\r\n", b""),
    "with a length": (b"POST / HTTP/1.1\r\n" + H2C + b"Content-Length: 26\r\nHost: x\r\n\r\n" + GET[:26], GET[:26]),
    "in chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\n"
        + H2C
        + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1a\r\n"
        + GET[:26]
        + b"\r\n0\r\n\r\n",
        b"hello" + GET[:26],
    ),
    "to something unknown": (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: TLS/1.0, x\r\n\r\n", b""),
    "in HTTP/1.0": (b"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", b""),
}


@pytest.mark.parametrize("size", [1 << 20, 7, 1], ids=["in one packet", "in pieces of 7", "byte by byte"])
@pytest.mark.parametrize("what", UPGRADES)
async def test_an_upgrade_is_ignored_and_its_body_stays_a_body(server: Site, what: str, size: int) -> None:
    """The bodies look like requests: none of them may become one."""
    sent, body = UPGRADES[what]
    last = what == "in HTTP/1.0"  # which ends its connection
    sent = sent if last else GET + sent + sent + CLOSING
    received = await talk(server, *[sent[at : at + size] for at in range(0, len(sent), size)])
    assert statuses(received) == ((200,) if last else (200,) * 4), received
    assert server.bodies == ([body] if last else [b"", body, body, b""])
    assert not [name for head in server.seen for name, _ in head if name == b"upgrade"]


REFUSED_UPGRADES = {
    "to websocket": GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    "to websocket among others": GET.replace(
        b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: x, WebSocket/13\r\n\r\n"
    ),
    "by CONNECT": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    "by CONNECT with Upgrade": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n" + H2C + b"\r\n",
    "with two lengths": b"POST / HTTP/1.1\r\nHost: x\r\n"
    + H2C
    + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "with length and chunks": b"POST / HTTP/1.1\r\nHost: x\r\n"
    + H2C
    + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "with chunks in gzip": b"POST / HTTP/1.1\r\nHost: x\r\n"
    + H2C
    + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "with a key twice": GET.replace(b"\r\n\r\n", b"\r\nAuthorization: a\r\n" + H2C + b"Authorization: b\r\n\r\n"),
    "without Host": b"GET / HTTP/1.1\r\n" + H2C + b"\r\n",
}


@pytest.mark.parametrize("what", REFUSED_UPGRADES)
async def test_an_upgrade_loosens_no_other_rule(server: Site, what: str) -> None:
    assert statuses(await talk(server, REFUSED_UPGRADES[what] + GET)) == (400,)
    assert server.seen == []


async def test_a_request_that_wants_an_upgrade_and_the_end_of_the_connection_gets_both_right(server: Site) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\n"
    assert statuses(await talk(server, head + b"hello" + GET)) == (200,)
    assert server.bodies == [b"hello"]


async def test_a_thousand_upgrades_at_once_are_as_many_as_may_wait(server: Site) -> None:
    server.held.clear()
    asyncio.get_running_loop().call_later(0.3, server.held.set)
    received = await talk(server, UPGRADES["with a length"][0] * 1000)
    assert set(statuses(received)) == {200}
    assert len(server.seen) == MOST_PIPELINED + 1


@pytest.mark.parametrize("head", [b"", b"Connection: keep-alive\r\n"])
async def test_a_stream_in_http_1_0_has_no_chunks_and_ends_with_its_connection(server: Site, head: bytes) -> None:
    server.streams = True
    received = await talk(server, b"GET / HTTP/1.0\r\n" + head + b"\r\n")
    told, _, body = received.partition(b"\r\n\r\n")
    assert body == b"one two three"
    assert b"transfer-encoding" not in told.lower()
    assert b"connection: close" in told.lower()


async def test_http_1_0_keeps_the_length_where_there_is_one(server: Site) -> None:
    received = await talk(server, b"GET / HTTP/1.0\r\n\r\n")
    assert received.endswith(b"\r\n\r\nok")
    assert b"content-length: 2" in received


async def test_a_stream_in_http_1_1_still_comes_in_chunks(server: Site) -> None:
    server.streams = True
    received = await talk(server, CLOSING)
    assert received.endswith(b"4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n")


async def test_head_in_http_1_0_has_no_body(server: Site) -> None:
    server.streams = True
    assert (await talk(server, b"HEAD / HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\n")


async def test_a_client_that_leaves_with_requests_behind_the_running_one_is_noticed(server: Site) -> None:
    """The request that is answered must learn of it: it would write to a closed connection, each time with an error in the log."""
    server.held.clear()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(GET * 3)
    async with asyncio.timeout(10):
        while not (server.connections and len(server.connections[0].pipeline) == 2):  # noqa: ASYNC110  no event for it
            await asyncio.sleep(0.01)
    (connection,) = server.connections
    running = connection._running
    assert running is not None
    writer.transport.abort()
    connection.flow.resume_reading()  # a reset is seen by who reads, or at the next write
    async with asyncio.timeout(10):
        while not connection.left:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert running.disconnected
    assert not connection.pipeline
    assert await running.receive() == {"type": "http.disconnect"}
