"""From exchanges to figures: percentiles where there are samples enough, rates, errors by kind, goals; pure."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.client_processes import Run
from loadtest.exchange import OK, MeasuredExchange
from loadtest.scenario import Scenario, Slo, at_most

# So many samples must lie beyond a percentile, or one odd sample would decide it: p99 needs 500.
BEYOND = 5
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}

Figures = dict[str, Any]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest sample that at least ``share`` of all samples are not above (nearest rank); samples in order."""
    # The product of 0.07 and 100 is 7.000000000000001, whose ceiling would be one too many.
    return ordered[max(0, math.ceil(round(share * len(ordered), 9)) - 1)]


def enough(count: int, share: float) -> bool:
    """Whether ``count`` samples say where that percentile is."""
    return round(count * (1 - share), 9) >= BEYOND


def spread(samples: Iterable[float]) -> Figures:
    """Count, mean, percentiles (None without samples enough) and the most, in the samples' unit."""
    ordered = sorted(samples)
    count = len(ordered)
    found: Figures = {"samples": count, "mean": sum(ordered) / count if count else None}
    for name, share in SHARES.items():
        found[name] = percentile(ordered, share) if enough(count, share) else None
    found["most"] = ordered[-1] if ordered else None
    return found


def summary(run: Run, scenario: Scenario) -> Figures:
    """Every figure of a run. Times in ms; rates over ``took_s``, from the start until the last answer ended."""
    good = [one for one in run.exchanges if one.outcome == OK]
    errors = Counter(one.outcome for one in run.exchanges if one.outcome != OK)
    said: dict[str, str] = {}
    for one in run.exchanges:
        if one.said:
            said.setdefault(one.outcome, one.said)
    took_s = run.took_s or math.inf
    within = sum(_within(one, scenario.slo) for one in good)
    return {
        "exchanges": len(run.exchanges),
        "completed": len(good),
        "errors": dict(errors),
        "errors_said": said,
        "errors_share": sum(errors.values()) / len(run.exchanges) if run.exchanges else 1.0,
        "at_once": run.at_once or None,
        "offered_per_s": run.rate or None,
        "took_s": run.took_s,
        "requests_per_s": len(good) / took_s,
        "steady_requests_per_s": steady_per_s(run),
        "good_requests_per_s": within / took_s,
        "tokens_in_per_s": sum(one.prompt_tokens for one in good) / took_s,
        "tokens_out_per_s": sum(one.answer_tokens for one in good) / took_s,
        **_spreads(good),
        "kinds": _each(good, lambda one: one.kind),
        "turns": _each(good, lambda one: f"turn {one.turn + 1}"),
        "generator": {
            "processes": len(run.health),
            "cpu_share_most": max((one.cpu_share for one in run.health), default=0.0),
            "lag_p99_ms": max((one.lag_p99_ms for one in run.health), default=0.0),
            "lag_most_ms": max((one.lag_most_ms for one in run.health), default=0.0),
            "sent_late_ms": spread(one.sent_s * 1000 for one in run.exchanges),
        },
    }


def steady_per_s(run: Run) -> float | None:
    """Completed requests a second while all ``at_once`` were at work: from when the first of them were answered until the
    last was sent. None in an open loop and where that time is too short to say."""
    good = sorted(one.at_s + one.end_s for one in run.exchanges if one.outcome == OK)
    if not run.at_once or len(good) < 3 * run.at_once:
        return None
    start, end = good[run.at_once - 1], max(one.at_s for one in run.exchanges)
    within = sum(start < at <= end for at in good)
    return within / (end - start) if end > start and within else None


def _within(one: MeasuredExchange, slo: Slo) -> bool:
    return one.first_s * 1000 <= slo.first_token_ms and (one.per_token_s or 0.0) * 1000 <= slo.between_tokens_ms


def _spreads(good: Sequence[MeasuredExchange]) -> Figures:
    return {
        "first_token_ms": spread(one.first_s * 1000 for one in good if one.first_s),
        "first_event_ms": spread(one.first_event_s * 1000 for one in good),
        "between_tokens_ms": spread(gap * 1000 for one in good for gap in one.gaps_s),
        "per_token_ms": spread(each * 1000 for one in good if (each := one.per_token_s) is not None),
        "exchange_ms": spread(one.end_s * 1000 for one in good),
        "prompt_tokens": spread(one.prompt_tokens for one in good),
        "answer_tokens": spread(one.answer_tokens for one in good),
        "answer_tokens_least": min((one.answer_tokens for one in good), default=None),
    }


def _each(good: Sequence[MeasuredExchange], name: Callable[[MeasuredExchange], str]) -> Figures:
    """The spreads of each group, where there are several."""
    groups: dict[str, list[MeasuredExchange]] = {}
    for one in good:
        groups.setdefault(name(one), []).append(one)
    return {group: _spreads(members) for group, members in sorted(groups.items())} if len(groups) > 1 else {}


@dataclass(frozen=True)
class Verdict:
    """One goal. ``seen`` is None where there were too few samples to say, which is not met either."""

    goal: str
    bound: float
    seen: float | None
    met: bool

    @property
    def text(self) -> str:
        seen = "too few samples to say" if self.seen is None else f"{self.seen:,.4g}"
        return f"{self.goal} {'≤' if at_most(self.goal) else '≥'} {self.bound:,.4g}: {seen}"


def verdicts(goals: dict[str, float], figures: Figures) -> list[Verdict]:
    """Every goal against the figures. Raises KeyError for a goal that no figure has."""
    found = []
    for goal, bound in goals.items():
        seen = figure(figures, goal)
        met = seen is not None and (seen <= bound if at_most(goal) else seen >= bound)
        found.append(Verdict(goal, bound, seen, met))
    return found


def figure(figures: Figures, name: str) -> float | None:
    """A figure by a goal's name: ``requests_per_s``, ``first_token_p99_ms`` and so on. Raises KeyError for any other."""
    if name in figures and not isinstance(figures[name], dict | str):
        return float(figures[name]) if figures[name] is not None else None
    words = name.removesuffix("_ms").split("_")
    which, of = words[-1], "_".join(words[:-1])
    for key in (f"{of}_ms", of):
        if isinstance(figures.get(key), dict) and which in figures[key]:
            value = figures[key][which]
            return float(value) if value is not None else None
    raise KeyError(name)


@dataclass(frozen=True)
class Step:
    """One rate of a sweep. ``late`` and ``slow`` are the shares of requests and gaps that were over the bounds."""

    rate: float
    held: bool
    why: str
    late: float
    slow: float
    figures: Figures


def step(run: Run, scenario: Scenario) -> Step:
    """Whether a rate was served within the SLO. The share over a bound is counted, which needs no percentile: with few
    requests it decides all the same, and coarsely, as the table says."""
    slo, figures = scenario.slo, summary(run, scenario)
    good = [one for one in run.exchanges if one.outcome == OK]
    firsts = [one.first_s * 1000 > slo.first_token_ms for one in good]
    gaps = [gap * 1000 > slo.between_tokens_ms for one in good for gap in one.gaps_s]
    failed = len(run.exchanges) - len(good)
    # A request that failed had no first token in time.
    late = (sum(firsts) + failed) / max(1, len(run.exchanges))
    slow = sum(gaps) / max(1, len(gaps))
    allowed = 1 - slo.share + 1e-9
    why = ""
    if failed > allowed * len(run.exchanges):
        why = f"{failed} failed"
    elif late > allowed:
        why = f"{late:.1%} of the first tokens late"
    elif slow > allowed:
        why = f"{slow:.1%} of the gaps too long"
    return Step(run.rate, not why and bool(good), why or ("" if good else "nothing came"), late, slow, figures)
