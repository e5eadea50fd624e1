"""The choice of an engine: a picture stays where it was seen, and nobody gets more than a share."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.engines.affinity import LIGHT_TOKENS, SLACK, Policy, choose, rank

NAMES = [f"engine-{number}" for number in range(8)]
FULL = dict.fromkeys(NAMES, 1.0)


def pick(key: bytes, loads: dict[str, int], cost: int = 600, policy: Policy = Policy.AFFINITY) -> str:
    return choose(policy, key, loads, dict.fromkeys(loads, 1.0), cost)


def test_the_same_picture_goes_to_the_same_engine_whoever_asks_in_whatever_order() -> None:
    for number in range(100):
        key = b"picture %d" % number
        assert rank(key, NAMES) == rank(key, NAMES[::-1])
        assert pick(key, dict.fromkeys(NAMES, 0)) == rank(key, NAMES)[0]


def test_pictures_spread_evenly_over_the_engines() -> None:
    homes = Counter(rank(b"picture %d" % number, NAMES)[0] for number in range(8000))
    assert set(homes) == set(NAMES)
    assert max(homes.values()) < 1.15 * 1000
    assert min(homes.values()) > 0.85 * 1000


def test_an_engine_that_goes_moves_only_its_own_pictures() -> None:
    for number in range(500):
        key = b"picture %d" % number
        before, after = rank(key, NAMES), rank(key, NAMES[1:])
        assert after == [name for name in before if name != NAMES[0]]


def test_a_light_load_does_not_move_a_picture() -> None:
    key = b"picture"
    first, second = rank(key, NAMES[:2])
    assert pick(key, {first: LIGHT_TOKENS - 600, second: 0}) == first
    assert pick(key, {first: LIGHT_TOKENS, second: 0}) == second


def test_a_picture_that_everybody_asks_about_spreads() -> None:
    """1 % of the pictures make half of the requests; 32 or so are at work at each engine."""
    chance = random.Random(4711)
    loads = dict.fromkeys(NAMES, 0)
    running: list[tuple[str, int]] = []
    worst = 0.0
    for number in range(20_000):
        picture = chance.randrange(5) if chance.random() < 0.5 else 5 + chance.randrange(495)
        cost = 200 + 6 * (picture % 100)
        name = pick(b"picture %d" % picture, loads, cost)
        loads[name] += cost
        running.append((name, cost))
        if len(running) > 32 * len(NAMES):
            left, gone = running.pop(chance.randrange(len(running)))
            loads[left] -= gone
        if number > 1000:
            worst = max(worst, loads[name] / (sum(loads.values()) / len(loads)))
    assert worst <= SLACK * 1.02  # the bound counts the request itself in


@given(
    st.lists(st.integers(0, 100_000), min_size=1, max_size=12), st.integers(1, 20_000), st.binary(), st.integers(0, 11)
)
def test_nobody_goes_over_its_share_unless_all_would(loads: list[int], cost: int, key: bytes, slow: int) -> None:
    busy = {f"engine-{number}": load for number, load in enumerate(loads)}
    weights = {name: 0.25 if number == slow else 1.0 for number, name in enumerate(busy)}
    chosen = choose(Policy.AFFINITY, key, busy, weights, cost)
    share = max(SLACK * (sum(loads) + cost) / sum(weights.values()), LIGHT_TOKENS)
    within = [name for name in busy if busy[name] + cost <= weights[name] * share]
    if within:
        assert chosen == next(name for name in rank(key, list(busy)) if name in within)
    else:
        assert (busy[chosen] + cost) / weights[chosen] == min((busy[name] + cost) / weights[name] for name in busy)


@pytest.mark.parametrize("policy", list(Policy))
def test_one_engine_is_always_chosen(policy: Policy) -> None:
    assert pick(b"any", {"engine-0": 10**9}, 1, policy) == "engine-0"


def test_least_loaded_looks_at_the_load_and_round_robin_at_nothing() -> None:
    loads = {"engine-0": 500, "engine-1": 400, "engine-2": 450}
    assert pick(b"any", loads, 1, Policy.LEAST_LOADED) == "engine-1"
    turns = [choose(Policy.ROUND_ROBIN, b"any", loads, dict.fromkeys(loads, 1.0), 1, turn=turn) for turn in range(4)]
    assert turns == ["engine-0", "engine-1", "engine-2", "engine-0"]


def test_one_that_has_just_come_back_gets_less() -> None:
    loads = dict.fromkeys(NAMES, 100_000)
    weights = FULL | {NAMES[0]: 0.1}
    chosen = [choose(Policy.AFFINITY, b"%d" % number, loads, weights, 600) for number in range(400)]
    assert NAMES[0] not in chosen
    empty = loads | {NAMES[0]: 0}
    chosen = [choose(Policy.AFFINITY, b"%d" % number, empty, weights, 600) for number in range(400)]
    assert 20 < chosen.count(NAMES[0]) < 90  # the pictures that belong to it
