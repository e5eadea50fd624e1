"""Goodput: the highest rate that is served within the SLO, found by doubling and then halving; decides, asks nothing itself."""

from collections.abc import Callable
from dataclasses import dataclass, field

from loadtest.statistics import Step

CLOSE = 1.06  # the two rates between which the bound lies are this close at the end


@dataclass
class Sweep:
    """``goodput`` is the highest rate that held below every rate that did not; None if none did.

    ``complete`` is False where the highest rate of all held still, or the steps ran out: then goodput is a lower bound.
    """

    steps: list[Step] = field(default_factory=list)
    goodput: float | None = None
    complete: bool = False


def sweep(low: float, high: float, most_steps: int, measure: Callable[[float], Step]) -> Sweep:
    """From ``low`` up to ``high`` requests a second, with at most ``most_steps`` runs of ``measure``."""
    found = Sweep()
    held, failed, rate = 0.0, 0.0, low
    for _ in range(most_steps):
        one = measure(rate)
        found.steps.append(one)
        if one.held:
            held = rate
        else:
            failed = rate
        if failed:
            if (held and failed / held <= CLOSE) or failed / 2 < low * 0.1:
                break
            # Below the first rate of all nothing has held yet: halve.
            rate = (held * failed) ** 0.5 if held else failed / 2
        elif rate >= high:
            break
        else:
            rate = min(high, rate * 2)
    found.goodput = held or None
    found.complete = bool(held and failed and failed / held <= CLOSE)
    return found
