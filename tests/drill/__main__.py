"""``python -m tests.drill``: starts all of Vitrine, breaks one thing after the other under load, prints what came of it.

For each fault: requests that were asked, requests that were lost, when `/readyz` said so, when answers came again, when the shipped
alert fired. Real engines (the miniature), or stand-ins with ``--stand-in``. Exit status 1 if something did not come back, an alert
did not fire, a process stayed behind or the log does not verify. Touches nothing but what it started.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.drill.load import Load
from tests.monitoring.prometheus import Prometheus
from tests.serve.house import House
from tests.support.deadline import until
from tests.support.gateway import Gateway
from tests.support.ports import free_port
from tests.support.process import run
from tests.support.prometheus import PrometheusServer

READY_S, BACK_S = 300.0, 240.0


class Running(Gateway):
    """``vitrine up`` with two workers."""

    def __init__(self, house: House, *, stand_in: bool) -> None:
        self.home, self.port, self.metrics_port = house.home, free_port(), free_port()
        self.house = house
        self.process = house.start(
            "vitrine",
            "up",
            VITRINE_ENGINE_PROFILE=str(house.profile(answers_after_s=1)) if stand_in else "miniature",
            VITRINE_PORT=str(self.port),
            VITRINE_METRICS_PORT=str(self.metrics_port),
            VITRINE_WORKERS="2",
        )
        self.process.line_with("Ctrl-C stops everything.", within_s=READY_S)

    def below(self, words: str) -> list[int]:
        """Processes of ours whose command line has these words, oldest first."""
        found = []
        for one in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if words in " ".join(one.cmdline()):
                    found.append((one.create_time(), one.pid))
        return [pid for _, pid in sorted(found)]

    @property
    def ready(self) -> bool:
        try:
            return self.request("GET", "/readyz").status == 200
        except OSError:
            return False


@dataclass(frozen=True)
class Fault:
    """One thing that breaks. ``lasts_s``: after so long ``mend`` is called; ``alert`` must fire, if one is named."""

    name: str
    what: str
    harm: Callable[[Running], None]
    mend: Callable[[Running], None] = lambda up: None
    lasts_s: float = 0.0
    alert: str = ""
    alert_s: float = 0.0


def _stop_engine(up: Running) -> None:
    os.killpg(up.house.state["pid"], signal.SIGSTOP)


def _kill_engine(up: Running) -> None:
    os.kill(up.house.state["pid"], signal.SIGKILL)


def _ledger(number: signal.Signals) -> Callable[[Running], None]:
    return lambda up: os.kill(up.below("gateway.ledger serve")[0], number)


FAULTS = (
    Fault("engine-hangs", "every process of the engine stopped", _stop_engine, alert="VitrineEngineHangs", alert_s=60),
    Fault("engine-killed", "kill -9 of vLLM's API server", _kill_engine),
    Fault(
        "worker-killed",
        "kill -9 of a gateway's worker",
        lambda up: os.kill(up.below("gateway.worker")[-1], signal.SIGKILL),
    ),
    Fault(
        "ledger-hangs",
        "the ledger stopped for 100 s",
        _ledger(signal.SIGSTOP),
        _ledger(signal.SIGCONT),
        lasts_s=100,
        alert="VitrineLedgerNotCommitting",
        alert_s=120,
    ),
)


@dataclass(frozen=True)
class Outcome:
    """What came of a fault; times are seconds after it, None for what never was."""

    asked: int
    lost: dict[int, int]
    seen_s: float | None
    back_s: float | None
    alerted_s: float | None


def suffer(up: Running, fault: Fault, load: Load, prometheus: Prometheus | None) -> Outcome:
    """Let a fault happen, watch, and wait until answers come again."""
    began_s = time.monotonic()
    fault.harm(up)
    seen_s = alerted_s = back_s = None
    mended_s: float | None = None if fault.lasts_s else began_s
    while time.monotonic() - began_s < BACK_S:
        past_s = time.monotonic() - began_s
        if mended_s is None and past_s >= fault.lasts_s:
            fault.mend(up)
            mended_s = time.monotonic()
        if not up.ready:
            seen_s = past_s if seen_s is None else seen_s
        elif mended_s is not None and back_s is None and (seen_s is not None or past_s > 10):
            good = load.good_since(mended_s)
            back_s = None if good is None else time.monotonic() - began_s
        if prometheus and fault.alert and alerted_s is None:
            fires = prometheus.at(f'ALERTS{{alertname="{fault.alert}", alertstate="firing"}}')
            alerted_s = past_s if fires else None
        if back_s is not None and (alerted_s is not None or not (prometheus and fault.alert)):
            break
        time.sleep(0.2)  # between two looks
    over = load.since(began_s)
    lost = Counter(one.status for one in over if not one.good)
    return Outcome(len(over), dict(lost), seen_s, back_s, alerted_s)


def stop(up: Running, load: Load) -> tuple[int, dict[int, int], list[int], int]:
    """Ctrl-C under load: the exit status, what was lost of the answers that ran, and which processes stayed behind."""
    below = [one.pid for one in psutil.Process(up.process.pid).children(recursive=True)]
    began_s = time.monotonic()
    load.begin_nothing()  # what runs now must end well; what comes later is refused, as it should be
    status = up.process.interrupt(within_s=120)
    load.stop()
    ran = [one for one in load.since(began_s) if one.began_s < began_s]
    return (
        status,
        dict(Counter(one.status for one in ran if not one.good)),
        [one for one in below if psutil.pid_exists(one)],
        len(ran),
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drill", description=__doc__)
    parser.add_argument("--stand-in", action="store_true", help="stand-ins for vLLM instead of the real miniature")
    parser.add_argument("--no-alerts", action="store_true", help="without a Prometheus, so without alerts")
    parser.add_argument("--rate", type=float, default=2.0, help="requests a second")
    parser.add_argument("--faults", nargs="*", choices=[one.name for one in FAULTS], help="only these")
    wanted = parser.parse_args(arguments)
    chosen = [one for one in FAULTS if not wanted.faults or one.name in wanted.faults]
    bad: list[str] = []
    with ExitStack() as stack:
        house = stack.enter_context(House())
        up = Running(house, stand_in=wanted.stand_in)
        prometheus = None
        if not wanted.no_alerts:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            targets = {"127.0.0.1:8081": f"127.0.0.1:{up.metrics_port}"}
            prometheus = Prometheus(stack.enter_context(PrometheusServer(folder, targets, 15)).url)
        load = stack.enter_context(Load(up, up.create_key(), wanted.rate))
        until(lambda: len([one for one in load.asked if one.good]) > 4, within_s=60, what="good answers")
        print(f"{'fault':<16} {'asked':>5} {'lost':>5} {'not ready':>10} {'back':>8} {'alert':>8}   what was done")
        for fault in chosen:
            came = suffer(up, fault, load, prometheus)
            lost = sum(came.lost.values())
            print(
                f"{fault.name:<16} {came.asked:>5} {lost:>5} {_after(came.seen_s):>10}"
                f" {_after(came.back_s if came.seen_s is not None else None):>8}"
                f" {_after(came.alerted_s):>8}   {fault.what}; {_statuses(came.lost)}",
                flush=True,
            )
            if came.back_s is None:
                bad.append(f"{fault.name}: no answer came again")
            if prometheus and fault.alert and (came.alerted_s is None or came.alerted_s > fault.alert_s):
                bad.append(f"{fault.name}: {fault.alert} did not fire within {fault.alert_s:.0f} s")
        status, cut, left, ran = stop(up, load)
        print(
            f"{'ctrl-c':<16} {ran:>5} {sum(cut.values()):>5} {'':>10} {'':>8} {'':>8}   Ctrl-C under load; {_statuses(cut)}"
        )
        verified = run("gateway.ledger", "verify", env={"VITRINE_HOME": str(up.home)})
        bad += [f"Ctrl-C ended with {status}"] if status else []
        bad += [f"Ctrl-C lost {sum(cut.values())} running answers"] if cut else []
        bad += [f"{len(left)} processes stayed behind"] if left else []
        bad += [f"the log does not verify ({verified.returncode})"] if verified.returncode else []
    for line in bad:
        print(f"BAD {line}")
    return 1 if bad else 0


def _after(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"


def _statuses(lost: dict[int, int]) -> str:
    return ", ".join(f"{count} × {status or 'cut'}" for status, count in sorted(lost.items())) or "nothing lost"


if __name__ == "__main__":
    sys.exit(main())
