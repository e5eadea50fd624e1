"""When heads are signed, kept as promised: a head that comes late, or from a clock that went back, has a record that says so.

So a verifier can tell a ledger that was held up from one whose heads were removed: what no record excuses, a hand has done.
"""

from __future__ import annotations

from gateway.ledger.format.promises import CLOCK_BACK, LATE, Promises
from gateway.ledger.format.record import decode_header
from gateway.ledger.service.record_writer import LedgerClock, RecordWriter


class Rhythm:
    """Owned by the writer's one thread. The first head of a life needs no excuse: a boot record stands before it."""

    def __init__(self, writer: RecordWriter, clock: LedgerClock, promises: Promises) -> None:
        self.promises = promises
        self._writer = writer
        self._clock = clock
        self._signed = False

    def next_time_s(self) -> int:
        """The time of the head that is signed next; what there is to excuse is appended. Asked once for each head, before the
        last record that it shall cover."""
        log, time_s = self._writer.log, self._clock.wall_ms() // 1000
        if not self._signed:
            self._signed = True
            return time_s
        before_s = log.signed.time_s or 0
        what = CLOCK_BACK if time_s < before_s else LATE if self._is_late(before_s, time_s) else None
        if what is not None:
            self._writer.own("rhythm", {"before_s": before_s, "now_s": time_s, "what": what})
        return time_s

    def _is_late(self, before_s: int, time_s: int) -> bool:
        if self.promises.is_silence(before_s, time_s):
            return True
        first = self._writer.log.first_unsigned
        return first is not None and self.promises.is_late(decode_header(first).time_ms, time_s * 1000)
