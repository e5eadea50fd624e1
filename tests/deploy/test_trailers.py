"""Trailers through the proxies of deploy/ and without them: nothing that reads headers takes one for a header."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.wire import chunk, exchange, statuses
from tests.deploy.proxies import PROXIES, Proxy
from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway

GROUPS = json.dumps([{"group": "vision", "tenant": "lab"}])
PLANTED_IP = "198.51.100.7"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def engine(home: Path) -> Iterator[FakeEngine]:
    with FakeEngine(home / "run") as running:
        yield running


@pytest.fixture(scope="module")
def ledger(home: Path) -> Iterator[Ledger]:
    with Ledger(home) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(home: Path, engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    """One that believes its proxies who a person is."""
    with Gateway(
        home,
        VITRINE_AUTH_HEADER="X-Remote-User",
        VITRINE_AUTH_GROUPS_HEADER="X-Remote-Groups",
        VITRINE_GROUPS=GROUPS,
        VITRINE_TRUSTED_PROXIES="127.0.0.1",
    ) as running:
        yield running


@pytest.fixture(scope="module")
def key(gateway: Gateway) -> str:
    return gateway.create_key()


@pytest.fixture(params=["direct", *PROXIES])
def door(request: pytest.FixtureRequest, gateway: Gateway, tmp_path: Path) -> Iterator[Gateway]:
    """Where a client comes in."""
    if request.param == "direct":
        yield gateway
        return
    with Proxy(request.param, tmp_path, [gateway.port] * 2) as running:
        yield running


def asked(method: bytes, path: bytes, trailers: bytes, body: bytes = b"{}", headers: bytes = b"") -> bytes:
    head = b"%b %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n%b\r\n" % (
        method,
        path,
        headers,
    )
    return head + chunk(body) + b"0\r\n" + trailers + b"\r\n"


def test_a_key_in_a_trailer_lets_nobody_in(door: Gateway, key: str) -> None:
    sent = asked(b"POST", b"/v1/chat/completions", b"Authorization: Bearer %b\r\n" % key.encode())
    assert statuses(exchange(door.port, sent)) == (401,)


def test_a_person_in_a_trailer_is_nobody(door: Gateway) -> None:
    trailers = b"X-Remote-User: alice\r\nX-Remote-Groups: vision\r\n"
    received = exchange(door.port, asked(b"GET", b"/auth/methods", trailers))
    assert b'"signed_in":null' in received
    assert b"set-cookie" not in received.lower()


def test_an_address_in_a_trailer_stands_in_no_record(door: Gateway, key: str, ledger: Ledger) -> None:
    """Nor does it count for the rate limiter of bad keys, which goes by the same address."""
    question = json.dumps({"model": "glm-4v", "messages": [{"role": "user", "content": "What is this?"}]}).encode()
    sent = asked(
        b"POST",
        b"/v1/chat/completions",
        b"X-Forwarded-For: %b\r\n" % PLANTED_IP.encode(),
        question,
        b"Content-Type: application/json\r\nAuthorization: Bearer %b\r\n" % key.encode(),
    )
    assert statuses(exchange(door.port, sent)) == (200,)
    assert ledger.records(kind="admit")[-1]["ip"] == "127.0.0.1"
    assert not ledger.records(ip=PLANTED_IP)


def test_a_session_and_its_form_token_in_trailers_sign_nobody_in(door: Gateway) -> None:
    trailers = b"Cookie: vitrine=planted\r\nX-CSRF-Token: planted\r\nSec-Fetch-Site: same-origin\r\n"
    assert statuses(exchange(door.port, asked(b"POST", b"/auth/sign-out", trailers))) == (401,)
