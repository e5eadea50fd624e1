"""Counts what one worker does, in the metrics that gateway.telemetry.catalogue defines; finds out nothing by itself.

An exchange is counted once, after its last byte was handed on, from the numbers that it noted on its way. The series that a
model or a tenant has are looked up once and kept.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Protocol

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.front.errors import EngineBroke, GatewayError, TimedOut
from gateway.ledger.client.async_client import CALLS, What
from gateway.ledger.client.messages import LIMIT_NAMES
from gateway.telemetry import catalogue
from gateway.telemetry.catalogue import MOST_NAMES, OTHER, EngineFailure, HealthState, RoutingReason, SignInFailure
from gateway.telemetry.ended_exchange import EndedExchange
from gateway.telemetry.logs import RefusalLog
from gateway.telemetry.series import ModelSeries, QuickHistogram, SeriesValue, TenantSeries, series_value

FOLLOW_EVERY_S = 0.25


class QueueView(Protocol):
    """How much waits and works at an engine, or may."""

    @property
    def waiting(self) -> int: ...

    @property
    def exchanges(self) -> int: ...

    @property
    def tokens(self) -> int: ...


class EngineQueueView(QueueView, Protocol):
    @property
    def bound(self) -> int: ...


class HealthView(Protocol):
    @property
    def standing(self) -> HealthState: ...


class EngineView(Protocol):
    """An engine as far as it is counted."""

    @property
    def queue(self) -> EngineQueueView: ...

    @property
    def health(self) -> HealthView: ...

    @property
    def ready(self) -> bool: ...

    @property
    def draining(self) -> bool: ...

    @property
    def certificate_ends_s(self) -> float | None: ...


class PoolView(Protocol):
    """The engines of one worker."""

    @property
    def bounds(self) -> QueueView: ...

    @property
    def engines(self) -> Mapping[str, EngineView]: ...

    def served(self) -> Iterable[str]: ...


@dataclass(frozen=True)
class PolledSources:
    """What is looked at again and again: the engines, the bytes that are held, and whether the ledger is connected."""

    pool: PoolView
    held_bytes: Callable[[], int]
    ledger_connected: Callable[[], bool]


_LOADS: dict[str, Callable[[EngineView], float]] = {
    "vitrine_queue_waiting": lambda engine: engine.queue.waiting,
    "vitrine_busy_exchanges": lambda engine: engine.queue.exchanges,
    "vitrine_busy_tokens": lambda engine: engine.queue.tokens,
    "vitrine_engine_exchanges_bound": lambda engine: engine.queue.bound,
    "vitrine_engine_ready": lambda engine: engine.ready,
    "vitrine_engine_draining": lambda engine: engine.draining,
}


class Metrics:
    """The gateway's metrics. ``registry`` is what gets scraped: with ``shared``, the folder that PROMETHEUS_MULTIPROC_DIR
    names, the sums of all workers."""

    def __init__(self, version: str, shared: Path | None = None) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each
        own = CollectorRegistry()
        self.registry = gathered(shared) if shared else own
        self._all = {one.name: _make(one, own) for one in catalogue.ALL if not one.asked}
        self.in_flight = series_value(self._gauge("vitrine_exchanges_in_flight"))
        self.connections = self._gauge("vitrine_connections")
        self.shared_limits_failures = self._counter("vitrine_shared_limits_failures_total")
        self._requests: dict[tuple[str, str, int], SeriesValue] = {}
        self._models: dict[str, ModelSeries] = {}
        self._tenants: dict[str, TenantSeries] = {}
        self._engines: set[str] = set()
        self._refusals = RefusalLog()
        self._choices: dict[tuple[str, RoutingReason], SeriesValue] = {}
        self._logins = {
            one: self._counter("vitrine_authentication_failures_total").labels(one) for one in SignInFailure
        }
        self._ledger_calls = {
            one: QuickHistogram(self._histogram("vitrine_ledger_call_seconds").labels(one)) for one in CALLS[:2]
        }
        self._ledger_failures = {one: self._counter("vitrine_ledger_failures_total").labels(one) for one in CALLS}
        for result in ("exported", "failed", "dropped"):
            self._counter("vitrine_spans_total").labels(result)
        for limit, scope in product(LIMIT_NAMES, ("key", "tenant")):
            self._counter("vitrine_limits_hit_total").labels(limit, scope)
        self._gauge("vitrine_build_info").labels(version).set(1)

    # What happens

    def answered(self, route: str, method: str, status: int) -> None:
        """Count an HTTP answer; ``route`` is a template and ``method`` one of few words."""
        series = self._requests.get((route, method, status))
        if series is None:
            series = series_value(self._counter("vitrine_requests_total").labels(route, method, status))
            self._requests[route, method, status] = series
        series.add()

    def refuse(self, error: GatewayError) -> None:
        """Count an error that a request was answered with, if we said no: not if an engine failed it, or we did."""
        if error.status == 503:
            self._refusals.note(error.code or error.type, error.message)
        if 400 <= error.status < 500 or error.status == 503:
            self._counter("vitrine_refused_total").labels(error.code or error.type).inc()

    def ignored(self, fields: Iterable[str]) -> None:
        """Count fields of one request that were ignored; each is a name of a fixed list, or ``other``."""
        for name in fields:
            self._counter("vitrine_ignored_fields_total").labels(name).inc()

    def dismissed(self) -> None:
        """A connection without a request made room for another."""
        self._counter("vitrine_refused_total").labels("dismissed").inc()

    def not_let_in(self, why: SignInFailure) -> None:
        self._logins[why].inc()

    def limited(self, tenant: str, limit: str, scope: str) -> None:
        """A limit of the key or of the tenant (``scope``) refused a request."""
        self._counter("vitrine_limits_hit_total").labels(limit, scope).inc()
        self._counter("vitrine_tenant_limits_hit_total").labels(self._tenant(tenant).name, limit).inc()

    def failed(self, engine: str, error: GatewayError) -> None:
        """An engine failed an exchange."""
        what = EngineFailure.UNREACHABLE
        if isinstance(error, TimedOut | EngineBroke):
            what = EngineFailure.TIMED_OUT if isinstance(error, TimedOut) else EngineFailure.BROKE
        self._counter("vitrine_engine_failures_total").labels(self._engine(engine), what).inc()

    def retried(self, engine: str) -> None:
        """Another engine is asked after this one failed."""
        self._counter("vitrine_retries_total").labels(self._engine(engine)).inc()

    def chosen(self, engine: str, why: RoutingReason) -> None:
        series = self._choices.get((engine, why))
        if series is None:
            series = series_value(self._counter("vitrine_engine_choices_total").labels(self._engine(engine), why))
            self._choices[engine, why] = series
        series.add()

    def probed(self, engine: str, *, ok: bool) -> None:
        self._counter("vitrine_engine_probes_total").labels(self._engine(engine), "ok" if ok else "failed").inc()

    def unanswered(self, call: What) -> None:
        """The audit log gave no durable answer in time."""
        self._ledger_failures[call].inc()

    def spans(self, result: str, count: int) -> None:
        """What became of spans; from the traces' thread."""
        self._counter("vitrine_spans_total").labels(result).inc(count)

    def count(self, exchange: EndedExchange) -> None:
        """Count an exchange that has ended."""
        self._model(exchange.model).count(exchange)
        self._tenant(exchange.tenant).count(exchange)
        if exchange.admit_s is not None:
            self._ledger_calls["admit"].observe(exchange.admit_s)
        if exchange.complete_s is not None:
            self._ledger_calls["complete"].observe(exchange.complete_s)

    # What goes on

    async def follow(self, followed: PolledSources, route: str) -> None:
        """Say how much works and waits, until cancelled; ``route`` is what exchanges come by."""
        pool, bounds = followed.pool, followed.pool.bounds
        self._gauge("vitrine_queue_bound").set(bounds.waiting)
        self._gauge("vitrine_busy_exchanges_bound").set(bounds.exchanges)
        self._gauge("vitrine_busy_tokens_bound").set(bounds.tokens)
        lag = self._gauge("vitrine_loop_lag_seconds")
        while True:
            for name in pool.served():
                self._model(name).expect(route)
            for name, engine in pool.engines.items():
                self._say(self._engine(name), engine)
            for name in self._engines - pool.engines.keys():
                self._say_gone(name)
            self._gauge("vitrine_held_bytes").set(followed.held_bytes())
            self._gauge("vitrine_ledger_connected").set(followed.ledger_connected())
            due_s = time.monotonic() + FOLLOW_EVERY_S
            await asyncio.sleep(FOLLOW_EVERY_S)
            lag.set(max(0.0, time.monotonic() - due_s))

    def _say(self, name: str, engine: EngineView) -> None:
        for metric, read in _LOADS.items():
            self._gauge(metric).labels(name).set(read(engine))
        for standing in HealthState:
            self._gauge("vitrine_engine_standing").labels(name, standing).set(engine.health.standing is standing)
        if engine.certificate_ends_s is not None:
            expiry = self._gauge("vitrine_engine_certificate_expiry_timestamp_seconds")
            expiry.labels(name).set(engine.certificate_ends_s)

    def _say_gone(self, name: str) -> None:
        # It keeps its series, at nothing: its name was configured.
        for metric in _LOADS:
            self._gauge(metric).labels(name).set(0)
        for standing in HealthState:
            self._gauge("vitrine_engine_standing").labels(name, standing).set(0)

    # Series

    def _engine(self, name: str) -> str:
        """Its name as a label. One that is new gets its series, at nothing."""
        if name in self._engines:
            return name
        if len(self._engines) >= MOST_NAMES:
            return OTHER
        self._engines.add(name)
        self._counter("vitrine_retries_total").labels(name)
        for what in EngineFailure:
            self._counter("vitrine_engine_failures_total").labels(name, what)
        for result in ("ok", "failed"):
            self._counter("vitrine_engine_probes_total").labels(name, result)
        return name

    def _model(self, name: str) -> ModelSeries:
        found = self._models.get(name)
        if found is None:
            if len(self._models) >= MOST_NAMES and name != OTHER:
                return self._model(OTHER)
            found = self._models[name] = ModelSeries(name, self._counter, self._histogram)
        return found

    def _tenant(self, name: str) -> TenantSeries:
        found = self._tenants.get(name)
        if found is None:
            if len(self._tenants) >= MOST_NAMES and name != OTHER:
                return self._tenant(OTHER)
            found = self._tenants[name] = TenantSeries(name, self._counter)
        return found

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


def gathered(folder: Path) -> CollectorRegistry:
    """What all workers that write into ``folder`` have counted."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]  # the library has no types
    return registry


def _make(one: catalogue.Definition, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    if one.kind == "counter":
        return Counter(one.name, one.help, one.labels, registry=registry)
    if one.kind == "histogram":
        return Histogram(one.name, one.help, one.labels, registry=registry, buckets=one.buckets)
    return Gauge(one.name, one.help, one.labels, registry=registry, multiprocess_mode=one.mode)
