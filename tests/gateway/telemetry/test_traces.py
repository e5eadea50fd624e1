"""Traces, told to a real collector on loopback that takes OTLP: what is in them, what is not, and what one that is away costs."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway, question
from tests.support.process import run
from tests.support.scrape import scrape

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Takes spans on a port of 127.0.0.1. ``answer`` is the status that it answers with, ``moved`` where it sends others,
    ``rejects`` how many spans it says that it did not take; ``sent`` counts all that ever came."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        self.resources: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.answer, self.moved, self.rejects, self.sent = 200, "", 0, 0
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.take(self)

            def log_message(self, format: str, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Collector":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def take(self, request: BaseHTTPRequestHandler) -> None:
        self.paths.append(request.path)
        body = request.rfile.read(int(request.headers["content-length"]))
        groups = ExportTraceServiceRequest.FromString(body).resource_spans
        self.sent += sum(len(scope.spans) for group in groups for scope in group.scope_spans)
        if self.answer == 200 or request.path != "/v1/traces":
            self.bodies.append(body)
            for group in groups:
                self.resources.append({one.key: one.value.string_value for one in group.resource.attributes})
                self.spans += [span for scope in group.scope_spans for span in scope.spans]
        request.send_response(self.answer if request.path == "/v1/traces" else 200)
        if self.moved:
            request.send_header("location", self.moved)
        answer = ExportTraceServiceResponse()
        answer.partial_success.rejected_spans = self.rejects
        content = answer.SerializeToString()
        request.send_header("content-length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def trace(self) -> tuple[Span, list[Span]]:
        """The one trace that came: its exchange and the stages."""
        until(lambda: any(span.kind == Span.SPAN_KIND_SERVER for span in self.spans), what="a trace")
        whole = [span for span in self.spans if span.kind == Span.SPAN_KIND_SERVER]
        assert len(whole) == 1
        return whole[0], [span for span in self.spans if span is not whole[0]]


def attributes(span: Span) -> dict[str, object]:
    found: dict[str, object] = {}
    for one in span.attributes:
        kind = one.value.WhichOneof("value")
        value = getattr(one.value, kind)
        found[one.key] = [item.string_value for item in value.values] if kind == "array_value" else value
    return found


@pytest.fixture(scope="module")
def running_collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture
def collector(running_collector: Collector) -> Collector:
    """The module's collector, with nothing remembered."""
    running_collector.spans.clear()
    running_collector.bodies.clear()
    running_collector.answer, running_collector.moved, running_collector.rejects = 200, "", 0
    return running_collector


@pytest.fixture(scope="module")
def gateway(home: Path, running_engine: FakeEngine, ledger: Ledger, running_collector: Collector) -> Iterator[Gateway]:
    with Gateway(home, VITRINE_OTLP_ENDPOINT=running_collector.url) as running:
        yield running


def test_an_exchange_is_one_span_by_the_conventions_with_its_stages_below(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str, collector: Collector
) -> None:
    answer = gateway.chat(key, stream=True, max_tokens=50, temperature=0.5)
    whole, stages = collector.trace()
    assert whole.name == "chat glm-4v"
    known = attributes(whole)
    first_s = known.pop("gen_ai.response.time_to_first_chunk")
    assert isinstance(first_s, float)
    assert 0 < first_s < (whole.end_time_unix_nano - whole.start_time_unix_nano) / 1e9
    assert known == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "vitrine",
        "gen_ai.request.model": "glm-4v",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 5,
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "vitrine.audit.id": answer.headers["x-audit-id"],
        "vitrine.request.id": answer.headers["x-request-id"],
        "vitrine.tenant": "default",
        "vitrine.engine": "engine-0",
        "vitrine.images": 1,
        "vitrine.outcome": "completed",
    }
    names = [span.name for span in stages]
    assert [name for name in names if name not in ("admit", "answer")] == [
        "auth",
        "read",
        "door",
        "queue",
        "engine",
        "complete",
        "send",
    ]
    assert {span.parent_span_id for span in stages} == {whole.span_id}
    assert {span.trace_id for span in stages} == {whole.trace_id}
    # Each begins where the one before ended, and together they are the whole.
    moments = [whole.start_time_unix_nano, *(span.end_time_unix_nano for span in stages)]
    assert [span.start_time_unix_nano for span in stages] == moments[:-1]
    assert moments[-1] == whole.end_time_unix_nano
    assert abs(whole.end_time_unix_nano / 1e9 - time.time()) < 60
    assert collector.resources[-1] == {
        "service.name": "vitrine",
        "service.version": metadata.version("vitrine"),
        "service.instance.id": "0",
    }


def test_no_content_no_key_and_no_address_is_in_a_trace(
    gateway: Gateway, engine: FakeEngine, key: str, collector: Collector
) -> None:
    secret = "a word that nobody else says"
    gateway.chat(key, messages=[{"role": "user", "content": secret}], user="somebody")
    collector.trace()
    sent = b"".join(collector.bodies)
    assert b"glm-4v" in sent
    for word in (secret, "small ", "red ", key, *gateway.key_ids(), "127.0.0.1", "somebody"):
        assert word.encode() not in sent, word


def test_it_joins_the_trace_of_who_asks(gateway: Gateway, engine: FakeEngine, key: str, collector: Collector) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    gateway.request("POST", "/v1/chat/completions", key=key, body=question(), headers=headers)
    whole, _ = collector.trace()
    assert (whole.trace_id.hex(), whole.parent_span_id.hex()) == (TRACE, PARENT)
    collector.spans.clear()
    for spoiled in (f"00-{'0' * 32}-{PARENT}-01", "nonsense", f"00-{TRACE}-{PARENT}"):
        headers = {"traceparent": spoiled}
        gateway.request("POST", "/v1/chat/completions", key=key, body=question(), headers=headers)
        whole, _ = collector.trace()
        assert (whole.trace_id.hex() != TRACE, whole.parent_span_id) == (True, b"")
        collector.spans.clear()


def test_a_failed_exchange_is_an_error_in_its_trace(
    gateway: Gateway, engine: FakeEngine, key: str, collector: Collector
) -> None:
    engine.behaviour = Behaviour.FAILS_WITH_500
    assert gateway.chat(key).status == 502
    whole, _ = collector.trace()
    known = attributes(whole)
    assert whole.status.code == Status.STATUS_CODE_ERROR
    assert (known["error.type"], known["http.response.status_code"]) == ("engine_broke", 502)
    assert "gen_ai.usage.output_tokens" not in known


def test_spans_are_counted_and_the_collector_is_in_the_record_of_the_start(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str, collector: Collector
) -> None:
    exported = 'vitrine_spans_total{result="exported"}'
    before = scrape(gateway.metrics_port)[exported]
    gateway.chat(key)
    _whole, stages = collector.trace()
    until(lambda: scrape(gateway.metrics_port)[exported] == before + 1 + len(stages))
    assert ledger.records(kind="boot", room="gateway")[-1]["outbound"] == [f"{collector.url}/v1/traces"]


@pytest.mark.parametrize(("status", "moved"), [(500, ""), (307, "/elsewhere"), (302, ""), (304, ""), (300, "")])
def test_a_collector_that_takes_none_costs_the_spans_alone(
    gateway: Gateway, engine: FakeEngine, key: str, collector: Collector, status: int, moved: str
) -> None:
    failed = 'vitrine_spans_total{result="failed"}'
    before = scrape(gateway.metrics_port)[failed]
    collector.paths.clear()
    collector.answer, collector.moved = status, moved
    assert gateway.chat(key).status == 200
    until(lambda: scrape(gateway.metrics_port)[failed] > before, what="they are counted as failed")
    assert set(collector.paths) == {"/v1/traces"}
    collector.answer, collector.moved = 200, ""
    assert gateway.chat(key).status == 200
    collector.trace()


@pytest.mark.parametrize(("says", "takes_none"), [(2, False), (10_000, True), (-1, False)])
def test_spans_that_a_collector_says_it_did_not_take_are_not_counted_as_exported(
    gateway: Gateway, engine: FakeEngine, key: str, collector: Collector, says: int, takes_none: bool
) -> None:
    def counted() -> list[float]:
        seen = scrape(gateway.metrics_port)
        return [seen[f'vitrine_spans_total{{result="{result}"}}'] for result in ("exported", "failed")]

    until(lambda: sum(counted()) == collector.sent, what="all before is counted")
    before = counted()
    collector.rejects = says
    gateway.chat(key)
    _whole, stages = collector.trace()
    spans = 1 + len(stages)
    rejected = spans if takes_none else max(0, says)
    until(lambda: sum(counted()) == collector.sent, what="all is counted")
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [spans - rejected, rejected]


def test_a_collector_that_is_away_delays_no_answer_and_no_end(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "run"), Ledger(tmp_path):
        with Gateway(tmp_path, VITRINE_OTLP_ENDPOINT="http://127.0.0.1:9") as gateway:
            key = gateway.create_key()
            until(lambda: gateway.request("GET", "/readyz").status == 200)
            began_s = time.monotonic()
            assert {gateway.chat(key).status for _ in range(20)} == {200}
            assert time.monotonic() - began_s < 15
            gateway.process.line_with("the collector of traces does not take them")
            until(lambda: scrape(gateway.metrics_port)['vitrine_spans_total{result="failed"}'] > 0)
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 10


@pytest.mark.parametrize(
    "url", ["collector:4318", "ftp://collector", "http://user:pw@collector:4318", "http://c:4318/?x=1"]
)
def test_an_endpoint_that_is_none_is_refused_at_the_start(tmp_path: Path, url: str) -> None:
    ended = run("gateway", env={"VITRINE_HOME": str(tmp_path), "VITRINE_OTLP_ENDPOINT": url})
    assert ended.returncode == 78
    assert "VITRINE_OTLP_ENDPOINT" in ended.stderr
    assert "it must be http://HOST:PORT" in ended.stderr
