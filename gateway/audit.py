"""The audit log: one JSON line an exchange, with digests and lengths; never a word of a prompt, a picture or an answer."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from gateway.errors import GatewayError
from gateway.exchange import Exchange


class AuditLog:
    """Appends lines to one file (mode 0600). Use on one event loop only."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def close(self) -> None:
        os.close(self._descriptor)

    def completed(self, exchange: Exchange) -> None:
        """Record an exchange that has ended, however it ended."""
        request, answer = exchange.request, exchange.answer
        ended_s = exchange.ended_s or time.monotonic()
        self._append({
            "kind": "exchange", "id": exchange.id, "time": _time(exchange.received_at_s),
            "key": exchange.caller.key_id, "tenant": exchange.caller.tenant, "address": exchange.client_address,
            "route": exchange.route, "model": request.model, "stream": request.stream, "engine": exchange.engine,
            "prompt": {"sha256": request.prompt_sha256, "chars": request.prompt_chars},
            "conversation": {"sha256": request.conversation_sha256},
            "images": [
                {"sha256": image.sha256.hex(), "bytes": image.size_bytes, "type": image.type,
                 "width": image.width, "height": image.height}
                for image in request.images
            ],
            "outcome": exchange.outcome, "status": exchange.status,
            "answer": {"sha256": answer.sha256.hexdigest(), "chars": answer.chars, "finish": answer.finish},
            "prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens,
            "first_byte_ms": _ms(exchange.started_s, exchange.first_byte_s), "total_ms": _ms(exchange.started_s, ended_s),
        })  # fmt: skip

    def denied(self, identifier: str, route: str, address: str, key_id: str | None, error: GatewayError) -> None:
        """Record a request that was refused before it became an exchange."""
        self._append({
            "kind": "deny", "id": identifier, "time": _time(time.time()), "key": key_id, "address": address,
            "route": route, "status": error.status, "reason": error.code or error.type, "param": error.param,
        })  # fmt: skip

    def _append(self, record: dict[str, Any]) -> None:
        os.write(self._descriptor, orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def _time(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")


def _ms(start_s: float, end_s: float | None) -> int | None:
    return None if end_s is None else round((end_s - start_s) * 1000)
