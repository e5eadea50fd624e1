"""How much a key and a tenant may use: exact over several gateways, told in OpenAI's headers, changed without a restart."""

import socket
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.keys.store import KeyStore
from gateway.relay.limit_policy import duration, prompt_tokens
from tests.gateway.door.bodies import body, image_part, parse, picture, user
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import WORDS, Behaviour, FakeEngine
from tests.support.gateway import Answer, Gateway, question
from tests.support.process import run

USED = 7 + len(WORDS)  # tokens that the fake engine counts for an exchange


def left(answer: Answer, what: str) -> int:
    return int(answer.headers[f"x-ratelimit-remaining-{what}"])


def test_two_gateways_let_exactly_as_many_requests_pass_as_the_limit_says(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger
) -> None:
    key, key_id = gateway.limited_key("--requests-per-min", "7")
    with Gateway(gateway.home) as second, ThreadPoolExecutor(20) as many:
        answers = list(many.map(lambda n: (gateway, second)[n % 2].chat(key, stream=n % 3 == 0), range(20)))
    assert Counter(answer.status for answer in answers) == {200: 7, 429: 13}
    assert len(engine.bodies) == 7
    refused = [answer for answer in answers if answer.status == 429]
    for answer in refused:
        assert answer.error["code"] == "rate_limit_exceeded"
        assert answer.error["type"] == "requests"
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert (answer.headers["x-ratelimit-limit-requests"], left(answer, "requests")) == ("7", 0)
    assert sorted(left(answer, "requests") for answer in answers if answer.status == 200) == list(range(7))
    # Refusals have a record, each its own or in the minute's roll-up; only those that passed have an exchange.
    assert len(ledger.records(kind="admit", key=key_id)) == 7
    assert [entry["reason"] for entry in ledger.records(kind="deny", key=key_id)][:1] == [
        "limit requests_per_min of key"
    ]


def test_the_official_client_raises_its_rate_limit_error(gateway: Gateway, engine: FakeEngine) -> None:
    key, _ = gateway.limited_key("--requests-per-min", "1")
    client = gateway.client(key)
    client.chat.completions.create(**question())
    with pytest.raises(openai.RateLimitError, match="1 requests a minute for this API key") as caught:
        client.chat.completions.create(**question(stream=True))
    assert caught.value.response.headers["x-ratelimit-reset-requests"]
    assert len(engine.bodies) == 1


@pytest.mark.parametrize("stream", [True, False])
def test_tokens_are_reserved_and_then_settled_by_what_was_used(
    gateway: Gateway, engine: FakeEngine, stream: bool
) -> None:
    key, _ = gateway.limited_key("--tokens-per-min", "1000")
    first = gateway.chat(key, stream=stream, max_tokens=500)
    reserved = 1000 - left(first, "tokens")
    assert 500 < reserved < 600
    second = gateway.chat(key, stream=stream, max_tokens=500)
    assert second.status == 200
    assert left(second, "tokens") == 1000 - USED - reserved
    assert first.headers["x-ratelimit-limit-tokens"] == "1000"
    assert second.headers["x-ratelimit-reset-tokens"] in ("59s", "1m0s")


def test_a_request_that_never_fits_is_told_so_and_not_to_come_again(gateway: Gateway, engine: FakeEngine) -> None:
    key, _ = gateway.limited_key("--tokens-per-min", "100")
    answer = gateway.chat(key, max_tokens=90, n=2)
    assert (answer.status, answer.error["type"], answer.headers["x-should-retry"]) == (429, "tokens", "false")
    assert "lower max_tokens" in answer.error["message"]
    assert engine.bodies == []
    assert gateway.chat(key, max_tokens=16).status == 200


def test_a_refused_request_burns_nothing(gateway: Gateway, engine: FakeEngine) -> None:
    key, _ = gateway.limited_key("--tokens-per-day", "400", "--requests-per-min", "10")
    before = left(gateway.chat(key, max_tokens=16), "requests")
    for _ in range(3):
        assert gateway.chat(key, max_tokens=390).status == 429
    after = gateway.chat(key, max_tokens=16)
    assert (after.status, left(after, "requests")) == (200, before - 1)


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (400, {"best_of": 2}),
        (400, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///x"}}]}]}),
        (404, {"model": "another"}),
        (413, {"messages": [{"role": "user", "content": "x" * 3_000_000}]}),
    ],
)
def test_what_the_door_refuses_says_what_is_left_and_takes_nothing_of_it(
    gateway: Gateway, engine: FakeEngine, status: int, changes: dict[str, Any]
) -> None:
    key, _ = gateway.limited_key("--requests-per-min", "9", "--tokens-per-min", "5000")
    first = gateway.chat(key, max_tokens=16)
    for _ in range(2):
        answer = gateway.chat(key, **changes)
        assert answer.status == status
        assert answer.headers["x-ratelimit-limit-requests"] == "9"
        assert (left(answer, "requests"), left(answer, "tokens")) == (left(first, "requests"), 5000 - USED)
        assert answer.headers["x-ratelimit-reset-requests"] in ("59s", "1m0s", "58s")
    assert len(engine.bodies) == 1


def test_what_is_left_is_right_in_a_flood_of_refusals(gateway: Gateway, engine: FakeEngine, ledger: Ledger) -> None:
    key, key_id = gateway.limited_key("--requests-per-min", "9")
    assert left(gateway.chat(key), "requests") == 8
    for _ in range(15):  # from the eleventh on they are one record
        assert left(gateway.chat(key, best_of=2), "requests") == 8
    assert left(gateway.chat(key), "requests") == 7
    assert left(gateway.chat(key, best_of=2), "requests") == 7
    assert len(ledger.records(kind="deny", key=key_id)) <= 10


def test_a_key_without_the_scope_and_a_body_that_comes_too_slowly_are_told_too(home: Path, engine: FakeEngine) -> None:
    with Gateway(home, VITRINE_BODY_TIMEOUT_S="0.5", VITRINE_KEY_REQUESTS_PER_MIN="5") as bounded:
        auditor = bounded.create_key("--scope", "audit")
        assert (bounded.chat(auditor).status, left(bounded.chat(auditor), "requests")) == (403, 5)
        key = bounded.create_key()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 9\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", bounded.port), timeout=10) as connection:
            connection.sendall(head.encode())
            received = connection.recv(1 << 16)
        assert received.startswith(b"HTTP/1.1 408")
        assert b"\r\nx-ratelimit-remaining-requests: 5\r\n" in received


def test_no_engine_ready_and_an_engine_that_refuses_leave_all_that_was_there(
    gateway: Gateway, engine: FakeEngine
) -> None:
    key, _ = gateway.limited_key("--requests-per-min", "9", "--tokens-per-min", "5000")
    engine.behaviour = Behaviour.REFUSES_THE_LENGTH
    for stream in (False, True):
        answer = gateway.chat(key, stream=stream)
        assert (answer.status, left(answer, "requests"), left(answer, "tokens")) == (400, 9, 5000)
    engine.say("stopping")
    try:
        until(lambda: gateway.request("GET", "/readyz").status == 503, what="not ready")
        answer = gateway.chat(key)
        assert (answer.status, left(answer, "requests"), left(answer, "tokens")) == (503, 9, 5000)
    finally:
        engine.say("ready")
        until(lambda: gateway.request("GET", "/readyz").status == 200, what="ready again")


def test_every_other_route_of_the_api_tells_what_is_left_and_takes_nothing_of_it(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger
) -> None:
    key, _ = gateway.limited_key("--requests-per-min", "9", "--tokens-per-min", "5000")
    first = gateway.chat(key, max_tokens=16)
    receipt = "/v1/audit/receipts/" + first.headers["x-audit-id"]
    records = len(ledger.records())
    asked = [
        ("GET", "/v1/models", (200,)),
        ("HEAD", "/v1/models", (200,)),
        ("GET", "/v1/models/glm-4v", (200,)),
        ("GET", "/v1/models/none", (404,)),
        ("GET", receipt, (200, 202)),
        ("GET", "/v1/audit/receipts/none", (404,)),
    ]
    for method, path, statuses in asked:
        answer = gateway.request(method, path, key=key)
        assert answer.status in statuses, path
        assert (left(answer, "requests"), left(answer, "tokens")) == (8, 5000 - USED), path
        assert answer.headers["x-ratelimit-limit-requests"] == "9"
    assert len(ledger.records()) == records
    refused = gateway.request("GET", "/v1/audit/head", key=key)
    assert (refused.status, left(refused, "requests")) == (403, 8)


def test_a_list_of_models_comes_also_while_the_ledger_is_away(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "run"), Gateway(tmp_path, VITRINE_KEY_REQUESTS_PER_MIN="5") as alone:
        with Ledger(tmp_path):
            key = alone.create_key()
            until(lambda: alone.request("GET", "/readyz").status == 200, what="ready")
            assert left(alone.request("GET", "/v1/models", key=key), "requests") == 5
        answer = alone.request("GET", "/v1/models", key=key)
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


def test_a_rotated_key_and_its_successor_have_one_limit_together(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger
) -> None:
    old, key_id = gateway.limited_key("--requests-per-min", "5", "--tokens-per-min", "5000", "--images-per-min", "9")
    assert gateway.chat(old).status == 200
    keys = [old, gateway.rotate(key_id)]
    keys.append(gateway.rotate(gateway.key_ids()[-1]))
    answers = [gateway.chat(keys[number % 3], stream=number % 2 == 0) for number in range(6)]
    assert [answer.status for answer in answers] == [200] * 4 + [429] * 2
    assert [left(answer, "requests") for answer in answers] == [3, 2, 1, 0, 0, 0]
    assert left(gateway.request("GET", "/v1/models", key=keys[2]), "tokens") == 5000 - 5 * USED
    admitted = ledger.records(kind="admit")[-5:]
    assert len({record["key"] for record in admitted}) == 3
    assert [record["params"].get("limits_of", key_id) for record in admitted] == [key_id] * 5


def test_a_rotated_key_and_its_successor_run_as_many_at_once_as_one(gateway: Gateway, engine: FakeEngine) -> None:
    old, key_id = gateway.limited_key("--concurrent", "1")
    new = gateway.rotate(key_id)
    engine.behaviour = Behaviour.WAITS_FOR_LEAVE
    with ThreadPoolExecutor(1) as one:
        running = one.submit(gateway.chat, old)
        until(lambda: len(engine.bodies) == 1, what="the first runs")
        try:
            assert gateway.chat(new).status == 429
        finally:
            engine.behaviour = Behaviour.ANSWERS
            engine.go_on.set()
        running.result(30)
    assert gateway.chat(new).status == 200


def test_a_key_without_limits_is_told_of_none_by_any_route(gateway: Gateway, engine: FakeEngine) -> None:
    answer = gateway.request("GET", "/v1/models", key=gateway.create_key())
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


def test_a_key_that_is_not_known_is_told_of_no_limits(gateway: Gateway, engine: FakeEngine) -> None:
    assert not [name for name in gateway.chat("vt_wrong").headers if name.startswith("x-ratelimit")]


def test_an_exchange_that_the_engine_refuses_gives_everything_back(gateway: Gateway, engine: FakeEngine) -> None:
    key, _ = gateway.limited_key("--requests-per-min", "2")
    engine.behaviour = Behaviour.REFUSES_THE_LENGTH
    for _ in range(5):
        assert gateway.chat(key).status == 400
    engine.behaviour = Behaviour.ANSWERS
    assert left(gateway.chat(key), "requests") == 1


def test_exchanges_at_once_are_bounded_and_a_place_comes_back(gateway: Gateway, engine: FakeEngine) -> None:
    key, _ = gateway.limited_key("--concurrent", "1")
    engine.behaviour = Behaviour.WAITS_FOR_LEAVE
    with ThreadPoolExecutor(1) as one:
        first = one.submit(gateway.chat, key)
        until(lambda: engine.bodies, what="the first request at the engine")
        answer = gateway.chat(key)
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert "1 requests at once" in answer.error["message"]
        engine.go_on.set()
        assert first.result(30).status == 200
    assert gateway.chat(key).status == 200


def test_pictures_are_counted_and_text_is_not(gateway: Gateway, engine: FakeEngine) -> None:
    key, _ = gateway.limited_key("--images-per-min", "1")
    assert gateway.chat(key).status == 200
    assert gateway.chat(key).status == 429
    assert gateway.chat(key, messages=[{"role": "user", "content": "no picture"}]).status == 200


def test_a_tenants_limit_holds_for_its_keys_together_and_for_no_other_tenant(
    gateway: Gateway, engine: FakeEngine
) -> None:
    first, second = gateway.create_key("--tenant", "crowd"), gateway.create_key("--tenant", "crowd")
    gateway.limit("--tenant", "crowd", "--requests-per-min", "2")
    assert [gateway.chat(key).status for key in (first, second, first)] == [200, 200, 429]
    assert "this tenant's keys together" in gateway.chat(second).error["message"]
    assert gateway.chat(gateway.create_key()).status == 200


def test_limits_change_with_a_record_and_without_a_restart(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger
) -> None:
    key, key_id = gateway.limited_key()
    assert "x-ratelimit-limit-requests" not in gateway.chat(key).headers
    assert "requests_per_min  1" in gateway.limit(key_id, "--requests-per-min", "1", "--concurrent", "none")
    assert [gateway.chat(key).status for _ in range(2)] == [200, 429]
    gateway.limit(key_id, "--requests-per-min", "default")
    assert gateway.chat(key).status == 200
    facts = [entry["facts"] for entry in ledger.records(kind="key", event="changed", key=key_id)]
    assert facts == [
        {"scope": "key", "requests_per_min": 1, "concurrent": "none"},
        {"scope": "key", "requests_per_min": "default"},
    ]


def test_wrong_words_about_limits_are_refused(gateway: Gateway) -> None:
    env = {"VITRINE_HOME": str(gateway.home)}
    for words, status in (
        (["key_none", "--concurrent", "1"], 1),
        (["--tenant", "nobody", "--concurrent", "1"], 1),
        (["key_none", "--tenant", "nobody"], 64),
        ([], 64),
        (["key_none", "--concurrent", "-1"], 64),
    ):
        ended = run("gateway.keys", "limit", *words, env=env)
        assert ended.returncode == status, (words, ended.stderr)
        assert "Traceback" not in ended.stderr


def test_defaults_come_from_the_settings_and_a_key_may_be_freed_of_them(gateway: Gateway, engine: FakeEngine) -> None:
    with Gateway(gateway.home, VITRINE_KEY_REQUESTS_PER_MIN="1", VITRINE_TENANT_IMAGES_PER_MIN="3") as bounded:
        key, key_id = bounded.limited_key(tenant="bounded")
        assert [bounded.chat(key).status for _ in range(2)] == [200, 429]
        bounded.limit(key_id, "--requests-per-min", "none")
        assert [bounded.chat(key).status for _ in range(3)] == [200, 200, 429]  # three pictures, for the tenant
        assert "3 pictures a minute" in bounded.chat(key).error["message"]


def test_a_file_of_the_first_schema_is_migrated_and_its_keys_stay_good(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    store = KeyStore(path)
    text, key = store.create("old", tenant="t", scopes=[])
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE limits")
        db.execute("ALTER TABLE keys DROP COLUMN limits_of")
        db.execute("PRAGMA user_version = 1")
    db.close()
    store = KeyStore(path)
    caller = store.caller(text)
    assert caller is not None
    assert (caller.key_id, caller.key_allowance.bounds) == (key.key_id, {})
    store.close()


def test_a_rotated_key_keeps_its_limits(gateway: Gateway, engine: FakeEngine) -> None:
    _, key_id = gateway.limited_key("--requests-per-min", "1")
    rotated = run("gateway.keys", "rotate", key_id, "--quiet", env={"VITRINE_HOME": str(gateway.home)})
    key = rotated.stdout.strip()
    assert [gateway.chat(key).status for _ in range(2)] == [200, 429]


def test_the_estimate_of_a_prompt_counts_text_and_pictures() -> None:
    small = parse(body(user("Hello, what is this?")))
    large = parse(body(user("Hello, what is this?", image_part(picture(width=560, height=840)))))
    assert 0 < prompt_tokens(small) < 40
    assert prompt_tokens(large) - prompt_tokens(small) == 600


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0ms"), (850, "850ms"), (1001, "2s"), (60_000, "1m0s"), (72_000, "1m12s"), (7_205_000, "2h0m5s")],
)
def test_times_are_written_as_openai_writes_them(ms: int, text: str) -> None:
    assert duration(ms) == text
