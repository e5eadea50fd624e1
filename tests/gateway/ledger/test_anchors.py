"""Anchors: heads kept elsewhere in files that only grow. What is missing, cut or forked is refused, never overwritten."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from gateway.ledger.errors import Tampered
from gateway.ledger.format.checkpoint import TreeHead, sign_head
from gateway.ledger.format.head_file import split_notes
from gateway.ledger.storage.anchor import AnchorChanged, AnchorFile, anchor_heads, read_anchor
from tests.gateway.ledger.damage import Disk
from tests.gateway.ledger.logs import Hand
from tests.support.deadline import until
from tests.support.ledger import command, of_kind, running


@pytest.fixture
def hand(tmp_path: Path) -> Hand:
    return Hand.new(tmp_path / "home")


def heads_of(hand: Hand, count: int) -> list[tuple[TreeHead, bytes]]:
    """New heads of the log, with their notes."""
    found = []
    for _ in range(count):
        hand.write(1)
        hand.sign()
        found.append((hand.log.signed, sign_head(hand.log.signed, hand.signer).encode()))
    return found


def all_heads(hand: Hand, path: Path) -> list[TreeHead]:
    return list(anchor_heads(path, hand.keyring.verifier(), path.stat().st_size))


def test_an_anchor_only_grows_and_has_every_head(hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    anchor = AnchorFile(path, hand.keyring.verifier())
    heads = heads_of(hand, 5)
    before, inode = b"", None
    for head, note in heads:
        anchor.append(note, head)
        data = path.read_bytes()
        assert data.startswith(before)
        assert inode in (None, path.stat().st_ino)
        before, inode = data, path.stat().st_ino
    assert all_heads(hand, path) == [head for head, _ in heads]
    assert read_anchor(path, hand.keyring.verifier()) == heads[-1][0]


@pytest.mark.parametrize("every", [7])
def test_wherever_a_crash_cuts_a_head_the_next_one_can_be_read(hand: Hand, tmp_path: Path, every: int) -> None:
    path = tmp_path / "anchor"
    (first, first_note), (torn, torn_note), (third, third_note) = heads_of(hand, 3)
    for kept in [b"", first_note]:
        for cut in [0, 1, *range(2, len(torn_note), every), len(torn_note) - 1, len(torn_note)]:
            path.write_bytes(kept + torn_note[:cut])
            anchor = AnchorFile(path, hand.keyring.verifier())
            anchor.append(third_note, third)
            found = all_heads(hand, path)
            assert found[-1] == third
            assert not kept or found[0] == first
            # What is read of the torn one is either nothing or a head that the log has signed.
            assert {(head.size, head.root) for head in found} <= {(h.size, h.root) for h in (first, torn, third)}
            assert cut < len(torn_note) - 1 or torn in found
            assert read_anchor(path, hand.keyring.verifier()) == third


def test_anything_else_in_an_anchor_is_tampering(hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    (_, first), (_, second) = heads_of(hand, 2)
    for wrong in (b"x" + first, first + b"x\n" + second, second + first, first + b"\n\n" + second, first.lower()):
        path.write_bytes(wrong)
        with pytest.raises(Tampered):
            all_heads(hand, path)


def test_every_flipped_byte_of_an_anchor_is_caught(hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    notes = b"".join(note for _, note in heads_of(hand, 3))
    path.write_bytes(notes)
    whole = all_heads(hand, path)
    for at in range(0, len(notes) - 1, 3):
        path.write_bytes(notes[:at] + bytes([notes[at] ^ 1]) + notes[at + 1 :])
        try:
            found = all_heads(hand, path)
        except Tampered:
            continue
        assert found != whole


def test_a_long_anchor_is_read_in_pieces(hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    heads = heads_of(hand, 3)
    path.write_bytes(heads[0][1] * 4000 + heads[1][1] * 4000 + heads[2][1])
    assert path.stat().st_size > 2_000_000
    assert read_anchor(path, hand.keyring.verifier()) == heads[2][0]


@pytest.mark.parametrize("how", ["gone", "emptied", "another head", "cut", "junk"])
def test_an_anchor_that_somebody_else_changed_is_never_written(hand: Hand, tmp_path: Path, how: str) -> None:
    path = tmp_path / "anchor"
    anchor = AnchorFile(path, hand.keyring.verifier())
    heads = heads_of(hand, 4)
    anchor.append(heads[0][1] + heads[1][1], heads[1][0])
    if how == "gone":
        path.unlink()
    else:
        data = {"emptied": b"", "another head": path.read_bytes() + heads[2][1], "cut": heads[0][1], "junk": b"junk"}
        path.write_bytes(data[how])
    left = path.read_bytes() if path.exists() else None
    with pytest.raises(AnchorChanged):
        anchor.append(heads[3][1], heads[3][0])
    assert (path.read_bytes() if path.exists() else None) == left


def test_what_a_write_that_failed_left_is_no_change(hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "anchor"
    anchor = AnchorFile(path, hand.keyring.verifier())
    heads = heads_of(hand, 2)
    anchor.append(heads[0][1], heads[0][0])
    with path.open("ab") as file:
        file.write(heads[1][1][:40])
    anchor.append(heads[1][1], heads[1][0])
    assert all_heads(hand, path) == [head for head, _ in heads]


def _ended(home: Path, **settings: object) -> None:
    with running(home, **settings) as ledger:
        assert ledger.stop() == 0


def test_every_head_is_in_every_anchor(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for _ in range(2):
        _ended(home, anchors=json.dumps([str(elsewhere)]))
    disk = Disk(home)
    heads = "".join(disk.heads())
    assert elsewhere.read_text() == disk.keyring.anchor.read_text() == heads
    assert json.loads(command(home, "verify", "--anchor", str(elsewhere), "--json").stdout)["anchors"] == 2


def test_an_anchor_that_is_missing_is_an_error_unless_a_setting_says_so(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    anchors = json.dumps([str(elsewhere)])
    _ended(home, anchors=anchors)
    kept = elsewhere.read_bytes()
    for away in (elsewhere, home / "ledger-keys" / "head"):
        for leave in ("nothing", "an empty file"):
            data = away.read_bytes()
            away.unlink()
            if leave == "an empty file":
                away.touch()
            done = command(home, "serve", anchors=anchors)
            assert (done.returncode, "bring it back" in done.stderr) == (13, True), done.stderr
            assert "Traceback" not in done.stderr
            away.write_bytes(data)
    elsewhere.unlink()
    assert command(home, "verify", anchors=anchors).returncode == 13
    with running(home, anchors=anchors, anchors_may_be_missing="true") as ledger:
        assert ledger.stop() == 0
        assert of_kind(ledger, "boot")[-1]["anchors_begun"] == [str(elsewhere)]
    assert elsewhere.read_bytes() not in (b"", kept)
    assert command(home, "verify", anchors=anchors).returncode == 0
    _ended(home, anchors=anchors)


def test_verify_says_that_an_anchor_is_missing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    _ended(home)
    done = command(home, "verify", "--anchor", str(tmp_path / "none"))
    assert done.returncode == 13
    assert f"there is no anchor {tmp_path / 'none'}" in done.stderr
    assert "OK" not in done.stdout


def test_a_fork_never_writes_into_an_anchor(tmp_path: Path) -> None:
    """A copy of the log goes on somewhere else under the same key: the anchor knows one of the two."""
    home, fork, elsewhere = tmp_path / "home", tmp_path / "fork", tmp_path / "elsewhere"
    anchors = json.dumps([str(elsewhere)])
    _ended(home, anchors=anchors)
    Disk(home).copy(fork)
    _ended(home, anchors=anchors)
    known = elsewhere.read_bytes()
    done = command(fork, "serve", anchors=anchors)
    assert done.returncode == 11, done.stderr
    assert elsewhere.read_bytes() == known
    _ended(fork)  # without the anchor it can go on, as another history
    done = command(fork, "serve", anchors=anchors)
    assert done.returncode == 10, done.stderr
    assert command(fork, "verify", "--anchor", str(elsewhere)).returncode == 10
    assert elsewhere.read_bytes() == known


def test_two_logs_with_one_anchor_raise_an_alarm(tmp_path: Path) -> None:
    home, fork, elsewhere = tmp_path / "home", tmp_path / "fork", tmp_path / "elsewhere"
    anchors = json.dumps([str(elsewhere)])
    _ended(home, anchors=anchors)
    Disk(home).copy(fork)
    _ended(fork)
    with running(home, anchors=anchors, sign_idle_s=1) as ledger:
        with elsewhere.open("ab") as file:
            file.write(Disk(fork).heads()[-1].encode())

        def alarms() -> list[dict[str, object]]:
            return [record for record in of_kind(ledger, "integrity") if "anchor" in str(record["what"])]

        until(alarms, within_s=20, what="the alarm is recorded")
        assert ledger.stop() == 0
        assert len(alarms()) == 1


def test_an_anchor_that_was_away_is_joined_only_if_the_log_continues_it(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "mount" / "elsewhere"
    elsewhere.parent.mkdir()
    anchors = json.dumps([str(elsewhere)])
    _ended(home, anchors=anchors)
    elsewhere.parent.rename(tmp_path / "away")
    with running(home, anchors=anchors, anchors_may_be_missing="true", sign_idle_s=1) as ledger:
        (tmp_path / "away").rename(elsewhere.parent)
        before = elsewhere.stat().st_size
        until(lambda: elsewhere.stat().st_size > before, within_s=20, what="the anchor grows again")
        assert ledger.stop() == 0
    assert command(home, "verify", anchors=anchors).returncode == 0


def test_an_anchor_lies_on_storage_that_only_appends(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "worm" / "anchor"
    elsewhere.parent.mkdir()
    anchors = json.dumps([str(elsewhere)])
    _ended(home, anchors=anchors)
    places = [elsewhere, elsewhere.parent]
    if subprocess.run(["chattr", "+a", *map(str, places)], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no append-only files, or we may not make them")
    try:
        before = elsewhere.read_bytes()
        _ended(home, anchors=anchors)
        assert elsewhere.read_bytes().startswith(before)
        assert len(elsewhere.read_bytes()) > len(before)
        assert command(home, "verify", anchors=anchors).returncode == 0
    finally:
        subprocess.run(["chattr", "-a", *map(str, places)], check=True)


def test_heads_that_an_anchor_has_and_the_log_has_not_are_told(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, sign_idle_s=1) as ledger:
        until(lambda: len(Disk(home).heads()) > 3, within_s=20, what="idle heads")
        ledger.kill()
    disk = Disk(home)
    disk.change_heads(lambda heads: heads[:-2])
    said = json.loads(command(home, "verify", "--json").stdout)
    assert said["exit_code"] == 12
    assert "heads were removed" in said["silences"][0]


def test_heads_are_kept_by_hand_behind_each_other(tmp_path: Path) -> None:
    home, kept = tmp_path / "home", tmp_path / "kept"
    for _ in range(2):
        _ended(home)
        assert command(home, "anchor", "--to", str(kept)).returncode == 0
        assert command(home, "anchor", "--to", str(kept)).returncode == 0  # the same head: not written twice
    assert len(split_notes(kept.read_bytes())[0]) == 2
    assert command(home, "anchor", "--check", str(kept)).returncode == 0
    assert command(home, "consistency", str(kept)).returncode == 0
    other = tmp_path / "other"
    _ended(other)
    data = kept.read_bytes()
    assert command(other, "anchor", "--to", str(kept)).returncode == 10
    assert kept.read_bytes() == data
