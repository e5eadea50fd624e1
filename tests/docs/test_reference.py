"""The reference is what `make docs` writes now, and what of it is written by hand agrees with the code."""

import re
from pathlib import Path

import pytest

from docs.generate.commands import commands, targets
from docs.generate.language import Chinese, English, Untranslated
from docs.generate.reference import FOLDER, BadReference, filled, pages
from docs.generate.routes import FILES, SCOPES, routes
from gateway.ledger.settings import LedgerSettings
from gateway.settings import Settings as GatewaySettings
from serve import profile
from serve.settings import EngineSettings
from tests.docs.readme import NAMES, TOP, tables
from tests.test_imports import modules

MAKEFILE = (TOP / "Makefile").read_text(encoding="utf-8")
COMMANDS = ("docs/reference/commands.md", "docs/reference/commands.zh.md")


def test_every_page_is_what_the_command_writes_and_no_other_is_there() -> None:
    wanted = pages()
    stale = [path.name for path, text in wanted.items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run `make docs`"
    assert set(FOLDER.glob("*.md")) == set(wanted)


def test_a_text_without_a_translation_and_a_translation_without_a_text_are_named(tmp_path: Path) -> None:
    words = tmp_path / "chinese.toml"
    words.write_text('[metrics]\n"Open connections." = "打开的连接"\n"Gone." = "没有了"\n')
    chinese = Chinese(words)
    assert chinese.say("metrics", "Open\n  connections.") == "打开的连接"
    chinese.say("metrics", "New.")
    with pytest.raises(Untranslated) as missing:
        chinese.check()
    assert [line.strip() for line in str(missing.value).splitlines()[1:]] == [
        "no translation in [metrics]: New.",
        "nothing says this any more, in [metrics]: Gone.",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see docs/api.md#errors", "see [api.md](../api.md#errors)"),
        ("(docs/decisions/0002-x.md)", "([decisions/0002-x.md](../decisions/0002-x.md))"),
        ("docs/reference", "docs/reference"),
    ],
)
def test_pages_that_the_code_names_become_links(text: str, shown: str) -> None:
    assert English().say("settings", text) == shown


def test_a_section_without_a_place_and_a_place_without_a_section_are_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n<!-- generated: one -->\nold\n<!-- end -->\n\nby hand\n")
    assert filled(page, {"one": "new\n"}) == "# Page\n\n<!-- generated: one -->\n\nnew\n\n<!-- end -->\n\nby hand\n"
    for sections in ({}, {"one": "new\n", "two": "newer\n"}):
        with pytest.raises(BadReference, match=r"page\.md has places for one"):
            filled(page, sections)


def test_no_room_imports_the_generator() -> None:
    known = modules(TOP)
    assert len(known) > 100
    asking = re.compile(rb"^\s*(?:from|import) docs\b", re.MULTILINE)
    assert asking.search(Path(__file__).read_bytes())
    assert [name for name, path in known.items() if asking.search(path.read_bytes())] == []


def test_scopes_and_files_are_of_routes_that_are_there() -> None:
    assert SCOPES.keys() | FILES.keys() <= routes().keys()
    assert SCOPES.keys() & FILES.keys() == set()


def test_every_command_is_there_once() -> None:
    words = [command.words for command in commands()]
    assert len(words) == len(set(words)) > 30
    for page in COMMANDS:
        headings = re.findall(r"^### `(.*)`$", (TOP / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert headings == words


def test_the_state_folder_is_the_same_for_every_process() -> None:
    rooms = (GatewaySettings, EngineSettings, LedgerSettings)
    assert {room.model_fields["home"].default for room in rooms} == {Path(".vitrine")}


def test_the_menu_has_every_target() -> None:
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert set(phony[1].replace("\\", "").split()) == set(targets())


@pytest.mark.parametrize("page", COMMANDS)
def test_every_make_variable_is_there_with_its_default(page: str) -> None:
    table = tables(page)["variables"]
    assert set(table) == set(re.findall(r"\$\(([A-Z]+)\)", MAKEFILE))
    for name, default in re.findall(r"^([A-Z]+) \?= ([a-z0-9]+)$", MAKEFILE, re.MULTILINE):
        assert table[name][0] == f"`{default}`"
    for name in ("host", "port"):
        assert table[name.upper()][0] == f"`{GatewaySettings.model_fields[name].default}`"


@pytest.mark.parametrize("readme", NAMES)
def test_every_profile_is_there_with_its_context(readme: str) -> None:
    contexts = {name: str(profile.load(name).flags["max-model-len"]) for name in profile.names()}
    assert {name: cells[-1] for name, cells in tables(readme)["profiles"].items()} == contexts
