"""Signing in with a directory, a real slapd: who gets in, who does not, and what the log knows of it."""

import re
from typing import Any

import pytest

from tests.gateway.people.browser import Browser
from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway
from tests.support.slapd import BASE, PASSWORDS, Slapd, dn_of


def log_of(ledger: Ledger) -> bytes:
    return b"".join(path.read_bytes() for path in (ledger.home / "ledger" / "segments").glob("*.jsonl"))


def test_somebody_of_a_group_signs_in_and_asks(browser: Browser, engine: FakeEngine, ledger: Ledger) -> None:
    assert browser.methods() == {"methods": ["key", "ldap"], "signed_in": None}
    answer = browser.sign_in("alice", PASSWORDS["alice"])
    assert answer.status == 200, answer.body
    signed_in = answer.json["signed_in"]
    assert (signed_in["name"], signed_in["tenant"], signed_in["scopes"]) == ("alice", "lab", ["inference"])
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", signed_in["until"])
    assert browser.methods() == {"methods": ["key", "ldap"], "signed_in": signed_in}
    asked = browser.chat()
    assert asked.status == 200, asked.body
    assert asked.headers["x-ratelimit-limit-requests"] == "1000"
    assert browser.ask("GET", "/v1/models").status == 200
    admit = ledger.records(kind="admit")[-1]
    assert (admit["key"], admit["tenant"]) == (signed_in["id"], "lab")
    receipt = browser.ask("GET", f"/v1/audit/receipts/{asked.headers['x-audit-id']}")
    assert receipt.status in (200, 202)
    created = ledger.records(kind="key", event="created", key=signed_in["id"])[-1]
    assert created["by"] == "directory"
    assert created["facts"] | {"ends_at_s": 0, "session": ""} == {
        "what": "session",
        "session": "",
        "name": "alice",
        "tenant": "lab",
        "scopes": "inference",
        "ip": "127.0.0.1",
        "ends_at_s": 0,
    }


def test_groups_decide_what_one_may_do(browser: Browser, engine: FakeEngine) -> None:
    assert browser.sign_in("bob", PASSWORDS["bob"]).json["signed_in"]["scopes"] == ["audit"]
    answer = browser.chat()
    assert (answer.status, answer.error["code"]) == (403, "insufficient_permissions")


def test_a_group_of_the_same_name_elsewhere_in_the_directory_is_another(browser: Browser, ledger: Ledger) -> None:
    answer = browser.sign_in("carol", PASSWORDS["carol"])
    assert (answer.status, answer.error["code"]) == (403, "no_group")
    assert browser.cookie is None
    assert ledger.records(kind="deny", reason="no_group")[-1]["key"].startswith("user_")


def test_the_same_person_spelled_otherwise_has_the_same_limits_and_records(browser: Browser) -> None:
    ids = {browser.sign_in(name, PASSWORDS["alice"]).json["signed_in"]["id"] for name in ("alice", "ALICE", " Alice ")}
    assert len(ids) == 1


def test_a_wrong_password_and_an_unknown_name_answer_alike(browser: Browser, ledger: Ledger) -> None:
    wrong, unknown = browser.sign_in("alice", "no-such-secret"), browser.sign_in("mallory", "no-such-secret")
    assert (wrong.status, wrong.body) == (401, unknown.body)
    assert wrong.error["message"] == "name or password is wrong; try again"
    assert browser.cookie is None
    records = ledger.records(kind="deny", reason="wrong_password")[-2:]
    assert [record["route"] for record in records] == ["/auth/sign-in"] * 2
    # The log says that it was the same account each time, and never what was typed.
    assert len({record["key"] for record in records}) == 2
    browser.sign_in("alice", PASSWORDS["alice"])
    assert ledger.records(kind="key")[-1]["key"] == records[0]["key"]
    assert b"no-such-secret" not in log_of(ledger)
    assert b"mallory" not in log_of(ledger)
    assert PASSWORDS["alice"].encode() not in log_of(ledger)


@pytest.mark.parametrize(
    "body",
    [
        {"user": "alice", "password": ""},
        {"user": "", "password": "x"},
        {"user": "alice"},
        {"user": 7, "password": "x"},
        {"user": "alice", "password": "x", "more": 1},
        {"user": "a\0b", "password": "x"},
        {"user": "a", "password": "x\0"},
        {"user": "a" * 257, "password": "x"},
        [],
        "text",
    ],
)
def test_what_is_not_a_name_and_a_password_is_refused_without_being_repeated(browser: Browser, body: Any) -> None:
    answer = browser.ask("POST", "/auth/sign-in", body)
    assert answer.status == 400
    assert "alice" not in answer.error["message"]
    assert browser.cookie is None


def test_an_empty_password_is_refused_also_by_the_process_that_asks(slapd: Slapd) -> None:
    from gateway.people import directory_process

    asked = {
        "url": f"ldap://127.0.0.1:{slapd.port}",
        "start_tls": False,
        "ca": str(slapd.ca),
        "timeout_s": 5,
        "bind_dn": f"cn=vitrine,{BASE}",
        "bind_password": "service-secret",
        "base": f"ou=people,{BASE}",
        "filter": "(uid={user})",
        "name_attribute": "uid",
        "group_attribute": "memberOf",
        "group_base": BASE,
        "group_filter": "",
        "user": "alice",
    }
    assert directory_process.answer({**asked, "password": PASSWORDS["alice"]})["is"] == "known"
    assert directory_process.answer({**asked, "password": ""}) == {"is": "wrong"}


@pytest.mark.parametrize(
    "name", ["*", "a*", "*)(uid=*", "alice)(uid=*", "*)(|(uid=*", "alice\\2a", "alice)(cn=*))(&(uid=*"]
)
def test_a_name_is_a_name_and_never_a_filter(browser: Browser, name: str) -> None:
    answer = browser.sign_in(name, PASSWORDS["alice"])
    assert (answer.status, answer.error["code"]) == (401, "wrong_password")


def test_a_name_with_signs_of_filters_in_it_is_found(browser: Browser) -> None:
    answer = browser.sign_in("o'hara (lab)*", PASSWORDS["o'hara (lab)*"])
    assert (answer.status, answer.json["signed_in"]["name"]) == (200, "o'hara (lab)*")


def test_who_leaves_the_group_gets_no_new_session(browser: Browser, slapd: Slapd) -> None:
    change = f"dn: cn=vision,ou=groups,{BASE}\nchangetype: modify\n%s: member\nmember: {dn_of('alice')}\n"
    slapd.change(change % "delete")
    try:
        assert browser.sign_in("alice", PASSWORDS["alice"]).status == 403
    finally:
        slapd.change(change % "add")
    assert browser.sign_in("alice", PASSWORDS["alice"]).status == 200


def test_the_directory_is_named_in_the_boot_record(gateway: Gateway, ledger: Ledger, slapd: Slapd) -> None:
    boots = ledger.records(kind="boot", room="gateway")
    assert f"ldaps://127.0.0.1:{slapd.tls_port}" in boots[-1]["outbound"]
    # And a directory does not switch pictures by URL on.
    picture = {"type": "image_url", "image_url": {"url": "https://localhost/a.png"}}
    answer = gateway.chat(gateway.create_key(), messages=[{"role": "user", "content": [picture]}])
    assert answer.status == 400
    assert "not fetched" in answer.error["message"]
