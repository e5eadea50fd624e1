"""The tests that the pages name are there: a promise is worth what its test is."""

import re

import pytest

from tests.docs.readme import TOP

PAGES = sorted(
    path.relative_to(TOP).as_posix() for path in (TOP / "docs").rglob("*.md") if "node_modules" not in path.parts
)
NAMED = re.compile(r"(?P<file>test_\w+\.py)(?:::(?P<test>\w+))?")


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
