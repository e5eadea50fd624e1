"""How many keys there are in each state: read from the file by whoever watches it, in any thread; never a key's name."""

import contextlib
import sqlite3
import time
from pathlib import Path

STATES = ("active", "revoked", "expired")
_QUERY = """
SELECT CASE WHEN revoked_at_s <= ?1 THEN 'revoked' WHEN expires_at_s <= ?1 THEN 'expired' ELSE 'active' END AS state, count(*)
FROM keys GROUP BY state
"""


def by_state(path: Path, within_s: float) -> dict[str, int]:
    """Keys by state now, all states. Raises sqlite3.Error if the file can't be read in time."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=within_s)) as db:
        return dict.fromkeys(STATES, 0) | dict(db.execute(_QUERY, (time.time(),)).fetchall())
