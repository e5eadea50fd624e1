"""Receipts and their proofs, asked of the ledger process over the real socket."""

from __future__ import annotations

import json
from pathlib import Path

from gateway.ledger.client.async_client import LedgerClient
from gateway.ledger.client.messages import Deny, Receipt
from gateway.ledger.readers import verify_proof
from tests.support.deadline import eventually
from tests.support.ledger import (
    admit,
    client_of,
    complete,
    exchange,
    exchanges,
    running,
    verifier_of,
)


async def test_the_receipt_is_the_leaf_and_its_proof_convinces_the_auditor(tmp_path: Path) -> None:
    with running(tmp_path / "home", sign_every_s=0.05) as ledger:
        async with client_of(ledger) as client:
            receipt = await client.admit(admit())
            assert isinstance(receipt, Receipt)
            await client.complete(complete(receipt.id))
            proven = await _until_found(client, receipt.id)
        key = verifier_of(ledger).format()
        origin, index, _, record = verify_proof.check(proven[0], key, leaf=receipt.leaf)
        assert (origin, index) == (receipt.origin, receipt.index)
        assert record is not None
        assert json.loads(record)["id"] == receipt.id
        assert len(proven) == 2


async def _until_found(client: LedgerClient, identity: str, key: str = "key-1") -> tuple[str, ...]:
    async def found() -> tuple[str, ...]:
        answer = await client.receipt(identity, key)
        assert answer.state in ("not_yet", "found")
        return answer.proofs if answer.state == "found" and len(answer.proofs) == 2 else ()

    return await eventually(found)


async def test_a_receipt_is_only_for_its_caller_or_an_auditor(tmp_path: Path) -> None:
    with running(tmp_path / "home", sign_every_s=0.05) as ledger:
        async with client_of(ledger) as client:
            identity = await exchange(client)
            await _until_found(client, identity)
            assert (await client.receipt(identity, "key-2")).state == "not_yours"
            assert (await client.receipt(identity, "auditor", auditor=True)).state == "found"
            assert (await client.receipt("01a206ea-f13f-769a-a616-48b66a509ec2", "key-1")).state == "not_found"
            assert (await client.receipt("no id", "key-1")).state == "not_found"


async def test_a_receipt_not_covered_by_a_head_yet_says_when_to_ask_again(tmp_path: Path) -> None:
    with running(tmp_path / "home", sign_every_s=60) as ledger:
        async with client_of(ledger) as client:
            identity = await exchange(client)
            answer = await client.receipt(identity, "key-1")
            assert (answer.state, answer.proofs) == ("not_yet", ())
            assert answer.retry_ms > 0


async def test_another_caller_is_told_the_same_of_a_record_in_every_state_as_of_one_that_does_not_exist(
    tmp_path: Path,
) -> None:
    unknown = "01a206ea-f13f-769a-a616-48b66a509ec2"
    with running(tmp_path / "home", sign_every_s=60) as ledger:
        async with client_of(ledger) as client:
            ended = await exchange(client)
            opened = (await client.admit(admit())).id
            denied = (await client.deny(Deny("limit", 429, "192.0.2.7", "127.0.0.1:5000", "/v1/x", key="key-1"))).id
            assert (await client.receipt(opened, "key-1")).state == "not_yet"
            for identity in (ended, opened, denied, unknown):
                answer = await client.receipt(identity, "key-2")
                assert answer.state in ("not_yours", "not_found")  # the route answers both with the same 404
                assert (answer.proofs, answer.retry_ms, answer.key) == ((), 0, "")
            assert (await client.receipt(opened, "auditor", auditor=True)).state == "not_yet"
        assert ledger.stop() == 0
    # All of it is signed by now, and the next process knows the open exchange from the log alone.
    with running(tmp_path / "home", sign_every_s=0.05) as ledger:
        async with client_of(ledger) as client:
            assert (await client.receipt(opened, "key-1")).state == "found"
            assert (await client.receipt(denied, "key-1")).state == "found"
            for identity in (ended, opened, denied, unknown):
                assert (await client.receipt(identity, "key-2")).state in ("not_yours", "not_found")


async def test_receipts_survive_rotation_and_packing(tmp_path: Path) -> None:
    with running(tmp_path / "home", sign_every_s=0.05, segment_bytes=64 << 10) as ledger:
        async with client_of(ledger) as client:
            identity = await exchange(client)
            await exchanges(client, 200)
            assert (await client.status()).segment > 1
            await _until_found(client, identity)
        assert ledger.stop() == 0
        assert ledger.layout.file(1, "jsonl.zst").exists()
    with running(tmp_path / "home", sign_every_s=0.05) as ledger:
        async with client_of(ledger) as client:
            proofs = await _until_found(client, identity)
            assert verify_proof.check(proofs[1], verifier_of(ledger).format())[3] is not None
