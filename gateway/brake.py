"""Slows down who tries keys: failed logins by address; never refuses a good key, and forgets after a minute."""

import ipaddress
import time
from collections.abc import Callable

MINUTE_S = 60.0
MOST_ADDRESSES = 10_000


class Brake:
    """Counts failures of each address (IPv6: of its /64) within a minute."""

    def __init__(self, most_per_min: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock_s = most_per_min, clock_s
        self._failures: dict[str, tuple[float, int]] = {}

    def failed(self, address: str) -> int:
        """Count a failure; how many seconds to stay away, 0 while there are not too many."""
        name, now_s = _network(address), self._clock_s()
        since_s, count = self._failures.pop(name, (now_s, 0))
        if now_s - since_s >= MINUTE_S:
            since_s, count = now_s, 0
        self._failures[name] = (since_s, count + 1)
        if len(self._failures) > MOST_ADDRESSES:
            # Who failed longest ago goes: a flood from many addresses costs memory for these only.
            del self._failures[next(iter(self._failures))]
        return max(1, round(since_s + MINUTE_S - now_s)) if count >= self._most else 0

    def forgive(self, address: str) -> None:
        """Take one failure back: it was none."""
        name = _network(address)
        if name in self._failures:
            since_s, count = self._failures[name]
            self._failures[name] = (since_s, max(0, count - 1))


def _network(address: str) -> str:
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, 64), strict=False))
    except ValueError:
        return address
