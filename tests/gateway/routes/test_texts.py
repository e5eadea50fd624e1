"""Texts for clients of the API: they name `/docs` or what to send, never a file of the repository, which no client has."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.process import TOP

# Where errors for clients are written. Settings and commands speak to operators, who have the files.
SPOKEN = (
    "door",
    "front",
    "routes",
    "relay",
    "images",
    "keys/authentication.py",
    "people/authentication.py",
    "engines/queue.py",
)
FILE = re.compile(r"(?<!/)\bdocs/|\b[\w-]+\.(?:md|toml)\b")


def test_no_text_for_a_client_names_a_file() -> None:
    texts = [(path, text) for path in _modules() for text in _texts(path)]
    assert [(path, text) for path, text in texts if FILE.search(text)] == []
    assert len(texts) > 500


def test_a_file_in_a_text_would_be_seen() -> None:
    assert FILE.search("see docs/api.md")
    assert FILE.search("add it to vitrine.toml")
    assert not FILE.search("/docs lists all routes")


def _modules() -> Iterator[Path]:
    for name in SPOKEN:
        path = TOP / "gateway" / name
        assert path.exists()
        yield from [path] if path.is_file() else path.rglob("*.py")


def _texts(path: Path) -> Iterator[str]:
    """Every text in a module but its docstrings."""
    tree = ast.parse(path.read_text())
    said = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value
