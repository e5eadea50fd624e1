"""What an auditor sees of the log over HTTP: records with filters, pages that fit together, a head that is green or red."""

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.format.checkpoint import open_head
from gateway.ledger.storage.keyring import read_verifier
from tests.support.audit import Ledger
from tests.support.deadline import until
from tests.support.fake_engine import Behaviour, FakeEngine
from tests.support.gateway import RED_SQUARE, Answer, Gateway
from tests.support.process import run
from tests.support.scrape import scrape

RED_SHA256 = hashlib.sha256(base64.b64decode(RED_SQUARE.partition(",")[2])).hexdigest()
TEXT = [{"role": "user", "content": "no picture, but the word canary-7"}]


@pytest.fixture(scope="module")
def auditor(gateway: Gateway) -> str:
    return gateway.create_key("--scope", "audit", "--tenant", "house")


@pytest.fixture(scope="module")
def lab(gateway: Gateway, running_engine: FakeEngine) -> tuple[str, str]:
    """A key of the tenant lab with five exchanges, one of which broke, and two refusals; its id."""
    key = gateway.create_key("--tenant", "lab")
    key_id = gateway.key_ids()[-1]
    running_engine.behaviour = Behaviour.ANSWERS
    for _ in range(2):
        assert gateway.chat(key).status == 200
    for _ in range(2):
        assert gateway.chat(key, messages=TEXT).status == 200
    running_engine.behaviour = Behaviour.FAILS_WITH_500
    gateway.chat(key, messages=TEXT)
    running_engine.behaviour = Behaviour.ANSWERS
    for _ in range(2):
        assert gateway.chat(key, best_of=2).status == 400
    return key, key_id


def records(gateway: Gateway, auditor: str, **filters: Any) -> Any:
    answer = ask(gateway, auditor, **filters)
    assert answer.status == 200, answer.body
    return answer.json


def ask(gateway: Gateway, auditor: str, **filters: Any) -> Answer:
    words = "&".join(f"{name}={value}" for name, value in filters.items())
    return gateway.request("GET", f"/v1/audit/records?{words}", key=auditor)


def test_an_exchange_is_one_row_with_its_end_newest_first(gateway: Gateway, auditor: str, lab: tuple[str, str]) -> None:
    page = records(gateway, auditor, key=lab[1], kind="exchange")
    indexes = [row["index"] for row in page["rows"]]
    assert len(indexes) == 5
    assert indexes == sorted(indexes, reverse=True)
    assert page["next"] is None
    for row in page["rows"]:
        assert row["record"]["id"] == row["end"]["id"]
        assert row["end_index"] > row["index"]
    assert "canary-7" not in json.dumps(page)
    assert len(page["rows"][0]["record"]["prompt"]["digest"]) == 64


@pytest.mark.parametrize(
    ("filters", "rows"),
    [
        ({"tenant": "lab", "kind": "exchange"}, 5),
        ({"tenant": "la"}, 0),
        ({"outcome": "completed"}, 4),
        ({"outcome": "engine_broke"}, 1),
        ({"outcome": "denied"}, 2),
        ({"outcome": "running"}, 0),
        ({"kind": "deny"}, 2),
        ({"model": "glm-4v"}, 5),
        ({"model": "glm"}, 0),
        ({"image": RED_SHA256}, 2),
        ({"image": "0" * 64}, 0),
        ({"image": RED_SHA256, "outcome": "completed", "limit": 1}, 1),
        ({"kind": "key"}, 1),
        ({"since_ms": 0}, 8),
        ({"since_ms": 4_000_000_000_000}, 0),
        ({"until_ms": 1}, 0),
        ({}, 8),
    ],
)
def test_filters_leave_what_fits_all_of_them(
    gateway: Gateway, auditor: str, lab: tuple[str, str], filters: dict[str, Any], rows: int
) -> None:
    filters = filters if "tenant" in filters else {**filters, "key": lab[1]}
    assert len(records(gateway, auditor, **filters)["rows"]) == rows


def test_who_saw_this_picture_is_answered_as_by_the_command(
    gateway: Gateway, auditor: str, lab: tuple[str, str], tmp_path: Path
) -> None:
    picture = tmp_path / "red.png"
    picture.write_bytes(base64.b64decode(RED_SQUARE.partition(",")[2]))
    found = run("gateway.ledger", "find", "--image", str(picture), "--json", env={"VITRINE_HOME": str(gateway.home)})
    ids = {json.loads(line)["admit"]["id"] for line in found.stdout.splitlines()}
    assert {row["record"]["id"] for row in records(gateway, auditor, image=RED_SHA256)["rows"]} == ids
    assert len(ids) >= 2


def test_pages_fit_together_and_lose_no_end(gateway: Gateway, auditor: str, lab: tuple[str, str]) -> None:
    whole = records(gateway, auditor, limit=200)["rows"]
    pieces: list[Any] = []
    before = ""
    while True:
        page = records(gateway, auditor, limit=2, before=before, until_ms=whole[0]["record"]["time_ms"] + 1)
        pieces += page["rows"]
        if page["next"] is None:
            break
        before = page["next"]
    assert pieces == whole


@pytest.mark.parametrize(
    "filters",
    [
        {"limit": 0},
        {"limit": 201},
        {"limit": "x"},
        {"image": "A" * 64},
        {"image": "0" * 63},
        {"outcome": "good"},
        {"kind": "admit"},
        {"colour": "red"},
        {"since_ms": -1},
        {"before": "1.5"},
        {"tenant": "t" * 257},
    ],
)
def test_a_filter_that_is_wrong_is_named(gateway: Gateway, auditor: str, filters: dict[str, Any]) -> None:
    answer = ask(gateway, auditor, **filters)
    assert (answer.status, answer.error["param"]) == (400, next(iter(filters)))


def test_a_filter_that_is_there_twice_is_refused(gateway: Gateway, auditor: str) -> None:
    assert gateway.request("GET", "/v1/audit/records?key=a&key=b", key=auditor).status == 400


@pytest.mark.parametrize("path", ["/v1/audit/records", "/v1/audit/head"])
def test_only_the_scope_audit_opens_it(gateway: Gateway, lab: tuple[str, str], path: str) -> None:
    assert gateway.request("GET", path, key=lab[0]).error["code"] == "insufficient_permissions"
    assert gateway.request("GET", path).status == 401


def test_a_receipt_of_somebody_else_is_answered_like_one_that_does_not_exist(
    gateway: Gateway, auditor: str, lab: tuple[str, str]
) -> None:
    stranger = gateway.create_key("--tenant", "street")
    unknown = "01a206ea-f13f-769a-a616-48b66a509ec2"
    # A head is signed once a second at most: none covers the last of these when it is asked for at once.
    theirs = [gateway.chat(lab[0]).headers["x-audit-id"] for _ in range(3)][-1]
    asked = [
        (identity, gateway.request("GET", f"/v1/audit/receipts/{identity}", key=stranger))
        for identity in (theirs, unknown)
    ]
    told = [
        (answer.status, answer.body.replace(identity.encode(), b"ID"), sorted(answer.headers))
        for identity, answer in asked
    ]
    assert told[0] == told[1]
    assert told[0][0] == 404
    assert gateway.request("GET", f"/v1/audit/receipts/{theirs}", key=lab[0]).status in (200, 202)


def test_a_good_log_has_a_green_head_that_says_what_was_checked(
    gateway: Gateway, ledger: Ledger, auditor: str, lab: tuple[str, str]
) -> None:
    head = gateway.request("GET", "/v1/audit/head", key=auditor).json
    checked = head["checked"]
    assert checked["good"] is True
    assert checked["records"] >= 14
    assert abs(checked["at_ms"] - time.time() * 1000) < 60_000
    assert (checked["heads"] > 0, checked["segments"], checked["anchors"]) == (True, 1, 1)
    verifier = read_verifier(gateway.home / "ledger-keys" / "public.key")
    assert head["public_key"] == verifier.format()
    assert open_head(head["head"]["note"], verifier).size == head["head"]["size"] <= head["records"]


@pytest.fixture
def changed(gateway: Gateway, ledger: Ledger, lab: tuple[str, str], tmp_path: Path) -> Path:
    """A copy of the state folder in which one letter of one record is another."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("ledger", "ledger-keys"):
        shutil.copytree(gateway.home / name, home / name)
    lines = home / "ledger" / "segments" / "00000001.jsonl"
    content = lines.read_bytes()
    assert content.count(b'"tenant":"lab"') > 3
    lines.write_bytes(content.replace(b'"tenant":"lab"', b'"tenant":"bal"', 1))
    shutil.copy(gateway.home / "keys.sqlite", home / "keys.sqlite")
    shutil.copy(gateway.home / "keys.sqlite-wal", home / "keys.sqlite-wal")
    return home


def test_a_log_that_was_changed_has_a_red_head_that_says_where(changed: Path, auditor: str) -> None:
    with Gateway(changed) as gateway:  # it has no ledger: reading needs none
        head = gateway.request("GET", "/v1/audit/head", key=auditor).json
        assert (head["checked"]["good"], head["checked"]["exit_code"]) == (False, 10)
        assert "is not what was written" in head["checked"]["fault"]
        # What is there can be read all the same, and a lost file is said.
        assert records(gateway, auditor, tenant="bal")["rows"]
        shutil.rmtree(changed / "ledger" / "segments")
        answer = ask(gateway, auditor)
        assert (answer.status, answer.error["code"]) == (503, "log_unreadable")


def test_questions_do_not_wait_while_the_log_is_read(
    gateway: Gateway, engine: FakeEngine, auditor: str, lab: tuple[str, str]
) -> None:
    with ThreadPoolExecutor(4) as many:
        reading = [many.submit(records, gateway, auditor, image="0" * 64) for _ in range(12)]
        reading += [many.submit(ask, gateway, auditor, limit=200) for _ in range(4)]
        began_s = time.monotonic()
        answers = [gateway.chat(lab[0]) for _ in range(10)]
        assert {answer.status for answer in answers} == {200}
        assert time.monotonic() - began_s < 10
        for one in reading:
            one.result(30)


def test_a_reading_process_that_dies_is_replaced_and_ends_with_the_gateway(
    home: Path, auditor: str, ledger: Ledger
) -> None:
    with Gateway(home) as gateway:
        records(gateway, auditor)
        line = gateway.process.line_with("an auditor reads the log")
        pid = _pid(line)
        os.kill(pid, signal.SIGKILL)
        until(lambda: ask(gateway, auditor).status == 200, what="another reading process")
        pid = _pid(gateway.process.lines[-1])
        assert b"reader_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert not Path(f"/proc/{pid}").exists()


def _pid(line: str) -> int:
    found = re.search(r"pid\D*=\D*?(\d+)", re.sub("\x1b\\[[0-9;]*m", "", line))
    assert found, line
    return int(found[1])


@pytest.mark.parametrize(
    "name", ["a" * 7000, "a" * 257, "%00%ff", "x"], ids=["7,000 letters", "257", "no text", "short"]
)
def test_a_name_that_is_no_id_is_nobodys_receipt_and_no_trouble_of_the_ledgers(
    gateway: Gateway, lab: tuple[str, str], name: str
) -> None:
    def troubles() -> float:
        return sum(value for name, value in scrape(gateway.metrics_port).items() if "ledger_errors_total" in name)

    before = troubles()
    answer = gateway.request("GET", f"/v1/audit/receipts/{name}", key=lab[0])
    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert len(answer.body) < 1000
    assert troubles() == before
