"""The keys' SQLite file: digests, callers, lives; every look-up asks the file, so a revoked key stops at once everywhere.

One process writes now and then, the workers read for every request: WAL lets them. A caller that was found is remembered while
SQLite's ``data_version`` stays, which says whether anybody has written; its times are looked at each time.
"""

import hmac
import math
import os
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from gateway.keys import token
from gateway.keys.allowance import BOUNDS, NOTHING_SAID, Allowance
from gateway.keys.caller import Caller, Key, Scope

SCHEMA = 3
_BUSY_TIMEOUT_S = 5.0
Subject = Literal["key", "tenant"]
_TABLES = """
CREATE TABLE tenants (name TEXT PRIMARY KEY, secret BLOB NOT NULL) STRICT;
CREATE TABLE keys (
  key_id TEXT PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT NOT NULL,
  tenant TEXT NOT NULL REFERENCES tenants (name), scopes TEXT NOT NULL,
  created_at_s REAL NOT NULL, expires_at_s REAL, revoked_at_s REAL
) STRICT;
"""
# Schema 2: a row for each key (its id) and tenant (its name) whose allowance was ever set; see Allowance for NULL and -1.
_LIMITS = """
CREATE TABLE limits (
  scope TEXT NOT NULL CHECK (scope IN ('key', 'tenant')), subject TEXT NOT NULL,
  requests_per_min INTEGER, tokens_per_min INTEGER, tokens_per_day INTEGER, concurrent INTEGER, images_per_min INTEGER,
  PRIMARY KEY (scope, subject)
) STRICT, WITHOUT ROWID;
"""
# Schema 3: the key under which a key's use is counted; NULL for itself. Keys that replace each other are counted as one.
_LIMITS_OF = "ALTER TABLE keys ADD COLUMN limits_of TEXT"
_OF_KEY, _OF_TENANT = (", ".join(f"{table}.{bound}" for bound in BOUNDS) for table in ("k", "t"))
_LOOK_UP = f"""
SELECT digest, revoked_at_s, expires_at_s, key_id, keys.name, keys.tenant, scopes, secret, coalesce(limits_of, key_id),
  {_OF_KEY}, {_OF_TENANT}
FROM keys JOIN tenants ON tenants.name = keys.tenant
LEFT JOIN limits AS k ON k.scope = 'key' AND k.subject = key_id
LEFT JOIN limits AS t ON t.scope = 'tenant' AND t.subject = keys.tenant
WHERE digest = ?
"""  # noqa: S608  the names are our own
_MOST_REMEMBERED = 10_000


class StoreError(Exception):
    """The keys' file can't be used; the text says why and the way out."""


class KeyStore:
    """The keys of one state folder. Not to be shared between threads."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it (mode 0600, its folder 0700) where it is missing.

        Raises StoreError if it is not ours, of a newer version, or unreadable.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self._create(path)
            elif 1 <= version < SCHEMA:
                self._migrate()
            elif version != SCHEMA:
                raise StoreError(f"{path} has schema {version}, this Vitrine knows {SCHEMA}; run the newer Vitrine")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._remembered: dict[bytes, tuple[float, Caller]] = {}
            self._version = (0, 0)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path} can't be used as the keys' file ({error}); restore it or move it away") from None

    def _create(self, path: Path) -> None:
        if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StoreError(f"{path} is another program's database; move it away")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(
            f"BEGIN IMMEDIATE; {_TABLES} {_LIMITS} {_LIMITS_OF}; PRAGMA user_version = {SCHEMA}; COMMIT;"
        )

    def _migrate(self) -> None:
        with self.transaction():
            # Read again under the lock: another process may have been first.
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            for older, step in ((1, _LIMITS), (2, _LIMITS_OF)):
                if version <= older:
                    self._db.execute(step)
            self._db.execute(f"PRAGMA user_version = {SCHEMA}")

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Changes within hold all together, or not at all if the block raises. Everybody else reads the old state until then."""
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield

    def create(
        self, name: str, *, tenant: str, scopes: Iterable[Scope], expires_at_s: float | None = None
    ) -> tuple[str, Key]:
        """Make a key. Returns the key itself, which nobody can read again, and what is kept of it."""
        text = token.make()
        key = Key(
            key_id="key_" + secrets.token_hex(8),
            name=name,
            tenant=tenant,
            scopes=frozenset(scopes),
            created_at_s=time.time(),
            expires_at_s=expires_at_s,
            revoked_at_s=None,
        )
        self._insert(text, key)
        return text, key

    def rotate(self, key_id: str, *, grace_s: float) -> tuple[str, Key]:
        """Make a key like ``key_id`` and let the old one die after ``grace_s``; both are counted as one. Raises StoreError if it
        is not active."""
        old, now_s = self.get(key_id), time.time()
        if old.state(now_s) != "active":
            raise StoreError(f"key {key_id} is {old.state(now_s)}; create a new one instead")
        text = token.make()
        new = Key("key_" + secrets.token_hex(8), old.name, old.tenant, old.scopes, now_s, old.expires_at_s, None)
        self._insert(text, new)
        counted = "SELECT coalesce(limits_of, key_id) FROM keys WHERE key_id = ?"
        self._db.execute(f"UPDATE keys SET limits_of = ({counted}) WHERE key_id = ?", (key_id, new.key_id))  # noqa: S608  our own
        self.allow("key", new.key_id, self.allowance("key", key_id))
        self._db.execute("UPDATE keys SET revoked_at_s = ? WHERE key_id = ?", (now_s + grace_s, key_id))
        return text, new

    def revoke(self, key_id: str) -> Key:
        """Let a key die now. A key that is revoked already stays as it is. Raises StoreError if there is none."""
        key, now_s = self.get(key_id), time.time()
        if key.revoked_at_s is None or key.revoked_at_s > now_s:
            self._db.execute("UPDATE keys SET revoked_at_s = ? WHERE key_id = ?", (now_s, key_id))
        return self.get(key_id)

    def get(self, key_id: str) -> Key:
        """One key. Raises StoreError if there is none."""
        row = self._db.execute(f"SELECT {_KEY_COLUMNS} FROM keys WHERE key_id = ?", (key_id,)).fetchone()  # noqa: S608  our own names
        if row is None:
            raise StoreError(f"there is no key {key_id}; `vitrine keys list` shows them")
        return _key(row)

    def list(self) -> list[Key]:
        """All keys, oldest first."""
        rows = self._db.execute(f"SELECT {_KEY_COLUMNS} FROM keys ORDER BY created_at_s, key_id")  # noqa: S608  our own names
        return [_key(row) for row in rows]

    def caller(self, text: str) -> Caller | None:
        """The caller who presents this key, or None for an unknown, revoked, expired or misspelled one."""
        digest = token.digest(text)
        # Our own writes leave the version as it is.
        version = (self._db.execute("PRAGMA data_version").fetchone()[0], self._db.total_changes)
        if version != self._version or len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered, self._version = {}, version
        found = self._remembered.get(digest)
        if found is None and token.well_formed(text):
            found = self._look_up(digest)
        if found is None or time.time() >= found[0]:
            return None
        return found[1]

    def _look_up(self, digest: bytes) -> tuple[float, Caller] | None:
        """Until when the key with this digest is good, and its caller."""
        row = self._db.execute(_LOOK_UP, (digest,)).fetchone()
        if row is None or not hmac.compare_digest(row[0], digest):
            return None
        ends_s = min(math.inf if time_s is None else time_s for time_s in row[1:3])
        of_key, of_tenant = row[9 : 9 + len(BOUNDS)], row[9 + len(BOUNDS) :]
        caller = Caller(
            row[3], row[4], row[5], _scopes(row[6]), row[7], _allowance(of_key), _allowance(of_tenant), row[8]
        )
        self._remembered[digest] = ends_s, caller
        return ends_s, caller

    def tenant(self, name: str) -> tuple[bytes, Allowance]:
        """A tenant's secret (32 bytes) and what was set for it; a new tenant gets its secret now."""
        known = self._db.execute("SELECT secret FROM tenants WHERE name = ?", (name,)).fetchone()
        if known is None:
            # Another worker may be doing the same: one of the two secrets stays, and both use that.
            self._db.execute("INSERT OR IGNORE INTO tenants VALUES (?, ?)", (name, secrets.token_bytes(32)))
            known = self._db.execute("SELECT secret FROM tenants WHERE name = ?", (name,)).fetchone()
        return known[0], self.allowance("tenant", name)

    def allowance(self, scope: Subject, subject: str) -> Allowance:
        """What was set for a key (its id) or a tenant (its name). Raises StoreError if there is no such key or tenant."""
        table, column = ("keys", "key_id") if scope == "key" else ("tenants", "name")
        known = self._db.execute(f"SELECT 1 FROM {table} WHERE {column} = ?", (subject,)).fetchone()  # noqa: S608  our own names
        if known is None:
            raise StoreError(f"there is no {scope} {subject}; `vitrine keys list` shows them")
        query = f"SELECT {', '.join(BOUNDS)} FROM limits WHERE scope = ? AND subject = ?"  # noqa: S608  our own names
        row = self._db.execute(query, (scope, subject)).fetchone()
        return NOTHING_SAID if row is None else _allowance(row)

    def allow(self, scope: Subject, subject: str, allowance: Allowance) -> None:
        """Set what a key or a tenant may use, from its next request on. Raises StoreError if there is no such key or tenant."""
        self.allowance(scope, subject)
        values = [getattr(allowance, name) for name in BOUNDS]
        self._db.execute("INSERT OR REPLACE INTO limits VALUES (?, ?, ?, ?, ?, ?, ?)", (scope, subject, *values))

    def _insert(self, text: str, key: Key) -> None:
        self._db.execute("INSERT OR IGNORE INTO tenants VALUES (?, ?)", (key.tenant, secrets.token_bytes(32)))
        self._db.execute(
            "INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)",
            (
                key.key_id,
                token.digest(text),
                key.name,
                key.tenant,
                " ".join(sorted(key.scopes)),
                key.created_at_s,
                key.expires_at_s,
                key.revoked_at_s,
            ),
        )


_ALL_NULL = (None,) * len(BOUNDS)
_KEY_COLUMNS = "key_id, name, tenant, scopes, created_at_s, expires_at_s, revoked_at_s"


def _key(row: tuple[str, str, str, str, float, float | None, float | None]) -> Key:
    return Key(row[0], row[1], row[2], _scopes(row[3]), *row[4:])


def _allowance(row: tuple[int | None, ...]) -> Allowance:
    return NOTHING_SAID if row == _ALL_NULL else Allowance(*row)


def _scopes(text: str) -> frozenset[Scope]:
    return frozenset(Scope(word) for word in text.split())
