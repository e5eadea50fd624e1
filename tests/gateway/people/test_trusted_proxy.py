"""A proxy's word about who the person is: believed from trusted proxies, and from nobody else."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.people.browser import Browser
from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway

GROUPS = [{"group": "vision", "tenant": "lab"}, {"group": "auditors", "tenant": "house", "scopes": ["audit"]}]
SETTINGS = {
    "VITRINE_AUTH_HEADER": "X-Remote-User",
    "VITRINE_AUTH_GROUPS_HEADER": "X-Remote-Groups",
    "VITRINE_GROUPS": json.dumps(GROUPS),
}
ALICE = {"X_Remote_User": "alice", "X_Remote_Groups": "staff, Vision"}


@pytest.fixture(scope="module")
def gateway(home: Path, running_engine: FakeEngine, ledger: Ledger) -> Iterator[Gateway]:
    with Gateway(home, **SETTINGS, VITRINE_TRUSTED_PROXIES="127.0.0.1") as running:
        yield running


@pytest.fixture
def alice(gateway: Gateway, engine: FakeEngine) -> Browser:
    browser = Browser(gateway, **ALICE)
    browser.csrf = browser.methods()["signed_in"]["csrf"]
    return browser


@pytest.mark.parametrize("name", ["ali\u202ece", "ali\x9bce", "\u2028", "a" * 257])
def test_a_name_that_no_log_could_show_is_nobodys(gateway: Gateway, engine: FakeEngine, name: str) -> None:
    browser = Browser(gateway, X_Remote_User=name.encode().decode("latin-1"), X_Remote_Groups="vision")
    assert browser.methods()["signed_in"] is None


def test_whom_the_proxy_names_is_signed_in_and_asks(alice: Browser, ledger: Ledger) -> None:
    assert alice.methods()["signed_in"]["name"] == "alice"
    assert alice.methods()["methods"] == ["key"]
    assert alice.chat().status == 200
    admit = ledger.records(kind="admit")[-1]
    assert (admit["tenant"], admit["key"]) == ("lab", alice.methods()["signed_in"]["id"])
    assert ledger.records(kind="key", key=admit["key"])[-1]["by"] == "proxy"


def test_the_session_is_made_once_and_not_by_every_look(alice: Browser, ledger: Ledger) -> None:
    before = len(ledger.records(kind="key"))
    for _ in range(3):
        assert alice.methods()["signed_in"]["csrf"] == alice.csrf
    assert len(ledger.records(kind="key")) == before


def test_a_client_that_drops_its_cookie_each_time_does_not_fill_the_log(
    home: Path, running_engine: FakeEngine, ledger: Ledger
) -> None:
    with Gateway(home, **SETTINGS, VITRINE_TRUSTED_PROXIES="127.0.0.1", VITRINE_SIGN_INS_PER_MIN="5") as gateway:
        seen = len(ledger.records())
        far = {**ALICE, "X_Forwarded_For": "192.0.2.50"}  # refusals roll up by address
        answers = [Browser(gateway, **far).ask("GET", "/auth/methods") for _ in range(60)]
        written = len(ledger.records()) - seen
        assert [answer.status for answer in answers] == [200] * 5 + [429] * 55
        assert answers[-1].error["code"] == "too_many_sign_ins"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
        assert "set-cookie" not in answers[-1].headers
        # Five sessions, each on record, and ten refusals one by one; the rest is counted for one record a minute.
        assert written <= 15
        refused = ledger.records(kind="deny", reason="too_many_sign_ins")
        assert {one["key"] for one in refused} == {ledger.records(kind="key")[-1]["key"]}
        # Nobody else waits for her, and who has a session goes on.
        assert Browser(gateway, **{**far, "X_Remote_User": "bob"}).methods()["signed_in"]["name"] == "bob"
        kept = answers[0].headers["set-cookie"].partition(";")[0]
        assert Browser(gateway, **far, Cookie=kept).methods()["signed_in"]["name"] == "alice"


def test_signing_in_and_out_in_turns_does_not_fill_the_log_either(
    home: Path, running_engine: FakeEngine, ledger: Ledger
) -> None:
    with Gateway(home, **SETTINGS, VITRINE_TRUSTED_PROXIES="127.0.0.1", VITRINE_SIGN_INS_PER_MIN="5") as gateway:
        seen = len(ledger.records())
        far = {**ALICE, "X_Forwarded_For": "192.0.2.51"}
        for _ in range(20):
            browser = Browser(gateway, **far)
            answer = browser.ask("GET", "/auth/methods")
            if answer.status == 200:
                browser.csrf = answer.json["signed_in"]["csrf"]
                assert browser.ask("POST", "/auth/sign-out").status == 200
        assert len(ledger.records()) - seen <= 20


def test_the_proxys_word_alone_asks_nothing(gateway: Gateway, engine: FakeEngine) -> None:
    # Another site's page could make a browser send the request through the proxy: only our page has the form token.
    assert Browser(gateway, **ALICE).chat().status == 401
    assert engine.bodies == []


@pytest.mark.parametrize(
    "changed",
    [
        {"X-Remote-User": "mallory"},
        {"X-Remote-User": None},
        {"X-Remote-Groups": "staff"},
        {"X-Remote-Groups": "auditors"},
    ],
)
def test_a_session_holds_only_while_the_proxy_says_the_same(
    alice: Browser, engine: FakeEngine, changed: dict[str, str | None]
) -> None:
    assert alice.chat(**changed).error["code"] == "session_over"
    assert engine.bodies == []
    assert alice.chat().status == 200


def test_who_is_in_no_group_is_refused_with_a_record(gateway: Gateway, ledger: Ledger) -> None:
    answer = Browser(gateway, X_Remote_User="eve", X_Remote_Groups="visions,vision2").ask("GET", "/auth/methods")
    assert (answer.status, answer.error["code"]) == (403, "no_group")
    assert "set-cookie" not in answer.headers
    assert ledger.records(kind="deny", reason="no_group")[-1]["key"].startswith("user_")


def test_a_name_beyond_ascii_is_understood(gateway: Gateway) -> None:
    name = "李雷".encode().decode("latin-1")
    assert Browser(gateway, X_Remote_User=name, X_Remote_Groups="vision").methods()["signed_in"]["name"] == "李雷"


def test_from_anybody_else_the_header_means_nothing(home: Path, engine: FakeEngine, ledger: Ledger) -> None:
    with Gateway(home, **SETTINGS, VITRINE_TRUSTED_PROXIES="10.0.0.0/8,127.0.0.2") as gateway:
        browser = Browser(gateway, **ALICE)
        assert browser.methods()["signed_in"] is None
        assert browser.cookie is None
        assert browser.chat().status == 401
        # Nor does it say that there is TLS, or who the client is.
        assert Browser(gateway, **ALICE, X_Forwarded_For="127.0.0.2").methods()["signed_in"] is None
        assert engine.bodies == []
        key = gateway.create_key()
        assert gateway.request("GET", "/v1/models", key=key, headers={"X-Remote-User": "alice"}).status == 200


def test_the_header_never_reaches_the_engine(alice: Browser, engine: FakeEngine) -> None:
    assert alice.chat().status == 200
    sent = {name.lower() for name in engine.headers[-1]}
    assert not sent & {"x-remote-user", "x-remote-groups", "cookie", "x-csrf-token"}
