"""Who scrapes slowly, or too much at once, and engines that answer slowly: each is given up, and nobody else waits for it."""

import contextlib
import socket
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.engines.roster import RosterEntry
from gateway.engines.scrape import EngineScraper
from gateway.telemetry.exporter import ENGINES_AT_ONCE, LEAVING, MOST_CONNECTIONS, REQUEST_S, NotScraped
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway
from tests.support.scrape import fetch, scrape

ENGINE = "/metrics/engines/engine-0"
LATE_S = 3.0  # what a busy machine may add to a deadline


def threads(gateway: Gateway) -> int:
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


def guest(gateway: Gateway, sent: bytes = b"") -> socket.socket:
    ours = socket.create_connection(("127.0.0.1", gateway.metrics_port), timeout=20)
    ours.sendall(sent)
    return ours


def trickle(ours: socket.socket, text: bytes) -> float:
    """Send byte by byte until the other end has had enough; after how many seconds."""
    began_s = time.monotonic()
    ours.settimeout(0.2)
    for number in range(len(text)):
        with contextlib.suppress(TimeoutError):
            try:
                ours.sendall(text[number : number + 1])
                if ours.recv(1) == b"":
                    break
            except ConnectionError:
                break
    ours.close()
    return time.monotonic() - began_s


def test_a_request_that_comes_byte_by_byte_is_given_up_at_the_deadline(gateway: Gateway) -> None:
    before = threads(gateway)
    with ThreadPoolExecutor(5) as many:
        text = b"GET /metrics HTTP/1.1\r\nX-Long: " + b"x" * 150
        for took_s in many.map(lambda _: trickle(guest(gateway), text), range(5)):
            assert REQUEST_S - 0.5 <= took_s <= REQUEST_S + LATE_S
    until(lambda: threads(gateway) <= before + 1, what="their threads are gone")  # one may be the gateway's own, new


def test_many_who_say_nothing_take_neither_threads_without_end_nor_the_scrapers_place(gateway: Gateway) -> None:
    before = threads(gateway)
    with contextlib.ExitStack() as stack:
        for number in range(4 * MOST_CONNECTIONS):
            stack.enter_context(guest(gateway, b"GET /metrics HT" if number % 2 else b""))
        began_s = time.monotonic()
        assert scrape(gateway.metrics_port)["vitrine_ledger_up"] == 1
        assert time.monotonic() - began_s < LATE_S
        assert threads(gateway) - before <= MOST_CONNECTIONS + LEAVING + 2
    until(lambda: threads(gateway) <= before + 1, what="their threads are gone")


def test_too_many_scrapes_at_once_are_refused_and_the_gateways_own_go_on(gateway: Gateway, engine: FakeEngine) -> None:
    def ask(_: int) -> int:
        try:
            fetch(gateway.metrics_port, ENGINE)
        except urllib.error.HTTPError as error:
            with error:
                return error.code if b"at once" in error.read() else 599
        return 200

    engine.behaviour = Behaviour.MEASURES_SLOWLY
    with ThreadPoolExecutor(ENGINES_AT_ONCE + 6) as many:
        asked = [many.submit(ask, number) for number in range(ENGINES_AT_ONCE + 6)]
        until(lambda: sum(one.done() for one in asked) == 6, within_s=4, what="six refused at once")
        assert scrape(gateway.metrics_port)["vitrine_ledger_up"] == 1
        answers = [one.result(20) for one in asked]
    # The others waited for the engine, as long as that may take.
    assert (answers.count(503), answers.count(599)) == (6, ENGINES_AT_ONCE)
    engine.behaviour = Behaviour.ANSWERS
    assert ask(0) == 200


def slowly(*parts: bytes, pause_s: float) -> Callable[[socket.socket], None]:
    def serve(theirs: socket.socket) -> None:
        with theirs, contextlib.suppress(OSError):
            theirs.recv(4096)
            for part in parts:
                theirs.sendall(part)
                time.sleep(pause_s)  # the slowness that is tested

    return serve


@contextlib.contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """One connection on a port of 127.0.0.1, served in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=lambda: serve(listener.accept()[0]), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(20)


@pytest.mark.parametrize(
    "parts",
    [
        [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", *[b"#"] * 50],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", *[b"#"] * 50],
        [b"HTTP/1.1 200 OK\r\nX-Long: ", *[b"x"] * 50],
    ],
    ids=["a body until the end", "a body of a length", "a head"],
)
def test_an_engine_that_trickles_is_given_up_at_the_deadline(tmp_path: Path, parts: list[bytes]) -> None:
    with server(slowly(*parts, pause_s=0.2)) as url:
        engines = EngineScraper(tmp_path, {"gpu": RosterEntry(url)}, None, deadline_s=1)
        began_s = time.monotonic()
        with pytest.raises(NotScraped):
            engines.fetch("gpu")
        assert 0.9 <= time.monotonic() - began_s <= 1 + LATE_S


def test_an_engine_that_ends_its_answer_by_closing_is_read_whole(tmp_path: Path) -> None:
    parts = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"a 1\n", b"b 2\n"]
    with server(slowly(*parts, pause_s=0.1)) as url:
        assert EngineScraper(tmp_path, {"gpu": RosterEntry(url)}, None).fetch("gpu") == b"a 1\nb 2\n"
