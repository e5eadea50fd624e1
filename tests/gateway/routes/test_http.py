"""The door's edges over real sockets: keys, routes, bodies, health, settings, and how the process starts and ends."""

import re
import signal
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path

import openai
import pytest

from docs.generate.routes import SCOPES, SESSION, routes
from gateway.keys.caller import Scope
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway, question
from tests.support.process import Process, run


def test_a_missing_a_wrong_and_a_revoked_key_answer_alike(gateway: Gateway, engine: FakeEngine) -> None:
    revoked = gateway.create_key()
    key_id = until(lambda: _key_ids(gateway))[-1]
    assert run("gateway.keys", "revoke", key_id, env={"VITRINE_HOME": str(gateway.home)}).returncode == 0
    expired = gateway.create_key("--expires", "0s")
    answers = [gateway.chat(key) for key in (revoked, expired, "vt_" + "x" * 49, "sk-other")]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.body for answer in answers}) == 1
    assert answers[0].headers["www-authenticate"] == "Bearer"
    assert gateway.chat(None).status == 401
    assert engine.bodies == []


def _key_ids(gateway: Gateway) -> list[str]:
    listed = run("gateway.keys", "list", env={"VITRINE_HOME": str(gateway.home)})
    return re.findall(r"key_[0-9a-f]+", listed.stdout)


def test_a_key_that_is_revoked_stops_working_without_a_restart(gateway: Gateway, engine: FakeEngine) -> None:
    doomed = gateway.create_key()
    assert gateway.chat(doomed).status == 200
    assert run("gateway.keys", "revoke", _key_ids(gateway)[-1], env={"VITRINE_HOME": str(gateway.home)}).returncode == 0
    assert gateway.chat(doomed).status == 401


def test_a_key_needs_the_scope_of_the_route(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    scraper = gateway.create_key("--scope", "metrics")
    assert gateway.chat(scraper).status == 403
    assert gateway.request("GET", "/metrics", key=scraper).status == 200
    assert gateway.request("GET", "/metrics", key=key).status == 403
    assert gateway.request("GET", "/metrics").status == 401


@pytest.mark.parametrize("scope", [None, *Scope])
def test_each_route_lets_in_whom_the_reference_says(gateway: Gateway, engine: FakeEngine, scope: Scope | None) -> None:
    key = gateway.create_key("--scope", scope) if scope else None
    turned_away = set()
    for route in routes():
        method, _, path = route.partition(" ")
        path = path.format(model="glm-4v", record_id="0", engine="engine-0") if "{" in path else path
        if gateway.request(method, path, key=key).status in (401, 403):
            turned_away.add(route)
    needed = {route: scopes for route, scopes in SCOPES.items() if SESSION not in scopes}
    assert turned_away == {route for route, scopes in needed.items() if scope not in scopes}


def test_the_official_client_raises_its_own_exceptions(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    good = gateway.client(key).chat.completions
    with pytest.raises(openai.AuthenticationError):
        gateway.client("vt_wrong").chat.completions.create(**question())
    with pytest.raises(openai.NotFoundError, match="model 'gpt-4o' is not served"):
        good.create(**question(model="gpt-4o"))
    with pytest.raises(openai.BadRequestError, match="chat_template"):
        good.create(**question(), extra_body={"chat_template": "{{ x }}"})
    engine.behaviour = Behaviour.FAILS_WITH_500
    with pytest.raises(openai.APIStatusError) as broke:
        good.create(**question())
    assert broke.value.status_code == 502
    engine.behaviour = Behaviour.ANSWERS
    assert good.create(**question()).choices[0].message.content == "a small red circle 左边"


def test_models_are_listed_and_found(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    client = gateway.client(key)
    assert [model.id for model in client.models.list()] == ["glm-4v", "glm-4v-fake"]
    assert client.models.retrieve("glm-4v").owned_by == "vitrine"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    assert gateway.request("GET", "/v1/models").status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/invocations",
        "/inference/v1/generate",
        "/tokenize",
        "/scale_elastic_ep",
        "/v1/completions",
        "/version",
        "/load",
        "/v1/chat/completions/batch",
        "/static/../keys.sqlite",
        "/swagger/%2e%2e/__init__.py",
        "/redoc",
    ],
)
def test_a_path_outside_the_allowlist_is_not_found(gateway: Gateway, engine: FakeEngine, key: str, path: str) -> None:
    for method in ("GET", "POST"):
        answer = gateway.request(method, path, key=key, body=question() if method == "POST" else None)
        assert answer.status in (404, 405), answer.body
        assert answer.error["type"] == "invalid_request_error"
    assert engine.bodies == []


@pytest.mark.parametrize("path", ["/", "/static/page.css", "/swagger/swagger-ui-bundle.js"])
@pytest.mark.parametrize(
    "ranges", ["bytes=0-0", "bytes=" + ",".join(f"{10 * at}-{10 * at}" for at in range(100)), "bytes=9"]
)
def test_files_are_answered_whole_whatever_part_is_asked_for(gateway: Gateway, path: str, ranges: str) -> None:
    whole = gateway.request("GET", path)
    answer = gateway.request("GET", path, headers={"Range": ranges})
    assert (answer.status, answer.body) == (200, whole.body)


def test_a_wrong_method_is_said_so(gateway: Gateway, key: str) -> None:
    answer = gateway.request("GET", "/v1/chat/completions", key=key)
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe{}", b"null"])
def test_a_body_that_is_not_json_is_refused(gateway: Gateway, engine: FakeEngine, key: str, body: bytes) -> None:
    answer = gateway.request("POST", "/v1/chat/completions", key=key, body=body)
    assert (answer.status, answer.error["code"]) == (400, "invalid_json"), answer.body
    assert engine.bodies == []


def test_a_compressed_body_is_refused(gateway: Gateway, key: str) -> None:
    answer = gateway.request(
        "POST", "/v1/chat/completions", key=key, body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}
    )
    assert answer.status == 400
    assert "Content-Encoding" in answer.error["message"]


def test_every_answer_has_its_own_id_and_a_clients_is_dropped(gateway: Gateway, key: str) -> None:
    answers = [
        gateway.request("GET", path, key=key, headers={"X-Request-Id": "mine"})
        for path in ("/healthz", "/v1/models", "/no")
    ]
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 3
    assert "mine" not in ids
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one) for one in ids)


def test_it_is_ready_only_while_an_engine_is(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    assert gateway.request("GET", "/readyz").json == {"status": "ready"}
    engine.say("loading", "loading the model")
    try:
        until(lambda: gateway.request("GET", "/readyz").status == 503)
        answer = gateway.request("GET", "/readyz")
        assert answer.json["waiting_for"] == ["engine-0: loading, loading the model"]
        refused = gateway.chat(key)
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert gateway.request("GET", "/healthz").status == 200
    finally:
        engine.say("ready")
    until(lambda: gateway.request("GET", "/readyz").status == 200)


def test_metrics_are_on_their_own_port_and_count_exchanges(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    gateway.chat(key)
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics_port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert 'vitrine_exchanges_total{model="glm-4v",outcome="completed",route="/v1/chat/completions"}' in text
    assert 'route="/v1/chat/completions",status="200"' in text
    assert key not in text


def test_a_client_cannot_make_a_new_series(gateway: Gateway, key: str) -> None:
    for number in range(20):
        gateway.request("GET", f"/none/{number}", key=key)
        gateway.request(f"X{number}", "/v1/models", key=key)
        gateway.request("GET", f"/v1/models/{number}", key=key)
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics_port}/metrics", timeout=10) as answer:
        series = [line for line in answer.read().decode().splitlines() if line.startswith("vitrine_requests_total")]
    assert not [line for line in series if re.search(r"none/|X\d|models/\d", line)]


@pytest.mark.parametrize("query", ["name=/etc/passwd", "name=docs.html", "path=/etc/passwd", "policy=x"])
def test_a_query_changes_nothing_of_a_page(gateway: Gateway, query: str) -> None:
    plain, asked = gateway.request("GET", "/"), gateway.request("GET", f"/?{query}")
    assert (asked.status, asked.body) == (200, plain.body)
    assert asked.headers["content-security-policy"] == plain.headers["content-security-policy"]


def test_the_page_and_the_docs_load_nothing_from_elsewhere(gateway: Gateway) -> None:
    for path in ("/", "/docs"):
        answer = gateway.request("GET", path)
        assert answer.status == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        linked = re.findall(r"(?:src|href)=\"([^#\"][^\"]*)\"", answer.body.decode())
        assert linked
        for link in linked:
            assert link.startswith("/"), link
            assert gateway.request("GET", link).status in (200, 503), link


def test_the_openapi_document_describes_the_chat_route(gateway: Gateway) -> None:
    document = gateway.request("GET", "/openapi.json").json
    operation = document["paths"]["/v1/chat/completions"]["post"]
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/ChatBody"
    }
    assert "messages" in document["components"]["schemas"]["ChatBody"]["properties"]
    assert operation["security"] == [{"key": []}]


def test_a_body_larger_than_the_cap_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with Ledger(tmp_path), Gateway(tmp_path, VITRINE_MAX_BODY_BYTES="1000", VITRINE_BODY_TIMEOUT_S="1") as small:
        key = small.create_key()
        answer = small.request("POST", "/v1/chat/completions", key=key, body=b"x" * 1001)
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        with socket.create_connection(("127.0.0.1", small.port), timeout=10) as connection:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 900\r\n\r\n"
            connection.sendall(head.encode() + b"{")
            assert b"408 Request Timeout" in connection.recv(65536)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"VITRINE_PROT": "9000"}, ["unknown setting VITRINE_PROT; did you mean VITRINE_PORT?"]),
        ({"VITRINE_XYZZY": "1"}, ["unknown setting VITRINE_XYZZY; docs/reference/settings.md has all"]),
        ({"VITRINE_TRUSTED_PROXIES": "10.0.0.1,nginx"}, ["VITRINE_TRUSTED_PROXIES", "'nginx'"]),
        ({"VITRINE_PORT": "many"}, ["VITRINE_PORT = 'many'", "integer"]),
        ({"VITRINE_PORT": "70000"}, ["VITRINE_PORT = '70000'", "65535"]),
    ],
)
def test_a_bad_setting_is_named_and_ends_with_78(tmp_path: Path, settings: dict[str, str], words: list[str]) -> None:
    ended = run("gateway", env={"VITRINE_HOME": str(tmp_path), **settings})
    assert ended.returncode == 78
    assert len(ended.stderr.splitlines()) == 1
    assert all(word in ended.stderr for word in words), ended.stderr


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vitrine.toml").write_text('hots = "0.0.0.0"\n[engine]\nprofile = "miniature"\n')
    ended = run("gateway", env={}, cwd=tmp_path)
    assert ended.returncode == 78
    assert "unknown setting hots in vitrine.toml; did you mean host?" in ended.stderr


@pytest.mark.parametrize("setting", ["VITRINE_PORT", "VITRINE_METRICS_PORT"])
def test_a_taken_port_is_one_sentence_with_the_way_out(tmp_path: Path, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = "VITRINE_METRICS_PORT" if setting == "VITRINE_PORT" else "VITRINE_PORT"
        ended = run("gateway", env={"VITRINE_HOME": str(tmp_path), other: "0", setting: str(port)})
    assert ended.returncode == 1
    assert (
        f"127.0.0.1:{port} can't be listened on (Address already in use); choose another with {setting}" in ended.stderr
    )
    assert "Traceback" not in ended.stderr


def test_wrong_usage_ends_with_64(tmp_path: Path) -> None:
    assert run("gateway", "--no-such-option", env={"VITRINE_HOME": str(tmp_path)}).returncode == 64


def test_sigterm_lets_a_running_answer_end_and_exits_0(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "run") as engine, Ledger(tmp_path):
        gateway = Gateway(tmp_path)
        key = gateway.create_key()
        engine.behaviour = Behaviour.FLOODS
        status: list[int] = []
        asking = threading.Thread(target=lambda: status.append(len(gateway.chat(key, stream=True).body)))
        asking.start()
        until(lambda: engine.bodies, what="the request at the engine")
        assert gateway.process.end(signal.SIGTERM) == 0
        asking.join(30)
        assert status[0] > 10_000_000
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            urllib.request.urlopen(gateway.url + "/healthz", timeout=5)


def test_the_welcome_shows_a_first_key_once_and_the_key_works(tmp_path: Path) -> None:
    env = {"VITRINE_HOME": str(tmp_path), "VITRINE_PORT": "0", "VITRINE_METRICS_PORT": "0"}
    waiting = Process("gateway", "--welcome", env=env)
    waiting.line_with("waiting for ledger: not answering; no engine has been started")
    assert waiting.end() == 0
    assert "vt_" not in waiting.output
    with FakeEngine(tmp_path / "run"), Ledger(tmp_path):
        first = Process("gateway", "--welcome", env=env)
        first.line_with("Ctrl-C stops everything.")
        keys = [line for line in first.lines if re.fullmatch(r"vt_[0-9A-Za-z]{49}", line)]
        assert len(keys) == 1
        match = re.search(r"http://127\.0\.0\.1:\d+", first.output)
        assert match
        assert [model.id for model in openai.OpenAI(base_url=match[0] + "/v1", api_key=keys[0]).models.list()]
        assert first.end() == 0
        second = Process("gateway", "--welcome", env=env)
        second.line_with("Ctrl-C stops everything.")
        assert keys[0] not in second.output
        assert second.end(signal.SIGINT) == 0


def test_a_fault_is_logged_without_the_key_and_the_question(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "run"), Ledger(tmp_path), Gateway(tmp_path) as gateway:
        key = gateway.create_key()
        for path in tmp_path.glob("keys.sqlite*"):
            path.write_bytes(b"no database" * 1000)
        answer = gateway.chat(key, messages=[{"role": "user", "content": "nobody else must read this"}])
        assert (answer.status, answer.error["code"]) == (500, "fault")
        until(lambda: "DatabaseError" in gateway.process.output)
        said = gateway.process.output
    assert "Traceback" in said
    assert answer.headers["x-request-id"] in said
    assert key not in said
    assert "nobody else must read this" not in said


def test_a_demo_model_is_listed_as_one_and_another_model_is_not(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    plain = gateway.request("GET", "/v1/models/glm-4v", key=key).json
    assert plain.keys() == {"id", "object", "created", "owned_by", "max_model_len"}
    engine.demo = "demo model: simple shapes and short texts only"
    try:
        engine.say("ready")
        listed = until(
            lambda: [
                entry
                for entry in gateway.request("GET", "/v1/models", key=key).json["data"]
                if entry.get("demo") is True
            ]
        )
        assert {entry["description"] for entry in listed} == {engine.demo}
    finally:
        engine.demo = ""
        engine.say("ready")
    until(lambda: "demo" not in gateway.request("GET", "/v1/models/glm-4v", key=key).json)
