"""A rate limiter for signing in: counts attempts of each address or name within a minute. Never refuses a good key."""

import ipaddress
import time
from collections.abc import Callable

MINUTE_S = 60.0
MOST_NAMES = 10_000


class SignInLimiter:
    """Counts attempts of each address (IPv6: of its /64) or name within a minute, and forgets them afterwards."""

    def __init__(self, most_per_min: int, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock_s = most_per_min, clock_s
        self._attempts: dict[str, tuple[float, int]] = {}

    def count(self, address: str) -> int:
        """Count an attempt; how many seconds to stay away, 0 while there are not too many."""
        name, now_s = _network(address), self._clock_s()
        since_s, count = self._attempts.pop(name, (now_s, 0))
        if now_s - since_s >= MINUTE_S:
            since_s, count = now_s, 0
        self._attempts[name] = (since_s, count + 1)
        if len(self._attempts) > MOST_NAMES:
            # The oldest goes: a flood from many addresses costs memory for these only.
            del self._attempts[next(iter(self._attempts))]
        return max(1, round(since_s + MINUTE_S - now_s)) if count >= self._most else 0

    def take_back(self, address: str) -> None:
        """Take one attempt back: it does not count."""
        name = _network(address)
        if name in self._attempts:
            since_s, count = self._attempts[name]
            self._attempts[name] = (since_s, max(0, count - 1))


def _network(address: str) -> str:
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address, 64), strict=False))
    except ValueError:
        return address
