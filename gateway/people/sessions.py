"""The sessions' SQLite file: digests of tokens and whose they are; every look-up asks the file, so a sign-out holds everywhere.

A token is 256 random bits that only the browser has. What a form must send along with it is made of the token itself, so
that neither can be read out of the file.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.keys.allowance import Allowance
from gateway.keys.caller import Scope
from gateway.people.person import Person

SCHEMA = 1
_BUSY_TIMEOUT_S = 5.0
_TOUCH_EVERY_S = 60.0
_TABLES = """
CREATE TABLE sessions (
  digest BLOB PRIMARY KEY, session_id TEXT NOT NULL, person_id TEXT NOT NULL, name TEXT NOT NULL, tenant TEXT NOT NULL,
  scopes TEXT NOT NULL, allowance TEXT NOT NULL, via TEXT NOT NULL,
  rules TEXT NOT NULL, began_at_s REAL NOT NULL, seen_at_s REAL NOT NULL, ends_at_s REAL NOT NULL
) STRICT, WITHOUT ROWID;
"""
_INDEXES = (
    "CREATE INDEX sessions_by_person ON sessions (person_id, seen_at_s)",
    "CREATE INDEX sessions_by_end ON sessions (ends_at_s)",
    "CREATE INDEX sessions_by_use ON sessions (seen_at_s)",
)
MOST_OF_A_PERSON = 20


class SessionsError(Exception):
    """The sessions' file can't be used; the text says why and the way out."""


@dataclass(frozen=True)
class Session:
    """One browser that a person signed in with. ``via`` says how; times are Unix seconds."""

    session_id: str
    person: Person
    via: str
    ends_at_s: float


class Sessions:
    """All sessions of one state folder. Not to be shared between threads."""

    def __init__(
        self, path: Path, idle_s: float, longest_s: float, rules: str = "", clock_s: Callable[[], float] = time.time
    ) -> None:
        """Open the file, making it (mode 0600, its folder 0700) where it is missing. Raises SessionsError.

        ``rules`` stands for what decides about people: sessions that began under others are over.
        """
        self._idle_s, self._longest_s, self._rules, self._clock_s = idle_s, longest_s, rules, clock_s
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")  # a session that a power cut takes is signed in again
            self._found(path)
        except (OSError, sqlite3.Error) as error:
            raise SessionsError(
                f"{path} can't be used as the sessions' file ({error}); move it away, everybody signs in again"
            ) from None

    def _found(self, path: Path) -> None:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in (_TABLES, *_INDEXES):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA}")
            elif version != SCHEMA:
                raise SessionsError(f"{path} has schema {version}, this Vitrine knows {SCHEMA}; run the newer Vitrine")

    def close(self) -> None:
        self._db.close()

    def draft(self, person: Person, via: str) -> Session:
        """A session that could begin now; it does with ``begin``."""
        return Session("ses_" + secrets.token_hex(8), person, via, self._clock_s() + self._longest_s)

    def begin(self, session: Session) -> str:
        """Let it begin; the token that only the browser keeps. Those that are over are forgotten, and a person's least used."""
        token, now_s, person = secrets.token_urlsafe(32), self._clock_s(), session.person
        self._db.execute("DELETE FROM sessions WHERE ends_at_s <= ? OR seen_at_s <= ?", (now_s, now_s - self._idle_s))
        self._db.execute(
            "DELETE FROM sessions WHERE digest IN"
            " (SELECT digest FROM sessions WHERE person_id = ? ORDER BY seen_at_s DESC LIMIT -1 OFFSET ?)",
            (person.person_id, MOST_OF_A_PERSON - 1),
        )
        self._db.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                _digest(token),
                session.session_id,
                *_columns(person),
                session.via,
                self._rules,
                now_s,
                now_s,
                session.ends_at_s,
            ),
        )
        return token

    def find(self, token: str) -> Session | None:
        """The session with this token, which counts as used now; None if there is none, or it is over."""
        digest, now_s = _digest(token), self._clock_s()
        row = self._db.execute("SELECT * FROM sessions WHERE digest = ?", (digest,)).fetchone()
        if row is None or not hmac.compare_digest(row[0], digest):
            return None
        rules, began_at_s, seen_at_s, ends_at_s = row[8:]
        ends_at_s = min(ends_at_s, began_at_s + self._longest_s)  # the setting may be lower now
        if rules != self._rules or now_s >= ends_at_s or now_s - seen_at_s >= self._idle_s:
            return None
        if now_s - seen_at_s >= min(_TOUCH_EVERY_S, self._idle_s / 10):
            self._db.execute("UPDATE sessions SET seen_at_s = ? WHERE digest = ?", (now_s, digest))
        return Session(row[1], _person(*row[2:7]), row[7], ends_at_s)

    def people(self, via: str) -> list[Person]:
        """All who are signed in so, each as they are known; somebody whose rights were others before stands there twice."""
        rows = self._db.execute(
            "SELECT DISTINCT person_id, name, tenant, scopes, allowance FROM sessions WHERE via = ? AND seen_at_s > ?",
            (via, self._clock_s() - self._idle_s),
        )
        return [_person(*row) for row in rows.fetchall()]

    def end_all_of(self, person: Person, via: str) -> int:
        """Forget all sessions of somebody who is not any more what they were, and only these; how many."""
        cursor = self._db.execute(
            "DELETE FROM sessions WHERE person_id = ? AND name = ? AND tenant = ? AND scopes = ? AND allowance = ? AND via = ?",
            (*_columns(person), via),
        )
        return cursor.rowcount

    def end(self, token: str) -> None:
        """Forget it; from now on it opens nothing, in any worker."""
        self._db.execute("DELETE FROM sessions WHERE digest = ?", (_digest(token),))


def _columns(person: Person) -> tuple[str, str, str, str, str]:
    scopes, allowance = " ".join(sorted(person.scopes)), json.dumps(asdict(person.allowance))
    return person.person_id, person.name, person.tenant, scopes, allowance


def _person(person_id: str, name: str, tenant: str, scopes: str, allowance: str) -> Person:
    known = frozenset(Scope(word) for word in scopes.split())
    return Person(person_id, name, tenant, known, Allowance(**json.loads(allowance)))


def csrf_of(token: str) -> str:
    """What a page sends along to show that it could read our answers: not the token, and not to be had without it."""
    return base64.urlsafe_b64encode(hmac.digest(token.encode(), b"csrf", hashlib.sha256)).decode().rstrip("=")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
