"""Two hosts, each with a gateway, a ledger and an engine of its own, and one Redis between them."""

import contextlib
import http.client
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import WORDS, Behaviour, FakeEngine
from tests.support.gateway import Gateway
from tests.support.process import run
from tests.support.redis import RedisServer

USED = 7 + len(WORDS)  # tokens that the fake engine counts for an exchange


@dataclass(frozen=True)
class Host:
    gateway: Gateway
    engine: FakeEngine
    ledger: Ledger
    key: str


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(folder) as server:
        yield server


@contextmanager
def hosts(tmp_path: Path, redis: RedisServer, **settings: str) -> Iterator[list[Host]]:
    """Two hosts whose keys are of one tenant. A busy test machine must not make an outage: the deadline is long."""
    given = {
        "VITRINE_SHARED_LIMITS_URL": redis.url,
        "VITRINE_SHARED_LIMITS_TIMEOUT_S": "5",
        **{f"VITRINE_{name.upper()}": value for name, value in settings.items()},
    }
    with ExitStack() as stack:
        found = []
        for name in ("a", "b"):
            home = tmp_path / name
            home.mkdir()
            engine = stack.enter_context(FakeEngine(home / "run"))
            ledger = stack.enter_context(Ledger(home))
            gateway = stack.enter_context(Gateway(home, **given))
            found.append(Host(gateway, engine, ledger, gateway.create_key("--tenant", "lab")))
        yield found


def failures(host: Host) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{host.gateway.metrics_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    line = next(line for line in text.splitlines() if line.startswith("vitrine_shared_limits_failures_total "))
    return float(line.split()[1])


def test_two_hosts_let_exactly_as_many_requests_pass_as_the_limit_says(tmp_path: Path, redis: RedisServer) -> None:
    with hosts(tmp_path, redis, tenant_requests_per_min="9") as both:
        with ThreadPoolExecutor(24) as many:
            answers = list(many.map(lambda n: both[n % 2].gateway.chat(both[n % 2].key, stream=n % 3 == 0), range(24)))
        assert Counter(answer.status for answer in answers) == {200: 9, 429: 15}
        assert sum(len(host.engine.bodies) for host in both) == 9
        for answer in answers:
            headers = answer.headers
            assert headers["x-ratelimit-limit-requests"] == "9"
            if answer.status == 429:
                assert answer.error["code"] == "rate_limit_exceeded"
                assert answer.error["type"] == "requests"
                assert 1 <= int(headers["retry-after"]) <= 60
                assert headers["x-ratelimit-remaining-requests"] == "0"
        # Recorded as what they were: refused after they had been admitted, or by the host itself.
        ends = [record for host in both for record in host.ledger.records(kind="complete")]
        assert Counter(record["outcome"] for record in ends)["completed"] == 9
        assert all(record["status"] == 429 for record in ends if record["outcome"] == "refused")
        assert all(failures(host) == 0 for host in both)


def test_what_is_left_is_the_smaller_of_the_hosts_and_the_shared(tmp_path: Path, redis: RedisServer) -> None:
    with hosts(tmp_path, redis, tenant_tokens_per_min="5000", tenant_requests_per_min="50") as (one, other):
        for _ in range(3):
            assert one.gateway.chat(one.key, max_tokens=100).status == 200
        answer = other.gateway.chat(other.key, max_tokens=100)
        assert answer.headers["x-ratelimit-remaining-requests"] == "46"  # of this host alone it would be 49
        reserved = 5000 - 3 * USED - int(answer.headers["x-ratelimit-remaining-tokens"])
        assert 100 < reserved < 300  # what the three really used, and this one's reservation


def test_a_refusal_gives_the_hosts_own_reservation_back(tmp_path: Path, redis: RedisServer) -> None:
    with hosts(tmp_path, redis, tenant_concurrent="1", tenant_requests_per_min="9") as (one, other):
        one.engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS
        with ThreadPoolExecutor(1) as beside:
            running = beside.submit(one.gateway.chat, one.key, stream=True)
            until(lambda: one.engine.bodies, what="the first is at work")
            for _ in range(3):
                refused = other.gateway.chat(other.key)
                assert refused.status == 429
                assert "requests at once" in refused.error["message"]
                assert refused.headers["x-audit-id"]
            one.engine.go_on.set()
            assert running.result(30).status == 200
        answer = other.gateway.chat(other.key)
        assert answer.status == 200
        assert answer.headers["x-ratelimit-remaining-requests"] == "7"
        assert len(other.engine.bodies) == 1


def test_who_asks_one_after_the_other_is_never_one_too_many(tmp_path: Path, redis: RedisServer) -> None:
    with hosts(tmp_path, redis, tenant_concurrent="1") as both:
        statuses = [both[n % 2].gateway.chat(both[n % 2].key, stream=n % 4 < 2).status for n in range(20)]
        assert statuses == [200] * 20


def test_an_answers_last_byte_waits_until_its_place_is_free(tmp_path: Path, redis: RedisServer) -> None:
    with hosts(tmp_path, redis, tenant_concurrent="1") as (one, other), ThreadPoolExecutor(1) as beside:
        one.engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS
        running = beside.submit(one.gateway.chat, one.key, stream=True)
        until(lambda: one.engine.bodies, what="it is at work")
        redis.send(signal.SIGSTOP)
        try:
            one.engine.go_on.set()
            with pytest.raises(TimeoutError):
                running.result(1)
        finally:
            redis.send(signal.SIGCONT)
        assert running.result(30).body.endswith(b"data: [DONE]\n\n")
        assert other.gateway.chat(other.key).status == 200


@pytest.mark.slow("waits until a lease ends: 30 s")
@pytest.mark.timeout(180)
def test_the_places_of_a_gateway_that_was_killed_become_free(tmp_path: Path, redis: RedisServer) -> None:
    with hosts(tmp_path, redis, tenant_concurrent="1") as (one, other):
        doomed = Gateway(
            one.gateway.home,
            VITRINE_SHARED_LIMITS_URL=redis.url,
            VITRINE_SHARED_LIMITS_TIMEOUT_S="5",
            VITRINE_TENANT_CONCURRENT="1",
        )
        one.engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS

        def ask() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):  # cut in the middle
                doomed.chat(one.key, stream=True)

        asking = threading.Thread(target=ask)
        asking.start()
        until(lambda: one.engine.bodies, what="it is at work")
        assert other.gateway.chat(other.key).status == 429
        doomed.process.end(signal.SIGKILL)
        asking.join(30)
        until(lambda: other.gateway.chat(other.key).status == 200, within_s=60, what="the lease ends")
        one.engine.go_on.set()


@pytest.mark.slow("two hosts, and a Redis that goes and comes back")
def test_without_the_server_each_host_holds_its_own_limits_until_it_is_back(tmp_path: Path, redis: RedisServer) -> None:
    with hosts(tmp_path, redis, tenant_requests_per_min="4", shared_limits_timeout_s="0.5") as (one, other):
        assert one.gateway.chat(one.key).status == 200
        redis.stop()
        assert [one.gateway.chat(one.key).status for _ in range(4)] == [200, 200, 200, 429]
        assert [other.gateway.chat(other.key).status for _ in range(5)] == [200, 200, 200, 200, 429]
        assert failures(one) >= 1
        for host in (one, other):
            lines = [line for line in host.gateway.process.lines if "shared limits do not answer" in line]
            assert len(lines) == 1, host.gateway.process.output
            assert "unix:///" in lines[0]
        redis.start()
        one.gateway.process.line_with("the shared limits answer again")
        other.gateway.process.line_with("the shared limits answer again")
        assert redis.ask("KEYS", "vitrine:*") == b"*0\r\n"
        other.gateway.limit("--tenant", "lab", "--requests-per-min", "6")
        assert other.gateway.chat(other.key).status == 200
        assert redis.ask("KEYS", "vitrine:*") != b"*0\r\n"  # asked again


def test_a_server_that_says_nothing_delays_an_answer_by_the_deadline_and_once(
    tmp_path: Path, redis: RedisServer
) -> None:
    with hosts(tmp_path, redis, tenant_requests_per_min="100", shared_limits_timeout_s="0.4") as (one, _):
        assert one.gateway.chat(one.key).status == 200
        redis.send(signal.SIGSTOP)
        try:
            took_s = []
            for _ in range(6):
                begin_s = time.monotonic()
                assert one.gateway.chat(one.key).status == 200
                took_s.append(time.monotonic() - begin_s)
        finally:
            redis.send(signal.SIGCONT)
        assert took_s[0] >= 0.4
        assert sorted(took_s)[2] < 0.4  # the others did not wait for it, or but for a look by chance
        one.gateway.process.line_with("the shared limits answer again")


def test_who_has_no_limits_is_nobody_the_server_hears_of(tmp_path: Path, redis: RedisServer) -> None:
    with hosts(tmp_path, redis) as (one, _):
        assert one.gateway.chat(one.key).status == 200
        assert redis.ask("DBSIZE") == b":0\r\n"
        started = one.ledger.records(kind="boot", room="gateway")
        assert [record["outbound"] for record in started] == [[redis.url]]


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://user:hunter2@127.0.0.1:6379", "the address must be redis://HOST:PORT/0"),
        ("redis://:hunter2@127.0.0.1:port/0", "the address can't be read"),
        ("redis://:hunter2@/0", "the address names no host"),
        ("unix://hunter2/run/redis.sock", "a Unix socket is written unix:///PATH"),
        ("rediss://:hunter2@127.0.0.1:6379/0?ssl_cert_reqs=none", "the address may have no option but ?db="),
        ("redis://:hunter2@127.0.0.1:6379/0?colour=", "the address may have no option but ?db="),
        ("hunter2", "the address must be redis://HOST:PORT/0"),
    ],
)
def test_an_address_that_cant_be_used_is_78_and_one_sentence_without_it(tmp_path: Path, url: str, fault: str) -> None:
    done = run("gateway", env={"VITRINE_HOME": str(tmp_path), "VITRINE_SHARED_LIMITS_URL": url})
    assert done.returncode == 78
    assert "VITRINE_SHARED_LIMITS_URL = ..." in done.stderr
    assert fault in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "hunter2" not in done.stdout + done.stderr
