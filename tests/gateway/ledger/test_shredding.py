"""A secret that is destroyed: it leaves a record, its name is never used again, and nothing pretends to see into its epoch."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from gateway.ledger.client.messages import Receipt
from gateway.ledger.errors import BadSettings
from gateway.ledger.storage.keyring import SECRET_BYTES, Keyring
from tests.gateway.ledger.damage import Disk
from tests.support.kept import Kept
from tests.support.ledger import Ledger, admit, client_of, command, complete, exchange, of_kind, running

PICTURE = b"\x89PNG a picture that one caller sent"


def _send(ledger: Ledger) -> str:
    async def send() -> str:
        async with client_of(ledger) as client:
            return await exchange(client, picture=PICTURE)

    return asyncio.run(send())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "picture.png").write_bytes(PICTURE)
    return tmp_path / "home"


def test_the_current_epoch_is_shredded_with_a_record_and_nothing_takes_its_name(home: Path) -> None:
    with running(home) as ledger:
        before = _send(ledger)
        (epoch,) = json.loads(command(home, "epochs", "--json").stdout)
        assert command(home, "shred", epoch).returncode == 78
        done = command(home, "shred", epoch, "--yes", "--by", "mei@console")
        assert done.returncode == 0, done.stderr
        after = _send(ledger)
        names = [record["epoch"] for record in of_kind(ledger, "admit")]
        assert names == [epoch, f"{epoch}.2"]
        (record,) = of_kind(ledger, "shred")
        assert (record["epoch"], record["by"]) == (epoch, "mei@console")
        assert command(home, "shred", epoch, "--yes").returncode != 0  # there is none any more
        assert ledger.stop() == 0
    with running(home) as ledger:
        _send(ledger)
        assert [record["epoch"] for record in of_kind(ledger, "admit")] == [epoch, f"{epoch}.2", f"{epoch}.2"]
        assert command(home, "shred", f"{epoch}.2", "--yes").returncode == 0
        _send(ledger)
        assert of_kind(ledger, "admit")[-1]["epoch"] == f"{epoch}.3"
        assert ledger.stop() == 0
    assert json.loads(command(home, "epochs", "--json").stdout) == [f"{epoch}.3"]
    found = command(home, "find", "--image", "picture.png", "--json")
    assert [json.loads(line)["admit"]["epoch"] for line in found.stdout.splitlines()] == [f"{epoch}.3"]
    assert f"1 record of epoch {epoch} could not be searched: its secret was shredded" in found.stderr
    assert f"2 records of epoch {epoch}.2 could not be searched" in found.stderr
    assert before != after
    assert command(home, "verify").returncode == 0


def test_a_search_of_a_shredded_epoch_says_that_it_cannot_see(home: Path) -> None:
    with running(home) as ledger:
        identity = _send(ledger)
        (epoch,) = json.loads(command(home, "epochs", "--json").stdout)
        assert command(home, "shred", epoch, "--yes").returncode == 0
        assert ledger.stop() == 0
    done = command(home, "find", "--image", "picture.png")
    assert done.returncode == 1
    assert "could not be searched: its secret was shredded" in done.stderr
    shown = command(home, "reveal", identity, "--content", "picture.png")
    assert shown.returncode == 1
    assert f"the secret of epoch {epoch} was shredded" in shown.stdout
    assert "cannot be said any more" in shown.stdout
    assert "none of these" not in shown.stdout
    assert json.loads(command(home, "reveal", identity, "--json").stdout)["records"][0]["record_key"] is None


def test_shredding_needs_the_ledger_that_records_it(home: Path) -> None:
    with running(home) as ledger:
        _send(ledger)
        (epoch,) = json.loads(command(home, "epochs", "--json").stdout)
        assert ledger.stop() == 0
    assert command(home, "shred", epoch, "--yes").returncode == 1
    assert json.loads(command(home, "epochs", "--json").stdout) == [epoch]


def test_an_exchange_whose_epoch_is_shredded_meanwhile_still_ends(home: Path) -> None:
    async def send() -> None:
        async with client_of(ledger) as client:
            receipt = await client.admit(admit(picture=PICTURE))
            assert isinstance(receipt, Receipt)
            (epoch,) = Keyring(home / "ledger-keys").epochs()
            await client.shred(epoch, "mei")
            await client.complete(complete(receipt.id))

    with running(home) as ledger:
        asyncio.run(send())
        admitted, ended = of_kind(ledger, "admit")[0], of_kind(ledger, "complete")[0]
        assert ended["epoch"] == f"{admitted['epoch']}.2"
        assert ledger.stop() == 0


def test_a_shredding_that_a_crash_cut_short_is_finished_at_the_next_start(home: Path) -> None:
    with running(home) as ledger:
        _send(ledger)
        keyring = Keyring(home / "ledger-keys")
        (epoch,) = keyring.epochs()
        secret = keyring.secret(epoch)
        assert command(home, "shred", epoch, "--yes").returncode == 0
        ledger.kill()
    (home / "ledger-keys" / "epochs" / epoch).write_bytes(secret)
    with running(home) as ledger:
        assert keyring.epochs() == []
        assert ledger.stop() == 0


def test_a_forged_shredding_without_a_head_destroys_nothing(home: Path) -> None:
    with running(home, sign_every_s=60) as ledger:
        _send(ledger)
        ledger.kill()
    disk = Disk(home)
    (epoch,) = disk.keyring.epochs()
    disk.append("shred", by="mei", epoch=epoch)
    with running(home) as ledger:
        assert disk.keyring.epochs() == [epoch]
        assert ledger.stop() == 0
    with running(home) as ledger:
        assert disk.keyring.epochs() == [epoch]
        assert ledger.stop() == 0


def test_zeros_are_no_secret(tmp_path: Path) -> None:
    keyring = Keyring(tmp_path / "keys")
    keyring.make("test.example/log")
    keyring.secret_or_new("2026-11")
    (tmp_path / "keys" / "epochs" / "2026-11").write_bytes(bytes(SECRET_BYTES))
    assert keyring.epochs() == []
    assert keyring.current("2026-11") == "2026-11.2"
    with pytest.raises(BadSettings, match="was shredded"):
        keyring.secret("2026-11")


def test_what_the_first_version_shredded_is_told_too(tmp_path: Path) -> None:
    kept = Kept("0.1.0", tmp_path / "kept")
    said = kept.ledger("reveal", kept.expected["exchanges"]["november"]["id"], "--json")
    assert said.json["records"][0]["record_key"]
    (kept.state / "ledger-keys" / "epochs" / "2026-11").unlink()
    said = kept.ledger("reveal", kept.expected["exchanges"]["november"]["id"], "--content", "pictures/green.png")
    assert (said.code, "was shredded" in said.text) == (1, True)
