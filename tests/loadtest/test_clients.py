"""The clock waits for nobody, every time is counted from when a request was to be sent, and every ending has its name."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from loadtest import arrivals, client_processes, question_pool, statistics
from loadtest.client_processes import Run
from loadtest.errors import LoadTestError, WrongUsage
from loadtest.scenario import Ask, Load, Scenario
from loadtest.wire import ServerTarget
from tests.loadtest.server import DONE, END, GOOD, HEAD, ROLE, Answer, Server, event, status, usage, word

ASK = Ask(text_tokens=8, answer_tokens=3)


def scenario(ask: Ask = ASK, timeout_s: float = 5.0) -> Scenario:
    load = Load(timeout_s=timeout_s)
    return Scenario(name="test", description="", ask=ask, load=load, kinds={"test": (ask, 1.0)})


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., Run]:
    """Run a few questions against a server."""

    def ask(server: Server, count: int, at_s: list[float] | None = None, at_once: int = 1, **rest: Any) -> Run:
        chosen = scenario(**rest)
        entries = question_pool.make(chosen, count, 1, tmp_path)
        return client_processes.run(ServerTarget(server.url), chosen, entries, at_s=at_s, at_once=at_once, processes=1)

    return ask


def test_a_slow_server_slows_no_clock_and_waiting_is_part_of_the_latency(asked: Callable[..., Run]) -> None:
    """40 a second arrive for a second where 20 can be served: the last ones wait for half a second, the clock does not."""
    at_s = arrivals.poisson(40, 40, 3)
    with Server(each_s=0.05) as server:
        run = asked(server, 40, at_s)
    assert [one.outcome for one in run.exchanges] == ["ok"] * 40
    found = sorted(run.exchanges, key=lambda one: one.at_s)
    assert [one.at_s for one in found] == at_s
    assert min(one.sent_s for one in found) > 0  # never before its time
    assert max(one.sent_s for one in found) < 0.25
    assert found[-1].first_s > 2.0 - at_s[-1] - 0.05  # the fortieth answer can't begin before
    assert run.took_s > 2.0


def test_nobody_answers_and_all_is_sent_in_time_and_ends_in_time(asked: Callable[..., Run]) -> None:
    at_s = arrivals.poisson(100, 60, 4)
    with Server((60.0,)) as server:
        run = asked(server, 60, at_s, timeout_s=1.0)
        assert len(server.bodies) == 60
    assert Counter(one.outcome for one in run.exchanges) == {"timeout": 60}
    assert max(one.sent_s for one in run.exchanges) < 0.25
    assert all(0.98 <= one.end_s < 1.5 for one in run.exchanges)


def test_a_request_that_is_sent_late_is_counted_from_when_it_was_to_be_sent(asked: Callable[..., Run]) -> None:
    with Server() as server:
        run = asked(server, 2, [-1.0, -0.5])
    early, late = sorted(run.exchanges, key=lambda one: one.at_s)
    assert 0.75 <= early.sent_s <= early.first_s <= early.end_s < 2.0  # the processes have 0.2 s to begin together
    assert 0.25 <= late.sent_s <= late.first_s <= late.end_s < 1.5


def test_times_are_those_that_the_server_took(asked: Callable[..., Run]) -> None:
    paced: Answer = (HEAD, 0.1, ROLE, 0.1, word(), 0.05, word(), 0.15, word(), usage(3), 0.1, DONE, END)
    with Server(paced) as server:
        (one,) = asked(server, 1).exchanges
    assert one.outcome == "ok"
    assert (one.events, one.prompt_tokens, one.answer_tokens) == (3, 7, 3)
    assert 0.1 <= one.first_event_s < one.first_s - 0.08
    assert 0.2 <= one.first_s < 0.3
    # Between two events less may pass than was slept, where the first was read late.
    assert 0.04 <= one.gaps_s[0] < 0.12
    assert 0.14 <= one.gaps_s[1] < 0.25
    assert one.per_token_s == pytest.approx(sum(one.gaps_s) / 2)
    assert 0.5 <= one.end_s < 0.7


def test_events_that_come_in_any_pieces_are_the_same_events(asked: Callable[..., Run]) -> None:
    whole = b"".join(part for part in GOOD if isinstance(part, bytes))
    with Server([whole[i : i + 7] for i in range(0, len(whole), 7)]) as server:
        (one,) = asked(server, 1).exchanges
    assert (one.outcome, one.events, one.answer_tokens) == ("ok", 3, 3)


def test_errors_are_counted_by_kind_and_never_as_answers(asked: Callable[..., Run]) -> None:
    broken = event({"error": {"message": "the engine broke", "type": "engine_broke"}})
    endings: dict[str, Answer] = {
        "ok": GOOD,
        "status 429": (status("429 Too Many Requests"),),
        "status 503": (status("503 Service Unavailable"),),
        "cut": (HEAD, word(), None),
        "no end": (HEAD, word(), END),
        "error event": (HEAD, word(), broken, DONE, END),
        "no tokens": (HEAD, usage(0), DONE, END),
        "not HTTP": (b"220 mail ready\r\n",),
        "timeout": (HEAD, word(), 60.0),
    }
    with Server(*endings.values()) as server:
        run = asked(server, 2 * len(endings), timeout_s=1.0)
    assert Counter(one.outcome for one in run.exchanges) == dict.fromkeys(endings, 2)
    found = statistics.summary(run, scenario())
    assert found["errors"] == {kind: 2 for kind in endings if kind != "ok"}
    assert found["completed"] == 2
    assert found["errors_share"] == pytest.approx(8 / 9)
    assert "the engine broke" in found["errors_said"]["error event"]
    assert found["first_token_ms"]["samples"] == found["answer_tokens"]["samples"] == 2


def test_a_port_that_nobody_listens_at_is_an_error_of_its_own(asked: Callable[..., Run]) -> None:
    with Server() as server:
        pass
    run = asked(server, 3)
    assert Counter(one.outcome for one in run.exchanges) == {"no connection": 3}


def test_a_warm_up_that_fails_throughout_ends_the_run_with_what_was_said(tmp_path: Path) -> None:
    chosen = scenario()
    with Server((status("401 Unauthorized", b"who are you?"),)) as server:
        entries = question_pool.make(chosen, 5, 1, tmp_path)
        with pytest.raises(LoadTestError, match="status 401 who are you"):
            client_processes.run(ServerTarget(server.url), chosen, entries, at_s=None, at_once=1, warm=2)
    assert len(server.bodies) == 2


def test_so_many_are_at_once_and_no_more(asked: Callable[..., Run]) -> None:
    with Server((HEAD, word(), 0.05, word(), usage(2), DONE, END)) as server:
        run = asked(server, 24, at_once=4)
    edges = sorted([(one.at_s, 1) for one in run.exchanges] + [(one.at_s + one.end_s, -1) for one in run.exchanges])
    level, most = 0, 0
    for _, step in edges:
        level += step
        most = max(most, level)
    assert most == 4
    assert run.took_s < 24 * 0.05  # not one after another


def test_every_turn_of_a_conversation_has_all_that_was_said_before(asked: Callable[..., Run]) -> None:
    with Server() as server:
        run = asked(server, 1, ask=Ask(text_tokens=8, answer_tokens=3, turns=3, think_s=0.1))
        bodies = server.bodies
    assert [len(body["messages"]) for body in bodies] == [1, 3, 5]
    assert bodies[2]["messages"][:3] == bodies[1]["messages"]
    assert bodies[1]["messages"][1] == {"role": "assistant", "content": "a a a "}
    first, second, third = run.exchanges
    assert [one.turn for one in run.exchanges] == [0, 1, 2]
    assert second.at_s == pytest.approx(first.at_s + first.end_s + 0.1)
    assert third.first_s < 0.1  # the thinking is not the server's


def test_what_is_asked_is_what_the_scenario_says(asked: Callable[..., Run]) -> None:
    with Server() as server:
        asked(server, 20, ask=Ask(text_tokens=30, answer_tokens=9, never_tokens=[5, 6], temperature=0.5), at_once=2)
        bodies = server.bodies
    body = bodies[0]
    assert (body["max_tokens"], body["temperature"], body["stream"]) == (9, 0.5, True)
    assert body["logit_bias"] == {"5": -100, "6": -100}
    assert body["stream_options"] == {"include_usage": True}
    texts = {json.dumps(body["messages"]) for body in bodies}
    assert len(texts) == 20
    assert all(25 <= len(text.split()) <= 40 for text in texts)


def test_arrivals_are_a_poisson_process_with_a_seed() -> None:
    at_s = arrivals.poisson(50.0, 20_000, 1)
    assert at_s == arrivals.poisson(50.0, 20_000, 1) != arrivals.poisson(50.0, 20_000, 2)
    assert at_s == sorted(at_s)
    assert at_s[-1] == pytest.approx(400, rel=0.03)
    gaps = [b - a for a, b in pairwise(at_s)]
    # Of exponential gaps, e**-1 are longer than the mean: neither even nor in bursts.
    assert sum(gap > 0.02 for gap in gaps) / len(gaps) == pytest.approx(0.3679, abs=0.015)


def test_a_recorded_trace_is_replayed_from_its_first_arrival(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("12.5\n12.0\n\n14.25\n")
    assert arrivals.trace(tmp_path / "plain") == [0.0, 0.5, 2.25]
    lines = [{"at_s": 3.0, "turn": 0}, {"at_s": 3.5, "turn": 1}, {"at_s": 4.0, "turn": 0}]
    (tmp_path / "run").write_text("\n".join(map(json.dumps, lines)))
    assert arrivals.trace(tmp_path / "run") == [0.0, 1.0]


@pytest.mark.parametrize("text", ["", "soon", "1\n-2", '{"at": 1}', "nan", "[1]"])
def test_a_trace_that_is_none_is_refused_by_its_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad").write_text(text)
    with pytest.raises(WrongUsage, match="bad"):
        arrivals.trace(tmp_path / "bad")
