"""The project's own files agree with each other: licence, version, packages of the system, hooks."""

import hashlib
import json
import re
import tomllib
from pathlib import Path

import pytest

from serve import install
from tests.support.process import TOP

PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"  # SHA-256 of the published text
MAKEFILE = (TOP / "Makefile").read_text(encoding="utf-8")


def text(name: str) -> str:
    return (TOP / name).read_text(encoding="utf-8")


def recipe(target: str) -> str:
    """What a target of the Makefile runs."""
    found = re.search(rf"^{target}:.*##.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert found, target
    return found[1]


def test_the_licence_is_the_published_text_with_our_name_and_the_one_that_the_package_names() -> None:
    (author,) = PROJECT["authors"]
    ours = f"Copyright 2026 {author['name']}"
    licence = text("LICENSE")
    assert licence.count(ours) == 1
    published = licence.replace(ours, "Copyright [yyyy] [name of copyright owner]")
    assert hashlib.sha256(published.encode()).hexdigest() == APACHE_2
    assert PROJECT["license"] == "Apache-2.0"


def test_the_package_brings_our_licence_and_those_of_all_vendored_libraries() -> None:
    brought = {path for pattern in PROJECT["license-files"] for path in TOP.glob(pattern)}
    assert brought == {TOP / "LICENSE", *(TOP / "gateway" / "web").rglob("*.LICENSE")}
    assert len(brought) > 1


def test_the_changelog_begins_with_the_version_that_the_package_has() -> None:
    sections = re.split(r"^## ", text("CHANGELOG.md"), flags=re.MULTILINE)[1:]
    assert sections[0].partition("\n")[0].partition(",")[0] == PROJECT["version"]
    for section in sections:
        parts = re.findall(r"^### (.+)$", section, re.MULTILINE)
        assert parts == ["Added", "Changed", "Fixed", "Upgrade"], section.partition("\n")[0]


def test_the_images_in_the_kubernetes_files_have_the_version_that_the_package_has() -> None:
    found = {
        tag
        for path in (TOP / "deploy" / "kubernetes").glob("*.yaml")
        for tag in re.findall(r"image: \S*/vitrine/(?:gateway|engine):(\S+)", path.read_text(encoding="utf-8"))
    }
    assert found == {PROJECT["version"]}


def packages() -> list[str]:
    return re.sub("#.*", "", text(".ci/packages.txt")).split()


def test_every_package_of_the_system_stands_once_and_as_debian_spells_names() -> None:
    assert len(packages()) == len(set(packages())) > 10
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name) for name in packages())


@pytest.mark.parametrize("reader", [".ci/run", ".devcontainer/Dockerfile"])
def test_ci_and_the_development_container_install_the_one_list_and_name_no_package_of_it(reader: str) -> None:
    code = "\n".join(line for line in text(reader).splitlines() if not line.startswith("#"))
    assert ".ci/packages.txt" in code
    assert "sed 's/#.*//'" in code  # as `packages` reads it
    installs = re.findall(r"apt-get install.*", code)
    assert len(installs) == 1
    assert not set(packages()) & set(installs[0].split())


def test_the_development_container_is_built_where_it_can_copy_the_list_and_set_up_as_anybody_does() -> None:
    told = json.loads(text(".devcontainer/devcontainer.json"))
    assert (TOP / ".devcontainer" / told["build"]["context"]).resolve() == TOP
    assert (TOP / ".devcontainer" / told["build"]["dockerfile"]).is_file()
    assert told["postCreateCommand"] == "make setup"


def test_what_setup_needs_of_the_system_is_in_the_list() -> None:
    assert {"make", "python3-venv", *install.LIBRARIES.values()} <= set(packages())


def test_the_hook_before_a_commit_runs_make_check_and_fetches_nothing() -> None:
    hooks = text(".pre-commit-config.yaml")
    assert re.findall(r"repo: (\S+)", hooks) == ["local"]
    assert re.findall(r"entry: (.+)", hooks) == ["make check"]
    assert re.findall(r"language: (\S+)", hooks) == ["system"]
    files = re.compile(re.search(r"files: '(.+)'", hooks)[1])  # type: ignore[index]  # it is there, or this fails
    for name in ("gateway/app.py", "gateway/web/static/app/main.js", "pyproject.toml", "Makefile"):
        assert files.search(name), name


def test_what_check_looks_at_fix_mends() -> None:
    check, fix = recipe("check"), recipe("fix")
    for tool in ("ruff check", "ruff format", "deno lint", "deno fmt"):
        assert tool in check
        assert tool in fix
    assert "--fix" not in check
    assert "deno check" in check
    assert "mypy" in check


def test_the_development_files_name_files_that_are_there() -> None:
    missing = [
        f"{page}: {name}"
        for page in ("SECURITY.md",)
        for name in re.findall(r"`((?:gateway|serve|tests|locks|docs|deploy)/[\w./-]+)`", text(page))
        if not (TOP / name).exists()
    ]
    assert missing == []


def test_contributing_is_one_page_and_names_targets_that_exist() -> None:
    page = text("CONTRIBUTING.md")
    assert len(page.splitlines()) <= 150
    for links in re.findall(r"\]\(([^)#]+)", page):
        assert Path(TOP / links).exists(), links
