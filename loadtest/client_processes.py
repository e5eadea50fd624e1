"""Clients in as many processes as it takes: deals the work out, starts all at one moment, gathers; every wait has a deadline."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import cast

from loadtest.clients import ServerHealth, Work, work
from loadtest.errors import LoadTestError
from loadtest.exchange import OK, MeasuredExchange
from loadtest.question_pool import QuestionEntry
from loadtest.scenario import Scenario
from loadtest.wire import ServerTarget
from loadtest.words import WORDS

_UP_S = 60.0
_GRACE_S = 20.0
_START_S = 0.2

Progress = Callable[[list[MeasuredExchange], float], None]


@dataclass
class Run:
    """What came of one run. ``asked_s`` is how long questions were sent, ``took_s`` until the last answer ended."""

    exchanges: list[MeasuredExchange] = field(default_factory=list)
    health: list[ServerHealth] = field(default_factory=list)
    asked_s: float = 0.0
    took_s: float = 0.0
    at_once: int = 0
    rate: float = 0.0


def processes_for(wanted: int) -> int:
    """``wanted``, or a quarter of the cores: the server is on this machine, too, as often as not."""
    return wanted or max(1, min(8, (os.cpu_count() or 1) // 4))


def run(
    target: ServerTarget,
    scenario: Scenario,
    entries: list[QuestionEntry],
    *,
    at_s: list[float] | None,
    at_once: int = 0,
    for_s: float = 0.0,
    warm: int = 0,
    processes: int = 1,
    seed: int = 0,
    words: Sequence[str] = WORDS,
    progress: Progress = lambda *_: None,
) -> Run:
    """Ask every entry: at its time of ``at_s``, or ``at_once`` at a time. The first ``warm`` entries are asked before.

    Raises LoadTestError if the processes do not do their part in time, or if all of the warm-up failed.
    """
    warm_entries, entries = entries[:warm], entries[warm:]
    processes = min(processes, at_once) if at_s is None else processes
    asks = {kind: ask for kind, (ask, _) in scenario.kinds.items()}
    works = [
        Work(
            target,
            asks,
            entries[number::processes],
            warm_entries[number::processes],
            None if at_s is None else at_s[number::processes],
            at_once // processes + (number < at_once % processes),
            for_s,
            scenario.load.timeout_s,
            seed,
            words,
        )
        for number in range(processes)
    ]
    found = Run(at_once=at_once if at_s is None else 0)
    with _started(works) as pipes:
        _await_up(pipes, scenario.load.timeout_s * max(ask.turns for ask in asks.values()))
        start = time.monotonic() + _START_S
        for pipe in pipes:
            pipe.send(start)
        _gather(pipes, found, start, _end_s(scenario, entries, at_s, for_s), progress)
    if at_s:
        found.asked_s, found.rate = at_s[-1], len(at_s) / at_s[-1] if at_s[-1] else 0.0
    else:
        found.asked_s = max((one.at_s for one in found.exchanges), default=0.0)
    found.took_s = max((one.at_s + one.end_s for one in found.exchanges), default=0.0)
    return found


def _end_s(scenario: Scenario, entries: list[QuestionEntry], at_s: list[float] | None, for_s: float) -> float:
    """When the last exchange is over at the latest."""
    one = max((ask.turns * (scenario.load.timeout_s + ask.think_s) for ask, _ in scenario.kinds.values()), default=0.0)
    if at_s is not None:
        return at_s[-1] + one + _GRACE_S
    return (for_s or one * len(entries)) + one + _GRACE_S


@contextlib.contextmanager
def _started(works: list[Work]) -> Iterator[list[Pipe]]:
    context = multiprocessing.get_context("spawn")
    pipes: list[Pipe] = []
    processes = []
    try:
        for one in works:
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(one, theirs), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        yield pipes
        for process in processes:
            process.join(10)
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
                process.join(10)
        for pipe in pipes:
            pipe.close()


def _await_up(pipes: list[Pipe], warm_s: float) -> None:
    end, warmed = time.monotonic() + _UP_S + warm_s, []
    for pipe in pipes:
        if not pipe.poll(max(0.0, end - time.monotonic())):
            raise LoadTestError("the generator's processes did not start in time")
        try:
            _, exchanges = pipe.recv()
        except EOFError:
            raise LoadTestError("a process of the generator died at its start") from None
        warmed += exchanges
    if warmed and all(one.outcome != OK for one in warmed):
        raise LoadTestError(f"every question of the warm-up failed: {warmed[0].outcome} {warmed[0].said}".rstrip())


def _gather(pipes: list[Pipe], found: Run, start: float, end_s: float, progress: Progress) -> None:
    left = set(pipes)
    while left:
        now_s = time.monotonic() - start
        if now_s > end_s:
            raise LoadTestError(f"the generator's processes did not end within {end_s:.0f} s")
        for pipe in cast(list[Pipe], wait(list(left), timeout=0.5)):
            try:
                what, value = pipe.recv()
            except EOFError:
                raise LoadTestError("a process of the generator died during the run") from None
            if what == "end":
                found.health.append(value)
                left.discard(pipe)
            else:
                found.exchanges += value
        progress(found.exchanges, max(0.0, time.monotonic() - start))
