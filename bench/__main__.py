"""``python -m bench``: starts what is measured, measures it beside the direct way, prints tables.

Exit 1 if anything answered wrongly or did not start; a bar that was missed is only marked, since a busy machine misses them.
"""

import asyncio
import contextlib
import gc
import json
import os
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from bench.gateway import other_proxies, report
from bench.gateway.client import WrongAnswer
from bench.gateway.engine import BenchEngine
from bench.gateway.scenarios import SCENARIOS, BenchScenario, BenchTarget, small
from loadtest import system_under_test
from loadtest.cores import Cores, memory_mib
from loadtest.system_under_test import NotStarted

CACHE = Path(".vitrine/cache/bench")
QUICK = 0.2

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    peers_too: Annotated[bool, typer.Option("--peers", help="Measure nginx, LiteLLM and a Rust router, too.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="One short round, for developing.")] = False,
    only: Annotated[str, typer.Option(help="Only scenarios whose name has this text.")] = "",
    rounds: Annotated[int, typer.Option(help="Medians of how many.", min=1)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Every figure of every round, for programs.")] = False,
    setting: Annotated[list[str] | None, typer.Option(help="VITRINE_NAME=VALUE for gateway and ledger.")] = None,
    folder: Annotated[Path, typer.Option(help="Where the log is written: the disk to measure.")] = CACHE,
) -> None:
    """Measure the gateway alone on one core, with its ledger and a durable log, against a fast fake engine on another."""
    chosen = [scenario for scenario in SCENARIOS if only in scenario.name]
    if not chosen:
        raise typer.BadParameter(f"no scenario has {only!r} in its name")
    settings = dict(_named(one) for one in setting or [])
    folder.mkdir(parents=True, exist_ok=True)
    cores = Cores.of_this_machine()
    place = Path(tempfile.mkdtemp(prefix="run-", dir=folder.absolute()))
    try:
        os.sched_setaffinity(0, {cores.load})
        plan = _Plan(chosen, 1 if quick else rounds, QUICK if quick else 1.0, cores, place)
        found = uvloop.run(plan.run(settings, peers_too))
    except (WrongAnswer, NotStarted) as error:
        typer.echo(f"nothing measured: {error}", err=True)
        raise typer.Exit(1) from None
    finally:
        shutil.rmtree(place)
    _print(found, plan, as_json)


def _named(setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not equals or not name.startswith("VITRINE_"):
        raise typer.BadParameter(f"{setting!r} is not VITRINE_NAME=VALUE")
    return name, value


class _Plan:
    """What is measured, how often, for how long, where. ``skipped`` says which peers were not, and why."""

    def __init__(self, scenarios: list[BenchScenario], rounds: int, part: float, cores: Cores, place: Path) -> None:
        self.scenarios, self.rounds, self.part, self.cores = scenarios, rounds, part, cores
        self._place, self._cache = place, CACHE.absolute()
        self.skipped: list[str] = []
        self.machine = {
            "cores": os.cpu_count(),
            "load core": cores.load,
            "server core": cores.server,
            "rounds": rounds,
            "python": sys.version.split()[0],
            "load average before": round(os.getloadavg()[0], 2),
        }

    async def run(self, settings: dict[str, str], peers_too: bool) -> report.Rounds:
        found: report.Rounds = {}
        with system_under_test.running(self._place, self.cores.server, settings) as gateway:
            target = BenchTarget.of(gateway)
            async with BenchEngine(self._place / "run" / "engine-0") as engine:
                await _until_ready(target)
                await self._measure(found, target, engine)
        if peers_too:
            for peer in other_proxies.PEERS:
                await self._peer(found, peer)
        return found

    async def _peer(self, found: report.Rounds, peer: other_proxies.Peer) -> None:
        folder = self._place / peer.name
        folder.mkdir()
        try:
            async with BenchEngine(folder / "engine-0") as engine:
                with contextlib.ExitStack() as stack:
                    # In a thread: some peers ask the engine, on this loop, before they listen.
                    starting = peer.running(folder, self._cache, self.cores.server, engine.port)
                    target = await asyncio.to_thread(stack.enter_context, starting)
                    await _until_it_answers(target, engine)
                    await self._measure(found, target, engine)
        except (other_proxies.NotHere, NotStarted, WrongAnswer) as error:
            found.pop(peer.name, None)
            self.skipped.append(f"{peer.name}: {error}")

    async def _measure(self, found: report.Rounds, target: BenchTarget, engine: BenchEngine) -> None:
        """All scenarios, each time the direct way first and then the target; in rounds, so that noise meets both."""
        direct = BenchTarget(report.DIRECT, engine.port)
        first = not found
        base, own = found.setdefault(report.DIRECT, {}), found.setdefault(target.name, {})
        with _without_collector():
            for number in range(self.rounds + 1):
                for scenario in self.scenarios:
                    seconds = scenario.seconds * self.part
                    if number == 0:  # a warm-up: caches, pools, code that is imported late
                        await scenario.measure(target, engine, min(0.3, seconds))
                        continue
                    _say(f"round {number} of {self.rounds}, {target.name}: {scenario.name}")
                    if first:
                        base.setdefault(scenario.name, []).append(await scenario.measure(direct, engine, seconds))
                    own.setdefault(scenario.name, []).append(await scenario.measure(target, engine, seconds))
                if number == 0:
                    before = sum(memory_mib(pid) for pid in target.pids.values())
        # Idle by now: what is left is what it keeps.
        after = sum(memory_mib(pid) for pid in target.pids.values())
        own["memory"] = [{"before_mib": before, "after_mib": after}]
        _say("")


async def _until_it_answers(target: BenchTarget, engine: BenchEngine) -> None:
    """Some listen before they know their engine. Raises WrongAnswer if it never does."""
    end_s = time.monotonic() + other_proxies.START_S
    while True:
        try:
            await small(1)(target, engine, 0.1)
        except WrongAnswer:
            if time.monotonic() > end_s:
                raise
            await asyncio.sleep(0.5)
        else:
            return


async def _until_ready(target: BenchTarget) -> None:
    """Until the gateway has found the engine."""

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{target.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.HTTPError):
            return False

    end_s = time.monotonic() + system_under_test.READY_S
    while not await asyncio.to_thread(ready):
        if time.monotonic() > end_s:
            raise NotStarted(f"{target.name} was not ready within {system_under_test.READY_S:.0f} s")
        await asyncio.sleep(0.1)


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """A collection in the load generator would be a pause in everybody's answers."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _say(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _print(found: report.Rounds, plan: _Plan, as_json: bool) -> None:
    load = round(os.getloadavg()[0], 2)
    if as_json:
        typer.echo(json.dumps({"machine": plan.machine, "skipped": plan.skipped, **report.as_json(found)}, indent=1))
        return
    apart = "" if plan.cores.apart else "; ONE CORE FOR ALL: no figure says anything of the gateway alone"
    typer.echo(
        f"{plan.machine['cores']} cores; load and fake engine on core {plan.cores.load}, gateway and ledger (strict, durable)"
        f" on core {plan.cores.server}{apart}\nPython {plan.machine['python']}, medians of {plan.rounds}, load average"
        f" {plan.machine['load average before']} before, {load} after\n"
    )
    typer.echo(report.table(found))
    typer.echo("\n" + report.ratios(found))
    for line in plan.skipped:
        typer.echo(f"\nnot measured: {line}")
    typer.echo("\n" + report.METHOD)


if __name__ == "__main__":
    app()
