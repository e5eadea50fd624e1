"""``vitrine loadtest``: only parses, prints, writes the report and sets the exit status.

0: every goal met. 1: a goal missed, or nothing measured. 64: wrong usage.
"""

import math
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from loadtest import scenario as scenario_
from loadtest import terminal_report
from loadtest.errors import LoadTestError, WrongUsage
from loadtest.load_run import LoadPlan, LoadRun
from loadtest.wire import ServerTarget
from loadtest.words import WORDS, of_tokenizer

WRONG_USAGE = 64

app = typer.Typer(add_completion=False, help="Measure a server of GLM-4V from outside, over HTTP.")


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number; write one")
    return value


ScenarioArgument = Annotated[str, typer.Argument(help="A built-in scenario's name, or a .toml file.")]
ProcessesOption = Annotated[int, typer.Option(help="Generating processes; 0 for a quarter of the cores.", min=0)]
SeedOption = Annotated[int, typer.Option(help="Of questions, pictures and arrivals.")]


@app.command()
def run(
    scenario: ScenarioArgument = "vqa",
    url: Annotated[str, typer.Option(help="http://host:port, https://host or unix:/a.sock.")] = "http://127.0.0.1:8080",
    key: Annotated[str, typer.Option(help="The API key, or @FILE that holds it.", envvar="LOADTEST_KEY")] = "",
    model: Annotated[str, typer.Option(help="The model's name.")] = "glm-4v",
    cacert: Annotated[str, typer.Option(help="Authorities (PEM) for https.")] = "",
    rate: Annotated[
        float | None, typer.Option(help="Open loop: so many requests a second, Poisson.", min=0.001, callback=_finite)
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Closed loop: so many at once.", min=1)] = None,
    trace: Annotated[Path | None, typer.Option(help="Open loop: arrivals from this file.")] = None,
    sweep: Annotated[str, typer.Option(help="LOW:HIGH requests/s: find the goodput between them.")] = "",
    step_s: Annotated[float, typer.Option(help="Seconds of each rate of a sweep.", min=1, callback=_finite)] = 30.0,
    steps: Annotated[int, typer.Option(help="Rates of a sweep at most.", min=2)] = 10,
    requests: Annotated[
        int | None, typer.Option(help="Conversations in all, instead of the scenario's.", min=1)
    ] = None,
    for_s: Annotated[float, typer.Option(help="Closed loop: ask for so long at most.", min=0, callback=_finite)] = 0.0,
    warm_up: Annotated[int | None, typer.Option(help="Asked before the clock starts.", min=0)] = None,
    timeout_s: Annotated[
        float | None, typer.Option(help="Deadline of each request.", min=0.1, callback=_finite)
    ] = None,
    goal: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, besides the scenario's; repeat for several.")
    ] = None,
    no_goals: Annotated[bool, typer.Option("--no-goals", help="Forget the scenario's goals.")] = False,
    words: Annotated[Path | None, typer.Option(help="A tokenizer.json whose words to ask in.")] = None,
    processes: ProcessesOption = 0,
    seed: SeedOption = 1,
    ceiling: Annotated[
        float, typer.Option(help="Seconds to measure the generator's own ceiling; 0 for not.", min=0, callback=_finite)
    ] = 3.0,
    out: Annotated[Path | None, typer.Option(help="Folder for report.html, results.json, exchanges.jsonl.")] = None,
) -> None:
    """Ask, measure, report."""
    chosen = scenario_.changed(
        scenario_.load(scenario),
        rate=rate,
        concurrency=concurrency,
        requests=requests,
        warm_up=warm_up,
        timeout_s=timeout_s,
    )
    if sum((rate is not None, concurrency is not None, trace is not None, bool(sweep))) > 1:
        raise WrongUsage("choose one of --rate, --concurrency, --trace and --sweep")
    goals = {**({} if no_goals or sweep else chosen.goals), **_goals(goal or [])}
    target = ServerTarget(url, _key(key), model, cacert)
    target.check()
    plan = LoadPlan(
        chosen.model_copy(update={"goals": goals}),
        target,
        rate=rate,
        concurrency=concurrency,
        trace=trace,
        sweep=_bounds(sweep),
        step_s=step_s,
        steps=steps,
        for_s=for_s,
        processes=processes,
        seed=seed,
        ceiling_s=ceiling,
        words=of_tokenizer(words) if words else WORDS,
    )
    raise typer.Exit(0 if LoadRun(plan, terminal_report.console()).run(out) else 1)


@app.command()
def ceiling(
    scenario: ScenarioArgument = "text",
    seconds: Annotated[float, typer.Option(help="For how long.", min=0.2, callback=_finite)] = 5.0,
    at_once: Annotated[int, typer.Option(help="Requests at once.", min=1)] = 64,
    processes: ProcessesOption = 0,
    seed: SeedOption = 1,
) -> None:
    """What the generator itself can do, against a server that answers at once."""
    chosen = scenario_.load(scenario)
    plan = LoadPlan(chosen, ServerTarget("http://127.0.0.1"), processes=processes, seed=seed, ceiling_s=seconds)
    found = LoadRun(plan, terminal_report.console()).ceiling(at_once)
    terminal_report.console().print(
        f"{scenario}: {found.requests_per_s:,.0f} requests/s of {found.body_bytes / 1024:,.0f} KiB, {found.events_per_s:,.0f}"
        f" events/s, first event after {found.first_ms:.1f} ms (median, {at_once} at once), {found.processes} process(es),"
        " its server on the same machine",
        soft_wrap=True,
    )


@app.command()
def scenarios() -> None:
    """List the built-in scenarios."""
    for name in scenario_.names():
        print(f"{name:<14} {scenario_.load(name).description}")


def _key(text: str) -> str:
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"the key's file {text[1:]} cannot be read: {error}") from None


def _goals(given: list[str]) -> dict[str, float]:
    found = {}
    for one in given:
        name, _, value = one.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise WrongUsage(f"goal {one!r} is not NAME=VALUE") from None
        if not math.isfinite(found[name]):
            raise WrongUsage(f"goal {one!r} can never be met or missed; write a finite number")
    return found


def _bounds(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    low, _, high = text.partition(":")
    try:
        bounds = float(low), float(high)
    except ValueError:
        raise WrongUsage(f"--sweep {text!r}: expected LOW:HIGH, two rates") from None
    if not 0 < bounds[0] < bounds[1] < math.inf:
        raise WrongUsage(f"--sweep {text!r}: expected two finite rates, the lower one first")
    return bounds


def main(arguments: list[str] | None = None, program: str | None = None) -> int:
    """Run the command line; the exit status as in docs/reference/exit-codes.md. ``program`` is what usage lines call it."""
    try:
        status = app(args=arguments, prog_name=program, standalone_mode=False)
    except WrongUsage as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USAGE
    except LoadTestError as error:
        print(f"nothing measured: {error}", file=sys.stderr)
        return 1
    except typer.Abort:
        return 1
    except TyperException as error:
        context = getattr(error, "ctx", None)
        command = f"{context.command_path} --help" if context else "--help"
        print(f"error: {error.format_message()} (see {command})", file=sys.stderr)
        return WRONG_USAGE
    return int(status or 0)


if __name__ == "__main__":
    sys.exit(main())
