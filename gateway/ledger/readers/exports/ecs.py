"""Records as documents of the Elastic Common Schema 8.17, one a line. What has no ECS field is under `vitrine.*`."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

VERSION = "8.17.0"
_TYPES = {"admit": "start", "complete": "end", "deny": "denied", "boot": "start", "shutdown": "end", "key": "change"}
_CATEGORIES = {"admit": "api", "complete": "api", "deny": "api", "key": "iam", "integrity": "file"}


def to_ecs(index: int, record: dict[str, Any], origin: str, admit: dict[str, Any] | None = None) -> dict[str, Any]:
    """One document; `admit` is the admit record of a complete record."""
    kind, who = record["kind"], admit or record
    at = datetime.fromtimestamp(record["time_ms"] / 1000, UTC)
    document: dict[str, Any] = {
        "@timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "ecs": {"version": VERSION},
        "event": {
            "kind": "event",
            "category": [_CATEGORIES.get(kind, "configuration")],
            "type": [_TYPES.get(kind, "info")],
            "action": kind,
            "dataset": "vitrine.ledger",
            "id": f"{origin}#{index}",
            "sequence": index,
            "outcome": _outcome(record),
        },
        "service": {"type": "vitrine", "name": origin},
        "vitrine": {"ledger": record},
    }
    if record.get("total_ms") is not None:
        document["event"]["duration"] = record["total_ms"] * 1_000_000
    if who.get("ip"):
        document["source"] = {"address": who["ip"]}
        with suppress(ValueError):
            document["source"]["ip"] = str(ip_address(who["ip"]))
    if who.get("key"):
        document["user"] = {"id": who["key"]}
    if who.get("tenant"):
        document["organization"] = {"id": who["tenant"]}
    if who.get("route"):
        document["url"] = {"path": who["route"]}
    if record.get("status") is not None:
        document["http"] = {"response": {"status_code": record["status"]}}
    if who.get("request"):
        document.setdefault("http", {})["request"] = {"id": who["request"]}
    return document


def _outcome(record: dict[str, Any]) -> str:
    if record["kind"] == "complete":
        return "success" if record["outcome"] == "completed" else "failure"
    return {"deny": "failure", "admit": "unknown"}.get(record["kind"], "success")
