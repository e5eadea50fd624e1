"""Every metric of the gateway: its name, kind, help, labels and buckets; plain data that counts nothing.

gateway.telemetry.counters counts what workers do; gateway.telemetry.collector finds out the rest (``asked``) when it is scraped.

A label is an enum's word, a route template or a name that was configured or is served, never what a client wrote: past
``MOST_NAMES`` of one kind, and for a model that is not served, it is ``other``. docs/reference lists every metric; a test compares.
"""

import enum
from dataclasses import dataclass
from typing import Literal

from gateway.ledger.client.statistics import BATCH_BOUNDS, COMMIT_BOUNDS

OTHER = "other"
LATE_FIRST_TOKEN_S = 3.0  # the objective's (docs/decisions/0046)
MOST_NAMES = 1000  # of models, engines and tenants, each

Mode = Literal["livesum", "livemax", "livemin", "livemostrecent"]
Buckets = tuple[float, ...]


class Stage(enum.StrEnum):
    """Where the time of an exchange goes. Each moment of it belongs to one stage, so that all together are the whole."""

    AUTH = "auth"  # from the request's head to its caller
    READ = "read"  # the body
    DOOR = "door"  # understood, pictures digested (fetched, encoded anew), an engine chosen
    ADMIT = "admit"  # waiting for the audit log, and for shared limits, to admit it; what runs beside the engine is not in it
    QUEUE = "queue"  # waiting for a turn
    ENGINE = "engine"  # from being asked to its first byte
    ANSWER = "answer"  # from there to its last; what the client is slow at reading is in it
    COMPLETE = "complete"  # waiting for the record of the end
    SEND = "send"  # the last bytes


class Outcome(enum.StrEnum):
    """How an exchange ended."""

    COMPLETED = "completed"
    CLIENT_LEFT = "client_left"
    ENGINE_BROKE = "engine_broke"
    REFUSED = "refused"
    TIMED_OUT = "timed_out"


class HealthState(enum.StrEnum):
    """How one worker sees an engine; gateway/engines/health.py draws the ways between them."""

    UNPROVEN = "unproven"
    SERVING = "serving"
    SUSPECT = "suspect"
    EJECTED = "ejected"


class Direction(enum.StrEnum):
    """Of tokens and bytes: to the engine, or back."""

    IN = "in"
    OUT = "out"


class SignInFailure(enum.StrEnum):
    """Why a request was not let in."""

    MISSING = "missing"  # no key
    INVALID = "invalid"  # unknown, revoked, expired or misspelled: nobody is told which
    BRAKED = "braked"  # one more from an address that sent too many


class EngineFailure(enum.StrEnum):
    """What went wrong with an engine that was asked."""

    UNREACHABLE = "unreachable"
    BROKE = "broke"  # off, or answered with an error or with nonsense
    TIMED_OUT = "timed-out"


class RoutingReason(enum.StrEnum):
    """Why an engine was chosen."""

    ONLY = "only"  # no other could be asked
    HOME = "home"  # the picture's own: its caches are warm
    SPILLED = "spilled"  # another, since the picture's own had more than its share
    LEAST_LOADED = "least-loaded"
    ROUND_ROBIN = "round-robin"


@dataclass(frozen=True)
class Definition:
    """One metric as it is scraped. ``mode``: how gauges of several workers become one. ``asked``: not counted by workers but
    found out when it is scraped."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: Buckets = ()
    mode: Mode = "livesum"
    asked: bool = False


# From a door that refuses at once to a long document: seconds.
# fmt: off
STAGES: Buckets = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300,
)
# fmt: on
WHOLE: Buckets = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
FIRST: Buckets = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 30, 60, 120)
# fmt: off
TOKENS_APART: Buckets = (
    0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5,
)
# fmt: on
SILENCE: Buckets = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
DISK: Buckets = COMMIT_BOUNDS
BATCH: Buckets = BATCH_BOUNDS


def _counter(name: str, text: str, *labels: str, asked: bool = False) -> Definition:
    return Definition(name, "counter", text, labels, asked=asked)


def _gauge(name: str, text: str, *labels: str, mode: Mode = "livesum") -> Definition:
    return Definition(name, "gauge", text, labels, mode=mode)


def _asked(name: str, text: str, *labels: str) -> Definition:
    return Definition(name, "gauge", text, labels, asked=True)


def _seconds(name: str, text: str, buckets: Buckets, *labels: str) -> Definition:
    return Definition(name, "histogram", text, labels, buckets)


REQUESTS = (
    _counter("vitrine_requests_total", "HTTP requests answered.", "route", "method", "status"),
    _counter("vitrine_refused_total", "Refusals by the door, a limit, a full queue or the connection manager.", "code"),
    _counter("vitrine_ignored_fields_total", "Unknown fields of requests that were ignored, by name.", "field"),
    _counter("vitrine_authentication_failures_total", "Requests without a key that is good.", "reason"),
    _gauge("vitrine_connections", "Open connections."),
)
EXCHANGES = (
    _counter("vitrine_exchanges_total", "Exchanges with an engine, by how they ended.", "route", "model", "outcome"),
    _gauge("vitrine_exchanges_in_flight", "Exchanges that are going on."),
    _seconds("vitrine_exchange_seconds", "From the request's head to the last byte of its answer.", WHOLE, "model"),
    _seconds(
        "vitrine_stage_seconds",
        "Time in each stage of an exchange; all stages are the whole.",
        STAGES,
        "model",
        "stage",
    ),
    _seconds("vitrine_queue_seconds", "From the request's turn being asked for to its turn.", WHOLE, "model"),
    _seconds("vitrine_first_byte_seconds", "From the request's head to the first byte of its answer.", FIRST, "model"),
    _seconds(
        "vitrine_first_token_seconds",
        "From the request's head to the first token of a stream, or to its client's leaving over 3 s later without one.",
        FIRST,
        "model",
    ),
    _seconds(
        "vitrine_between_tokens_seconds",
        "A stream's time after its first token, by token: its mean.",
        TOKENS_APART,
        "model",
    ),
    _seconds("vitrine_longest_silence_seconds", "A stream's longest time between two pieces.", SILENCE, "model"),
    _counter("vitrine_tokens_total", "Tokens as the engine counted them.", "model", "direction"),
    _counter("vitrine_images_total", "Pictures that were sent to an engine.", "model"),
    _counter("vitrine_image_bytes_total", "Bytes of these pictures, decoded from base64.", "model"),
    _counter("vitrine_image_pixels_total", "Pixels of these pictures.", "model"),
    _counter(
        "vitrine_relayed_bytes_total", "Bytes of clients' bodies, and of the answers to them.", "model", "direction"
    ),
    _gauge("vitrine_held_bytes", "Bytes of bodies in memory."),
)
LIMITS = (
    _counter("vitrine_limits_hit_total", "Requests that a limit refused.", "limit", "scope"),
    _counter("vitrine_shared_limits_failures_total", "Words to the shared limits that got no answer in time."),
    _counter("vitrine_tenant_exchanges_total", "Exchanges of each tenant, by how they ended.", "tenant", "outcome"),
    _counter("vitrine_tenant_tokens_total", "Tokens of each tenant.", "tenant", "direction"),
    _counter("vitrine_tenant_images_total", "Pictures of each tenant.", "tenant"),
    _counter("vitrine_tenant_limits_hit_total", "Requests of each tenant that a limit refused.", "tenant", "limit"),
)
ENGINES = (
    _gauge("vitrine_queue_waiting", "Requests that wait for the engine.", "engine"),
    _gauge("vitrine_busy_exchanges", "Exchanges at work at the engine.", "engine"),
    _gauge("vitrine_busy_tokens", "Tokens reserved by these.", "engine"),
    _gauge("vitrine_queue_bound", "How many may wait for one engine."),
    _gauge("vitrine_busy_exchanges_bound", "How many exchanges may be at work at one engine.", mode="livemax"),
    _gauge(
        "vitrine_engine_exchanges_bound",
        "How many exchanges may be at work at this engine: its max-num-seqs, or less.",
        "engine",
        mode="livemax",
    ),
    _gauge("vitrine_busy_tokens_bound", "How many tokens these may reserve.", mode="livemax"),
    _gauge("vitrine_engine_ready", "Whether the engine may be asked.", "engine", mode="livemax"),
    _gauge("vitrine_engine_standing", "1 where a worker sees the engine so.", "engine", "standing", mode="livemax"),
    _gauge("vitrine_engine_draining", "Whether the engine gets nothing new.", "engine", mode="livemax"),
    _counter("vitrine_engine_choices_total", "Exchanges given to each engine, and why it was chosen.", "engine", "why"),
    _counter("vitrine_engine_failures_total", "Times that an engine failed an exchange.", "engine", "what"),
    _counter(
        "vitrine_engine_probes_total", "Probes of an engine that answered nobody for a while.", "engine", "result"
    ),
    _counter("vitrine_retries_total", "Requests that another engine was asked after this one failed.", "engine"),
    _gauge(
        "vitrine_engine_certificate_expiry_timestamp_seconds",
        "When the certificate of an engine over TLS ends.",
        "engine",
        mode="livemostrecent",
    ),
    _asked(
        "vitrine_engine_isolated", "Whether an engine of this host has a network of its own with no way out.", "engine"
    ),
    _counter(
        "vitrine_engine_egress_attempts_total",
        "Packets of an engine that found no route out of its network.",
        "engine",
        asked=True,
    ),
    _counter(
        "vitrine_engine_restarts_total", "Restarts of an engine of this host by its supervisor.", "engine", asked=True
    ),
    _counter(
        "vitrine_engine_hangs_total",
        "Engines of this host that made no token in time and were killed for it.",
        "engine",
        asked=True,
    ),
    _asked(
        "vitrine_engine_silent", "Whether an engine of this host makes no token although it is asked for one.", "engine"
    ),
    _asked("vitrine_certificate_expiry_timestamp_seconds", "When the gateway's own certificate for engines ends."),
)
LEDGER = (
    _counter("vitrine_ledger_failures_total", "Calls to the audit log without a durable answer in time.", "call"),
    _seconds("vitrine_ledger_call_seconds", "From asking the audit log to its durable answer.", DISK, "call"),
    _gauge("vitrine_ledger_connected", "Whether every worker is connected to the audit log.", mode="livemin"),
    _asked("vitrine_ledger_up", "Whether the audit log answered this scrape; what follows is there only then."),
    Definition("vitrine_ledger_commit_seconds", "histogram", "Writing and syncing one batch.", (), DISK, asked=True),
    Definition("vitrine_ledger_batch_records", "histogram", "Records in one batch.", (), BATCH, asked=True),
    _counter("vitrine_ledger_appended_total", "Records since the audit log's start, by kind.", "kind", asked=True),
    _asked("vitrine_ledger_log_records", "Records in the log."),
    _asked("vitrine_ledger_head_records", "Records that the last signed head covers."),
    _asked("vitrine_ledger_head_timestamp_seconds", "When the last head was signed."),
    _asked("vitrine_ledger_commit_timestamp_seconds", "When the last batch was committed; 0 before the first."),
    _asked("vitrine_ledger_open_exchanges", "Exchanges that were admitted and have not ended."),
    _asked("vitrine_ledger_connections", "Processes that are connected to the audit log, this scrape among them."),
    _asked("vitrine_ledger_segment_bytes", "Bytes in the log's open segment."),
    _asked("vitrine_ledger_free_bytes", "Free bytes on the log's disk."),
    _asked("vitrine_ledger_disk_bytes", "Size of the log's disk."),
    _asked("vitrine_ledger_start_timestamp_seconds", "When the audit log was started."),
    _counter(
        "vitrine_ledger_errors_total", "Anchors, seals and other work beside the log that failed.", "what", asked=True
    ),
    _counter(
        "vitrine_integrity_alarms_total",
        "Integrity records since the audit log's start: a file or a connection is not what it should be.",
        asked=True,
    ),
)
PROCESSES = (
    _asked("vitrine_keys", "API keys by their state.", "state"),
    _gauge("vitrine_loop_lag_seconds", "How late the busiest worker's event loop is.", mode="livemax"),
    _asked("vitrine_workers", "Workers that the gateway should have, and that serve.", "state"),
    _counter("vitrine_worker_restarts_total", "Workers that died or hung and were replaced.", asked=True),
    _counter("vitrine_spans_total", "Spans for the traces' collector, by what became of them.", "result"),
    _gauge("vitrine_build_info", "Always 1; the version is its label.", "version", mode="livemax"),
)

ALL: tuple[Definition, ...] = (*REQUESTS, *EXCHANGES, *LIMITS, *ENGINES, *LEDGER, *PROCESSES)
