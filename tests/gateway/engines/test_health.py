"""Whether an engine may be asked, from what its answers and probes were; pure, with a clock of the test's own."""

import pytest

from gateway.engines.health import FAILURES, FIRST_PAUSE_S, FIRST_WEIGHT, LONGEST_PAUSE_S, Health
from gateway.telemetry.catalogue import HealthState


def health(*, proven: bool = True) -> Health:
    return Health(proven=proven, probe_every_s=10, slow_start_s=20, now_s=100)


def test_an_engine_that_nobody_vouches_for_is_probed_at_once_and_serves_only_then() -> None:
    one = health(proven=False)
    assert (one.standing, one.probe_is_due(100)) == (HealthState.UNPROVEN, True)
    one.probed("", 101)
    assert (one.standing, one.weight(101)) == (HealthState.SERVING, 1.0)


def test_an_engine_that_answers_is_not_probed_and_a_silent_one_is() -> None:
    one = health()
    one.succeeded(109)
    assert not one.probe_is_due(118)
    assert one.probe_is_due(119)


def test_failures_in_a_row_make_a_suspect_that_a_probe_clears_or_ejects() -> None:
    for fault, standing in (("", HealthState.SERVING), ("it broke off", HealthState.EJECTED)):
        one = health()
        for _ in range(FAILURES - 1):
            one.failed("broke", 100)
        assert one.standing is HealthState.SERVING
        one.failed("broke", 100)
        assert (one.standing, one.probe_is_due(100)) == (HealthState.SUSPECT, True)
        one.probed(fault, 101)
        assert one.standing is standing


def test_a_success_between_failures_starts_the_count_anew() -> None:
    one = health()
    for _ in range(10):
        one.failed("broke", 100)
        one.succeeded(100)
    assert one.standing is HealthState.SERVING


def test_where_nobody_takes_the_connection_once_is_enough() -> None:
    one = health()
    one.failed("nobody listens there", 100, unreachable=True)
    assert (one.standing, one.why) == (HealthState.EJECTED, "nobody listens there")


def test_a_success_that_was_still_under_way_does_not_bring_an_ejected_one_back() -> None:
    one = health()
    one.failed("nobody listens there", 100, unreachable=True)
    one.succeeded(101)
    assert one.standing is HealthState.EJECTED


def test_an_ejected_one_is_probed_ever_less_often() -> None:
    one, now_s, pauses = health(), 100.0, []
    one.failed("gone", now_s, unreachable=True)
    for _ in range(8):
        due_s = next(at for at in (now_s + step / 2 for step in range(1000)) if one.probe_is_due(at))
        pauses.append(due_s - now_s)
        now_s = due_s
        one.probed("gone", now_s)
    assert pauses[0] == FIRST_PAUSE_S
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_one_that_comes_back_gets_little_at_first() -> None:
    one = health()
    one.failed("gone", 100, unreachable=True)
    one.probed("", 200)
    assert one.weight(200) == pytest.approx(FIRST_WEIGHT)
    assert one.weight(210) == pytest.approx((1 + FIRST_WEIGHT) / 2)
    assert one.weight(220) == 1.0


def test_a_probe_of_one_that_serves_may_fail_twice_before_it_is_ejected() -> None:
    one = health()
    standings = []
    for at_s in (110, 111, 112):
        one.probed("slow", at_s)
        standings.append(one.standing)
    assert standings == [HealthState.SERVING, HealthState.SERVING, HealthState.EJECTED]
