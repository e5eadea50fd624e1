"""Measures one variant: every load in turn, with all that was seen meanwhile; a load that fails does not end the others."""

import itertools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadtest import arrivals, client_processes, question_pool, statistics, system_under_test
from loadtest import scenario as scenario_
from loadtest.errors import LoadTestError
from loadtest.gpu import watch
from loadtest.gpu.engine import GpuEngine, running
from loadtest.gpu.variants import Campaign, WantedLoad
from loadtest.system_under_test import Gateway
from loadtest.wire import ServerTarget

_TIMEOUT_S = 120.0
_WARM = 8


class Bench:
    """``place`` is where state, logs and traces are; ``left_s`` says how much time there is; ``told`` is called with every
    figure as it comes, so that none is lost when time is up."""

    def __init__(
        self,
        campaign: Campaign,
        model: Path,
        place: Path,
        out: Path,
        words: list[str],
        processes: int,
        isolation: str,
        left_s: Callable[[], float],
        told: Callable[[str, str, dict[str, Any]], None],
    ) -> None:
        self._campaign, self._model, self._place, self._out = campaign, model, place, out
        self._words, self._processes, self._isolation = words, processes, isolation
        self._left_s, self._told = left_s, told
        self._asked = 0

    def try_the_gateway(self) -> None:
        """Start and end ledger and gateway, with no engine: seconds, where an engine would cost minutes before the same failure.

        Raises LoadTestError with what they said.
        """
        home = self._place / "home"
        (home / "run").mkdir(parents=True, exist_ok=True)
        try:
            with system_under_test.running(home, None, self._campaign.gateway):
                pass
        except system_under_test.NotStarted as error:
            raise LoadTestError(f"the gateway does not start on this machine: {error}") from None

    def variant(self, name: str) -> None:
        """Start it, ask all of its loads, stop it. Raises LoadTestError if it does not start."""
        variant = self._campaign.variants[name]
        log = self._out / f"{name}.log"
        traces = self._place / "traces" / name
        variant = variant.model_copy(
            update={"flags": {key: _placed(value, traces) for key, value in variant.flags.items()}}
        )
        card = watch.Card(self._out / f"{name}.gpu.csv")
        home = self._place / "home"
        try:
            with running(self._campaign, variant, self._model, home, log, self._isolation, self._left_s()) as engines:
                self._told(name, "start", {"seconds": round(engines[-1].started_s, 1)})
                for more, labels in itertools.groupby(variant.loads, lambda label: self._campaign.loads[label].gateway):
                    with system_under_test.running(home, None, {**self._campaign.gateway, **more}) as gateway:
                        for label in labels:
                            self._load(name, label, engines, gateway, card, traces)
                    shutil.copy(home / "processes.log", self._out / f"{name}.gateway.log")
        except system_under_test.NotStarted as error:
            raise LoadTestError(f"the gateway did not start: {error}") from None
        finally:
            card.close()

    def _load(
        self, name: str, label: str, engines: list[GpuEngine], gateway: Gateway, card: watch.Card, traces: Path
    ) -> None:
        wanted = self._campaign.loads[label]
        if self._left_s() < wanted.for_s / 2 + 15:
            self._told(name, label, {"failed": "no time left"})
            return
        if wanted.through == "gateway":
            target = ServerTarget(f"http://127.0.0.1:{gateway.port}", gateway.key, self._campaign.served_name)
        else:
            target = ServerTarget(f"unix:{engines[0].socket}", "", self._campaign.served_name)
        pids = {f"engine {number}" if number else "engine": engine.pid for number, engine in enumerate(engines)}
        watched = watch.Watched([engine.socket for engine in engines], {**pids, **gateway.pids}, card, wanted.for_s)
        try:
            if wanted.sample:
                watched.stacks = self._out / f"{name}.{label}.stacks"
            if wanted.trace:
                watched.traces = traces
            found = self._ask(wanted, target, watched.begin)
        except (LoadTestError, OSError) as error:
            self._told(name, label, {"failed": str(error)[:300]})
            return
        finally:
            seen = watched.end()
        self._told(name, label, {**found, "seen": seen})

    def _ask(self, wanted: WantedLoad, target: ServerTarget, begin: Callable[[], None]) -> statistics.Figures:
        scenario = scenario_.changed(scenario_.load(wanted.scenario), timeout_s=_TIMEOUT_S)
        self._asked += 1
        warm = min(_WARM, wanted.requests)
        folder = Path(tempfile.mkdtemp(prefix="questions-", dir=self._place))
        try:
            # Other questions every time: what was asked once is in the engine's caches.
            entries = question_pool.make(
                scenario, wanted.requests + warm, self._asked * 104_729, folder, words=self._words
            )
            at_s = arrivals.poisson(wanted.rate, wanted.requests, self._asked) if wanted.rate else None
            run = client_processes.run(
                target,
                scenario,
                entries,
                at_s=at_s,
                at_once=0 if at_s else wanted.at_once,
                warm=warm,
                processes=self._processes,
                for_s=min(wanted.for_s, max(5.0, self._left_s() - 10)),
                seed=self._asked,
                words=self._words,
                progress=lambda *_: begin(),
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        found = statistics.summary(run, scenario)
        if wanted.rate:
            run.rate = wanted.rate
            step = statistics.step(run, scenario)
            found["step"] = {"held": step.held, "why": step.why, "late": step.late, "slow": step.slow}
        return found


def _placed(value: Any, traces: Path) -> Any:
    return value.replace("TRACES", str(traces)) if isinstance(value, str) else value
