"""Paths beside the routes over real sockets: spellings that are forgiven, those that are not, and what an unknown route says."""

import http.client
import json

import pytest

from gateway.routes.unknown_routes import advice, forgiven
from tests.support.deadline import until
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway, question

FORGIVEN = {
    "/v1/chat/completions/": "/v1/chat/completions",
    "//v1/chat/completions": "/v1/chat/completions",
    "/v1//chat///completions//": "/v1/chat/completions",
    "/v1/v1/chat/completions": "/v1/chat/completions",
    "/v1/v1/v1/models": "/v1/models",
    "/v1/models/": "/v1/models",
    "/v1/v1//models/glm-4v/": "/v1/models/glm-4v",
    "//healthz": "/healthz",
    "/readyz/": "/readyz",
    "/ping/": "/ping",
}
EXACT = (
    "//metrics",
    "/metrics/",
    "/v1/audit/records/",
    "/v1/v1/audit/records",
    "//audit",
    "/docs/",
    "/auth/sign-in/",
    "/v1/chat%2fcompletions/",
    "/%2e/v1/chat/completions",
    "//v1/chat/completion%73",
    "/v1/./chat/completions",
    "/v1/../v1/chat/completions",
    "/V1/chat/completions",
    "/v1\\chat\\completions",
    "/v1/v1",
    "/v1/",
    "/v1/chat/completions/batch",
    "/v1/models/a/b",
    "/v1/chat/completions;/",
)


@pytest.mark.parametrize("path", FORGIVEN)
def test_a_slash_too_many_and_v1_twice_mean_the_route(path: str) -> None:
    assert forgiven(path, path.encode()) == FORGIVEN[path]


@pytest.mark.parametrize("path", EXACT)
def test_every_other_path_has_one_spelling(path: str) -> None:
    assert forgiven(path, path.encode()) == path


def test_forgiven_paths_are_answered_and_exact_ones_are_not(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    for path in FORGIVEN:
        method, body = ("POST", question()) if path.rstrip("/").endswith("completions") else ("GET", None)
        assert gateway.request(method, path, key=key, body=body).status == 200, path
    engine.bodies.clear()
    everything = gateway.create_key("--scope", "inference", "--scope", "metrics", "--scope", "audit")
    for path in EXACT:
        for method in ("GET", "POST"):
            answer = gateway.request(method, path, key=everything, body=question() if method == "POST" else None)
            assert (answer.status, answer.error["code"]) == (404, "not_found"), path
    assert engine.bodies == []


JOBS = {
    "/v1/completions": "POST /v1/chat/completions",
    "/v1/responses": "POST /v1/chat/completions",
    "/v1/responses/resp_1/input_items": "POST /v1/chat/completions",
    "/v1/messages": "not Anthropic's",
    "/v1/messages/count_tokens": "usage",
    "/v1/embeddings": "has none of this",
    "/v1/images/generations": "has none of this",
    "/v1/audio/speech": "has none of this",
    "/api/chat": "not Ollama's",
    "/api/generate": "not Ollama's",
    "/api/tags": "GET /v1/models",
    "/api/paas/v4/chat/completions": "ends in /v1",
    "/chat/completions": "ends in /v1",
    "/models": "ends in /v1",
    "/openai/deployments/glm-4v/chat/completions": "not Azure's",
    "/invocations": "POST /v1/chat/completions",
    "/tokenize": "usage",
    "/version": "/openapi.json",
    "/V1/Completions/": "POST /v1/chat/completions",
}


def test_an_unknown_route_names_the_one_that_does_its_job(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    for path, word in JOBS.items():
        answer = gateway.request("POST", path, key=key, body=question())
        assert (answer.status, answer.error["code"]) == (404, "not_found")
        assert word in answer.error["message"], path
        assert path in answer.error["message"]
    assert engine.bodies == []


@pytest.mark.parametrize("path", ["/", "/none", "/v1/none", "/v1", "/api", "/v1/CHAT/completions"])
def test_a_path_without_a_known_job_gets_no_advice(path: str) -> None:
    assert advice(path) == ""


@pytest.mark.parametrize("path", ["/health", "/ping"])
def test_load_balancers_find_the_paths_that_they_know(gateway: Gateway, engine: FakeEngine, path: str) -> None:
    assert gateway.request("GET", path).json == gateway.request("GET", "/readyz").json == {"status": "ready"}


def test_load_balancers_are_told_while_nothing_can_be_answered(gateway: Gateway, engine: FakeEngine) -> None:
    engine.say("loading", "loading the model")
    try:
        _wait_for(gateway, 503)
        assert {
            gateway.request(method, path).status for method in ("GET", "HEAD") for path in ("/health", "/ping")
        } == {503}
        assert gateway.request("HEAD", "/healthz").status == 200
    finally:
        engine.say("ready")
    _wait_for(gateway, 200)


def _wait_for(gateway: Gateway, status: int) -> None:
    until(lambda: gateway.request("GET", "/readyz").status == status)


GETS = ("/healthz", "/readyz", "/health", "/ping", "/v1/models", "/v1/models/glm-4v", "/docs", "/", "/openapi.json")


def test_head_says_what_get_says_without_the_body(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    changing = ("x-request-id", "date")
    for path in GETS:
        got, told = (gateway.request(method, path, key=key) for method in ("GET", "HEAD"))
        assert (told.status, told.body) == (got.status, b""), path
        assert {name: value for name, value in told.headers.items() if name not in changing} == {
            name: value for name, value in got.headers.items() if name not in changing
        }, path
    assert gateway.request("HEAD", "/v1/models").status == 401
    assert gateway.request("HEAD", "/none").status == 404


def test_after_head_the_connection_serves_the_next_request(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    for method in ("HEAD", "GET", "HEAD", "GET"):
        connection.request(method, "/healthz")
        body = connection.getresponse().read()
        assert body == (b"" if method == "HEAD" else json.dumps({"status": "ok"}, separators=(",", ":")).encode())
    connection.close()


ALLOWED = {
    "/v1/chat/completions": "POST",
    "/v1/models": "GET, HEAD",
    "/v1/models/glm-4v": "GET, HEAD",
    "/health": "GET, HEAD",
    "/auth/sign-in": "POST",
    "/docs": "GET, HEAD",
    "/static/app/none.js": "GET, HEAD",
}


def test_a_wrong_method_is_told_which_are_right(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    for path, allowed in ALLOWED.items():
        for method in ("PUT", "DELETE", "GET" if allowed == "POST" else "POST"):
            answer = gateway.request(method, path, key=key)
            assert (answer.status, answer.headers["allow"]) == (405, allowed), path
            assert answer.error["code"] == "method_not_allowed"
            assert f"send {allowed.replace(', ', ' or ')}" in answer.error["message"]
