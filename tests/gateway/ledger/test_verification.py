"""Verify: every byte of a small log flipped, one at a time, and each flip caught."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from gateway.ledger.errors import Gap, LedgerError, RolledBack, Tampered
from gateway.ledger.readers.reader import LogReader
from gateway.ledger.readers.verification import verify
from gateway.ledger.storage.keyring import Keyring
from gateway.ledger.storage.layout import LogLayout
from gateway.ledger.storage.seal import stored_file
from tests.gateway.ledger.logs import Hand
from tests.support.ledger import make_log


@pytest.fixture
def small(tmp_path: Path) -> Hand:
    """One of each file: a packed segment, a plain sealed one, an open one, torn bytes that a recovery tells of."""
    hand = Hand.new(tmp_path / "home")
    hand.write(2)
    hand.rotate()
    hand.write(1)
    hand.rotate(compressed=False)
    hand.write(1)
    hand.close()
    with hand.layout.file(3, "jsonl").open("ab") as file:
        file.write(b"torn")
    (name,) = hand.open().repairs.torn_files
    digest = hashlib.sha256((hand.layout.segments / name).read_bytes()).hexdigest()
    hand.write(1, "recovery", torn={name: digest})
    hand.sign()
    hand.close()
    return hand


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.long("verifies thousands of logs"))])
def test_every_flipped_byte_of_a_small_log_is_caught(small: Hand, every: int) -> None:
    small.verify()
    files = sorted(path for path in small.layout.folder.rglob("*") if path.is_file())
    assert {path.name.partition(".")[2].partition("-")[0] for path in files} >= {
        "jsonl",
        "jsonl.zst",
        "hashes",
        "heads",
        "seal",
        "torn",
    }
    missed = []
    for path in files:
        data = path.read_bytes()
        for at in range(0, len(data), every):
            path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
            try:
                small.verify()
            except LedgerError:
                continue
            missed.append((path.name, at))
        path.write_bytes(data)
    assert missed == []


def test_every_flipped_byte_of_the_nodes_is_caught(tmp_path: Path) -> None:
    hand = Hand.new(tmp_path / "home")
    hand.write(256)
    hand.sign()
    path = hand.layout.nodes
    data = path.read_bytes()
    assert len(data) == 32
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(Tampered):
            hand.verify()


def test_a_wrong_key_fails(small: Hand, tmp_path: Path) -> None:
    _, other = make_log(tmp_path / "other")
    with pytest.raises(Tampered, match="is this the log's public key"):
        verify(small.layout, other.verifier(), [], lambda done, left: None)


def test_a_log_signed_anew_by_another_key_of_the_same_name_fails(small: Hand, tmp_path: Path) -> None:
    _, other = make_log(tmp_path / "other")
    with pytest.raises(Tampered):
        verify(small.layout, Keyring(other.folder).verifier(), [], lambda done, left: None)


def test_verify_tells_what_the_log_holds(tmp_path: Path) -> None:
    hand = Hand.new(tmp_path / "home")
    hand.write(3)
    hand.write(1, "gap", count=37)
    hand.sign()
    hand.write(1)
    report = hand.verify()
    assert (report.records, report.signed_records, report.lost) == (5, 4, 37)
    assert report.kinds == {"integrity": 4, "gap": 1}


def test_a_clock_that_jumps_back_is_told_and_forgiven(tmp_path: Path) -> None:
    hand = Hand.new(tmp_path / "home")
    hand.write(2)
    hand.sign()
    hand.now_ms -= 3_600_000
    hand.write(2)
    hand.sign()
    hand.close()
    hand.open()
    assert hand.verify().clock_steps_back == 1


def test_a_pruned_segment_is_fine_when_a_record_says_so_and_a_gap_when_none_does(small: Hand) -> None:
    path = stored_file(small.layout, 1)
    assert path is not None
    path.unlink()
    with pytest.raises(Gap, match="no prune record"):
        small.verify()
    small.open()
    small.write(1, "prune", segment=1)
    small.sign()
    report = small.verify()
    assert report.pruned_records == 3


def test_the_last_segment_cut_off_at_a_head_is_caught_by_an_anchor_alone(small: Hand, tmp_path: Path) -> None:
    anchor = tmp_path / "elsewhere"
    anchor.write_text(LogReader(small.layout, small.keyring.verifier()).head()[1])
    cut = tmp_path / "cut"
    shutil.copytree(small.layout.folder, cut)
    heads = cut / "segments" / "00000003.heads"
    for kind in ("jsonl", "hashes", "heads"):
        (cut / "segments" / f"00000003.{kind}").write_bytes(b"")
    for torn in (cut / "segments").glob("*.torn-*"):
        torn.unlink()
    assert heads.read_bytes() == b""
    verify(LogLayout(cut), small.keyring.verifier(), [], lambda done, left: None)
    with pytest.raises(RolledBack):
        verify(LogLayout(cut), small.keyring.verifier(), [anchor], lambda done, left: None)
