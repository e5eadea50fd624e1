"""The client while the ledger is slow, gone or back again: deadlines, what is held meanwhile, and what is recorded once."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import uvloop

from gateway.ledger.client.async_client import Deadlines, LedgerClient
from gateway.ledger.client.messages import Boot, Receipt
from gateway.ledger.errors import LedgerRefused, LedgerUnavailable
from tests.support.deadline import eventually
from tests.support.ledger import (
    admit,
    client_of,
    command,
    complete,
    environment,
    exchange,
    of_kind,
    running,
)


async def test_many_calls_in_flight_each_get_their_own_answer(tmp_path: Path) -> None:
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            receipts = await asyncio.gather(*[client.admit(admit(number)) for number in range(500)])
            ids = [receipt.id for receipt in receipts]
            assert len(set(ids)) == 500
            status = await client.status()
            assert status.open_exchanges == 500
        assert ledger.stop() == 0
        found = {record["id"]: record["request"] for record in of_kind(ledger, "admit")}
        assert [found[identity] for identity in ids] == [f"request-{number}" for number in range(500)]


async def test_a_ledger_that_does_not_answer_is_unavailable_within_the_deadline(tmp_path: Path) -> None:
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger, deadlines=Deadlines(admit_s=0.25, complete_s=20, other_s=20)) as client:
            await client.status()
            ledger.process.send_signal(signal.SIGSTOP)
            try:
                with pytest.raises(LedgerUnavailable, match="within 250 ms"):
                    await client.admit(admit())
            finally:
                ledger.process.send_signal(signal.SIGCONT)
            assert (await client.status()).open_exchanges == 0, "the late admit was voided"
        assert ledger.stop() == 0
        (late,) = of_kind(ledger, "complete")
        assert (late["outcome"], late["status"]) == ("refused", 503)


def test_an_answer_that_came_while_the_loop_was_busy_is_not_late(tmp_path: Path) -> None:
    """uvloop runs its timers before it reads: what lies in the socket since long must be looked at first."""

    async def busy() -> Receipt | object:
        async with client_of(ledger, deadlines=Deadlines(admit_s=0.25, complete_s=20, other_s=20)) as client:
            await client.status()
            call = client.admission(admit())
            await asyncio.sleep(0)  # it is sent
            time.sleep(0.5)  # noqa: ASYNC251  the loop does something else for longer than the deadline
            return await call.wait()

    with running(tmp_path / "home") as ledger:
        assert isinstance(uvloop.run(busy()), Receipt)
        assert ledger.stop() == 0


async def test_the_client_comes_back_after_a_restart_and_a_running_exchange_ends_well(tmp_path: Path) -> None:
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger, boot=Boot("gateway")) as client:
            receipt = await client.admit(admit())
            assert isinstance(receipt, Receipt)
            ledger.kill()
            with running(tmp_path / "home") as again:
                await client.complete(complete(receipt.id))
                assert await exchange(client)
                assert again.stop() == 0
                assert {record["id"] for record in of_kind(again, "complete")} >= {receipt.id}
                (recovery,) = of_kind(again, "recovery")
                assert recovery["open_ids"] == [receipt.id]
                assert len([boot for boot in of_kind(again, "boot") if boot["room"] == "gateway"]) == 2


async def test_an_end_that_is_told_twice_is_recorded_once(tmp_path: Path) -> None:
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            receipt = await client.admit(admit())
            first = await client.complete(complete(receipt.id))
            again = await client.complete(complete(receipt.id, outcome="timed_out"))
            assert (again.index, again.leaf) == (first.index, first.leaf)


async def test_buffered_goes_on_without_the_ledger_and_hands_in_what_it_held(tmp_path: Path) -> None:
    deadlines = Deadlines(admit_s=0.05, complete_s=0.05, other_s=20)
    with running(tmp_path / "home", mode="buffered") as ledger:
        async with client_of(ledger, deadlines=deadlines, buffered=True) as client:
            ledger.kill()
            receipt = await client.admit(admit())
            assert isinstance(receipt, Receipt)
            assert receipt.index == -1
            assert (await client.complete(complete(receipt.id))).index == -1
            with running(tmp_path / "home", mode="buffered") as again:
                await eventually(lambda: [r for r in of_kind(again, "complete") if r["id"] == receipt.id])
                (late,) = of_kind(again, "admit")
                assert late["late_ms"] > 0


async def test_a_buffer_that_overflows_leaves_a_gap_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.ledger.client.async_client.MOST_HELD", 2)  # a bound, not behaviour
    deadlines = Deadlines(admit_s=0.01, complete_s=0.01, other_s=20)
    with running(tmp_path / "home", mode="buffered") as ledger:
        async with client_of(ledger, deadlines=deadlines, buffered=True) as client:
            ledger.kill()
            for number in range(5):
                await client.admit(admit(number))
            with running(tmp_path / "home", mode="buffered") as again:
                await eventually(lambda: of_kind(again, "gap"))
                assert of_kind(again, "gap")[0]["count"] == 3
                assert again.stop() == 0
    done = command(tmp_path / "home", "verify")
    assert done.returncode == 12
    assert "3 records could not be written" in done.stdout


async def test_a_late_admit_is_refused_in_strict_mode(tmp_path: Path) -> None:
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            with pytest.raises(LedgerRefused, match="buffered alone"):
                await client.admit(admit(late="01a206ea-f13f-769a-a616-48b66a509ec2"))


async def test_no_ledger_at_all_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable, match="serve"):
        await LedgerClient.connect(tmp_path / "nothing.sock", wait_s=0.2)
    client = await LedgerClient.connect(tmp_path / "nothing.sock", wait_s=0)
    assert not client.connected
    with pytest.raises(LedgerUnavailable):
        await client.admit(admit())
    await client.aclose()


def test_the_client_works_under_uvloop(tmp_path: Path) -> None:
    with running(tmp_path / "home") as ledger:
        program = (
            "import asyncio, uvloop\n"
            "from pathlib import Path\n"
            "from tests.support.ledger import *\n"
            "async def main():\n"
            f"    async with await LedgerClient.connect(Path({str(ledger.socket)!r}), PATIENT) as client:\n"
            "        assert len(set(await exchanges(client, 50))) == 50\n"
            "uvloop.run(main())\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            env=environment(tmp_path / "home"),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
