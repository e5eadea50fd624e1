"""A full house: who waits, who is next, who is refused; the queue alone, then in a real gateway."""

import asyncio
import contextlib
import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.engines.queue import EngineRemoved, Queue, QueueBounds
from gateway.engines.shared_load import SharedLoad
from gateway.front.errors import OverLimit, Unavailable
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway, question

ROOMY = QueueBounds(exchanges=2, tokens=10_000, waiting=100, waiting_per_key=50, wait_s=20)


class House:
    """A queue whose exchanges end when told to; ``served`` has who had a turn, in order."""

    def __init__(self, bounds: QueueBounds) -> None:
        self.queue = Queue("engine-0", bounds, SharedLoad.alone())
        self.served: list[str] = []
        self.ends: list[asyncio.Event] = []

    def ask(self, key: str, tokens: int = 1000) -> "asyncio.Task[None]":
        return asyncio.create_task(self._ask(key, tokens))

    async def _ask(self, key: str, tokens: int) -> None:
        async with self.queue.turn(key, tokens, time.monotonic()):
            self.served.append(key)
            self.ends.append(asyncio.Event())
            await self.ends[-1].wait()

    async def end_one(self) -> None:
        """Let the oldest exchange end, and all that follows from it happen."""
        self.ends.pop(0).set()
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_no_more_are_at_work_than_the_engine_has_places_and_what_waits_waits_here() -> None:
    house = House(QueueBounds(256, 1_000_000, 100, 50, 20))
    house.queue.follow(2)
    asked = [house.ask("key") for _ in range(4)]
    await settle()
    assert (house.queue.bound, house.queue.exchanges, house.queue.waiting) == (2, 2, 2)
    house.queue.follow(3)  # its next life has another profile
    await settle()
    assert (house.queue.exchanges, house.queue.waiting) == (3, 1)
    for places, bound in ((None, 256), (1000, 256), (0, 1)):
        house.queue.follow(places)
        assert house.queue.bound == bound
    while not all(one.done() for one in asked):
        await house.end_one()


async def test_who_waits_for_an_engine_that_goes_away_is_told_at_once_and_who_works_goes_on() -> None:
    house = House(QueueBounds(1, 10_000, 100, 50, 20))
    working, waiting = house.ask("first"), house.ask("second")
    await settle()
    house.queue.evict()
    with pytest.raises(EngineRemoved):
        await waiting
    assert house.queue.waiting == house.queue.waiting_tokens == 0
    await house.end_one()
    await working
    assert house.served == ["first"]
    assert house.queue.exchanges == house.queue.tokens == 0


async def test_the_time_that_was_waited_elsewhere_counts() -> None:
    house = House(QueueBounds(1, 10_000, 100, 50, wait_s=20))
    working = house.ask("first")
    await settle()
    with pytest.raises(Unavailable):
        async with house.queue.turn("second", 1000, time.monotonic() - 19.9):
            pass
    await house.end_one()
    await working


async def test_a_flood_does_not_delay_anothers_single_question() -> None:
    house = House(QueueBounds(1, 10_000, 100, 50, 20))
    flood = [house.ask("flood", 1000) for _ in range(40)]
    await settle()
    single = house.ask("single", 1000)
    await settle()
    assert house.served == ["flood"]
    for _ in range(5):
        await house.end_one()
    assert "single" in house.served  # after a turn or two of the flood's, not after its 40
    for task in [*flood, single]:
        task.cancel()


async def test_turns_are_shared_by_tokens_not_by_count() -> None:
    house = House(QueueBounds(1, 100_000, 100, 50, 20))
    tasks = [house.ask("first")]
    await settle()
    tasks += [house.ask("heavy", 4000) for _ in range(10)]
    tasks += [house.ask("light", 400) for _ in range(40)]
    await settle()
    for _ in range(22):
        await house.end_one()
    assert 16 <= house.served.count("light") <= 21  # ten light ones for each heavy one
    for task in tasks:
        task.cancel()


async def test_a_large_one_passes_alone_and_is_not_overtaken_for_ever() -> None:
    house = House(ROOMY)
    small = [house.ask("small", 4000) for _ in range(2)]
    await settle()
    huge = house.ask("huge", 50_000)
    small += [house.ask("small", 4000) for _ in range(20)]
    await settle()
    for _ in range(20):
        if "huge" in house.served:
            break
        await house.end_one()
    assert "huge" in house.served
    assert house.queue.exchanges == 1  # alone
    for task in [*small, huge]:
        task.cancel()


async def test_whoever_leaves_is_forgotten_and_the_next_moves_up() -> None:
    house = House(ROOMY)
    working = [house.ask("a") for _ in range(2)]
    await settle()
    gone, next_one = house.ask("b"), house.ask("b")
    await settle()
    assert house.queue.waiting == 2
    gone.cancel()
    await settle()
    assert house.queue.waiting == 1
    await house.end_one()
    assert house.served == ["a", "a", "b"]
    for task in [*working, next_one]:
        task.cancel()
    await settle()
    assert (house.queue.exchanges, house.queue.tokens, house.queue.waiting) == (0, 0, 0)


async def test_a_turn_that_comes_as_its_owner_leaves_is_not_lost() -> None:
    house = House(QueueBounds(1, 10_000, 100, 50, 20))
    first, second, third = house.ask("a"), house.ask("b"), house.ask("c")
    await settle()
    house.ends.pop(0).set()
    while not first.done():  # noqa: ASYNC110  the step of the loop is what matters
        await asyncio.sleep(0)
    second.cancel()  # its turn was given in this very step of the loop
    await settle()
    assert house.served == ["a", "c"]
    third.cancel()
    await settle()
    assert house.queue.exchanges == 0


async def test_waiting_has_an_end() -> None:
    house = House(QueueBounds(1, 10_000, 100, 50, wait_s=0.01))
    working = house.ask("a")
    await settle()
    with pytest.raises(Unavailable, match="busy"):
        await house.ask("b")
    mine = [house.ask("a") for _ in range(3)]
    done = await asyncio.gather(*mine, return_exceptions=True)
    assert all(isinstance(error, OverLimit) for error in done[:1]), done
    working.cancel()


async def test_a_full_queue_takes_from_the_longest_line_and_not_from_the_newcomer() -> None:
    house = House(QueueBounds(1, 10_000, waiting=10, waiting_per_key=10, wait_s=20))
    tasks = [house.ask("flood") for _ in range(11)]
    await settle()
    assert house.queue.waiting == 10
    tasks.append(house.ask("single"))
    await settle()
    assert house.queue.waiting == 10
    assert isinstance(tasks[10].exception(), OverLimit)
    with pytest.raises(OverLimit, match="wait already"):
        await house.ask("flood")
    await house.end_one()
    await house.end_one()
    assert "single" in house.served
    for task in tasks:
        task.cancel()


async def test_a_closed_queue_refuses_who_waits_and_who_comes_and_lets_work_end() -> None:
    house = House(ROOMY)
    working = [house.ask("a") for _ in range(2)]
    await settle()
    waiting = house.ask("b")
    await settle()
    house.queue.close()
    for refused in (waiting, house.ask("c")):
        with pytest.raises(Unavailable, match="shutting down"):
            await refused
    await house.end_one()
    await house.end_one()
    await asyncio.gather(*working)


@pytest.fixture(scope="module")
def small(home: Path, running_engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    """A gateway that lets one exchange work at the engine and two of a key wait."""
    with Gateway(home, VITRINE_BUSY_EXCHANGES="1", VITRINE_QUEUE_PER_KEY="2", VITRINE_QUEUE_TIMEOUT_S="3") as running:
        yield running


def metric(gateway: Gateway, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.partition("{")[0].partition(" ")[0] == name)


def test_a_full_house_queues_refuses_with_429_and_goes_on(small: Gateway, engine: FakeEngine, ledger: Ledger) -> None:
    key = small.create_key()
    engine.behaviour = Behaviour.WAITS_FOR_LEAVE
    with ThreadPoolExecutor(3) as many:
        asked = [many.submit(small.chat, key) for _ in range(3)]
        until(lambda: metric(small, "vitrine_queue_waiting") == 2, what="two waiting")
        until(lambda: engine.bodies)
        answer = small.chat(key)
        assert (answer.status, answer.headers["retry-after"]) == (429, "5")
        record = ledger.records(kind="complete", id=answer.headers["x-audit-id"])[0]
        assert (record["outcome"], record["status"]) == ("refused", 429)
        assert len(engine.bodies) == 1  # who waits costs the engine nothing
        engine.go_on.set()
        assert [one.result(30).status for one in asked] == [200, 200, 200]
    until(lambda: metric(small, "vitrine_queue_waiting") == metric(small, "vitrine_busy_exchanges") == 0)
    assert metric(small, "vitrine_queue_seconds_count") == 3


def test_waiting_too_long_is_503_for_another_caller(small: Gateway, engine: FakeEngine) -> None:
    busy, other = small.create_key(), small.create_key()
    engine.behaviour = Behaviour.WAITS_FOR_LEAVE
    with ThreadPoolExecutor(1) as one:
        working = one.submit(small.chat, busy)
        until(lambda: engine.bodies)
        answer = small.chat(other, stream=True)
        assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "engine_busy", "5")
        engine.go_on.set()
        assert working.result(30).status == 200
    assert len(engine.bodies) == 1


def test_a_client_that_leaves_the_queue_is_forgotten_and_charged_nothing(
    small: Gateway, engine: FakeEngine, ledger: Ledger
) -> None:
    busy = small.create_key()
    key, key_id = small.limited_key("--tokens-per-min", "5000")
    engine.behaviour = Behaviour.WAITS_FOR_LEAVE
    with ThreadPoolExecutor(1) as one:
        working = one.submit(small.chat, busy)
        until(lambda: engine.bodies)
        body = json.dumps(question()).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n"
        with contextlib.closing(socket.create_connection(("127.0.0.1", small.port), timeout=10)) as connection:
            connection.sendall(head.encode() + b"\r\n" + body)
            until(lambda: metric(small, "vitrine_queue_waiting") == 1, what="one waiting")
        until(lambda: metric(small, "vitrine_queue_waiting") == 0, within_s=2, what="nobody waiting")
        engine.go_on.set()
        working.result(30)
    admitted = ledger.records(kind="admit", key=key_id)[0]
    ended = until(lambda: ledger.records(kind="complete", id=admitted["id"]))[0]
    assert (ended["outcome"], ended["prompt_tokens"], ended["answer_tokens"]) == ("client_left", 0, 0)
    assert len(engine.bodies) == 1
    answer = small.chat(key, max_tokens=16)
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) > 4900
