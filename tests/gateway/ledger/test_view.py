"""A log that is verified while it is written, rotated, sealed and pruned: it is never called anything but whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.ledger.format.record import Value
from gateway.ledger.readers.backup import back_up
from gateway.ledger.readers.prune_rules import seal_digest
from gateway.ledger.readers.verification import verify
from gateway.ledger.storage.seal import read_seal, seal_segment, stored_file
from tests.gateway.ledger.logs import Hand
from tests.gateway.ledger.test_rhythm import PROMISES


class _Busy(threading.Thread):
    """Writes, signs, rotates, seals and prunes, as many segments as it is given leave for."""

    def __init__(self, hand: Hand) -> None:
        super().__init__(daemon=True)
        self.hand = hand
        self.over = threading.Event()
        self.more = threading.Semaphore(0)
        self.error: BaseException | None = None
        self.prunes = True

    def run(self) -> None:
        try:
            while self.more.acquire(timeout=60) and not self.over.is_set():
                self._segment()
        except BaseException as error:  # noqa: BLE001  the test looks at it
            self.error = error

    def _segment(self) -> None:
        hand = self.hand
        for _ in range(3):
            hand.write(2)
            hand.sign()
        closed = hand.log.segment
        hand.write(1, "seal", heads=hand.log.pin.fields(), segment=closed.number)
        hand.sign()
        hand.log.rotate()
        packed = closed.number % 2 == 0
        seal_segment(hand.layout, closed.number, closed.first, hand.signer, compressed=packed)
        number = hand.log.segment.number
        hand.write(1, "segment", first=hand.log.segment.first, promises=PROMISES.fields(), segment=number)
        if self.prunes and number % 5 == 0:
            self._prune(number - 3)

    def _prune(self, number: int) -> None:
        hand = self.hand
        seal = read_seal(hand.layout, number, hand.keyring.verifier())
        assert seal is not None
        fields: dict[str, Value] = {"before_ms": seal.to_ms + 1, "by": "mei", "manual": True, "segment": number}
        fields |= {"first": seal.first, "records": seal.records, "seal": seal_digest(hand.layout, number)}
        hand.write(1, "prune", **fields)
        hand.sign()
        path = stored_file(hand.layout, number)
        assert path is not None
        path.unlink()


@contextmanager
def _rotating(home: Path, *, prunes: bool = True) -> Iterator[_Busy]:
    """A log that rotates as often as the test lets it; what went wrong in its thread fails the test."""
    hand = Hand.new(home)
    hand.write(1, "boot", heads=hand.log.pin.fields(), promises=PROMISES.fields(), room="ledger")
    hand.sign()
    busy = _Busy(hand)
    busy.prunes = prunes
    busy.start()
    try:
        yield busy
    finally:
        busy.over.set()
        busy.more.release()
        busy.join(20)
    assert busy.error is None, busy.error


def _verify_beside(home: Path, times: int) -> None:
    segments: set[int] = set()
    done, over_s = 0, time.monotonic() + 100
    with _rotating(home) as busy:
        while done < times or len(segments) < 10:
            assert time.monotonic() < over_s, f"{done} verifies, {len(segments)} segments"
            done += 1
            busy.more.release(2)
            report = verify(busy.hand.layout, busy.hand.keyring.verifier(), [], lambda done, left: None)
            segments.add(report.segments)
            assert report.exit_code == 0
    assert report.pruned_records > 0


@pytest.mark.timeout(900)
@pytest.mark.parametrize("logs", [1, pytest.param(20, marks=pytest.mark.long("a thousand verifies"))])
def test_a_log_that_rotates_meanwhile_is_whole_each_time(tmp_path: Path, logs: int) -> None:
    for number in range(logs):
        _verify_beside(tmp_path / str(number), 50 if logs > 1 else 20)


def test_a_backup_beside_rotation_is_whole(tmp_path: Path) -> None:
    with _rotating(tmp_path / "home", prunes=False) as busy:
        for number in range(10):
            busy.more.release(3)
            to = tmp_path / str(number)
            report = back_up(busy.hand.layout, busy.hand.keyring.verifier(), to, lambda done, left: None)
            assert report.exit_code == 0
