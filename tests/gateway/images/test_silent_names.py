"""A name server that is silent for one place, and the real gateway: whatever is at other names goes on."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from tests.support.audit import Ledger
from tests.support.certificate import certificate
from tests.support.deadline import until
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Answer, Gateway
from tests.support.name_server import NameServer
from tests.support.pictures import Pictures, asking
from tests.support.redis import RedisServer

ASKING = 20
ENGINES = 8  # at once: more than there are kept connections to the engine
WHOLE_S = 15.0  # the system's lookup of a silent name takes 20 s


@pytest.fixture
def names(tmp_path: Path) -> Iterator[NameServer]:
    addresses = dict.fromkeys(("engine.test", "limits.test", "answered.test", "silent.test"), "127.0.0.1")
    with NameServer(tmp_path / "etc", addresses, {"localhost": "127.0.0.1", "hosted.test": "127.0.0.1"}) as running:
        yield running


@pytest.mark.slow("waits for a name server that is silent, and until it answers again")
def test_a_name_server_that_is_silent_for_one_place_delays_nobody_else(
    tmp_path: Path, names: NameServer, pictures: Pictures
) -> None:
    (tmp_path / "redis").mkdir()
    chain, its_key = certificate(tmp_path / "redis", "limits.test")
    places = [f"http://{name}.test:{pictures.port}" for name in ("silent", "answered", "hosted")]
    names.silent = {"silent.test"}
    redis = RedisServer(tmp_path / "redis", (chain, its_key))
    with Ledger(tmp_path), FakeEngine(tmp_path, tcp=True) as engine, redis:
        port = engine.url.rpartition(":")[2]
        settings = {
            "VITRINE_SHARED_LIMITS_URL": redis.url.replace("127.0.0.1", "limits.test"),
            "VITRINE_SHARED_LIMITS_CA": str(chain),
            "VITRINE_SHARED_LIMITS_TIMEOUT_S": "20",
            "VITRINE_TENANT_REQUESTS_PER_MIN": "10000",
            "VITRINE_ENGINES": f"gpu=http://engine.test:{port}",
            "VITRINE_REMOTE_IMAGES_TIMEOUT_S": "60",
            "VITRINE_REMOTE_IMAGES": ",".join(f"{place}=127.0.0.1" for place in places),
        }
        with Gateway(tmp_path, program=names.program, **settings) as gateway, ThreadPoolExecutor(64) as many:
            key = gateway.create_key()

            def ask(place: str) -> Answer:
                return gateway.request("POST", "/v1/chat/completions", key=key, body=asking(f"{place}/good.png"))

            until(lambda: gateway.chat(key).status == 200, what="the engine is there")
            late = [many.submit(ask, places[0]) for _ in range(ASKING)]
            until(lambda: "silent.test" in names.asked, what="the silent server is asked")
            before = Counter(names.asked)
            redis.ask("CLIENT", "KILL", "TYPE", "normal")  # so that its name is looked up again
            others = [
                *[many.submit(gateway.chat, key) for _ in range(ENGINES)],
                *[many.submit(ask, place) for place in places[1:]],
            ]
            done, _ = wait(others, timeout=WHOLE_S)
            assert [other.result().status for other in done] == [200] * len(others)
            until(lambda: b"name=vitrine" in redis.ask("CLIENT", "LIST"), what="the shared limits are reached again")
            for name in ("engine.test", "limits.test"):
                assert names.asked.count(name) > before[name]
            # IPv4 and IPv6, once each: the connection went to what was checked.
            assert names.asked.count("answered.test") == 2
            # All who wait share one lookup, which may have been repeated once by now.
            assert names.asked.count("silent.test") in (2, 4)
            for answer in [one.result(30) for one in late]:
                assert (answer.status, answer.error["code"]) == (400, "invalid_image_url")
                assert "the name server of its host does not answer" in answer.error["message"]
            names.silent.clear()
            until(lambda: ask(places[0]).status == 200, within_s=60, what="the place is there again")


@pytest.mark.slow("waits for a name server that is silent")
def test_the_metrics_of_an_engine_whose_name_server_is_silent_are_given_up_in_time(
    tmp_path: Path, names: NameServer
) -> None:
    names.silent = {"mute.test"}
    with Ledger(tmp_path), FakeEngine(tmp_path, tcp=True) as engine:
        port = engine.url.rpartition(":")[2]
        listed = f"gpu=http://engine.test:{port},mute=http://mute.test:{port}"
        with (
            Gateway(tmp_path, program=names.program, VITRINE_ENGINES=listed) as gateway,
            ThreadPoolExecutor(64) as many,
        ):
            key = gateway.create_key("--scope", "metrics")

            def fetch(name: str) -> int:
                return gateway.request("GET", f"/metrics/engines/{name}", key=key).status

            late = [many.submit(fetch, "mute") for _ in range(3)]  # of the four who may scrape at once
            until(lambda: "mute.test" in names.asked, what="the silent server is asked")
            assert fetch("gpu") == 200
            assert [one.result(15) for one in late] == [503] * 3
