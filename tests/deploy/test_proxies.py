"""Two gateways behind the proxies of deploy/: who gets a request, what is sent again, streams, addresses, receipts."""

import http.client
import json
import threading
import time
from functools import partial

import pytest

from tests.deploy.asking import Stream, heavy, origin_of, waiting
from tests.deploy.proxies import Proxy
from tests.deploy.site import ORIGINS, Host, Site
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour
from tests.support.gateway import Answer, question

FAIL_TIMEOUT_S = 5  # in deploy/nginx


def test_each_event_arrives_before_the_engine_makes_the_next_one(proxy: Proxy, site: Site) -> None:
    steps = threading.Semaphore(2)
    for host in site.hosts:
        host.engine.steps = steps
    stream = Stream(proxy, site.key)
    for _ in range(3):
        steps.release()  # one more, and the engine waits again
        assert stream.event().startswith(b"data: {")
    for host in site.hosts:
        host.engine.steps = None
    assert stream.rest() == b"data: [DONE]\n\n"


def test_a_client_that_does_not_read_is_noticed_by_the_gateway(proxy: Proxy, site: Site) -> None:
    """A proxy that buffered would take the whole answer off its hands, on this host's disk."""
    for host in site.hosts:
        host.engine.behaviour = Behaviour.FLOODS
    stream = Stream(proxy, site.key)
    host = site.hosts[ORIGINS.index(stream.origin)]
    ends = until(lambda: host.ledger.records(kind="complete", id=stream.identity), within_s=40, what="its end")
    assert [end["outcome"] for end in ends] == ["client_left"]
    stream.rest()


def test_a_request_goes_to_the_gateway_with_the_fewest_at_work(proxy: Proxy, site: Site) -> None:
    """Taking turns would pass the first half and fail the second."""
    waiting(site)
    streams = [Stream(proxy, site.key) for _ in range(6)]
    assert sorted(stream.origin for stream in streams) == sorted(ORIGINS * 3)
    site.hosts[0].engine.go_on.set()
    for stream in streams:
        if stream.origin == ORIGINS[0]:
            assert stream.rest().endswith(b"[DONE]\n\n")
    until(lambda: not busy(site.hosts[0]), what="the first gateway has nothing to do")
    site.hosts[0].engine.go_on.clear()
    later = [Stream(proxy, site.key) for _ in range(3)]
    assert [stream.origin for stream in later] == [ORIGINS[0]] * 3
    for host in site.hosts:
        host.engine.go_on.set()
    for stream in [*streams, *later]:
        if stream.origin == ORIGINS[1] or stream in later:
            assert stream.rest().endswith(b"[DONE]\n\n")


def busy(host: Host) -> bool:
    text = host.gateway.request("GET", "/metrics", key=host.metrics_key).body.decode()
    return "vitrine_exchanges_in_flight 0.0" not in text


def test_a_gateway_that_is_not_ready_gets_nothing(proxy: Proxy, site: Site) -> None:
    """HAProxy knows beforehand. nginx learns it from the one request that it then sends elsewhere."""
    first, _ = site.hosts
    first.engine.say("loading")
    first.wait_until_unready()
    proxy.wait_until_it_knows_that(0, "DOWN")
    before, started_s = first.chats(503), time.monotonic()
    answers = [proxy.chat(site.key) for _ in range(20)]
    assert [answer.status for answer in answers] == [200] * 20
    assert {origin_of(answer) for answer in answers} == {ORIGINS[1]}
    met = first.chats(503) - before
    looks = 0 if proxy.name == "haproxy" else 1 + (time.monotonic() - started_s) // FAIL_TIMEOUT_S
    assert met <= looks
    assert not first.engine.bodies


def test_one_that_is_ready_again_gets_its_share(proxy: Proxy, site: Site) -> None:
    first, _ = site.hosts
    first.engine.say("loading")
    first.wait_until_unready()
    proxy.wait_until_it_knows_that(0, "DOWN")
    assert {origin_of(proxy.chat(site.key)) for _ in range(4)} == {ORIGINS[1]}
    first.engine.say("ready")
    until(lambda: origin_of(proxy.chat(site.key)) == ORIGINS[0], within_s=20, what="an answer of the first gateway")


def test_when_nobody_is_ready_the_client_is_told_when_to_ask_again(proxy: Proxy, site: Site) -> None:
    for number, host in enumerate(site.hosts):
        host.engine.say("loading")
        host.wait_until_unready()
        proxy.wait_until_it_knows_that(number, "DOWN")
    for _ in range(4):
        answer = proxy.chat(site.key)
        assert answer.status == 503
        assert answer.headers["retry-after"] == "5"
        assert answer.error["code"] == "unavailable"


def test_a_body_of_four_mebibytes_arrives_whole_and_touches_no_disk(proxy: Proxy, site: Site) -> None:
    body = heavy(3 << 20)
    assert len(json.dumps(body)) > 4 << 20
    answer = proxy.request("POST", "/v1/chat/completions", key=site.key, body=body)
    assert answer.status == 200
    arrived = next(host.engine.bodies[0] for host in site.hosts if host.engine.bodies)
    sent = body["messages"][0]["content"][0]["image_url"]["url"]
    assert arrived["messages"][0]["content"][0]["image_url"]["url"] == sent
    assert "temporary file" not in proxy.process.output  # nginx's words for it


def test_a_larger_body_than_allowed_is_refused_before_it_is_read(proxy: Proxy) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("Content-Length", str((64 << 20) + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize("forged", [None, "203.0.113.9", "203.0.113.9, 127.0.0.1"])
def test_a_clients_own_forwarded_for_is_not_believed(proxy: Proxy, site: Site, forged: str | None) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30, source_address=("127.0.0.9", 0))
    headers = {"Authorization": f"Bearer {site.key}", **({"X-Forwarded-For": forged} if forged else {})}
    connection.request("POST", "/v1/chat/completions", json.dumps(question()), headers)
    answer = Answer(connection.getresponse())
    connection.close()
    host = site.hosts[ORIGINS.index(origin_of(answer))]
    record = host.ledger.records(kind="admit", id=answer.headers["x-audit-id"])[0]
    assert record["ip"] == "127.0.0.9"


@pytest.mark.parametrize("path", ["/metrics", "/metrics?x=1", "/%6Detrics", "/%6detric%73"])
def test_metrics_are_not_there_from_outside(proxy: Proxy, site: Site, path: str) -> None:
    host = site.hosts[0]
    assert host.gateway.request("GET", path, key=host.metrics_key).status == 200
    assert proxy.request("GET", path, key=host.metrics_key).status == 404


def test_a_receipt_comes_from_the_log_that_its_answer_names(proxy: Proxy, site: Site) -> None:
    for _ in range(4):
        answer = proxy.chat(site.key)
        path = "/v1/audit/receipts/" + answer.headers["x-audit-id"]
        leaf = answer.headers["x-audit-leaf"]
        found = until(partial(_found, proxy, site, path, leaf), what="the proof")
        assert found is not None
        assert leaf.split()[0] in found.body.decode()
        origin = leaf.split()[0]
        assert proxy.request("GET", path, key=site.key, headers={"X-Audit-Leaf": origin}).status == 200
        other = next(name for name in ORIGINS if name != origin)
        assert proxy.request("GET", path, key=site.key, headers={"X-Audit-Leaf": other}).status == 404


def _found(proxy: Proxy, site: Site, path: str, leaf: str) -> Answer | None:
    answer = proxy.request("GET", path, key=site.key, headers={"X-Audit-Leaf": leaf})
    assert answer.status in (200, 202), answer.body
    return answer if answer.status == 200 else None


@pytest.mark.parametrize("leaf", [None, "gateway-9.example/vitrine", "gateway-1xexample/vitrine", ORIGINS[0] + "x 1 a"])
def test_a_receipt_of_no_known_log_is_asked_of_nobody(proxy: Proxy, site: Site, leaf: str | None) -> None:
    path = "/v1/audit/receipts/" + proxy.chat(site.key).headers["x-audit-id"]
    answer = proxy.request("GET", path, key=site.key, headers={"X-Audit-Leaf": leaf} if leaf else {})
    assert answer.status == 400
    assert answer.error["code"] == "missing_origin"
