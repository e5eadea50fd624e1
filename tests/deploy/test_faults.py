"""Gateways that die, refuse or are killed in the middle, behind the proxies of deploy/: what is lost, what is sent again."""

import http.client
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.deploy.asking import Stream, heavy, origin_of, waiting
from tests.deploy.proxies import PROXIES, Proxy
from tests.deploy.site import ORIGINS, Site, two_hosts
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour


class Load:
    """Four clients that ask one question after another; begun when both gateways have answered some. ``event``: it happened."""

    def __init__(self, proxy: Proxy, site: Site, pool: ThreadPoolExecutor) -> None:
        self.event, self._over = threading.Event(), threading.Event()
        self._proxy, self._site = proxy, site
        self._running = [pool.submit(self._ask) for _ in range(4)]
        until(lambda: all(len(host.engine.bodies) > 10 for host in site.hosts), what="load on both")

    def _ask(self) -> list[tuple[bool, int]]:
        seen = []
        while not self._over.is_set():
            after = self.event.is_set()
            try:
                seen.append((after, self._proxy.chat(self._site.key).status))
            except (http.client.HTTPException, OSError):
                seen.append((after, 0))
        return seen

    def end(self, more: int) -> list[tuple[bool, int]]:
        """After ``more`` answers of the second gateway: whether each question began after the event, its status or 0."""
        bodies = self._site.hosts[1].engine.bodies
        count = len(bodies)
        try:
            until(lambda: len(bodies) > count + more, within_s=30, what=f"{more} more answers")
        finally:
            self._over.set()
        return [one for running in self._running for one in running.result(30)]


def test_a_killed_gateway_loses_only_its_own_streams(proxy: Proxy, site: Site) -> None:
    waiting(site)
    streams = [Stream(proxy, site.key) for _ in range(4)]
    assert sorted(stream.origin for stream in streams) == sorted(ORIGINS * 2)
    for host in site.hosts:
        host.engine.behaviour = Behaviour.ANSWERS
    with ThreadPoolExecutor(4) as pool:
        load = Load(proxy, site, pool)
        site.hosts[0].kill()
        load.event.set()
        seen = load.end(60)
    site.hosts[0].start()
    assert [status for after, status in seen if after and status != 200] == []
    assert sum(status != 200 for _, status in seen) <= 4  # those that were at work there in that moment
    site.hosts[1].engine.go_on.set()
    for stream in streams:
        whole = stream.rest().endswith(b"data: [DONE]\n\n")
        assert whole == (stream.origin == ORIGINS[1])


def test_a_gateway_that_is_told_to_end_loses_no_request(proxy: Proxy, site: Site) -> None:
    with ThreadPoolExecutor(4) as pool:
        load = Load(proxy, site, pool)
        assert site.hosts[0].gateway.process.end() == 0
        seen = load.end(60)
    site.hosts[0].start()
    assert [status for _, status in seen if status != 200] == []
    assert len(seen) > 60


def test_a_dead_gateway_that_nobody_has_noticed_costs_no_request(proxy: Proxy, site: Site) -> None:
    assert {origin_of(proxy.chat(site.key)) for _ in range(4)} == set(ORIGINS)
    site.hosts[0].kill()  # nothing is at work there, and no check has been since
    answers = [proxy.chat(site.key) for _ in range(4)]
    site.hosts[0].start()
    assert [answer.status for answer in answers] == [200] * 4


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
    """The first gateway is ready and its log does not answer; nginx holds every body, HAProxy those of 16 KiB."""
    with (
        two_hosts(tmp_path, {"VITRINE_ADMIT_TIMEOUT_S": "0.02"}, {}) as site,
        Proxy(name, tmp_path, site.ports) as proxy,
        site.hosts[0].ledger.silent(),
    ):
        assert [proxy.chat(site.key).status for _ in range(6)] == [200] * 6
        assert site.hosts[0].chats(503) >= 1
        large = [proxy.request("POST", "/v1/chat/completions", key=site.key, body=heavy(1 << 20)) for _ in range(4)]
        for answer in large:
            assert answer.status == 200 or (name == "haproxy" and answer.headers["retry-after"] == "1")
        assert site.hosts[0].chats(200) == 0
