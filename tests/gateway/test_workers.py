"""Several workers behind one port, as real processes: nothing of theirs is seen from outside, whichever dies."""

import http.client
import os
import signal
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil
import pytest

from gateway.workers import HANG_S
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import PATIENT, Gateway
from tests.support.process import Process

WORKERS = 3


@pytest.fixture(scope="module")
def gateway(home: Path, running_engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    with Gateway(home, VITRINE_WORKERS=str(WORKERS), VITRINE_BUSY_EXCHANGES="40") as running:
        yield running


@pytest.fixture
def workers(gateway: Gateway) -> list[psutil.Process]:
    """The worker processes, all of them serving."""
    return until(lambda: serving(gateway), within_s=30, what="all workers")


def serving(gateway: Gateway) -> list[psutil.Process]:
    found = [one for one in psutil.Process(gateway.process.pid).children() if lives(one)]
    ready = metric(gateway, "vitrine_build_info") == 1 and len(found) == WORKERS
    return found if ready and all(has_files(gateway, one.pid) for one in found) else []


def lives(process: psutil.Process) -> bool:
    try:
        return "gateway.worker" in process.cmdline()
    except psutil.Error:  # gone, or dead and not yet waited for
        return False


def has_files(gateway: Gateway, pid: int) -> bool:
    """Whether a worker has begun to count: its files are the last thing that it opens before it serves."""
    return any(gateway.home.glob(f"run/gateway-*/metrics/gauge_livesum_{pid}.db"))


def metric(gateway: Gateway, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.partition("{")[0].partition(" ")[0] == name)


def test_what_the_workers_count_adds_up(gateway: Gateway, engine: FakeEngine, workers: list[psutil.Process]) -> None:
    key = gateway.create_key()
    before = metric(gateway, "vitrine_exchanges_total")
    with ThreadPoolExecutor(16) as many:
        answers = list(many.map(lambda _: gateway.chat(key).status, range(120)))
    assert answers == [200] * 120
    assert len(engine.bodies) == 120
    # An exchange is counted just after its client has read it all.
    until(lambda: metric(gateway, "vitrine_exchanges_total") - before >= 120, what="all counted")
    assert metric(gateway, "vitrine_exchanges_total") - before == 120
    assert sum(one.cpu_times().user > 0 for one in workers) == WORKERS
    scraped = gateway.request("GET", "/metrics", key=gateway.create_key("--scope", "metrics"))
    assert scraped.status == 200
    assert b"vitrine_exchanges_total" in scraped.body


def test_a_limit_is_exact_whoever_answers(gateway: Gateway, engine: FakeEngine) -> None:
    key, _ = gateway.limited_key("--requests-per-min", "20")
    with ThreadPoolExecutor(24) as many:
        answers = [answer.status for answer in many.map(lambda _: gateway.chat(key), range(72))]
    assert (answers.count(200), answers.count(429)) == (20, 52)
    assert len(engine.bodies) == 20


def _at_work(engine: FakeEngine, count: int) -> bool:
    return len(engine.bodies) == count


def test_the_engines_bound_holds_for_all_workers_together_and_all_who_wait_are_served(
    gateway: Gateway, engine: FakeEngine
) -> None:
    engine.behaviour = Behaviour.WAITS_FOR_LEAVE
    key = gateway.create_key()
    with ThreadPoolExecutor(70) as many:
        asked = []
        for count in range(1, 41):
            asked.append(many.submit(gateway.chat, key))
            until(partial(_at_work, engine, count), what=f"{count} at work")
        asked += [many.submit(gateway.chat, key) for _ in range(30)]
        until(lambda: metric(gateway, "vitrine_queue_waiting") == 30, what="thirty waiting")
        assert len(engine.bodies) == 40
        engine.go_on.set()
        assert {one.result(30).status for one in asked} == {200}


class Load:
    """Threads that ask on connections of their own, and note which were cut."""

    def __init__(self, gateway: Gateway, key: str) -> None:
        self._gateway, self._key = gateway, key
        self._end = threading.Event()
        self.answered: list[int] = []
        self.cut = 0
        self._threads = [threading.Thread(target=self._ask) for _ in range(8)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(40)

    def _ask(self) -> None:
        while not self._end.is_set():
            try:
                self.answered.append(self._gateway.chat(self._key).status)
            except (ConnectionError, http.client.HTTPException):
                self.cut += 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_dies_under_load_is_replaced_and_others_notice_nothing(
    gateway: Gateway, engine: FakeEngine, workers: list[psutil.Process], number: signal.Signals
) -> None:
    key = gateway.create_key()
    before, sent = metric(gateway, "vitrine_exchanges_total"), len(engine.bodies)
    with Load(gateway, key) as load:
        until(lambda: len(load.answered) > 40, within_s=30)
        workers[0].send_signal(number)
        until(lambda: workers[0].pid not in {one.pid for one in serving(gateway)}, within_s=30)
        until(lambda: serving(gateway), within_s=30, what="its successor")
        seen = len(load.answered)
        until(lambda: len(load.answered) > seen + 40, within_s=30)
    cut_at_most = 0 if number is signal.SIGTERM else 8  # what each of the eight was asking at that moment
    assert load.cut <= cut_at_most
    # One that was told to end says so to who comes in its last moment, and a client asks again.
    assert set(load.answered) <= ({200, 503} if number is signal.SIGTERM else {200})
    counted = metric(gateway, "vitrine_exchanges_total") - before
    assert load.answered.count(200) <= counted <= len(engine.bodies) - sent
    assert metric(gateway, "vitrine_exchanges_in_flight") == 0


@pytest.mark.slow("waits until the supervisor takes a silent worker for hung: 15 s")
def test_a_worker_that_hangs_is_killed_and_replaced(gateway: Gateway, workers: list[psutil.Process]) -> None:
    workers[1].suspend()
    gateway.process.line_with("does nothing any more", within_s=HANG_S + 10)
    until(lambda: workers[1].pid not in {one.pid for one in serving(gateway)}, within_s=30)
    assert len(until(lambda: serving(gateway), within_s=30)) == WORKERS


def test_sigterm_lets_streams_end_and_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    with ExitStack() as stack:
        engine = stack.enter_context(FakeEngine(tmp_path / "run"))
        stack.enter_context(Ledger(tmp_path))
        gateway = Gateway(tmp_path, VITRINE_WORKERS="2")
        key = gateway.create_key()
        children = psutil.Process(gateway.process.pid).children(recursive=True)
        engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS
        with ThreadPoolExecutor(4) as many:
            streams = [many.submit(gateway.chat, key, stream=True) for _ in range(4)]
            until(lambda: len(engine.bodies) == 4)
            gateway.process.send(signal.SIGTERM)
            until(lambda: gateway.request("GET", "/readyz").status == 503)
            engine.go_on.set()
            assert all(one.result(20).body.endswith(b"data: [DONE]\n\n") for one in streams)
        assert gateway.process.wait() == 0
        assert [one for one in children if one.is_running()] == []
        assert list((tmp_path / "run").glob("gateway-*")) == []


@pytest.mark.slow("a gateway of several workers, which is killed")
def test_workers_whose_supervisor_is_killed_end_by_themselves(tmp_path: Path) -> None:
    with Ledger(tmp_path):
        gateway = Gateway(tmp_path, VITRINE_WORKERS="2")
        children = psutil.Process(gateway.process.pid).children(recursive=True)
        gateway.process.end(signal.SIGKILL)
        until(lambda: not any(one.is_running() for one in children), within_s=20, what="all workers gone")
        left = list((tmp_path / "run").glob("gateway-*"))
        assert len(left) == 1
        with Gateway(tmp_path, VITRINE_WORKERS="2"):
            assert left[0] not in list((tmp_path / "run").glob("gateway-*"))  # its successor tidied up


def test_a_worker_that_never_served_ends_the_start_with_3(tmp_path: Path) -> None:
    env = {
        "VITRINE_HOME": str(tmp_path),
        "VITRINE_PORT": "0",
        "VITRINE_METRICS_PORT": "0",
        "VITRINE_WORKERS": "2",
        **PATIENT,
    }
    process = Process("gateway", env=env)
    children = until(lambda: psutil.Process(process.pid).children(), within_s=20)
    os.kill(children[0].pid, signal.SIGKILL)
    assert process.wait() == 3
    assert "ended before it served" in process.output
    assert [one for one in children if one.is_running()] == []
