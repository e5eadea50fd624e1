"""What somebody tries who owns the disk of a stopped ledger, but not its signing key: verify and the start see it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.ledger.errors import Gap, LedgerError, LedgerRefused, RolledBack, Tampered
from gateway.ledger.format.record import Value
from gateway.ledger.storage.seal import stored_file
from tests.gateway.ledger.damage import Disk
from tests.support.deadline import eventually, until
from tests.support.kept import Kept
from tests.support.ledger import Ledger, client_of, command, exchanges, running


def _fill(ledger: Ledger, count: int) -> None:
    async def fill() -> None:
        async with client_of(ledger) as client:
            await exchanges(client, count)

    asyncio.run(fill())


def _signed(ledger: Ledger) -> None:
    """One more exchange, and a head that covers it."""

    async def fill() -> None:
        async with client_of(ledger) as client:
            await exchanges(client, 1)

            async def signed() -> bool:
                status = await client.status()
                return status.signed_size == status.size

            await eventually(signed)

    asyncio.run(fill())


def _sealed(ledger: Ledger, number: int) -> None:
    kept = [ledger.layout.file(number, kind) for kind in ("jsonl.zst", "seal")]
    until(lambda: all(path.exists() for path in kept), within_s=20, what="a segment is sealed")
    until(lambda: not ledger.layout.file(number, "jsonl").exists(), within_s=20, what="its plain lines are gone")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    """Two lives; segments 1 and 2 are sealed, the open one ends with a shutdown in order."""
    home = tmp_path_factory.mktemp("stopped") / "home"
    for number in (1, 2):
        with running(home, segment_bytes=64 << 10, sign_every_s=0.05) as ledger:
            _fill(ledger, 100)
            _sealed(ledger, number)
            for _ in range(3):
                _signed(ledger)
            assert ledger.stop() == 0
    return Disk(home)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Disk:
    """Segment 1 is sealed; the open one ends with records that no head covers, as kill -9 left them."""
    home = tmp_path_factory.mktemp("killed") / "home"
    with running(home, segment_bytes=64 << 10, sign_every_s=60, sign_every_records=100_000) as ledger:
        _fill(ledger, 100)
        _sealed(ledger, 1)
        _fill(ledger, 5)
        ledger.kill()
    return Disk(home)


def test_what_was_left_in_order_verifies_and_starts(stopped: Disk, killed: Disk, tmp_path: Path) -> None:
    assert stopped.verify(anchored=True).unsigned_records == 0
    report = killed.verify(anchored=True)
    assert report.unsigned_records > 0
    for name, disk in (("stopped", stopped), ("killed", killed)):
        disk.copy(tmp_path / name).start()


def _forge(kind: str, **fields: str) -> Callable[[Disk], None]:
    return lambda disk: disk.append(kind, **fields)


def _forge_start(disk: Disk) -> None:
    disk.append("boot", room="ledger")
    disk.append("key", by="root", event="revoked", facts={}, key="key-1")


BEHIND_A_SHUTDOWN: dict[str, Callable[[Disk], None]] = {
    "a prune, its segment deleted": lambda disk: disk.forge_prune(),
    "a prune of a segment that is there": _forge("prune", segment="1"),
    "a key revoked": lambda disk: disk.append("key", by="root", event="revoked", facts={}, key="key-1"),
    "an exchange": _forge("complete", outcome="completed"),
    "a gap": lambda disk: disk.append("gap", count=3, from_ms=1, to_ms=2, why="x"),
    "a boot of another room": _forge("boot", room="gateway"),
    "a recovery": lambda disk: disk.append("recovery", torn={}, unsigned_records=0),
    "a kind that nobody knows": _forge("novel"),
    "a start, and a key revoked": _forge_start,
}


@pytest.mark.parametrize("what", BEHIND_A_SHUTDOWN)
def test_a_record_behind_a_shutdown_is_never_signed(stopped: Disk, tmp_path: Path, what: str) -> None:
    disk = stopped.copy(tmp_path / "home")
    BEHIND_A_SHUTDOWN[what](disk)
    for anchored in (False, True):
        with pytest.raises(Tampered):
            disk.verify(anchored=anchored)
    with pytest.raises(Tampered):
        disk.start()
    done = command(disk.home, "serve")
    assert (done.returncode, "Traceback" in done.stderr) == (10, False), done.stderr


def test_a_shutdown_without_its_head_still_ends_a_life(stopped: Disk, tmp_path: Path) -> None:
    disk = stopped.copy(tmp_path / "home")
    disk.change_heads(lambda heads: heads[:-1])
    disk.append("key", by="root", event="revoked", facts={}, key="key-1")
    with pytest.raises(Tampered, match="behind a shutdown"):
        disk.verify()
    with pytest.raises(Tampered, match="between the end of one ledger"):
        disk.start()


def test_a_prune_that_no_head_covers_explains_nothing(killed: Disk, tmp_path: Path) -> None:
    disk = killed.copy(tmp_path / "home")
    disk.forge_prune()
    with pytest.raises(Tampered, match="no head covers it"):
        disk.verify()
    with pytest.raises(Tampered, match="no head covers it"):
        disk.start()


def test_a_forged_prune_that_a_start_took_over_explains_nothing(killed: Disk, tmp_path: Path) -> None:
    """The segment is still there when the ledger starts, and is deleted afterwards."""
    disk = killed.copy(tmp_path / "home")
    disk.append("prune", before_ms=1, by="retention", first=0, records=1, segment=1)
    taken_over = disk.verify().unsigned_records
    with running(disk.home) as ledger:
        assert ledger.stop() == 0
    report = disk.verify()
    assert (report.unsigned_records, report.taken_over) == (0, taken_over)
    path = stored_file(disk.layout, 1)
    assert path is not None
    path.unlink()
    with pytest.raises(Tampered, match="no head covers it"):
        disk.verify()


def test_a_prune_signed_by_the_ledger_holds_and_says_who_asked(killed: Disk, tmp_path: Path) -> None:
    disk = killed.copy(tmp_path / "home")
    with running(disk.home) as ledger:

        async def prune() -> tuple[int, ...]:
            async with client_of(ledger) as client:
                return (await client.prune(int(time.time() * 1000), "mei@console")).segments

        assert asyncio.run(prune()) == (1,)
        ledger.kill()
    report = disk.verify()
    assert report.pruned_records > 0
    (record,) = [record for record in disk.records() if record["kind"] == "prune"]
    assert (record["manual"], record["by"], record["retention_days"]) == (True, "mei@console", 0)
    with running(disk.home) as ledger:
        assert ledger.stop() == 0
    assert disk.verify().pruned_records == report.pruned_records


def test_nobody_prunes_before_the_retention_is_over(killed: Disk, tmp_path: Path) -> None:
    disk = killed.copy(tmp_path / "home")
    with running(disk.home, retention_days=30) as ledger:

        async def prune() -> None:
            async with client_of(ledger) as client:
                await client.prune(int(time.time() * 1000), "mei@console")

        with pytest.raises(LedgerRefused, match="kept for 30 days"):
            asyncio.run(prune())
    assert stored_file(disk.layout, 1) is not None


def test_a_record_that_no_head_covers_is_told_apart_in_the_verdict(killed: Disk) -> None:
    report = killed.verify()
    text = command(killed.home, "verify").stdout.splitlines()[-1]
    assert text.startswith(f"OK: {report.signed_records} signed, {report.unsigned_records} not yet.")
    assert "all" not in text
    assert json.loads(command(killed.home, "verify", "--json").stdout)["unsigned_records"] == report.unsigned_records


HEADS: dict[str, Callable[[list[str]], list[str]]] = {
    "one in the middle": lambda heads: heads[:1] + heads[2:],
    "the first": lambda heads: heads[1:],
    "all but the last": lambda heads: heads[-1:],
    "two swapped": lambda heads: [heads[1], heads[0], *heads[2:]],
    "one twice": lambda heads: [heads[0], *heads],
}


@pytest.mark.parametrize("what", HEADS)
def test_heads_that_were_taken_from_the_open_segment_are_missed(stopped: Disk, tmp_path: Path, what: str) -> None:
    disk = stopped.copy(tmp_path / "home")
    assert len(disk.heads()) > 3
    disk.change_heads(HEADS[what])
    with pytest.raises(Tampered):
        disk.verify()


def test_the_last_heads_are_missed_by_who_keeps_one(stopped: Disk, tmp_path: Path) -> None:
    disk = stopped.copy(tmp_path / "home")
    disk.change_heads(lambda heads: heads[:-1])
    assert disk.verify().unsigned_records == 1
    with pytest.raises(RolledBack):
        disk.verify(anchored=True)
    assert command(disk.home, "serve").returncode == 11


def test_a_log_of_the_first_version_keeps_its_rules_up_to_its_last_head(tmp_path: Path) -> None:
    kept = Kept("0.1.0", tmp_path / "kept")
    disk = Disk(kept.state)
    assert disk.verify().exit_code == Gap.exit_code  # three records were lost, as a gap record says
    assert disk.verify().pruned_records == 14
    disk.append("prune", before_ms=1, by="retention", first=14, records=1, segment=2)
    disk.layout.file(2, "jsonl").unlink()
    with pytest.raises(LedgerError):
        disk.verify()
    with pytest.raises(Tampered):
        disk.start()


@pytest.mark.parametrize("kind", ["boot", "recovery", "prune", "gap", "rhythm", "segment", "seal", "shutdown", "novel"])
@pytest.mark.parametrize("value", [None, "1", [], {}, 2**63 - 1, -1, True])
def test_a_forged_record_of_any_form_gets_a_verdict(killed: Disk, tmp_path: Path, kind: str, value: Value) -> None:
    disk = killed.copy(tmp_path / "home")
    names = ("room", "unsigned_records", "segment", "count", "what", "heads", "promises", "torn", "first", "records")
    disk.append(kind, **dict.fromkeys(names, value))
    for look in (disk.verify, disk.start):
        with suppress(LedgerError):
            look()  # a verdict in words, or none: never a trace


def test_a_forged_exchange_of_a_wrong_form_stops_the_start_in_words(killed: Disk, tmp_path: Path) -> None:
    disk = killed.copy(tmp_path / "home")
    disk.append("admit", images=3, key=[], tokens="many")
    done = command(disk.home, "serve")
    assert (done.returncode, "Traceback" in done.stderr) == (10, False), done.stderr
