"""Sessions: the cookie's form, what other pages can't make a browser do, and how a session ends."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.keys.allowance import Allowance
from gateway.keys.caller import Scope
from gateway.people.person import Group, Person, admitted, person_id
from gateway.people.sessions import MOST_OF_A_PERSON, Sessions, SessionsError, csrf_of
from tests.gateway.people.browser import Browser
from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway, question
from tests.support.slapd import PASSWORDS

ALICE = Person("user_1", "alice", "lab", frozenset({Scope.INFERENCE}), Allowance(concurrent=3))


@pytest.fixture
def alice(gateway: Gateway, engine: FakeEngine) -> Browser:
    browser = Browser(gateway)
    assert browser.sign_in("alice", PASSWORDS["alice"]).status == 200
    return browser


def test_the_cookie_is_for_this_site_alone_and_for_no_script(alice: Browser) -> None:
    name, _, rest = alice.set_cookie.partition("=")
    token, *flags = rest.split("; ")
    assert name == "vitrine"
    assert len(token) == 43
    assert flags == ["Path=/", "HttpOnly", "SameSite=Strict"]


def test_over_tls_the_cookie_is_bound_to_the_host_and_to_tls(gateway: Gateway, engine: FakeEngine) -> None:
    browser = Browser(gateway, X_Forwarded_Proto="https", X_Forwarded_For="192.0.2.9")
    assert browser.sign_in("alice", PASSWORDS["alice"]).status == 200
    assert browser.set_cookie.startswith("__Host-vitrine=")
    assert browser.set_cookie.endswith("; Path=/; HttpOnly; SameSite=Strict; Secure")
    assert browser.chat().status == 200
    # A cookie of the plain name, which another host of the domain could plant, is none over TLS.
    assert browser.chat(Cookie="vitrine=" + str(browser.cookie).partition("=")[2]).status == 401


def test_a_password_is_not_taken_over_a_plain_network(gateway: Gateway) -> None:
    answer = Browser(gateway, X_Forwarded_For="192.0.2.9").sign_in("alice", PASSWORDS["alice"])
    assert (answer.status, answer.error["code"]) == (403, "not_secure")


def test_neither_token_nor_form_token_is_in_the_state_folder(alice: Browser) -> None:
    assert alice.cookie is not None
    token = alice.cookie.partition("=")[2]
    files = [path for path in alice.gateway.home.rglob("*") if path.is_file()]
    assert any(path.name == "sessions.sqlite" for path in files)
    for path in files:
        content = path.read_bytes()
        assert token.encode() not in content, path
        assert (alice.csrf or "").encode() not in content, path
    assert (alice.gateway.home / "sessions.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("token", [None, "", "x", "ä".encode().decode("latin-1")])
def test_a_question_without_the_form_token_is_refused_and_recorded(
    alice: Browser, engine: FakeEngine, ledger: Ledger, token: str | None
) -> None:
    answer = alice.chat(**{"X-CSRF-Token": token})
    assert (answer.status, answer.error["code"]) == (403, "csrf")
    assert engine.bodies == []
    assert {record["key"] for record in ledger.records(kind="deny", reason="csrf")} == {
        alice.methods()["signed_in"]["id"]
    }
    assert alice.ask("POST", "/auth/sign-out", headers={"X-CSRF-Token": token}).status == 403
    assert alice.chat().status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": None, "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": None, "Origin": "null"},
    ],
)
def test_another_sites_page_can_neither_ask_nor_sign_in_or_out(
    alice: Browser, engine: FakeEngine, headers: dict[str, str | None]
) -> None:
    assert alice.chat(**headers).error["code"] == "cross_site"
    assert alice.ask("POST", "/auth/sign-out", headers=headers).error["code"] == "cross_site"
    assert Browser(alice.gateway).sign_in("alice", PASSWORDS["alice"], **headers).error["code"] == "cross_site"
    assert engine.bodies == []
    assert alice.chat().status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_sites_page_can_not_even_read(alice: Browser, site: str) -> None:
    assert alice.ask("GET", "/v1/models", headers={"Sec-Fetch-Site": site}).status == 403
    assert alice.ask("GET", "/auth/methods", headers={"Sec-Fetch-Site": site}).json["signed_in"] is None


def test_an_old_browser_that_tells_its_page_by_origin_alone_is_served(alice: Browser) -> None:
    ours = f"http://127.0.0.1:{alice.gateway.port}"
    assert alice.chat(**{"Sec-Fetch-Site": None, "Origin": ours}).status == 200


def test_a_form_of_another_site_can_not_sign_a_browser_in(gateway: Gateway) -> None:
    browser = Browser(gateway, Content_Type="text/plain")
    answer = browser.ask(
        "POST", "/auth/sign-in", {"user": "alice", "password": PASSWORDS["alice"]}, {"Content-Type": "text/plain"}
    )
    assert answer.status == 400


def test_a_request_with_a_key_never_uses_the_cookie(alice: Browser, engine: FakeEngine, ledger: Ledger) -> None:
    for header in ("Bearer vt_wrong", "Basic YTpi", ""):
        assert alice.chat(Authorization=header).status == 401
    assert engine.bodies == []
    key = alice.gateway.create_key()
    # And a key needs no form token: no other page's script can send one.
    answer = alice.gateway.request(
        "POST", "/v1/chat/completions", key=key, body=question(), headers={"Cookie": str(alice.cookie)}
    )
    assert answer.status == 200
    assert ledger.records(kind="admit")[-1]["key"] == alice.gateway.key_ids()[-1]


def test_signing_in_gives_a_new_token_and_ends_the_one_before(alice: Browser) -> None:
    before, csrf = alice.cookie, alice.csrf
    assert alice.sign_in("alice", PASSWORDS["alice"]).status == 200
    assert alice.cookie != before
    assert alice.csrf != csrf
    assert alice.chat(Cookie=before, **{"X-CSRF-Token": csrf}).status == 401


def test_a_planted_token_never_becomes_a_session(gateway: Gateway) -> None:
    browser = Browser(gateway)
    planted = browser.cookie = "vitrine=" + "A" * 43
    assert browser.sign_in("alice", PASSWORDS["alice"]).status == 200
    assert browser.cookie != planted
    assert browser.chat(Cookie=planted).status == 401
    assert browser.chat(Cookie=f"{planted}; {browser.cookie}").status == 401


def test_signing_out_ends_the_session_and_takes_the_cookie_back(alice: Browser, ledger: Ledger) -> None:
    cookie = alice.cookie
    answer = alice.ask("POST", "/auth/sign-out")
    assert (answer.status, answer.json) == (200, {"signed_in": None})
    assert alice.set_cookie == "vitrine=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
    assert alice.chat(Cookie=cookie).error["code"] == "session_over"
    assert alice.ask("GET", "/auth/methods", headers={"Cookie": cookie}).json["signed_in"] is None
    created, revoked = ledger.records(kind="key")[-2:]
    assert (created["event"], revoked["event"]) == ("created", "revoked")
    assert created["facts"]["session"] == revoked["facts"]["session"]


@pytest.mark.slow("a gateway of several workers of its own")
def test_a_session_holds_in_every_worker_and_ends_in_every_worker(
    home: Path, engine: FakeEngine, gateway: Gateway, alice: Browser
) -> None:
    settings = {name: value for name, value in gateway.settings.items() if name != "VITRINE_HOME"}
    with Gateway(home, **settings, VITRINE_WORKERS="2") as several:
        alice.gateway = several
        assert {alice.chat().status for _ in range(12)} == {200}
        assert alice.ask("POST", "/auth/sign-out").status == 200
        cookie = "vitrine=x"
        assert {alice.chat(Cookie=cookie).status for _ in range(12)} == {401}
        token = Browser(several)
        assert token.sign_in("alice", PASSWORDS["alice"]).status == 200
        assert {token.chat().status for _ in range(12)} == {200}
        kept = token.cookie
        assert token.ask("POST", "/auth/sign-out").status == 200
        assert {token.chat(Cookie=kept).status for _ in range(12)} == {401}


class Clock:
    now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(tmp_path: Path, clock: Clock) -> Iterator[Sessions]:
    opened = Sessions(tmp_path / "sessions.sqlite", 600, 3600, clock_s=clock)
    yield opened
    opened.close()


def test_an_idle_session_ends_and_a_used_one_lasts_as_long_as_it_may(sessions: Sessions, clock: Clock) -> None:
    token = sessions.begin(sessions.draft(ALICE, "directory"))
    idle = sessions.begin(sessions.draft(ALICE, "directory"))
    for _ in range(7):
        clock.now_s += 500
        found = sessions.find(token)
        assert found is not None
        assert found.person == ALICE
    assert sessions.find(idle) is None
    clock.now_s += 100
    assert sessions.find(token) is None


def test_the_file_forgets_sessions_that_are_over(sessions: Sessions, clock: Clock, tmp_path: Path) -> None:
    for _ in range(5):
        sessions.begin(sessions.draft(ALICE, "directory"))
    clock.now_s += 601
    sessions.begin(sessions.draft(ALICE, "directory"))
    with sqlite3.connect(tmp_path / "sessions.sqlite") as db:
        assert db.execute("SELECT count(*) FROM sessions").fetchone() == (1,)
    db.close()


def test_a_lower_bound_and_other_rules_hold_for_sessions_that_began_before(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "sessions.sqlite"
    first = Sessions(path, 600, 3600, "these groups", clock)
    token = first.begin(first.draft(ALICE, "directory"))
    first.close()
    clock.now_s += 100
    for longest_s, rules, holds in ((3600, "these groups", True), (60, "these groups", False), (3600, "others", False)):
        again = Sessions(path, 600, longest_s, rules, clock)
        assert (again.find(token) is not None) == holds
        again.close()


def test_of_too_many_sessions_of_one_person_the_least_used_end(sessions: Sessions, clock: Clock) -> None:
    tokens = []
    for _ in range(MOST_OF_A_PERSON + 3):
        clock.now_s += 1
        tokens.append(sessions.begin(sessions.draft(ALICE, "proxy")))
    assert [sessions.find(token) is not None for token in tokens] == [False] * 3 + [True] * MOST_OF_A_PERSON


def test_a_file_that_is_no_database_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "sessions.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(SessionsError, match="move it away, everybody signs in again"):
        Sessions(tmp_path / "sessions.sqlite", 600, 3600)


def test_form_tokens_differ_and_do_not_tell_the_token() -> None:
    assert csrf_of("a") != csrf_of("b")
    assert "secret-token" not in csrf_of("secret-token")


def test_the_first_group_of_the_mapping_that_one_is_in_decides() -> None:
    scopes = frozenset({Scope.INFERENCE})
    mapping = [Group("staff", "first", scopes, Allowance(concurrent=1)), Group("all", "second", scopes, Allowance())]
    first, second = admitted("a", ["All", "STAFF"], mapping, b"s"), admitted("a", ["all"], mapping, b"s")
    assert first is not None
    assert second is not None
    assert (first.tenant, first.allowance.concurrent, second.tenant) == ("first", 1, "second")
    assert admitted("a", ["staffs", "cn=staff"], mapping, b"s") is None
    assert admitted("a", [], mapping, b"s") is None


def test_names_are_told_apart_and_can_not_be_guessed_without_the_secret() -> None:
    assert person_id(b"s", "Alice") == person_id(b"s", " alice ")
    assert len({person_id(b"s", "alice"), person_id(b"s", "alicf"), person_id(b"t", "alice")}) == 3
