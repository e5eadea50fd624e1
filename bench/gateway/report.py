"""From the figures of all rounds to a table: medians, what a target adds to the direct way, ratios; measures nothing."""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from bench.gateway.scenarios import Figures

DIRECT = "direct"
Rounds = dict[str, dict[str, list[Figures]]]  # target, scenario, one Figures a round


@dataclass(frozen=True)
class ReportRow:
    """One figure: which scenario's, whether it counts from the direct way's, and the bar (an upper one unless ``at_least``)."""

    what: str
    scenario: str
    key: str
    added: bool = False
    at_least: bool = False
    bar: float | None = None


ROWS = (
    ReportRow("small, 1 at once: added p50, ms", "small at 1", "p50_ms", added=True, bar=1.5),
    ReportRow("small, 1 at once: added p99, ms", "small at 1", "p99_ms", added=True, bar=4),
    ReportRow("small, 16 at once: added p50, ms", "small at 16", "p50_ms", added=True),
    ReportRow("small, 16 at once: added p99, ms", "small at 16", "p99_ms", added=True),
    ReportRow("small, 64 at once: added p50, ms", "small at 64", "p50_ms", added=True),
    ReportRow("small, 64 at once: added p99, ms", "small at 64", "p99_ms", added=True),
    ReportRow("small, 16 at once: requests/s", "small at 16", "per_s", at_least=True, bar=1200),
    ReportRow("small, 16 at once: CPU, µs a request", "small at 16", "cpu_us"),
    ReportRow("  of it the ledger's", "small at 16", "cpu_ledger_us"),
    ReportRow("1 MiB image, 8 at once: requests/s", "images at 8", "per_s", at_least=True, bar=300),
    ReportRow("1 MiB image, 8 at once: CPU, µs a request", "images at 8", "cpu_us"),
    ReportRow("one fast stream: events/s", "one fast stream", "per_s", at_least=True, bar=60_000),
    ReportRow("8 fast streams: events/s", "eight fast streams", "per_s", at_least=True, bar=60_000),
    ReportRow("8 fast streams: CPU, µs an event", "eight fast streams", "cpu_us"),
    ReportRow("128 streams at 40/s: added first event p50, ms", "paced streams", "first_p50_ms", added=True, bar=5),
    ReportRow("128 streams at 40/s: added first event p99, ms", "paced streams", "first_p99_ms", added=True),
    ReportRow("128 streams at 40/s: largest gap, ms", "paced streams", "gap_ms", bar=100),
    ReportRow("128 streams at 40/s: gaps over 100 ms", "paced streams", "over_100", bar=0),
    ReportRow("128 streams at 40/s: gaps over 250 ms", "paced streams", "over_250", bar=0),
    ReportRow("128 streams at 40/s: CPU, µs an event", "paced streams", "cpu_us", bar=100),
    ReportRow("client leaves a wait: engine told, ms", "leaves a wait", "most_ms", bar=50),
    ReportRow("client leaves a stream: engine told, ms", "leaves a stream", "most_ms", bar=50),
    ReportRow("memory before, MiB", "memory", "before_mib"),
    ReportRow("memory after, MiB", "memory", "after_mib"),
)
METHOD = """\
added       a way's percentile less the direct way's of the same round; in (parentheses) the direct way's own
small       closed loop: each connection asks a short question again as soon as it is answered
1 MiB image closed loop: different JPEGs of noise, the body just under a mebibyte
fast        4,000 events of 220 bytes a stream, eight a write, as fast as they are taken; then the next stream
128 streams each event a write of its own, 25 ms apart; a gap is between two reads; streams begin within one second
leaves      from the client's close to the close of the engine's connection; ten times, the slowest
CPU         user and kernel, of all processes that the way has
memory      resident, of all these processes; before: after a warm-up, after: after everything above"""


def figure(rounds: Rounds, target: str, row: ReportRow) -> float | None:
    """The median of a target's rounds; None where it was not measured."""
    own = [one[row.key] for one in rounds.get(target, {}).get(row.scenario, []) if row.key in one]
    if not own:
        return None
    if not row.added:
        return statistics.median(own)
    if target == DIRECT:
        return 0.0
    # Round by round, since what else the machine does changes in between.
    base = [one[row.key] for one in rounds[DIRECT][row.scenario]]
    return statistics.median(mine - theirs for mine, theirs in zip(own, base, strict=True))


def table(rounds: Rounds) -> str:
    """All figures, the direct way first; absolute values of the direct way also where others are told what they add."""
    targets = list(rounds)
    lines = [["", *targets, "bar", ""]]
    for row in ROWS:
        values = [figure(rounds, target, row) for target in targets]
        if all(value is None for value in values):
            continue
        cells = [_number(value) for value in values]
        if row.added:
            own = statistics.median(one[row.key] for one in rounds[DIRECT][row.scenario])
            cells[0] = f"({_number(own)})"
        lines.append([row.what, *cells, _bar(row), _held(row, figure(rounds, "vitrine", row))])
    return _draw(lines)


def ratios(rounds: Rounds) -> str:
    """Vitrine's rates over everybody's: above 1 it is the faster one."""
    others = [target for target in rounds if target != "vitrine"]
    lines = [["vitrine ÷", *others]]
    for row in ROWS:
        ours = figure(rounds, "vitrine", row)
        if row.at_least and ours is not None:
            lines.append([row.what, *(_ratio(ours, figure(rounds, other, row)) for other in others)])
    return _draw(lines)


def as_json(rounds: Rounds) -> dict[str, object]:
    """Medians by target and figure, and the rounds that they are of. What never ended is null."""
    medians = {target: {row.what: _finite(figure(rounds, target, row)) for row in ROWS} for target in rounds}
    return {"medians": medians, "rounds": _deep(rounds, _finite)}


def _deep(value: object, leaf: Callable[[float], float | None]) -> object:
    if isinstance(value, dict):
        return {name: _deep(inner, leaf) for name, inner in value.items()}
    if isinstance(value, list):
        return [_deep(inner, leaf) for inner in value]
    assert isinstance(value, int | float)
    return leaf(value)


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else round(value, 4)


def _ratio(ours: float, theirs: float | None) -> str:
    return "–" if not theirs else f"{ours / theirs:.3g}"


def _bar(row: ReportRow) -> str:
    return "" if row.bar is None else f"{'≥' if row.at_least else '≤'} {row.bar:,g}"


def _held(row: ReportRow, value: float | None) -> str:
    if row.bar is None or value is None:
        return ""
    return "held" if (value >= row.bar if row.at_least else value <= row.bar) else "MISSED"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if math.isinf(value):
        return "not told"
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _draw(lines: list[list[str]]) -> str:
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    drawn = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    drawn.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(drawn)
