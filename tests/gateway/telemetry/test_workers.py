"""What several workers count is one sum, and stays when one of them is killed."""

import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway
from tests.support.scrape import Series, fetch, moves, parse, scrape, settled

EXCHANGES = 'vitrine_exchanges_total{model="glm-4v",outcome="completed",route="/v1/chat/completions"}'
SERVING = 'vitrine_workers{state="serving"}'


@pytest.fixture(scope="module")
def gateway(home: Path, running_engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    with Gateway(home, VITRINE_WORKERS="2") as running:
        yield running


def ask(gateway: Gateway, key: str, count: int) -> Series:
    """Ask so many times, and what moved until all were counted."""
    before = scrape(gateway.metrics_port)
    with ThreadPoolExecutor(8) as many:
        assert {answer.status for answer in many.map(lambda _: gateway.chat(key, stream=True), range(count))} == {200}
    return moves(before, settled(gateway.metrics_port, lambda now: now[EXCHANGES] >= before.get(EXCHANGES, 0) + count))


def test_the_sums_of_all_workers_are_exact(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    until(lambda: scrape(gateway.metrics_port)[SERVING] == 2, within_s=30)
    moved = ask(gateway, key, 60)
    for name in (
        EXCHANGES,
        'vitrine_exchange_seconds_count{model="glm-4v"}',
        'vitrine_first_token_seconds_count{model="glm-4v"}',
        'vitrine_stage_seconds_count{model="glm-4v",stage="engine"}',
        'vitrine_images_total{model="glm-4v"}',
        'vitrine_ledger_call_seconds_count{call="complete"}',
        'vitrine_ledger_appended_total{kind="complete"}',
        'vitrine_engine_choices_total{engine="engine-0",why="only"}',
        'vitrine_tenant_exchanges_total{outcome="completed",tenant="default"}',
        'vitrine_requests_total{method="POST",route="/v1/chat/completions",status="200"}',
    ):
        assert moved[name] == 60, name
    assert moved['vitrine_tokens_total{direction="in",model="glm-4v"}'] == 7 * 60
    now = scrape(gateway.metrics_port)
    assert now["vitrine_exchanges_in_flight"] == 0
    assert now['vitrine_workers{state="wanted"}'] == 2
    assert now["vitrine_ledger_connected"] == 1


def test_the_main_port_says_the_same_whichever_worker_answers(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    scraper = gateway.create_key("--scope", "metrics")
    ask(gateway, key, 3)
    ours = parse(fetch(gateway.metrics_port))
    for _ in range(6):
        theirs = parse(gateway.request("GET", "/metrics", key=scraper).body.decode())
        assert theirs[EXCHANGES] == ours[EXCHANGES]
        assert theirs["vitrine_ledger_up"] == 1
        # Who is alive is known to their supervisor.
        assert {name for name in ours if re.match("vitrine_worker", name)} == ours.keys() - theirs.keys()


def test_a_killed_workers_counters_stay_and_its_gauges_go(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    ask(gateway, key, 20)
    before = scrape(gateway.metrics_port)
    victim = next(
        one for one in psutil.Process(gateway.process.pid).children() if "gateway.worker" in " ".join(one.cmdline())
    )
    victim.send_signal(signal.SIGKILL)
    restarts = "vitrine_worker_restarts_total"
    until(lambda: scrape(gateway.metrics_port)[restarts] == before[restarts] + 1, within_s=30)
    until(lambda: scrape(gateway.metrics_port)[SERVING] == 2, within_s=30, what="its successor")
    # Of all workers together: with the dead one's it would be half as much again.
    until(lambda: scrape(gateway.metrics_port)["vitrine_queue_bound"] == before["vitrine_queue_bound"] == 1024)
    now = scrape(gateway.metrics_port)
    # The ledger writes on, and an engine that nobody asks meanwhile is asked for a token.
    moved = {
        name: value
        for name, value in moves(before, now).items()
        if not name.startswith(("vitrine_ledger", "vitrine_engine_probes"))
    }
    assert moved == {restarts: 1}
    assert now[EXCHANGES] == before[EXCHANGES]
    assert ask(gateway, key, 20)[EXCHANGES] == 20
