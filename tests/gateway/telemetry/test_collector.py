"""What is asked at a scrape, and engines' own metrics: who does not answer has no series, and takes nobody else's along."""

import http.client
import json
import os
import signal
import ssl
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509

from tests.support.audit import Ledger
from tests.support.certificate import certificate
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway
from tests.support.scrape import fetch, moves, scrape

ENGINE = "/metrics/engines/engine-0"
READY = 'vitrine_engine_ready{engine="engine-0"}'


def refused(gateway: Gateway, path: str) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetch(gateway.metrics_port, path)
    with caught.value as error:
        return error.code, error.read().decode()


def test_an_engines_own_metrics_are_on_the_metrics_port_and_behind_the_scope(
    gateway: Gateway, engine: FakeEngine, key: str
) -> None:
    gateway.chat(key)
    said = fetch(gateway.metrics_port, ENGINE)
    assert 'vllm:request_success_total{finished_reason="stop"} 1' in said
    scraper = gateway.create_key("--scope", "metrics")
    inside = gateway.request("GET", ENGINE, key=scraper)
    assert (inside.status, inside.body.decode()) == (200, said)
    assert inside.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    for path in ("/metrics", "/metrics/engines", ENGINE):
        assert gateway.request("GET", path).status == 401
        assert gateway.request("GET", path, key=key).status == 403
        assert gateway.request("GET", path, key=scraper).status == 200


def test_prometheus_finds_the_engines_by_itself(gateway: Gateway, engine: FakeEngine) -> None:
    found = json.loads(fetch(gateway.metrics_port, "/metrics/engines"))
    assert found == [
        {
            "targets": [f"127.0.0.1:{gateway.metrics_port}"],
            "labels": {"__metrics_path__": ENGINE, "engine": "engine-0"},
        }
    ]
    connection = http.client.HTTPConnection("127.0.0.1", gateway.metrics_port, timeout=10)
    connection.request("GET", "/metrics/engines", headers={"Host": "a b/c"})
    assert json.loads(connection.getresponse().read())[0]["targets"] == ["127.0.0.1:8081"]
    connection.close()


@pytest.mark.parametrize("path", ["/metrics/engines/engine-9", "/metrics/engines/", "/metrics/engines/..%2fengine-0"])
def test_an_engine_that_is_none_is_not_found(gateway: Gateway, engine: FakeEngine, path: str) -> None:
    status, said = refused(gateway, path)
    assert (status, said) == (404, "there is no such engine; /metrics/engines lists them\n")
    scraper = gateway.create_key("--scope", "metrics")
    assert gateway.request("GET", path, key=scraper).status == 404


@pytest.mark.parametrize("path", ["/", "/metric", "/metrics/x", "/metrics/"])
def test_nothing_else_is_on_the_metrics_port(gateway: Gateway, path: str) -> None:
    assert refused(gateway, path)[0] == 404


def test_an_engine_whose_metrics_are_too_large_is_given_up(gateway: Gateway, engine: FakeEngine) -> None:
    engine.behaviour = Behaviour.MEASURES_WITHOUT_END
    status, said = refused(gateway, ENGINE)
    assert status == 503
    assert "over 16,777,216 bytes" in said
    assert scrape(gateway.metrics_port)["vitrine_ledger_up"] == 1


def test_scrapes_that_hang_are_given_up_and_delay_no_question(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    scraper = gateway.create_key("--scope", "metrics")
    engine.behaviour = Behaviour.MEASURES_SLOWLY
    with ThreadPoolExecutor(12) as many:
        hanging = [many.submit(gateway.request, "GET", ENGINE, key=scraper) for _ in range(12)]
        time.sleep(0.5)  # all of them hang by now
        began_s = time.monotonic()
        assert gateway.chat(key).status == 200  # its picture is digested in a thread
        assert time.monotonic() - began_s < 3
        engine.behaviour = Behaviour.ANSWERS
        # Prometheus' own patience is ten seconds; who waited for a thread found an engine that answers again.
        assert {one.result(20).status for one in hanging} == {200, 503}


def test_an_engine_that_is_down_has_no_metrics_and_the_gateway_keeps_its_own(tmp_path: Path) -> None:
    with Ledger(tmp_path), FakeEngine(tmp_path / "run") as engine, Gateway(tmp_path) as gateway:
        key = gateway.create_key()
        assert gateway.chat(key).status == 200
        until(lambda: scrape(gateway.metrics_port).get(READY) == 1)
        before = scrape(gateway.metrics_port)
        (engine.folder / "engine.sock").unlink()
        status, said = refused(gateway, ENGINE)
        assert (status, said) == (503, "the engine gave no metrics: it could not be asked (FileNotFoundError)\n")
        now = scrape(gateway.metrics_port)
        assert before.keys() - now.keys() == set()
        engine.say("restarting")
        until(lambda: scrape(gateway.metrics_port).get(READY) == 0)


def test_what_an_engines_supervisor_says_is_scraped(gateway: Gateway, engine: FakeEngine) -> None:
    path = engine.folder / "state.json"
    state = json.loads(path.read_text())
    counted = [f'vitrine_engine_{what}{{engine="engine-0"}}' for what in ("egress_attempts_total", "isolated")]
    try:
        path.write_text(json.dumps({**state, "namespace": None}))
        assert not any(name in scrape(gateway.metrics_port) for name in counted)
        for isolated, attempts, seen in ((True, 0, [0, 1]), (True, 3, [3, 1]), (False, 90, [None, 0])):
            space = {"isolated": isolated, "inode": 1, "interfaces": ["lo"], "no_routes": attempts}
            path.write_text(
                json.dumps({**state, "namespace": space, "restarts": 2, "hangs": 1, "silent_since_s": attempts or None})
            )
            now = scrape(gateway.metrics_port)
            assert [now.get(name) for name in counted] == seen
            assert now['vitrine_engine_restarts_total{engine="engine-0"}'] == 2
            assert now['vitrine_engine_hangs_total{engine="engine-0"}'] == 1
            assert now['vitrine_engine_silent{engine="engine-0"}'] == bool(attempts)
    finally:
        engine.say("ready")


def test_without_the_ledger_a_scrape_says_so_at_once_and_nothing_of_it(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "run"), Gateway(tmp_path, VITRINE_ADMIT_TIMEOUT_S="0.2") as gateway:
        with Ledger(tmp_path) as ledger:
            key = gateway.create_key()
            until(lambda: gateway.request("GET", "/readyz").status == 200)
            assert gateway.chat(key).status == 200
            ledger.process.send(signal.SIGSTOP)
            try:
                before = scrape(gateway.metrics_port)
                assert gateway.chat(key).status == 503
                began_s = time.monotonic()
                stuck = scrape(gateway.metrics_port)
                assert time.monotonic() - began_s < 5
            finally:
                ledger.process.send(signal.SIGCONT)
            moved = moves(before, stuck)
            assert moved['vitrine_ledger_failures_total{call="admit"}'] == 1
            assert moved['vitrine_refused_total{code="audit_unavailable"}'] == 1
            counted_here = ("failures", "call", "connected", "up")
            left = {name for name in stuck if name.startswith("vitrine_ledger_")}
            assert left
            assert all(name.startswith(tuple(f"vitrine_ledger_{what}" for what in counted_here)) for name in left)
            assert not [name for name in stuck if name.startswith("vitrine_integrity")]
            until(lambda: scrape(gateway.metrics_port)["vitrine_ledger_up"] == 1)
        until(lambda: scrape(gateway.metrics_port)["vitrine_ledger_connected"] == 0)
        gone = scrape(gateway.metrics_port)
        assert gone["vitrine_ledger_up"] == 0
        assert gone['vitrine_tenant_exchanges_total{outcome="completed",tenant="default"}'] == 1


def test_the_ends_of_certificates_are_told(tmp_path: Path) -> None:
    chain, secret = certificate(tmp_path, "localhost")
    ends_s = x509.load_pem_x509_certificate(chain.read_bytes()).not_valid_after_utc.timestamp()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(chain, secret)
    with FakeEngine(tmp_path, tcp=tls) as engine:
        url = engine.url.replace("127.0.0.1", "localhost")
        settings = {"VITRINE_ENGINES": f"gpu-1={url}", "VITRINE_ENGINES_CA": str(chain)}
        own = {"VITRINE_ENGINES_CERT": str(chain), "VITRINE_ENGINES_KEY": str(secret)}
        with Gateway(tmp_path, **settings, **own) as gateway:
            name = 'vitrine_engine_certificate_expiry_timestamp_seconds{engine="gpu-1"}'
            until(lambda: scrape(gateway.metrics_port).get(name) == ends_s, what="the engine's certificate")
            assert scrape(gateway.metrics_port)["vitrine_certificate_expiry_timestamp_seconds"] == ends_s
            assert "vllm:request_success_total" in fetch(gateway.metrics_port, "/metrics/engines/gpu-1")
            until(lambda: scrape(gateway.metrics_port)['vitrine_engine_probes_total{engine="gpu-1",result="ok"}'] >= 1)


def test_the_metrics_port_of_another_address_family_is_served(tmp_path: Path) -> None:
    if not os.path.exists("/proc/net/if_inet6"):
        pytest.skip("this machine has no IPv6")
    with Gateway(tmp_path, VITRINE_METRICS_HOST="::1") as gateway:
        connection = http.client.HTTPConnection("::1", gateway.metrics_port, timeout=10)
        connection.request("GET", "/metrics")
        assert b"vitrine_build_info" in connection.getresponse().read()
        connection.close()
