"""What is found out when it is scraped, since no worker counts it: of the ledger, the keys, the engines' supervisors.

Whoever scrapes waits for this, so each source has a deadline, and one that does not answer has no series this time. It runs in
the scrape's own thread: no worker's event loop is in it.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography import x509
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.ledger.client.blocking_client import ask_ledger
from gateway.ledger.client.statistics import HistogramData, LedgerStatistics, StatisticsAsk
from gateway.ledger.errors import LedgerUnavailable
from gateway.telemetry import catalogue

LEDGER_DEADLINE_S = 1.0

_DEFINITIONS = {one.name: one for one in catalogue.ALL if one.asked}


@dataclass(frozen=True)
class WorkerCounts:
    """How many should serve, how many do, and how often one was replaced."""

    wanted: int
    serving: int
    restarts: int


class NamespaceView(Protocol):
    @property
    def isolated(self) -> bool: ...

    @property
    def no_routes(self) -> int: ...


class EngineFacts(Protocol):
    """What an engine's supervisor says of it."""

    @property
    def restarts(self) -> int: ...

    @property
    def hangs(self) -> int: ...

    @property
    def silent_since_s(self) -> float | None: ...

    @property
    def namespace(self) -> NamespaceView | None: ...


@dataclass(frozen=True)
class Sources:
    """Where to ask. ``keys`` counts them by state and may raise sqlite3.Error; ``workers`` is known to their supervisor alone."""

    ledger: Path
    keys: Callable[[], Mapping[str, int]]
    engines: Callable[[], Mapping[str, EngineFacts]]
    certificate: Path | None = None
    workers: Callable[[], WorkerCounts] | None = None


class ScrapeCollector(Collector):
    """A collector of prometheus-client. Safe in several threads at once."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        yield from _of_ledger(self._sources.ledger)
        yield from _of_keys(self._sources.keys)
        yield from _of_engines(self._sources.engines())
        yield from _of_certificate(self._sources.certificate)
        if self._sources.workers is not None:
            found = self._sources.workers()
            yield _labelled("vitrine_workers", {("wanted",): found.wanted, ("serving",): found.serving})
            yield _plain("vitrine_worker_restarts_total", found.restarts)


def _of_ledger(socket: Path) -> Iterator[Metric]:
    try:
        found = ask_ledger(socket, StatisticsAsk(), LEDGER_DEADLINE_S)
    except LedgerUnavailable:
        found = None
    yield _plain("vitrine_ledger_up", found is not None)
    if not isinstance(found, LedgerStatistics):
        return
    yield _spread("vitrine_ledger_commit_seconds", found.commit_s)
    yield _spread("vitrine_ledger_batch_records", found.batch)
    yield _labelled("vitrine_ledger_appended_total", {(kind,): count for kind, count in found.appended.items()})
    yield _labelled("vitrine_ledger_errors_total", {(what,): count for what, count in found.troubles.items()})
    yield _plain("vitrine_integrity_alarms_total", found.appended.get("integrity", 0))
    yield _plain("vitrine_ledger_log_records", found.size)
    yield _plain("vitrine_ledger_head_records", found.head_size)
    yield _plain("vitrine_ledger_head_timestamp_seconds", found.head_ms / 1000)
    yield _plain("vitrine_ledger_commit_timestamp_seconds", found.commit_ms / 1000)
    yield _plain("vitrine_ledger_open_exchanges", found.open_exchanges)
    yield _plain("vitrine_ledger_connections", found.connections)
    yield _plain("vitrine_ledger_segment_bytes", found.segment_bytes)
    yield _plain("vitrine_ledger_free_bytes", found.free_bytes)
    yield _plain("vitrine_ledger_disk_bytes", found.disk_bytes)
    yield _plain("vitrine_ledger_start_timestamp_seconds", found.since_ms / 1000)


def _of_keys(count: Callable[[], Mapping[str, int]]) -> Iterator[Metric]:
    try:
        found = count()
    except sqlite3.Error:
        return
    yield _labelled("vitrine_keys", {(state,): float(count) for state, count in found.items()})


def _of_engines(states: Mapping[str, EngineFacts]) -> Iterator[Metric]:
    spaces = {name: state.namespace for name, state in states.items() if state.namespace is not None}
    yield _labelled("vitrine_engine_restarts_total", {(name,): state.restarts for name, state in states.items()})
    yield _labelled("vitrine_engine_hangs_total", {(name,): state.hangs for name, state in states.items()})
    yield _labelled(
        "vitrine_engine_silent", {(name,): state.silent_since_s is not None for name, state in states.items()}
    )
    yield _labelled("vitrine_engine_isolated", {(name,): space.isolated for name, space in spaces.items()})
    # In a network that it shares with the host the packets without a route are anybody's.
    attempts: dict[tuple[str, ...], float] = {
        (name,): space.no_routes for name, space in spaces.items() if space.isolated
    }
    yield _labelled("vitrine_engine_egress_attempts_total", attempts)


def _of_certificate(path: Path | None) -> Iterator[Metric]:
    if path is None:
        return
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return
    yield _plain("vitrine_certificate_expiry_timestamp_seconds", certificate.not_valid_after_utc.timestamp())


def _plain(name: str, value: float) -> Metric:
    return _labelled(name, {(): value})


def _labelled(name: str, values: Mapping[tuple[str, ...], float]) -> Metric:
    one = _DEFINITIONS[name]
    kind = CounterMetricFamily if one.kind == "counter" else GaugeMetricFamily
    family = kind(one.name, one.help, labels=one.labels)
    for labels, value in values.items():
        family.add_metric(labels, float(value))
    return family


def _spread(name: str, spread: HistogramData) -> Metric:
    one = _DEFINITIONS[name]
    total, buckets = 0, []
    for bound, count in zip((*map(str, spread.bounds), "+Inf"), spread.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    family = HistogramMetricFamily(one.name, one.help, labels=one.labels)
    family.add_metric((), buckets, spread.sum)
    return family
