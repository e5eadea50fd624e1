"""Pages of other sites: which may use the API, what they may send and read, and that a session is never theirs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.routes.cors import CrossOriginPolicy
from tests.gateway.people.browser import Browser
from tests.support.audit import Ledger
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Answer, Gateway, question
from tests.support.process import run

APP, OTHER = "https://app.example.org", "https://evil.example"
PROXY = {
    "VITRINE_AUTH_HEADER": "X-Remote-User",
    "VITRINE_AUTH_GROUPS_HEADER": "X-Remote-Groups",
    "VITRINE_TRUSTED_PROXIES": "127.0.0.1",
    "VITRINE_GROUPS": json.dumps([{"group": "vision", "tenant": "lab"}]),
}


@pytest.fixture(scope="module", params=[f"{APP},http://localhost:5173", "*"], ids=["a list", "all"])
def open_to(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def gateway(home: Path, running_engine: FakeEngine, ledger: Ledger, open_to: str) -> Iterator[Gateway]:
    with Gateway(home, VITRINE_CORS_ORIGINS=open_to, **PROXY) as running:
        yield running


def ask_first(gateway: Gateway, origin: str, path: str = "/v1/chat/completions", headers: str = "") -> Answer:
    """A browser's preflight."""
    sent = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": headers}
    return gateway.request("OPTIONS", path, headers=sent)


def cors(answer: Answer) -> set[str]:
    return {name for name in answer.headers if name.startswith("access-control-")}


def test_a_preflight_says_what_may_be_sent(gateway: Gateway, open_to: str) -> None:
    wanted = (
        "authorization,content-type,x-stainless-os,x-vitrine-boxes,cookie,x-csrf-token,x-remote-user,x-forwarded-for"
    )
    answer = ask_first(gateway, APP, headers=wanted)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == ("*" if open_to == "*" else APP)
    assert (
        answer.headers["access-control-allow-headers"] == "authorization, content-type, x-stainless-os, x-vitrine-boxes"
    )
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers


def test_every_answer_can_be_read_errors_and_streams_too(
    gateway: Gateway, engine: FakeEngine, key: str, open_to: str
) -> None:
    def asked(method: str, path: str, with_key: str | None, body: object = None) -> Answer:
        return gateway.request(method, path, key=with_key, body=body, headers={"Origin": APP})

    answers = {
        200: asked("POST", "/v1/chat/completions", key, question(stream=True)),
        400: asked("POST", "/v1/chat/completions", key, {}),
        401: asked("POST", "/v1/chat/completions", "vt_wrong", question()),
        404: asked("GET", "/v1/models/none", key),
        405: asked("PUT", "/v1/models", key),
    }
    engine.behaviour = Behaviour.FAILS_WITH_500
    answers[502] = asked("POST", "/v1/chat/completions", key, question())
    for status, answer in answers.items():
        assert answer.status == status
        assert answer.headers["access-control-allow-origin"] == ("*" if open_to == "*" else APP)
        readable = answer.headers["access-control-expose-headers"].split(", ")
        assert {"x-request-id", "x-audit-id", "x-audit-leaf", "x-vitrine-ignored", "x-ratelimit-reset-tokens"} <= set(
            readable
        )
        assert "access-control-allow-credentials" not in answer.headers


def test_another_origin_and_no_origin_get_nothing(gateway: Gateway, engine: FakeEngine, key: str, open_to: str) -> None:
    if open_to != "*":
        for origin in (OTHER, "null", APP.upper(), APP + ":443", APP + ".evil.example", "http://app.example.org"):
            refused = ask_first(gateway, origin)
            assert (refused.status, cors(refused)) == (405, set()), origin
            answer = gateway.request("GET", "/v1/models", key=key, headers={"Origin": origin})
            assert (answer.status, cors(answer), answer.headers["vary"]) == (200, set(), "origin")
    plain = gateway.request("OPTIONS", "/v1/models")
    assert (plain.status, cors(plain)) == (405, set())
    assert cors(gateway.request("GET", "/v1/models", key=key)) == set()


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/audit", "/static/app/main.js", "/metrics", "/auth/methods", "/auth/sign-in"]
)
def test_pages_metrics_and_sign_in_are_nobody_elses(gateway: Gateway, path: str) -> None:
    assert ask_first(gateway, APP, path).status == 405
    assert cors(gateway.request("GET", path, headers={"Origin": APP})) == set()


def test_a_session_is_of_no_use_to_another_sites_page(gateway: Gateway, engine: FakeEngine) -> None:
    alice = Browser(gateway, X_Remote_User="alice", X_Remote_Groups="vision")
    alice.csrf = alice.methods()["signed_in"]["csrf"]
    assert alice.chat().status == 200
    engine.bodies.clear()
    for headers in ({"Origin": APP, "Sec-Fetch-Site": "cross-site"}, {"Origin": APP, "Sec-Fetch-Site": None}):
        for answer in (alice.chat(**headers), alice.ask("GET", "/v1/models", headers=headers)):
            assert (answer.status, answer.error["code"]) == (403, "cross_site")
    assert engine.bodies == []


def test_it_is_off_by_default(home: Path, engine: FakeEngine, ledger: Ledger) -> None:
    with Gateway(home) as closed:
        key = closed.create_key()
        preflight = ask_first(closed, APP)
        answer = closed.request("GET", "/v1/models", key=key, headers={"Origin": APP})
    assert (preflight.status, cors(preflight)) == (405, set())
    assert (answer.status, cors(answer), "vary" in answer.headers) == (200, set(), False)


STRANGE = (
    "https://app.example.org/",
    "app.example.org",
    "https://*.example.org",
    "https://app.example.org:443",
    "http://localhost:80",
    "HTTPS://app.example.org",
    "null",
    "*,https://app.example.org",
    "https://a b",
    "https://user@app.example.org",
)


@pytest.mark.parametrize("origins", STRANGE)
def test_what_is_no_origin_is_refused(origins: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        CrossOriginPolicy(origins)


def test_the_start_names_the_setting(tmp_path: Path) -> None:
    ended = run("gateway", env={"VITRINE_HOME": str(tmp_path), "VITRINE_CORS_ORIGINS": STRANGE[0]})
    assert ended.returncode == 78
    assert "VITRINE_CORS_ORIGINS = 'https://app.example.org/'" in ended.stderr


@pytest.mark.parametrize(
    "origin", ["http://localhost:5173", "http://[::1]:3000", "tauri://localhost", "app://obsidian.md"]
)
def test_origins_of_apps_are_origins(origin: str) -> None:
    said = dict(CrossOriginPolicy(f"https://x.example, {origin}").headers([(b"origin", origin.encode())]))
    assert said[b"access-control-allow-origin"] == origin.encode()


def test_two_origins_in_one_request_are_none() -> None:
    both = [(b"origin", APP.encode()), (b"origin", APP.encode())]
    assert (b"access-control-allow-origin", APP.encode()) not in CrossOriginPolicy(APP).headers(both)
