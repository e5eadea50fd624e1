"""The commands on one real log: what they print, what they exit with, and that each has --json."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.ledger.client.messages import Deny, Receipt
from tests.support.deadline import until
from tests.support.ledger import BASE, admit, client_of, command, complete, environment, exchange, exchanges, running

PICTURE = b"\x89PNG a picture that one caller sent"


@dataclass
class Made:
    home: Path
    id: str
    old_head: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A log of several segments with one known picture in it, its process ended in order."""
    folder = tmp_path_factory.mktemp("commands")
    home = folder / "home"

    async def fill() -> tuple[str, str]:
        async with client_of(ledger) as client:
            await exchanges(client, 100)
            old = command(home, "anchor").stdout
            receipt = await client.admit(admit(picture=PICTURE, prompt="who is this?", ip="198.51.100.3", key="key-9"))
            assert isinstance(receipt, Receipt)
            await client.complete(complete(receipt.id, answer="nobody"))
            await client.deny(Deny("unknown key", 401, "203.0.113.5", "unix", "/v1/models"))
            await exchanges(client, 60)
            await client.admit(admit(prompt="never answered"))
            return receipt.id, old

    with running(home, segment_bytes=64 << 10, sign_every_s=0.05) as ledger:
        identity, old = asyncio.run(fill())
        assert ledger.stop() == 0
    (folder / "picture.png").write_bytes(PICTURE)
    (folder / "other.png").write_bytes(b"never sent")
    (folder / "prompt.txt").write_text("who is this?")
    (folder / "answer.txt").write_text("nobody")
    (folder / "old").write_text(old)
    return Made(home, identity, old)


def said(made: Made, *arguments: str, code: int = 0) -> str:
    done = command(made.home, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if not code else done.stdout + done.stderr


def test_verify_ends_with_one_sentence(made: Made) -> None:
    lines = said(made, "verify").splitlines()
    assert lines[-1].startswith("OK: all ")
    assert "records a second" in lines[1]
    assert any("1 exchange without an end" in line for line in lines)


def test_verify_as_json(made: Made) -> None:
    report = json.loads(said(made, "verify", "--json"))
    assert report["verified"] is True
    assert report["exit_code"] == 0
    assert report["kinds"]["admit"] == 162
    assert report["segments"] > 1
    assert report["anchors"] == 1


@pytest.mark.parametrize("how", [["--image", "picture.png"], ["--prompt", "prompt.txt"], ["--answer", "answer.txt"]])
def test_find_says_who_sent_a_content(made: Made, how: list[str]) -> None:
    text = said(made, "find", *how)
    assert "key-9 (lab)" in text
    assert "198.51.100.3" in text
    assert "completed" in text
    assert made.id in text
    assert "\n1 match in " in text


def test_find_by_caller_address_and_time(made: Made) -> None:
    assert made.id in said(made, "find", "--key", "key-9")
    assert made.id in said(made, "find", "--ip", "198.51.100.3", "--since", "1h")
    assert "unknown key" in said(made, "find", "--ip", "203.0.113.5")
    (row,) = [json.loads(line) for line in said(made, "find", "--image", "picture.png", "--json").splitlines()]
    assert row["admit"]["ip"] == "198.51.100.3"
    assert row["complete"]["outcome"] == "completed"
    one = said(made, "find", "--image", "picture.png", "--processes", "1", "--json")
    assert json.loads(one) == row


def test_find_that_finds_nothing_ends_with_1(made: Made) -> None:
    assert "0 matches in" in said(made, "find", "--image", "other.png", code=1)
    said(made, "find", "--key", "key-9", "--since", "2099-01-01", code=1)


@pytest.mark.parametrize(
    "wrong", [["find"], ["find", "--since", "soon"], ["find", "--image", "none"], ["bogus"], ["export"], ["prove"]]
)
def test_wrong_usage_ends_with_64(made: Made, wrong: list[str]) -> None:
    said(made, *wrong, code=64)


def test_prove_and_verify_proof(made: Made, tmp_path: Path) -> None:
    said(made, "prove", made.id, "--to", str(tmp_path))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"{made.id}-admit.tlog-proof", f"{made.id}-complete.tlog-proof"]
    key = str(made.home / "ledger-keys" / "public.key")
    text = said(made, "verify-proof", str(tmp_path / names[0]), "--key", key)
    assert text.startswith("OK: record ")
    assert made.id in text
    spoiled = tmp_path / "spoiled"
    spoiled.write_text((tmp_path / names[0]).read_text().replace("index ", "index 1"))
    said(made, "verify-proof", str(spoiled), "--key", key, code=10)
    assert len(json.loads(said(made, "prove", made.id, "--json"))) == 2
    said(made, "prove", "01a206ea-f13f-769a-a616-48b66a509ec2", code=1)


def test_reveal_opens_one_exchange_and_no_other(made: Made) -> None:
    text = said(made, "reveal", made.id, "--content", "picture.png")
    assert "picture.png is its image 1." in text
    said(made, "reveal", made.id, "--content", "other.png", code=1)
    shown = json.loads(said(made, "reveal", made.id, "--json"))["records"]
    other = json.loads(said(made, "reveal", "5", "--json"))["records"]
    assert shown[0]["record_key"] == shown[1]["record_key"] != other[0]["record_key"]


def test_consistency_and_anchor(made: Made, tmp_path: Path) -> None:
    assert "continues the one of" in said(made, "consistency", "old")
    assert said(made, "anchor", "--check", "old").startswith("OK: the log of")
    said(made, "anchor", "--to", str(tmp_path / "head"))
    assert "0 hashes prove it" in said(made, "consistency", str(tmp_path / "head"))
    said(made, "consistency", str(tmp_path / "head"), "old", code=11)
    (tmp_path / "bad").write_text(made.old_head.replace("\n", "\n1", 1))
    said(made, "consistency", str(tmp_path / "bad"), code=10)
    assert json.loads(said(made, "anchor", "--json"))["origin"] in made.old_head


def test_tail_reads_like_an_access_log(made: Made) -> None:
    lines = said(made, "tail", "-n", "400").splitlines()
    line = next(line for line in lines if made.id in line)
    assert "198.51.100.3 key-9 /v1/chat/completions glm-4v 336×336 200 completed 40+12 tok 220 ms, first 30 ms" in line
    assert any("203.0.113.5 - /v1/models 401 denied: unknown key" in line for line in lines)
    assert json.loads(said(made, "tail", "-n", "1", "--json"))["kind"] == "shutdown"


@pytest.mark.parametrize("form", ["--ocsf", "--ecs", "--csv"])
def test_exports_have_one_line_a_record(made: Made, tmp_path: Path, form: str) -> None:
    records = json.loads(said(made, "verify", "--json"))["records"]
    said(made, "export", form, "--to", str(tmp_path / "out"))
    assert len((tmp_path / "out").read_text().splitlines()) == records + (form == "--csv")
    last = said(made, "export", form, "--since", str(records - 1))
    assert len(last.splitlines()) == 1 + (form == "--csv")


def test_tiles_are_exported(made: Made, tmp_path: Path) -> None:
    said(made, "export", "--tiles", "--to", str(tmp_path / "tiles"))
    assert (tmp_path / "tiles" / "tile" / "0" / "000").stat().st_size == 8192
    said(made, "export", "--tiles", "--to", str(tmp_path / "tiles"), code=78)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert command(home, "init").returncode == 0
    (home / "ledger-keys" / "signing.pem").chmod(0o640)
    done = command(home, "serve")
    assert done.returncode == 78
    assert "chmod 600" in done.stderr


def test_keys_of_another_log_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        assert command(tmp_path / name, "init").returncode == 0
    (tmp_path / "one" / "ledger-keys").rename(tmp_path / "kept")
    (tmp_path / "two" / "ledger-keys").rename(tmp_path / "one" / "ledger-keys")
    done = command(tmp_path / "one", "serve")
    assert done.returncode == 10
    assert "is this the log's public key" in done.stderr


def test_init_never_overwrites(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    first = command(home, "init", "--origin", "example.com/one", "--json")
    assert json.loads(first.stdout)["origin"] == "example.com/one"
    assert command(home, "init").returncode == 78
    assert command(home, "init", "--origin", "with space").returncode == 78


def test_a_log_that_vanished_is_not_begun_anew_under_the_same_name(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home) as ledger:
        assert ledger.stop() == 0
    (home / "ledger").rename(home / "gone")
    done = command(home, "serve")
    assert done.returncode == 11
    assert "restore it from a backup" in done.stderr


def test_a_folder_that_is_not_a_ledger(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert command(home, "init").returncode == 0
    (tmp_path / "photos").mkdir()
    done = command(home, "verify", "--log", str(tmp_path / "photos"))
    assert done.returncode == 13
    assert "is not a ledger" in done.stderr


def test_backup_of_a_running_ledger_and_restore(tmp_path: Path) -> None:
    home = tmp_path / "home"

    async def fill(count: int) -> None:
        async with client_of(ledger) as client:
            await exchanges(client, count)

    with running(home, segment_bytes=64 << 10) as ledger:
        asyncio.run(fill(150))
        done = command(home, "backup", "copy")
        assert done.returncode == 0, done.stderr
        assert command(home, "backup", "copy").returncode == 78
        assert ledger.stop() == 0
    assert command(home, "backup", "newest").returncode == 0
    (home / "ledger").rename(home / "lost")
    older = command(home, "restore", "copy")
    assert older.returncode == 11
    assert "begin a new log" in older.stderr
    assert command(home, "restore", "newest").returncode == 0
    with running(home) as ledger:
        asyncio.run(fill(5))
        assert ledger.stop() == 0
    assert command(home, "verify").returncode == 0
    assert command(home, "restore", "newest").returncode == 78


def test_prune_keeps_hashes_and_old_proofs(tmp_path: Path) -> None:
    home = tmp_path / "home"

    async def fill() -> str:
        async with client_of(ledger) as client:
            identity = await exchange(client)
            await exchanges(client, 200)
            return identity

    with running(home, segment_bytes=64 << 10, sign_every_s=0.05) as ledger:
        identity = asyncio.run(fill())
        kept = [ledger.layout.file(1, "jsonl.zst"), ledger.layout.file(1, "seal")]
        until(lambda: all(path.exists() for path in kept), within_s=20, what="a segment is sealed")
        assert command(home, "prove", identity, "--to", "proofs").returncode == 0
        assert "0 records in 0 segments" in command(home, "prune", "--older-than-days", "1", "--dry-run").stdout

        async def prune() -> tuple[int, ...]:
            async with client_of(ledger) as client:
                return (await client.prune(int(time.time() * 1000), "test")).segments

        assert 1 in asyncio.run(prune())
        assert not ledger.layout.file(1, "jsonl.zst").exists()
        assert ledger.stop() == 0
    verified = json.loads(command(home, "verify", "--json").stdout)
    assert verified["pruned_records"] > 0
    assert verified["exit_code"] == 0
    key = str(home / "ledger-keys" / "public.key")
    proof = f"proofs/{identity}-admit.tlog-proof"
    assert command(home, "verify-proof", proof, "--key", key).returncode == 0
    assert command(home, "prove", "3").returncode == 12
    with running(home) as ledger:
        assert ledger.stop() == 0


def test_plain_digests_can_be_found_with_sha256sum_and_grep(tmp_path: Path) -> None:
    home = tmp_path / "home"

    async def fill() -> None:
        async with client_of(ledger) as client:
            await exchange(client, picture=PICTURE)

    with running(home, digests="plain") as ledger:
        asyncio.run(fill())
        assert ledger.stop() == 0
    (tmp_path / "picture.png").write_bytes(PICTURE)
    digest = subprocess.run(
        ["/usr/bin/sha256sum", str(tmp_path / "picture.png")], capture_output=True, check=True
    ).stdout[:64]
    assert digest in (home / "ledger" / "segments" / "00000001.jsonl").read_bytes()
    assert command(home, "find", "--image", "picture.png", digests="plain").returncode == 0


def test_tail_follows_over_a_rotation(tmp_path: Path) -> None:
    home = tmp_path / "home"

    async def fill(count: int) -> None:
        async with client_of(ledger) as client:
            await exchanges(client, count)

    with running(home, segment_bytes=64 << 10) as ledger:
        follower = subprocess.Popen(
            [*BASE, "tail", "-f", "-n", "1", "--json"],
            env=environment(home),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert follower.stdout is not None
            first = follower.stdout.readline()  # it is there: what comes now it must follow
            asyncio.run(fill(120))
            kinds = [json.loads(first)["kind"]]
            while kinds.count("complete") < 100:
                kinds.append(json.loads(follower.stdout.readline())["kind"])
            assert "seal" in kinds
        finally:
            follower.send_signal(signal.SIGINT)
            assert follower.wait(20) == 0
            if follower.stdout is not None:
                follower.stdout.close()
