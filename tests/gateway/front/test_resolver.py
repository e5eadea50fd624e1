"""The lookup of names, with a system's lookup of the test's own that waits, fails or answers as it is told."""

import ast
import asyncio
import ssl
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.engines.connections import ConnectFailed
from gateway.engines.endpoint import Endpoint
from gateway.front.resolver import LookupFailed, LookupTimeout, Resolver
from tests.support.certificate import certificate
from tests.support.deadline import eventually, until
from tests.support.engine_connections import engine_connections
from tests.support.process import TOP

SOON_S = 0.3
NEVER_S = 600.0


class System:
    """Waits for names in ``silent`` until they leave it; ``fails`` are names without an address; ``asked`` counts lookups."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.silent: set[str] = set()
        self.fails: set[str] = set()
        self.running = self.most_running = 0
        self._lock = threading.Lock()

    def look_up(self, host: str) -> Sequence[str]:
        with self._lock:
            self.asked[host] += 1
            self.running += 1
            self.most_running = max(self.running, self.most_running)
        try:
            until(lambda: host not in self.silent, within_s=60, what=f"{host} is answered")
            if host in self.fails:
                raise OSError("Name or service not known")
            return ["127.0.0.1", "::1"]
        finally:
            with self._lock:
                self.running -= 1


@pytest.fixture
def system() -> Iterator[System]:
    system = System()
    yield system
    system.silent.clear()
    until(lambda: system.running == 0, what="all threads are free")


async def test_all_who_ask_for_a_name_share_one_lookup_and_get_its_answer(system: System) -> None:
    resolver = Resolver(system.look_up)
    system.silent = {"a.test"}
    asking = [asyncio.create_task(resolver.look_up("a.test")) for _ in range(1000)]
    await eventually(lambda: system.running == 1, what="it is asked")
    system.silent.clear()
    assert [list(found) for found in await asyncio.gather(*asking)] == [["127.0.0.1", "::1"]] * 1000
    assert system.asked["a.test"] == 1
    await resolver.look_up("a.test")  # answers are not remembered
    assert system.asked["a.test"] == 2


async def test_a_silent_name_delays_no_other_whatever_number_of_them_there_is(system: System) -> None:
    resolver = Resolver(system.look_up, lookup_s=NEVER_S)
    system.silent = {f"silent-{number}.test" for number in range(64)}
    asking = [asyncio.create_task(resolver.look_up(name)) for name in system.silent for _ in range(20)]
    await eventually(lambda: system.running == 64, what="all silent names are asked for")
    async with asyncio.timeout(30):
        for number in range(200):
            assert await resolver.look_up(f"good-{number}.test")
    assert not any(one.done() for one in asking)
    assert system.most_running == 65  # a thread for each name, not for each who asks
    for one in asking:
        one.cancel()
    await asyncio.gather(*asking, return_exceptions=True)


async def test_a_lookup_ends_at_its_deadline_for_all_and_the_name_is_not_asked_for_again_meanwhile(
    system: System,
) -> None:
    resolver = Resolver(system.look_up, lookup_s=SOON_S)
    system.silent = {"a.test"}
    first = await asyncio.gather(*(resolver.look_up("a.test") for _ in range(50)), return_exceptions=True)
    assert {type(one) for one in first} == {LookupTimeout}
    began_s = time.monotonic()
    for _ in range(100):
        with pytest.raises(LookupTimeout, match="does not answer"):
            await resolver.look_up("a.test")
    assert time.monotonic() - began_s < 100 * SOON_S / 2  # at once, not each after the deadline
    assert system.asked["a.test"] == 1
    system.silent.clear()

    async def answered() -> bool:
        try:
            return bool(await resolver.look_up("a.test"))
        except LookupTimeout:
            return False

    await eventually(answered, what="a late answer ends it")


async def test_a_failure_is_remembered_for_a_moment(system: System) -> None:
    resolver = Resolver(system.look_up, failure_s=SOON_S)
    system.fails = {"a.test"}
    for _ in range(20):
        with pytest.raises(LookupFailed, match="not known"):
            await resolver.look_up("a.test")
    assert system.asked["a.test"] < 20
    system.fails.clear()

    async def answered() -> bool:
        try:
            return bool(await resolver.look_up("a.test"))
        except LookupFailed:
            return False

    await eventually(answered, what="it is forgotten")
    assert resolver._lookups == {}


async def test_who_leaves_takes_nothing_from_the_others(system: System) -> None:
    resolver = Resolver(system.look_up)
    system.silent = {"a.test"}
    leaving, staying = (asyncio.create_task(resolver.look_up("a.test")) for _ in range(2))
    await eventually(lambda: system.running == 1, what="it is asked")
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    system.silent.clear()
    assert await staying == ["127.0.0.1", "::1"]


async def test_an_address_is_its_own_and_what_can_not_be_a_name_is_a_failure(system: System) -> None:
    resolver = Resolver(system.look_up)
    assert [list(await resolver.look_up(one)) for one in ("10.0.0.1", "fd00::1")] == [["10.0.0.1"], ["fd00::1"]]
    assert list(resolver.wait_for("10.0.0.1", 0)) == ["10.0.0.1"]
    assert not system.asked
    for name in ("a..b", "x" * 64 + ".test"):  # no label may be empty or so long
        with pytest.raises(LookupFailed):
            await Resolver().look_up(name)


def test_a_thread_without_a_loop_waits_for_no_longer_than_it_says(system: System) -> None:
    resolver = Resolver(system.look_up, lookup_s=NEVER_S)
    system.silent = {"a.test"}
    for _ in range(3):
        with pytest.raises(LookupTimeout):
            resolver.wait_for("a.test", 0.05)
    assert system.asked["a.test"] == 1
    assert list(resolver.wait_for("b.test", 30)) == ["127.0.0.1", "::1"]


def test_the_systems_own_answer_is_there() -> None:
    assert "127.0.0.1" in Resolver().wait_for("localhost", 30)


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[str | None]]]:
    """The port of a server on 127.0.0.1 that answers every request with 200, and the names that its clients asked for in TLS."""
    named: list[str | None] = []

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: named.append(name)
    server = await asyncio.start_server(met, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1], named


async def asked(origin: str, resolver: Resolver, tls: ssl.SSLContext | None = None) -> int:
    async with engine_connections(Endpoint(origin=origin), tls, resolver) as connections:
        hop = await connections.ask("GET", "/", silence_s=10, answer_s=10)
        return await hop.head()


async def test_an_engine_is_reached_at_the_next_address_when_one_takes_no_connection() -> None:
    async with listening() as (port, _):
        assert await asked(f"http://engine.test:{port}", Resolver(lambda _: ["127.0.0.99", "127.0.0.1"])) == 200
        with pytest.raises(ConnectFailed):
            await asked(f"http://engine.test:{port}", Resolver(lambda _: ["127.0.0.99"]))


async def test_an_engines_certificate_has_to_be_for_its_name_not_for_its_address(tmp_path: Path) -> None:
    chain, key = certificate(tmp_path, "engine.test")
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(chain, key)
    ours = ssl.create_default_context(cafile=str(chain))
    resolver = Resolver(lambda _: ["127.0.0.1"])
    async with listening(theirs) as (port, named):
        assert await asked(f"https://engine.test:{port}", resolver, ours) == 200
        assert named == ["engine.test"]
        for host in ("another.test", "127.0.0.1"):
            with pytest.raises(ConnectFailed, match="not valid for"):
                await asked(f"https://{host}:{port}", resolver, ours)


def test_names_are_looked_up_in_one_module_alone() -> None:
    asking = {"getaddrinfo", "gethostbyname", "gethostbyname_ex", "open_connection", "create_connection"}
    found = {
        (str(path.relative_to(TOP)), node.attr)
        for path in (TOP / "gateway").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Attribute) and node.attr in asking
    }
    assert found == {("gateway/front/resolver.py", "getaddrinfo"), ("gateway/front/resolver.py", "create_connection")}
