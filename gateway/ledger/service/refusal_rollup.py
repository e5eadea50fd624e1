"""Refusals by the thousand become one record a minute for each address. Pure; time is given, never read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

MINUTE_MS = 60_000
SINGLE = 10  # refusals of one address in a minute that each have a record of their own
MOST_ADDRESSES = 10_000
MOST_KEYS = 32  # of callers in one roll-up; whoever comes later is counted among the others
OTHERS = "others"


@dataclass(slots=True)
class RefusalWindow:
    """One address's refusals within one minute (wall clock, Unix ms)."""

    identity: str
    from_ms: int
    seen: int = 0
    to_ms: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)

    @property
    def rolled(self) -> int:
        return sum(self.reasons.values())


class RefusalWindows:
    """Decides which refusals are written one by one, and keeps count of the rest."""

    def __init__(self) -> None:
        self._by_address: dict[str, RefusalWindow] = {}

    @property
    def rolled(self) -> int:
        """Refusals counted and not yet written."""
        return sum(flood.rolled for flood in self._by_address.values())

    def count(self, address: str, reason: str, identity: str, now_ms: int, key: str | None = None) -> str | None:
        """None: write this refusal as a record of its own. Otherwise the id of the roll-up that has counted it.

        ``key`` is who was refused, where that is known: an attack on one account stays one that can be seen.
        """
        if address not in self._by_address and len(self._by_address) >= MOST_ADDRESSES:
            address = OTHERS
        flood = self._by_address.get(address)
        if flood is None:
            flood = self._by_address[address] = RefusalWindow(identity, now_ms)
        flood.seen += 1
        if flood.seen <= SINGLE:
            return None
        if not flood.rolled:
            flood.identity, flood.to_ms = identity, now_ms
        flood.reasons[reason] += 1
        if key is not None:
            flood.keys[key if key in flood.keys or len(flood.keys) < MOST_KEYS else OTHERS] += 1
        flood.to_ms = now_ms
        return flood.identity

    def due(self, now_ms: int, *, everything: bool = False) -> list[tuple[str, RefusalWindow]]:
        """Roll-ups whose minute is over (or whose clock went back); each is given once."""
        over = [
            (address, flood)
            for address, flood in self._by_address.items()
            if everything or not flood.from_ms <= now_ms < flood.from_ms + MINUTE_MS
        ]
        for address, _ in over:
            del self._by_address[address]
        return [(address, flood) for address, flood in over if flood.rolled]
