"""README's code blocks: those that ask a question are run as they are printed; those that start things name real ones."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from docs.generate.commands import commands
from gateway.ledger.settings import LedgerSettings
from gateway.settings import Settings as GatewaySettings
from serve.settings import EngineSettings
from tests.docs.readme import BASE_URL, NAMES, TOP, Block, blocks
from tests.support.process import clean_environment
from tests.support.stack import Stack

MAKEFILE = (TOP / "Makefile").read_text(encoding="utf-8")
# What a reader of each language would ask; all else in the blocks is the same.
QUESTIONS = {"图里有什么？": "What is in this picture?"}
PROGRAM = ".venv/bin/"
SETTINGS = ("docs/reference/settings.md", "docs/reference/settings.zh.md")


def run_block(block: Block, folder: Path, base_url: str, key: str) -> str:
    """Run a block as a reader would, in ``folder``; what it printed."""
    code = block.code.replace(BASE_URL, base_url)
    words = ["bash", "-euo", "pipefail", "-c", code] if block.language == "bash" else [sys.executable, "-c", code]
    environment = {**clean_environment({}), "VITRINE_API_KEY": key}
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, timeout=300, check=False, errors="replace"
    )
    assert done.returncode == 0, f"{block.code}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that looks like the top of a clone, in which blocks may leave files."""
    os.symlink(TOP / "docs", tmp_path / "docs")
    return tmp_path


@pytest.mark.engine
@pytest.mark.timeout(900)
@pytest.mark.parametrize("readme", NAMES)
def test_the_blocks_that_ask_a_question_are_answered_as_shown(readme: str, folder: Path, stack: Stack) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing (Debian: curl)")
    asking = [block for block in blocks(readme) if block.runs]
    assert [block.language for block in asking] == ["bash", "python"]
    curl, client = asking
    shown = next(block.code for block in blocks(readme)[blocks(readme).index(client) :] if block.language == "text")
    answer = json.loads(run_block(curl, folder, stack.base_url, stack.key))
    assert answer["choices"][0]["message"]["content"] == shown.strip()
    assert run_block(client, folder, stack.base_url, stack.key) == shown


@pytest.mark.parametrize("readme", NAMES)
def test_the_blocks_that_start_things_name_targets_variables_and_commands_that_exist(readme: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE))
    lines = [line for block in blocks(readme) if block.info == "bash" for line in block.code.splitlines()]
    assert {"make serve", "make test"} <= set(lines)
    for line in lines:
        if line.startswith("make "):
            target, *variables = line.split()[1:]
            assert target in targets
            assert {variable.partition("=")[0] for variable in variables} <= set(re.findall(r"\$\((\w+)\)", MAKEFILE))
        elif line.startswith(PROGRAM):
            assert any(f"{line} ".startswith(f"{PROGRAM}{command.words} ") for command in commands())
        else:
            assert line == "export VITRINE_API_KEY=vt_..."


@pytest.mark.parametrize("page", SETTINGS)
def test_the_settings_file_that_is_shown_is_accepted_by_every_room(page: str) -> None:
    files = [block.code for block in blocks(page) if block.language == "toml"]
    assert len(files) == 1
    table = tomllib.loads(files[0])
    EngineSettings.model_validate(table.pop("engine"))
    LedgerSettings(**table.pop("ledger"))
    GatewaySettings.model_validate(table)


@pytest.mark.parametrize("readme", NAMES)
def test_every_picture_that_a_block_sends_is_there(readme: str) -> None:
    named = {name for block in blocks(readme) for name in re.findall(r"docs/[\w/.-]+\.png", block.code)}
    assert named
    assert [name for name in sorted(named) if not (TOP / name).exists()] == []


@pytest.mark.parametrize("readme", NAMES)
def test_a_readme_is_short(readme: str) -> None:
    assert len((TOP / readme).read_text(encoding="utf-8").splitlines()) <= 150


def test_both_readmes_have_the_same_blocks() -> None:
    english, chinese = (blocks(name) for name in NAMES)
    assert [block.info for block in english] == [block.info for block in chinese]
    for ours, theirs in zip(english, chinese, strict=True):
        if ours.language == "text":
            continue  # drawn in the reader's language
        code = theirs.code
        for question, translation in QUESTIONS.items():
            code = code.replace(question, translation)
        assert code == ours.code
