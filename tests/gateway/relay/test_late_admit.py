"""A ledger that does not answer in time: 503 within the deadline, the engine is told at once, and nobody pays."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway
from tests.support.scrape import moves, scrape

DEADLINE_S = 0.5
QUICK_S = DEADLINE_S + 1.0  # two busy cores
OUT = 'vitrine_tenant_tokens_total{direction="out",tenant="default"}'


class House:
    def __init__(self, gateway: Gateway, engine: FakeEngine, ledger: Ledger) -> None:
        self.gateway, self.engine, self.ledger = gateway, engine, ledger
        self.key = gateway.create_key()
        assert gateway.chat(self.key).status == 200

    def ask(self, *, stream: bool = False) -> tuple[int, float]:
        """The status, and after how many seconds it came."""
        began_s = time.monotonic()
        answer = self.gateway.chat(self.key, stream=stream)
        assert answer.error["code"] == "audit_unavailable"
        return answer.status, time.monotonic() - began_s


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    settings = {"VITRINE_ADMIT_TIMEOUT_S": str(DEADLINE_S), "VITRINE_BUSY_EXCHANGES": "2"}
    with Ledger(tmp_path) as ledger, FakeEngine(tmp_path / "run") as engine, Gateway(tmp_path, **settings) as gateway:
        yield House(gateway, engine, ledger)


@pytest.mark.parametrize("stream", [False, True])
def test_the_engine_is_told_at_once_and_the_answer_is_503_in_time(house: House, stream: bool) -> None:
    house.engine.behaviour = Behaviour.STALLS_BEFORE_THE_FIRST_BYTE
    with house.ledger.silent():
        status, took_s = house.ask(stream=stream)
        assert (status, took_s < QUICK_S) == (503, True), took_s
        house.engine.wait_until_left(1)


def test_an_answer_that_was_made_meanwhile_is_not_given_and_not_charged(house: House) -> None:
    before = scrape(house.gateway.metrics_port)
    assert before[OUT] > 0
    with house.ledger.silent():
        status, took_s = house.ask()
        assert (status, took_s < QUICK_S) == (503, True), took_s
    until(lambda: house.gateway.chat(house.key).status == 200, what="the ledger is back")
    moved = moves(before, scrape(house.gateway.metrics_port))
    assert moved[OUT] == before[OUT]  # of the last answer alone


def test_those_that_wait_for_the_engine_are_answered_in_time_too(house: House) -> None:
    house.engine.behaviour = Behaviour.STALLS_BEFORE_THE_FIRST_BYTE
    with house.ledger.silent(), ThreadPoolExecutor(6) as many:
        asked = [many.submit(house.ask) for _ in range(6)]
        for one in asked:
            status, took_s = one.result(30)
            assert (status, took_s < QUICK_S) == (503, True), took_s
    # Some got a place at the engine in the last moment, when others gave it up. Each of them was told.
    house.engine.wait_until_left(len(house.engine.bodies) - 1)
