"""``/readyz`` asks the ledger and an engine, each with a deadline: a process that hangs keeps its connections."""

import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Answer, Gateway

QUICK_S = 1.0  # as long as HAProxy waits, as deploy/haproxy has it


class House:
    def __init__(self, gateway: Gateway, engine: FakeEngine, ledger: Ledger) -> None:
        self.gateway, self.engine, self.ledger = gateway, engine, ledger

    def ready(self) -> Answer:
        """What /readyz answers, which must be quick."""
        began_s = time.monotonic()
        answer = self.gateway.request("GET", "/readyz")
        assert time.monotonic() - began_s < QUICK_S
        return answer


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    home: Path = tmp_path_factory.mktemp("home")
    with Ledger(home) as ledger, FakeEngine(home / "run") as engine, Gateway(home) as gateway:
        until(lambda: gateway.request("GET", "/readyz").status == 200, what="ready")
        yield House(gateway, engine, ledger)


def test_a_ledger_that_hangs_is_not_ready_and_one_that_goes_on_is(house: House) -> None:
    with house.ledger.silent():
        answer = house.ready()
        assert (answer.status, answer.json["waiting_for"]) == (503, ["ledger: did not answer within 0.8 s"])
    until(lambda: house.ready().status == 200, what="ready again")


def test_an_engine_that_hangs_is_not_ready(house: House) -> None:
    house.engine.behaviour = Behaviour.HANGS
    try:
        # One that has just answered somebody is believed for two seconds.
        until(lambda: house.ready().status == 503, what="not ready", within_s=5)
        assert house.ready().json["waiting_for"] == ["engine-0: did not answer within 0.8 s"]
    finally:
        house.engine.behaviour = Behaviour.ANSWERS
    until(lambda: house.ready().status == 200, what="ready again")


def test_an_engine_that_makes_no_token_is_not_ready_but_is_asked_if_it_is_the_only_one(house: House) -> None:
    key = house.gateway.create_key()
    house.engine.say("ready", silent_since_s=time.time() - 20)
    try:
        until(lambda: house.ready().status == 503, what="not ready")
        assert house.ready().json["waiting_for"][0].startswith("engine-0: it has made no token for 2")
        assert house.gateway.chat(key).status == 200
    finally:
        house.engine.say("ready")
    until(lambda: house.ready().status == 200, what="ready again")
    assert "why='it has made no token" in house.gateway.process.line_with("the engine gets no requests")
    house.gateway.process.line_with("the engine gets requests again")


def test_two_that_hang_are_both_named(house: House) -> None:
    house.engine.behaviour = Behaviour.HANGS
    try:
        until(lambda: house.ready().status == 503, what="not ready", within_s=5)
        with house.ledger.silent():
            assert len(house.ready().json["waiting_for"]) == 2
    finally:
        house.engine.behaviour = Behaviour.ANSWERS


def test_a_state_that_its_supervisor_left_behind_is_not_ready(house: House) -> None:
    """As after a loss of power: the file says ready, and nobody holds its lock."""
    lock = house.engine.folder / "lock"
    try:
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            house.engine.say("ready", "held")
            time.sleep(1)  # four looks of the gateway: nothing must change
            assert house.ready().status == 200
        until(lambda: house.ready().status == 503, what="not ready")
        said = "engine-0: its supervisor has ended without a word; start it again"
        assert house.ready().json["waiting_for"] == [said]
    finally:
        lock.unlink()
        house.engine.say("ready")
    until(lambda: house.ready().status == 200, what="ready again")
