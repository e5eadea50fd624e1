"""Starting again: what a crash explains is repaired and told, what it does not explain stops the start."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.ledger.errors import Gap, LedgerError, RolledBack, Tampered, Unreadable
from gateway.ledger.storage.anchor import AnchorFile
from gateway.ledger.storage.layout import LogLayout
from gateway.ledger.storage.seal import decompress
from tests.gateway.ledger.logs import Hand


@pytest.fixture
def hand(tmp_path: Path) -> Hand:
    """Three segments: two sealed, one open with signed and unsigned records."""
    hand = Hand.new(tmp_path / "home")
    hand.write(5)
    hand.rotate()
    hand.write(300)
    hand.rotate(compressed=False)
    hand.write(4)
    hand.sign()
    hand.write(2)
    return hand


def edit(path: Path, change: Callable[[bytearray], None]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)


def flip(at: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[at] ^= 1

    return change


def test_a_torn_line_is_set_aside_and_told(hand: Hand) -> None:
    hand.close()
    path = hand.layout.file(3, "jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"boot":"half a rec')
    repairs = hand.open().repairs
    assert path.read_bytes() == whole
    assert (repairs.torn_bytes, repairs.torn_files) == (19, ["00000003.torn-313"])
    assert (hand.layout.segments / "00000003.torn-313").read_bytes() == b'{"boot":"half a rec'


def test_a_start_that_dies_between_cut_and_record_still_tells_the_next(hand: Hand) -> None:
    hand.close()
    with hand.layout.file(3, "jsonl").open("ab") as file:
        file.write(b"torn")
    hand.open()
    hand.close()
    assert hand.open().repairs.torn_files == ["00000003.torn-313"]


def test_lines_written_but_never_acknowledged_are_kept(hand: Hand) -> None:
    hand.close()
    with hand.layout.file(3, "jsonl").open("ab") as file:
        file.write(b'{"id":"x","kind":"integrity","time_ms":1,"v":1}\n')
    assert hand.open().repairs.unsigned_records == 3
    assert hand.verify().records == 314


def test_hashes_that_a_power_cut_shortened_are_made_again(hand: Hand) -> None:
    hand.close()
    edit(hand.layout.file(3, "hashes"), lambda data: data.__delitem__(slice(4 * 32, None)))
    assert hand.open().repairs.rewritten_hashes == 2
    hand.verify()


def test_hashes_that_a_power_cut_left_as_zeros_vouch_for_nothing(hand: Hand) -> None:
    hand.close()
    edit(hand.layout.file(3, "hashes"), lambda data: data.__setitem__(slice(5 * 32, None), bytes(32)))
    assert hand.open().repairs.rewritten_hashes == 1
    hand.verify()


def test_nodes_can_always_be_made_again(hand: Hand) -> None:
    hand.close()
    stored = hand.layout.nodes.read_bytes()
    assert len(stored) == 32
    hand.layout.nodes.unlink()
    hand.open()
    assert hand.layout.nodes.read_bytes() == stored


def test_a_seal_that_was_not_finished_is_finished(tmp_path: Path) -> None:
    hand = Hand.new(tmp_path / "home")
    hand.write(5)
    hand.rotate(seal=False)
    hand.close()
    assert hand.open().repairs.sealed_segments == 1
    assert hand.layout.file(1, "jsonl.zst").exists()
    assert not hand.layout.file(1, "jsonl").exists()
    hand.verify()


@pytest.mark.parametrize("made", [(), ("heads",), ("heads", "hashes")])
def test_a_next_segment_that_was_only_begun_is_no_gap(tmp_path: Path, made: tuple[str, ...]) -> None:
    hand = Hand.new(tmp_path / "home")
    hand.write(5)
    hand.write(1, "seal", segment=1)
    hand.sign()
    hand.close()
    for kind in made:
        hand.layout.file(2, kind).touch()
    hand.verify()
    assert hand.open().last_kind == "seal"
    hand.log.rotate()
    hand.write(1)
    hand.sign()
    assert hand.verify().segments == 2


def test_a_removal_that_was_not_finished_is_finished(hand: Hand, tmp_path: Path) -> None:
    hand.close()
    packed = hand.layout.file(1, "jsonl.zst").read_bytes()
    hand.layout.file(1, "jsonl").write_bytes(decompress(packed, _plain_bytes(hand.layout)))
    hand.verify()
    hand.open()
    assert not hand.layout.file(1, "jsonl").exists()


def _plain_bytes(layout: LogLayout) -> int:
    for line in layout.file(1, "seal").read_text().splitlines():
        if line.startswith("bytes "):
            return int(line[6:])
    raise AssertionError("a seal tells its bytes")


def _cut_lines(layout: LogLayout, count: int) -> None:
    path = layout.file(3, "jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-count]))


def _remove(number: int, *kinds: str) -> Callable[[Hand], None]:
    def act(hand: Hand) -> None:
        for kind in kinds:
            hand.layout.file(number, kind).unlink()

    return act


def _truncate_all(hand: Hand) -> None:
    """Lines, hashes and heads cut back to an older state that is whole in itself: only the anchor knows better."""
    hand.open()
    hand.sign()
    AnchorFile(hand.keyring.anchor, hand.signer.verifier).append(hand.log.note, hand.log.signed)
    hand.close()
    _cut_lines(hand.layout, 2)
    edit(hand.layout.file(3, "hashes"), lambda data: data.__delitem__(slice(-64, None)))
    heads = hand.layout.file(3, "heads").read_bytes()
    hand.layout.file(3, "heads").write_bytes(b"".join(heads.splitlines(keepends=True)[:6]))


WRONGS: list[tuple[str, Callable[[Hand], object], type[LedgerError]]] = [
    ("a signed line changed", lambda h: edit(h.layout.file(3, "jsonl"), flip(30)), Tampered),
    ("an unsigned but durable line changed", lambda h: edit(h.layout.file(3, "jsonl"), flip(-30)), Tampered),
    ("a hash changed", lambda h: edit(h.layout.file(3, "hashes"), flip(3)), Tampered),
    ("a hash of a sealed segment changed", lambda h: edit(h.layout.file(2, "hashes"), flip(3)), Tampered),
    ("a node changed", lambda h: edit(h.layout.nodes, flip(3)), Tampered),
    ("the last head changed", lambda h: edit(h.layout.file(3, "heads"), flip(-4)), Tampered),
    ("a seal changed", lambda h: edit(h.layout.file(1, "seal"), flip(40)), Tampered),
    ("the marker changed", lambda h: edit(h.layout.marker, flip(-4)), Tampered),
    ("durable lines cut off", lambda h: _cut_lines(h.layout, 1), RolledBack),
    ("signed lines cut off", lambda h: _cut_lines(h.layout, 4), RolledBack),
    ("all heads gone", lambda h: [h.layout.file(n, "heads").write_bytes(b"") for n in (1, 2, 3)], RolledBack),
    ("a segment in the middle gone", _remove(2, "jsonl", "hashes", "heads", "seal"), Gap),
    ("the open segment gone", _remove(3, "jsonl", "hashes", "heads"), Gap),
    ("the hashes of a segment gone", _remove(1, "hashes"), Gap),
    ("everything cut back to an older state", _truncate_all, RolledBack),
    ("the marker gone", lambda h: h.layout.marker.unlink(), Unreadable),
    ("a newer version", lambda h: h.layout.marker.write_text("vitrine ledger\nformat 2\norigin x\n"), Unreadable),
    ("not ours", lambda h: h.layout.marker.write_text("something else\n"), Unreadable),
    ("a stray copy of a segment", lambda h: _copy(h, "00000001 (copy).jsonl"), Unreadable),
    ("a duplicated segment", lambda h: _duplicate(h), Tampered),
]


def _copy(hand: Hand, name: str) -> None:
    shutil.copy(hand.layout.file(3, "jsonl"), hand.layout.segments / name)


def _duplicate(hand: Hand) -> None:
    """The open segment once more under the next number."""
    for kind in ("jsonl", "hashes", "heads"):
        shutil.copy(hand.layout.file(3, kind), hand.layout.file(4, kind))


@pytest.mark.parametrize(("wrong", "act", "error"), WRONGS, ids=[wrong for wrong, _, _ in WRONGS])
def test_what_no_crash_explains_stops_the_start(
    hand: Hand, wrong: str, act: Callable[[Hand], None], error: type[LedgerError]
) -> None:
    hand.close()
    act(hand)
    with pytest.raises(error):
        hand.open()


@pytest.mark.parametrize(("wrong", "act", "error"), WRONGS, ids=[wrong for wrong, _, _ in WRONGS])
def test_verify_says_the_same(hand: Hand, wrong: str, act: Callable[[Hand], None], error: type[LedgerError]) -> None:
    hand.close()
    act(hand)
    with pytest.raises((error, Tampered)):
        hand.verify()
