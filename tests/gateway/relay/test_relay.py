"""Every way in which an exchange can end, seen by the client, by the engine and in the audit log."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.ledger.readers import verify_proof
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import WORDS, Behaviour, FakeEngine
from tests.support.gateway import RED_SQUARE, Answer, Gateway, question
from tests.support.process import run

TEXT = "".join(WORDS)


def events(answer: Answer) -> list[Any]:
    """The data of each event: parsed, or ``[DONE]``."""
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    datas = [event.removeprefix("data: ") for event in answer.body.decode().split("\n\n")[:-1]]
    return [data if data == "[DONE]" else json.loads(data) for data in datas]


def text_of(received: list[Any]) -> str:
    said = [event for event in received if event != "[DONE]" and event["choices"]]
    return "".join(event["choices"][0]["delta"]["content"] for event in said)


def ending(ledger: Ledger, answer: Answer) -> dict[str, Any]:
    """The record of the end of the exchange whose receipt ``answer`` carries."""
    found = ledger.records(kind="complete", id=answer.headers["x-audit-id"])
    assert len(found) == 1
    assert len(ledger.records(kind="admit", id=answer.headers["x-audit-id"])) == 1
    return found[0]


def test_a_whole_answer_reaches_the_client_as_the_engine_gave_it(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str
) -> None:
    answer = gateway.chat(key)
    assert answer.status == 200
    assert answer.json["choices"][0]["message"]["content"] == TEXT
    record = ending(ledger, answer)
    assert (record["outcome"], record["status"], record["finish"]) == ("completed", 200, "stop")
    assert record["answer"]["chars"] == len(TEXT)
    assert (record["prompt_tokens"], record["answer_tokens"]) == (7, len(WORDS))


def test_a_stream_reaches_the_client_event_by_event_and_ends_with_done(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str
) -> None:
    answer = gateway.chat(key, stream=True)
    received = events(answer)
    assert text_of(received) == TEXT
    assert received[-1] == "[DONE]"
    record = ending(ledger, answer)
    assert record["outcome"] == "completed"
    assert record["answer"]["chars"] == len(TEXT)


@pytest.mark.parametrize("asked", [True, False])
def test_the_usage_event_goes_only_to_who_asked_for_it(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str, asked: bool
) -> None:
    options = {"stream_options": {"include_usage": True}} if asked else {}
    received = events(gateway.chat(key, stream=True, **options))
    assert engine.bodies[-1]["stream_options"] == {"include_usage": True}
    assert any(event != "[DONE]" and event.get("usage") for event in received) is asked


def test_characters_and_events_split_over_chunks_arrive_whole(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str
) -> None:
    engine.behaviour = Behaviour.SPLITS_CHARACTERS
    assert text_of(events(gateway.chat(key, stream=True))) == TEXT


@pytest.mark.parametrize(
    "behaviour", [Behaviour.CUTS_AFTER_TWO_EVENTS, Behaviour.ENDS_WITHOUT_DONE, Behaviour.SENDS_AN_ERROR_EVENT]
)
def test_a_cut_answer_reaches_the_client_as_an_error(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str, behaviour: Behaviour
) -> None:
    engine.behaviour = behaviour
    answer = gateway.chat(key, stream=True)
    received = events(answer)
    assert received[-1]["error"]["code"] == "engine_broke"
    assert "[DONE]" not in received
    assert FakeEngine.SECRET not in answer.body.decode()
    assert ending(ledger, answer)["outcome"] == "engine_broke"


def test_the_official_client_raises_on_a_cut_stream(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str
) -> None:
    engine.behaviour = Behaviour.CUTS_AFTER_TWO_EVENTS
    stream = gateway.client(key).chat.completions.create(**question(stream=True))
    with pytest.raises(openai.APIError, match="broke off"):
        list(stream)


@pytest.mark.parametrize("stream", [True, False])
def test_an_engine_that_stays_silent_is_given_up(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str, stream: bool
) -> None:
    engine.behaviour = Behaviour.STALLS_BEFORE_THE_FIRST_BYTE
    answer = gateway.chat(key, stream=stream)
    assert answer.status == 504
    assert answer.error["code"] == "timed_out"
    assert ending(ledger, answer)["outcome"] == "timed_out"
    engine.wait_until_left(1)


def test_a_stream_that_stalls_ends_as_a_timeout(gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str) -> None:
    engine.behaviour = Behaviour.STALLS_AFTER_TWO_EVENTS
    answer = gateway.chat(key, stream=True)
    assert events(answer)[-1]["error"]["code"] == "timed_out"
    assert ending(ledger, answer)["outcome"] == "timed_out"
    engine.wait_until_left(1)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_engine(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str, stream: bool
) -> None:
    engine.behaviour = Behaviour.STALLS_AFTER_TWO_EVENTS if stream else Behaviour.STALLS_BEFORE_THE_FIRST_BYTE
    seen = len(ledger.records(kind="complete"))
    with _half_asked(gateway, key, stream=stream) as connection:
        if stream:
            received = b""
            while b"small" not in received:
                received += connection.recv(65536)
        else:
            until(lambda: engine.bodies, what="the request at the engine")
        left = time.monotonic()
    engine.wait_until_left(1)
    assert time.monotonic() - left < 1.5  # before either timeout of this gateway: it was the leaving
    record = until(lambda: ledger.records(kind="complete")[seen:], what="a record")[0]
    assert (record["outcome"], record["status"]) == ("client_left", 499)


def test_a_client_that_asked_twice_and_leaves_stops_the_engine(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str
) -> None:
    engine.behaviour = Behaviour.STALLS_BEFORE_THE_FIRST_BYTE
    seen = len(ledger.records(kind="complete"))
    with _half_asked(gateway, key, stream=False, times=2):
        until(lambda: engine.bodies, what="the request at the engine")
        left = time.monotonic()
    engine.wait_until_left(1)
    assert time.monotonic() - left < 1.5  # as above
    record = until(lambda: ledger.records(kind="complete")[seen:], what="a record")[0]
    assert (record["outcome"], record["status"]) == ("client_left", 499)
    assert len(engine.bodies) == 1  # nobody was there any more for the second


def _half_asked(gateway: Gateway, key: str, *, stream: bool, times: int = 1) -> socket.socket:
    body = json.dumps(question(stream=stream)).encode()
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall((head.encode() + body) * times)
    return connection


@pytest.mark.slow("100,000 events")
def test_a_flood_of_events_arrives_whole(gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str) -> None:
    engine.behaviour = Behaviour.FLOODS
    received = events(gateway.chat(key, stream=True))
    assert len(received) == 20_000 * len(WORDS) + 1


@pytest.mark.parametrize("stream", [True, False])
def test_an_engine_that_refuses_the_length_is_quoted_in_our_own_words(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str, stream: bool
) -> None:
    engine.behaviour = Behaviour.REFUSES_THE_LENGTH
    answer = gateway.chat(key, stream=stream)
    assert answer.status == 400
    assert answer.error["code"] == "context_length_exceeded"
    assert FakeEngine.SECRET not in answer.body.decode()
    assert ending(ledger, answer)["outcome"] == "refused"


@pytest.mark.parametrize("behaviour", [Behaviour.FAILS_WITH_500, Behaviour.ANSWERS_GARBAGE])
def test_an_engine_that_fails_is_a_502_without_its_words(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str, behaviour: Behaviour
) -> None:
    engine.behaviour = behaviour
    answer = gateway.chat(key)
    assert answer.status == 502
    assert answer.error["code"] == "engine_broke"
    assert FakeEngine.SECRET not in answer.body.decode()
    assert ending(ledger, answer)["outcome"] == "engine_broke"


def test_the_engine_gets_a_salt_and_picture_names_of_the_tenant_and_no_header_of_the_client(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str
) -> None:
    stranger = gateway.create_key("--tenant", "stranger")
    for used in (key, stranger):
        assert (
            gateway.request(
                "POST",
                "/v1/chat/completions",
                key=used,
                body=question(),
                headers={"X-Request-Id": "mine", "Cookie": "a=b"},
            ).status
            == 200
        )
    ours, theirs = engine.bodies
    assert ours["cache_salt"] != theirs["cache_salt"]
    assert ours["messages"][0]["content"][0]["uuid"] != theirs["messages"][0]["content"][0]["uuid"]
    sent = {name.lower() for name in engine.headers[0]}
    assert not sent & {"x-request-id", "cookie", "authorization"}


def test_the_audit_log_has_digests_and_never_contents(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str
) -> None:
    canary = "canary-7c1f"
    body = question(user=canary + "-user")
    body["messages"][0]["content"][1]["text"] = canary
    answer = gateway.request("POST", "/v1/chat/completions", key=key, body=body)
    record = ledger.records(kind="admit", id=answer.headers["x-audit-id"])[0]
    assert record["prompt"]["chars"] == len(canary)
    assert [(image["type"], image["width"], image["height"]) for image in record["images"]] == [("image/png", 28, 28)]
    assert (record["ip"], record["request"]) == ("127.0.0.1", answer.headers["x-request-id"])
    assert record["fields"]["user"]["chars"] == len(canary + "-user")
    kept = b"".join(path.read_bytes() for path in ledger.home.rglob("*") if path.is_file())
    for secret in (canary, TEXT, key, RED_SQUARE.partition(",")[2]):
        assert secret.encode() not in kept


def test_the_operator_finds_who_sent_a_picture(gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str) -> None:
    answer = gateway.chat(key)
    picture = ledger.home / "picture.png"
    picture.write_bytes(base64.b64decode(RED_SQUARE.partition(",")[2]))
    found = run("gateway.ledger", "find", "--image", str(picture), "--json", env=ledger.env)
    assert found.returncode == 0, found.stderr
    assert answer.headers["x-audit-id"] in found.stdout
    picture.write_bytes(picture.read_bytes() + b"x")
    assert (
        answer.headers["x-audit-id"]
        not in run("gateway.ledger", "find", "--image", str(picture), env=ledger.env).stdout
    )


def test_an_answer_carries_a_receipt_that_an_auditor_can_check(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str, tmp_path: Path
) -> None:
    answer = gateway.chat(key, stream=True)
    path = "/v1/audit/receipts/" + answer.headers["x-audit-id"]
    proofs = until(lambda: _both_proofs(gateway.request("GET", path, key=key)), what="a head over admit and complete")
    origin, index, leaf = answer.headers["x-audit-leaf"].split()
    public = (ledger.home / "ledger-keys" / "public.key").read_text().strip()
    checker = Path(verify_proof.__file__)
    for proof, extra in zip(proofs, (["--leaf", leaf], []), strict=True):
        (tmp_path / "proof").write_text(proof)
        command = [sys.executable, "-I", str(checker), str(tmp_path / "proof"), "--key", public, *extra]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert ended.returncode == 0, ended.stderr
    assert int(index) >= 0
    assert origin in public
    stranger = gateway.create_key("--tenant", "stranger")
    assert gateway.request("GET", path, key=stranger).status == 404
    assert gateway.request("GET", path).status == 401
    auditor = gateway.create_key("--scope", "audit")
    assert len(gateway.request("GET", path, key=auditor).json["proofs"]) == 2


def _both_proofs(answer: Answer) -> list[str]:
    """The proofs of admit and complete, once a signed head covers both."""
    assert answer.status in (200, 202)
    proofs = list(answer.json.get("proofs", []))
    return proofs if len(proofs) == 2 else []


@pytest.mark.parametrize("stream", [True, False])
def test_nothing_is_answered_while_the_ledger_is_away(tmp_path: Path, stream: bool) -> None:
    with FakeEngine(tmp_path / "run") as engine, Ledger(tmp_path) as ledger, Gateway(tmp_path) as gateway:
        key = gateway.create_key()
        assert gateway.chat(key, stream=stream).status == 200
        os.kill(ledger.process.pid, signal.SIGKILL)
        ledger.process.wait()
        answer = gateway.chat(key, stream=stream)
        assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "audit_unavailable", "1")
        assert TEXT not in answer.body.decode()
        assert gateway.request("GET", "/readyz").json["waiting_for"] == ["ledger: not answering"]
        made = run("gateway.keys", "create", "--name", "x", env=ledger.env)
        assert made.returncode == 1
        assert "keys change only with a record" in made.stderr
        ledger.start()
        until(lambda: gateway.request("GET", "/readyz").status == 200)
        assert gateway.chat(key, stream=stream).status == 200
        assert len(engine.bodies) == 2  # what can have no record is not asked


def test_a_stream_whose_end_cannot_be_recorded_ends_as_an_error(tmp_path: Path) -> None:
    with FakeEngine(tmp_path / "run") as engine, Ledger(tmp_path) as ledger, Gateway(tmp_path) as gateway:
        key = gateway.create_key()
        engine.behaviour = Behaviour.WAITS_FOR_LEAVE_AFTER_TWO_EVENTS
        connection = _half_asked(gateway, key, stream=True)
        with connection:
            received = b""
            while b"small" not in received:
                received += connection.recv(65536)
            os.kill(ledger.process.pid, signal.SIGKILL)
            ledger.process.wait()
            engine.go_on.set()
            while not received.endswith(b"0\r\n\r\n"):
                received += connection.recv(65536)
        assert b"audit_unavailable" in received
        assert b"[DONE]" not in received
        ledger.start()


def test_refusals_are_recorded_too(gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str) -> None:
    for used, changes, status, reason in (
        ("vt_wrong", {}, 401, "invalid_api_key"),
        (key, {"model": "other"}, 404, "model_not_found"),
        (key, {"documents": []}, 400, "unknown_parameter"),
    ):
        answer = gateway.chat(used, **changes)
        assert answer.status == status
        record = ledger.records(kind="deny", request=answer.headers["x-request-id"])
        assert [(entry["status"], entry["reason"]) for entry in record] == [(status, reason)]
