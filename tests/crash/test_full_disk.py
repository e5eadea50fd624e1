"""A real small filesystem that fills up: the ledger ends, says why, and goes on when there is room again."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.ledger.client.async_client import LedgerClient
from gateway.ledger.errors import LedgerRefused
from tests.crash.load import check, load, start_again
from tests.support.deadline import eventually, until
from tests.support.ledger import Ledger, admit, client_of, command, complete

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small filesystem"),
    pytest.mark.skipif(shutil.which("mount") is None, reason="needs the Debian program mount"),
]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 768 KiB; the test says that losing it is acceptable."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=768k,mode=0700", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"may not mount here: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_fills_up_ends_the_ledger_and_loses_nothing(small: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "ledger").symlink_to(small / "ledger")
    (small / "ledger").mkdir(mode=0o700)
    ledger = Ledger(home, free_bytes=0, reserve_bytes=0)
    try:
        ledger.wait_ready()
        acknowledged = asyncio.run(load(ledger))
        assert ledger.wait() == 1
    finally:
        ledger.end()
    assert "No space left on device" in ledger.said()
    assert len(acknowledged) > 500
    check(ledger, acknowledged)

    still_full = command(home, "serve", reserve_bytes=0)
    assert still_full.returncode == 1
    assert "No space left on device" in still_full.stderr
    check(ledger, acknowledged)

    subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
    start_again(ledger, acknowledged)


def test_a_log_that_may_only_be_read_is_a_clear_error(small: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "ledger").symlink_to(small / "ledger")
    (small / "ledger").mkdir(mode=0o700)
    assert command(home, "init").returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    done = command(home, "serve")
    assert done.returncode == 78
    assert "Read-only file system" in done.stderr
    assert command(home, "verify").returncode == 0


def test_a_disk_that_another_program_fills_refuses_in_time_and_comes_back_by_itself(
    small: Path, tmp_path: Path
) -> None:
    subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
    home, filler = tmp_path / "home", small / "filler"
    home.mkdir()
    (home / "ledger").symlink_to(small / "ledger")
    (small / "ledger").mkdir(mode=0o700)
    filler.write_bytes(b"\0" * (15 << 19))  # half a MiB is left, less than a start wants
    ledger = Ledger(home, reserve_bytes=2 << 20)

    async def fill_and_free() -> None:
        async with client_of(ledger) as client:
            runs = (await client.admit(admit(1))).id
            filler.write_bytes(b"\0" * (7 << 20))
            await eventually(lambda: refused(client), what="nothing new is admitted")
            assert (await client.complete(complete(runs))).index >= 0
            filler.unlink()
            await eventually(lambda: admitted(client), what="exchanges are admitted again")

    try:
        until(lambda: "the ledger waits for room before it starts" in ledger.said(), what="it waits")
        filler.unlink()
        ledger.wait_ready()
        asyncio.run(fill_and_free())
        assert ledger.stop() == 0
    finally:
        ledger.end()
    assert "there is room on the disk again" in ledger.said()
    assert command(home, "verify").returncode == 0


async def refused(client: LedgerClient) -> bool:
    return not await admitted(client)


async def admitted(client: LedgerClient) -> bool:
    try:
        await client.admit(admit())
    except LedgerRefused:
        return False
    return True
