"""Counts what one worker does, in the metrics that gateway.metrics defines; finds out nothing by itself."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from gateway import metrics as names
from gateway.engines.engine import Engine
from gateway.engines.pool import Pool
from gateway.exchange import Exchange

FOLLOW_EVERY_S = 0.25

_LOADS: dict[str, Callable[[Engine], int]] = {
    "vitrine_queue_waiting": lambda engine: engine.queue.waiting,
    "vitrine_busy_exchanges": lambda engine: engine.queue.exchanges,
    "vitrine_busy_tokens": lambda engine: engine.queue.tokens,
    "vitrine_engine_ready": lambda engine: engine.ready,
}


class Metrics:
    """The gateway's metrics. ``registry`` is what gets scraped: with ``shared``, the folder that PROMETHEUS_MULTIPROC_DIR
    names, the sums of all workers."""

    def __init__(self, version: str, shared: Path | None = None) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, of which nobody asks
        own = CollectorRegistry()
        self.registry = gathered(shared) if shared else own
        self._all = {one.name: _make(one, own) for one in names.ALL if not one.asked}
        self.requests = self._counter("vitrine_requests_total")
        self.exchanges = self._counter("vitrine_exchanges_total")
        self.in_flight = self._gauge("vitrine_exchanges_in_flight")
        self.connections = self._gauge("vitrine_connections")
        self.waited = self._histogram("vitrine_queue_seconds")
        self.refused = self._counter("vitrine_refused_total")
        self.retries = self._counter("vitrine_retries_total")
        self.shared_limits_failures = self._counter("vitrine_shared_limits_failures_total")
        self.first_byte = self._histogram("vitrine_first_byte_seconds")
        self.total = self._histogram("vitrine_exchange_seconds")
        self.tokens = self._counter("vitrine_tokens_total")
        self.images = self._counter("vitrine_images_total")
        self._gauge("vitrine_build_info").labels(version).set(1)

    def _counter(self, name: str) -> Counter:
        found = self._all[name]
        assert isinstance(found, Counter)
        return found

    def _gauge(self, name: str) -> Gauge:
        found = self._all[name]
        assert isinstance(found, Gauge)
        return found

    def _histogram(self, name: str) -> Histogram:
        found = self._all[name]
        assert isinstance(found, Histogram)
        return found

    async def follow(self, pool: Pool) -> None:
        """Say how much works and waits at each engine, until cancelled."""
        known: set[str] = set()
        while True:
            known |= pool.engines.keys()
            for name in known:
                engine = pool.engines.get(name)
                for metric, read in _LOADS.items():
                    # One that is gone keeps its series, at nothing: its name was configured.
                    self._gauge(metric).labels(name).set(read(engine) if engine else 0)
            await asyncio.sleep(FOLLOW_EVERY_S)

    def count(self, exchange: Exchange) -> None:
        """Count an exchange that has ended."""
        model, answer = exchange.request.model, exchange.answer
        self.exchanges.labels(exchange.route, model, exchange.outcome).inc()
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


def _make(one: names.Definition, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    if one.kind == "counter":
        return Counter(one.name, one.help, one.labels, registry=registry)
    if one.kind == "histogram":
        return Histogram(one.name, one.help, one.labels, registry=registry, buckets=one.buckets)
    return Gauge(one.name, one.help, one.labels, registry=registry, multiprocess_mode=one.mode)
