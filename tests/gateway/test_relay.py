"""Every way in which an exchange can end, seen by the client, by the engine and in the audit log."""

import hashlib
import json
import socket
import time
from typing import Any

import openai
import pytest

from tests.support.deadline import until
from tests.support.fake_engine import WORDS, Behaviour, FakeEngine
from tests.support.gateway import Answer, Gateway, question

TEXT = "".join(WORDS)


def events(answer: Answer) -> list[Any]:
    """The data of each event: parsed, or ``[DONE]``."""
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    datas = [event.removeprefix("data: ") for event in answer.body.decode().split("\n\n")[:-1]]
    return [data if data == "[DONE]" else json.loads(data) for data in datas]


def text_of(received: list[Any]) -> str:
    said = [event for event in received if event != "[DONE]" and event["choices"]]
    return "".join(event["choices"][0]["delta"]["content"] for event in said)


def last_record(gateway: Gateway, answer: Answer) -> dict[str, Any]:
    """The record of the exchange that ``answer`` ended, once it is written."""
    identifier = answer.headers["x-request-id"]
    found: list[dict[str, Any]] = until(
        lambda: [record for record in gateway.audit() if record["id"] == identifier], what=f"a record of {identifier}"
    )
    assert len(found) == 1
    return found[0]


def test_a_whole_answer_reaches_the_client_as_the_engine_gave_it(
    gateway: Gateway, engine: FakeEngine, key: str
) -> None:
    answer = gateway.chat(key)
    assert answer.status == 200
    assert answer.json["choices"][0]["message"]["content"] == TEXT
    record = last_record(gateway, answer)
    assert (record["outcome"], record["status"], record["answer"]["finish"]) == ("completed", 200, "stop")
    assert record["answer"]["sha256"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert record["answer"]["chars"] == len(TEXT)
    assert record["completion_tokens"] == len(WORDS)


def test_a_stream_reaches_the_client_event_by_event_and_ends_with_done(
    gateway: Gateway, engine: FakeEngine, key: str
) -> None:
    answer = gateway.chat(key, stream=True)
    received = events(answer)
    assert text_of(received) == TEXT
    assert received[-1] == "[DONE]"
    record = last_record(gateway, answer)
    assert record["outcome"] == "completed"
    assert record["answer"]["sha256"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert record["prompt_tokens"] == 7


@pytest.mark.parametrize("asked", [True, False])
def test_the_usage_event_goes_only_to_who_asked_for_it(
    gateway: Gateway, engine: FakeEngine, key: str, asked: bool
) -> None:
    options = {"stream_options": {"include_usage": True}} if asked else {}
    received = events(gateway.chat(key, stream=True, **options))
    assert engine.bodies[-1]["stream_options"] == {"include_usage": True}
    assert any(event != "[DONE]" and event.get("usage") for event in received) is asked


def test_characters_and_events_split_over_chunks_arrive_whole(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    engine.behaviour = Behaviour.SPLITS_CHARACTERS
    assert text_of(events(gateway.chat(key, stream=True))) == TEXT


@pytest.mark.parametrize(
    "behaviour", [Behaviour.CUTS_AFTER_TWO_EVENTS, Behaviour.ENDS_WITHOUT_DONE, Behaviour.SENDS_AN_ERROR_EVENT]
)
def test_a_cut_answer_reaches_the_client_as_an_error(
    gateway: Gateway, engine: FakeEngine, key: str, behaviour: Behaviour
) -> None:
    engine.behaviour = behaviour
    answer = gateway.chat(key, stream=True)
    received = events(answer)
    assert received[-1]["error"]["code"] == "engine_broke"
    assert "[DONE]" not in received
    assert FakeEngine.SECRET not in answer.body.decode()
    assert last_record(gateway, answer)["outcome"] == "engine_broke"


def test_the_official_client_raises_on_a_cut_stream(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    engine.behaviour = Behaviour.CUTS_AFTER_TWO_EVENTS
    stream = gateway.client(key).chat.completions.create(**question(stream=True))
    with pytest.raises(openai.APIError, match="broke off"):
        list(stream)


@pytest.mark.parametrize("stream", [True, False])
def test_an_engine_that_stays_silent_is_given_up(gateway: Gateway, engine: FakeEngine, key: str, stream: bool) -> None:
    engine.behaviour = Behaviour.STALLS_BEFORE_THE_FIRST_BYTE
    answer = gateway.chat(key, stream=stream)
    assert answer.status == 504
    assert answer.error["code"] == "timed_out"
    assert last_record(gateway, answer)["outcome"] == "timed_out"
    engine.wait_until_left(1)


def test_a_stream_that_stalls_ends_as_a_timeout(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    engine.behaviour = Behaviour.STALLS_AFTER_TWO_EVENTS
    answer = gateway.chat(key, stream=True)
    assert events(answer)[-1]["error"]["code"] == "timed_out"
    assert last_record(gateway, answer)["outcome"] == "timed_out"
    engine.wait_until_left(1)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_engine(gateway: Gateway, engine: FakeEngine, key: str, stream: bool) -> None:
    engine.behaviour = Behaviour.STALLS_AFTER_TWO_EVENTS if stream else Behaviour.STALLS_BEFORE_THE_FIRST_BYTE
    seen = len(gateway.audit())
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
    record = until(lambda: gateway.audit()[seen:], what="a record")[0]
    assert (record["outcome"], record["status"]) == ("client_left", 499)


def _half_asked(gateway: Gateway, key: str, *, stream: bool) -> socket.socket:
    body = json.dumps(question(stream=stream)).encode()
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def test_a_flood_of_events_arrives_whole(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    engine.behaviour = Behaviour.FLOODS
    received = events(gateway.chat(key, stream=True))
    assert len(received) == 20_000 * len(WORDS) + 1


@pytest.mark.parametrize("stream", [True, False])
def test_an_engine_that_refuses_the_length_is_quoted_in_our_own_words(
    gateway: Gateway, engine: FakeEngine, key: str, stream: bool
) -> None:
    engine.behaviour = Behaviour.REFUSES_THE_LENGTH
    answer = gateway.chat(key, stream=stream)
    assert answer.status == 400
    assert answer.error["code"] == "context_length_exceeded"
    assert FakeEngine.SECRET not in answer.body.decode()
    assert last_record(gateway, answer)["outcome"] == "refused"


@pytest.mark.parametrize("behaviour", [Behaviour.FAILS_WITH_500, Behaviour.ANSWERS_GARBAGE])
def test_an_engine_that_fails_is_a_502_without_its_words(
    gateway: Gateway, engine: FakeEngine, key: str, behaviour: Behaviour
) -> None:
    engine.behaviour = behaviour
    answer = gateway.chat(key)
    assert answer.status == 502
    assert answer.error["code"] == "engine_broke"
    assert FakeEngine.SECRET not in answer.body.decode()
    assert last_record(gateway, answer)["outcome"] == "engine_broke"


def test_the_engine_gets_a_salt_and_picture_names_of_the_tenant_and_no_header_of_the_client(
    gateway: Gateway, engine: FakeEngine, key: str
) -> None:
    stranger = gateway.create_key("--tenant", "stranger")
    for used in (key, stranger):
        assert gateway.request(
            "POST", "/v1/chat/completions", key=used, body=question(), headers={"X-Request-Id": "mine", "Cookie": "a=b"}
        ).status == 200  # fmt: skip
    ours, theirs = engine.bodies
    assert ours["cache_salt"] != theirs["cache_salt"]
    assert ours["messages"][0]["content"][0]["uuid"] != theirs["messages"][0]["content"][0]["uuid"]
    sent = {name.lower() for name in engine.headers[0]}
    assert not sent & {"x-request-id", "cookie", "authorization"}


def test_the_audit_log_has_digests_and_never_contents(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    canary = "canary-7c1f"
    body = question()
    body["messages"][0]["content"][1]["text"] = canary
    answer = gateway.request("POST", "/v1/chat/completions", key=key, body=body)
    record = last_record(gateway, answer)
    assert record["prompt"] == {"sha256": hashlib.sha256(canary.encode()).hexdigest(), "chars": len(canary)}
    assert record["images"][0]["type"] == "image/png"
    assert (record["images"][0]["width"], record["images"][0]["height"]) == (28, 28)
    assert record["address"] == "127.0.0.1"
    written = (gateway.home / "ledger" / "audit.jsonl").read_text()
    assert canary not in written
    assert TEXT not in written
    assert key not in written
