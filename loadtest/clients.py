"""One process full of clients: asks by a clock that waits for nobody, or so many at once; tells every exchange to its parent.

Open loop: each request has a time at which it is to be sent, fixed before the run, and its latency counts from then. If
this process itself is late, that is part of the latency and is shown as ``sent_s``; how late its event loop was is measured
by a ticker beside.
"""

import asyncio
import gc
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe

import orjson
import uvloop

from loadtest.exchange import MeasuredAnswer, MeasuredExchange
from loadtest.question_pool import QuestionEntry, QuestionReader
from loadtest.scenario import Ask
from loadtest.wire import LoadConnections, ServerTarget, cpu_s, raise_the_limit_of_open_files
from loadtest.words import text

_TICK_S = 0.01
_TELL_S = 0.2
_WARM_AT_ONCE = 8


@dataclass(frozen=True)
class Work:
    """What one process does. ``at_s`` gives each entry its time (open loop); without it ``at_once`` are asked at a time,
    for ``for_s`` seconds at most (0: until no entry is left)."""

    target: ServerTarget
    asks: Mapping[str, Ask]
    entries: list[QuestionEntry]
    warm: list[QuestionEntry]
    at_s: list[float] | None
    at_once: int
    for_s: float
    timeout_s: float
    seed: int
    words: Sequence[str]


@dataclass(frozen=True)
class ServerHealth:
    """Of one generating process: what shows whether it was the limit."""

    cpu_share: float
    lag_p99_ms: float
    lag_most_ms: float


def work(work_: Work, pipe: Pipe) -> None:
    """The process's whole life: warms up, says ("up", exchanges), awaits the start, sends exchanges, ends with its health."""
    raise_the_limit_of_open_files()
    with suppress(KeyboardInterrupt, BrokenPipeError, EOFError):
        uvloop.run(_Clients(work_, pipe).run())


class _Clients:
    def __init__(self, work_: Work, pipe: Pipe) -> None:
        self._work, self._pipe = work_, pipe
        self._reader = QuestionReader()
        self._head = work_.target.head()
        self._told: list[MeasuredExchange] = []
        self._tasks: set[asyncio.Task[None]] = set()
        # A pipe that is full blocks: the event loop must not wait for the parent.
        self._outbox: queue.SimpleQueue[object] = queue.SimpleQueue()

    async def run(self) -> None:
        sender = threading.Thread(target=self._send, daemon=True)
        sender.start()
        self._connections = LoadConnections(self._work.target)
        self._start = time.monotonic()
        await self._warm_up()
        gc.collect()
        gc.freeze()
        self._tell(("up", self._told))
        self._told = []
        self._start = await asyncio.to_thread(self._pipe.recv)
        lags: list[float] = []
        before = cpu_s()
        beside = [asyncio.create_task(self._tick(lags)), asyncio.create_task(self._report())]
        await (self._open() if self._work.at_s is not None else self._closed())
        took = time.monotonic() - self._start
        for task in beside:
            task.cancel()
        self._connections.close()
        lags.sort()
        at = lags[int(len(lags) * 0.99)] if lags else 0.0
        health = ServerHealth((cpu_s() - before) / max(took, 1e-9), at * 1000, (lags[-1] if lags else 0.0) * 1000)
        self._tell(("exchanges", self._told))
        self._tell(("end", health))
        self._tell(None)
        await asyncio.to_thread(sender.join, 30)

    async def _warm_up(self) -> None:
        left = deque(self._work.warm)
        await asyncio.gather(*(self._one_after_another(left, 0.0) for _ in range(min(_WARM_AT_ONCE, len(left)))))

    async def _open(self) -> None:
        assert self._work.at_s is not None
        for at_s, entry in zip(self._work.at_s, self._work.entries, strict=True):
            await self._until(at_s)
            task = asyncio.create_task(self._converse(entry, at_s))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _until(self, at_s: float) -> None:
        """Never returns before. uvloop's timers count in whole milliseconds and may be early: the rest goes turn by turn."""
        while (wait_s := self._start + at_s - time.monotonic()) > 0:  # noqa: ASYNC110  the clock is what is waited for
            await asyncio.sleep(wait_s if wait_s > 0.001 else 0)

    async def _closed(self) -> None:
        left = deque(self._work.entries)
        await self._until(0.0)
        await asyncio.gather(*(self._one_after_another(left, self._work.for_s) for _ in range(self._work.at_once)))

    async def _one_after_another(self, left: deque[QuestionEntry], for_s: float) -> None:
        while left:
            at_s = time.monotonic() - self._start
            if for_s and at_s >= for_s:
                return
            await self._converse(left.popleft(), at_s)

    async def _converse(self, entry: QuestionEntry, at_s: float) -> None:
        """All turns of one conversation; the first one that fails ends it."""
        ask = self._work.asks[entry.kind]
        messages = self._reader.read(entry)
        dice = random.Random(f"{self._work.seed} {entry.file} {entry.offset}")
        for turn in range(ask.turns):
            if turn:
                await self._until(at_s)
            exchange = MeasuredExchange(entry.kind, turn, at_s)
            answer = MeasuredAnswer(exchange, self._start + at_s)
            await self._ask(self._body(ask, messages), answer)
            self._told.append(exchange)
            if exchange.outcome != "ok":
                return
            if turn + 1 < ask.turns:
                said = {"role": "assistant", "content": "".join(answer.text) or "."}
                next_ = {"role": "user", "content": text(ask.text_tokens, dice, self._work.words)}
                messages = b",".join((messages, orjson.dumps(said), orjson.dumps(next_)))
                at_s += exchange.end_s + ask.think_s

    async def _ask(self, body: bytes, answer: MeasuredAnswer) -> None:
        exchange, connection = answer.exchange, None
        due = self._start + exchange.at_s
        try:
            async with asyncio.timeout_at(
                asyncio.get_running_loop().time() + due + self._work.timeout_s - time.monotonic()
            ):
                connection = await self._connections.take()
                exchange.sent_s = time.monotonic() - due
                await connection.ask(b"".join((self._head, b"%d\r\n\r\n" % len(body), body)), answer)
        except TimeoutError:
            exchange.outcome = "timeout"
        except OSError as error:
            exchange.outcome, exchange.said = "no connection", str(error)
        exchange.end_s = exchange.end_s or time.monotonic() - due
        if connection is not None:
            if exchange.outcome == "timeout":
                connection.close()
            else:
                self._connections.give_back(connection)

    def _body(self, ask: Ask, messages: bytes) -> bytes:
        fields: dict[str, object] = {
            "model": self._work.target.model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": ask.answer_tokens,
            "temperature": ask.temperature,
        }
        if ask.never_tokens:
            fields["logit_bias"] = {str(token): -100 for token in ask.never_tokens}
        return orjson.dumps(fields)[:-1] + b',"messages":[' + messages + b"]}"

    async def _tick(self, lags: list[float]) -> None:
        while True:
            due = time.monotonic() + _TICK_S
            await asyncio.sleep(_TICK_S)
            lags.append(time.monotonic() - due)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(_TELL_S)
            self._tell(("exchanges", self._told))
            self._told = []

    def _tell(self, what: object) -> None:
        self._outbox.put(what)

    def _send(self) -> None:
        with suppress(OSError):
            while (what := self._outbox.get()) is not None:
                self._pipe.send(what)
