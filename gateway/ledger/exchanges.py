"""What the writer remembers of exchanges: which are open, and where the recent ones are in the log. Never on disk."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from gateway.ledger.limits import Reservation

MOST_REMEMBERED = 200_000


@dataclass(slots=True)
class Exchange:
    """One exchange; `ended` is the index of its complete record. `sender` is the connection that runs it."""

    id: str
    key: str
    epoch: str
    admitted: int
    ended: int | None = None
    ended_leaf: bytes = b""
    held: Reservation | None = None
    sender: int | None = None


class Glimpse(msgspec.Struct):
    """What a start reads back from each record."""

    id: str
    kind: str
    time_ms: int
    epoch: str = ""
    key: str = ""
    tenant: str = ""
    outcome: str = ""
    tokens: int = 0
    images: list[msgspec.Raw] = []
    prompt_tokens: int | None = None
    answer_tokens: int | None = None


class Exchanges:
    """Open exchanges, all of them; ended ones, the most recent."""

    def __init__(self) -> None:
        self._all: dict[str, Exchange] = {}
        self.open = 0

    def admit(self, exchange: Exchange) -> None:
        self._all[exchange.id] = exchange
        self.open += 1
        while len(self._all) > MOST_REMEMBERED:
            oldest = self._all.pop(next(iter(self._all)))
            if oldest.ended is None:
                self._all[oldest.id] = oldest
                break

    def get(self, identity: str) -> Exchange | None:
        return self._all.get(identity)

    def end(self, exchange: Exchange, index: int, leaf: bytes) -> None:
        if exchange.ended is None:
            self.open -= 1
        exchange.ended, exchange.ended_leaf, exchange.held, exchange.sender = index, leaf, None, None

    def of_sender(self, sender: int) -> list[Exchange]:
        return [exchange for exchange in self._all.values() if exchange.sender == sender]

    def open_ids(self, most: int) -> list[str]:
        """Ids of exchanges without an end, oldest first."""
        found = []
        for exchange in self._all.values():
            if exchange.ended is None:
                found.append(exchange.id)
                if len(found) == most:
                    break
        return found
