"""kill -9 under load, again and again: no acknowledged record is lost and the log verifies before and after the repair."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.crash.load import ROUNDS, check, load, start_again
from tests.support.ledger import Ledger


@pytest.mark.timeout(30 * ROUNDS)
def test_no_acknowledged_record_is_lost_to_kill_9_under_load(tmp_path: Path) -> None:
    home = tmp_path / "home"
    acknowledged = []
    for turn in range(ROUNDS):
        ledger = Ledger(home, segment_bytes=64 << 10, sign_every_s=0.02)
        try:
            ledger.wait_ready()
            acknowledged += asyncio.run(_killed(ledger, 0.1 + 0.05 * (turn % 7)))
        finally:
            ledger.end()
        check(ledger, acknowledged)
    assert len(acknowledged) > ROUNDS
    report = start_again(ledger, acknowledged)
    assert report.segments > 1
    assert report.kinds["recovery"] >= ROUNDS - 1


async def _killed(ledger: Ledger, after_s: float) -> list[tuple[int, bytes]]:
    loading = asyncio.create_task(load(ledger))
    # When it dies is what the rounds vary; nothing waits for a moment to come.
    await asyncio.sleep(after_s)
    ledger.process.kill()
    return await loading
