"""Every metric of the gateway, in one registry made in one place; labels are enums, route templates and configured names."""

import time
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.engines.pool import Pool
from gateway.engines.queue import Queue
from gateway.exchange import Exchange

# A chat answer takes from milliseconds (refused) to minutes (long documents).
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The gateway's metrics. ``registry`` is what gets scraped."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "vitrine_requests", "Answered HTTP requests.", ["route", "method", "status"], registry=self.registry
        )
        self.exchanges = Counter(
            "vitrine_exchanges",
            "Exchanges with an engine, by how they ended.",
            ["model", "outcome"],
            registry=self.registry,
        )
        self.in_flight = Gauge("vitrine_exchanges_in_flight", "Exchanges that are going on.", registry=self.registry)
        self.connections = Gauge("vitrine_connections", "Open connections.", registry=self.registry)
        self.waited = Histogram(
            "vitrine_queue_seconds", "From the request's turn being asked for to its turn.", ["model"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.refused = Counter(
            "vitrine_refused", "Refusals by a limit, a full house or the doorway.", ["code"], registry=self.registry
        )
        self.retries = Counter(
            "vitrine_retries", "Requests that another engine was asked after this one failed.", ["engine"],
            registry=self.registry,
        )  # fmt: skip
        self.first_byte = Histogram(
            "vitrine_first_byte_seconds", "From the request to the first byte of its answer.", ["model"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.total = Histogram(
            "vitrine_exchange_seconds", "From the request to the end of its answer.", ["model"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self.tokens = Counter(
            "vitrine_tokens", "Tokens that the engine counted.", ["model", "direction"], registry=self.registry
        )
        self.images = Counter(
            "vitrine_images", "Pictures that were sent to an engine.", ["model"], registry=self.registry
        )
        build = Gauge("vitrine_build_info", "Always 1; the version is its label.", ["version"], registry=self.registry)
        build.labels(version).set(1)

    def watch(self, pool: Pool) -> None:
        """Say at each scrape how much works and waits at the engines."""
        for name, text, read in (
            ("vitrine_queue_waiting", "Requests that wait for an engine.", lambda queue: queue.waiting),
            ("vitrine_busy_exchanges", "Exchanges at work at an engine.", lambda queue: queue.exchanges),
            ("vitrine_busy_tokens", "Tokens reserved by the exchanges at work.", lambda queue: queue.tokens),
        ):
            gauge = Gauge(name, text, registry=self.registry)
            gauge.set_function(partial(_sum, pool, read))

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


def _sum(pool: Pool, read: Callable[[Queue], int]) -> float:
    return sum(read(engine.queue) for engine in list(pool.engines.values()))
