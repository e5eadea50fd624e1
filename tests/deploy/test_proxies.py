"""Two gateways behind the proxies of deploy/: who gets a request, what is sent again and what never, streams, addresses, receipts."""

import base64
import http.client
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.deploy.proxies import Proxy, needs
from tests.deploy.site import ORIGINS, Host, Site, two_hosts
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour
from tests.support.gateway import RED_SQUARE, Answer, question

PROXIES = [pytest.param(name, marks=needs(name)) for name in ("nginx", "haproxy")]
FAIL_TIMEOUT_S = 5  # in deploy/nginx


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with two_hosts(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def site(both: Site) -> Site:
    both.reset()
    return both


@pytest.fixture(params=PROXIES)
def proxy(request: pytest.FixtureRequest, site: Site, tmp_path: Path) -> Iterator[Proxy]:
    with Proxy(request.param, tmp_path, site) as running:
        yield running


class Stream:
    """A streamed question whose first two events have been read."""

    def __init__(self, proxy: Proxy, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        headers = {"Authorization": f"Bearer {key}"}
        self._connection.request("POST", "/v1/chat/completions", json.dumps(question(stream=True)), headers)
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        self.origin = self._response.headers["x-audit-leaf"].split()[0]
        self.first = self.event() + self.event()

    def event(self) -> bytes:
        """The next event, with its empty line."""
        return self._response.readline() + self._response.readline()

    def rest(self) -> bytes:
        """All that is left; what came so far if the stream breaks."""
        try:
            return self._response.read()
        except http.client.IncompleteRead as broken:
            return broken.partial
        except ConnectionResetError:
            return b""
        finally:
            self._connection.close()


def waiting(site: Site) -> None:
    for host in site.hosts:
        host.engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS


def test_events_arrive_before_the_engine_has_made_the_next_one(proxy: Proxy, site: Site) -> None:
    waiting(site)
    stream = Stream(proxy, site.key)
    assert stream.first.count(b"data: {") == 2  # and the engine says nothing more before it is told to
    for host in site.hosts:
        host.engine.go_on.set()
    assert stream.rest().endswith(b"data: [DONE]\n\n")


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
    for stream in streams[:] + later:
        if stream.origin == ORIGINS[1] or stream in later:
            assert stream.rest().endswith(b"[DONE]\n\n")


def busy(host: Host) -> bool:
    text = host.gateway.request("GET", "/metrics", key=host.metrics_key).body.decode()
    return "vitrine_exchanges_in_flight 0.0" not in text


def test_a_gateway_that_is_not_ready_gets_nothing(proxy: Proxy, site: Site) -> None:
    """HAProxy knows beforehand. nginx learns it from the one request that it then sends elsewhere."""
    first, _ = site.hosts
    first.engine.say("loading")
    until(lambda: first.gateway.request("GET", "/readyz").status == 503, what="not ready")
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
    until(lambda: first.gateway.request("GET", "/readyz").status == 503, what="not ready")
    proxy.wait_until_it_knows_that(0, "DOWN")
    assert {origin_of(proxy.chat(site.key)) for _ in range(4)} == {ORIGINS[1]}
    first.engine.say("ready")
    until(lambda: origin_of(proxy.chat(site.key)) == ORIGINS[0], within_s=20, what="an answer of the first gateway")


def test_when_nobody_is_ready_the_client_is_told_when_to_ask_again(proxy: Proxy, site: Site) -> None:
    for number, host in enumerate(site.hosts):
        host.engine.say("loading")
        until(lambda host=host: host.gateway.request("GET", "/readyz").status == 503, what="not ready")
        proxy.wait_until_it_knows_that(number, "DOWN")
    for _ in range(4):
        answer = proxy.chat(site.key)
        assert answer.status == 503
        assert answer.headers["retry-after"] == "5"
        assert answer.error["code"] == "unavailable"


def origin_of(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    return answer.headers["x-audit-leaf"].split()[0]


def test_a_killed_gateway_loses_only_its_own_streams(proxy: Proxy, site: Site) -> None:
    waiting(site)
    streams = [Stream(proxy, site.key) for _ in range(4)]
    assert sorted(stream.origin for stream in streams) == sorted(ORIGINS * 2)
    for host in site.hosts:
        host.engine.behaviour = Behaviour.ANSWERS
    killed, over = threading.Event(), threading.Event()

    def load() -> list[tuple[bool, int]]:
        """Whether each question began after the kill, and its answer's status (0: broken off)."""
        seen = []
        while not over.is_set():
            after = killed.is_set()
            try:
                seen.append((after, proxy.chat(site.key).status))
            except (http.client.HTTPException, OSError):
                seen.append((after, 0))
        return seen

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load) for _ in range(4)]
        until(lambda: all(len(host.engine.bodies) > 10 for host in site.hosts), what="load on both")
        site.hosts[0].kill()
        killed.set()
        count = len(site.hosts[1].engine.bodies)
        until(lambda: len(site.hosts[1].engine.bodies) > count + 60, what="60 more answers")
        over.set()
        seen = [one for running in loads for one in running.result(30)]
    site.hosts[0].start()
    assert [status for after, status in seen if after and status != 200] == []
    assert sum(status != 200 for _, status in seen) <= 4  # those that were at work there in that moment
    site.hosts[1].engine.go_on.set()
    for stream in streams:
        whole = stream.rest().endswith(b"data: [DONE]\n\n")
        assert whole == (stream.origin == ORIGINS[1])


def test_what_a_gateway_may_have_begun_is_never_sent_to_another(proxy: Proxy, site: Site) -> None:
    for host in site.hosts:
        host.engine.behaviour = Behaviour.WAITS_FOR_LEAVE
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(proxy.chat, site.key)
        until(lambda: any(host.engine.bodies for host in site.hosts), what="an engine was asked")
        mine, other = sorted(site.hosts, key=lambda host: not host.engine.bodies)
        mine.kill()
        answer = asked.result(30)
    mine.start()
    assert answer.status == 502
    assert answer.error["code"] == "gateway_lost"
    assert not other.engine.bodies
    mine.engine.wait_until_left(1)


@pytest.mark.parametrize("name", PROXIES)
def test_a_refusal_is_asked_for_elsewhere_as_long_as_the_body_is_at_hand(name: str, tmp_path: Path) -> None:
    """The first gateway calls itself ready and has no memory for bodies; nginx holds every body, HAProxy those of 16 KiB."""
    with (
        two_hosts(tmp_path, {"VITRINE_MAX_BODIES_BYTES": "1"}, {}) as site,
        Proxy(name, tmp_path, site) as proxy,
    ):
        assert [proxy.chat(site.key).status for _ in range(6)] == [200] * 6
        assert site.hosts[0].chats(503) >= 1
        large = [proxy.request("POST", "/v1/chat/completions", key=site.key, body=heavy(1 << 20)) for _ in range(4)]
        for answer in large:
            assert answer.status == 200 or (name == "haproxy" and answer.headers["retry-after"] == "2")
        assert not site.hosts[0].engine.bodies


def heavy(size: int) -> dict[str, object]:
    """A question whose picture has so many bytes after its end, which every reader ignores."""
    picture = base64.b64decode(RED_SQUARE.partition(",")[2]) + os.urandom(size)
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}]
    return {"model": "glm-4v", "messages": [{"role": "user", "content": content}]}


def test_a_body_of_four_mebibytes_arrives_whole_and_touches_no_disk(proxy: Proxy, site: Site) -> None:
    body = heavy(3 << 20)
    assert len(json.dumps(body)) > 4 << 20
    answer = proxy.request("POST", "/v1/chat/completions", key=site.key, body=body)
    assert answer.status == 200
    arrived = next(host.engine.bodies[0] for host in site.hosts if host.engine.bodies)
    sent = body["messages"][0]["content"][0]["image_url"]["url"]  # type: ignore[index]
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
        found = until(lambda path=path, leaf=leaf: _found(proxy, site, path, leaf), what="the proof")  # type: ignore[misc]
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
