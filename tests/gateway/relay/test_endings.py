"""Each ending has one name, the same in the metrics, in the ledger and, as far as it is there to hear it, for the client."""

import json
import socket
import urllib.request

import pytest

from tests.attack.wire import post
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway, question

OUTCOMES = ("completed", "client_left", "engine_broke", "refused", "timed_out")


def counts(gateway: Gateway) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    counted = (line for line in lines if line.startswith("vitrine_exchanges_total{"))
    found = dict.fromkeys(OUTCOMES, 0)
    for line in counted:  # one for each model that is served
        found[line.partition('outcome="')[2].partition('"')[0]] += int(float(line.split()[-1]))
    return found


@pytest.mark.parametrize(
    ("behaviour", "stream", "status", "code", "outcome"),
    [
        (Behaviour.ANSWERS, True, 200, None, "completed"),
        (Behaviour.ANSWERS, False, 200, None, "completed"),
        (Behaviour.FAILS_WITH_500, True, 502, "engine_broke", "engine_broke"),
        (Behaviour.FAILS_WITH_500, False, 502, "engine_broke", "engine_broke"),
        (Behaviour.ANSWERS_GARBAGE, False, 502, "engine_broke", "engine_broke"),
        (Behaviour.CUTS_AFTER_TWO_EVENTS, True, 200, "engine_broke", "engine_broke"),
        (Behaviour.ENDS_WITHOUT_DONE, True, 200, "engine_broke", "engine_broke"),
        (Behaviour.SENDS_AN_ERROR_EVENT, True, 200, "engine_broke", "engine_broke"),
        (Behaviour.REFUSES_THE_LENGTH, True, 400, "context_length_exceeded", "refused"),
        (Behaviour.REFUSES_THE_LENGTH, False, 400, "context_length_exceeded", "refused"),
        (Behaviour.STALLS_BEFORE_THE_FIRST_BYTE, True, 504, "timed_out", "timed_out"),
        (Behaviour.STALLS_BEFORE_THE_FIRST_BYTE, False, 504, "timed_out", "timed_out"),
        (Behaviour.STALLS_AFTER_TWO_EVENTS, True, 200, "timed_out", "timed_out"),
    ],
)
def test_an_ending_is_named_alike_everywhere(
    gateway: Gateway,
    engine: FakeEngine,
    ledger: Ledger,
    key: str,
    behaviour: Behaviour,
    stream: bool,
    status: int,
    code: str | None,
    outcome: str,
) -> None:
    before = counts(gateway)
    engine.behaviour = behaviour
    answer = gateway.chat(key, stream=stream)
    assert answer.status == status
    said = answer.body.decode()
    assert (f'"code":"{code}"' in said) if code else ('"error"' not in said)
    assert ("[DONE]" in said) == (stream and outcome == "completed")
    _check(gateway, ledger, before, outcome, answer.headers["x-audit-id"])


@pytest.mark.parametrize(
    ("behaviour", "stream"),
    [
        (Behaviour.STALLS_BEFORE_THE_FIRST_BYTE, True),
        (Behaviour.STALLS_BEFORE_THE_FIRST_BYTE, False),
        (Behaviour.STALLS_AFTER_TWO_EVENTS, True),
    ],
)
def test_a_client_that_leaves_is_named_so(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str, behaviour: Behaviour, stream: bool
) -> None:
    before, seen = counts(gateway), len(ledger.records(kind="admit"))
    engine.behaviour = behaviour
    body = json.dumps(question(stream=stream)).encode()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(post(b"Content-Length: %d" % len(body), body=body).replace(b"{key}", key.encode()))
        until(lambda: engine.bodies)
        if behaviour is Behaviour.STALLS_AFTER_TWO_EVENTS:
            received = b""
            while b"small" not in received:
                received += connection.recv(65536)
    record = until(lambda: ledger.records(kind="admit")[seen:])[0]
    _check(gateway, ledger, before, "client_left", record["id"])
    engine.wait_until_left(1)


def _check(gateway: Gateway, ledger: Ledger, before: dict[str, int], outcome: str, identity: str) -> None:
    record = until(lambda: ledger.records(kind="complete", id=identity), what="its record")
    assert [entry["outcome"] for entry in record] == [outcome]
    until(lambda: counts(gateway) != before, what="a count")
    after = counts(gateway)
    assert {name for name in OUTCOMES if after.get(name, 0) != before.get(name, 0)} == {outcome}
