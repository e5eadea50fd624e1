"""One load test from beginning to end: make questions, ask them as planned, measure the ceiling, write what was found."""

import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from loadtest import arrivals, ceiling, client_processes, question_pool, terminal_report
from loadtest import statistics as figures_
from loadtest.ceiling import Ceiling
from loadtest.errors import WrongUsage
from loadtest.exchange import OK, MeasuredExchange
from loadtest.question_pool import QuestionEntry
from loadtest.scenario import Scenario
from loadtest.sweep import Sweep, sweep
from loadtest.wire import ServerTarget
from loadtest.words import WORDS


@dataclass(frozen=True)
class LoadPlan:
    """What is asked and how. At most one of ``rate``, ``concurrency``, ``trace`` and ``sweep``; else the scenario's."""

    scenario: Scenario
    target: ServerTarget
    rate: float | None = None
    concurrency: int | None = None
    trace: Path | None = None
    sweep: tuple[float, float] | None = None
    step_s: float = 30.0
    steps: int = 10
    for_s: float = 0.0
    processes: int = 0
    seed: int = 1
    ceiling_s: float = 3.0
    words: Sequence[str] = WORDS

    @property
    def at_once(self) -> int | None:
        """How many at once in a closed loop; None for an open one."""
        if self.rate is not None or self.trace is not None or self.sweep is not None:
            return None
        return self.concurrency or (self.scenario.load.concurrency if self.scenario.load.rate is None else None)


class LoadRun:
    """Runs a plan. ``console`` is where the report is printed."""

    def __init__(self, plan: LoadPlan, console: Console) -> None:
        self._plan, self._console = plan, console
        self._processes = client_processes.processes_for(plan.processes)

    def run(self, out: Path | None) -> bool:
        """Whether every goal was met. Writes into ``out`` if there is one. Raises LoadTestError if nothing was measured."""
        plan, found, ceiling_ = self._plan, None, None
        started = datetime.now(UTC)
        self._check_goals()
        with _folder() as folder:
            if plan.sweep is not None:
                found, run = self._sweep(folder, *plan.sweep)
            else:
                run = self._once(folder)
            if plan.ceiling_s:
                ceiling_ = self._ceiling(folder, 64)
        rows = figures_.summary(run, plan.scenario)
        if found is not None:
            rows["goodput_per_s"] = found.goodput
        verdicts = figures_.verdicts(plan.scenario.goals, rows)
        warnings = ceiling.warnings(rows, ceiling_)
        if found is not None:
            terminal_report.print_sweep(self._console, found)
        terminal_report.print_run(
            self._console, rows, f"{plan.scenario.name}: {plan.scenario.description}", verdicts, warnings
        )
        if ceiling_ is not None:
            self._console.print(
                f"the generator's own ceiling here: {ceiling_.requests_per_s:,.0f} requests/s, {ceiling_.events_per_s:,.0f}"
                " events/s (its server took its share of this machine)",
                soft_wrap=True,
            )
        if out is not None:
            about = self._about(started, run, ceiling_)
            _write(out, plan, about, rows, run.exchanges, verdicts, warnings, found)
            self._console.print(
                f"written: {out / 'report.html'}, results.json, exchanges.jsonl", markup=False, soft_wrap=True
            )
        return all(verdict.met for verdict in verdicts)

    def ceiling(self, at_once: int) -> Ceiling:
        """Only the generator's own."""
        with _folder() as folder:
            return self._ceiling(folder, at_once)

    def _check_goals(self) -> None:
        rows = figures_.summary(client_processes.Run(), self._plan.scenario)
        if self._plan.sweep is not None:
            rows["goodput_per_s"] = None
        try:
            figures_.verdicts(self._plan.scenario.goals, rows)
        except KeyError as error:
            raise WrongUsage(f"there is no figure {error} for a goal; see docs/performance.md") from None

    def _once(self, folder: Path) -> client_processes.Run:
        plan, load = self._plan, self._plan.scenario.load
        at_s, at_once = None, plan.at_once
        if plan.trace is not None:
            at_s = arrivals.trace(plan.trace)
        elif at_once is None:
            rate = plan.rate or load.rate
            if rate is None:
                raise WrongUsage("the scenario says neither rate nor concurrency: give --rate or --concurrency")
            at_s = arrivals.poisson(rate, load.requests, plan.seed)
        count = len(at_s) if at_s is not None else load.requests
        entries = self._questions(folder, count + load.warm_up, plan.seed)
        with self._watched("asking", count) as told:
            return client_processes.run(
                plan.target,
                plan.scenario,
                entries,
                at_s=at_s,
                at_once=at_once or 0,
                for_s=plan.for_s,
                warm=load.warm_up,
                processes=self._processes,
                seed=plan.seed,
                words=plan.words,
                progress=told,
            )

    def _sweep(self, folder: Path, low: float, high: float) -> tuple[Sweep, client_processes.Run]:
        plan, warm, last = self._plan, self._plan.scenario.load.warm_up, client_processes.Run()

        def measure(rate: float) -> figures_.Step:
            nonlocal warm, last
            # Others for every rate: a question that was asked before would be answered out of a cache.
            seed = plan.seed + 7919 * (len(done) + 1)
            at_s = arrivals.poisson(rate, max(10, round(rate * plan.step_s)), seed)
            place = folder / str(len(done))
            place.mkdir()
            entries = self._questions(place, len(at_s) + warm, seed)
            with self._watched(f"{rate:.2f} a second", len(at_s)) as told:
                last = client_processes.run(
                    plan.target,
                    plan.scenario,
                    entries,
                    at_s=at_s,
                    warm=warm,
                    processes=self._processes,
                    seed=seed,
                    progress=told,
                )
            shutil.rmtree(place)
            # What was offered is what the dice gave, but the sweep goes by what was meant.
            last.rate, warm = rate, 0
            done.append(rate)
            return figures_.step(last, plan.scenario)

        done: list[float] = []
        return sweep(low, high, plan.steps, measure), last

    def _ceiling(self, folder: Path, at_once: int) -> Ceiling:
        place = folder / "ceiling"
        place.mkdir()
        entries = self._questions(place, 64, self._plan.seed)
        return ceiling.measure(self._plan.scenario, entries, self._processes, self._plan.ceiling_s, at_once)

    def _questions(self, folder: Path, count: int, seed: int) -> list[QuestionEntry]:
        with terminal_report.progress("making questions", count) as told:
            return question_pool.make(
                self._plan.scenario, count, seed, folder, lambda done, _: told(done, ""), self._plan.words
            )

    @contextmanager
    def _watched(self, what: str, count: int) -> Iterator[Callable[[list[MeasuredExchange], float], None]]:
        with terminal_report.progress(what, count) as told:

            def progress(exchanges: list[MeasuredExchange], now_s: float) -> None:
                bad = sum(one.outcome != OK for one in exchanges)
                rate = len(exchanges) / now_s if now_s else 0.0
                told(sum(not one.turn for one in exchanges), f"{rate:.1f}/s" + (f", {bad} errors" if bad else ""))

            yield progress

    def _about(self, started: datetime, run: client_processes.Run, ceiling_: Ceiling | None) -> dict[str, Any]:
        plan = self._plan
        return {
            "started": started.isoformat(timespec="seconds"),
            "url": plan.target.url,
            "model": plan.target.model,
            "loop": f"closed, {run.at_once} at once"
            if run.at_once
            else "open, recorded"
            if plan.trace
            else "open, Poisson",
            "seed": plan.seed,
            "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
            "generating processes": self._processes,
            "generator's ceiling, requests/s": round(ceiling_.requests_per_s) if ceiling_ else "not measured",
            "generator's ceiling, events/s": round(ceiling_.events_per_s) if ceiling_ else "not measured",
        }


def _write(
    out: Path,
    plan: LoadPlan,
    about: dict[str, Any],
    rows: figures_.Figures,
    exchanges: list[MeasuredExchange],
    verdicts: list[figures_.Verdict],
    warnings: list[str],
    found: Sweep | None,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    exchanges.sort(key=lambda one: one.at_s)
    results = {
        "about": about,
        "scenario": plan.scenario.model_dump(exclude={"kinds"}),
        "figures": rows,
        "goals": [vars(one) for one in verdicts],
        "warnings": warnings,
        "sweep": None if found is None else {**vars(found), "steps": [vars(one) for one in found.steps]},
    }
    (out / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with (out / "exchanges.jsonl").open("w", encoding="utf-8") as file:
        for one in exchanges:
            names = (name for name in one.__slots__ if name != "gaps_s")
            file.write(json.dumps({name: getattr(one, name) for name in names}, ensure_ascii=False) + "\n")
    from loadtest.html_report import (
        page,  # only now: matplotlib takes a second, and who wants no report need not have it
    )

    html = page(plan.scenario, about, rows, exchanges, verdicts, warnings, found)
    (out / "report.html").write_text(html, encoding="utf-8")


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="loadtest-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
