"""Who is asking: plain data about a key's owner and the key's life; never the key."""

import enum
from dataclasses import dataclass

from gateway.keys.allowance import NOTHING_SAID, Allowance


class Scope(enum.StrEnum):
    """What a key may be used for."""

    INFERENCE = "inference"
    METRICS = "metrics"
    AUDIT = "audit"


@dataclass(frozen=True)
class Caller:
    """The owner of a key that was presented and is good. ``tenant_secret`` (32 bytes) separates tenants in the engine.

    The allowances are what was set for this key and this tenant; the defaults are not in them. ``limits_of`` is the key under
    which its use is counted: its own, or the first of those that replaced each other; empty for its own.
    """

    key_id: str
    name: str
    tenant: str
    scopes: frozenset[Scope]
    tenant_secret: bytes
    key_allowance: Allowance = NOTHING_SAID
    tenant_allowance: Allowance = NOTHING_SAID
    limits_of: str = ""

    @property
    def counted_as(self) -> str:
        return self.limits_of or self.key_id


@dataclass(frozen=True)
class Key:
    """A key as its administrator sees it. Times are Unix seconds."""

    key_id: str
    name: str
    tenant: str
    scopes: frozenset[Scope]
    created_at_s: float
    expires_at_s: float | None
    revoked_at_s: float | None

    def state(self, now_s: float) -> str:
        """``active``, ``revoked`` or ``expired``. A revocation in the future is the grace period of a rotation."""
        if self.revoked_at_s is not None and self.revoked_at_s <= now_s:
            return "revoked"
        if self.expires_at_s is not None and self.expires_at_s <= now_s:
            return "expired"
        return "active"
