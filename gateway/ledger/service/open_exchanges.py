"""What the writer remembers of exchanges: which are open, and where the recent ones are in the log. Never on disk."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from gateway.ledger.service.rate_limits import Reservation

MOST_REMEMBERED = 200_000


@dataclass(slots=True)
class OpenExchange:
    """One exchange; `ended` is the index of its complete record. `sender` is the connection that runs it."""

    id: str
    key: str
    epoch: str
    admitted: int
    ended: int | None = None
    ended_leaf: bytes = b""
    held: Reservation | None = None
    sender: int | None = None
    told: bool = False  # a recovery named it as open


class OpenExchanges:
    """Open exchanges, all of them; ended ones, the most recent."""

    def __init__(self) -> None:
        # Ordered, since a plain dict finds its oldest entry in time that grows with how many have gone before.
        self._all: OrderedDict[str, OpenExchange] = OrderedDict()
        self.open = 0

    def admit(self, exchange: OpenExchange) -> None:
        self._all[exchange.id] = exchange
        self.open += 1
        while len(self._all) > MOST_REMEMBERED:
            oldest, exchange = self._all.popitem(last=False)
            if exchange.ended is None:
                self._all[oldest] = exchange
                break

    def get(self, identity: str) -> OpenExchange | None:
        return self._all.get(identity)

    def end(self, exchange: OpenExchange, index: int, leaf: bytes) -> None:
        if exchange.ended is None:
            self.open -= 1
        exchange.ended, exchange.ended_leaf, exchange.held, exchange.sender = index, leaf, None, None

    def of_sender(self, sender: int) -> list[OpenExchange]:
        return [exchange for exchange in self._all.values() if exchange.sender == sender]

    def held(self) -> list[Reservation]:
        """What the open ones have reserved."""
        return [exchange.held for exchange in self._all.values() if exchange.held is not None]

    def tell(self, identity: str) -> None:
        """A recovery in the log names this exchange as open."""
        exchange = self._all.get(identity)
        if exchange is not None:
            exchange.told = True

    def open_ids(self, most: int) -> list[str]:
        """Ids of exchanges without an end that no recovery has named yet, oldest first."""
        found = []
        for exchange in self._all.values():
            if exchange.ended is None and not exchange.told:
                found.append(exchange.id)
                if len(found) == most:
                    break
        return found
