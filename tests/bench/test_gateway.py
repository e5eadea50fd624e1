"""The bench measures a real gateway, ledger and log; what it says is plausible, and a wrong answer is never a figure."""

import asyncio
import json
import math
import subprocess
from pathlib import Path

import pytest

from bench.gateway import bodies, report
from bench.gateway.client import Events, WrongAnswer
from bench.gateway.engine import BenchEngine
from bench.gateway.scenarios import SCENARIOS, BenchTarget, leaving
from tests.support.process import run


def bench(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return run("bench", "--quick", "--folder", str(folder), *words, env={}, within_s=110)


def test_the_smallest_run_gives_plausible_figures(tmp_path: Path) -> None:
    done = bench(tmp_path, "--only", "small at 1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ours, direct = (found["rounds"][name]["small at 16"][0] for name in ("vitrine", "direct"))
    assert 10 < ours["per_s"] < direct["per_s"]
    assert 0 < direct["p50_ms"] < ours["p50_ms"] <= ours["p99_ms"]
    assert 0 < ours["cpu_ledger_us"] < ours["cpu_us"]
    assert found["medians"]["vitrine"]["small, 1 at once: added p50, ms"] > 0
    assert 50 < found["medians"]["vitrine"]["memory before, MiB"] < 2000
    assert list(tmp_path.iterdir()) == []  # no log and no key stays behind


@pytest.mark.slow("measures every scenario, each for a second or more")
def test_every_scenario_gives_every_figure_of_the_table(tmp_path: Path) -> None:
    asked = {(row.scenario, row.key) for row in report.ROWS} - {("memory", "before_mib"), ("memory", "after_mib")}
    done = bench(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    rounds = json.loads(done.stdout)["rounds"]["vitrine"]
    given = {(scenario, key) for scenario, figures in rounds.items() for key in figures[0]}
    assert asked <= given
    assert rounds["leaves a wait"][0]["most_ms"] is not None


def test_a_gateway_that_answers_errors_is_no_figure_but_an_exit_of_1(tmp_path: Path) -> None:
    done = bench(tmp_path, "--only", "small at 1", "--setting", "VITRINE_KEY_REQUESTS_PER_MIN=3")
    assert done.returncode == 1
    assert "nothing measured: vitrine: answered with status 429" in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_gateway_that_does_not_start_is_an_exit_of_1_with_what_it_said(tmp_path: Path) -> None:
    done = bench(tmp_path, "--only", "small at 1", "--setting", "VITRINE_NO_SUCH=1")
    assert done.returncode == 1
    assert "unknown setting VITRINE_NO_SUCH" in done.stderr


async def test_answers_that_stop_are_a_wrong_answer_for_every_scenario(tmp_path: Path) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    target = BenchTarget("broken", server.sockets[0].getsockname()[1])
    async with server, BenchEngine(tmp_path / "engine-0") as engine:
        for scenario in SCENARIOS:
            with pytest.raises(WrongAnswer, match="broken: the connection was closed"):
                await scenario.measure(target, engine, 0.2)


async def test_an_engine_that_is_never_told_is_told_apart(tmp_path: Path) -> None:
    """A proxy that reads on when its client has left."""
    kept: list[asyncio.StreamWriter] = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, onward = await asyncio.open_connection("127.0.0.1", engine.port)
        onward.write(await reader.read(1 << 16))
        kept.extend((writer, onward))

    async with BenchEngine(tmp_path / "engine-0") as engine:
        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        async with server:
            target = BenchTarget("deaf", server.sockets[0].getsockname()[1])
            figures = await leaving(stream=False)(target, engine, 0.2)
            assert math.isinf(figures["most_ms"])
            straight = await leaving(stream=False)(BenchTarget("direct", engine.port), engine, 5)
            assert straight["most_ms"] < 1000
            for writer in kept:
                writer.close()


def test_events_are_counted_however_they_are_cut() -> None:
    text = b"data: 1\n\ndata: 2\n\ndata: [DONE]\n\n"
    for size in range(1, len(text) + 1):
        events = Events()
        assert sum(events.feed(text[at : at + size]) for at in range(0, len(text), size)) == 3


def test_a_picture_fills_a_mebibyte_and_no_two_are_the_same() -> None:
    one, other = bodies.pictures(2)
    assert one != other
    assert 0.95 * bodies.MEBIBYTE < len(one) <= bodies.MEBIBYTE


def test_what_is_added_is_counted_round_by_round() -> None:
    base, own = ([{"p50_ms": value} for value in values] for values in ((1.0, 5.0, 2.0), (2.0, 7.0, 2.5)))
    rounds = {"direct": {"small at 1": base}, "vitrine": {"small at 1": own}}
    row = next(row for row in report.ROWS if row.scenario == "small at 1" and row.key == "p50_ms")
    assert report.figure(rounds, "vitrine", row) == 1.0
    assert "(2)" in report.table(rounds)
    assert "held" in report.table(rounds)


def test_what_never_ended_is_said_and_misses_its_bar() -> None:
    rounds = {name: {"leaves a wait": [{"most_ms": math.inf}]} for name in ("direct", "vitrine")}
    assert "not told" in report.table(rounds)
    assert "MISSED" in report.table(rounds)
    assert json.dumps(report.as_json(rounds), allow_nan=False)
