"""The simulation: that the bound holds in it, that it shows when it does not, and that affinity is worth what docs say."""

from dataclasses import replace

import pytest

from bench.simulation import PICTURE_TOKENS, Result, SimulatedCase, main, simulate
from gateway.engines.affinity import LIGHT_TOKENS, SLACK, Policy

HOT = SimulatedCase(8, Policy.AFFINITY, pictures=500)  # 5 pictures make half of the conversations


@pytest.fixture(scope="module")
def hot() -> Result:
    return simulate(HOT)


def test_nobody_gets_more_than_the_bound_though_one_picture_in_a_hundred_makes_half_of_the_requests(
    hot: Result,
) -> None:
    assert len(hot.turns) > 1000
    assert 1.1 < hot.worst_ratio <= SLACK


def test_without_the_bound_it_would_be_seen() -> None:
    assert simulate(SimulatedCase(8, Policy.AFFINITY, pictures=500, slack=10.0)).worst_ratio > 2


def test_gateways_that_see_only_their_own_requests_cannot_hold_it() -> None:
    assert simulate(SimulatedCase(8, Policy.AFFINITY, pictures=500, gateways=16)).worst_ratio > SLACK


def test_nor_can_those_that_read_the_engines_loads_now_and_then_but_for_those_who_always_know_them() -> None:
    case = SimulatedCase(8, Policy.AFFINITY, pictures=500, gateways=16, light_tokens=LIGHT_TOKENS // 16)
    assert simulate(replace(case, look_s=0.25)).worst_ratio > SLACK
    assert simulate(replace(case, look_s=0.0)).worst_ratio <= SLACK


def test_the_same_seed_gives_the_same_turns_and_another_one_others(hot: Result) -> None:
    assert simulate(HOT).turns == hot.turns
    assert simulate(SimulatedCase(8, Policy.AFFINITY, pictures=500, seed=2)).turns != hot.turns


def test_affinity_finds_more_in_the_caches_and_the_first_token_comes_sooner() -> None:
    results = {policy: simulate(SimulatedCase(8, policy)) for policy in Policy}
    best = results.pop(Policy.AFFINITY)
    for other in results.values():
        assert best.hit_rate > 2 * other.hit_rate
        assert best.first_token_ms(50) < other.first_token_ms(50)


def test_a_first_question_about_a_new_picture_finds_nothing_and_one_engine_finds_all_the_rest() -> None:
    turns = simulate(SimulatedCase(1, Policy.AFFINITY)).turns
    first = [turn for turn in turns if turn.prompt_tokens == PICTURE_TOKENS + 64]
    later = [turn for turn in turns if turn.prompt_tokens != PICTURE_TOKENS + 64]
    assert {turn.cached_tokens for turn in first} == {0}
    assert {turn.prompt_tokens - turn.cached_tokens for turn in later} == {64}


def test_an_engine_that_leaves_gets_nothing_until_it_is_back() -> None:
    result = simulate(SimulatedCase(4, Policy.AFFINITY, away=(7.0, 10.0)))
    assert "engine-0" not in {turn.engine for turn in result.between(7.0, 10.0).turns}
    assert "engine-0" in {turn.engine for turn in result.between(5.0, 7.0).turns}
    assert "engine-0" in {turn.engine for turn in result.between(10.0, 15.0).turns}


def test_the_command_prints_its_tables(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--gpus", "2", "--cell", "4", "--seed", "3"])
    printed = capsys.readouterr().out
    assert printed.count("| 2 | affinity |") == 2
    assert "| 16 | affinity | 256 | 0.25 s |" in printed
