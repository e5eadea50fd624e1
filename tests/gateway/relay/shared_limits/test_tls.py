"""The shared limits in TLS, and asked by several workers of each host: exact all the same, and one sentence for what is wrong."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import prometheus_client
import pytest

from gateway.engines.endpoint import tls_context
from gateway.ledger.client.messages import Limit
from gateway.relay.shared_limits.address import RedisAddress
from gateway.relay.shared_limits.client import CONNECTIONS, SharedLimits, _reason
from tests.gateway.relay.shared_limits.test_hosts import USED, failures, hosts
from tests.support.audit import Ledger
from tests.support.certificate import certificate
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway
from tests.support.process import run
from tests.support.redis import RedisServer

BOUND = Limit("key", "key_1", requests_per_min=9)


class Pair:
    """A certificate and its key."""

    def __init__(self, folder: Path, host: str = "127.0.0.1") -> None:
        folder.mkdir()
        self.chain, self.key = certificate(folder, host)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("certificates")
    return {"ours": Pair(folder / "ours"), "theirs": Pair(folder / "theirs"), "far": Pair(folder / "far", "redis.test")}


@pytest.fixture
def redis(tmp_path: Path, pairs: dict[str, Pair]) -> Iterator[RedisServer]:
    """One that lets in only who comes with our certificate."""
    with serving(tmp_path, pairs["theirs"], clients=pairs["ours"].chain) as server:
        yield server


def serving(tmp_path: Path, pair: Pair, clients: Path | None = None) -> RedisServer:
    folder = tmp_path / "redis"
    folder.mkdir()
    return RedisServer(folder, (pair.chain, pair.key), clients)


@pytest.mark.slow("starts two gateways of two workers")
def test_two_hosts_of_two_workers_let_exactly_as_much_pass_as_the_limits_say(
    tmp_path: Path, redis: RedisServer, pairs: dict[str, Pair]
) -> None:
    settings = {
        "shared_limits_ca": str(pairs["theirs"].chain),
        "shared_limits_cert": str(pairs["ours"].chain),
        "shared_limits_key": str(pairs["ours"].key),
        "workers": "2",
        "tenant_requests_per_min": "40",
    }
    with hosts(tmp_path, redis, **settings) as both, ThreadPoolExecutor(16) as many:
        answers = list(many.map(lambda n: both[n % 2].gateway.chat(both[n % 2].key, stream=n % 3 == 0), range(64)))
        assert Counter(answer.status for answer in answers) == {200: 40, 429: 24}
        assert sum(len(host.engine.bodies) for host in both) == 40
        assert all(failures(host) == 0 for host in both)
        # Settled by whichever worker had them: all that is left is what they used.
        day = "--tokens-per-day", str(1000 * USED)
        for host in both:
            host.gateway.limit("--tenant", "lab", "--requests-per-min", "50", *day)
        answer = both[1].gateway.chat(both[1].key, max_tokens=1)
        assert answer.status == 200
        assert answer.headers["x-ratelimit-remaining-requests"] == "9"
        for host in both:
            workers = {
                record["facts"]["worker"]: record["outbound"]
                for record in host.ledger.records(kind="boot", room="gateway")
            }
            assert workers == {0: [redis.url.removesuffix("/0")], 1: [redis.url.removesuffix("/0")]}


async def said(url: str, tls: ssl.SSLContext | None, capsys: pytest.CaptureFixture[str]) -> str:
    """The reason that the log gives, before anybody has asked."""
    failed = prometheus_client.Counter("failures", "-", registry=prometheus_client.CollectorRegistry())
    capsys.readouterr()
    async with SharedLimits(RedisAddress.read(url), 5, failed, tls=tls) as limits:
        await limits._tasks[0]  # it opens the connections
        assert await limits.take("a", "lab", (BOUND,), 1, 0) is None
    out = capsys.readouterr().out
    assert out.count("do not answer") == 1
    return out


async def test_a_certificate_of_an_authority_that_is_not_ours_is_refused(
    redis: RedisServer, pairs: dict[str, Pair], capsys: pytest.CaptureFixture[str]
) -> None:
    with_ours = tls_context(None, pairs["ours"].chain, pairs["ours"].key)
    for tls in (None, tls_context(pairs["far"].chain, None, None), with_ours):
        assert "its certificate was not accepted (self-signed certificate)" in await said(redis.url, tls, capsys)


async def test_a_certificate_for_another_host_is_refused(
    tmp_path: Path, pairs: dict[str, Pair], capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path, pairs["far"]) as redis:
        out = await said(redis.url, tls_context(pairs["far"].chain, None, None), capsys)
    assert "IP address mismatch, certificate is not valid for '127.0.0.1'" in out


async def test_a_server_that_wants_ours_says_so(
    redis: RedisServer, pairs: dict[str, Pair], capsys: pytest.CaptureFixture[str]
) -> None:
    out = await said(redis.url, tls_context(pairs["theirs"].chain, None, None), capsys)
    assert "set VITRINE_SHARED_LIMITS_CERT and VITRINE_SHARED_LIMITS_KEY" in out


def test_a_reset_is_told_apart() -> None:
    """A server's alert may be lost when it closes; which of both is read is the machine's to say, so here both are made."""
    reset = ConnectionError("while reading")
    reset.__context__ = ConnectionResetError(104, "reset")
    assert "it reset the connection; if it wants a certificate of ours, set VITRINE" in _reason(reset, tls=True)
    assert _reason(reset, tls=False) == "ConnectionError"
    alert = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] certificate required")
    reset.__context__.__context__ = alert
    assert _reason(reset, tls=True).startswith("it wants a certificate of ours; set VITRINE")


async def test_who_speaks_in_clear_is_no_server_in_tls(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with FakeEngine(tmp_path, tcp=True) as server:
        out = await said(server.url.replace("http://", "rediss://"), None, capsys)
    assert "no TLS with it (" in out


async def test_nobody_waits_for_a_handshake(redis: RedisServer, pairs: dict[str, Pair]) -> None:
    tls = tls_context(pairs["theirs"].chain, pairs["ours"].chain, pairs["ours"].key)
    failed = prometheus_client.Counter("failures", "-", registry=prometheus_client.CollectorRegistry())
    async with SharedLimits(RedisAddress.read(redis.url), 5, failed, tls=tls) as limits:
        await limits._tasks[0]
        before = redis.ask("CLIENT", "LIST").count(b"name=vitrine")
        verdicts = await asyncio.gather(*(limits.take(f"e{number}", "lab", (BOUND,), 1, 0) for number in range(32)))
        assert sum(verdict is not None and verdict.over is None for verdict in verdicts) == 9
        assert before == redis.ask("CLIENT", "LIST").count(b"name=vitrine") == CONNECTIONS


def test_a_wrong_certificate_is_one_line_at_the_start_and_the_host_holds_its_own_limits(
    tmp_path: Path, redis: RedisServer, pairs: dict[str, Pair]
) -> None:
    env = {
        "VITRINE_SHARED_LIMITS_URL": redis.url,
        "VITRINE_SHARED_LIMITS_CA": str(pairs["far"].chain),
        "VITRINE_TENANT_REQUESTS_PER_MIN": "2",
    }
    with FakeEngine(tmp_path / "run"), Ledger(tmp_path), Gateway(tmp_path, **env) as gateway:
        line = gateway.process.line_with("the shared limits do not answer")
        assert "its certificate was not accepted (self-signed certificate); check VITRINE_SHARED_LIMITS_CA" in line
        key = gateway.create_key()
        assert [gateway.chat(key).status for _ in range(3)] == [200, 200, 429]
        assert gateway.process.output.count("do not answer") == 1


@pytest.mark.parametrize(
    ("url", "ca", "fault"),
    [
        ("redis://127.0.0.1:6379/0", "chain.pem", "write VITRINE_SHARED_LIMITS_URL as rediss://HOST:PORT/0"),
        ("", "chain.pem", "write VITRINE_SHARED_LIMITS_URL as rediss://HOST:PORT/0"),
        ("rediss://127.0.0.1:6379/0", "nowhere.pem", "the certificates can't be read"),
        ("rediss://127.0.0.1:6379/0", "empty.pem", "the certificates can't be read"),
    ],
)
def test_files_that_cant_be_used_are_78_and_one_sentence(
    tmp_path: Path, pairs: dict[str, Pair], url: str, ca: str, fault: str
) -> None:
    (tmp_path / "chain.pem").write_bytes(pairs["ours"].chain.read_bytes())
    (tmp_path / "empty.pem").touch()
    env = {
        "VITRINE_HOME": str(tmp_path),
        "VITRINE_SHARED_LIMITS_URL": url,
        "VITRINE_SHARED_LIMITS_CA": str(tmp_path / ca),
    }
    done = run("gateway", env=env)
    assert done.returncode == 78
    assert fault in done.stderr
    assert "VITRINE_SHARED_LIMITS_CA" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
