"""Whatever goes wrong inside the relay, each exchange ends: with a name and a record, and with what it reserved given back."""

import asyncio
import contextlib
import json
import socket
import time
import types
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from gateway.door import DoorLimits, digest_images, parse_chat
from gateway.engines.pool import Pool, PoolPlan
from gateway.engines.queue import QueueBounds
from gateway.engines.shared_load import SharedLoad
from gateway.front.bodies import MemoryBudget, MemoryShare
from gateway.front.errors import GatewayError
from gateway.front.shutdown import Shutdown
from gateway.keys.allowance import Allowance
from gateway.keys.caller import Caller, Scope
from gateway.ledger.client.async_client import Deadlines, LedgerClient
from gateway.relay.exchange import Exchange
from gateway.relay.limit_policy import LimitPolicy
from gateway.relay.relay import Relay
from gateway.relay.stage_times import StageTimes
from gateway.routes.chat_completions import ROUTE
from gateway.telemetry.counters import Metrics
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway, question
from tests.support.scrape import parse, scrape

CONCURRENT = 2
LONG = 10 << 20  # more than the kernel keeps for a client that does not read
WITH_LOGPROBS = {"max_tokens": 4000, "logprobs": True, "top_logprobs": 20}
DEEP = b"[" * 5000 + b"]" * 5000
GOOD = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
END = b"data: [DONE]\n\n"
STRANGE = {
    "not UTF-8": b'{"choices":[{"index":0,"message":{"content":"\xff"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}',
    "nested 5,000 deep": b'{"choices":[{"index":0,"message":{"content":"a"}}],"usage":{"prompt_tokens":1},"x":'
    + DEEP
    + b"}",
    "fewer tokens than none": b'{"choices":[{"index":0,"message":{"content":"a"}}],"usage":{"prompt_tokens":-1}}',
    "2^63-1 tokens": b'{"choices":[{"index":0,"message":{"content":"a"}}],"usage":{"completion_tokens":9223372036854775807}}',
    "an error of another form": b'{"object":"error","message":"secret"}',
}


class Living:
    """A client that is there and stays."""

    on_left = None
    left = False


class Bench:
    """A relay with the real ledger and a fake engine, driven in this process."""

    def __init__(self, relay: Relay, pool: Pool) -> None:
        self.relay, self.pool, self.budget = relay, pool, MemoryBudget(64 << 20)
        self.caller = Caller(
            "key_0000000000000001",
            "test",
            "default",
            frozenset(Scope),
            b"secret",
            Allowance(concurrent=CONCURRENT),
            Allowance(),
        )
        self.sent: list[dict[str, Any]] = []
        self._number = 0

    async def send(self, message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        self.sent.append(message)

    def ask(self, *, stream: bool) -> tuple[Exchange, Coroutine[Any, Any, None]]:
        """One exchange, and the coroutine that is its whole life in the relay."""
        body = question(stream=stream)
        request = parse_chat(json.dumps(body).encode(), DoorLimits())
        digest_images(request)
        self._number += 1
        exchange = Exchange(
            f"request-{time.time_ns()}-{self._number}",
            self.caller,
            ROUTE,
            "192.0.2.1",
            "192.0.2.1:1",
            request,
            100,
            StageTimes(),
        )
        self.sent.clear()

        async def life() -> None:
            engine = self.pool.pick("glm-4v", b"key", 100)
            exchange.engine = engine.name
            with MemoryShare(self.budget) as share:
                await self.relay.run(exchange, engine, b"key", share, Living(), self.send)  # type: ignore[arg-type]

        return exchange, life()

    def counted(self) -> dict[str, float]:
        return parse(generate_latest(self.relay.metrics.registry).decode())


@pytest.fixture
async def bench(home: Path, engine: FakeEngine, ledger: Ledger) -> AsyncIterator[Bench]:
    metrics = Metrics("0")
    pool = Pool(PoolPlan(home, QueueBounds(4, 10_000, 10, 10, 5.0), SharedLoad.alone()), metrics)
    pool.refresh()
    async with await LedgerClient.connect(home / "run" / "ledger.sock", Deadlines(admit_s=10)) as client:
        limits = LimitPolicy(Allowance(), Allowance(), 100)
        yield Bench(Relay(pool, client, metrics, limits, Shutdown(), 5.0, 10.0), pool)
        for one in pool.engines.values():
            one.close()


@types.coroutine
def raising(life: Coroutine[Any, Any, None], at: int, error: BaseException) -> Generator[Any, Any, int]:
    """Run it, and raise ``error`` where it waits for the ``at``-th time; how often it waited."""
    waits = 0
    step: Any = None
    while True:
        try:
            step = life.throw(error) if waits == at else life.send(None)
        except StopIteration:
            return waits
        waits += 1
        yield step


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.slow("an exchange for each of some thirty waits, and two more to see that its place is free")
async def test_an_error_at_any_wait_of_the_relay_ends_the_exchange(bench: Bench, ledger: Ledger, stream: bool) -> None:
    _, life = bench.ask(stream=stream)
    waits = await raising(life, -1, RuntimeError())
    assert waits >= 5
    for at in range(1, waits):
        exchange, life = bench.ask(stream=stream)
        async with asyncio.timeout(20):
            with contextlib.suppress(GatewayError):
                await _as_coroutine(raising(life, at, RuntimeError("planted")))
        await _check_ended(bench, ledger, exchange, at)


async def test_an_end_of_the_gateway_at_any_wait_is_recorded_too(bench: Bench, ledger: Ledger) -> None:
    _, life = bench.ask(stream=True)
    waits = await raising(life, -1, RuntimeError())
    for at in range(1, waits - 1):
        exchange, life = bench.ask(stream=True)
        with pytest.raises(asyncio.CancelledError):
            await _as_coroutine(raising(life, at, asyncio.CancelledError()))
        await _check_ended(bench, ledger, exchange, at)


async def _as_coroutine(steps: Any) -> None:
    await steps


async def _check_ended(bench: Bench, ledger: Ledger, exchange: Exchange, at: int) -> None:
    admits = ledger.records(kind="admit", request=exchange.id)
    ends = [record for record in ledger.records(kind="complete") if admits and record["id"] == admits[0]["id"]]
    assert (len(admits), len(ends)) == (1, 1), f"wait {at}: {admits} {ends}"
    said = b"".join(message.get("body", b"") for message in bench.sent)
    whole = ends[0]["outcome"] == "completed"
    assert whole or END not in said, f"wait {at}: an answer that looks whole"
    (engine,) = bench.pool.engines.values()
    assert (engine.queue.exchanges, engine.queue.tokens, engine.queue.waiting) == (0, 0, 0), at
    assert bench.budget.held_bytes == 0, at
    assert bench.counted()["vitrine_exchanges_in_flight"] == 0, at
    # The ledger's own count: as many as the key may have at once are let in again.
    lives = [bench.ask(stream=False) for _ in range(CONCURRENT)]
    await asyncio.gather(*(life for _, life in lives))
    assert {exchange.outcome for exchange, _ in lives} == {"completed"}, at


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("what", STRANGE)
def test_a_strange_answer_is_an_engine_that_broke_and_takes_no_place_for_good(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, what: str, stream: bool
) -> None:
    key, _ = gateway.limited_key("--concurrent", str(CONCURRENT))
    engine.raw = (GOOD + b"data: " + STRANGE[what] + b"\n\n" + END) if stream else STRANGE[what]
    for _ in range(CONCURRENT + 1):
        answer = gateway.chat(key, stream=stream)
        if stream:
            assert END not in answer.body
            assert b'"code":"engine_broke"' in answer.body
        else:
            assert (answer.status, answer.error["code"]) == (502, "engine_broke")
    engine.raw = None
    assert gateway.chat(key, stream=stream).status == 200
    assert engine.behaviour is Behaviour.ANSWERS
    assert {record["outcome"] for record in ledger.records(kind="complete")[-CONCURRENT - 2 : -1]} == {"engine_broke"}


@pytest.fixture(scope="module")
def small(home: Path, running_engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    """A gateway with room for three long answers, and little patience with clients that do not read."""
    mib = 1 << 20
    with Gateway(
        home, VITRINE_MAX_BODY_BYTES=str(mib), VITRINE_MAX_BODIES_BYTES=str(3 * LONG + mib), VITRINE_STALL_TIMEOUT_S="3"
    ) as running:
        yield running


def answer_of(chars: int) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "a" * chars}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode()


def test_an_answer_may_be_as_long_as_its_tokens_can_make_it(small: Gateway, engine: FakeEngine) -> None:
    key = small.create_key()
    engine.raw = answer_of(900_000)
    answer = small.chat(key, max_tokens=4000)
    assert (answer.status, len(answer.json["choices"][0]["message"]["content"])) == (200, 900_000)
    refused = small.chat(key, max_tokens=16)
    assert (refused.status, refused.error["code"]) == (502, "engine_broke")


def test_alternatives_may_all_be_the_longest_tokens(small: Gateway, engine: FakeEngine) -> None:
    """A client can ask for such an answer with ``logit_bias``: it must not look as if the engine had broken off."""
    key, tokens = small.create_key(), 500
    entry = {"token": " " * 128, "logprob": -12.345678329467773, "bytes": [32] * 128}
    logprobs = {"content": [{**entry, "top_logprobs": [entry] * 20}] * tokens}
    choice = {"index": 0, "message": {"content": " " * 128 * tokens}, "logprobs": logprobs, "finish_reason": "length"}
    said = {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": tokens}}
    engine.raw = json.dumps(said, separators=(",", ":")).encode()
    assert small.chat(key, **WITH_LOGPROBS | {"max_tokens": tokens}).status == 200


def test_answers_that_nobody_reads_count_as_held_memory(small: Gateway, engine: FakeEngine) -> None:
    """A client that does not read holds its answer in the gateway: there is a bound for all, and a deadline for each."""
    key = small.create_key()
    engine.raw = answer_of(LONG)
    sent = json.dumps(question(**WITH_LOGPROBS)).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for number in range(3):
            unread = stack.enter_context(socket.socket())
            unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            unread.connect(("127.0.0.1", small.port))
            unread.sendall(head % (key.encode(), len(sent)) + sent)
            until(partial(holds_more_than, small, number * LONG), what="its answer is held")
        refused = small.chat(key, **WITH_LOGPROBS)
        assert (refused.status, refused.error["code"]) == (503, "memory_full")
        until(lambda: held_bytes(small) == 0, within_s=20, what="they are cut")
    assert small.chat(key, **WITH_LOGPROBS).status == 200


def holds_more_than(gateway: Gateway, size: int) -> bool:
    return held_bytes(gateway) > size


def held_bytes(gateway: Gateway) -> float:
    return scrape(gateway.metrics_port)["vitrine_held_bytes"]
