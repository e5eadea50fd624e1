"""A client that reads its answer slowly holds no place at the engine that others wait for, and no answer for ever."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from gateway.engines.connections import EngineConnection
from gateway.engines.endpoint import parse
from tests.gateway.relay.test_faults import LONG, WITH_LOGPROBS, answer_of, held_bytes
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.engine_connections import engine_connections
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway, question

ANSWER_S = 4.0


@pytest.fixture(scope="module")
def narrow(home: Path, running_engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    """A gateway whose engine answers one at a time."""
    with Gateway(
        home, VITRINE_BUSY_EXCHANGES="1", VITRINE_ANSWER_TIMEOUT_S=str(ANSWER_S), VITRINE_SILENCE_TIMEOUT_S="3"
    ) as running:
        yield running


@contextmanager
def slow_reader(gateway: Gateway, key: str, *, stream: bool) -> Iterator[socket.socket]:
    """Asks, and reads so little now and then that its answer would take minutes, and no single wait is long."""
    sent = json.dumps(question(stream=stream, **WITH_LOGPROBS)).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n"
    over = threading.Event()
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", gateway.port))
        reader.sendall(head % (key.encode(), len(sent)) + sent)

        def read() -> None:
            try:
                while not over.wait(0.1) and reader.recv(20_000):
                    pass
            except OSError:
                return  # the gateway cut it

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield reader
        finally:
            over.set()
            thread.join(10)


def test_a_whole_answer_that_is_read_slowly_holds_no_place_at_the_engine(narrow: Gateway, engine: FakeEngine) -> None:
    key = narrow.create_key()
    engine.raw = answer_of(LONG)
    with slow_reader(narrow, key, stream=False):
        until(lambda: held_bytes(narrow) > LONG, what="its answer is held")
        engine.raw = None
        started_s = time.monotonic()
        assert narrow.chat(key).status == 200
        assert time.monotonic() - started_s < ANSWER_S / 2
        until(lambda: held_bytes(narrow) == 0, within_s=6 * ANSWER_S, what="it is cut")


def test_a_stream_that_is_read_slowly_ends_in_time(narrow: Gateway, engine: FakeEngine, ledger: Ledger) -> None:
    key = narrow.create_key()
    engine.raw = None
    engine.script = [{"content": "a" * 2000}] * 8000
    with slow_reader(narrow, key, stream=True):
        until(lambda: len(engine.bodies) == 1, what="the engine is asked")
        time.sleep(0.5)  # the engine streams by then
        started_s = time.monotonic()
        engine.script = []
        assert narrow.chat(key).status == 200
        assert time.monotonic() - started_s < 5 * ANSWER_S
    assert [record["outcome"] for record in ledger.records(kind="complete")[-2:]] == ["client_left", "completed"]


@asynccontextmanager
async def asking(folder: Path, *, answer_s: float) -> AsyncIterator[EngineConnection]:
    """The head of a long stream has been read; the answer has ``answer_s`` in all."""
    with FakeEngine(folder, tcp=True) as engine:
        engine.script = [{"content": "a" * 2000}] * 8000
        async with engine_connections(parse(engine.url)) as connections:
            body = json.dumps(question(stream=True)).encode()
            answer = await connections.ask("POST", "/v1/chat/completions", body, silence_s=10, answer_s=answer_s)
            assert await answer.head() == 200
            yield answer
            answer.release()


async def test_an_answer_that_is_always_there_and_taken_slowly_has_its_end_too(tmp_path: Path) -> None:
    async with asking(tmp_path, answer_s=0.5) as answer:
        started_s = time.monotonic()

        async def take_slowly() -> None:
            while await answer.chunk():  # noqa: ASYNC110  slowness is what this is about
                await asyncio.sleep(0.2)

        with pytest.raises(TimeoutError):
            await take_slowly()
        assert time.monotonic() - started_s < 5


async def test_an_engine_is_not_late_because_its_client_is(tmp_path: Path) -> None:
    """The time in which nobody took what was there is not the engine's."""
    async with asking(tmp_path, answer_s=2) as answer:
        said = b""
        for _ in range(5):
            said = await answer.chunk()
            await asyncio.sleep(0.5)
        while chunk := await answer.chunk():
            said = chunk
    assert said.endswith(b"data: [DONE]\n\n")
