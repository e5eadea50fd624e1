"""When requests come, in seconds from the start: a Poisson process with a seed, or a recorded trace; pure, knows no server."""

import json
import random
from pathlib import Path

from loadtest.errors import WrongUsage


def poisson(rate: float, count: int, seed: int) -> list[float]:
    """``count`` arrivals at ``rate`` a second on average; the same for the same seed."""
    gaps = random.Random(seed)
    at_s, found = 0.0, []
    for _ in range(count):
        at_s += gaps.expovariate(rate)
        found.append(at_s)
    return found


def trace(path: Path) -> list[float]:
    """Arrivals of a recorded trace, the first one at 0: a number a line, or a JSON object a line with ``at_s``.

    What a run wrote as exchanges.jsonl is such a trace. Raises WrongUsage naming the line.
    """
    found = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"trace {path} cannot be read: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            at_s = float(value["at_s"] if isinstance(value, dict) else value)
        except (ValueError, KeyError, TypeError):
            raise WrongUsage(f"trace {path}, line {number}: expected seconds, or an object with at_s") from None
        if not 0 <= at_s < 1e9:
            raise WrongUsage(f"trace {path}, line {number}: {at_s} is not a time")
        if isinstance(value, dict) and value.get("turn"):
            continue  # a later turn of a conversation: the scenario makes its own
        found.append(at_s)
    if not found:
        raise WrongUsage(f"trace {path} has no arrivals")
    found.sort()
    return [at_s - found[0] for at_s in found]
