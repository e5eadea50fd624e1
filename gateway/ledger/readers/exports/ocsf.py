"""Records as events of OCSF 1.8.0: API Activity for what callers do, Application Lifecycle for the log's own life.

Source of the class, profile and attribute names: schema.ocsf.io, version 1.8.0, profile ai_operation.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

VERSION = "1.8.0"
_API_ACTIVITY = 6003
_LIFECYCLE = 6002
_CREATE, _OTHER = 1, 99
_START, _STOP = 3, 4
_INFORMATIONAL, _LOW, _MEDIUM, _HIGH = 1, 2, 3, 4
_SUCCESS, _FAILURE = 1, 2
_SHA256 = 3
_EXCHANGE_KINDS = frozenset({"admit", "complete", "deny"})
_SEVERE = {"integrity": _HIGH, "gap": _MEDIUM, "recovery": _LOW, "prune": _LOW}


def to_ocsf(index: int, record: dict[str, Any], origin: str, admit: dict[str, Any] | None = None) -> dict[str, Any]:
    """One event. `admit` is the admit record of a complete record, for who and from where."""
    if record["kind"] in _EXCHANGE_KINDS:
        return _api_activity(index, record, origin, admit or record)
    return _lifecycle(index, record, origin)


def _common(index: int, record: dict[str, Any], origin: str, class_uid: int, activity: int) -> dict[str, Any]:
    kind = record["kind"]
    return {
        "activity_id": activity,
        "category_uid": class_uid // 1000,
        "class_uid": class_uid,
        "type_uid": class_uid * 100 + activity,
        "time": record["time_ms"],
        "severity_id": _SEVERE.get(kind, _INFORMATIONAL),
        "metadata": {
            "version": VERSION,
            "uid": f"{origin}#{index}",
            "correlation_uid": record["id"],
            "sequence": index,
            "log_name": origin,
            "log_version": str(record["v"]),
            "event_code": kind,
            "product": {"name": "Vitrine", "vendor_name": "Vitrine", "feature": {"name": "ledger"}},
        },
    }


def _api_activity(index: int, record: dict[str, Any], origin: str, who: dict[str, Any]) -> dict[str, Any]:
    kind = record["kind"]
    event = _common(index, record, origin, _API_ACTIVITY, _CREATE if kind != "deny" else _OTHER)
    event["metadata"]["profiles"] = ["ai_operation"]
    if who.get("tenant"):
        event["metadata"]["tenant_uid"] = who["tenant"]
    event["actor"] = {"user": {"uid": who["key"]}} if who.get("key") else {"app_name": "unknown caller"}
    event["src_endpoint"] = _endpoint(who.get("ip") or "unknown")
    event["api"] = {"operation": f"{kind} {who.get('route', '')}".strip()}
    if who.get("request"):
        event["api"]["request"] = {"uid": who["request"]}
    event["ai_model"] = {"name": who.get("model") or "unknown", "ai_provider": "Vitrine"}
    event["message_context"] = _message_context(record)
    status = record.get("status")
    if status is not None:
        event["http_response"] = {"code": status}
        event["status_code"] = str(status)
    if kind == "deny":
        event |= {"status_id": _FAILURE, "status_detail": record["reason"], "count": record.get("count", 1)}
    elif kind == "complete":
        event["status_id"] = _SUCCESS if record["outcome"] == "completed" else _FAILURE
        event["status_detail"] = record["outcome"]
        event["duration"] = record["total_ms"]
    resources = _resources(record)
    if resources:
        event["resources"] = resources
    event["unmapped"] = {
        name: value for name, value in record.items() if name in _UNMAPPED and value not in (None, {}, [])
    }
    return event


_UNMAPPED = frozenset(
    {
        "boot",
        "epoch",
        "params",
        "peer",
        "stream",
        "finish",
        "engine",
        "ttft_ms",
        "reasons",
        "keys",
        "late_ms",
        "fields",
        "tokens",
    }
)


def _endpoint(address: str) -> dict[str, Any]:
    """An address, or what stands for many (a roll-up of a flood) or none."""
    try:
        ip_address(address)
    except ValueError:
        return {"name": address}
    return {"ip": address}


def _message_context(record: dict[str, Any]) -> dict[str, Any]:
    context: dict[str, Any] = {"application": {"name": "Vitrine"}, "uid": record["id"]}
    prompt, answer = record.get("prompt_tokens"), record.get("answer_tokens")
    if prompt is not None:
        context["prompt_tokens"] = prompt
    if answer is not None:
        context["completion_tokens"] = answer
    if prompt is not None and answer is not None:
        context["total_tokens"] = prompt + answer
    return context


def _resources(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Contents by their digests: what stood in the request or the answer, without being in the log."""
    found = []
    for name in ("prompt", "conversation", "answer"):
        text = record.get(name)
        if text is not None:
            found.append({"type": name, "uid": text["digest"], "data": {"chars": text["chars"]}})
    for image in record.get("images", []):
        size = {name: image[name] for name in ("bytes", "type", "width", "height")}
        found.append({"type": "image", "uid": image["digest"], "data": size})
    return found


def _lifecycle(index: int, record: dict[str, Any], origin: str) -> dict[str, Any]:
    activity = {"boot": _START, "shutdown": _STOP}.get(record["kind"], _OTHER)
    event = _common(index, record, origin, _LIFECYCLE, activity)
    event["app"] = {"name": record.get("room", "ledger"), "vendor_name": "Vitrine"}
    event["message"] = record["kind"]
    event["unmapped"] = {
        name: value
        for name, value in record.items()
        if name not in {"id", "kind", "time_ms", "v"} and value is not None
    }
    return event
