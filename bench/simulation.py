"""What the choice of an engine is worth, from 2 to 1,000 GPUs: the real ``choose()`` and invented engines; asks nobody.

``python -m bench.simulation`` (``make simulate``) prints the tables of docs/scaling.md. An engine here is one line
of prefills, in which each answer's decoding is charged, too; a cache of prefixes that forgets the oldest; and a steady time
per token after the first. Its speeds are those measured on one H100, see ``Speeds``. Traffic is conversations about one picture.
"""

import argparse
import heapq
import itertools
import random
import statistics
import sys
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gateway.engines.affinity import LIGHT_TOKENS, SLACK, Policy, choose

PICTURE_TOKENS, TEXT_TOKENS, ANSWER_TOKENS, TURNS = 600, 64, 128, 4
THINK_S = 0.5  # between an answer's end and the next question, on average
SLOW_START_S = 2.0
UTILISATION = 0.8  # of what the engines could do without any cache


class Speeds(NamedTuple):
    """Measured on one H100, fp8, four API servers, before the encoder was compiled: 29.3 requests/s of one picture, 64
    tokens in and 128 out; 19,567 tokens/s of text alone; 5.2 ms a token; 232,000 tokens of KV cache at 0.29 of the card.
    What a prompt's token costs is what those leave over."""

    answer_token_s: float = 1 / 19_567
    prompt_token_s: float = (1 / 29.3 - ANSWER_TOKENS / 19_567) / (PICTURE_TOKENS + TEXT_TOKENS)
    between_tokens_s: float = 5.2e-3
    cache_tokens: int = 232_000


@dataclass(frozen=True)
class SimulatedCase:
    """``pictures``: None gives every conversation a picture of its own, a number that many in all, of which 1 % make half of
    the conversations. ``gateways``: each sees only what it sent itself, and with ``look_s`` what each engine has from the
    others, as it was at most so long ago. ``away``: from when to when an engine is gone."""

    engines: int
    policy: Policy
    pictures: int | None = None
    gateways: int = 1
    look_s: float | None = None
    slack: float = SLACK
    light_tokens: int = LIGHT_TOKENS
    away: tuple[float, float] | None = None
    warm_up_s: float = 5.0
    measured_s: float = 10.0
    seed: int = 1


@dataclass
class SimulatedConversation:
    number: int
    key: bytes
    turn: int = 0

    @property
    def prompt_tokens(self) -> int:
        return PICTURE_TOKENS + TEXT_TOKENS + self.turn * (TEXT_TOKENS + ANSWER_TOKENS)


class SimulatedEngine:
    """One line, one cache. ``load``: tokens in flight, whoever sent them."""

    def __init__(self, speeds: Speeds) -> None:
        self._speeds = speeds
        self._free_at_s = 0.0
        self._prefixes: OrderedDict[bytes | int, int] = OrderedDict()
        self._held_tokens = self.load = 0

    def answer(self, now_s: float, conversation: SimulatedConversation) -> tuple[int, float, float]:
        """Take a turn: the prompt's tokens that were cached, the first token's time, the last one's."""
        picture, history = conversation.key, conversation.number
        cached = self._prefixes.get(history, 0) or self._prefixes.get(picture, 0)
        fresh = conversation.prompt_tokens - cached
        start_s = max(now_s, self._free_at_s)
        first_s = start_s + fresh * self._speeds.prompt_token_s
        self._free_at_s = first_s + ANSWER_TOKENS * self._speeds.answer_token_s
        self._keep(picture, PICTURE_TOKENS)
        self._keep(history, conversation.prompt_tokens + ANSWER_TOKENS)
        return cached, first_s, first_s + ANSWER_TOKENS * self._speeds.between_tokens_s

    def forget(self) -> None:
        """A new process: an empty cache."""
        self._prefixes.clear()
        self._held_tokens = 0

    def _keep(self, prefix: bytes | int, tokens: int) -> None:
        self._held_tokens += tokens - self._prefixes.pop(prefix, 0)
        self._prefixes[prefix] = tokens
        while self._held_tokens > self._speeds.cache_tokens:
            self._held_tokens -= self._prefixes.popitem(last=False)[1]


class SimulatedTurn(NamedTuple):
    """What happened to one request. ``ratio``: its engine's load over the mean load, itself counted in."""

    at_s: float
    engine: str
    prompt_tokens: int
    cached_tokens: int
    waited_s: float
    ratio: float


@dataclass
class Result:
    case: SimulatedCase
    turns: list[SimulatedTurn] = field(default_factory=list)

    def between(self, start_s: float, end_s: float) -> "Result":
        return Result(self.case, [turn for turn in self.turns if start_s <= turn.at_s < end_s])

    @property
    def hit_rate(self) -> float:
        """Cached tokens of all prompts' tokens."""
        return sum(turn.cached_tokens for turn in self.turns) / sum(turn.prompt_tokens for turn in self.turns)

    @property
    def worst_ratio(self) -> float:
        """The most that an engine got, as a multiple of the mean; engines under a light load do not count."""
        return max((turn.ratio for turn in self.turns), default=0.0)

    def first_token_ms(self, percent: int) -> float:
        return 1000 * statistics.quantiles([turn.waited_s for turn in self.turns], n=100)[percent - 1]


class World:
    """One case while it runs: time, engines, and what each gateway knows."""

    def __init__(self, case: SimulatedCase, speeds: Speeds) -> None:
        self._case = case
        self._chance = random.Random(case.seed)
        self._engines = {f"engine-{number}": SimulatedEngine(speeds) for number in range(case.engines)}
        self._here = dict.fromkeys(self._engines, 0.0)  # since when
        self._views = [dict.fromkeys(self._engines, 0) for _ in range(case.gateways)]
        self._looked_s = [-1.0] * case.gateways
        self._others = [dict.fromkeys(self._engines, 0) for _ in range(case.gateways)]
        self._sent = [0] * case.gateways
        self._total = 0
        self._events: list[tuple[float, int, str, SimulatedConversation | None, tuple[int, str, int] | None]] = []
        self._order = itertools.count()
        prompt = PICTURE_TOKENS + TEXT_TOKENS + (TURNS - 1) / 2 * (TEXT_TOKENS + ANSWER_TOKENS)
        work_s = prompt * speeds.prompt_token_s + ANSWER_TOKENS * speeds.answer_token_s
        self._conversations_per_s = case.engines * UTILISATION / work_s / TURNS

    def run(self) -> Result:
        case, result, end_s = self._case, Result(self._case), self._case.warm_up_s + self._case.measured_s
        self._at(0.0, "begin")
        if case.away is not None:
            self._at(case.away[0], "leave")
            self._at(case.away[1], "return")
        while self._events and self._events[0][0] < end_s:
            now_s, _, what, conversation, sent = heapq.heappop(self._events)
            if what == "begin":
                self._begin(now_s)
            elif what == "leave":
                del self._here["engine-0"]
            elif what == "return":
                self._engines["engine-0"].forget()
                self._here["engine-0"] = now_s
            elif what == "ask" and conversation is not None:
                turn = self._ask(now_s, conversation)
                if now_s >= case.warm_up_s:
                    result.turns.append(turn)
            elif sent is not None:
                self._ended(now_s, *sent, conversation)
        return result

    def _at(
        self,
        time_s: float,
        what: str,
        conversation: SimulatedConversation | None = None,
        sent: tuple[int, str, int] | None = None,
    ) -> None:
        heapq.heappush(self._events, (time_s, next(self._order), what, conversation, sent))

    def _begin(self, now_s: float) -> None:
        number = next(self._order)
        pictures = self._case.pictures
        if pictures is None:
            picture = number
        else:
            hot = max(1, pictures // 100)
            picture = (
                self._chance.randrange(hot) if self._chance.random() < 0.5 else self._chance.randrange(hot, pictures)
            )
        self._at(now_s, "ask", SimulatedConversation(number, b"picture %d" % picture))
        self._at(now_s + self._chance.expovariate(self._conversations_per_s), "begin")

    def _ask(self, now_s: float, conversation: SimulatedConversation) -> SimulatedTurn:
        case, cost = self._case, conversation.prompt_tokens + ANSWER_TOKENS
        gateway = self._chance.randrange(case.gateways)
        view, others = self._views[gateway], self._others[gateway]
        if case.look_s is not None and now_s - self._looked_s[gateway] >= case.look_s:
            self._looked_s[gateway] = now_s
            others.update({name: engine.load - view[name] for name, engine in self._engines.items()})
        weights = {
            name: min(1.0, 0.1 + (now_s - since_s) / SLOW_START_S) if since_s else 1.0
            for name, since_s in self._here.items()
        }
        name = choose(
            case.policy,
            conversation.key,
            {name: view[name] + others[name] for name in self._here},
            weights,
            cost,
            turn=self._sent[gateway],
            slack=case.slack,
            light_tokens=case.light_tokens,
        )
        self._sent[gateway] += 1
        engine = self._engines[name]
        view[name] += cost
        engine.load += cost
        self._total += cost
        cached, first_s, last_s = engine.answer(now_s, conversation)
        self._at(last_s, "end", conversation, (gateway, name, cost))
        ratio = engine.load * len(self._here) / self._total if engine.load > LIGHT_TOKENS else 0.0
        return SimulatedTurn(now_s, name, conversation.prompt_tokens, cached, first_s - now_s, ratio)

    def _ended(
        self, now_s: float, gateway: int, name: str, cost: int, conversation: SimulatedConversation | None
    ) -> None:
        self._views[gateway][name] -= cost
        self._engines[name].load -= cost
        self._total -= cost
        if conversation is not None and conversation.turn + 1 < TURNS:
            conversation.turn += 1
            self._at(now_s + self._chance.expovariate(1 / THINK_S), "ask", conversation)


def simulate(case: SimulatedCase, speeds: Speeds | None = None) -> Result:
    """Run one case. The same case gives the same result."""
    return World(case, speeds or Speeds()).run()


def _row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def _head(title: str, *names: str) -> None:
    print(f"\n{title}\n")
    _row(*names)
    _row(*["---"] * len(names))


def _figures(result: Result) -> tuple[str, ...]:
    ratio = f"{result.worst_ratio:.2f}"
    return f"{result.hit_rate:.1%}", f"{result.first_token_ms(50):.0f}", f"{result.first_token_ms(99):.0f}", ratio


_NAMES = ("cached tokens", "first token p50, ms", "p99, ms", "worst load / mean")


def tables(sizes: list[int], cell: int, seed: int) -> None:
    """Print all tables."""
    for title, pictures in (
        ("Conversations of four turns, each about a picture of its own", None),
        ("500 pictures, of which 5 make half of the conversations", 500),
    ):
        _head(title, "GPUs", "policy", *_NAMES)
        for engines, policy in itertools.product(sizes, Policy):
            # The largest size is told apart by fewer requests for each engine, not by fewer in all.
            case = SimulatedCase(engines, policy, pictures, seed=seed)
            if engines > 100:
                case = replace(case, warm_up_s=4.0, measured_s=4.0)
            _row(engines, policy, *_figures(simulate(case)))
    _head(
        f"{cell} GPUs, 500 pictures: gateways that see what they sent, or read the engines' loads, too",
        "gateways",
        "policy",
        "light tokens",
        "loads read every",
        *_NAMES,
    )
    for gateways in (1, 4, 16):
        ways = [(1, None), (gateways, None), (gateways, 0.25), (gateways, 0.05)]
        for light, look_s in ways[: 1 if gateways == 1 else None]:
            tokens = LIGHT_TOKENS // light
            case = SimulatedCase(cell, Policy.AFFINITY, 500, gateways, look_s, light_tokens=tokens, seed=seed)
            _row(gateways, case.policy, tokens, f"{look_s} s" if look_s else "", *_figures(simulate(case)))
        for policy in (Policy.LEAST_LOADED, Policy.ROUND_ROBIN):
            _row(gateways, policy, "", "", *_figures(simulate(SimulatedCase(cell, policy, 500, gateways, seed=seed))))
    _head(
        "8 GPUs, own pictures: one engine leaves after 10 s and is back, empty, after 20 s", "policy", "time", *_NAMES
    )
    for policy in Policy:
        result = simulate(SimulatedCase(8, policy, away=(10.0, 20.0), measured_s=25.0, seed=seed))
        for words, start_s, end_s in (("before", 5, 10), ("away", 10, 20), ("back", 20, 30)):
            _row(policy, words, *_figures(result.between(start_s, end_s)))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.simulation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--gpus", type=int, nargs="+", default=[2, 8, 64, 1000], help="the sizes of the first two tables"
    )
    parser.add_argument("--cell", type=int, default=64, help="the size of the third")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    tables(given.gpus, given.cell, given.seed)


if __name__ == "__main__":
    main(sys.argv[1:])
