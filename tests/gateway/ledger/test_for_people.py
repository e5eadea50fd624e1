"""The commands as people use them: a receipt as it came, a text with a line's end, a disk that is full, in one sentence."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.ledger.client.messages import ProofReply, Receipt
from gateway.ledger.format.note import b64
from gateway.ledger.readers import verify_proof
from tests.support.deadline import eventually
from tests.support.ledger import Ledger, admit, client_of, command, complete, of_kind, running


async def _receipt(ledger: Ledger, prompt: str) -> tuple[dict[str, Any], bytes]:
    """An exchange's receipt as the gateway answers it, and the leaf of its admit."""
    async with client_of(ledger) as client:
        receipt = await client.admit(admit(prompt=prompt))
        assert isinstance(receipt, Receipt)
        await client.complete(complete(receipt.id, answer="nobody"))
        found: list[ProofReply] = []

        async def proven() -> bool:
            found.append(await client.receipt(receipt.id, "key-1", auditor=False))
            return found[-1].state == "found" and len(found[-1].proofs) == 2

        await eventually(proven)
        return {"id": receipt.id, "state": "found", "proofs": found[-1].proofs, "key": found[-1].key}, receipt.leaf


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], bytes]:
    home = tmp_path_factory.mktemp("people") / "home"
    with running(home, sign_every_s=0.05) as ledger:
        receipt, leaf = asyncio.run(_receipt(ledger, "who is this?"))
        assert ledger.stop() == 0
    (home.parent / "receipt.json").write_text(json.dumps(receipt))
    return home, receipt, leaf


def test_a_receipt_is_checked_as_it_came(told: tuple[Path, dict[str, Any], bytes], tmp_path: Path) -> None:
    home, receipt, leaf = told
    key = str(home / "ledger-keys" / "public.key")
    done = command(home, "verify-proof", "receipt.json", "--key", key)
    assert (done.returncode, done.stdout.count("OK: record ")) == (0, 2), done.stderr
    assert command(home, "verify-proof", "receipt.json", "--key", key, "--leaf", b64(leaf)).returncode == 0
    assert command(home, "verify-proof", "receipt.json", "--key", key, "--leaf", b64(bytes(32))).returncode == 10
    wrongs: list[Any] = [
        receipt | {"id": "01a206ea-f13f-769a-a616-48b66a509ec2"},
        receipt | {"proofs": []},
        receipt | {"proofs": [receipt["proofs"][0].replace("index ", "index 1")]},
        {"id": receipt["id"], "state": "not_yet"},
        receipt | {"proofs": 3},
        receipt | {"proofs": [3]},
    ]
    for wrong in wrongs:
        (tmp_path / "wrong.json").write_text(json.dumps(wrong))
        assert verify_proof.main([str(tmp_path / "wrong.json"), "--key", key]) == 10, wrong
    (tmp_path / "wrong.json").write_text("{")
    assert verify_proof.main([str(tmp_path / "wrong.json"), "--key", key]) == 10


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_text_is_found_with_and_without_the_lines_end_of_an_editor(
    told: tuple[Path, dict[str, Any], bytes], end: str
) -> None:
    home, receipt, _ = told
    (home.parent / "prompt.txt").write_bytes(b"who is this?" + end.encode())
    (home.parent / "answer.txt").write_bytes(b"nobody" + end.encode())
    for what in ("prompt", "answer"):
        done = command(home, "find", f"--{what}", f"{what}.txt")
        assert (done.returncode, receipt["id"] in done.stdout) == (0, True), done.stderr


def test_a_text_that_ends_in_a_line_feed_is_found_as_it_was_sent(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as ledger:
        receipt, _ = asyncio.run(_receipt(ledger, "two lines\n"))
        assert ledger.stop() == 0
    (tmp_path / "prompt.txt").write_bytes(b"two lines\n")
    assert receipt["id"] in command(home, "find", "--prompt", "prompt.txt").stdout
    (tmp_path / "prompt.txt").write_bytes(b"two lines")
    assert command(home, "find", "--prompt", "prompt.txt").returncode == 1


def test_a_recovery_lists_an_orphan_once(tmp_path: Path) -> None:
    async def begin() -> str:
        async with client_of(ledger) as client:
            receipt = await client.admit(admit())
            return receipt.id

    home, orphans = tmp_path / "home", []
    for _ in range(3):
        with running(home) as ledger:
            orphans.append(asyncio.run(begin()))
            ledger.kill()
    with running(home) as ledger:
        assert ledger.stop() == 0
        recoveries = of_kind(ledger, "recovery")
        assert [record["open_ids"] for record in recoveries] == [[orphan] for orphan in orphans]
        assert [record["open"] for record in recoveries] == [1, 2, 3]


def test_little_space_is_warned_of_at_the_start(tmp_path: Path) -> None:
    for name, free_bytes, warned in (("home", 1 << 60, True), ("other", 0, False)):
        with running(tmp_path / name, free_bytes=free_bytes) as ledger:
            assert ledger.stop() == 0
            events = [event["event"] for event in ledger.events()]
            assert ("little space is left for the log" in events) is warned


async def _ask(ledger: Ledger) -> None:
    async with client_of(ledger) as client:
        assert (await client.status()).signed_size == 1


def test_one_record_is_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as ledger:
        asyncio.run(_ask(ledger))
        ledger.kill()
    last = command(home, "verify").stdout.splitlines()[-1]
    assert last.startswith("OK: 1 record is unchanged, as signed at ")
    assert "OK: 1 record is in copy" in command(home, "backup", "copy").stdout
    assert "1 signed record continues" in command(home, "anchor", "--check", "home/ledger-keys/head").stdout
