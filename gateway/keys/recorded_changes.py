"""Changes to keys, each recorded in the audit log before it holds; with the ledger away nothing changes."""

from collections.abc import Iterable
from typing import Literal

from gateway.keys.allowance import BOUNDS, UNLIMITED, Allowance
from gateway.keys.caller import Key, Scope
from gateway.keys.store import KeyStore, Subject
from gateway.ledger.client.async_client import LedgerClient
from gateway.ledger.client.messages import Fact, KeyEvent


class RecordedChanges:
    """What may be done to keys. ``by`` says who does it, for the record. All methods raise LedgerUnavailable or StoreError."""

    def __init__(self, store: KeyStore, ledger: LedgerClient, by: str) -> None:
        self.store, self._ledger, self._by = store, ledger, by

    async def create(
        self, name: str, *, tenant: str, scopes: Iterable[Scope], expires_at_s: float | None = None
    ) -> tuple[str, Key]:
        """Make a key: the key itself, which nobody can read again, and what is kept of it."""
        with self.store.transaction():
            text, key = self.store.create(name, tenant=tenant, scopes=scopes, expires_at_s=expires_at_s)
            await self._record("created", key)
        return text, key

    async def revoke(self, key_id: str) -> Key:
        """End a key now."""
        with self.store.transaction():
            key = self.store.revoke(key_id)
            await self._record("revoked", key)
        return key

    async def rotate(self, key_id: str, *, grace_s: float) -> tuple[str, Key]:
        """Make a key like another, which ends after ``grace_s``."""
        with self.store.transaction():
            text, key = self.store.rotate(key_id, grace_s=grace_s)
            await self._record("created", key, replaces=key_id)
            await self._record("changed", self.store.get(key_id))
        return text, key

    async def limit(self, scope: Subject, subject: str, changed: dict[str, int | None]) -> Allowance:
        """Change the named bounds of a key or a tenant: a number, UNLIMITED, or None for the default. The others stay."""
        with self.store.transaction():
            before = self.store.allowance(scope, subject)
            after = Allowance(**{name: changed.get(name, getattr(before, name)) for name in BOUNDS})
            self.store.allow(scope, subject, after)
            facts: dict[str, Fact] = {"scope": scope}
            for name in changed:
                value = changed[name]
                facts[name] = {None: "default", UNLIMITED: "none"}.get(value, value or 0)
            who = subject if scope == "key" else f"tenant {subject}"
            await self._ledger.key_event(KeyEvent("changed", who, self._by, facts))
        return after

    async def _record(self, event: Literal["created", "changed", "revoked"], key: Key, **more: Fact) -> None:
        facts: dict[str, Fact] = {
            "name": key.name,
            "tenant": key.tenant,
            "scopes": " ".join(sorted(key.scopes)),
            **more,
        }
        for name, time_s in (("expires_at_s", key.expires_at_s), ("revoked_at_s", key.revoked_at_s)):
            if time_s is not None:
                facts[name] = int(time_s)
        await self._ledger.key_event(KeyEvent(event, key.key_id, self._by, facts))
