"""Which engine a request should go to: the one that has seen its picture, unless that one is busier than its share. Pure.

Rendezvous hashing (Thaler and Ravishankar, 1998): every gateway ranks the engines for a picture alike without asking
anybody, and an engine that comes or goes moves only its own pictures. Bounded loads (Mirrokni, Thorup and
Zadimoghaddam, 2018): nobody gets more than ``SLACK`` times its share, so a picture that everybody asks about spreads.
"""

import enum
import hashlib
from collections.abc import Mapping, Sequence

from gateway.telemetry.catalogue import RoutingReason

SLACK = 1.25
# Below this an engine batches without anybody waiting: there a warm cache is worth more than an even load.
LIGHT_TOKENS = 4096


class Policy(enum.StrEnum):
    """How an engine is chosen among those that are ready."""

    AFFINITY = "affinity"
    LEAST_LOADED = "least-loaded"
    ROUND_ROBIN = "round-robin"


def rank(key: bytes, names: Sequence[str]) -> list[str]:
    """All ``names``, the one that ``key`` belongs to first, and so on: who comes next when that one is full or away."""
    prefix = hashlib.sha256(key).digest()
    return sorted(names, key=lambda name: hashlib.sha256(prefix + name.encode()).digest(), reverse=True)


def choose(
    policy: Policy,
    key: bytes,
    loads: Mapping[str, int],
    weights: Mapping[str, float],
    cost: int,
    *,
    turn: int = 0,
    slack: float = SLACK,
    light_tokens: int = LIGHT_TOKENS,
) -> str:
    """The engine for a request of ``cost`` tokens.

    ``loads``: tokens in flight of each engine that may be asked, at least one. ``weights``: the same engines, 1.0 for
    one in full service and less for one that has just come back. ``turn``: how many requests were sent before, for
    round-robin. With affinity no engine goes over ``slack`` times its share of all tokens in flight, unless it has
    under ``light_tokens``.
    """
    return choose_and_say(policy, key, loads, weights, cost, turn=turn, slack=slack, light_tokens=light_tokens)[0]


def choose_and_say(
    policy: Policy,
    key: bytes,
    loads: Mapping[str, int],
    weights: Mapping[str, float],
    cost: int,
    *,
    turn: int = 0,
    slack: float = SLACK,
    light_tokens: int = LIGHT_TOKENS,
) -> tuple[str, RoutingReason]:
    """What `choose` chooses, and why."""
    names = sorted(loads)
    if policy is Policy.ROUND_ROBIN:
        return names[turn % len(names)], RoutingReason.ROUND_ROBIN
    ranked = rank(key, names)
    if policy is Policy.AFFINITY:
        share = slack * (sum(loads.values()) + cost) / sum(weights.values())
        for name in ranked:
            if loads[name] + cost <= weights[name] * max(share, light_tokens):
                return name, RoutingReason.HOME if name == ranked[0] else RoutingReason.SPILLED
    # The key also breaks ties, or all requests of a quiet hour would go to one engine.
    name = min(ranked, key=lambda name: (loads[name] + cost) / weights[name])
    if policy is Policy.LEAST_LOADED:
        return name, RoutingReason.LEAST_LOADED
    return name, RoutingReason.HOME if name == ranked[0] else RoutingReason.SPILLED
