"""A client's address behind a proxy: believed only from those whom the operator names."""

from pathlib import Path

import pytest

from gateway.front.proxies import MOST_HOPS, TrustedProxies
from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway, question


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        ("", "10.0.0.1", ["1.2.3.4"], "10.0.0.1"),
        ("10.0.0.1", "10.0.0.2", ["1.2.3.4"], "10.0.0.2"),
        ("10.0.0.1", "10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.0/8", "10.0.0.1", ["6.6.6.6, 1.2.3.4, 10.9.9.9"], "1.2.3.4"),
        ("10.0.0.0/8", "10.0.0.1", ["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
        ("10.0.0.0/8", "10.0.0.1", ["127.0.0.1, nonsense, 10.0.0.9"], "10.0.0.9"),
        ("10.0.0.0/8", "10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.0/8", "10.0.0.1", ["1.2.3.4" + ",10.0.0.9" * (MOST_HOPS - 1)], "1.2.3.4"),
        ("10.0.0.0/8", "10.0.0.1", ["1.2.3.4" + ",10.0.0.9" * MOST_HOPS], "10.0.0.9"),
        ("10.0.0.0/8", "10.0.0.1", ["1.2.3.4," * 3000, "10.0.0.9," * MOST_HOPS + "10.0.0.8"], "10.0.0.9"),
        ("10.0.0.0/8", "10.0.0.1", ["fe80::1%\x1b[2J" + "a" * 9000], "10.0.0.1"),
        ("unix", "unix", ["2001:db8::1"], "2001:db8::1"),
    ],
)
def test_only_what_trusted_proxies_wrote_is_believed(
    trusted: str, peer: str, forwarded: list[str], client: str
) -> None:
    assert TrustedProxies(trusted).client(peer, forwarded) == client


@pytest.mark.parametrize(("trusted", "expected"), [("", "127.0.0.1"), ("127.0.0.0/8", "198.51.100.7")])
def test_the_record_has_the_clients_address_and_the_sockets(tmp_path: Path, trusted: str, expected: str) -> None:
    with (
        FakeEngine(tmp_path / "run"),
        Ledger(tmp_path) as ledger,
        Gateway(tmp_path, VITRINE_TRUSTED_PROXIES=trusted) as gateway,
    ):
        answer = gateway.request(
            "POST",
            "/v1/chat/completions",
            key=gateway.create_key(),
            body=question(),
            headers={"X-Forwarded-For": "203.0.113.9, 198.51.100.7"},
        )
        record = ledger.records(kind="admit", id=answer.headers["x-audit-id"])[0]
        assert record["ip"] == expected
        assert record["peer"].startswith("127.0.0.1:")
