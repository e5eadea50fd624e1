"""The log as a machine: whatever is done to it and wherever it stops, what was promised is there and verifies."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.ledger.errors import LogBroken, LogBusy
from gateway.ledger.format.record import Value
from gateway.ledger.readers.reader import LogReader
from gateway.ledger.service.recovery import lock
from tests.gateway.ledger.logs import Hand
from tests.support.examples import examples


class LogMachine(RuleBasedStateMachine):
    """Appends, commits, heads, rotations and crashes with torn writes, in any order."""

    @initialize()
    def found(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-machine-"))
        self.hand = Hand.new(self.folder / "home")
        self.heads: list[tuple[int, bytes]] = []

    @rule(count=st.integers(1, 300))
    def write(self, count: int) -> None:
        self.hand.write(count)

    @rule()
    def sign(self) -> None:
        self.hand.sign()
        self.heads.append((self.hand.log.signed.size, self.hand.log.signed.root))

    @precondition(lambda self: self.hand.log.segment.records > 0)
    @rule(compressed=st.booleans(), seal=st.booleans())
    def rotate(self, compressed: bool, seal: bool) -> None:
        self.hand.rotate(compressed=compressed, seal=seal)
        self.heads.append((self.hand.log.signed.size, self.hand.log.signed.root))

    @rule(torn=st.binary(max_size=60), whole=st.integers(0, 2), hashes=st.integers(0, 31), head=st.integers(0, 120))
    def crash(self, torn: bytes, whole: int, hashes: int, head: int) -> None:
        """The process dies in the middle of a write: whole lines, then a piece of one; pieces of a hash, of a head."""
        lines = [self.hand.record() for _ in range(whole)]
        segment = self.hand.log.segment.number
        layout = self.hand.layout
        self.hand.close()
        with layout.file(segment, "jsonl").open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines) + torn.replace(b"\n", b""))
        with layout.file(segment, "hashes").open("ab") as file:
            file.write(os.urandom(hashes))
        heads = layout.file(segment, "heads")
        if heads.stat().st_size:
            with heads.open("ab") as file:
                file.write(heads.read_bytes()[:head])
        self.hand.verify()  # also before anything was repaired
        opened = self.hand.open()
        told: dict[str, Value] = dict.fromkeys(opened.repairs.torn_files, "")
        for name in told:
            told[name] = hashlib.sha256((layout.segments / name).read_bytes()).hexdigest()
        self.hand.write(1, "recovery", torn=told)
        self.hand.sign()

    @rule()
    def close_and_open(self) -> None:
        self.hand.sign()
        self.hand.close()
        opened = self.hand.open()
        assert not opened.repairs.unsigned_records

    @invariant()
    def everything_promised_is_there(self) -> None:
        if not hasattr(self, "hand"):
            return
        report = self.hand.verify()
        reader = LogReader(self.hand.layout, self.hand.keyring.verifier())
        found = {line for _, line in reader.lines()}
        assert set(self.hand.acknowledged) <= found
        assert report.records >= len(self.hand.acknowledged)
        for size, root in self.heads:
            assert reader.tree().root(size) == root

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            if self.hand.opened is not None:
                self.hand.close()
            shutil.rmtree(self.folder)


TestLogMachine = LogMachine.TestCase
TestLogMachine.settings = settings(max_examples=examples(40), stateful_step_count=12, deadline=None)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    hand = Hand.new(tmp_path / "home")
    held = lock(hand.layout)
    with pytest.raises(LogBusy):
        lock(hand.layout)
    os.close(held)
    os.close(lock(hand.layout))
    hand.close()


def test_a_log_deleted_under_the_writer_breaks_it_at_the_next_commit(tmp_path: Path) -> None:
    hand = Hand.new(tmp_path / "home")
    hand.write(3)
    hand.layout.file(1, "jsonl").unlink()
    hand.record()
    with pytest.raises(LogBroken):
        hand.log.commit()
    with pytest.raises(LogBroken):
        hand.log.append(b"{}")


def test_a_log_swapped_under_the_writer_breaks_it_at_the_next_commit(tmp_path: Path) -> None:
    hand = Hand.new(tmp_path / "home")
    hand.write(3)
    path = hand.layout.file(1, "jsonl")
    shutil.copy(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").rename(path)
    hand.record()
    with pytest.raises(LogBroken):
        hand.log.commit()


def test_a_second_link_to_the_log_breaks_the_writer(tmp_path: Path) -> None:
    hand = Hand.new(tmp_path / "home")
    os.link(hand.layout.file(1, "jsonl"), tmp_path / "link")
    hand.record()
    with pytest.raises(LogBroken):
        hand.log.commit()


def test_a_bit_that_flips_before_the_head_is_never_signed(tmp_path: Path) -> None:
    hand = Hand.new(tmp_path / "home")
    hand.write(3)
    path = hand.layout.file(1, "jsonl")
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    heads = hand.layout.file(1, "heads").read_bytes()
    with pytest.raises(LogBroken, match="not those that were written"):
        hand.sign()
    assert hand.layout.file(1, "heads").read_bytes() == heads
