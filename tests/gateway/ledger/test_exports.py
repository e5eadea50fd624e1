"""Exports: OCSF against OCSF's own schema, tiles against the tree, CSV against spreadsheets' habits."""

from __future__ import annotations

import csv
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.format.checkpoint import open_head
from gateway.ledger.format.merkle import full_root, leaf_hash, root_of
from gateway.ledger.readers.exports.ecs import to_ecs
from gateway.ledger.readers.exports.ocsf import VERSION, to_ocsf
from gateway.ledger.readers.exports.table import COLUMNS, header, to_row
from gateway.ledger.readers.exports.tiles import tile_path, write_tiles
from gateway.ledger.readers.reader import LogReader
from gateway.ledger.storage.tree import split
from tests.gateway.ledger.logs import Hand

COMMON = {
    "boot": "01a206ea-f13f-769a-a616-48b66a509ec2",
    "id": "01a206ea-f13f-769a-a616-48b66a509ec3",
    "time_ms": 1795,
    "v": 1,
}
DIGEST = "ab" * 32
ADMIT: dict[str, Any] = COMMON | {
    "kind": "admit",
    "conversation": {"chars": 9, "digest": DIGEST},
    "epoch": "2026-11",
    "fields": {},
    "images": [{"bytes": 5, "digest": DIGEST, "height": 2, "type": "image/png", "width": 1}],
    "ip": "192.0.2.7",
    "key": "key-1",
    "model": "glm-4v",
    "params": {"max_tokens": 5},
    "peer": "127.0.0.1:5",
    "stream": True,
    "prompt": {"chars": 4, "digest": DIGEST},
    "request": "r-1",
    "route": "/v1/chat/completions",
    "tenant": "lab",
    "tokens": 9,
}
COMPLETE: dict[str, Any] = COMMON | {
    "kind": "complete",
    "answer": {"chars": 4, "digest": DIGEST},
    "answer_tokens": 7,
    "engine": "engine-0",
    "epoch": "2026-11",
    "finish": "stop",
    "outcome": "completed",
    "prompt_tokens": 5,
    "status": 200,
    "total_ms": 30,
    "ttft_ms": 3,
}
DENY: dict[str, Any] = COMMON | {
    "kind": "deny",
    "ip": "192.0.2.9",
    "key": None,
    "peer": "p",
    "reason": "unknown key",
    "request": "",
    "route": "/v1/x",
    "status": 401,
    "tenant": None,
}
FLOOD: dict[str, Any] = COMMON | {
    "kind": "deny",
    "count": 812,
    "from_ms": 1,
    "ip": "others",
    "reason": "flood",
    "reasons": {"unknown key": 812},
    "keys": {"user_1": 800},
    "to_ms": 2,
}
OTHERS = [
    COMMON
    | {"kind": "boot", "room": "ledger", "versions": {"python": "3.11"}, "keys": {"signing": "aa", "epochs": []}},
    COMMON | {"kind": "shutdown", "open": 0},
    COMMON | {"kind": "recovery", "open": 1, "torn": {}, "torn_bytes": 3},
    COMMON | {"kind": "seal", "segment": 1},
    COMMON | {"kind": "prune", "segment": 1},
    COMMON | {"kind": "gap", "count": 3, "from_ms": 1, "to_ms": 2, "why": "the ledger was away"},
    COMMON | {"kind": "key", "event": "revoked", "key": "key-1", "by": "root", "facts": {}},
    COMMON | {"kind": "integrity", "what": "model file", "old": "a", "new": "b", "by": "serve", "facts": {}},
]
CASES = [
    (ADMIT, None),
    (COMPLETE, ADMIT),
    (COMPLETE, None),
    (DENY, None),
    (FLOOD, None),
    *[(record, None) for record in OTHERS],
]


@cache
def validator(class_name: str, profiles: tuple[str, ...]) -> Any:
    """A validator of one class of OCSF, as the package ocsf-json-schema makes it from the published schema."""
    from jsonschema_rs import Draft202012Validator
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=VERSION))
    return Draft202012Validator(schema.get_class_schema(class_name, profiles=list(profiles)))


@pytest.mark.parametrize(("record", "admit"), CASES, ids=[f"{r['kind']}-{n}" for n, (r, _) in enumerate(CASES)])
def test_every_kind_of_record_is_a_valid_event_of_ocsf(record: dict[str, Any], admit: dict[str, Any] | None) -> None:
    event = to_ocsf(7, record, "test.example/log", admit)
    name = {6003: "api_activity", 6002: "application_lifecycle"}[event["class_uid"]]
    found = validator(name, tuple(event["metadata"].get("profiles", ())))
    assert [error.message for error in found.iter_errors(event)] == []


def test_the_ocsf_check_can_fail() -> None:
    event = to_ocsf(7, ADMIT, "test.example/log")
    assert list(validator("api_activity", ("ai_operation",)).iter_errors(event | {"actor": {}}))
    assert list(validator("api_activity", ("ai_operation",)).iter_errors(event | {"invented": 1}))


@pytest.mark.parametrize(("record", "admit"), CASES, ids=[f"{r['kind']}-{n}" for n, (r, _) in enumerate(CASES)])
def test_every_kind_of_record_is_a_document_of_ecs(record: dict[str, Any], admit: dict[str, Any] | None) -> None:
    """Against the required fields and allowed values of ECS 8.17 as its reference lists them; there is no schema package."""
    document = to_ecs(7, record, "test.example/log", admit)
    assert document["ecs"]["version"] == "8.17.0"
    assert document["@timestamp"].endswith("Z")
    event = document["event"]
    assert event["kind"] == "event"
    assert set(event["category"]) <= {"api", "configuration", "file", "iam", "process", "web"}
    assert set(event["type"]) <= {"access", "change", "denied", "end", "error", "info", "start"}
    assert event["outcome"] in {"success", "failure", "unknown"}
    json.dumps(document)


def test_a_table_has_one_cell_a_column_and_none_is_a_formula() -> None:
    evil = ADMIT | {"model": '=HYPERLINK("http://x")', "key": "+1", "route": 'a,b\n"c"'}
    text = header() + "".join(to_row(n, record, "o", admit) for n, (record, admit) in enumerate([(evil, None), *CASES]))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(CASES) + 1
    assert all(set(row) == set(COLUMNS) for row in rows)
    assert rows[0]["model"].startswith("'=")
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]
    complete = rows[2]
    assert (complete["ip"], complete["outcome"], complete["answer_chars"]) == ("192.0.2.7", "completed", "4")


@pytest.mark.parametrize(
    ("index", "width", "path"),
    [
        (0, 256, "tile/0/000"),
        (1_234_067, 256, "tile/0/x001/x234/067"),
        (273, 112, "tile/0/273.p/112"),
        (1000, 256, "tile/0/x001/000"),
    ],
)
def test_tiles_have_the_paths_of_the_specification(index: int, width: int, path: str) -> None:
    assert tile_path("0", index, width) == path


@pytest.mark.parametrize("size", [1, 255, 256, 257, 600])
def test_tiles_give_the_signed_root_and_the_entries_give_the_tiles(tmp_path: Path, size: int) -> None:
    hand = Hand.new(tmp_path / "home")
    hand.write(size)
    hand.sign()
    reader = LogReader(hand.layout, hand.keyring.verifier())
    head, checkpoint = reader.head()
    write_tiles(reader, head, checkpoint, tmp_path / "tiles")
    tiles = tmp_path / "tiles"
    signed = open_head((tiles / "checkpoint").read_text(), hand.keyring.verifier())
    leaves: list[bytes] = []
    entries: list[bytes] = []
    for index in range((size + 255) // 256):
        width = min(256, size - 256 * index)
        leaves += split((tiles / tile_path("0", index, width)).read_bytes())
        bundle = (tiles / tile_path("entries", index, width)).read_bytes()
        while bundle:
            length = int.from_bytes(bundle[:2], "big")
            entries.append(bundle[2 : 2 + length])
            bundle = bundle[2 + length :]
    assert [leaf_hash(entry) for entry in entries] == leaves
    assert root_of(leaves) == signed.root
    assert len(leaves) == signed.size == size
    if size >= 256:
        width = size // 256
        assert split((tiles / tile_path("1", 0, width)).read_bytes())[0] == full_root(leaves[:256])
