"""The auditor's ten minutes: every command of both pages is run as it stands there, and prints what is written under it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deadline import eventually
from tests.support.ledger import ROOT, Ledger, client_of, command, environment, exchange, running

PAGES = [ROOT / "docs" / name for name in ("auditor.md", "auditor.zh.md")]
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks(page: Path) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text in BLOCK.findall(page.read_text())]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An auditor's folder: the public key, a copy of the log, a receipt; and `vitrine` as a command."""
    home, desk = tmp_path_factory.mktemp("operator") / "home", tmp_path_factory.mktemp("auditor")

    async def fill(ledger: Ledger) -> str:
        async with client_of(ledger) as client:
            identity = await exchange(client)

            async def proven() -> bool:
                found = await client.receipt(identity, "key-1")
                receipt = {"id": identity, "state": found.state, "proofs": found.proofs, "key": found.key}
                (desk / "receipt.json").write_text(json.dumps(receipt))
                return len(found.proofs) == 2

            await eventually(proven)
            return identity

    with running(home) as ledger:
        asyncio.run(fill(ledger))
        assert ledger.stop() == 0
    assert command(home, "backup", str(desk / "copy")).returncode == 0
    shutil.copy(home / "ledger-keys" / "public.key", desk)
    (desk / "bin").mkdir()
    vitrine = desk / "bin" / "vitrine"
    vitrine.write_text(f'#!/bin/sh\nexec {sys.executable} -m vitrine "$@"\n')
    vitrine.chmod(0o755)
    return desk


def test_both_languages_have_the_same_commands() -> None:
    english, chinese = map(_blocks, PAGES)
    assert english == chinese
    assert len(english) > 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_is_followed_word_by_word(desk: Path, tmp_path: Path, page: Path) -> None:
    folder = tmp_path / "desk"
    shutil.copytree(desk, folder)
    env = environment(folder / "none") | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    said = ""
    for kind, text in _blocks(page):
        if kind == "sh":
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", text],
                cwd=folder,
                env=env,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (text, done.stdout + done.stderr)
            said = done.stdout
            if "sha256sum" in text:
                computed, stored = said.splitlines()
                assert computed == stored
        else:
            expected = ".*".join(re.escape(part) for part in text.rstrip("\n").split("…"))
            assert re.search(expected, said), (expected, said)
