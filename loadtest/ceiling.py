"""What this generator can do at most: the same clients, the same questions, against servers that answer at once.

The server parses nothing but the length of a body. It runs on this machine too and takes its share of it, so the ceiling
of the generator alone is higher: what is said here is what was seen.
"""

import asyncio
import contextlib
import multiprocessing
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

import httptools
import uvloop

from loadtest import client_processes
from loadtest.errors import LoadTestError
from loadtest.exchange import OK
from loadtest.question_pool import QuestionEntry
from loadtest.scenario import Scenario
from loadtest.statistics import percentile
from loadtest.wire import ServerTarget

NEAR = 0.5  # of the ceiling: from here on the generator may have been the limit
BUSY = 0.7  # of one core for one process
LATE_MS = 10.0  # of its event loop, p99
_UP_S = 30.0
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Ceiling:
    """``events_per_s`` are those that carry text; one in each write, as an engine sends them."""

    requests_per_s: float
    events_per_s: float
    body_bytes: float
    first_ms: float
    processes: int
    seconds: float


def measure(
    scenario: Scenario, entries: list[QuestionEntry], processes: int, seconds: float, at_once: int = 64
) -> Ceiling:
    """Ask the fast servers ``at_once`` at a time for some seconds. Entries may repeat: the server looks at none."""
    asks = [ask for ask, _ in scenario.kinds.values()]
    events = round(sum(ask.answer_tokens for ask in asks) / len(asks))
    enough = (entries * (1 + 500_000 // len(entries)))[:500_000]
    with _servers(processes, events) as port:
        target = ServerTarget(f"http://127.0.0.1:{port}")
        run = client_processes.run(
            target, scenario, enough, at_s=None, at_once=at_once, for_s=seconds, processes=processes
        )
    good = [one for one in run.exchanges if one.outcome == OK]
    if not good or len(good) < len(run.exchanges):
        raise LoadTestError("the generator's own server answered wrongly: no ceiling")
    took_s = max(one.at_s + one.end_s for one in good)
    first = percentile(sorted(one.first_s for one in good), 0.5)
    size = sum(entry.length for entry in entries) / len(entries)
    return Ceiling(len(good) / took_s, sum(one.events for one in good) / took_s, size, first * 1000, processes, took_s)


def warnings(figures: dict[str, Any], ceiling: Ceiling | None) -> list[str]:
    """Why the generator may have been the limit of a run; none where it was not."""
    health, found = figures["generator"], []
    if ceiling is not None:
        share = figures["requests_per_s"] / ceiling.requests_per_s
        if share >= NEAR:
            found.append(
                f"the run reached {share:.0%} of what the generator can do ({ceiling.requests_per_s:,.0f} requests/s)"
            )
    if health["cpu_share_most"] >= BUSY:
        found.append(
            f"a process of the generator used {health['cpu_share_most']:.0%} of a core: give it more --processes"
        )
    if health["lag_p99_ms"] >= LATE_MS:
        found.append(
            f"the generator's event loop was {health['lag_p99_ms']:.0f} ms late (p99): latencies have that in them"
        )
    return found


def as_json(ceiling: Ceiling | None) -> dict[str, Any] | None:
    return asdict(ceiling) if ceiling is not None else None


@contextlib.contextmanager
def _servers(count: int, events: int) -> Iterator[int]:
    """Processes that share one port, which the kernel deals connections of."""
    context = multiprocessing.get_context("spawn")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
        up = context.Semaphore(0)
        processes = [context.Process(target=_serve, args=(port, events, up), daemon=True) for _ in range(count)]
        try:
            for process in processes:
                process.start()
            end = time.monotonic() + _UP_S
            for _ in processes:
                if not up.acquire(timeout=max(0.0, end - time.monotonic())):
                    raise LoadTestError("the generator's own server did not start")
            yield port
        finally:
            for process in processes:
                process.kill()
                process.join(10)


def _serve(port: int, events: int, up: Any) -> None:
    async def forever() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Fast(events), "127.0.0.1", port, reuse_port=True, backlog=1024)
        up.release()
        async with server:
            await server.serve_forever()

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(forever())


def _chunk(data: str) -> bytes:
    event = f"data: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


_ABOUT = '"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"glm-4v"'
_WORD = _chunk(
    f'{{{_ABOUT},"choices":[{{"index":0,"delta":{{"content":" word"}},"logprobs":null,"finish_reason":null}}]}}'
)


class _Fast(asyncio.Protocol):
    def __init__(self, events: int) -> None:
        self._events = events
        self._parser = httptools.HttpRequestParser(self)
        usage = f'"usage":{{"prompt_tokens":1,"completion_tokens":{events},"total_tokens":{events + 1}}}'
        self._last = _chunk(f'{{{_ABOUT},"choices":[],{usage}}}') + _chunk("[DONE]") + b"0\r\n\r\n"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(_HEAD)
        self._write(self._events)

    def _write(self, left: int) -> None:
        if self._transport.is_closing():
            return
        if not left:
            self._transport.write(self._last)
            return
        self._transport.write(_WORD)
        # One event in each turn of the loop: an engine does not send a whole answer at once either.
        asyncio.get_running_loop().call_soon(self._write, left - 1)
