"""Slow, hostile and very many clients over real sockets: each is answered or cut in time, and the next good request is answered."""

import contextlib
import json
import resource
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.front.sign_in_limiter import MOST_NAMES, SignInLimiter
from tests.attack.wire import CASES, HEALTH, Raw, exchange, post, statuses
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import WORDS, Behaviour, FakeEngine
from tests.support.gateway import Gateway, question

HEAD_S, IDLE_S, STALL_S = 1.0, 0.4, 1.0


@pytest.fixture(scope="module")
def hurried(home: Path, running_engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    """A gateway with little patience."""
    with Gateway(
        home,
        VITRINE_HEAD_TIMEOUT_S=str(HEAD_S),
        VITRINE_IDLE_TIMEOUT_S=str(IDLE_S),
        VITRINE_STALL_TIMEOUT_S=str(STALL_S),
        VITRINE_BODY_TIMEOUT_S="2",
        VITRINE_MAX_CONNECTIONS_PER_ADDRESS="200",
        VITRINE_FAILED_LOGINS_PER_MIN="1000",
    ) as running:
        yield running


@pytest.fixture(scope="module")
def good(hurried: Gateway) -> str:
    return hurried.create_key()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_raw_bytes_get_the_answer_they_deserve(hurried: Gateway, engine: FakeEngine, good: str, case: Raw) -> None:
    received = exchange(hurried.port, case.sent.replace(b"{key}", good.encode()))
    assert statuses(received) == case.statuses, received[:400]
    assert len(engine.bodies) == (1 if case.reaches else 0)
    assert hurried.chat(good).status == 200


@pytest.mark.parametrize("sent", [b"", b"\r\n\r\n", b"GET /heal", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_head_that_does_not_come_is_not_waited_for(hurried: Gateway, sent: bytes) -> None:
    """Slowloris: a byte now and then does not buy more time."""
    started_s = time.monotonic()
    with socket.create_connection(("127.0.0.1", hurried.port), timeout=10) as connection:
        connection.sendall(sent)
        connection.settimeout(0.2)
        received = None
        while received is None:
            assert time.monotonic() - started_s < 10
            with contextlib.suppress(TimeoutError):
                received = connection.recv(4096)
            if received is None:
                with contextlib.suppress(OSError):
                    connection.sendall(b"\r\n" if not sent.strip() else b"a")
    assert not received or statuses(received) == (408,)
    assert bool(received) == bool(sent.strip())


def test_a_connection_between_requests_is_kept_and_then_closed(hurried: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", hurried.port), timeout=10) as connection:
        for _ in range(3):
            connection.sendall(HEALTH)
            received = b""
            while not received.endswith(b"}"):
                received += connection.recv(4096)
            assert statuses(received) == (200,)
        assert connection.recv(4096) == b""


def test_a_slow_body_is_given_up(hurried: Gateway, engine: FakeEngine, good: str) -> None:
    received = exchange(hurried.port, post(b"Content-Length: 900", body=b"{").replace(b"{key}", good.encode()))
    assert statuses(received) == (408,)


def test_a_client_that_does_not_read_its_answer_is_cut_and_memory_is_bounded(
    hurried: Gateway, engine: FakeEngine, ledger: Ledger
) -> None:
    key, key_id = hurried.limited_key()
    engine.behaviour = Behaviour.FLOODS
    process = psutil.Process(hurried.process.pid)
    before = process.memory_info().rss
    for _ in range(3):
        ended = _stall(hurried, ledger, key, key_id)
        if ended["status"] != 503:  # the disk was too busy for the admit record in time: it never began
            break
    assert (ended["outcome"], ended["status"]) == ("client_left", 499)
    assert ended["answer"]["chars"] < 20_000 * len("".join(WORDS))  # the engine was stopped, not drained
    assert process.memory_info().rss - before < 32 << 20
    engine.wait_until_left(1)


def _stall(gateway: Gateway, ledger: Ledger, key: str, key_id: str) -> dict[str, Any]:
    """Ask for a flood, read none of it, and return the record of the end."""
    seen = len(ledger.records(kind="admit", key=key_id))
    body = json.dumps(question(stream=True)).encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", gateway.port))
        connection.sendall(post(b"Content-Length: %d" % len(body), body=body).replace(b"{key}", key.encode()))
        admitted = until(lambda: ledger.records(kind="admit", key=key_id)[seen:])[0]
        return until(lambda: ledger.records(kind="complete", id=admitted["id"]), within_s=10, what="the end")[0]


def test_a_closed_answer_that_nobody_reads_does_not_stay(hurried: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", hurried.port), timeout=10) as connection:
        connection.sendall(HEALTH[:-2] + b"Connection: close\r\n\r\n")
        until(lambda: _open_connections(hurried) <= 1, what="only the scraper's connection")


def _open_connections(gateway: Gateway) -> int:
    found = psutil.Process(gateway.process.pid).net_connections("tcp")
    return sum(1 for one in found if one.laddr.port == gateway.port and one.status == "ESTABLISHED")


@pytest.mark.long("opens 10,000 connections")
def test_ten_thousand_idle_connections_leave_room_for_a_good_request(
    home: Path, engine: FakeEngine, ledger: Ledger
) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most < 12_000:
        pytest.skip(f"this system lets a process open {most} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with Gateway(home) as calm, contextlib.ExitStack() as idle:
        key = calm.create_key()
        process = psutil.Process(calm.process.pid)
        before = process.memory_info().rss
        for number in range(10_000):
            connection = idle.enter_context(socket.socket())
            connection.setblocking(False)
            # Twenty addresses, so that the bound for all is met as well as the bound for one.
            connection.bind((f"127.0.1.{number % 20}", 0))
            connection.connect_ex(("127.0.0.1", calm.port))
            if number % 500 == 0:
                assert calm.chat(key).status == 200
        assert calm.chat(key).status == 200
        assert calm.chat(key, stream=True).status == 200
        assert _open_connections(calm) <= 8192
        assert process.memory_info().rss - before < 256 << 20


def test_one_address_cannot_take_all_connections(hurried: Gateway, engine: FakeEngine, good: str) -> None:
    body = json.dumps(question()).encode()
    head = post(b"Content-Length: %d" % len(body), body=body[:1]).replace(b"{key}", good.encode())
    with contextlib.ExitStack() as held:
        for _ in range(200):  # all of them with a request that is being read, so that none can be sent away
            connection = held.enter_context(socket.create_connection(("127.0.0.1", hurried.port), timeout=10))
            connection.sendall(head)
        until(lambda: _open_connections(hurried) >= 200)
        refused = exchange(hurried.port, HEALTH)
        assert statuses(refused) == (503,)
        assert b"retry-after: 1" in refused
        assert json.loads(refused.partition(b"\r\n\r\n")[2])["error"]["code"] == "unavailable"
        with socket.create_connection(("127.0.0.1", hurried.port), 10, source_address=("127.0.0.9", 0)) as other:
            other.sendall(HEALTH)
            assert statuses(other.recv(4096)) == (200,)
    until(lambda: hurried.chat(good).status == 200)


def test_bodies_in_memory_are_bounded_for_all_together(home: Path, engine: FakeEngine, ledger: Ledger) -> None:
    with Gateway(home, VITRINE_MAX_BODIES_BYTES="100000") as tight:
        key = tight.create_key()
        engine.behaviour = Behaviour.WAITS_FOR_LEAVE
        large = question(messages=[{"role": "user", "content": "x" * 60_000}])
        with ThreadPoolExecutor(1) as one:
            first = one.submit(tight.request, "POST", "/v1/chat/completions", key=key, body=large)
            until(lambda: engine.bodies)
            second = tight.request("POST", "/v1/chat/completions", key=key, body=large)
            assert (second.status, second.error["code"], second.headers["retry-after"]) == (503, "memory_full", "2")
            engine.go_on.set()
            assert first.result(30).status == 200
        assert tight.request("POST", "/v1/chat/completions", key=key, body=large).status == 200


def test_bad_keys_are_braked_by_address_and_good_ones_are_not(home: Path, engine: FakeEngine, ledger: Ledger) -> None:
    seen = len(ledger.records(kind="deny"))
    with Gateway(home, VITRINE_FAILED_LOGINS_PER_MIN="5") as braked:
        key = braked.create_key()
        answers = [braked.request("GET", "/v1/models", key=f"vt_{number}") for number in range(30)]
        assert [answer.status for answer in answers] == [401] * 5 + [429] * 25
        assert answers[-1].error["code"] == "too_many_failed_logins"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert answers[-1].headers["connection"] == "close"
        assert braked.chat("vt_other").status == 429
        assert braked.chat(key).status == 200
    # The ledger keeps ten a minute and address one by one, and the rest in one record.
    assert len(ledger.records(kind="deny")) - seen <= 11


def test_the_sign_in_limiter_forgets_after_a_minute_and_keeps_few_addresses() -> None:
    now_s = [0.0]
    limiter = SignInLimiter(2, lambda: now_s[0])
    assert [limiter.count("10.0.0.1") for _ in range(3)] == [0, 0, 60]
    assert limiter.count("10.0.0.2") == 0
    assert [limiter.count(f"2001:db8::{number}") for number in range(3)] == [0, 0, 60]
    now_s[0] = 61
    assert limiter.count("10.0.0.1") == 0
    for number in range(MOST_NAMES + 10):
        limiter.count(f"h{number}")
    assert limiter.count("10.0.0.1") == 0


@pytest.mark.parametrize("stream", [True, False])
def test_sigterm_says_503_to_new_work_and_lets_running_answers_end(tmp_path: Path, stream: bool) -> None:
    with FakeEngine(tmp_path / "run") as engine, Ledger(tmp_path) as ledger:
        gateway = Gateway(tmp_path, VITRINE_BUSY_EXCHANGES="1")
        key = gateway.create_key()
        waiter = gateway.create_key()
        engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS if stream else Behaviour.WAITS_FOR_LEAVE
        with ThreadPoolExecutor(2) as many:
            running = many.submit(gateway.chat, key, stream=stream)
            until(lambda: engine.bodies)
            queued = many.submit(gateway.chat, waiter)
            until(lambda: len(ledger.records(kind="admit")) == 2)
            gateway.process.send(signal.SIGTERM)
            until(lambda: gateway.request("GET", "/readyz").status == 503, within_s=2)
            assert queued.result(10).error["code"] == "shutting_down"
            late = gateway.chat(key)
            assert (late.status, late.error["code"], late.headers["retry-after"]) == (503, "shutting_down", "1")
            assert late.headers["connection"] == "close"
            assert gateway.request("GET", "/healthz").status == 200
            engine.go_on.set()
            answer = running.result(30)
        assert (answer.status, b"[DONE]" in answer.body) == (200, stream)
        assert gateway.process.wait() == 0
        assert len(engine.bodies) == 1
        outcomes = sorted(record["outcome"] for record in ledger.records(kind="complete"))
        assert outcomes == ["completed", "refused"]


def test_behind_a_proxy_the_end_waits_until_the_proxy_has_heard_of_it(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "run"), Ledger(tmp_path):
        gateway = Gateway(tmp_path, VITRINE_TRUSTED_PROXIES="127.0.0.1")
        key = gateway.create_key()
        gateway.process.send(signal.SIGTERM)
        told = time.monotonic()
        until(lambda: gateway.request("GET", "/readyz").status == 503, within_s=2)
        while time.monotonic() - told < 2:  # a proxy that asks every second
            late = gateway.chat(key)
            assert (late.status, late.error["code"], late.headers["connection"]) == (503, "shutting_down", "close")
        assert gateway.process.wait(within_s=10) == 0


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_outlasts_the_end_is_told_so_and_recorded(tmp_path: Path, stream: bool) -> None:
    with FakeEngine(tmp_path / "run") as engine, Ledger(tmp_path) as ledger:
        gateway = Gateway(tmp_path, VITRINE_DRAIN_TIMEOUT_S="1")
        key = gateway.create_key()
        engine.behaviour = Behaviour.STALLS_AFTER_TWO_EVENTS if stream else Behaviour.STALLS_BEFORE_THE_FIRST_BYTE
        with ThreadPoolExecutor(1) as one:
            running = one.submit(gateway.chat, key, stream=stream)
            until(lambda: engine.bodies)
            assert gateway.process.end(signal.SIGTERM) == 0
            answer = running.result(10)
        assert b"shutting down" in answer.body
        assert b"[DONE]" not in answer.body
        assert [record["outcome"] for record in ledger.records(kind="complete")] == ["timed_out"]
        engine.wait_until_left(1)


def test_a_restart_of_one_of_two_gateways_under_load_loses_nothing_that_the_other_could_take(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "run"), Ledger(tmp_path) as ledger, Gateway(tmp_path) as stays:
        leaves = Gateway(tmp_path)
        key = stays.create_key()
        stop, lost, answered = threading.Event(), list[str](), list[int]()

        def ask(number: int) -> None:
            while not stop.is_set():
                for gateway in (leaves, stays) if number % 2 else (stays, leaves):
                    try:
                        status = gateway.chat(key, stream=bool(number % 3)).status
                    except ConnectionRefusedError:
                        continue  # nobody listens there: a balancer takes the other
                    except OSError as error:
                        lost.append(repr(error))
                        break
                    if status == 503:
                        continue  # asked to go to another
                    answered.append(status)
                    break
                else:
                    lost.append("nobody took it")

        with ThreadPoolExecutor(6) as many:
            asking = [many.submit(ask, number) for number in range(6)]
            until(lambda: len(answered) > 30)
            assert leaves.process.end(signal.SIGTERM) == 0
            seen = len(answered)
            until(lambda: len(answered) > seen + 30)
            stop.set()
            for one in asking:
                one.result(30)
        assert lost == []
        assert set(answered) == {200}
        assert {record["outcome"] for record in ledger.records(kind="complete")} == {"completed"}


def test_refusals_at_the_doorway_are_counted(hurried: Gateway) -> None:
    exchange(hurried.port, b"no http at all\r\n\r\n")
    with urllib.request.urlopen(f"http://127.0.0.1:{hurried.metrics_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert 'vitrine_refused_total{code="invalid_http"}' in text
