"""What a name server may answer when a picture is fetched: the fetcher with names of the test's own, and a real server."""

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

import pytest

from gateway.door import ChatRequest, DoorLimits, RemoteURL, digest_images, parse_chat
from gateway.front.bodies import MemoryBudget, MemoryShare
from gateway.front.errors import GatewayError, TooLarge, Unavailable
from gateway.front.resolver import LookupTimeout
from gateway.images.allowlist import Allowlist
from gateway.images.fetcher import AT_ONCE_PER_PLACE, Fetcher
from tests.support.pictures import LIMITS, PNG, Pictures, asking


class Names:
    """Answers each question with the next list of addresses; ``asked`` are the hosts."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers, self.asked = list(answers), list[str]()

    async def look_up(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        answer = self._answers.pop(0)
        if not answer:
            raise OSError("no such name")
        return answer


def fetched(
    places: str, names: Names, *urls: str, timeout_s: float = 5, limits: DoorLimits = LIMITS, room_bytes: int = 1 << 30
) -> ChatRequest:
    """The request with its pictures, fetched here in this process."""
    request = parse_chat(json.dumps(asking(*urls)).encode(), limits)
    with MemoryShare(MemoryBudget(room_bytes)) as room:
        asyncio.run(Fetcher(Allowlist(places), timeout_s, names.look_up).fetch(request, room))
    return request


# fmt: off
INWARD = (
    "10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "0.0.0.0", "169.254.169.254", "100.64.0.1", "192.0.0.8", "198.18.0.1",
    "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.88.99.1", "192.0.2.1", "::", "::1", "fe80::1", "fe80::1%1",
    "fc00::1", "fd12::1", "ff02::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::808:808", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:1::1", "2001:db8::1", "100::1",
)
# fmt: on


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
    assert [
        bound.permits(ip_address(one)) for one in ("10.0.0.7", "fd00::7", "10.0.1.7", "0.0.0.0", "::ffff:10.0.0.7")
    ] == [True, True, False, False, False]


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
    async def never(_host: str) -> Sequence[str]:
        await asyncio.sleep(3600)
        return []

    look_up: Callable[[str], Awaitable[Sequence[str]]] = never
    request = parse_chat(json.dumps(asking("https://a.example/a.png")).encode(), LIMITS)
    with MemoryShare(MemoryBudget(1)) as room, pytest.raises(GatewayError, match=r"within 0\.2 s"):
        asyncio.run(Fetcher(Allowlist("https://a.example"), 0.2, look_up).fetch(request, room))


async def test_a_silent_place_takes_no_turn_of_another(pictures: Pictures) -> None:
    async def look_up(host: str) -> Sequence[str]:
        if host == "silent.example":
            await asyncio.sleep(3600)
        return ["127.0.0.1"]

    places = [f"http://{host}.example:{pictures.port}" for host in ("silent", "good")]
    fetcher = Fetcher(Allowlist(",".join(f"{place}=127.0.0.1" for place in places)), 60, look_up)

    async def fetch(place: str) -> bytes:
        request = parse_chat(json.dumps(asking(f"{place}/good.png")).encode(), LIMITS)
        with MemoryShare(MemoryBudget(1 << 30)) as room:
            await fetcher.fetch(request, room)
        return request.images[0].data

    waiting = [asyncio.create_task(fetch(places[0])) for _ in range(10 * AT_ONCE_PER_PLACE)]
    async with asyncio.timeout(30):
        assert await asyncio.gather(*(fetch(places[1]) for _ in range(10))) == [PNG] * 10
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def test_a_silent_name_server_is_told_as_such() -> None:
    async def silent(_host: str) -> Sequence[str]:
        raise LookupTimeout

    request = parse_chat(json.dumps(asking("https://a.example/a.png")).encode(), LIMITS)
    with MemoryShare(MemoryBudget(1)) as room, pytest.raises(GatewayError, match="name server of its host"):
        asyncio.run(Fetcher(Allowlist("https://a.example"), 60, silent).fetch(request, room))


def test_pictures_have_a_bound_together_and_a_place_among_all_bodies(pictures: Pictures) -> None:
    place, urls = f"http://127.0.0.1:{pictures.port}=127.0.0.1", [pictures.url(str(n), "127.0.0.1") for n in range(3)]
    with pytest.raises(TooLarge, match="together"):
        fetched(place, Names(), *urls, limits=DoorLimits(remote_images=True, images_bytes=len(PNG) * 2))
    with pytest.raises(TooLarge, match="together"):  # the same one twice counts twice
        fetched(place, Names(), urls[0], urls[0], limits=DoorLimits(remote_images=True, images_bytes=len(PNG)))
    with pytest.raises(Unavailable, match="try again"):
        fetched(place, Names(), *urls, room_bytes=len(PNG) * 3)
    request = fetched(place, Names(), *urls)
    digest_images(request)
    assert {image.sha256 for image in request.images} == {hashlib.sha256(PNG).digest()}


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
def test_a_place_that_can_not_be_is_refused_in_one_sentence(places: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        Allowlist(places)
    assert "\n" not in str(caught.value)
