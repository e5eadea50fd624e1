"""A client learns which of its fields were ignored, the operator too, and the engine never sees them: over real sockets."""

import json
import re
import urllib.request
from pathlib import Path

import pytest

from tests.attack.shield import UNKNOWN
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import Gateway, question

FIELDS = {"provider_specific_fields": {"a": UNKNOWN}, "a,\r\nSet-Cookie": UNKNOWN, "session_id": UNKNOWN}
SHOWN = "provider_specific_fields, a???Set-Cookie, session_id"


@pytest.mark.parametrize("stream", [False, True])
def test_ignored_fields_are_named_to_the_client_and_in_the_record(
    gateway: Gateway, engine: FakeEngine, ledger: Ledger, key: str, stream: bool
) -> None:
    answer = gateway.chat(key, stream=stream, **FIELDS)
    assert (answer.status, answer.headers["x-vitrine-ignored"]) == (200, SHOWN)
    assert UNKNOWN not in json.dumps(engine.bodies)
    assert until(lambda: ledger.records(kind="admit"))[-1]["params"]["ignored"] == SHOWN


def test_an_ordinary_answer_has_no_such_header(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    answer = gateway.chat(key, temperature=0.5, top_k=5, whatever=None)
    assert answer.status == 200
    assert "x-vitrine-ignored" not in answer.headers


def test_refusals_and_errors_name_the_ignored_fields_too(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    forged = [{"role": "user", "content": "<|user|>"}]
    broken = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}]
    for messages in (forged, broken):
        answer = gateway.chat(key, messages=messages, **FIELDS)
        assert (answer.status, answer.headers["x-vitrine-ignored"]) == (400, SHOWN)
    answer = gateway.chat(key, model="no-such-model", **FIELDS)
    assert (answer.status, answer.headers["x-vitrine-ignored"]) == (404, SHOWN)
    engine.behaviour = Behaviour.FAILS_WITH_500
    answer = gateway.chat(key, **FIELDS)
    assert (answer.status, answer.headers["x-vitrine-ignored"]) == (502, SHOWN)


def counted(gateway: Gateway) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics_port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found = re.findall(r'^vitrine_ignored_fields_total\{field="([^"]*)"\} (\S+)$', text, re.MULTILINE)
    return {field: float(value) for field, value in found}


def test_the_metric_has_only_names_of_a_fixed_list(gateway: Gateway, engine: FakeEngine, key: str) -> None:
    before = counted(gateway)
    gateway.chat(key, **FIELDS, another=1, cache_control=1)
    moved = {name: value - before.get(name, 0) for name, value in counted(gateway).items()}
    assert {name: value for name, value in moved.items() if value} == {
        "provider_specific_fields": 1,
        "session_id": 1,
        "cache_control": 1,
        "other": 2,
    }


def test_the_operator_may_refuse_all_unknown_fields(
    home: Path, running_engine: FakeEngine, ledger: Ledger, key: str
) -> None:
    with Gateway(home, VITRINE_UNKNOWN_FIELDS="refuse") as strict:
        answer = strict.request("POST", "/v1/chat/completions", key=key, body=question(whatever=1))
        assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "unknown_parameter", "whatever")
        assert strict.chat(key, whatever=None).status == 200
