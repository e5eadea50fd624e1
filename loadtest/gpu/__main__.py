"""``python -m loadtest.gpu``: every variant in order of its predicted gain, as long as time lasts; prints as it goes.

Exit 0 if anything was measured, 1 if nothing was, 64 for wrong usage.
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from loadtest import client_processes
from loadtest.errors import LoadTestError, WrongUsage
from loadtest.gpu import report
from loadtest.gpu.host import make_up_for_the_installation
from loadtest.gpu.measure import Bench
from loadtest.gpu.variants import read
from loadtest.words import WORDS, of_tokenizer

_LEAST_S = 60.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[Path, typer.Argument(help="The model's folder; its tokenizer gives the words.")],
    out: Annotated[Path, typer.Option(help="Where results, logs and samples go.")],
    variants: Annotated[Path, typer.Option(help="What is tried.")] = Path(__file__).parent / "h100.toml",
    only: Annotated[list[str] | None, typer.Option(help="Only this variant; repeat for several, in order.")] = None,
    budget_s: Annotated[float, typer.Option(help="Seconds in all.", min=10, max=7 * 86_400)] = 1700.0,
    place: Annotated[Path, typer.Option(help="State, and caches that are kept from start to start.")] = Path(
        ".vitrine/cache/gpu"
    ),
    processes: Annotated[int, typer.Option(help="Generating processes; 0 for a quarter of the cores.", min=0)] = 0,
    isolation: Annotated[str, typer.Option(help="Of the engine: auto, required or off.")] = "auto",
    english: Annotated[bool, typer.Option("--english", help="Ask in English, not in the tokenizer's words.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show the variants and their flags, start nothing.")] = False,
) -> None:
    """Try variants of an engine's flags on this machine."""
    began = time.monotonic()
    try:
        campaign = read(variants)
        names = only or list(campaign.variants)
        if unknown := set(names) - set(campaign.variants):
            raise WrongUsage(f"no such variant: {', '.join(sorted(unknown))}; there are {', '.join(campaign.variants)}")
        if list_:
            for name in names:
                variant = campaign.variants[name]
                print(
                    f"{name}: {variant.predicts}\n  {' '.join(campaign.arguments(variant))}\n  {' '.join(variant.loads)}"
                )
            return
        words = WORDS if english else of_tokenizer(model / "tokenizer.json")
    except WrongUsage as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(64) from None
    out.mkdir(parents=True, exist_ok=True)
    place = place.absolute()
    place.mkdir(parents=True, exist_ok=True)
    make_up_for_the_installation(place)
    results: report.Results = {}

    def left_s() -> float:
        return budget_s - (time.monotonic() - began)

    def told(name: str, label: str, found: dict[str, Any]) -> None:
        results.setdefault(name, {})[label] = found
        about = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "variants": str(variants), "model": str(model)}
        (out / "results.json").write_text(json.dumps({"about": about, "results": results}, indent=1))
        print(f"{time.monotonic() - began:6.0f} s  {name}: {label} {_short(found)}", flush=True)

    bench = Bench(
        campaign,
        model.absolute(),
        place,
        out,
        list(words),
        client_processes.processes_for(processes),
        isolation,
        left_s,
        told,
    )
    try:
        bench.try_the_gateway()
    except LoadTestError as error:
        print(f"nothing measured: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    for name in names:
        if left_s() < _LEAST_S:
            told(name, "start", {"failed": "no time left"})
            continue
        try:
            bench.variant(name)
        except LoadTestError as error:
            told(name, "start", {"failed": str(error)})
        print("\n" + report.variant(name, campaign.variants[name].predicts, results[name]) + "\n", flush=True)
    text = report.comparison(results)
    print(text, flush=True)
    tables = [report.variant(name, campaign.variants[name].predicts, loads) for name, loads in results.items()]
    (out / "report.md").write_text("\n\n".join([*tables, text]) + "\n", encoding="utf-8")
    measured = any("seen" in found for loads in results.values() for found in loads.values())
    raise typer.Exit(0 if measured else 1)


def _short(found: dict[str, Any]) -> str:
    if "failed" in found:
        return f"failed: {found['failed']}"
    if "seconds" in found:
        return f"ready after {found['seconds']} s"
    return f"{found['requests_per_s']:.2f} requests/s, {found['tokens_out_per_s']:.0f} tokens/s, {found['errors'] or 'no errors'}"


if __name__ == "__main__":
    app()
