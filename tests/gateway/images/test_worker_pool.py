"""What breaks, hangs or kills a decoder costs one answer, and no process outlives its gateway."""

import json
import os
import signal
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from gateway.images.reencoding import LOW_PIXELS
from gateway.images.worker_pool import Undecodable, WorkerPool
from tests.attack.wire import post
from tests.gateway.door.bodies import body, image_part, picture, user
from tests.gateway.images.asking import ask, processes, working
from tests.gateway.images.files import png, rows, slow
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Answer, Gateway


@pytest.mark.process
async def test_a_bomb_of_pixels_is_refused_by_the_process_too() -> None:
    workshop = WorkerPool(1, most_pixels=1_000_000, timeout_s=30)
    try:
        fits, bomb = png(rows(1000, 1000), width=1000, height=1000), png(rows(1000, 1001), width=1000, height=1001)
        assert await workshop.remake(fits, "image/png", LOW_PIXELS, key="a", decoding=1)
        with pytest.raises(Undecodable):
            await workshop.remake(bomb, "image/png", LOW_PIXELS, key="a", decoding=1)
        with pytest.raises(Undecodable):  # Pillow knows it, but it was declared as another one
            await workshop.remake(fits, "image/gif", LOW_PIXELS, key="a", decoding=1)
        assert await workshop.remake(fits, "image/png", LOW_PIXELS, key="a", decoding=1)
    finally:
        await workshop.close()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, 503), (signal.SIGSEGV, 400)])
def test_a_process_that_dies_at_work_costs_one_answer(
    sanitizing: Gateway, engine: FakeEngine, key: str, number: signal.Signals, status: int
) -> None:
    data = slow()
    with ThreadPoolExecutor(1) as other:
        asked: Future[Answer] = other.submit(ask, sanitizing, key, data)
        victim = working(sanitizing)
        victim.send_signal(number)
        answer = asked.result(30)
    assert answer.status == status
    assert answer.headers.get("retry-after") == ("2" if status == 503 else None)
    assert engine.bodies == []
    assert ask(sanitizing, key, picture()).status == 200
    assert victim.pid not in [process.pid for process in processes(sanitizing)]


def test_a_process_that_was_killed_while_it_had_nothing_to_do_costs_nothing(
    sanitizing: Gateway, engine: FakeEngine, key: str
) -> None:
    assert ask(sanitizing, key, picture()).status == 200
    killed = processes(sanitizing)
    for process in killed:
        process.kill()
    until(lambda: {process.status() for process in killed} == {psutil.STATUS_ZOMBIE})
    assert ask(sanitizing, key, picture()).status == 200


def test_a_process_that_hangs_is_replaced_after_the_deadline(hurried: Gateway, engine: FakeEngine) -> None:
    key = hurried.create_key()
    assert ask(hurried, key, picture()).status == 200
    stopped = processes(hurried)
    for process in stopped:
        process.suspend()
    answer = ask(hurried, key, picture())
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "pictures_busy", "2")
    assert len(engine.bodies) == 1
    assert ask(hurried, key, picture()).status == 200
    assert not any(process.is_running() for process in stopped)


def test_when_all_processes_hang_a_picture_waits_only_so_long(hurried: Gateway, engine: FakeEngine) -> None:
    key = hurried.create_key()
    seats = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(3 * seats) as many:
        assert all(
            answer.status == 200 for answer in many.map(lambda _: ask(hurried, key, picture()), range(3 * seats))
        )
        assert len(processes(hurried)) <= seats
        for process in processes(hurried):
            process.suspend()
        answers = list(many.map(lambda _: ask(hurried, key, picture()), range(3 * seats)))
    assert {answer.status for answer in answers} <= {200, 503}
    assert 503 in {answer.status for answer in answers}
    assert ask(hurried, key, picture()).status == 200
    assert len(processes(hurried)) <= seats


def test_a_client_that_leaves_stops_the_work_on_its_picture(sanitizing: Gateway, engine: FakeEngine, key: str) -> None:
    content = json.dumps(body(user(image_part(slow())))).encode()
    with socket.create_connection(("127.0.0.1", sanitizing.port), timeout=10) as connection:
        connection.sendall(post(b"Content-Length: %d" % len(content), body=content).replace(b"{key}", key.encode()))
        process = working(sanitizing)
    until(lambda: not process.is_running(), what="the end of the process")
    assert engine.bodies == []
    assert ask(sanitizing, key, picture()).status == 200


@pytest.mark.parametrize(
    ("hangs", "workers"), [(False, "1"), (True, "1"), (False, "2")], ids=["idle", "at work", "two workers"]
)
@pytest.mark.slow("one of its cases is a gateway of several workers")
def test_no_process_is_left_after_sigterm(
    home: Path, engine: FakeEngine, ledger: Ledger, hangs: bool, workers: str
) -> None:
    data = slow()
    with ThreadPoolExecutor(1) as other:
        with Gateway(home, VITRINE_SANITIZE="true", VITRINE_WORKERS=workers) as ending:
            key = ending.create_key()
            assert ask(ending, key, picture()).status == 200
            started = processes(ending)
            if hangs:
                other.submit(ask, ending, key, data)
                working(ending)
            for process in started:
                process.suspend()  # so that it can't end by itself at the end of its input
        assert started
        assert not any(process.is_running() for process in started)


def test_no_process_is_left_when_the_gateway_is_killed(home: Path, engine: FakeEngine, ledger: Ledger) -> None:
    gateway = Gateway(home, VITRINE_SANITIZE="true")
    assert ask(gateway, gateway.create_key(), picture()).status == 200
    started = processes(gateway)
    assert started
    assert gateway.process.end(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not any(process.is_running() for process in started))


def test_a_process_has_no_environment_and_can_open_nothing(sanitizing: Gateway, engine: FakeEngine, key: str) -> None:
    assert ask(sanitizing, key, picture()).status == 200
    for process in processes(sanitizing):
        assert process.environ() == {}
        assert process.rlimit(psutil.RLIMIT_NOFILE) == (0, 0)
        assert process.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
        assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0)
        assert process.rlimit(psutil.RLIMIT_AS)[1] < 2 << 30
        assert process.net_connections("inet") == []
