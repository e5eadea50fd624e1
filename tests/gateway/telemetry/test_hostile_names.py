"""Ten thousand requests that want a series of their own, over kept connections, and none gets one."""

import asyncio
import json
import random
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway, question
from tests.support.scrape import fetch, parse

REQUESTS = 10_000
CONNECTIONS = 16
PIPELINED = 8
MARK = "zq7"  # in every word that is made up


@pytest.fixture(scope="module")
def gateway(home: Path, running_engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    with Gateway(home, VITRINE_FAILED_LOGINS_PER_MIN="1000000", VITRINE_KEY_REQUESTS_PER_MIN="100000") as running:
        yield running


class Attacker:
    """Makes requests up. ``key`` is a good one, for what must get past the door to do harm."""

    METHODS = (
        "GET",
        "POST",
        "PUT",
        "DELETE",
        "PATCH",
        "OPTIONS",
        "HEAD",
        "PROPFIND",
        "MKCOL",
        "REPORT",
        "LINK",
        "PURGE",
    )
    PATHS = (
        "/v1/chat/completions",
        "/v1/models/{}",
        "/{}",
        "/v1/{}",
        "/static/{}",
        "/swagger/{}",
        "/metrics/engines/{}",
        "/v1/audit/receipts/{}",
        "/healthz?{}",
        "/%2e%2e/{}",
        "/metrics",
        "/readyz/{}",
    )

    def __init__(self, seed: int, key: str) -> None:
        self._random, self._key = random.Random(seed), key

    def word(self) -> str:
        return MARK + "".join(self._random.choices(string.ascii_letters + string.digits + "-_.", k=12))

    def request(self) -> bytes:
        if self._random.random() < 0.3:
            return self._question()
        method = self._random.choice(self.METHODS)
        path = self._random.choice(self.PATHS).format(self.word())
        return self._written(method, path, b"", self._random.choice([None, "vt_" + self.word(), self._key]))

    def _question(self) -> bytes:
        """Refused in the door or for its model, whoever asks: a made-up name at every place that takes one."""
        words = {
            "model": self.word(),
            "user": self.word(),
            self.word(): 1,
            "tool_choice": self.word(),
            "response_format": {"type": self.word()},
            "reasoning_effort": self.word(),
        }
        name = self._random.choice(list(words))
        body = json.dumps(question(**{name: words[name]}) if name != "user" else {"model": self.word()}).encode()
        key = self._random.choice([self._key, self._key, "vt_" + self.word()])
        return self._written("POST", "/v1/chat/completions", body, key)

    def _written(self, method: str, path: str, body: bytes, key: str | None) -> bytes:
        head = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self.word()}",
            f"X-Request-Id: {self.word()}",
            f"X-Tenant: {self.word()}",
            f"X-Forwarded-For: {self.word()}",
            f"{self.word()}: {self.word()}",
            f"traceparent: {self.word()}",
            f"Content-Length: {len(body)}",
        ]
        if key is not None:
            head.append(f"Authorization: Bearer {key}")
        return "\r\n".join([*head, "", ""]).encode() + body


async def attack(port: int, attacker: Attacker, count: int) -> dict[int, int]:
    """Send so many, some at once on each connection; how often each status came."""
    statuses: dict[int, int] = {}

    async def one(requests: int) -> None:
        left = requests
        while left:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while left:
                    batch = [attacker.request() for _ in range(min(PIPELINED, left))]
                    writer.write(b"".join(batch))
                    for request in batch:
                        status = await _answer(reader, is_head=request.startswith(b"HEAD "))
                        statuses[status] = statuses.get(status, 0) + 1
                        left -= 1
            except (asyncio.IncompleteReadError, ConnectionError):
                pass  # it closed: what it did not answer is sent anew
            finally:
                writer.close()

    async with asyncio.timeout(100):
        await asyncio.gather(*(one(count // CONNECTIONS) for _ in range(CONNECTIONS)))
    return statuses


async def _answer(reader: asyncio.StreamReader, *, is_head: bool) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    if length and not is_head:
        await reader.readexactly(int(length[1]))
    return int(head.split()[1])


async def test_ten_thousand_hostile_requests_add_no_series(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    # The first of a kind of answer may be new: a status and a route that nobody had asked for. A name of the caller's never.
    await attack(gateway.port, Attacker(1, key), 1600)
    before = parse(fetch(gateway.metrics_port))
    statuses = await attack(gateway.port, Attacker(2, key), REQUESTS)
    text = fetch(gateway.metrics_port)
    after = parse(text)
    assert sum(statuses.values()) == REQUESTS
    assert {400, 401, 403, 404, 405} <= statuses.keys()
    assert 500 not in statuses
    assert after.keys() - before.keys() == set()
    assert MARK not in text
    assert set(re.findall('method="([^"]*)"', text)) == {*Attacker.METHODS[:7], "other"}
    assert len(after) < 1000
    counted = sum(after[name] - before[name] for name in after if name.startswith("vitrine_requests_total"))
    assert counted == REQUESTS
