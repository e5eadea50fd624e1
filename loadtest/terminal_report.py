"""The report for a terminal: tables of text, with rich where it is one; and the progress of a run."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from loadtest.statistics import BEYOND, SHARES, Figures, Verdict
from loadtest.sweep import Sweep

ROWS = {
    "first_token_ms": "first token, ms",
    "between_tokens_ms": "between tokens, ms",
    "per_token_ms": "per token of one request, ms",
    "exchange_ms": "whole request, ms",
    "prompt_tokens": "tokens in",
    "answer_tokens": "tokens out",
}
_PLAIN_EVERY_S = 5.0


def number(value: float | None) -> str:
    """Short, and a dash for what is not known."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spreads(figures: Figures, title: str) -> Table:
    """One row for each thing that was measured of every request."""
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in ("samples", "mean", *SHARES, "most"):
        table.add_column(column.replace("p999", "p99.9"), justify="right")
    for key, label in ROWS.items():
        row = figures[key]
        table.add_row(label, *(number(row[column]) for column in ("samples", "mean", *SHARES, "most")))
    return table


def groups(rows: Figures, title: str) -> Table:
    """One row for each part of a mix, or each turn of a conversation."""
    table = Table(title=title, title_justify="left")
    columns = ("first_token_ms", "between_tokens_ms", "exchange_ms")
    table.add_column("")
    table.add_column("requests", justify="right")
    for key in columns:
        for name in ("p50", "p99"):
            table.add_column(f"{ROWS[key].removesuffix(', ms')} {name}", justify="right")
    table.add_column("tokens in", justify="right")
    for name, row in rows.items():
        seen = [number(row[key][share]) for key in columns for share in ("p50", "p99")]
        table.add_row(name, number(row["exchange_ms"]["samples"]), *seen, number(row["prompt_tokens"]["mean"]))
    return table


def rates(figures: Figures) -> list[tuple[str, str]]:
    """What is one figure of the whole run, by its label."""
    rows = [
        ("requests", f"{figures['exchanges']:,}, completed {figures['completed']:,}, in {figures['took_s']:.1f} s"),
        ("offered, requests/s", number(figures["offered_per_s"])),
        ("at once", number(figures["at_once"])),
        ("completed, requests/s", number(figures["requests_per_s"])),
        ("  while all were at work", number(figures["steady_requests_per_s"])),
        ("  within the SLO", number(figures["good_requests_per_s"])),
        ("tokens in, /s", number(figures["tokens_in_per_s"])),
        ("tokens out, /s", number(figures["tokens_out_per_s"])),
    ]
    return [(label, value) for label, value in rows if value != "–"]


def _printable(text: str) -> str:
    """The text as one line that steers no terminal: the server that is measured chose some of its words."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def errors(figures: Figures) -> list[str]:
    """A line for each kind of error."""
    return [
        _printable(
            f"{count:,} × {kind}" + (f": {figures['errors_said'][kind]}" if kind in figures["errors_said"] else "")
        )
        for kind, count in sorted(figures["errors"].items(), key=lambda item: -item[1])
    ]


def print_run(console: Console, figures: Figures, title: str, verdicts: list[Verdict], warnings: list[str]) -> None:
    """Everything about one run."""
    table = Table(title=title, title_justify="left", show_header=False)
    for label, value in rates(figures):
        table.add_row(label, value)
    console.print(table)
    console.print(spreads(figures, "of every request"))
    for group in ("kinds", "turns"):
        if figures[group]:
            console.print(groups(figures[group], f"of each of the {group}"))
    if any(figures[key][name] is None for key in ROWS for name in SHARES):
        console.print(f"–: too few samples for that percentile ({BEYOND} must lie beyond it: p99 needs {BEYOND * 100})")
    for line in errors(figures):
        console.print(f"error: {line}", style="red", markup=False, soft_wrap=True)
    for line in warnings:
        console.print(f"WARNING {line}", style="yellow", markup=False, soft_wrap=True)
    for verdict in verdicts:
        console.print(
            f"{'met   ' if verdict.met else 'MISSED'} {verdict.text}",
            style="green" if verdict.met else "red",
            markup=False,
            soft_wrap=True,
        )


def print_sweep(console: Console, sweep: Sweep) -> None:
    """A row for each rate, and the goodput."""
    table = Table(title="rates, in the order they were tried", title_justify="left")
    for column in (
        "offered/s",
        "requests",
        "completed/s",
        "first p50",
        "first p99",
        "gap p50",
        "gap p99",
        "errors",
        "held",
    ):
        table.add_column(column, justify="right")
    for one in sweep.steps:
        rows = one.figures
        table.add_row(
            f"{one.rate:.2f}",
            number(rows["exchanges"]),
            number(rows["requests_per_s"]),
            *(number(rows[key][name]) for key in ("first_token_ms", "between_tokens_ms") for name in ("p50", "p99")),
            number(sum(rows["errors"].values())),
            "yes" if one.held else one.why,
        )
    console.print(table)
    if sweep.goodput is None:
        console.print("goodput: none, not even the lowest rate was served within the SLO")
    else:
        note = "" if sweep.complete else " at least: no rate close above it was tried that failed"
        console.print(f"goodput: {sweep.goodput:.2f} requests/s{note}")


def console() -> Console:
    """Standard output; wide enough for every table where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else 132, highlight=False)


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """A bar on a terminal, else a line now and then; on standard error, so that a report can be piped."""
    if sys.stderr.isatty():
        columns: list[Any] = [
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        ]
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total, note="")
            yield lambda done, note: bar.update(task, completed=done, note=note)
        return
    last = time.monotonic()

    def line(done: int, note: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _PLAIN_EVERY_S:
            last = time.monotonic()
            print(f"{what}: {done:,} of {total:,} {note}".rstrip(), file=sys.stderr, flush=True)

    yield line
