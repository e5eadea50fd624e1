"""``python -m gateway``: the gateway's process, told in order; only parses, opens what is needed, serves, closes."""

import asyncio
import math
import os
import resource
import signal
import socket
import sys
from functools import partial
from typing import Annotated

import structlog
import typer
import uvicorn
import uvloop
from prometheus_client import start_http_server

from gateway import command_line
from gateway.app import VERSION, build
from gateway.closing import Server
from gateway.connection import Connection
from gateway.engines.board import Board
from gateway.engines.pool import Pool
from gateway.house import House
from gateway.keys.store import KeyStore, StoreError
from gateway.ledger.client import Deadlines, LedgerClient
from gateway.ledger.messages import Boot
from gateway.ledger.settings import read_settings
from gateway.metrics import Metrics
from gateway.porter import Porter
from gateway.settings import Settings, read
from gateway.welcome import say_when_ready

SPARE_FILES = 512  # engines' connections, the ledger's, SQLite's, what is served from disk
LAST_BYTES_S = 5  # after the last answer's end, for who reads it slowly

app = typer.Typer(add_completion=False, help="The gateway: the only door to the engines.")


class PortTaken(Exception):
    """Somebody else listens there (exit 1)."""


@app.command()
def run(
    welcome: Annotated[bool, typer.Option("--welcome", help="Make a first key and say how to use it.")] = False,
) -> None:
    """Serve page and API until SIGTERM or Ctrl-C; running answers may end."""
    settings = read()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("info"))
    listener = _listen(settings.host, settings.port, "VITRINE_PORT (make serve PORT=...)")
    metrics = Metrics(VERSION)
    try:
        exporter, thread = start_http_server(settings.metrics_port, settings.metrics_host, metrics.registry)
    except OSError as error:
        raise _taken(settings.metrics_host, settings.metrics_port, error, "VITRINE_METRICS_PORT") from None
    keys = KeyStore(settings.home / "keys.sqlite")
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_live(settings, keys, metrics, listener, exporter.server_port, welcome))
    finally:
        exporter.shutdown()
        thread.join()
        keys.close()


async def _live(
    settings: Settings, keys: KeyStore, metrics: Metrics, listener: socket.socket, metrics_port: int, welcome: bool
) -> None:
    ledger_settings = read_settings()
    # Not waited for: without the ledger the gateway lives, says that it is not ready, and answers nothing.
    ledger = await LedgerClient.connect(
        ledger_settings.socket_path, Deadlines(admit_s=settings.admit_timeout_s), wait_s=0,
        buffered=ledger_settings.mode == "buffered",
        boot=Boot("gateway", {"version": VERSION, "settings": settings.digest()}),
    )  # fmt: skip
    async with ledger:
        pool = Pool(settings.plan(Board.alone()))
        metrics.watch(pool)
        house = House.furnish(settings, keys, pool, ledger, metrics)
        await _serve(house, listener, metrics_port, welcome)


async def _serve(house: House, listener: socket.socket, metrics_port: int, welcome: bool) -> None:
    settings = house.settings
    porter = Porter(settings.patience(_open_files() - SPARE_FILES), house.proxies, house.metrics)
    config = uvicorn.Config(
        build(house), http=partial(Connection, porter),  # type: ignore[arg-type]  # anything that makes a protocol
        ws="none", lifespan="on", log_level="warning", access_log=False, server_header=False, proxy_headers=False,
        timeout_keep_alive=math.ceil(settings.idle_timeout_s), timeout_graceful_shutdown=LAST_BYTES_S,
    )  # fmt: skip
    server = Server(config, house.closing, house.pool.close_queues, settings.drain_timeout_s)
    # uvicorn raises the signal that stopped it once more at its end: it must not kill us, the exit status is 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    host, port = listener.getsockname()[:2]
    url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"  # noqa: S104  compared, not bound
    structlog.get_logger().info("listening", url=url, metrics_port=metrics_port, version=VERSION)
    greeting = None
    if welcome:
        greeting = asyncio.create_task(say_when_ready(house, url))
    sweeping = asyncio.create_task(porter.watch())
    await server.serve(sockets=[listener])
    sweeping.cancel()
    if greeting is not None:
        greeting.cancel()


def _open_files() -> int:
    """Raise the number of files that may be open to what the system allows: each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


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


def _taken(host: str, port: int, error: OSError, setting: str) -> PortTaken:
    reason = os.strerror(error.errno) if error.errno else str(error)
    return PortTaken(f"{host}:{port} can't be listened on ({reason}); choose another with {setting}")


if __name__ == "__main__":
    sys.exit(command_line.run(app, PortTaken, StoreError))
