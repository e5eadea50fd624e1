"""The client's side of the socket: what goes when, in which packet, and who may stop waiting."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.ledger.client.async_client import Deadlines, LedgerClient
from gateway.ledger.client.messages import Abandon, Admit, Question, Receipt, Reply, decode_question, encode
from gateway.ledger.errors import LedgerUnavailable
from tests.support.ledger import PATIENT, admit

WITHIN_S = 10


class Desk:
    """A ledger that answers only when told to; it sees the packets as they come."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen()
        self._connection: socket.socket | None = None

    async def meets(
        self, deadlines: Deadlines = PATIENT, on_failure: Callable[[str], None] = lambda _: None
    ) -> LedgerClient:
        client = await LedgerClient.connect(self.path, deadlines, on_failure=on_failure)
        self._connection, _ = self._listener.accept()
        self._connection.setblocking(False)
        return client

    def packet(self) -> list[Question]:
        """The packet that is there now; empty if there is none."""
        assert self._connection is not None
        try:
            return _questions(self._connection.recv(1 << 20))
        except BlockingIOError:
            return []

    async def next_packet(self) -> list[Question]:
        assert self._connection is not None
        async with asyncio.timeout(WITHIN_S):
            return _questions(await asyncio.get_running_loop().sock_recv(self._connection, 1 << 20))

    def answer(self, question: Question) -> None:
        assert self._connection is not None
        said = Receipt(f"id-{question.n}", question.n, b"x" * 32, "test.example/log")
        self._connection.send(encode(Reply(question.n, said)))

    def close(self) -> None:
        self._listener.close()
        if self._connection is not None:
            self._connection.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "ledger.sock")
    yield desk
    desk.close()


async def test_a_question_that_is_alone_goes_at_once(desk: Desk) -> None:
    async with await desk.meets() as client:
        for number in range(2):
            call = client.admission(admit(number))
            [question] = desk.packet()  # the loop has not turned since
            desk.answer(question)
            async with asyncio.timeout(WITHIN_S):
                assert (await call.wait()).id == f"id-{question.n}"


async def test_questions_beside_one_that_is_unanswered_go_in_one_packet(desk: Desk) -> None:
    async with await desk.meets() as client:
        calls = [client.admission(admit(number)) for number in range(4)]
        first, rest = desk.packet(), desk.packet()
        assert (len(first), rest) == (1, [])
        rest = await desk.next_packet()
        assert [_request(question) for question in rest] == ["request-1", "request-2", "request-3"]
        for question in first + rest:
            desk.answer(question)
        async with asyncio.timeout(WITHIN_S):
            assert len({(await call.wait()).id for call in calls}) == 4
        # Those who asked together may do so again: this one waits for them until the loop turns, the one after does not.
        client.admission(admit(4))
        assert desk.packet() == []
        [question] = await desk.next_packet()
        desk.answer(question)


async def test_who_stops_waiting_does_not_take_the_question_back(desk: Desk) -> None:
    async with await desk.meets() as client:
        call = client.admission(admit())
        waiting = asyncio.create_task(call.wait())
        [question] = await desk.next_packet()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not call.over
        desk.answer(question)
        async with asyncio.timeout(WITHIN_S):
            assert (await call.wait()).id == f"id-{question.n}"
        assert call.over


async def test_an_admission_that_is_late_is_voided_also_if_nobody_waits_for_it(desk: Desk) -> None:
    failures: list[str] = []
    async with await desk.meets(Deadlines(admit_s=0.05), failures.append) as client:
        call = client.admission(admit())
        [asked] = desk.packet()
        [void] = await desk.next_packet()
        assert void.ask == Abandon(asked.n)
        with pytest.raises(LedgerUnavailable, match="50 ms"):
            await call.wait()
        desk.answer(asked)  # too late: nobody is told
        await asyncio.sleep(0.02)
        with pytest.raises(LedgerUnavailable):
            await call.wait()
    assert failures == ["admit"]


def _questions(packet: bytes) -> list[Question]:
    return [decode_question(line) for line in packet.split(b"\n")]


def _request(question: Question) -> str:
    assert isinstance(question.ask, Admit)
    return question.ask.request
