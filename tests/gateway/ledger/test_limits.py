"""Limits are exact: against a slow model that remembers everything, and at the edges by name."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ledger.client.messages import Limit, LimitExceeded
from gateway.ledger.service.rate_limits import DAY_MS, MINUTE_MS, RateLimits, Reservation
from tests.support.examples import examples


def key_limit(**values: int) -> tuple[Limit, ...]:
    return (Limit("key", "k", **values),)


def admit(
    limits: RateLimits, asked: tuple[Limit, ...], tokens: int, images: int, now_ms: int
) -> LimitExceeded | Reservation:
    """The answer alone; what is left stands in `left`, which has to say the same."""
    answer, left = limits.admit(asked, tokens, images, now_ms)
    assert left == limits.left(asked, now_ms)
    return answer


def test_the_last_request_that_fits_is_let_in_and_the_next_is_not() -> None:
    limits = RateLimits()
    asked = key_limit(requests_per_min=3)
    answers = [admit(limits, asked, 0, 0, now_ms) for now_ms in (0, 10, 20, 30)]
    assert [isinstance(answer, Reservation) for answer in answers] == [True, True, True, False]
    over = answers[3]
    assert isinstance(over, LimitExceeded)
    assert (over.limit, over.scope, over.value, over.remaining) == ("requests_per_min", "key", 3, 0)
    assert over.reset_ms == MINUTE_MS - 30


def test_after_the_told_time_the_same_request_passes_and_not_a_moment_before() -> None:
    limits = RateLimits()
    asked = key_limit(tokens_per_min=100)
    admit(limits, asked, 60, 0, 1000)
    admit(limits, asked, 40, 0, 5000)
    over = admit(limits, asked, 70, 0, 9000)
    assert isinstance(over, LimitExceeded)
    assert isinstance(admit(limits, asked, 70, 0, 9000 + over.reset_ms - 1), LimitExceeded)
    assert isinstance(admit(limits, asked, 70, 0, 9000 + over.reset_ms), Reservation)


def test_no_two_boxes_on_the_clock_make_a_double_burst() -> None:
    limits = RateLimits()
    asked = key_limit(requests_per_min=10)
    taken = [now for now in range(59_000, 61_000, 10) if isinstance(admit(limits, asked, 0, 0, now), Reservation)]
    assert len(taken) == 10


def test_a_refusal_burns_nothing_in_any_subject() -> None:
    limits = RateLimits()
    both = (Limit("key", "k", requests_per_min=10), Limit("tenant", "t", requests_per_min=1))
    assert isinstance(admit(limits, both, 0, 0, 0), Reservation)
    for now_ms in range(1, 9):
        over = admit(limits, both, 0, 0, now_ms)
        assert isinstance(over, LimitExceeded)
        assert over.scope == "tenant"
    (left,) = limits.left(both[:1], 9)
    assert left.remaining == 9


def test_what_was_not_used_is_given_back_and_what_was_used_beyond_is_taken() -> None:
    limits = RateLimits()
    asked = key_limit(tokens_per_min=100, tokens_per_day=1000)
    held = admit(limits, asked, 80, 0, 0)
    assert isinstance(held, Reservation)
    limits.settle(held, 30, 10)
    assert [left.remaining for left in limits.left(asked, 10)] == [70, 970]
    held = admit(limits, asked, 10, 0, 20)
    assert isinstance(held, Reservation)
    limits.settle(held, 95, 30)
    assert [left.remaining for left in limits.left(asked, 30)] == [0, 875]


def test_an_exchange_that_never_ran_gives_everything_back() -> None:
    limits = RateLimits()
    asked = key_limit(requests_per_min=1, tokens_per_min=10, tokens_per_day=10, images_per_min=2, concurrent=1)
    for now_ms in range(5):
        held = admit(limits, asked, 10, 2, now_ms)
        assert isinstance(held, Reservation)
        limits.give_back(held, now_ms)
    assert [left.remaining for left in limits.left(asked, 5)] == [1, 10, 10, 2, 1]


def test_a_settling_after_the_window_has_passed_changes_nothing_that_counts_now() -> None:
    limits = RateLimits()
    asked = key_limit(tokens_per_min=100)
    old = admit(limits, asked, 100, 0, 0)
    assert isinstance(old, Reservation)
    assert isinstance(admit(limits, asked, 100, 0, MINUTE_MS + 1), Reservation)
    limits.settle(old, 0, MINUTE_MS + 2)
    assert limits.left(asked, MINUTE_MS + 2)[0].remaining == 0


def test_exchanges_at_once_are_counted_until_they_end() -> None:
    limits = RateLimits()
    asked = key_limit(concurrent=2)
    first, second = admit(limits, asked, 0, 0, 0), admit(limits, asked, 0, 0, 0)
    assert isinstance(first, Reservation)
    assert isinstance(second, Reservation)
    over = admit(limits, asked, 0, 0, 10 * MINUTE_MS)
    assert isinstance(over, LimitExceeded)
    assert over.limit == "concurrent"
    limits.settle(first, None, 10 * MINUTE_MS)
    assert isinstance(admit(limits, asked, 0, 0, 10 * MINUTE_MS), Reservation)


def test_a_limit_of_zero_lets_nothing_in_and_an_image_limit_does_not_touch_text() -> None:
    limits = RateLimits()
    assert isinstance(admit(limits, key_limit(requests_per_min=0), 0, 0, 0), LimitExceeded)
    assert isinstance(admit(limits, key_limit(images_per_min=0), 5, 1, 0), LimitExceeded)
    assert isinstance(admit(limits, key_limit(images_per_min=0), 5, 0, 0), Reservation)


def test_values_change_from_one_admit_to_the_next() -> None:
    limits = RateLimits()
    assert isinstance(admit(limits, key_limit(requests_per_min=1), 0, 0, 0), Reservation)
    assert isinstance(admit(limits, key_limit(requests_per_min=1), 0, 0, 1), LimitExceeded)
    assert isinstance(admit(limits, key_limit(requests_per_min=2), 0, 0, 2), Reservation)


def test_idle_subjects_are_forgotten() -> None:
    limits = RateLimits()
    held = admit(limits, key_limit(tokens_per_day=5), 1, 1, 0)
    assert isinstance(held, Reservation)
    limits.settle(held, 1, 0)
    limits.sweep(DAY_MS)
    assert len(limits._subjects) == 1
    limits.sweep(DAY_MS + MINUTE_MS)
    assert limits._subjects == {}


@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 60), st.integers(0, 3)), max_size=60))
@settings(max_examples=examples(200), deadline=None)
def test_no_minute_and_no_day_ever_holds_more_than_the_limit(steps: list[tuple[int, int, int]]) -> None:
    """A model that keeps every admitted request decides the same, and no window of any length is ever exceeded."""
    limits, now_ms = RateLimits(), 0
    taken: list[tuple[int, int, int]] = []
    asked = key_limit(requests_per_min=5, tokens_per_min=100, images_per_min=4)
    for pause_ms, tokens, images in steps:
        now_ms += pause_ms
        recent = [item for item in taken if item[0] > now_ms - MINUTE_MS]
        fits = (
            len(recent) < 5
            and (tokens == 0 or sum(item[1] for item in recent) + tokens <= 100)
            and (images == 0 or sum(item[2] for item in recent) + images <= 4)
        )
        answer = admit(limits, asked, tokens, images, now_ms)
        assert isinstance(answer, Reservation) == fits
        if fits:
            taken.append((now_ms, tokens, images))


@given(st.lists(st.tuples(st.integers(0, 3 * 3_600_000), st.integers(1, 400)), max_size=80))
@settings(max_examples=examples(100), deadline=None)
def test_no_day_ever_holds_more_tokens_than_its_limit(steps: list[tuple[int, int]]) -> None:
    limits, now_ms = RateLimits(), 0
    taken: list[tuple[int, int]] = []
    for pause_ms, tokens in steps:
        now_ms += pause_ms
        if isinstance(admit(limits, key_limit(tokens_per_day=1000), tokens, 0, now_ms), Reservation):
            taken.append((now_ms, tokens))
        assert sum(amount for at, amount in taken if at > now_ms - DAY_MS) <= 1000
