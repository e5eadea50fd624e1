"""The connections to an engine, against sockets that say exactly these bytes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.engines.connections import (
    MOST_HEAD_BYTES,
    MOST_UNREAD_BYTES,
    ConnectFailed,
    ConnectionBroken,
    EngineConnection,
    EngineConnections,
)
from gateway.engines.endpoint import Endpoint
from tests.support.deadline import eventually
from tests.support.engine_connections import engine_connections

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

Says = Callable[["Peer"], Coroutine[Any, Any, None]]


class Peer:
    """The other end of one connection. ``requests`` are those that it has read whole."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.requests: list[bytes] = []
        self.left = asyncio.Event()

    async def request(self) -> None:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or b"0")
        self.requests.append(head + await self.reader.readexactly(length))

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.01)  # so that each piece is read alone

    async def gone(self) -> None:
        """Until the gateway closed the connection; well before it would close one for being idle."""
        async with asyncio.timeout(1.5):
            await self.left.wait()


class Engine:
    """Says the same on every connection, in order; remembers them."""

    def __init__(self, connections: EngineConnections, says: Says) -> None:
        self.peers: list[Peer] = []
        self.connections = connections
        self._says = says

    async def met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        try:
            await self._says(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            peer.left.set()
            writer.close()

    async def ask(self, body: bytes = b"{}", *, silence_s: float = 5, answer_s: float = 10) -> EngineConnection:
        return await self.connections.ask("POST", "/v1/x", body, silence_s=silence_s, answer_s=answer_s)

    async def answer(self, body: bytes = b"{}", *, silence_s: float = 5, answer_s: float = 10) -> tuple[int, bytes]:
        """Ask, read to the end, give the connection back."""
        hop = await self.ask(body, silence_s=silence_s, answer_s=answer_s)
        try:
            async with asyncio.timeout(20):
                return await hop.head(), await hop.read(1 << 20)
        finally:
            hop.release()


@asynccontextmanager
async def listening(folder: Path, says: Says) -> AsyncIterator[Engine]:
    async with engine_connections(Endpoint(path=folder / "engine")) as connections:
        engine = Engine(connections, says)
        server = await asyncio.start_unix_server(engine.met, folder / "engine")
        try:
            yield engine
        finally:
            server.close()


def saying(*pieces: bytes, then_waits: bool = True) -> Says:
    """Reads a request and says ``pieces``, again and again; or once, and hangs up."""

    async def says(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.say(*pieces)
            if not then_waits:
                return

    return says


@pytest.mark.parametrize(
    "pieces",
    [
        [OK],
        [OK[index : index + 1] for index in range(len(OK))],
        [CHUNKED + b"2\r\nok\r\n0\r\n\r\n"],
        [CHUNKED, b"1\r", b"\no\r\n1\r\nk", b"\r\n0\r\n", b"\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\n", OK],
    ],
    ids=["whole", "byte by byte", "chunked", "chunks in pieces", "after 100"],
)
async def test_an_answer_is_read_however_it_comes_and_its_connection_used_again(
    tmp_path: Path, pieces: list[bytes]
) -> None:
    async with listening(tmp_path, saying(*pieces)) as engine:
        assert [await engine.answer(b'{"n":%d}' % n) for n in range(3)] == [(200, b"ok")] * 3
        (peer,) = engine.peers
        assert [request.partition(b"\r\n\r\n")[2] for request in peer.requests] == [b'{"n":%d}' % n for n in range(3)]
        assert peer.requests[0].startswith(b"POST /v1/x HTTP/1.1\r\nHost: engine\r\n")


async def test_questions_at_once_have_connections_of_their_own(tmp_path: Path) -> None:
    async with listening(tmp_path, saying(OK)) as engine:
        assert await asyncio.gather(*(engine.answer() for _ in range(5))) == [(200, b"ok")] * 5
        assert len(engine.peers) == 5
        assert await engine.answer() == (200, b"ok")
        assert len(engine.peers) == 5


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        OK[:-1],
        CHUNKED + b"5\r\nab",
        CHUNKED + b"2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nno length, so nobody knows where it ends",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        CHUNKED + b"two\r\nok\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (MOST_HEAD_BYTES + 1),
    ],
    ids=[
        "nothing",
        "half a head",
        "a byte too few",
        "half a chunk",
        "no last chunk",
        "no length",
        "not HTTP",
        "no number",
        "another protocol",
        "a head without end",
    ],
)
async def test_what_is_no_whole_answer_is_told_and_its_connection_closed(tmp_path: Path, said: bytes) -> None:
    async with listening(tmp_path, saying(said, then_waits=False)) as engine:
        for _ in range(2):
            with pytest.raises(ConnectionBroken):
                await engine.answer()
        assert len(engine.peers) == 2


@pytest.mark.parametrize(
    "more", [OK, b"garbage", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"], ids=["an answer", "garbage", "a head"]
)
async def test_what_nobody_asked_for_never_becomes_the_next_answer(tmp_path: Path, more: bytes) -> None:
    async with listening(tmp_path, saying(OK + more)) as engine:
        for expected in (1, 2, 3):
            with_answer = await asyncio.gather(engine.answer(), return_exceptions=True)
            assert with_answer[0] == (200, b"ok") or isinstance(with_answer[0], ConnectionBroken)
            await engine.peers[-1].gone()
            assert len(engine.peers) == expected


async def test_what_comes_late_never_becomes_the_next_answer(tmp_path: Path) -> None:
    async def says(peer: Peer) -> None:
        await peer.request()
        await peer.say(OK, OK)
        await peer.request()

    async with listening(tmp_path, says) as engine:
        assert await engine.answer() == (200, b"ok")
        await engine.peers[0].gone()
        assert await engine.answer() == (200, b"ok")
        assert len(engine.peers) == 2


async def test_a_connection_that_was_closed_while_it_was_kept_is_not_used(tmp_path: Path) -> None:
    async with listening(tmp_path, saying(OK, then_waits=False)) as engine:
        for _ in range(3):
            assert await engine.answer() == (200, b"ok")
            await asyncio.sleep(0.05)  # or the next would be asked before the news is here
        assert len(engine.peers) == 3


async def test_an_answer_that_says_close_is_its_connections_last(tmp_path: Path) -> None:
    async with listening(tmp_path, saying(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))) as engine:
        assert [await engine.answer() for _ in range(2)] == [(200, b"ok")] * 2
        assert len(engine.peers) == 2


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\n", CHUNKED + b"2\r\nok\r\n"], ids=["nothing", "head", "body"]
)
async def test_silence_ends_in_time(tmp_path: Path, said: bytes) -> None:
    async with listening(tmp_path, saying(said)) as engine:
        with pytest.raises(TimeoutError):
            await engine.answer(silence_s=0.3)
        await engine.peers[0].gone()


async def test_an_answer_without_end_ends_in_time_although_it_never_is_silent(tmp_path: Path) -> None:
    async def says(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED)
        while True:
            await peer.say(b"1\r\nx\r\n")

    async with listening(tmp_path, says) as engine:
        with pytest.raises(TimeoutError):
            await engine.answer(silence_s=0.5, answer_s=1)


async def test_an_answer_longer_than_allowed_is_given_up(tmp_path: Path) -> None:
    async with listening(
        tmp_path, saying(CHUNKED + b"80000\r\n" + b"x" * 0x80000 + b"\r\n" + b"80001\r\n" + b"x" * 0x80001)
    ) as engine:
        with pytest.raises(ConnectionBroken, match="no end"):
            await engine.answer()


async def test_leaving_in_the_middle_closes_the_connection(tmp_path: Path) -> None:
    async with listening(tmp_path, saying(CHUNKED + b"2\r\nok\r\n")) as engine:
        hop = await engine.ask()
        assert await hop.head() == 200
        assert await hop.chunk() == b"ok"
        hop.release()
        await engine.peers[0].gone()
        other = await engine.ask()
        assert await other.head() == 200
        other.release()
        assert len(engine.peers) == 2


async def test_an_engine_is_held_back_while_nobody_reads(tmp_path: Path) -> None:
    sent = 0

    async def says(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.say(CHUNKED)
        for _ in range(1000):
            await peer.say(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            sent += 0x10000
        await peer.say(b"0\r\n\r\n")

    async with listening(tmp_path, says) as engine:
        hop = await engine.ask()
        assert await hop.head() == 200
        await asyncio.sleep(1)  # it would have sent all by now
        held = sent
        assert held < MOST_UNREAD_BYTES + (8 << 20)  # what both sockets hold
        assert len(await hop.chunk()) <= MOST_UNREAD_BYTES + (1 << 20)
        await eventually(lambda: sent > held, what="it goes on")
        hop.release()


async def test_where_nobody_listens_is_told_at_once(tmp_path: Path) -> None:
    for endpoint in (Endpoint(path=tmp_path / "nobody"), Endpoint(origin="http://127.0.0.1:1")):
        async with engine_connections(endpoint) as connections:
            with pytest.raises(ConnectFailed):
                await connections.ask("GET", "/", silence_s=5, answer_s=5)
