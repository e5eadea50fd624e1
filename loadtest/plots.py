"""Plots as SVG, by matplotlib without a screen: each takes exchanges or steps and returns the element's text."""

import io
import re
from collections.abc import Callable, Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from loadtest.exchange import OK, MeasuredExchange
from loadtest.scenario import Slo
from loadtest.sweep import Sweep

_GREY = "#8a8f98"  # readable on white and on black
_COLOURS = ("#3b82f6", "#f59e0b", "#10b981", "#ef4444", "#a855f7", "#14b8a6")
_MOST_POINTS = 5000  # an SVG with every gap of a long run would be no page


def over_time(exchanges: Sequence[MeasuredExchange]) -> str:
    """First token and whole request against the time each was to be sent; errors on the axis."""

    def draw(axes: Axes) -> None:
        good = _thinned([one for one in exchanges if one.outcome == OK])
        at = [one.at_s for one in good]
        axes.scatter(at, [one.end_s * 1000 for one in good], s=5, color=_COLOURS[1], label="whole request")
        axes.scatter(at, [one.first_s * 1000 for one in good], s=5, color=_COLOURS[0], label="first token")
        bad = _thinned([one for one in exchanges if one.outcome != OK])
        if bad:
            times = [max(one.end_s * 1000, 0.1) for one in bad]
            axes.scatter([one.at_s for one in bad], times, s=14, marker="x", color=_COLOURS[3], label="error")
        axes.set_yscale("log")
        axes.set(xlabel="to be sent at, s", ylabel="ms", title="Latency over time")
        axes.legend(labelcolor=_GREY, framealpha=0)

    return _svg(draw, "latency-over-time")


def distribution(samples: Sequence[float], title: str, bound: float | None = None) -> str:
    """How many samples are at most so long, the tail drawn out; ``bound`` is the SLO's. Samples in ms."""

    def draw(axes: Axes) -> None:
        ordered = sorted(samples)
        count = len(ordered)
        if count:
            picked = sorted({min(count - 1, round(count * (1 - 10 ** (-6 * step / 400)))) for step in range(401)})
            axes.step([max(ordered[i], 1e-3) for i in picked], [(count - i) / count for i in picked], color=_COLOURS[0])
            axes.set_xscale("log")
            axes.set_yscale("log")
        if bound is not None:
            axes.axvline(bound, color=_COLOURS[3], linestyle="--", linewidth=1)
        axes.set(xlabel="ms", ylabel="share above", title=title)

    return _svg(draw, re.sub(r"[^a-z]+", "-", title.lower()).strip("-"))


def rates(sweep: Sweep, slo: Slo) -> str:
    """First token and gap (p99, or the worst where there are too few samples) against the offered rate."""

    def draw(axes: Axes) -> None:
        steps = sorted(sweep.steps, key=lambda one: one.rate)
        for key, label, bound, colour in (
            ("first_token_ms", "first token, p99", slo.first_token_ms, _COLOURS[0]),
            ("between_tokens_ms", "between tokens, p99", slo.between_tokens_ms, _COLOURS[2]),
        ):
            values = [one.figures[key]["p99"] or one.figures[key]["most"] or float("nan") for one in steps]
            axes.plot([one.rate for one in steps], values, marker="o", color=colour, label=label)
            axes.axhline(bound, color=colour, linestyle="--", linewidth=1)
        if sweep.goodput:
            axes.axvline(sweep.goodput, color=_GREY, linewidth=1)
        axes.set_yscale("log")
        axes.set(xlabel="offered, requests/s", ylabel="ms", title="Rate sweep")
        axes.legend(labelcolor=_GREY, framealpha=0)

    return _svg(draw, "rate-sweep")


def _thinned(exchanges: list[MeasuredExchange]) -> list[MeasuredExchange]:
    return exchanges[:: max(1, len(exchanges) // _MOST_POINTS)]


def _svg(draw: Callable[[Axes], None], name: str) -> str:
    # Ids are the same in every run, and different from plot to plot, since all stand in one page.
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9}):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        for spine in axes.spines.values():
            spine.set_color(_GREY)
        axes.tick_params(colors=_GREY, which="both")
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set_color(_GREY)
        axes.grid(alpha=0.25, color=_GREY)
        file = io.BytesIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    whole = file.getvalue().decode()
    element = whole[whole.index("<svg") :]
    return element.replace("<svg ", f'<svg role="img" data-plot="{name}" ', 1)
