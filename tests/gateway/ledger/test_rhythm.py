"""Heads come as often as boot promised, or a record says why not: what no record excuses was done by a hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ledger.client.statistics import LedgerCounters
from gateway.ledger.errors import Gap, Tampered
from gateway.ledger.format.digest import Digester
from gateway.ledger.format.promises import CLOCK_BACK, LATE, RULES, Promises
from gateway.ledger.format.record import Value
from gateway.ledger.format.record_id import RecordIds
from gateway.ledger.readers.prune_rules import seal_digest
from gateway.ledger.service.open_exchanges import OpenExchanges
from gateway.ledger.service.rate_limits import RateLimits
from gateway.ledger.service.record_writer import LedgerClock, RecordWriter
from gateway.ledger.service.rhythm import Rhythm
from gateway.ledger.storage.seal import read_seal, seal_segment
from tests.gateway.ledger.damage import Disk
from tests.gateway.ledger.logs import Hand

PROMISES = Promises(RULES, 0, 1000, 60_000)


class Promising(Hand):
    """A hand that writes as a ledger of today does: a boot with promises, heads that are pinned."""

    def boot(self, **more: Value) -> None:
        fields: dict[str, Value] = {"heads": self.log.pin.fields(), "promises": PROMISES.fields(), "room": "ledger"}
        self.write(1, "boot", **(fields | more))
        self.sign()

    def sign_after(self, seconds: int) -> None:
        self.now_ms += seconds * 1000
        self.log.sign(self.now_ms // 1000)


@pytest.fixture
def hand(tmp_path: Path) -> Promising:
    """A ledger that is idle for five minutes, answers, and is idle again."""
    hand = Promising.new(tmp_path / "home")
    assert isinstance(hand, Promising)
    hand.boot()
    for _ in range(5):
        hand.sign_after(60)
    for _ in range(5):
        hand.write(3)
        hand.sign_after(1)
    for _ in range(5):
        hand.sign_after(60)
    return hand


def test_a_ledger_that_keeps_its_rhythm_verifies(hand: Promising) -> None:
    report = hand.verify()
    assert (report.heads, report.exit_code) == (17, 0)


@pytest.mark.parametrize("gone", [slice(3, 5), slice(14, 16), slice(2, 4), slice(8, 15)])
def test_a_silence_that_no_record_excuses_is_tampering(hand: Promising, gone: slice) -> None:
    disk = Disk(hand.layout.folder.parent)
    heads = disk.heads()
    del heads[gone]
    disk.change_heads(lambda _: heads)
    with pytest.raises(Tampered, match="heads are missing"):
        hand.verify()


def test_a_silence_that_the_ledger_tells_is_none(hand: Promising) -> None:
    hand.now_ms += 600_000
    hand.write(1, "rhythm", what=LATE, before_s=1, now_s=2)
    hand.sign_after(1)
    assert hand.verify().exit_code == 0


def test_a_silence_of_an_idle_ledger_that_nobody_tells_is_tampering(hand: Promising) -> None:
    hand.sign_after(600)
    with pytest.raises(Tampered, match="no head was signed for 600 s"):
        hand.verify()


def test_a_record_that_waited_too_long_for_its_head_is_noticed(hand: Promising) -> None:
    hand.write(1)
    hand.sign_after(20)
    with pytest.raises(Tampered, match="longer than was promised"):
        hand.verify()


def test_heads_swapped_at_equal_size_are_noticed_by_their_times(hand: Promising) -> None:
    disk = Disk(hand.layout.folder.parent)
    heads = disk.heads()
    heads[-1], heads[-2] = heads[-2], heads[-1]
    disk.change_heads(lambda _: heads)
    with pytest.raises(Tampered, match=r"heads were swapped|heads are missing"):
        hand.verify()


def test_a_clock_that_goes_back_is_fine_where_the_ledger_says_so(hand: Promising) -> None:
    hand.now_ms -= 3_600_000
    hand.write(1, "rhythm", what=CLOCK_BACK, before_s=2, now_s=1)
    hand.sign_after(1)
    assert hand.verify().exit_code == 0


def test_a_clock_that_goes_back_in_silence_is_not(hand: Promising) -> None:
    hand.sign_after(-3600)
    with pytest.raises(Tampered, match="heads were swapped"):
        hand.verify()


def test_heads_taken_from_the_end_leave_records_that_span_too_much_time(hand: Promising) -> None:
    """Without an anchor nobody knows of the last heads; but records of a minute without a head are not what was promised."""
    for _ in range(60):
        hand.write(1)
        hand.sign_after(1)
    disk = Disk(hand.layout.folder.parent)
    disk.change_heads(lambda heads: heads[:-40])
    report = hand.verify()
    assert report.exit_code == Gap.exit_code
    (silence,) = report.silences
    assert "span 39 s without a head" in silence
    # A start takes these records over, and the log keeps saying so.
    hand.close()
    taken_over = hand.open().repairs.unsigned_records
    hand.write(1, "boot", heads=hand.log.pin.fields(), promises=PROMISES.fields(), room="ledger")
    hand.write(1, "recovery", torn={}, unsigned_records=taken_over)
    hand.sign()
    again = hand.verify()
    assert (again.exit_code, again.silences, again.taken_over) == (Gap.exit_code, [silence], 40)


def test_heads_taken_before_a_start_show_in_what_the_start_says(hand: Promising) -> None:
    hand.close()
    hand.open()
    hand.boot()
    disk = Disk(hand.layout.folder.parent)
    disk.change_heads(lambda heads: [*heads[:-2], heads[-1]])
    with pytest.raises(Tampered, match="heads were removed"):
        hand.verify()


def test_a_recovery_that_tells_of_other_records_than_there_are_is_no_ledgers(hand: Promising) -> None:
    hand.write(2)
    hand.close()
    hand.open()
    hand.write(1, "boot", heads=hand.log.pin.fields(), promises=PROMISES.fields(), room="ledger")
    hand.write(1, "recovery", torn={}, unsigned_records=1)
    hand.sign()
    with pytest.raises(Tampered, match="1 records had no head, but 2 have none"):
        hand.verify()


def test_promises_hold_on_in_the_next_segment_also_when_the_boot_was_pruned(hand: Promising) -> None:
    hand.rotate()
    hand.write(1, "segment", first=hand.log.segment.first, promises=PROMISES.fields(), segment=2)
    hand.sign_after(1)
    hand.write(1, "prune", **_pruning(hand, 1))
    hand.sign_after(1)
    hand.layout.file(1, "jsonl.zst").unlink()
    assert hand.verify().pruned_records > 0
    hand.sign_after(600)
    with pytest.raises(Tampered, match="heads are missing"):
        hand.verify()


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("does not name its seal", {"seal": "0" * 64}),
        ("speaks of other records", {"first": 1}),
        ("speaks of older records", {"before_ms": 1}),
        ("does not say who asked", {"manual": False}),
        ("does not say who asked", {"by": ""}),
    ],
)
def test_a_prune_that_says_too_little_explains_nothing(hand: Promising, what: str, fields: dict[str, Value]) -> None:
    hand.rotate()
    hand.write(1, "segment", first=hand.log.segment.first, promises=PROMISES.fields(), segment=2)
    hand.write(1, "prune", **(_pruning(hand, 1) | fields))
    hand.sign_after(1)
    hand.layout.file(1, "jsonl.zst").unlink()
    with pytest.raises(Tampered, match=what):
        hand.verify()


def test_a_prune_before_the_retention_was_over_is_not_as_promised(hand: Promising) -> None:
    hand.rotate()
    promises = Promises(RULES, 30, 1000, 60_000).fields()
    hand.write(1, "segment", first=hand.log.segment.first, promises=promises, segment=2)
    hand.write(1, "prune", **_pruning(hand, 1))
    hand.sign_after(1)
    hand.layout.file(1, "jsonl.zst").unlink()
    with pytest.raises(Tampered, match="came before the 30 days were over"):
        hand.verify()


def _pruning(hand: Hand, segment: int) -> dict[str, Value]:
    seal = read_seal(hand.layout, segment, hand.keyring.verifier())
    assert seal is not None
    return {
        "before_ms": seal.to_ms + 1,
        "by": "mei@console",
        "first": seal.first,
        "manual": True,
        "records": seal.records,
        "retention_days": 0,
        "seal": seal_digest(hand.layout, segment),
        "segment": segment,
    }


class Keeping(Promising):
    """Heads are signed as the ledger's own `Rhythm` says, whatever the clock does."""

    def begin(self) -> None:
        ids = RecordIds(lambda: self.now_ms)
        digester = Digester(None, lambda epoch: b"", lambda at: "")
        clock = LedgerClock(lambda: self.now_ms, lambda: self.now_ms)
        parts = (self.log, ids, digester, OpenExchanges(), RateLimits(), clock, "strict", LedgerCounters())
        self.rhythm = Rhythm(RecordWriter(*parts), clock, PROMISES)

    def keep(self) -> None:
        time_s = self.rhythm.next_time_s()
        self.log.commit()
        self.log.sign(time_s)

    def start(self) -> None:
        found = self.open().repairs.unsigned_records
        self.begin()
        self.write(1, "boot", heads=self.log.pin.fields(), promises=PROMISES.fields(), room="ledger")
        if found:
            self.write(1, "recovery", torn={}, unsigned_records=found)
        self.keep()

    def end_with(self, kind: str) -> None:
        time_s = self.rhythm.next_time_s()
        self.log.commit()
        self.write(1, kind, heads=self.log.pin.fields(), segment=self.log.segment.number)
        self.log.sign(time_s)

    def next_segment(self) -> None:
        segment = self.log.segment
        self.end_with("seal")
        self.log.rotate()
        seal_segment(self.layout, segment.number, segment.first, self.signer, compressed=True)
        self.write(1, "segment", first=self.log.segment.first, promises=PROMISES.fields(), segment=segment.number + 1)


STEPS = st.lists(
    st.one_of(
        st.sampled_from(("keep", "write", "seal", "kill", "stop")),
        st.sampled_from((0, 400, 1000, 5600, 6001, 30_000, 60_999, 66_000, 400_000, -1, -1500, -3_600_000)),
    ),
    max_size=30,
)


@given(steps=STEPS)
def test_whatever_the_clock_does_a_ledger_that_says_so_verifies(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str | int]
) -> None:
    hand = Keeping.new(tmp_path_factory.mktemp("keeping") / "home")
    assert isinstance(hand, Keeping)
    hand.close()
    hand.start()
    waits_since: int | None = None
    for step in steps:
        if isinstance(step, int):
            hand.now_ms += step
        elif step == "write":
            hand.write(2)
            waits_since = hand.now_ms if waits_since is None else waits_since
            continue
        elif step == "kill" and (waits_since is None or abs(hand.now_ms - waits_since) < 1000):
            hand.close()
            hand.start()
        elif step == "stop":
            hand.end_with("shutdown")
            hand.close()
            hand.start()
        elif step == "seal":
            hand.next_segment()
            hand.keep()
        else:
            hand.keep()
        if not isinstance(step, int):
            waits_since = None
    hand.keep()
    assert hand.verify().exit_code == 0
    hand.close()
