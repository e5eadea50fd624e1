"""What is measured, one function each: asks a target through real sockets and returns figures by name; prints nothing.

Every figure of a target comes with the same figure of the direct way, taken moments before on the same two cores.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bench.gateway import bodies
from bench.gateway.client import BenchConnection, Events, WrongAnswer
from bench.gateway.engine import Answers, BenchEngine
from loadtest.cores import cpu_s
from loadtest.system_under_test import Gateway

WARM_S = 0.3
LEAVES = 10
PACED_STREAMS, PACED_PER_S = 128, 40
FLOOD_STREAMS = 8
DEADLINE_S = 30.0
NEVER_MS = float("inf")

Figures = dict[str, float]


@dataclass(frozen=True)
class BenchTarget:
    """Where requests go. ``pids`` are the process trees whose work is counted, by their name."""

    name: str
    port: int
    headers: dict[str, str] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, gateway: Gateway) -> "BenchTarget":
        return cls("vitrine", gateway.port, {"authorization": f"Bearer {gateway.key}"}, gateway.pids)

    def cpu_s(self) -> dict[str, float]:
        return {name: cpu_s(pid) for name, pid in self.pids.items()}


@dataclass(frozen=True)
class BenchScenario:
    """``seconds`` is how long it takes at full length."""

    name: str
    seconds: float
    measure: Callable[[BenchTarget, BenchEngine, float], Awaitable[Figures]]


def _cpu(before: dict[str, float], after: dict[str, float], count: int) -> Figures:
    """CPU time in µs for each of ``count``: of all processes, and of the ledger's among them."""
    each = {name: (after[name] - before[name]) * 1e6 / count for name in before}
    figures = {"cpu_us": sum(each.values())} if each else {}
    return figures | ({"cpu_ledger_us": each["ledger"]} if "ledger" in each else {})


class _Round:
    """The connections of one measurement, and the first thing that went wrong on any of them."""

    def __init__(self, target: BenchTarget) -> None:
        self._target = target
        self.connections: list[BenchConnection] = []
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> "_Round":
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in self.connections:
            connection.close()
        await asyncio.sleep(0.02)  # so that the other side sees them go before the next measurement

    async def connect(self) -> BenchConnection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: BenchConnection(self.fault), "127.0.0.1", self._target.port
        )
        self.connections.append(connection)
        return connection

    def fault(self, reason: str) -> None:
        if not self.over.done():
            self.over.set_exception(WrongAnswer(f"{self._target.name}: {reason}"))

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)

    async def wait(self, within_s: float) -> None:
        try:
            await asyncio.wait_for(self.over, within_s)
        except TimeoutError:
            raise WrongAnswer(f"{self._target.name}: no end of the answers within {within_s:.0f} s") from None


async def _closed(
    target: BenchTarget, requests: list[bytes], at_once: int, seconds: float
) -> tuple[list[float], Figures]:
    """Each of ``at_once`` connections asks again as soon as it is answered. Latencies in ms, and what else was seen."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    async with _Round(target) as rounds:
        running = at_once
        begin_s = loop.time() + WARM_S
        end_s = begin_s + seconds

        def worker(connection: BenchConnection, request: bytes) -> None:
            asked_s = 0.0

            def ask() -> None:
                nonlocal asked_s
                asked_s = time.perf_counter()
                connection.ask(request)

            def ended() -> None:
                nonlocal running
                now_s = time.perf_counter()
                if asked_s - offset_s >= begin_s:
                    latencies.append((now_s - asked_s) * 1000)
                if now_s - offset_s < end_s:
                    ask()
                else:
                    running -= 1
                    if not running:
                        rounds.end()

            connection.on_end = ended
            ask()

        offset_s = time.perf_counter() - loop.time()
        for number in range(at_once):
            worker(await rounds.connect(), requests[number % len(requests)])
        await asyncio.sleep(max(0.0, begin_s - loop.time()))
        used_s, counted_s = target.cpu_s(), time.perf_counter()
        await rounds.wait(WARM_S + seconds + DEADLINE_S)
        took_s = time.perf_counter() - counted_s
        after_s = target.cpu_s()
    if len(latencies) < 2:
        raise WrongAnswer(f"{target.name}: only {len(latencies)} answers in {seconds:.1f} s")
    return latencies, {"per_s": len(latencies) / took_s, **_cpu(used_s, after_s, len(latencies))}


def small(at_once: int) -> Callable[[BenchTarget, BenchEngine, float], Awaitable[Figures]]:
    async def measure(target: BenchTarget, engine: BenchEngine, seconds: float) -> Figures:
        engine.answers = Answers.WHOLE
        request = bodies.request(bodies.small(), target.headers)
        latencies, figures = await _closed(target, [request], at_once, seconds)
        cuts = statistics.quantiles(latencies, n=100)
        return {"p50_ms": cuts[49], "p99_ms": cuts[98], **figures}

    return measure


def images(at_once: int) -> Callable[[BenchTarget, BenchEngine, float], Awaitable[Figures]]:
    pictures: list[bytes] = []

    async def measure(target: BenchTarget, engine: BenchEngine, seconds: float) -> Figures:
        if not pictures:
            pictures.extend(bodies.pictures(at_once))
        engine.answers = Answers.WHOLE
        requests = [bodies.request(body, target.headers) for body in pictures]
        latencies, figures = await _closed(target, requests, at_once, seconds)
        return {"p50_ms": statistics.median(latencies), **figures}

    return measure


def flood(streams: int) -> Callable[[BenchTarget, BenchEngine, float], Awaitable[Figures]]:
    """Streams as fast as they go; each asks for the next when it ended."""

    async def measure(target: BenchTarget, engine: BenchEngine, seconds: float) -> Figures:
        engine.answers, engine.events = Answers.FLOOD, 4000
        request = bodies.request(bodies.small(stream=True), target.headers)
        loop = asyncio.get_running_loop()
        async with _Round(target) as rounds:
            events, counting = 0, False

            def worker(connection: BenchConnection) -> None:
                counter = Events()

                def pieces(data: bytes) -> None:
                    nonlocal events
                    ended = counter.feed(data)
                    if counting:
                        events += ended

                connection.on_bytes = pieces
                connection.on_end = lambda: connection.ask(request)
                connection.ask(request)

            for _ in range(streams):
                worker(await rounds.connect())
            loop.call_later(WARM_S + seconds, rounds.end)
            await asyncio.sleep(WARM_S)
            counting, used_s, begin_s = True, target.cpu_s(), time.perf_counter()
            await rounds.wait(seconds + DEADLINE_S)
            took_s = time.perf_counter() - begin_s
            after_s = target.cpu_s()
        if not events:
            raise WrongAnswer(f"{target.name}: no event came within {seconds:.1f} s")
        return {"per_s": events / took_s, **_cpu(used_s, after_s, events)}

    return measure


async def paced(target: BenchTarget, engine: BenchEngine, seconds: float) -> Figures:
    """128 streams of 40 events a second that begin one after another within a second."""
    engine.answers, engine.pause_s = Answers.PACED, 1 / PACED_PER_S
    engine.events = max(2, round(seconds * PACED_PER_S))
    request = bodies.request(bodies.small(stream=True), target.headers)
    loop = asyncio.get_running_loop()
    first_ms: list[float] = []
    gaps_ms: list[float] = []
    async with _Round(target) as rounds:
        running, events = PACED_STREAMS, 0

        def worker(connection: BenchConnection, delay_s: float) -> None:
            asked_s = last_s = 0.0
            counter = Events()

            def ask() -> None:
                nonlocal asked_s
                asked_s = time.perf_counter()
                connection.ask(request)

            def pieces(data: bytes) -> None:
                nonlocal last_s, events
                now_s = time.perf_counter()
                if not last_s:
                    first_ms.append((now_s - asked_s) * 1000)
                elif counter.count < engine.events:  # what follows the last word comes at once
                    gaps_ms.append((now_s - last_s) * 1000)
                events += counter.feed(data)
                last_s = now_s

            def ended() -> None:
                nonlocal running
                running -= 1
                if not running:
                    rounds.end()

            connection.on_bytes, connection.on_end = pieces, ended
            loop.call_later(delay_s, ask)

        for number in range(PACED_STREAMS):
            worker(await rounds.connect(), number / PACED_STREAMS)
        used_s = target.cpu_s()
        await rounds.wait(1 + seconds + DEADLINE_S)
        after_s = target.cpu_s()
    return {
        "first_p50_ms": statistics.median(first_ms),
        "first_p99_ms": statistics.quantiles(first_ms, n=100)[98],
        "gap_ms": max(gaps_ms),
        "over_100": sum(gap > 100 for gap in gaps_ms),
        "over_250": sum(gap > 250 for gap in gaps_ms),
        **_cpu(used_s, after_s, events),
    }


def leaving(*, stream: bool) -> Callable[[BenchTarget, BenchEngine, float], Awaitable[Figures]]:
    """From a client's close until the engine's connection is closed; ``inf`` where that did not happen in ``seconds``."""

    async def measure(target: BenchTarget, engine: BenchEngine, seconds: float) -> Figures:
        engine.answers = Answers.BEGUN if stream else Answers.NEVER
        request = bodies.request(bodies.small(stream=stream), target.headers)
        took_ms: list[float] = []
        async with _Round(target) as rounds:
            for _ in range(LEAVES):
                engine.asked.clear()
                engine.left = asyncio.get_running_loop().create_future()
                connection = await rounds.connect()
                begun = asyncio.Event()
                connection.on_bytes = lambda _, begun=begun: begun.set()
                connection.ask(request)
                await _one_of(engine.asked, begun if stream else engine.asked, rounds)
                left_s = time.perf_counter()
                connection.close()
                try:
                    took_ms.append((await asyncio.wait_for(engine.left, seconds) - left_s) * 1000)
                except TimeoutError:
                    took_ms.append(NEVER_MS)
                    break
        engine.left = None
        return {"p50_ms": statistics.median(took_ms), "most_ms": max(took_ms)}

    return measure


async def _one_of(asked: asyncio.Event, begun: asyncio.Event, rounds: _Round) -> None:
    """Until the engine was asked and the answer has begun, or something went wrong."""

    async def both() -> None:
        await asked.wait()
        await begun.wait()
        rounds.end()

    waiting = asyncio.create_task(both())
    try:
        await rounds.wait(DEADLINE_S)
    finally:
        waiting.cancel()
    rounds.over = asyncio.get_running_loop().create_future()


SCENARIOS = (
    BenchScenario("small at 1", 3, small(1)),
    BenchScenario("small at 16", 4, small(16)),
    BenchScenario("small at 64", 3, small(64)),
    BenchScenario("images at 8", 4, images(8)),
    BenchScenario("one fast stream", 2, flood(1)),
    BenchScenario("eight fast streams", 2, flood(FLOOD_STREAMS)),
    BenchScenario("paced streams", 5, paced),
    BenchScenario("leaves a wait", 3, leaving(stream=False)),
    BenchScenario("leaves a stream", 3, leaving(stream=True)),
)
