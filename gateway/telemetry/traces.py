"""Hands traces to an OpenTelemetry collector, off unless an endpoint is set; never a content, an address or a key.

One span for each exchange, named and described by the GenAI conventions, and below it one for each stage. They are made in a
thread of their own from the numbers that the exchange noted. They end here: the engine has no network. A collector that is away
costs nothing but the spans, which are counted. All names of attributes are in this file, since the conventions still change:
https://github.com/open-telemetry/semantic-conventions-genai (docs/gen-ai/gen-ai-spans.md)
"""

import contextlib
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

import requests
import structlog
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from gateway.telemetry.catalogue import Outcome, Stage
from gateway.telemetry.ended_exchange import EndedExchange

MOST_WAITING = 2048  # exchanges
BATCH = 256
EVERY_S = 0.5
EXPORT_S = 3.0
LAST_EXPORT_S = 2.0

Result = Literal["exported", "failed", "dropped"]
RESULTS: tuple[Result, ...] = ("exported", "failed", "dropped")
Attributes = dict[str, str | int | float | bool | tuple[str, ...]]

OPERATION = "chat"
PROVIDER = "vitrine"
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_FAULTS = (Outcome.ENGINE_BROKE, Outcome.TIMED_OUT)
# https://www.w3.org/TR/trace-context/#traceparent-header, version 00
_PARENT = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")


class Traces:
    """One worker's. ``tell`` from its event loop; the rest happens in the thread that ``__enter__`` starts."""

    def __init__(self, url: str, version: str, worker: int, count: Callable[[Result, int], None]) -> None:
        """``count`` is told what became of how many spans."""
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it says every failure, and we say the first
        session = requests.Session()
        session.trust_env, session.max_redirects = False, 0  # to this address and no other
        session.hooks["response"] += [_refuse_redirect, self._note_rejected]
        self._url, self._count = url, count
        self._exporter = OTLPSpanExporter(url, timeout=EXPORT_S, session=session)
        self._resource = Resource(
            {"service.name": "vitrine", "service.version": version, "service.instance.id": str(worker)}
        )
        self._scope = InstrumentationScope("gateway", version)
        self._ids = RandomIdGenerator()
        self._waiting: deque[EndedExchange] = deque()
        self._wake, self._over = threading.Event(), False
        self._answers, self._rejected = True, 0
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)

    def __enter__(self) -> "Traces":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._wake.set()
        self._thread.join(LAST_EXPORT_S)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the library has no types

    def tell(self, exchange: EndedExchange) -> None:
        """Trace an exchange that has ended."""
        if len(self._waiting) >= MOST_WAITING:
            self._count("dropped", 1 + len(exchange.stages))
            return
        self._waiting.append(exchange)
        if len(self._waiting) >= BATCH:
            self._wake.set()

    def _run(self) -> None:
        while not self._over:
            self._wake.wait(EVERY_S)
            self._wake.clear()
            while self._waiting:
                self._export([self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))])

    def _export(self, batch: list[EndedExchange]) -> None:
        behind_ns = time.time_ns() - time.monotonic_ns()
        spans = [span for exchange in batch for span in self._spans(exchange, behind_ns)]
        self._rejected = 0
        good = self._exporter.export(spans) is SpanExportResult.SUCCESS
        failed = min(self._rejected, len(spans)) if good else len(spans)
        self._count("exported", len(spans) - failed)
        self._count("failed", failed)
        if good != self._answers:
            self._answers = good
            say = structlog.get_logger().info if good else structlog.get_logger().warning
            said = "takes them again" if good else "does not take them; they are lost until it does"
            say(f"the collector of traces {said}", at=self._url)

    def _note_rejected(self, answer: requests.Response, *_: object, **__: object) -> None:
        """A collector may take a part of what it gets (OTLP's partial success); the exporter does not look."""
        with contextlib.suppress(DecodeError):  # an answer that is none of OTLP's rejects nothing
            self._rejected = max(
                0, ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans
            )

    def _spans(self, exchange: EndedExchange, behind_ns: int) -> list[ReadableSpan]:
        """The exchange's span and those of its stages. Times are Unix nanoseconds."""
        parent = _parent(exchange.traceparent)
        trace = parent.trace_id if parent else self._ids.generate_trace_id()
        whole = SpanContext(trace, self._ids.generate_span_id(), is_remote=False, trace_flags=_SAMPLED)
        moments = [round(from_s * 1e9) + behind_ns for _, from_s in exchange.stages]
        moments.append(round(exchange.ended_s * 1e9) + behind_ns)
        found = [
            ReadableSpan(
                f"{OPERATION} {exchange.model}",
                whole,
                parent,
                self._resource,
                _attributes(exchange),
                kind=SpanKind.SERVER,
                status=Status(StatusCode.ERROR if exchange.outcome in _FAULTS else StatusCode.UNSET),
                start_time=moments[0],
                end_time=moments[-1],
                instrumentation_scope=self._scope,
            )
        ]
        for (stage, _), from_ns, until_ns in zip(exchange.stages, moments, moments[1:], strict=False):
            own = SpanContext(trace, self._ids.generate_span_id(), is_remote=False, trace_flags=_SAMPLED)
            kind = SpanKind.CLIENT if stage is Stage.ENGINE else SpanKind.INTERNAL
            found.append(
                ReadableSpan(
                    str(stage),
                    own,
                    whole,
                    self._resource,
                    {},
                    kind=kind,
                    start_time=from_ns,
                    end_time=until_ns,
                    instrumentation_scope=self._scope,
                )
            )
        return found


def _attributes(exchange: EndedExchange) -> Attributes:
    failed = exchange.outcome is not Outcome.COMPLETED
    first_s = exchange.first_token_s
    known: dict[str, str | int | float | bool | tuple[str, ...] | None] = {
        "gen_ai.operation.name": OPERATION,
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": exchange.model,
        "gen_ai.request.stream": exchange.stream,
        "gen_ai.request.max_tokens": exchange.max_tokens,
        "gen_ai.request.temperature": exchange.temperature,
        "gen_ai.request.choice.count": exchange.n if exchange.n != 1 else None,
        "gen_ai.response.finish_reasons": (exchange.finish,) if exchange.finish else None,
        "gen_ai.response.time_to_first_chunk": None if first_s is None else first_s - exchange.began_s,
        "gen_ai.usage.input_tokens": exchange.prompt_tokens,
        "gen_ai.usage.output_tokens": exchange.completion_tokens,
        "error.type": str(exchange.outcome) if failed else None,
        "http.request.method": "POST",
        "http.route": exchange.route,
        "http.response.status_code": exchange.status,
        "vitrine.audit.id": exchange.id_in_log or None,
        "vitrine.request.id": exchange.id,
        "vitrine.tenant": exchange.tenant,
        "vitrine.engine": exchange.engine,
        "vitrine.images": exchange.images,
        "vitrine.outcome": str(exchange.outcome),
    }
    return {name: value for name, value in known.items() if value is not None}


def _refuse_redirect(answer: requests.Response, *_: object, **__: object) -> None:
    """Whoever sends us elsewhere, even without saying where, has taken nothing; the exporter counts it as a success."""
    if 300 <= answer.status_code < 400:
        raise requests.TooManyRedirects(f"status {answer.status_code}", response=answer)


def _parent(header: bytes) -> SpanContext | None:
    match = _PARENT.fullmatch(header)
    if match is None:
        return None
    return SpanContext(int(match[1], 16), int(match[2], 16), is_remote=True, trace_flags=_SAMPLED)
