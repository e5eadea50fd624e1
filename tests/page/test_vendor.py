"""What others wrote: as they published it, with its licence, and nothing that is not listed."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).parents[2]
STATIC = TOP / "gateway" / "web" / "static"
FOLDERS = (STATIC / "vendor", TOP / "tests" / "page" / "vendor")
MOST_BYTES = 400_000  # of the page's own libraries, as they go over the wire uncompressed


def manifest(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("folder", FOLDERS, ids=["page", "tests"])
def test_every_vendored_file_is_the_one_that_the_manifest_names(folder: Path) -> None:
    listed = {name: told["sha256"] for library in manifest(folder) for name, told in library["files"].items()}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}
    found.pop("manifest.json")
    assert found == listed


@pytest.mark.parametrize("folder", FOLDERS, ids=["page", "tests"])
def test_every_library_has_its_licence_and_says_its_version(folder: Path) -> None:
    for library in manifest(folder):
        code = next(folder / name for name in library["files"] if name.endswith(".js"))
        assert library["version"] in code.read_text(encoding="utf-8"), library["name"]
        licences = [folder / name for name in library["files"] if "LICENSE" in name]
        assert licences, library["name"]
        assert all(len(path.read_text(encoding="utf-8")) > 500 for path in licences)


def test_the_pages_libraries_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDERS[0].glob("*.js")) < MOST_BYTES


def test_our_own_modules_say_what_they_do_and_stay_short() -> None:
    modules = sorted((STATIC / "app").glob("*.js"))
    assert len(modules) > 10
    for path in modules:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith("// "), path.name
        assert len(lines) <= 300, path.name


def test_our_own_modules_make_nothing_from_strings() -> None:
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc")
    for path in (STATIC / "app").glob("*.js"):
        assert not forbidden.search(path.read_text(encoding="utf-8")), path.name
