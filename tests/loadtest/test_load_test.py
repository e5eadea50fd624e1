"""``python -m loadtest`` as people run it: exit status, what it prints and writes, against an engine and through the gateway."""

import json
import re
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from loadtest import ceiling
from loadtest import scenario as scenario_
from loadtest.ceiling import Ceiling
from loadtest.client_processes import Run
from loadtest.statistics import summary
from tests.loadtest.server import Server, status
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway
from tests.support.ledger import running
from tests.support.process import run

SMALL = """
name = "small"
description = "A small picture."
[ask]
text_tokens = 8
answer_tokens = 5
images = { width = 112, height = 84 }
[load]
rate = 200.0
requests = 40
warm_up = 1
[goals]
errors_share = 0
first_token_p50_ms = 5000
"""
TEXT = SMALL.replace("images = { width = 112, height = 84 }", "").replace("small", "words")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    with FakeEngine(tmp_path_factory.mktemp("engine"), tcp=True) as running:
        yield running


@pytest.fixture
def small(tmp_path: Path) -> str:
    (tmp_path / "small.toml").write_text(SMALL)
    return str(tmp_path / "small.toml")


@pytest.fixture
def words(tmp_path: Path) -> str:
    (tmp_path / "words.toml").write_text(TEXT)
    return str(tmp_path / "words.toml")


def loadtest(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return run("loadtest", "run", *arguments, env={}, within_s=100)


class Page(HTMLParser):
    """Checks that elements are closed in order; collects text, plots, and what would be fetched."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.fetched: list[str] = []
        self.plots: list[str | None] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "!doctype"):
            self.open.append(tag)
        given = dict(attributes)
        self.plots += [given["data-plot"]] if "data-plot" in given else []
        links = [value or "" for name, value in attributes if name in ("src", "href", "xlink:href")]
        self.fetched += [link for link in links if not link.startswith("#")]
        assert tag != "script"

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.slow("asks for as long as the scenario says")
def test_a_run_prints_and_writes_what_it_found_and_its_trace_is_replayed(
    engine: FakeEngine, small: str, words: str, tmp_path: Path
) -> None:
    done = loadtest(small, "--url", engine.url, "--ceiling", "0.5", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "met    first_token_p50_ms ≤ 5,000" in done.stdout
    assert re.search(r"the generator's own ceiling here: [\d,]+ requests/s, [\d,]+ events/s", done.stdout)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["figures"]["completed"] == 40
    assert results["figures"]["answer_tokens"]["mean"] == 5
    assert results["figures"]["first_token_ms"]["p50"] > 0
    assert results["figures"]["first_token_ms"]["p99"] is None
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert page.fetched == []
    assert page.plots == ["latency-over-time", "first-token", "between-tokens", "whole-request"]
    assert "completed 40" in page.text
    assert "first_token_p50_ms ≤ 5,000" in page.text
    lines = [json.loads(line) for line in (tmp_path / "out" / "exchanges.jsonl").read_text().splitlines()]
    again = loadtest(
        words,
        "--url",
        engine.url,
        "--ceiling",
        "0",
        "--trace",
        str(tmp_path / "out" / "exchanges.jsonl"),
        "--out",
        str(tmp_path / "again"),
    )
    assert again.returncode == 0, again.stderr
    replayed = [json.loads(line) for line in (tmp_path / "again" / "exchanges.jsonl").read_text().splitlines()]
    expected = [one["at_s"] - lines[0]["at_s"] for one in lines]
    assert [one["at_s"] for one in replayed] == pytest.approx(expected)


def test_a_goal_that_is_missed_is_an_exit_of_1(engine: FakeEngine, words: str) -> None:
    given = (words, "--url", engine.url, "--ceiling", "0", "--concurrency", "4")
    done = loadtest(*given, "--goal", "requests_per_s=1e9", "--goal", "first_token_p999_ms=1e9")
    assert done.returncode == 1
    assert "MISSED requests_per_s ≥ 1e+09" in done.stdout
    assert "met    errors_share ≤ 0" in done.stdout
    assert "MISSED first_token_p999_ms ≤ 1e+09: too few samples to say" in done.stdout


def test_nothing_measured_is_an_exit_of_1_and_wrong_usage_of_64(words: str) -> None:
    with Server((status("401 Unauthorized"),)) as server:
        done = loadtest(words, "--url", server.url, "--key", "wrong")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing measured: every question of the warm-up failed: status 401" in done.stderr
    for wrong in (
        ["nope"],
        [words, "--rate", "1", "--concurrency", "1"],
        [words, "--goal", "speed=1"],
        [words, "--url", "here"],
        [words, "--sweep", "9:1"],
        [words, "--rates", "1"],
    ):
        done = loadtest(*wrong)
        assert done.returncode == 64, wrong
        assert done.stderr.startswith("error: ")


@pytest.mark.slow("asks at several rates, each for a while")
def test_a_sweep_finds_where_a_server_gives_in(words: str, tmp_path: Path) -> None:
    """It serves twenty a second: in two seconds at forty, half of the first tokens come too late."""
    Path(words).write_text(TEXT + "[slo]\nfirst_token_ms = 500.0\n")
    with Server(each_s=0.05) as server:
        done = loadtest(
            words,
            "--url",
            server.url,
            "--sweep",
            "10:160",
            "--step-s",
            "2",
            "--steps",
            "3",
            "--ceiling",
            "0",
            "--out",
            str(tmp_path),
        )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    rates = [one["rate"] for one in found["sweep"]["steps"]]
    assert rates[0] == 10
    assert found["sweep"]["steps"][0]["held"]
    assert not any(one["held"] for one in found["sweep"]["steps"] if one["rate"] >= 40)
    assert 10 <= found["sweep"]["goodput"] < 40
    assert f"goodput: {found['sweep']['goodput']:.2f} requests/s" in done.stdout
    assert Page((tmp_path / "report.html").read_text()).plots[0] == "rate-sweep"


def test_the_ceiling_is_measured_by_itself() -> None:
    done = run("loadtest", "ceiling", "text", "--seconds", "0.5", env={}, within_s=60)
    assert done.returncode == 0, done.stderr
    found = re.search(r"^text: ([\d,]+) requests/s of 1 KiB, ([\d,]+) events/s", done.stdout)
    assert found, done.stdout
    requests, events = (int(text.replace(",", "")) for text in found.groups())
    assert requests >= 10
    assert events == pytest.approx(256 * requests, rel=0.05)


def test_a_run_near_the_ceiling_is_warned_about() -> None:
    figures = summary(Run(), scenario_.load("text"))
    top = Ceiling(100.0, 1000.0, 1.0, 1.0, 1, 1.0)
    assert ceiling.warnings({**figures, "requests_per_s": 49.0}, top) == []
    (line,) = ceiling.warnings({**figures, "requests_per_s": 51.0}, top)
    assert "51% of what the generator can do" in line
    busy = {**figures, "generator": {"cpu_share_most": 0.9, "lag_p99_ms": 20.0}}
    assert len(ceiling.warnings(busy, None)) == 2


def test_the_gateway_takes_every_question_and_refusals_are_counted_by_kind(
    small: str, words: str, tmp_path: Path
) -> None:
    """Sixty a minute are allowed: all of the first 41, and 19 of the next 40."""
    bound = {"VITRINE_KEY_REQUESTS_PER_MIN": "60"}
    with FakeEngine(tmp_path / "run") as behind, running(tmp_path), Gateway(tmp_path, **bound) as gateway:
        (tmp_path / "key").write_text(gateway.create_key())
        given = (small, "--url", gateway.url, "--key", f"@{tmp_path / 'key'}", "--ceiling", "0")
        good = loadtest(*given)
        assert good.returncode == 0, good.stdout + good.stderr
        assert len(behind.bodies) == 41
        done = loadtest(words, *given[1:], "--warm-up", "0")
    assert done.returncode == 1
    # On a slow machine the allowance grows meanwhile.
    assert re.search(r"completed (19|2\d)\b", done.stdout), done.stdout
    assert re.search(r"^error: \d+ × status 429: .*rate_limit", done.stdout, re.MULTILINE), done.stdout
    assert done.stdout.count("error: ") == 1
