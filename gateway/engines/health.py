"""Whether one engine may be asked, and how much of its share: from what its answers and probes were. Pure; time is given.

    unproven ──probe──► serving ──failures──► suspect ──probe fails──► ejected ──probe──► serving, slowly
                           ▲                     └────probe──► serving                        │
                           └──────────────────────────────────────────────────────────────────┘

A suspect is passed over while others are there, and is still asked when it is the last: what broke may have been the
request. Only a probe of our own, or a connection that nobody takes, ejects.
"""

import math

from gateway.telemetry.catalogue import HealthState

FAILURES = 3  # in a row
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
FIRST_WEIGHT = 0.1


class Health:
    """One engine's, as one worker sees it. All times are seconds of one monotonic clock."""

    def __init__(self, *, proven: bool, probe_every_s: float, slow_start_s: float, now_s: float) -> None:
        """``proven``: somebody else vouches for it (its supervisor), so it serves at once."""
        self.standing = HealthState.SERVING if proven else HealthState.UNPROVEN
        self.why = "" if proven else "not asked yet"
        self._every_s, self._slow_s = probe_every_s, slow_start_s
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._next_probe_s = now_s + probe_every_s if proven else now_s
        self._since_s = now_s - slow_start_s
        self.answered_s = -math.inf  # when it last answered anybody anything

    def succeeded(self, now_s: float) -> None:
        """It answered somebody."""
        self.answered_s = now_s
        self._failures = 0
        if self.standing in (HealthState.SERVING, HealthState.SUSPECT):
            self.standing, self.why = HealthState.SERVING, ""
            self._next_probe_s = now_s + self._every_s

    def failed(self, why: str, now_s: float, *, unreachable: bool = False) -> None:
        """It broke off, answered with an error, or said nothing; ``unreachable``: nobody took the connection."""
        self._failures += 1
        if unreachable:
            self._eject(why, now_s)
        elif self._failures >= FAILURES and self.standing is HealthState.SERVING:
            self.standing, self.why = HealthState.SUSPECT, why
            self._next_probe_s = now_s

    def probed(self, fault: str, now_s: float) -> None:
        """A probe ended; ``fault`` is empty if it was answered as it should be."""
        if fault:
            self._failures += 1
            patient = self.standing is HealthState.SERVING and self._failures < FAILURES
            if patient:
                self._next_probe_s = now_s + FIRST_PAUSE_S
            else:
                self._eject(fault, now_s)
            return
        self.answered_s = now_s
        if self.standing is HealthState.EJECTED:
            self.came_back(now_s)
        self._failures, self._pause_s = 0, FIRST_PAUSE_S
        self.standing, self.why = HealthState.SERVING, ""
        self._next_probe_s = now_s + self._every_s

    def came_back(self, now_s: float) -> None:
        """It was away and its caches are cold: it gets little at first."""
        self._since_s = now_s

    def probe_is_due(self, now_s: float) -> bool:
        return now_s >= self._next_probe_s

    def weight(self, now_s: float) -> float:
        """1.0 in full service, less after it came back."""
        if now_s - self._since_s >= self._slow_s:
            return 1.0
        return FIRST_WEIGHT + (1.0 - FIRST_WEIGHT) * (now_s - self._since_s) / self._slow_s

    def _eject(self, why: str, now_s: float) -> None:
        if self.standing is HealthState.EJECTED:
            self._pause_s = min(LONGEST_PAUSE_S, self._pause_s * 2)
        self.standing, self.why = HealthState.EJECTED, why
        self._next_probe_s = now_s + self._pause_s
