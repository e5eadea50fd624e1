"""The ledger process over the real socket: what it records, what it refuses, how it starts and ends."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import tempfile
from pathlib import Path

import pytest

from gateway.ledger.client.async_client import Deadlines, LedgerClient
from gateway.ledger.client.messages import Boot, Deny, Integrity, KeyEvent, Receipt, Refusal
from gateway.ledger.errors import LedgerRefused, LedgerUnavailable
from gateway.ledger.format.record import is_canonical
from gateway.ledger.readers.reader import LogReader
from tests.support.deadline import eventually
from tests.support.ledger import (
    Ledger,
    admit,
    client_of,
    command,
    complete,
    exchange,
    exchanges,
    limit,
    of_kind,
    records,
    running,
    sha256,
    text,
    verifier_of,
)


async def test_the_record_of_a_start_holds_as_many_places_as_it_may_name(tmp_path: Path) -> None:
    places = tuple(f"https://{number:03}.{'a' * 244}" for number in range(192))
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger, boot=Boot("gateway", {}, places)) as client:
            assert isinstance(await client.admit(admit()), Receipt)
        assert ledger.stop() == 0
        assert of_kind(ledger, "boot")[1]["outbound"] == list(places)


async def test_an_exchange_leaves_two_records_and_no_content(tmp_path: Path) -> None:
    canary, picture = "CANARY-PROMPT-7f3a", b"CANARY-IMAGE-99b1"
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger, boot=Boot("gateway", {"version": "0.1.0"}, ("ldap.example:636",))) as client:
            receipt = await client.admit(admit(prompt=canary, picture=picture, fields={"user": text("CANARY-USER")}))
            assert isinstance(receipt, Receipt)
            ended = await client.complete(complete(receipt.id, answer="CANARY-ANSWER-55d0"))
        assert ledger.stop() == 0
        begun, end = of_kind(ledger, "admit")[0], of_kind(ledger, "complete")[0]
        boots = of_kind(ledger, "boot")
        assert begun["id"] == end["id"] == receipt.id
        assert (begun["prompt"]["chars"], begun["images"][0]["bytes"]) == (len(canary), len(picture))
        assert (end["outcome"], end["status"], end["answer_tokens"]) == ("completed", 200, 12)
        assert begun["boot"] == end["boot"] == boots[1]["id"]
        assert boots[1]["outbound"] == ["ldap.example:636"]
        assert ended.index == receipt.index + 1
        kept = b"".join(path.read_bytes() for path in ledger.home.rglob("*") if path.is_file())
        for content in (canary, picture.decode(), "CANARY-ANSWER", "CANARY-USER"):
            assert content.encode() not in kept
            assert sha256(content.encode()).hex().encode() not in kept
        for _, line in LogReader(ledger.layout, verifier_of(ledger)).lines():
            assert is_canonical(line)


async def _exchange_one_by_one(client: LedgerClient, count: int) -> None:
    for number in range(count):
        await exchange(client, number)


async def test_a_record_that_changes_on_the_disk_ends_the_ledger_after_a_few_more(tmp_path: Path) -> None:
    with running(tmp_path / "home", sign_every_s=60) as ledger:
        async with client_of(ledger, deadlines=Deadlines(5, 5, 5)) as client:
            await exchange(client)
            with ledger.layout.file(1, "jsonl").open("r+b") as file:
                file.seek(-10, os.SEEK_END)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 1]))
            with pytest.raises(LedgerUnavailable):
                await _exchange_one_by_one(client, 40)  # two records each
        assert ledger.wait() == 1
        assert "not those that were written" in ledger.said()


async def test_mode_off_is_loud_keeps_limits_and_leaves_no_exchange(tmp_path: Path) -> None:
    with running(tmp_path / "home", mode="off") as ledger:
        async with client_of(ledger) as client:
            receipt = await client.admit(admit(limits=(limit(requests_per_min=1),)))
            assert isinstance(receipt, Receipt)
            assert receipt.index == -1
            assert isinstance(await client.admit(admit(limits=(limit(requests_per_min=1),))), Refusal)
            await client.complete(complete(receipt.id))
        assert ledger.stop() == 0
        assert [record["kind"] for record in records(ledger)] == ["boot", "shutdown"]
        assert records(ledger)[0]["mode"] == "off"
        assert any("THE AUDIT LOG IS OFF" in event["event"] for event in ledger.events())


async def test_key_integrity_and_deny_records_carry_what_was_told(tmp_path: Path) -> None:
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            await client.key_event(KeyEvent("created", "key-9", "root@console", {"tenant": "lab"}))
            await client.integrity(
                Integrity("model file changed", "serve", "aa", "bb", {"file": "model-1.safetensors"})
            )
            await client.deny(Deny("unknown key", 401, "192.0.2.9", "127.0.0.1:1", "/v1/models"))
        assert ledger.stop() == 0
        assert (
            of_kind(ledger, "key")[0] | {"event": "created", "key": "key-9", "by": "root@console"}
            == of_kind(ledger, "key")[0]
        )
        assert of_kind(ledger, "integrity")[0]["new"] == "bb"
        assert of_kind(ledger, "deny")[0]["reason"] == "unknown key"


@pytest.mark.parametrize(("key", "tenant"), [(None, None), ("user_1", None), ("key-1", "lab")])
async def test_a_log_with_a_refusal_of_anybody_is_taken_up_again(
    tmp_path: Path, key: str | None, tenant: str | None
) -> None:
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            await client.deny(Deny("wrong", 401, "192.0.2.9", "127.0.0.1:1", "/v1", key=key, tenant=tenant))
        assert ledger.stop() == 0
    with running(tmp_path / "home") as ledger:
        assert ledger.stop() == 0


async def test_a_roll_up_says_whose_account_was_tried_and_is_found_by_it(tmp_path: Path) -> None:
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            for number in range(30):
                key = "user_1" if number % 2 else None
                await client.deny(Deny("wrong_password", 401, "192.0.2.9", "127.0.0.1:1", "/auth/sign-in", key=key))
        assert ledger.stop() == 0
        (flood,) = [record for record in of_kind(ledger, "deny") if record["reason"] == "flood"]
        assert (flood["count"], flood["keys"]) == (20, {"user_1": 10})
        found = command(tmp_path / "home", "find", "--key", "user_1", "--json").stdout
        assert [row["deny"]["reason"] for row in map(json.loads, found.splitlines())].count("flood") == 1
        assert command(tmp_path / "home", "find", "--key", "user_2", "--json").stdout == ""
    with running(tmp_path / "home") as ledger:
        assert ledger.stop() == 0


def test_another_program_can_raise_an_alarm_with_nothing_but_json(tmp_path: Path) -> None:
    with running(tmp_path / "home") as ledger:
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(10)
        ours.connect(str(ledger.socket))
        ours.send(json.dumps({"n": 1, "ask": {"do": "integrity", "what": "egress", "by": "serve"}}).encode())
        answer = json.loads(ours.recv(65536))
        ours.close()
        assert answer["n"] == 1
        assert answer["say"]["is"] == "receipt"


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"{",
        b"[]",
        b'{"n":1}',
        b'{"n":1,"ask":{"do":"nothing"}}',
        b"\xff\xfe",
        b"x" * 200_000,
        b'{"n":1,"ask":{"do":"integrity","what":"x","by":"y","more":1}}',
        b'{"n":1,"ask":{"do":"complete","id":"no id","outcome":"completed","status":200}}',
    ],
    ids=["empty", "cut", "a list", "no ask", "unknown ask", "no text", "long", "a field too many", "no id"],
)
def test_a_packet_that_is_not_understood_gets_a_fault_or_the_door_and_harms_nobody(
    tmp_path: Path, packet: bytes
) -> None:
    with running(tmp_path / "home") as ledger:
        ours = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(10)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        ours.connect(str(ledger.socket))
        ours.send(packet)
        answer = ours.recv(65536)
        ours.close()
        assert answer == b"" or json.loads(answer)["say"]["is"] == "fault"
        assert ledger.process.poll() is None
        assert ledger.stop() == 0


async def test_a_record_too_large_for_the_log_is_refused_not_cut(tmp_path: Path) -> None:
    with running(tmp_path / "home") as ledger:
        async with client_of(ledger) as client:
            long = {f"field-{number}": "é" * 256 for number in range(64)}
            with pytest.raises(LedgerRefused, match="at most 65535 bytes"):
                await client.admit(admit(params=long))
            assert await exchange(client)


def test_it_stops_in_order_on_sigterm_and_says_so(tmp_path: Path) -> None:
    with running(tmp_path / "home") as ledger:
        assert ledger.stop() == 0
        assert not ledger.socket.exists()
        assert records(ledger)[-1]["kind"] == "shutdown"
        events = [event["event"] for event in ledger.events()]
        assert events[0] == "a new log was made"
        assert "the ledger is ready" in events
        assert events[-1] == "the ledger has stopped"
    with running(tmp_path / "home") as ledger:
        assert ledger.stop() == 0
        assert of_kind(ledger, "recovery") == []


def test_a_second_ledger_is_refused(tmp_path: Path) -> None:
    with running(tmp_path / "home"):
        done = command(tmp_path / "home", "serve")
        assert done.returncode == 1
        assert "one log has one writer" in done.stderr


def test_everything_it_makes_is_private(tmp_path: Path) -> None:
    with running(tmp_path / "home") as ledger:
        for path in [*ledger.home.rglob("*"), ledger.home]:
            mode = stat.S_IMODE(path.stat().st_mode)
            if path.name in ("public.key", "ledger", "head") and path.is_file():
                assert mode == 0o644
            elif path != ledger.home:
                assert mode & 0o077 == 0, f"{path} {mode:o}"


async def test_silence_is_proven_by_heads_that_go_on(tmp_path: Path) -> None:
    with running(tmp_path / "home", sign_idle_s=1) as ledger:
        async with client_of(ledger) as client:
            first = await client.status()

            async def signed_again() -> bool:
                return (await client.status()).signed_ms >= first.signed_ms + 2000

            await eventually(signed_again)
            assert (await client.status()).size == first.size
    assert command(tmp_path / "home", "verify").returncode == 0


async def test_the_local_anchor_stops_a_log_that_was_rolled_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as ledger:
        assert ledger.stop() == 0
        old = {path: path.read_bytes() for path in ledger.layout.folder.rglob("*") if path.is_file()}
    with running(home) as ledger:
        async with client_of(ledger) as client:
            await exchanges(client, 5)
        assert ledger.stop() == 0
    for path, data in old.items():
        path.write_bytes(data)
    done = command(home, "serve")
    assert done.returncode == 11, done.stderr
    assert command(home, "verify").returncode == 11


def test_verify_runs_beside_a_writer(tmp_path: Path) -> None:
    async def load(ledger: Ledger) -> None:
        async with client_of(ledger) as client:
            for _ in range(6):
                await exchanges(client, 100)
                done = await asyncio.to_thread(command, tmp_path / "home", "verify")
                assert done.returncode == 0, done.stdout + done.stderr

    with running(tmp_path / "home", segment_bytes=64 << 10, sign_every_s=0.02) as ledger:
        asyncio.run(load(ledger))


def test_a_log_on_a_filesystem_that_forgets_needs_to_be_told(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or not os.access(memory, os.W_OK):
        pytest.skip("needs a writable /dev/shm")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        home = Path(folder) / "home"
        done = command(home, "serve", allow_volatile="false")
        assert done.returncode == 78
        assert "VITRINE_LEDGER_ALLOW_VOLATILE" in done.stderr
        with running(home, allow_volatile="true") as ledger:
            assert ledger.stop() == 0
