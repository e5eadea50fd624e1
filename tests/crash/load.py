"""Load until a ledger dies, and the check afterwards: what was acknowledged must be there."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable

from gateway.ledger.client.async_client import Deadlines, LedgerClient
from gateway.ledger.client.messages import Receipt
from gateway.ledger.errors import LedgerUnavailable
from gateway.ledger.readers.reader import LogReader
from gateway.ledger.readers.verification import Report, verify
from gateway.ledger.storage.keyring import Keyring
from gateway.ledger.storage.layout import LogLayout
from tests.support.deadline import eventually
from tests.support.ledger import Ledger, admit, complete

ROUNDS = int(os.environ.get("VITRINE_TEST_ROUNDS", "6"))
Acknowledged = list[tuple[int, bytes]]


async def load(ledger: Ledger, *, exchanges: int | None = None, senders: int = 16) -> Acknowledged:
    """Exchanges until the ledger is gone (or `exchanges` are done); index and leaf of every acknowledged record."""
    kept: Acknowledged = []
    numbers = itertools.count()
    client = await LedgerClient.connect(ledger.socket, Deadlines(10, 10, 10), wait_s=15)

    async def sender() -> None:
        for number in numbers:
            if exchanges is not None and number >= exchanges:
                return
            receipt = await client.admit(admit(number, picture=b"picture %d" % number))
            assert isinstance(receipt, Receipt)
            kept.append((receipt.index, receipt.leaf))
            ended = await client.complete(complete(receipt.id))
            kept.append((ended.index, ended.leaf))

    tasks = [asyncio.create_task(sender()) for _ in range(senders)]
    await eventually(
        lambda: ledger.process.poll() is not None or all(task.done() for task in tasks),
        within_s=45,
        what="the load or the ledger ended",
    )
    for task in tasks:
        task.cancel()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    await client.aclose()
    strange = [end for end in ends if isinstance(end, Exception) and not isinstance(end, LedgerUnavailable)]
    assert strange == []
    return kept


def check(ledger: Ledger, acknowledged: Acknowledged) -> Report:
    """Verify the log as it lies there, against the local anchor too, and find every acknowledged record in it."""
    keyring, layout = Keyring(ledger.home / "ledger-keys"), LogLayout(ledger.home / "ledger")
    report = verify(layout, keyring.verifier(), [keyring.anchor], lambda done, left: None)
    reader = LogReader(layout, keyring.verifier())
    leaves = reader.leaves(0, reader.size)
    lost = [index for index, leaf in acknowledged if leaves[index * 32 : index * 32 + 32] != leaf]
    assert lost == [], f"acknowledged and lost: {lost[:10]}"
    return report


def start_again(ledger: Ledger, acknowledged: Acknowledged, act: Callable[[Ledger], None] | None = None) -> Report:
    """Start on what is left, stop in order, and check again."""
    again = Ledger(ledger.home, segment_bytes=64 << 10)
    try:
        again.wait_ready()
        if act is not None:
            act(again)
        assert again.stop() == 0, again.said()
    finally:
        again.end()
    report = check(again, acknowledged)
    assert report.torn_bytes == 0
    assert report.signed_records == report.records
    return report
