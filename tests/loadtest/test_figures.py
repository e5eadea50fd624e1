"""Percentiles by hand and by their definition, goals, goodput: what is computed from exchanges, without a server."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import statistics
from loadtest.client_processes import Run
from loadtest.exchange import MeasuredExchange
from loadtest.scenario import Ask, Scenario
from loadtest.statistics import Step, percentile, spread, verdicts
from loadtest.sweep import CLOSE, sweep

SCENARIO = Scenario(name="test", description="", ask=Ask(text_tokens=1, answer_tokens=3))


def exchange(at_s: float, first_ms: float, *gaps_ms: float, outcome: str = "ok", turn: int = 0) -> MeasuredExchange:
    gaps = array("f", [gap / 1000 for gap in gaps_ms])
    end_s = (first_ms + sum(gaps_ms)) / 1000
    return MeasuredExchange(
        "test",
        turn,
        at_s,
        first_event_s=first_ms / 1000,
        first_s=first_ms / 1000,
        end_s=end_s,
        events=1 + len(gaps),
        prompt_tokens=10,
        answer_tokens=1 + len(gaps),
        gaps_s=gaps,
        outcome=outcome,
    )


@pytest.mark.parametrize(
    ("samples", "share", "expected"),
    [
        ([1, 2, 3, 4, 5], 0.5, 3),
        ([1, 2, 3, 4], 0.5, 2),
        ([7], 0.99, 7),
        (list(range(1, 101)), 0.99, 99),
        (list(range(1, 101)), 0.9, 90),
        (list(range(1, 1001)), 0.999, 999),
        (list(range(1, 101)), 0.07, 7),  # 0.07 * 100 is 7.000000000000001
    ],
)
def test_percentiles_are_those_of_the_hand(samples: list[float], share: float, expected: float) -> None:
    assert percentile(samples, share) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.integers(1, 999))
def test_a_percentile_is_the_least_sample_that_so_many_are_not_above(samples: list[float], per_mille: int) -> None:
    ordered = sorted(samples)
    found = percentile(ordered, per_mille / 1000)
    assert found in samples
    assert sum(one <= found for one in samples) * 1000 >= per_mille * len(samples)
    assert sum(one < found for one in samples) * 1000 < per_mille * len(samples)


def test_a_percentile_without_samples_enough_is_not_given() -> None:
    assert spread(range(499))["p99"] is None
    assert spread(range(500))["p99"] == 494
    assert spread(range(9))["p50"] is None
    assert spread(range(10))["p50"] == 4
    assert spread([]) == {"samples": 0, "mean": None, "p50": None, "p90": None, "p99": None, "p999": None, "most": None}


def test_a_run_is_summed_up() -> None:
    exchanges = [exchange(0.1 * n, 100, 10, 30) for n in range(10)] + [exchange(1.0, 3000, 10, 10)]
    exchanges += [exchange(1.5, 0, outcome="status 429")]
    found = statistics.summary(Run(exchanges, took_s=4.0, rate=3.0), SCENARIO)
    assert (found["exchanges"], found["completed"], found["errors"]) == (12, 11, {"status 429": 1})
    assert found["requests_per_s"] == 11 / 4
    assert found["good_requests_per_s"] == 10 / 4  # one had its first token late
    assert (found["tokens_in_per_s"], found["tokens_out_per_s"]) == (110 / 4, 33 / 4)
    assert found["first_token_ms"]["p50"] == pytest.approx(100)
    assert found["between_tokens_ms"]["samples"] == 22
    assert found["per_token_ms"]["most"] == pytest.approx(20)
    assert found["steady_requests_per_s"] is None
    assert found["turns"] == {}


def test_the_steady_rate_leaves_out_the_beginning_and_the_end() -> None:
    """Two at once, each answer takes a second, and the last two of ten are slow: two a second while both were at work."""
    exchanges = [exchange(float(n // 2) + n % 2 / 10, 1000) for n in range(8)]
    exchanges += [exchange(4.0, 9000), exchange(4.1, 9000)]
    assert statistics.steady_per_s(Run(exchanges, at_once=2)) == pytest.approx(6 / 3.0)
    assert statistics.steady_per_s(Run(exchanges[:5], at_once=2)) is None


def test_goals_are_met_missed_or_can_not_be_told() -> None:
    run = Run([exchange(n / 100, n + 1, *([20.0] * 10)) for n in range(500)], took_s=10.0, rate=50.0)
    found = statistics.summary(run, SCENARIO)
    goals = {
        "first_token_p99_ms": 496,
        "first_token_p90_ms": 400,
        "requests_per_s": 50,
        "tokens_out_per_s": 551,
        "errors_share": 0,
        "exchange_p999_ms": 1e9,
        "answer_tokens_p50": 11,
        "first_token_mean_ms": 250.5,
    }
    met = {one.goal: one.met for one in verdicts(goals, found)}
    assert met == {
        "first_token_p99_ms": True,
        "first_token_p90_ms": False,
        "requests_per_s": True,
        "tokens_out_per_s": False,
        "errors_share": True,
        "exchange_p999_ms": False,
        "answer_tokens_p50": True,
        "first_token_mean_ms": True,
    }
    texts = [one.text for one in verdicts(goals, found)]
    assert "first_token_p90_ms ≤ 400: 450" in texts
    assert "exchange_p999_ms ≤ 1e+09: too few samples to say" in texts


@pytest.mark.parametrize("goal", ["speed", "first_token_p98_ms", "errors", "generator", "errors_said"])
def test_a_goal_that_no_figure_has_is_refused(goal: str) -> None:
    with pytest.raises(KeyError):
        verdicts({goal: 1.0}, statistics.summary(Run(), SCENARIO))


def test_a_rate_holds_if_one_in_a_hundred_is_late_and_not_if_two_are() -> None:
    good = [exchange(n / 10, 100, 10) for n in range(98)]
    late, slow = exchange(9.9, 1001, 10), exchange(9.9, 100, 51)
    assert statistics.step(Run([*good, good[0], late]), SCENARIO).held
    assert statistics.step(Run([*good, late, late]), SCENARIO).why == "2.0% of the first tokens late"
    assert statistics.step(Run([*good, good[0], slow]), SCENARIO).held
    assert statistics.step(Run([*good, slow, slow]), SCENARIO).why == "2.0% of the gaps too long"
    failed = exchange(9.9, 0, outcome="timeout")
    assert statistics.step(Run([*good, good[0], failed]), SCENARIO).held
    assert statistics.step(Run([*good, late, failed]), SCENARIO).why == "2.0% of the first tokens late"
    assert statistics.step(Run([*good, failed, failed]), SCENARIO).why == "2 failed"
    assert not statistics.step(Run([]), SCENARIO).held


@given(st.floats(0.6, 150.0))
def test_the_sweep_finds_the_rate_beyond_which_nothing_holds(most: float) -> None:
    found = sweep(1.0, 200.0, 30, lambda rate: Step(rate, rate <= most, "", 0.0, 0.0, {}))
    assert found.goodput is not None
    assert found.complete
    assert found.goodput <= most <= found.goodput * CLOSE
    assert len(found.steps) <= 16


def test_a_sweep_that_never_fails_or_never_holds_says_so() -> None:
    always = sweep(1.0, 10.0, 30, lambda rate: Step(rate, True, "", 0.0, 0.0, {}))
    assert [one.rate for one in always.steps] == [1, 2, 4, 8, 10]
    assert (always.goodput, always.complete) == (10.0, False)
    never = sweep(1.0, 10.0, 30, lambda rate: Step(rate, False, "", 0.0, 0.0, {}))
    assert (never.goodput, never.complete) == (None, False)
    assert len(never.steps) <= 6
    few = sweep(1.0, 100.0, 3, lambda rate: Step(rate, rate < 3, "", 0.0, 0.0, {}))
    assert (few.goodput, few.complete) == (2.0, False)
