"""What a ledger promises in its boot record, and what it says about its heads: rules, retention, rhythm. Pure.

A log of version 0.1.0 has no promises: its rules are 1. Rules 2 hold from a boot record that says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from gateway.ledger.format.record import Value

RULES = 2
OLD_RULES = 1
SLACK_MS = 5000  # a head may be so late before the ledger must say why
LATE = "no head was signed in time"
CLOCK_BACK = "the clock went back"


@dataclass(frozen=True)
class Promises:
    """How long records are kept (0: for ever), and how often a head is signed while busy and while idle."""

    rules: int
    retention_days: int = 0
    sign_every_ms: int = 0
    sign_idle_ms: int = 0

    def fields(self) -> dict[str, Value]:
        return {
            "retention_days": self.retention_days,
            "rules": self.rules,
            "sign_every_ms": self.sign_every_ms,
            "sign_idle_ms": self.sign_idle_ms,
        }

    def is_silence(self, before_s: int, after_s: int) -> bool:
        """Whether two heads that follow each other are further apart than promised."""
        return (after_s - before_s) * 1000 > max(self.sign_idle_ms, self.sign_every_ms) + SLACK_MS

    def is_late(self, first_ms: int, covered_ms: int) -> bool:
        """Whether the first record after a head waited longer for the next head than promised."""
        return covered_ms - first_ms > self.sign_every_ms + SLACK_MS


NO_PROMISES = Promises(OLD_RULES)


def read_promises(fields: Mapping[str, Any]) -> Promises:
    """The promises of a boot or segment record; those of version 0.1.0 made none."""
    found = fields.get("promises")
    if not isinstance(found, dict):
        return NO_PROMISES
    names = ("rules", "retention_days", "sign_every_ms", "sign_idle_ms")
    numbers = {name: found[name] for name in names if isinstance(found.get(name), int)}
    return Promises(**({"rules": OLD_RULES} | numbers))


class HeadsPin:
    """Counts and digests the stored heads of one segment as they come, so that a record can say which there are."""

    def __init__(self) -> None:
        self.count = 0
        self._digest = sha256()

    def take(self, notes: bytes, count: int = 1) -> None:
        self.count += count
        self._digest.update(notes)

    def fields(self) -> dict[str, Value]:
        return {"count": self.count, "digest": self._digest.hexdigest()}
