"""Pictures by URL, from real servers on loopback: fetched from listed places only, at permitted addresses, within bounds."""

import asyncio
import hashlib
import http.client
import json
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.body import Bodies, Room
from gateway.door import ChatRequest, Limits, RemoteURL, digest_images, parse_chat
from gateway.errors import GatewayError, TooLarge, Unavailable
from gateway.remote_images.allowlist import Allowlist
from gateway.remote_images.fetcher import AT_ONCE_PER_REQUEST, Fetcher
from tests.gateway.door.bodies import body, data_url, picture, user
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Answer, Gateway
from tests.support.process import run
from tests.support.servers import certificate

PNG = picture()
LIMITS = Limits(remote_images=True)
NOT_FETCHED = "Images are not fetched from the network."


class Pictures:
    """A server of pictures on loopback, plain and with TLS. ``asked`` are paths and headers; ``most_at_once`` how many of
    ``/slow`` were being served at the same time, ``left`` how many answers without end were abandoned."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.most_at_once = self.at_once = self.left = 0
        self.moves: dict[str, str] = {}
        self.certificate, self._key = certificate(folder, "localhost")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "Pictures":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
        await self._runner.setup()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self._key)
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self.port, self.tls_port = (address[1] for address in self._runner.addresses)

    def url(self, path: str, host: str = "localhost") -> str:
        return f"http://{host}:{self.port}/{path}"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        self.asked.append((request.raw_path, dict(request.headers)))
        if path in self.moves:
            return web.Response(status=302, headers={"Location": self.moves[path], "Set-Cookie": "a=b"})
        match path:
            case "slow":
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                await asyncio.sleep(0.1)
                self.at_once -= 1
            case "drip":
                return await self._write(request, PNG[:1], pause_s=0.05)
            case "endless":
                return await self._write(request, b"\x89PNG\r\n\x1a\n" + b"x" * 65536, pause_s=0)
            case "announced":
                return web.Response(body=b"x" * (LIMITS.image_bytes + 1))
            case "page":
                return web.Response(text="<html>no picture</html>", content_type="image/png")
            case "empty":
                return web.Response(body=b"", content_type="image/png")
            case "squeezed":
                answer = web.Response(body=PNG * 1000)
                answer.enable_compression(web.ContentCoding.gzip)
                return answer
            case "cut":
                answer = web.StreamResponse(headers={"Content-Length": str(len(PNG))})
                await answer.prepare(request)
                await answer.write(PNG[:20])
                assert request.transport is not None
                request.transport.abort()
                return answer
            case "missing":
                return web.Response(status=404)
        return web.Response(body=PNG, content_type="application/octet-stream")

    async def _write(self, request: web.Request, chunk: bytes, pause_s: float) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(chunk)
                await asyncio.sleep(pause_s)
        finally:
            self.left += 1


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pictures]:
    with Pictures(tmp_path_factory.mktemp("pictures")) as running:
        yield running


@pytest.fixture(autouse=True)
def _nothing_asked(pictures: Pictures) -> None:
    pictures.asked.clear()
    pictures.moves.clear()
    pictures.most_at_once = 0


def asking(*urls: str) -> dict[str, Any]:
    return body(user("What is this?", *[{"type": "image_url", "image_url": {"url": url}} for url in urls]))


# --- the gateway as a process ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gateway(home: Path, running_engine: FakeEngine, ledger: Ledger, pictures: Pictures) -> Iterator[Gateway]:
    places = (
        f"http://localhost:{pictures.port}=127.0.0.1+::1",
        f"https://localhost:{pictures.tls_port}=127.0.0.0/8+::1",
        f"http://127.0.0.1:{pictures.port}=127.0.0.1",
        f"https://127.0.0.1:{pictures.tls_port}=127.0.0.1",
        f"http://localhost:{pictures.tls_port}",  # a place that has to be public, and is not
    )
    with Gateway(
        home, VITRINE_REMOTE_IMAGES=",".join(places), VITRINE_REMOTE_IMAGES_TIMEOUT_S="1.5",
        SSL_CERT_FILE=str(pictures.certificate),
    ) as running:  # fmt: skip
        yield running


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
        [f"http://localhost:{pictures.port}", f"https://localhost:{pictures.tls_port}", f"http://127.0.0.1:{pictures.port}",
         f"https://127.0.0.1:{pictures.tls_port}", f"http://localhost:{pictures.tls_port}"]
    ]  # fmt: skip


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
        ("page", 400, "invalid_image", "not a JPEG"),
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


def test_a_client_that_leaves_ends_the_fetching(
    home: Path, key: str, engine: FakeEngine, ledger: Ledger, pictures: Pictures
) -> None:
    place = f"http://127.0.0.1:{pictures.port}=127.0.0.1"
    with Gateway(home, VITRINE_REMOTE_IMAGES=place, VITRINE_REMOTE_IMAGES_TIMEOUT_S="600") as patient:
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


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ("images.example.org", "not of the form"),
        ("https://*.example.org", "not of the form"),
        ("https://a.example,https://A.example:443", "listed twice"),
        ("https://a.example/pictures", "more than scheme, host and port"),
        ("https://u:p@a.example", "a user or a password"),
        ("http://10.0.0.5", "write http://10.0.0.5=10.0.0.5"),
        ("http://[::1]:80", "not a public address"),
        ("http://[0:0::1]=::1", "written as ::1"),
        ("http://minio=10.0.0.5/8", "is no network"),
        ("http://minio=", "is no network"),
        ("http://minio=0.0.0.0/0", "too wide"),
        ("http://minio=::/0", "too wide"),
        (",".join(f"https://h{number}.example" for number in range(65)), "64 at most"),
    ],
)
def test_a_place_that_can_not_be_is_named_and_ends_with_78(tmp_path: Path, places: str, words: str) -> None:
    ended = run("gateway", env={"VITRINE_HOME": str(tmp_path), "VITRINE_REMOTE_IMAGES": places})
    assert ended.returncode == 78
    assert len(ended.stderr.splitlines()) == 1
    assert "VITRINE_REMOTE_IMAGES" in ended.stderr
    assert words in ended.stderr


# --- what a name server may answer ----------------------------------------------------------------------------------


class Names:
    """Answers each question with the next list of addresses; ``asked`` are the hosts."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers, self.asked = list(answers), list[str]()

    async def look_up(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        answer = self._answers.pop(0)
        if not answer:
            raise OSError("no such name")
        return answer


def fetched(
    places: str, names: Names, *urls: str, timeout_s: float = 5, limits: Limits = LIMITS, room_bytes: int = 1 << 30
) -> ChatRequest:
    """The request with its pictures, fetched here in this process."""
    request = parse_chat(json.dumps(asking(*urls)).encode(), limits)
    with Room(Bodies(room_bytes)) as room:
        asyncio.run(Fetcher(Allowlist(places), timeout_s, names.look_up).fetch(request, room))
    return request


INWARD = (
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "0.0.0.0", "169.254.169.254", "100.64.0.1", "192.0.0.8", "198.18.0.1",  # noqa: S104
    "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.88.99.1", "192.0.2.1", "::", "::1", "fe80::1", "fe80::1%1",
    "fc00::1", "fd12::1", "ff02::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::1", "2001:db8::1", "100::1",
)  # fmt: skip


@pytest.mark.parametrize("address", INWARD)
def test_a_public_name_that_leads_inward_is_refused(pictures: Pictures, address: str) -> None:
    for answer in ([address], ["93.184.215.14", address], [address, "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]):
        with pytest.raises(GatewayError, match="not permitted"):
            fetched(f"http://pictures.example:{pictures.port}", Names(answer), pictures.url("a", "pictures.example"))
    assert pictures.asked == []


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses_are_permitted_and_inside_a_named_network_only_its_own(address: str) -> None:
    url = RemoteURL("https", "pictures.example", 443, "/")
    public = Allowlist("https://pictures.example").find(url)
    bound = Allowlist("https://pictures.example=10.0.0.0/24+fd00::/8").find(url)
    assert public is not None
    assert bound is not None
    assert public.permits(ip_address(address))
    assert not bound.permits(ip_address(address))
    assert [bound.permits(ip_address(one)) for one in ("10.0.0.7", "fd00::7", "10.0.1.7", "0.0.0.0", "::ffff:10.0.0.7")] == [  # noqa: S104
        True, True, False, False, False,
    ]  # fmt: skip


def test_a_name_is_looked_up_once_and_the_connection_goes_to_what_was_checked(pictures: Pictures) -> None:
    # A second question would be answered with an address where nobody listens.
    names = Names(["127.0.0.1"], ["127.0.0.99"])
    request = fetched(
        f"http://rebind.example:{pictures.port}=127.0.0.1", names, pictures.url("good.png", "rebind.example")
    )
    assert request.images[0].data == PNG
    assert names.asked == ["rebind.example"]
    assert pictures.asked[0][1]["Host"] == f"rebind.example:{pictures.port}"


def test_a_name_that_changes_between_two_hops_is_checked_again(pictures: Pictures) -> None:
    pictures.moves["1"] = "/2"
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    with pytest.raises(GatewayError, match="not permitted"):
        fetched(f"http://rebind.example:{pictures.port}=127.0.0.1", names, pictures.url("1", "rebind.example"))
    assert [path for path, _ in pictures.asked] == ["/1"]


def test_a_name_without_an_address_and_a_place_where_nobody_listens_are_told_without_addresses(
    pictures: Pictures,
) -> None:
    place = f"http://pictures.example:{pictures.port}=127.0.0.0/8"
    with pytest.raises(GatewayError, match="has no address"):
        fetched(place, Names([]), pictures.url("a", "pictures.example"))
    with pytest.raises(GatewayError, match="does not answer as it should") as caught:
        fetched(place, Names(["127.0.0.99"]), pictures.url("a", "pictures.example"))
    assert "127." not in caught.value.message


def test_a_name_server_that_does_not_answer_ends_with_the_deadline() -> None:
    async def never(_host: str, _port: int) -> Sequence[str]:
        await asyncio.sleep(3600)
        return []

    look_up: Callable[[str, int], Awaitable[Sequence[str]]] = never
    request = parse_chat(json.dumps(asking("https://a.example/a.png")).encode(), LIMITS)
    with Room(Bodies(1)) as room, pytest.raises(GatewayError, match=r"within 0\.2 s"):
        asyncio.run(Fetcher(Allowlist("https://a.example"), 0.2, look_up).fetch(request, room))


def test_pictures_have_a_bound_together_and_a_place_among_all_bodies(pictures: Pictures) -> None:
    place, urls = f"http://127.0.0.1:{pictures.port}=127.0.0.1", [pictures.url(str(n), "127.0.0.1") for n in range(3)]
    with pytest.raises(TooLarge, match="together"):
        fetched(place, Names(), *urls, limits=Limits(remote_images=True, images_bytes=len(PNG) * 2))
    with pytest.raises(TooLarge, match="together"):  # the same one twice counts twice
        fetched(place, Names(), urls[0], urls[0], limits=Limits(remote_images=True, images_bytes=len(PNG)))
    with pytest.raises(Unavailable, match="try again"):
        fetched(place, Names(), *urls, room_bytes=len(PNG) * 3)
    request = fetched(place, Names(), *urls)
    digest_images(request)
    assert {image.sha256 for image in request.images} == {hashlib.sha256(PNG).digest()}
