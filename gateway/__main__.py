"""``vitrine gateway``: the gateway's process, told in order; only parses, opens what is needed, serves, closes."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Annotated

import structlog
import typer
import uvloop
from prometheus_client import CollectorRegistry

from gateway import wiring
from gateway.app import VERSION
from gateway.command_line import run_command
from gateway.engines.shared_load import SharedLoad
from gateway.keys.store import KeyStore, StoreError
from gateway.ledger.errors import BadSettings as BadLedgerSettings
from gateway.ledger.settings import read_settings
from gateway.settings import BadSettings, Settings, read
from gateway.telemetry import logs
from gateway.telemetry.collector import ScrapeCollector, WorkerCounts
from gateway.telemetry.counters import Metrics, gathered
from gateway.telemetry.exporter import serve_metrics
from gateway.worker import METRICS, WorkerSlot, live, url_of
from gateway.workers import Workers, shared_folder

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, help="The gateway: the only door to the engines."
)


class ListenFailed(Exception):
    """Somebody else listens there (exit 1)."""


@app.command()
def run(
    welcome: Annotated[bool, typer.Option("--welcome", help="Make a first key and say how to use it.")] = False,
) -> int:
    """Serve page and API until SIGTERM or Ctrl-C; running answers may end."""
    settings = read()
    # What can't be used is said before anything is opened, once and not by each worker.
    wiring.check(settings)
    read_settings()
    KeyStore(settings.home / "keys.sqlite").close()
    logs.configure()
    listener = _listen(settings.host, settings.port, "VITRINE_PORT (make serve PORT=...)")
    return _alone(settings, listener, welcome) if settings.workers == 1 else _many(settings, listener, welcome)


def _alone(settings: Settings, listener: socket.socket, welcome: bool) -> int:
    metrics = Metrics(VERSION)
    metrics.registry.register(
        ScrapeCollector(wiring.sources(settings, read_settings().socket_path, lambda: WorkerCounts(1, 1, 0)))
    )
    with (
        _exporter(settings, metrics.registry) as metrics_port,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        say = _listening(listener, metrics_port, 1)
        runner.run(live(settings, WorkerSlot(SharedLoad.alone()), listener, metrics, say=say, welcome=welcome))
    return 0


def _many(settings: Settings, listener: socket.socket, welcome: bool) -> int:
    with shared_folder(settings.home.absolute() / "run") as folder:
        workers = Workers(settings, listener, folder, welcome=welcome)
        registry = gathered(folder / METRICS)
        registry.register(ScrapeCollector(wiring.sources(settings, read_settings().socket_path, workers.count)))
        with _exporter(settings, registry) as metrics_port:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, workers.end)
            return workers.run(_listening(listener, metrics_port, settings.workers))


def _listening(listener: socket.socket, metrics_port: int, workers: int) -> Callable[[], None]:
    url = url_of(listener)

    def say() -> None:
        structlog.get_logger().info("listening", url=url, metrics_port=metrics_port, workers=workers, version=VERSION)

    return say


@contextlib.contextmanager
def _exporter(settings: Settings, registry: CollectorRegistry) -> Iterator[int]:
    """Metrics on a port of their own, which it gives."""
    with contextlib.ExitStack() as stack:
        try:
            port = stack.enter_context(
                serve_metrics(settings.metrics_host, settings.metrics_port, registry, wiring.engine_scraper(settings))
            )
        except OSError as error:
            raise _taken(settings.metrics_host, settings.metrics_port, error, "VITRINE_METRICS_PORT") from None
        yield port


def _listen(host: str, port: int, setting: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise _taken(host, port, error, setting) from None
    return listener


def _taken(host: str, port: int, error: OSError, setting: str) -> ListenFailed:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return ListenFailed(f"{host}:{port} can't be listened on ({reason}); choose another with {setting}")


def main(arguments: list[str] | None = None, program: str | None = None) -> int:
    """Run the command line; its exit status. ``program`` is what usage lines call it."""
    return run_command(
        app, BadSettings, ListenFailed, StoreError, BadLedgerSettings, arguments=arguments, program=program
    )


if __name__ == "__main__":
    sys.exit(main())
