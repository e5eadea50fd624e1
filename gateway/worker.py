"""One worker's life, told in order: opens what it needs, serves on a listener that it was given, closes.

Alone it is the gateway's whole process. Of several each is a process (``python -m gateway.worker``) that the supervisor
(gateway.workers) starts; what it needs comes on standard input, whose end means that the supervisor is gone.
"""

import asyncio
import contextlib
import ctypes
import gc
import math
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import typer
import uvicorn
import uvloop

from gateway import wiring
from gateway.app import VERSION, build
from gateway.command_line import run_command
from gateway.engines.pool import Pool
from gateway.engines.shared_load import SharedLoad
from gateway.front.connection import ClientConnection
from gateway.front.connection_manager import ConnectionManager
from gateway.front.shutdown import LINGER_S, Server
from gateway.keys.first_start import say_when_ready
from gateway.keys.recorded_changes import RecordedChanges
from gateway.keys.store import KeyStore, StoreError
from gateway.ledger.client.async_client import Deadlines, LedgerClient
from gateway.ledger.client.messages import Boot, Fact
from gateway.ledger.errors import BadSettings as BadLedgerSettings
from gateway.ledger.settings import read_settings
from gateway.people.session_watch import watch_sessions
from gateway.routes.chat_completions import ROUTE
from gateway.routes.services import Services
from gateway.settings import BadSettings, Settings
from gateway.telemetry import logs
from gateway.telemetry.collector import ScrapeCollector
from gateway.telemetry.counters import Metrics, PolledSources

SPARE_FILES = 512  # engines' connections, the ledger's, SQLite's, what is served from disk
LAST_BYTES_S = 5  # after the last answer's end, for who reads it slowly
BEAT_EVERY_S = 0.25
GARBAGE_OBJECTS = 10_000  # before the youngest are looked at; Python's 700 are a few requests
TIDY_EVERY_S = 5.0
LOAD, METRICS = "load", "metrics"


class WorkerStart(msgspec.Struct, frozen=True):
    """What one of several workers is told: its number of how many, the listener's descriptor, the folder that they share."""

    number: int
    workers: int
    listener: int
    folder: str
    welcome: bool
    settings: str


@dataclass(frozen=True)
class WorkerSlot:
    """Which of its gateway's workers one is, and what all of them have at work."""

    load: SharedLoad
    number: int = 0
    supervised: bool = False


async def live(
    settings: Settings,
    slot: WorkerSlot,
    listener: socket.socket,
    metrics: Metrics,
    *,
    say: Callable[[], None],
    welcome: bool,
) -> None:
    """Serve until SIGTERM or Ctrl-C. ``say`` is called once connections are accepted."""
    keys = KeyStore(settings.home / "keys.sqlite")
    try:
        ledger_settings = read_settings()
        pool = Pool(wiring.pool_plan(settings, slot.load), metrics)
        shared = wiring.shared_limits(settings, metrics.shared_limits_failures)
        outbound = (*pool.outbound(), *wiring.outbound(settings), *([shared.address.shown] if shared else []))
        facts: dict[str, Fact] = {"version": VERSION, "settings": wiring.digest(settings), "worker": slot.number}
        # Not waited for: without the ledger the gateway lives, says that it is not ready, and answers nothing.
        ledger = await LedgerClient.connect(
            ledger_settings.socket_path,
            Deadlines(admit_s=settings.admit_timeout_s),
            wait_s=0,
            buffered=ledger_settings.mode == "buffered",
            on_failure=metrics.unanswered,
            boot=Boot("gateway", facts, outbound),
        )
        traced = wiring.traces(settings, VERSION, slot.number, metrics.spans)
        async with ledger, shared or contextlib.nullcontext():
            with traced or contextlib.nullcontext(), wiring.sessions(settings) as opened:
                services = wiring.services(
                    settings, ledger_settings, keys, pool, ledger, metrics, shared=shared, traced=traced, opened=opened
                )
                await _serve(settings, services, slot, listener, say, welcome)
    finally:
        keys.close()


async def _serve(
    settings: Settings,
    services: Services,
    slot: WorkerSlot,
    listener: socket.socket,
    say: Callable[[], None],
    welcome: bool,
) -> None:
    bounds = wiring.connection_bounds(settings, _open_files() - SPARE_FILES)
    connections = ConnectionManager(bounds, services.proxies, services.metrics)
    config = uvicorn.Config(
        build(services),
        http=partial(ClientConnection, connections),  # type: ignore[arg-type]  # anything that makes a protocol
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=math.ceil(settings.idle_timeout_s),
        timeout_graceful_shutdown=LAST_BYTES_S,
    )

    def serving() -> None:
        # What is there now stays: the collector need not look at it again. A request leaves no cycles worth a pause.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_OBJECTS)
        say()

    linger_s = LINGER_S if settings.trusted_proxies else 0
    server = Server(
        config,
        services.shutdown,
        services.pool.close_queues,
        settings.drain_timeout_s,
        linger_s,
        serving,
        # Of several workers the supervisor says it, once for all.
        (lambda answers: None) if slot.supervised else partial(logs.say_stopping, settings.drain_timeout_s),
    )
    # uvicorn raises the signal that stopped it once more at its end: it must not kill us, the exit status is 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    memory, ledger = services.memory, services.ledger
    followed = PolledSources(services.pool, lambda: memory.held_bytes, lambda: ledger.connected)
    tasks = [
        asyncio.create_task(connections.watch()),
        asyncio.create_task(services.metrics.follow(followed, ROUTE)),
        asyncio.create_task(_tidy_memory()),
    ]
    if slot.supervised:
        tasks.append(asyncio.create_task(_beat(slot.load, server)))
        asyncio.get_running_loop().add_reader(sys.stdin, _supervisor_gone, server)
    if services.people is not None and services.people.directory is not None and slot.number == 0:
        tasks.append(asyncio.create_task(watch_sessions(services.people, settings.session_recheck_s)))
    if welcome:
        changes = RecordedChanges(services.keys, ledger, by="first start")
        said = say_when_ready(url_of(listener), services.waiting_for, services.pool.served, changes)
        tasks.append(asyncio.create_task(said))
    await server.serve(sockets=[listener])
    for task in tasks:
        task.cancel()


def url_of(listener: socket.socket) -> str:
    """Where a person on this machine finds it."""
    host, port = listener.getsockname()[:2]
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104  compared, not bound


async def _tidy_memory() -> None:
    """Keep memory flat: 1 to 3 ms now and then instead of megabytes that come and stay.

    Python looks at its oldest objects only once they are a quarter more: closed connections would wait there for hours. glibc
    gives free pages back only from a heap's end, and a heap in which large and small pieces alternate never ends lower.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    while True:
        await asyncio.sleep(TIDY_EVERY_S)
        gc.collect()  # what was there at the start is frozen and not looked at
        if trim is not None:
            await asyncio.to_thread(trim, 0)


async def _beat(load: SharedLoad, server: Server) -> None:
    while True:
        if server.started:
            load.beat(time.monotonic_ns() // 1_000_000)
        await asyncio.sleep(BEAT_EVERY_S)


def _supervisor_gone(server: Server) -> None:
    # Nobody would replace or end us: a port that is held by a forgotten process is worse than none.
    asyncio.get_running_loop().remove_reader(sys.stdin)
    server.handle_exit(signal.SIGTERM, None)


def _open_files() -> int:
    """Raise the number of files that may be open to what the system allows: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def main() -> None:
    """One of several, as the supervisor's line on standard input says."""
    start = msgspec.json.decode(sys.stdin.buffer.readline(), type=WorkerStart)
    settings = Settings.model_validate_json(start.settings)
    logs.configure()
    folder = Path(start.folder)
    load = SharedLoad.shared(folder / LOAD, start.workers, start.number)
    slot = WorkerSlot(load, start.number, supervised=True)
    listener = socket.socket(fileno=start.listener)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        metrics = Metrics(VERSION, folder / METRICS)
        metrics.registry.register(ScrapeCollector(wiring.sources(settings, read_settings().socket_path)))
        runner.run(live(settings, slot, listener, metrics, say=lambda: None, welcome=start.welcome))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    sys.exit(run_command(app, BadSettings, StoreError, BadLedgerSettings))
