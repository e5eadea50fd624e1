"""The door stands alone: it imports nothing else of the gateway, and its pure parts import no more than they need."""

import ast
from pathlib import Path

DOOR = Path(__file__).parents[3] / "gateway" / "door"
MAY_IMPORT = {
    "image_tokens": set(),
    "limits": set(),
    "place": set(),
    "model": set(),
    "errors": {"gateway.door.place"},
    "hints": set(),
    "control": {"gateway.door.errors"},
    "syntax": {"gateway.door.errors", "gateway.door.place"},
    "images.header": set(),
    "images.jpeg": {"gateway.door.images.header"},
    "images.png": {"gateway.door.images.header"},
    "images.webp": {"gateway.door.images.header"},
    "images.gif": {"gateway.door.images.header"},
}


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return names


def test_the_door_imports_nothing_else_of_the_house() -> None:
    files = list(DOOR.rglob("*.py"))
    assert len(files) > 20
    for file in files:
        for name in imported(file):
            top = name.split(".")[0]
            assert top not in {"serve", "loadtest"}, file
            assert top != "gateway" or name.startswith("gateway.door"), file


def test_pure_parts_import_what_the_table_says() -> None:
    for module, allowed in MAY_IMPORT.items():
        file = DOOR / f"{module.replace('.', '/')}.py"
        assert {name for name in imported(file) if name.startswith("gateway")} <= allowed, module
