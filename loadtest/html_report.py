"""The report as one HTML page: no script, nothing fetched, light and dark; makes text, writes no file."""

from collections.abc import Sequence
from html import escape
from typing import Any

from loadtest import plots, terminal_report
from loadtest.exchange import OK, MeasuredExchange
from loadtest.scenario import Scenario
from loadtest.statistics import SHARES, Figures, Verdict
from loadtest.sweep import Sweep

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #8885; text-align: right }
th:first-child, td:first-child { text-align: left }
svg { width: 100%; height: auto }
.missed, .error { color: #dc2626 } .met { color: #16a34a } .warning { color: #d97706 }
"""


def page(
    scenario: Scenario,
    about: dict[str, Any],
    figures: Figures,
    exchanges: Sequence[MeasuredExchange],
    verdicts: list[Verdict],
    warnings: list[str],
    sweep: Sweep | None,
) -> str:
    """The whole page. ``about`` says how it was run."""
    good = [one for one in exchanges if one.outcome == OK]
    parts = [
        f"<h1>Load test: {escape(scenario.name)}</h1><p>{escape(scenario.description)}</p>",
        _pairs([(name, str(value)) for name, value in about.items()]),
        *(f'<p class="warning">WARNING {escape(line)}</p>' for line in warnings),
        *(_verdict(one) for one in verdicts),
        *([_sweep(sweep, scenario)] if sweep else []),
        "<h2>The last run</h2>" if sweep else "<h2>The run</h2>",
        _pairs(terminal_report.rates(figures)),
        _spreads(figures),
        *(
            f"<h3>{escape(name)}</h3>{_spreads(rows)}"
            for group in ("kinds", "turns")
            for name, rows in figures[group].items()
        ),
        *(f'<p class="error">error: {escape(line)}</p>' for line in terminal_report.errors(figures)),
        plots.over_time(exchanges),
        plots.distribution([one.first_s * 1000 for one in good], "First token", scenario.slo.first_token_ms),
        plots.distribution(
            [gap * 1000 for one in good for gap in one.gaps_s], "Between tokens", scenario.slo.between_tokens_ms
        ),
        plots.distribution([one.end_s * 1000 for one in good], "Whole request"),
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Load test: {escape(scenario.name)}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _verdict(one: Verdict) -> str:
    return f'<p class="{"met" if one.met else "missed"}">{"met" if one.met else "MISSED"}: {escape(one.text)}</p>'


def _pairs(rows: list[tuple[str, str]]) -> str:
    return "<table>" + "".join(f"<tr><td>{escape(a)}</td><td>{escape(b)}</td></tr>" for a, b in rows) + "</table>"


def _spreads(figures: Figures) -> str:
    columns = ("samples", "mean", *SHARES, "most")
    head = "".join(f"<th>{column.replace('p999', 'p99.9')}</th>" for column in columns)
    body = "".join(
        f"<tr><td>{label}</td>{''.join(f'<td>{terminal_report.number(figures[key][column])}</td>' for column in columns)}</tr>"
        for key, label in terminal_report.ROWS.items()
    )
    return f"<table><tr><th></th>{head}</tr>{body}</table>"


def _sweep(sweep: Sweep, scenario: Scenario) -> str:
    rows = "".join(
        f"<tr><td>{one.rate:.2f}</td><td>{one.figures['exchanges']:,}</td><td>{terminal_report.number(one.figures['requests_per_s'])}</td>"
        f"<td>{one.late:.2%}</td><td>{one.slow:.2%}</td><td>{'yes' if one.held else escape(one.why)}</td></tr>"
        for one in sweep.steps
    )
    slo = scenario.slo
    said = f"{sweep.goodput:.2f} requests/s{'' if sweep.complete else ' at least'}" if sweep.goodput else "none"
    return (
        f"<h2>Goodput: {said}</h2><p>{slo.share:.0%} of the first tokens within {slo.first_token_ms:.0f} ms and of the gaps within"
        f" {slo.between_tokens_ms:.0f} ms.</p>{plots.rates(sweep, slo)}<table><tr><th>offered/s</th><th>requests</th>"
        f"<th>completed/s</th><th>late</th><th>too long</th><th>held</th></tr>{rows}</table>"
    )
