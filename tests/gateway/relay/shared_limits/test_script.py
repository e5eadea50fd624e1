"""The script on a real server decides as the ledger's own limits do, taken together or not at all, settled once."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from gateway.ledger.client.messages import Limit, LimitExceeded
from gateway.ledger.service import rate_limits as ledger_limits
from gateway.relay.shared_limits.address import RedisAddress
from gateway.relay.shared_limits.client import _LIMITS, SharedLimits, SharedVerdict
from tests.support.deadline import eventually
from tests.support.redis import RedisServer

KEY = Limit(
    "key", "key_1", requests_per_min=5, tokens_per_min=1000, tokens_per_day=3000, concurrent=3, images_per_min=4
)
TENANT = Limit("tenant", "lab", requests_per_min=8, tokens_per_day=5000)
BUSY = Limit("key", "key_2", concurrent=2, tokens_per_day=2500)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def failures() -> Counter:
    return Counter("failures", "-", registry=CollectorRegistry())


@asynccontextmanager
async def shared(redis: RedisServer, *, timeout_s: float = 5, **more: Any) -> AsyncIterator[SharedLimits]:
    async with SharedLimits(RedisAddress.read(redis.url), timeout_s, failures(), **more) as limits:
        yield limits


async def take(limits: SharedLimits, name: str, *bounds: Limit, tokens: int = 100, images: int = 0) -> SharedVerdict:
    verdict = await limits.take(name, "lab", bounds, tokens, images)
    assert verdict is not None
    return verdict


async def test_it_decides_as_the_ledgers_limits_do(redis: RedisServer) -> None:
    """Random exchanges, taken and ended in any order, all within one minute: every verdict and what is left are the same."""
    source = random.Random(7)
    async with shared(redis) as ours:
        theirs = ledger_limits.RateLimits()
        running: dict[str, ledger_limits.Reservation] = {}
        refused: set[str] = set()
        for number in range(400):
            now_ms = time.time_ns() // 1_000_000
            if running and source.random() < 0.3:
                name = source.choice(list(running))
                tokens = source.choice([None, 0, 50, 400])
                is_refused = source.random() < 0.5
                await ours.settle(name, tokens, refused=is_refused)
                theirs.end(running.pop(name), "refused" if is_refused else "completed", tokens, None, now_ms)
                continue
            name, tokens, images = f"e{number}", source.choice([0, 10, 300, 2000]), source.choice([0, 1, 3])
            bounds = source.choice([(KEY,), (KEY, TENANT), (TENANT,), (BUSY,)])
            held, left = theirs.admit(bounds, tokens, images, now_ms)
            verdict = await take(ours, name, *bounds, tokens=tokens, images=images)
            if isinstance(held, LimitExceeded):
                assert verdict.over is not None
                assert (verdict.over.limit, verdict.over.scope, verdict.over.value, verdict.over.remaining) == (
                    held.limit,
                    held.scope,
                    held.value,
                    held.remaining,
                )
                assert abs(verdict.over.reset_ms - held.reset_ms) < 5000
                refused.add(held.limit)
            else:
                assert verdict.over is None
                running[name] = held
            assert [(one.limit, one.scope, one.value, one.remaining) for one in verdict.left] == [
                (one.limit, one.scope, one.value, one.remaining) for one in left
            ]
        assert refused >= set(_LIMITS)


async def test_of_many_at_once_exactly_the_limit_passes(redis: RedisServer) -> None:
    bound = Limit("key", "key_1", requests_per_min=37)
    async with shared(redis) as one, shared(redis) as other:
        said = await asyncio.gather(*[take((one, other)[number % 2], f"e{number}", bound) for number in range(200)])
    assert sum(verdict.over is None for verdict in said) == 37


async def test_a_refusal_uses_nothing_of_anybody(redis: RedisServer) -> None:
    narrow, wide = Limit("key", "key_1", tokens_per_min=50), Limit("tenant", "lab", requests_per_min=3)
    async with shared(redis) as limits:
        for number in range(5):
            verdict = await take(limits, f"no{number}", narrow, wide, tokens=60)
            assert verdict.over is not None
            assert verdict.over.limit == "tokens_per_min"
        assert [one.remaining for one in (await take(limits, "yes", wide)).left] == [2]


async def test_what_was_not_used_is_given_back_once(redis: RedisServer) -> None:
    bound = Limit(
        "key", "key_1", tokens_per_min=1000, tokens_per_day=1000, requests_per_min=2, images_per_min=9, concurrent=1
    )
    async with shared(redis) as limits:
        await take(limits, "a", bound, tokens=900, images=3)
        assert (await take(limits, "b", bound, tokens=10)).over is not None  # one at once
        left = await limits.settle("a", 100, refused=False)
        assert left is not None
        assert {one.limit: one.remaining for one in left} == {
            "requests_per_min": 1,
            "tokens_per_min": 900,
            "tokens_per_day": 900,
            "images_per_min": 6,
            "concurrent": 1,
        }
        assert await limits.settle("a", 0, refused=False) is None
        assert redis.ask("KEYS", "*exchange*") == b"*0\r\n"  # no second settlement, whoever sends it
        await take(limits, "c", bound, tokens=10, images=1)
        left = await limits.settle("c", None, refused=True)
        assert left is not None
        assert {one.limit: one.remaining for one in left} == {
            "requests_per_min": 1,
            "tokens_per_min": 900,
            "tokens_per_day": 900,
            "images_per_min": 6,
            "concurrent": 1,
        }


async def test_a_window_is_any_minute_and_a_day_ends(redis: RedisServer) -> None:
    """With minutes of 200 ms and so days of 288 s: what is older than a minute counts no more."""
    bound = Limit("key", "key_1", requests_per_min=2, tokens_per_min=200, tokens_per_day=10_000)
    async with shared(redis, minute_ms=200) as limits:
        await take(limits, "a", bound)
        await asyncio.sleep(0.12)
        await take(limits, "b", bound)
        verdict = await take(limits, "c", bound)
        assert verdict.over is not None
        assert 0 < verdict.over.reset_ms <= 200
        await asyncio.sleep(verdict.over.reset_ms / 1000 + 0.002)
        assert (await take(limits, "d", bound)).over is None  # a is too old, b is not
        assert (await take(limits, "e", bound)).over is not None
        day = next(one for one in (await take(limits, "f", bound)).left if one.limit == "tokens_per_day")
        assert day.remaining == 10_000 - 300


async def test_a_place_of_who_died_is_free_at_the_end_of_its_lease(redis: RedisServer) -> None:
    bound = Limit("key", "key_1", concurrent=1)
    async with shared(redis, lease_s=0.4) as alive:
        dead = SharedLimits(RedisAddress.read(redis.url), 5, failures(), lease_s=0.4)  # never entered: nobody renews
        assert (await take(dead, "a", bound)).over is None
        assert (await take(alive, "b", bound)).over is not None
        await asyncio.sleep(0.45)
        assert (await take(alive, "c", bound)).over is None
        await asyncio.sleep(0.9)  # renewed meanwhile
        assert (await take(alive, "d", bound)).over is not None
        await dead._redis.aclose()
        await dead._pool.aclose()


async def test_a_flush_of_scripts_and_of_everything_is_survived(redis: RedisServer) -> None:
    bound = Limit("key", "key_1", requests_per_min=3)
    async with shared(redis) as limits:
        await take(limits, "a", bound)
        assert redis.ask("SCRIPT", "FLUSH") == b"+OK\r\n"
        assert [one.remaining for one in (await take(limits, "b", bound)).left] == [1]
        assert redis.ask("FLUSHALL") == b"+OK\r\n"
        await limits.settle("a", 5, refused=False)
        assert [one.remaining for one in (await take(limits, "c", bound)).left] == [2]


async def test_a_server_that_says_nothing_costs_the_deadline_once(redis: RedisServer) -> None:
    bound = Limit("key", "key_1", requests_per_min=3)
    async with shared(redis, timeout_s=0.2) as limits:
        await take(limits, "a", bound)
        redis.send(signal.SIGSTOP)
        try:
            begin_s = time.monotonic()
            assert await limits.take("b", "lab", (bound,), 1, 0) is None
            assert 0.15 < time.monotonic() - begin_s < 1
            begin_s = time.monotonic()
            assert await limits.take("c", "lab", (bound,), 1, 0) is None
            assert await limits.settle("a", 1, refused=True) is None
            assert await limits.settle("b", 1, refused=True) is None
            assert time.monotonic() - begin_s < 0.1
        finally:
            redis.send(signal.SIGCONT)
        # a is given back although the server was away when it ended, and b whatever came of it.
        await eventually(lambda: limits.take("d", "lab", (bound,), 1, 0), what="the server is back")
        await limits.settle("d", 0, refused=True)

        async def given_back() -> bool:
            verdict = await take(limits, "e", bound)
            await limits.settle("e", 0, refused=True)
            return [one.remaining for one in verdict.left] == [2]

        await eventually(given_back)


async def test_nothing_is_sent_but_digests_and_numbers(redis: RedisServer) -> None:
    async with shared(redis) as limits:
        await limits.take("0192", "secret tenant", (Limit("key", "key_secret", requests_per_min=3),), 1, 0)
        keys = redis.ask("KEYS", "*")
        assert b"vitrine:limits:1:{" in keys
        assert b"secret" not in keys
        every = [line for line in keys.split(b"\r\n") if line.startswith(b"vitrine")]
        assert every
        # Each has an end, or an idle caller would stay for ever.
        assert all(not redis.ask("PTTL", key.decode()).startswith(b":-") for key in every)
        await limits.settle("0192", 0, refused=True)
        rest = [line for line in redis.ask("KEYS", "*").split(b"\r\n") if line.startswith(b"vitrine")]
        assert all(not redis.ask("PTTL", key.decode()).startswith(b":-") for key in rest)
