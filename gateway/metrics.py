"""Every metric of the gateway, in one registry made in one place; labels are enums, route templates and configured names."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.engines.engine import Engine
from gateway.engines.pool import Pool
from gateway.exchange import Exchange

FOLLOW_EVERY_S = 0.25
# A chat answer takes from milliseconds (refused) to minutes (long documents).
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)

_LOADS: tuple[tuple[str, str, Literal["livesum", "livemax"], Callable[[Engine], int]], ...] = (
    ("vitrine_queue_waiting", "Requests that wait for the engine.", "livesum", lambda engine: engine.queue.waiting),
    ("vitrine_busy_exchanges", "Exchanges at work at the engine.", "livesum", lambda engine: engine.queue.exchanges),
    ("vitrine_busy_tokens", "Tokens reserved by these.", "livesum", lambda engine: engine.queue.tokens),
    ("vitrine_engine_ready", "Whether the engine may be asked.", "livemax", lambda engine: engine.ready),
)


class Metrics:
    """The gateway's metrics. ``registry`` is what gets scraped: with ``shared``, the folder that PROMETHEUS_MULTIPROC_DIR
    names, the sums of all workers."""

    def __init__(self, version: str, shared: Path | None = None) -> None:
        own = CollectorRegistry()
        self.registry = gathered(shared) if shared else own
        self.requests = Counter(
            "vitrine_requests", "Answered HTTP requests.", ["route", "method", "status"], registry=own
        )
        self.exchanges = Counter(
            "vitrine_exchanges",
            "Exchanges with an engine, by how they ended.",
            ["model", "outcome"],
            registry=own,
        )
        self.in_flight = Gauge(
            "vitrine_exchanges_in_flight", "Exchanges that are going on.", multiprocess_mode="livesum", registry=own
        )
        self.connections = Gauge("vitrine_connections", "Open connections.", multiprocess_mode="livesum", registry=own)
        self.waited = Histogram(
            "vitrine_queue_seconds", "From the request's turn being asked for to its turn.", ["model"],
            buckets=_SECONDS, registry=own,
        )  # fmt: skip
        self.refused = Counter(
            "vitrine_refused", "Refusals by a limit, a full house or the doorway.", ["code"], registry=own
        )
        self.retries = Counter(
            "vitrine_retries", "Requests that another engine was asked after this one failed.", ["engine"],
            registry=own,
        )  # fmt: skip
        self.shared_limits_failures = Counter(
            "vitrine_shared_limits_failures", "Words to the shared limits that got no answer in time.", registry=own
        )
        self.first_byte = Histogram(
            "vitrine_first_byte_seconds", "From the request to the first byte of its answer.", ["model"],
            buckets=_SECONDS, registry=own,
        )  # fmt: skip
        self.total = Histogram(
            "vitrine_exchange_seconds", "From the request to the end of its answer.", ["model"],
            buckets=_SECONDS, registry=own,
        )  # fmt: skip
        self.tokens = Counter("vitrine_tokens", "Tokens that the engine counted.", ["model", "direction"], registry=own)
        self.images = Counter("vitrine_images", "Pictures that were sent to an engine.", ["model"], registry=own)
        build = Gauge(
            "vitrine_build_info",
            "Always 1; the version is its label.",
            ["version"],
            multiprocess_mode="max",
            registry=own,
        )
        build.labels(version).set(1)
        self._loads = [
            (Gauge(name, text, ["engine"], multiprocess_mode=mode, registry=own), read)
            for name, text, mode, read in _LOADS
        ]

    async def follow(self, pool: Pool) -> None:
        """Say how much works and waits at each engine, until cancelled."""
        known: set[str] = set()
        while True:
            known |= pool.engines.keys()
            for name in known:
                engine = pool.engines.get(name)
                for gauge, read in self._loads:
                    # One that is gone keeps its series, at nothing: its name was configured.
                    gauge.labels(name).set(read(engine) if engine else 0)
            await asyncio.sleep(FOLLOW_EVERY_S)

    def count(self, exchange: Exchange) -> None:
        """Count an exchange that has ended."""
        model, answer = exchange.request.model, exchange.answer
        self.exchanges.labels(model, exchange.outcome).inc()
        self.total.labels(model).observe(time.monotonic() - exchange.started_s)
        if exchange.first_byte_s is not None:
            self.first_byte.labels(model).observe(exchange.first_byte_s - exchange.started_s)
        self.tokens.labels(model, "in").inc(answer.prompt_tokens or 0)
        self.tokens.labels(model, "out").inc(answer.completion_tokens or 0)
        self.images.labels(model).inc(len(exchange.request.images))


def gathered(folder: Path) -> CollectorRegistry:
    """What all workers that write into ``folder`` have counted."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return registry
