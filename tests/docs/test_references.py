"""What the pages name is there: tests, since a promise is worth what its test is, and files and headings that they link to."""

import re
from pathlib import Path

import pytest

from tests.docs.readme import NAMES, TOP

PAGES = sorted(
    path.relative_to(TOP).as_posix() for path in (TOP / "docs").rglob("*.md") if "node_modules" not in path.parts
)
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
NAMED = re.compile(r"(?P<file>test_\w+\.py)(?:::(?P<test>\w+))?")


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*NAMES, *PAGES])
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: str) -> None:
    text = re.sub(
        r"^```.*?^```$|`[^`\n]*`", "", (TOP / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    for link in LINK.finditer(text):
        target = (TOP / page).parent / link["path"] if link["path"] else TOP / page
        assert target.exists(), link[0]
        assert not link["anchor"] or link["anchor"] in _anchors(target), link[0]


def _texts() -> dict[str, str]:
    """The text of all test files of a name, which may be in several folders."""
    found: dict[str, str] = {}
    for path in (TOP / "tests").rglob("test_*.py"):
        found[path.name] = found.get(path.name, "") + path.read_text(encoding="utf-8")
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    known = _texts()
    for named in NAMED.finditer((TOP / page).read_text(encoding="utf-8")):
        assert named["file"] in known, named[0]
        assert not named["test"] or f"def {named['test']}(" in known[named["file"]], named[0]


def test_the_promises_of_the_log_name_their_tests() -> None:
    assert len(NAMED.findall((TOP / "docs" / "audit.md").read_text(encoding="utf-8"))) > 10


def test_every_file_that_the_architecture_names_is_there() -> None:
    text = (TOP / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+(?:\.py|/))`", text))
    assert len(named) > 50
    rooms = (TOP, TOP / "gateway", TOP / "gateway" / "ledger")
    assert sorted(name for name in named if not any((room / name).exists() for room in rooms)) == []
