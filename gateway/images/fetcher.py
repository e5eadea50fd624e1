"""Fetches the pictures of a request that are URLs; reads no picture, and asks nobody whom the operator did not list.

For each hop, in this order: the origin is on the list; its host is looked up, once; all its addresses are permitted; the
connection goes to these very addresses, so that a second answer of the DNS can't lead elsewhere. A redirect is a new hop.
Each place has a resolver's thread and connections of its own: one that is silent delays no other.
Nothing of the caller goes along: no cookies, no credentials, no headers.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin

import aiohttp
import yarl
from aiohttp.abc import AbstractResolver, ResolveResult

from gateway.door import ChatRequest, DoorLimits, Image, RemoteURL, parse_remote_url
from gateway.front.bodies import MemoryShare
from gateway.front.errors import BadRequest, GatewayError, TooLarge
from gateway.front.resolver import LookupTimeout, Resolver
from gateway.images.allowlist import Address, AllowedOrigin, Allowlist, as_address

REDIRECTS = 3
AT_ONCE_PER_REQUEST = 4
AT_ONCE_PER_PLACE = 32
_CHUNK_BYTES = 64 << 10
_MOVED = (301, 302, 303, 307, 308)
_HEADERS = {
    "Accept": "image/jpeg, image/png, image/webp, image/gif",
    "Accept-Encoding": "identity",
    "User-Agent": "vitrine",
}

LookUp = Callable[[str], Awaitable[Sequence[str]]]


class FetchFailed(Exception):
    """The text ends a sentence that begins with "the picture can't be fetched:"."""


class Fetcher:
    """One worker's. ``look_up`` is asked once for each hop; without it, a resolver of the fetcher's own."""

    def __init__(self, allowlist: Allowlist, timeout_s: float, look_up: LookUp | None = None) -> None:
        self._allowlist, self._timeout_s, self._look_up = allowlist, timeout_s, look_up or Resolver().look_up
        self._tls = ssl.create_default_context()
        self._turns = {origin: asyncio.Semaphore(AT_ONCE_PER_PLACE) for origin in allowlist.origins}

    async def fetch(self, request: ChatRequest, room: MemoryShare) -> None:
        """Give each remote image of ``request`` its bytes; one that is named twice is fetched once.

        Raises BadRequest, TooLarge, or Unavailable where ``room`` has no place for them.
        """
        wanted: dict[RemoteURL, list[Image]] = {}
        for image in request.remote:
            assert image.remote is not None
            wanted.setdefault(image.remote, []).append(image)
        share = _Share(request.limits, sum(image.size_bytes for image in request.images), room)
        turns, end_s = asyncio.Semaphore(AT_ONCE_PER_REQUEST), asyncio.get_running_loop().time() + self._timeout_s
        try:
            async with asyncio.TaskGroup() as group:
                for url, images in wanted.items():
                    group.create_task(self._give(url, images, share, turns, end_s))
        except ExceptionGroup as failed:
            first = failed.exceptions[0]
            raise first from None

    async def _give(
        self, url: RemoteURL, images: list[Image], share: "_Share", turns: asyncio.Semaphore, end_s: float
    ) -> None:
        path = images[0].path
        try:
            async with asyncio.timeout_at(end_s), turns:
                data = await self._follow(url, _Account(share, path, len(images)))
        except TimeoutError:
            raise _failed(f"it did not arrive within {self._timeout_s:g} s", path) from None
        except FetchFailed as why:
            raise _failed(str(why), path) from None
        except (aiohttp.ClientError, OSError):
            # Not the error's own words: they name addresses.
            raise _failed("its server does not answer as it should", path) from None
        for image in images:
            image.take(data)

    async def _follow(self, url: RemoteURL, account: "_Account") -> bytes:
        for _ in range(1 + REDIRECTS):
            place = self._allowlist.find(url)
            if place is None:
                raise FetchFailed("its host is not one that this service fetches from; send it inline, as a data URL")
            async with self._turns[place.origin]:
                answer = await self._ask(url, await self._addresses(url, place), account)
            if isinstance(answer, bytes):
                return answer
            url = answer
        raise FetchFailed(f"it was redirected more than {REDIRECTS} times")

    async def _addresses(self, url: RemoteURL, place: AllowedOrigin) -> list[Address]:
        """Where the host of ``url`` is, all of it permitted."""
        literal = as_address(url.host)
        if literal is None:
            try:
                found = [ipaddress.ip_address(name) for name in await self._look_up(url.host)]
            except LookupTimeout:
                raise FetchFailed("the name server of its host does not answer") from None
            except (OSError, ValueError):
                raise FetchFailed("its host has no address") from None
        else:
            found = [literal]
        if not found:
            raise FetchFailed("its host has no address")
        if not all(map(place.permits, found)):
            raise FetchFailed("its host is at an address that is not permitted")
        return found

    async def _ask(self, url: RemoteURL, addresses: list[Address], account: "_Account") -> "bytes | RemoteURL":
        """The picture, or where it is instead."""
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(addresses), use_dns_cache=False, force_close=True, ssl=self._tls
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None),
                headers=_HEADERS,
            ) as session,
            session.get(yarl.URL(str(url), encoded=True), allow_redirects=False) as answer,
        ):
            if answer.status in _MOVED:
                return _moved(url, answer.headers.get("Location", ""))
            if answer.status != 200:
                raise FetchFailed(f"its server answered with status {answer.status}")
            if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise FetchFailed("its server sent it compressed, though it was asked not to")
            account.announce(answer.content_length or 0)
            parts = []
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                account.take(len(chunk))
                parts.append(chunk)
            return b"".join(parts)


@dataclass
class _Share:
    """What all pictures of one request may have together; ``size_bytes`` they have already."""

    limits: DoorLimits
    size_bytes: int
    room: MemoryShare


class _Account:
    """One URL's part of it, of which a request wants ``copies``."""

    def __init__(self, share: _Share, path: str, copies: int) -> None:
        self._share, self._path, self._copies, self._size_bytes = share, path, copies, 0

    def announce(self, size_bytes: int) -> None:
        """Raises TooLarge or Unavailable if so many more can't be taken; takes nothing."""
        limits = self._share.limits
        if self._size_bytes + size_bytes > limits.image_bytes:
            raise TooLarge(
                f"the picture has more than {limits.image_bytes:,} bytes; scale or compress it",
                param=self._path,
                code="too_large",
            )
        if self._share.size_bytes + size_bytes * self._copies > limits.images_bytes:
            raise TooLarge(
                f"the pictures have more than {limits.images_bytes:,} bytes together; send fewer or smaller ones",
                param="messages",
                code="too_large",
            )
        self._share.room.check(_in_base64(size_bytes * self._copies))

    def take(self, size_bytes: int) -> None:
        self.announce(size_bytes)
        self._size_bytes += size_bytes
        self._share.size_bytes += size_bytes * self._copies
        self._share.room.take(_in_base64(size_bytes * self._copies))


class _Pinned(AbstractResolver):
    """Answers with the addresses that were checked, whatever it is asked."""

    def __init__(self, addresses: list[Address]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        pass


def _in_base64(size_bytes: int) -> int:
    """What is held until the engine has answered, as of a picture that came inline."""
    return -(-size_bytes * 4 // 3)


def _moved(url: RemoteURL, location: str) -> RemoteURL:
    try:
        return parse_remote_url(urljoin(str(url), location))
    except ValueError:
        raise FetchFailed("it was redirected to what is no URL") from None


def _failed(why: str, path: str) -> GatewayError:
    return BadRequest(f"the picture can't be fetched: {why}", param=path, code="invalid_image_url")
