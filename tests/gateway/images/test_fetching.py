"""Pictures by URL, from real servers on loopback: fetched from listed places only, at permitted addresses, within bounds."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.images.fetcher import AT_ONCE_PER_REQUEST
from tests.gateway.door.bodies import data_url
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Answer, Gateway
from tests.support.pictures import PNG, Pictures, asking
from tests.support.process import run

NOT_FETCHED = "Images are not fetched from the network."


@pytest.fixture(scope="module")
def gateway(home: Path, running_engine: FakeEngine, ledger: Ledger, running_pictures: Pictures) -> Iterator[Gateway]:
    pictures = running_pictures
    places = (
        f"http://localhost:{pictures.port}=127.0.0.1+::1",
        f"https://localhost:{pictures.tls_port}=127.0.0.0/8+::1",
        f"http://127.0.0.1:{pictures.port}=127.0.0.1",
        f"https://127.0.0.1:{pictures.tls_port}=127.0.0.1",
        f"http://localhost:{pictures.tls_port}",  # a place that has to be public, and is not
    )
    with Gateway(
        home,
        VITRINE_REMOTE_IMAGES=",".join(places),
        VITRINE_REMOTE_IMAGES_TIMEOUT_S="1.5",
        SSL_CERT_FILE=str(pictures.certificate),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def key(gateway: Gateway) -> str:
    return gateway.create_key()


def ask(gateway: Gateway, key: str, *urls: str) -> Answer:
    return gateway.request("POST", "/v1/chat/completions", key=key, body=asking(*urls))


def test_a_picture_from_a_listed_place_reaches_the_engine_as_a_data_url(
    gateway: Gateway, key: str, engine: FakeEngine, pictures: Pictures, ledger: Ledger, tmp_path: Path
) -> None:
    answer = ask(gateway, key, pictures.url("good.png?signature=a%2Fb#fragment"))
    assert answer.status == 200, answer.body
    part = engine.bodies[0]["messages"][0]["content"][1]
    assert part["image_url"] == {"url": data_url(PNG)}
    assert str(pictures.port) not in json.dumps(engine.bodies)
    [(path, headers)] = pictures.asked
    assert path == "/good.png?signature=a%2Fb"
    assert headers["Host"] == f"localhost:{pictures.port}"
    assert headers["Accept-Encoding"] == "identity"
    assert {"Cookie", "Authorization", "Referer"}.isdisjoint(headers)
    [record] = [one for one in ledger.records() if one.get("request") == answer.headers["x-request-id"]]
    assert (record["images"][0]["bytes"], record["images"][0]["type"]) == (len(PNG), "image/png")
    (tmp_path / "picture").write_bytes(PNG)
    found = run("gateway.ledger", "find", "--image", str(tmp_path / "picture"), "--json", env=ledger.env)
    assert answer.headers["x-audit-id"] in found.stdout  # by the digest of its bytes, as any picture
    everything = "".join(file.read_text() for file in (ledger.home / "ledger" / "segments").glob("*.jsonl"))
    assert "good.png" not in everything


def test_tls_is_checked_against_the_name_that_was_asked_for(gateway: Gateway, key: str, pictures: Pictures) -> None:
    answer = ask(gateway, key, f"https://127.0.0.1:{pictures.tls_port}/good.png")
    assert answer.status == 400  # the certificate is for another name
    assert "does not answer as it should" in answer.error["message"]
    assert pictures.asked == []
    assert ask(gateway, key, f"https://localhost:{pictures.tls_port}/good.png").status == 200
    assert pictures.asked[0][1]["Host"] == f"localhost:{pictures.tls_port}"


def test_the_record_of_the_start_lists_the_places(gateway: Gateway, ledger: Ledger, pictures: Pictures) -> None:
    outbound = [one["outbound"] for one in ledger.records(kind="boot") if one["room"] == "gateway"]
    assert outbound == [
        [
            f"http://localhost:{pictures.port}",
            f"https://localhost:{pictures.tls_port}",
            f"http://127.0.0.1:{pictures.port}",
            f"https://127.0.0.1:{pictures.tls_port}",
            f"http://localhost:{pictures.tls_port}",
        ]
    ]


def test_several_pictures_are_fetched_at_the_same_time_within_a_bound(
    gateway: Gateway, key: str, engine: FakeEngine, pictures: Pictures
) -> None:
    answer = ask(gateway, key, *[pictures.url(f"slow?{number}") for number in range(8)], data_url(PNG))
    assert answer.status == 200, answer.body
    shown = [part["image_url"]["url"] for part in engine.bodies[0]["messages"][0]["content"][1:]]
    assert shown == [data_url(PNG)] * 9
    assert 1 < pictures.most_at_once <= AT_ONCE_PER_REQUEST


def test_a_picture_that_is_named_twice_is_fetched_once(
    gateway: Gateway, key: str, engine: FakeEngine, pictures: Pictures
) -> None:
    assert ask(gateway, key, pictures.url("good.png"), pictures.url("good.png#again")).status == 200
    assert len(pictures.asked) == 1


@pytest.mark.parametrize(
    ("path", "status", "code", "words"),
    [
        ("missing", 400, "invalid_image_url", "status 404"),
        ("drip", 400, "invalid_image_url", "within 1.5 s"),
        ("endless", 413, "too_large", "10,485,760"),
        ("announced", 413, "too_large", "10,485,760"),
        ("page", 400, "invalid_image", "web page"),
        ("empty", 400, "invalid_image", "empty"),
        ("squeezed", 400, "invalid_image_url", "compressed"),
        ("cut", 400, "invalid_image_url", "does not answer as it should"),
    ],
)
def test_what_is_no_good_picture_is_refused(
    gateway: Gateway, key: str, engine: FakeEngine, pictures: Pictures, path: str, status: int, code: str, words: str
) -> None:
    started_s = time.monotonic()
    answer = ask(gateway, key, pictures.url(path))
    assert (answer.status, answer.error["code"]) == (status, code), answer.body
    assert words in answer.error["message"]
    assert answer.error["param"] == "messages[0].content[1].image_url.url"
    assert time.monotonic() - started_s < 10
    assert engine.bodies == []
    assert gateway.chat(key).status == 200


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.org/a.png", "not one that this service fetches from"),
        ("https://localhost/a.png", "not one that this service fetches from"),  # the port is part of the place
        ("https://localhost:{port}/a.png", "not one that this service fetches from"),  # and so is the scheme
        ("http://localhost:{tls_port}/a.png", "an address that is not permitted"),
        ("http://user:secret@localhost:{port}/a.png", "a user or a password"),
        ("http://example.org@localhost:{port}/a.png", "a user or a password"),
        ("http://localhost:{port}\\@example.org/a.png", "percent-encoded"),
        ("http://localhost:{port}/a b.png", "percent-encoded"),
        ("http://localhost:{port}/ä.png", "percent-encoded"),
        ("http://localhost.:{port}/a.png", "not of the form"),
        ("http:///a.png", "not of the form"),
        ("http:localhost", "not of the form"),
        ("http://localhost:99999/a.png", "can't be"),
        ("file:///etc/passwd", "`file`"),
        ("//localhost/a.png", "not a data URL"),
    ],
)
def test_what_may_not_be_fetched_is_refused_before_anybody_is_asked(
    gateway: Gateway, key: str, engine: FakeEngine, pictures: Pictures, url: str, words: str
) -> None:
    answer = ask(gateway, key, url.replace("{port}", str(pictures.port)).replace("{tls_port}", str(pictures.tls_port)))
    assert answer.status == 400
    assert words in answer.error["message"]
    assert "secret" not in answer.error["message"]
    assert (pictures.asked, engine.bodies) == ([], [])


def test_redirects_inside_the_list_are_followed_three_times(gateway: Gateway, key: str, pictures: Pictures) -> None:
    pictures.moves = {"1": "/2", "2": pictures.url("3", "127.0.0.1"), "3": "good.png"}
    assert ask(gateway, key, pictures.url("1")).status == 200
    assert [path for path, _ in pictures.asked] == ["/1", "/2", "/3", "/good.png"]
    assert all("Cookie" not in headers for _, headers in pictures.asked)
    pictures.moves["0"] = "/1"
    answer = ask(gateway, key, pictures.url("0"))
    assert answer.status == 400
    assert "redirected more than 3 times" in answer.error["message"]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("http://example.org/a.png", "not one that this service fetches from"),
        ("http://169.254.169.254/latest/meta-data", "not one that this service fetches from"),
        ("http://localhost:{tls_port}/a.png", "an address that is not permitted"),
        ("http://a:b@localhost:{port}/a.png", "what is no URL"),
        ("file:///etc/passwd", "what is no URL"),
        ("", "redirected more than 3 times"),
    ],
)
def test_a_redirect_is_checked_as_the_first_url_was(
    gateway: Gateway, key: str, engine: FakeEngine, pictures: Pictures, target: str, words: str
) -> None:
    pictures.moves["1"] = target.replace("{port}", str(pictures.port)).replace("{tls_port}", str(pictures.tls_port))
    answer = ask(gateway, key, pictures.url("1"))
    assert answer.status == 400
    assert words in answer.error["message"]
    assert engine.bodies == []


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_client_that_leaves_ends_the_fetching(
    home: Path, key: str, engine: FakeEngine, ledger: Ledger, pictures: Pictures
) -> None:
    place = f"http://127.0.0.1:{pictures.port}=127.0.0.1"
    with Gateway(home, VITRINE_REMOTE_IMAGES=place, VITRINE_REMOTE_IMAGES_TIMEOUT_S="600") as patient:
        until(lambda: _listens(patient.port), what="the gateway listens")
        connection = http.client.HTTPConnection("127.0.0.1", patient.port, timeout=30)
        content = json.dumps(asking(pictures.url("drip", "127.0.0.1"))).encode()
        connection.request("POST", "/v1/chat/completions", content, {"Authorization": f"Bearer {key}"})
        until(lambda: pictures.asked, what="the picture is asked for")
        before = pictures.left
        connection.close()
        until(lambda: pictures.left > before, what="the picture is given up")
    assert engine.bodies == []


def test_without_the_setting_nothing_is_fetched(tmp_path: Path, pictures: Pictures) -> None:
    with Ledger(tmp_path), FakeEngine(tmp_path / "run") as engine, Gateway(tmp_path) as closed:
        answer = ask(closed, closed.create_key(), pictures.url("good.png"))
        assert (answer.status, answer.error["code"]) == (400, "invalid_image")
        assert answer.error["message"].startswith(NOT_FETCHED)
        assert (pictures.asked, engine.bodies) == ([], [])


def test_a_place_that_can_not_be_is_named_and_ends_with_78(tmp_path: Path) -> None:
    ended = run("gateway", env={"VITRINE_HOME": str(tmp_path), "VITRINE_REMOTE_IMAGES": "http://minio=0.0.0.0/0"})
    assert ended.returncode == 78
    assert len(ended.stderr.splitlines()) == 1
    assert "VITRINE_REMOTE_IMAGES = 'http://minio=0.0.0.0/0'" in ended.stderr
    assert "too wide" in ended.stderr
