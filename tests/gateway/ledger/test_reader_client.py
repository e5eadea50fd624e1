"""The log's reading process: there while somebody reads, however slowly, and gone once nobody does."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from gateway.ledger.client.reader_client import ReaderClient
from gateway.ledger.readers.reader_process import ReaderQuestion
from gateway.ledger.settings import LedgerSettings
from tests.support.deadline import until
from tests.support.ledger import make_log

pytestmark = pytest.mark.process  # the log is read in a process of its own

IDLE_S = 1.0


def room_of(home: Path) -> ReaderClient:
    make_log(home)
    return ReaderClient(LedgerSettings(folder=home / "ledger", keys=home / "ledger-keys"), idle_s=IDLE_S)


def children() -> list[int]:
    """The reading processes of this process."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ended since it was listed
            found += map(int, (task / "children").read_text().split())
    return [pid for pid in found if b"reader_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def test_who_reads_slowly_is_not_thrown_out_and_who_is_idle_is(tmp_path: Path) -> None:
    room = room_of(tmp_path)
    assert (await room.ask(ReaderQuestion(head=True)))["is"] == "head"
    (pid,) = children()
    os.kill(pid, signal.SIGSTOP)
    try:
        slow = asyncio.create_task(room.ask(ReaderQuestion(head=True)))
        await asyncio.sleep(3 * IDLE_S)
        assert not slow.done()
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (await slow)["is"] == "head"
    # The next one finds the same process: nobody ended it while it was at work.
    began_s = time.monotonic()
    assert (await room.ask(ReaderQuestion(head=True)))["is"] == "head"
    assert children() == [pid]
    await asyncio.to_thread(until, lambda: children() == [], what="the process gone")
    assert time.monotonic() - began_s >= IDLE_S
    assert (await room.ask(ReaderQuestion(head=True)))["is"] == "head"
    assert children() not in ([], [pid])
    await room.close()
    assert children() == []


async def test_who_asks_again_and_again_keeps_the_process(tmp_path: Path) -> None:
    room = room_of(tmp_path)
    await room.ask(ReaderQuestion(head=True))
    kept = children()
    for _ in range(6):
        await asyncio.sleep(IDLE_S / 2)
        await room.ask(ReaderQuestion(head=True))
    assert children() == kept
    await room.close()
