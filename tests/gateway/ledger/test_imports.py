"""Who may import whom in the ledger: from the edge to pure code, and never another room of the gateway."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import gateway.ledger

ROOT = Path(gateway.ledger.__file__).parent
EDGE = {"__main__"}

MAY_IMPORT: dict[str, set[str]] = {
    "bench": set(),  # says where an old command went
    "errors": set(),
    "merkle": set(),  # pure
    "verify_proof": set(),  # alone, for auditors
    "note": set(),
    "identity": set(),
    "digest": set(),
    "floods": set(),
    "place": set(),
    "figures": set(),
    "messages": {"figures"},
    "asking": {"errors", "messages"},
    "record": set(),
    "background": set(),
    "checkpoint": {"merkle", "note"},
    "proof": {"checkpoint", "merkle", "note"},
    "limits": {"messages"},
    "exchanges": {"limits"},
    "facts": {"record"},
    "tree": {"merkle"},
    "heads": {"checkpoint", "errors", "note"},
    "layout": {"errors", "note"},
    "keyring": {"digest", "errors", "note", "place"},
    "anchor": {"checkpoint", "errors", "note", "place"},
    "settings": {"errors"},
    "plan": {"errors", "place"},
    "seal": {"errors", "layout", "merkle", "note", "place", "record"},
    "log": {"checkpoint", "errors", "heads", "layout", "merkle", "note", "place", "tree"},
    "reader": {"checkpoint", "errors", "heads", "identity", "layout", "merkle", "note", "seal", "tree"},
    "founding": {"checkpoint", "errors", "heads", "keyring", "layout", "log", "merkle", "note", "place"},
    "recovery": {
        "anchor", "checkpoint", "errors", "heads", "layout", "log", "merkle", "note", "place", "reader", "record", "seal",
        "tree",
    },
    "verification": {
        "anchor", "checkpoint", "errors", "heads", "layout", "merkle", "note", "reader", "record", "seal", "tree",
    },
    "clerk": {"digest", "exchanges", "figures", "floods", "identity", "limits", "log", "messages", "record"},
    "receipts": {"identity", "layout", "merkle", "messages", "note", "proof", "reader", "record"},
    "retention": {"clerk", "layout", "messages", "note", "place", "reader", "seal"},
    "search": {"digest", "reader", "record"},
    "browse": {"digest", "reader", "record"},
    "reading_room": {"browse", "digest", "errors", "keyring", "layout", "note", "reader", "verification"},
    "backup": {"anchor", "errors", "keyring", "layout", "note", "place", "seal", "verification"},
    "server": {"errors", "messages", "place"},
    "call": {"errors", "messages"},
    "client": {"call", "errors", "identity", "messages"},
    "service": {
        "anchor", "background", "checkpoint", "clerk", "digest", "errors", "exchanges", "facts", "figures", "identity", "keyring",
        "layout", "limits", "messages", "plan", "receipts", "record", "recovery", "replay", "retention",
        "sealing", "server",
    },
    "sealing": {"errors", "keyring", "layout", "seal"},
    "replay": {"exchanges", "layout", "limits", "merkle", "reader"},
    "exports": set(),
    "exports.ocsf": set(),
    "exports.ecs": set(),
    "exports.table": set(),
    "exports.tiles": {"checkpoint", "merkle", "reader"},
}  # fmt: skip

# What the one who reads the log alone needs to have installed.
PURE = {"merkle": set(), "verify_proof": {"cryptography"}, "limits": set(), "floods": set(), "identity": set()}


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__") if name != "__init__" else ""] = path
    return found


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            names |= {f"{module}.{alias.name}" for alias in node.names} if module in PACKAGES else {module}
    return names


PACKAGES = {"gateway.ledger", "gateway.ledger.commands", "gateway.ledger.exports"}


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_only_what_the_table_says(name: str) -> None:
    ours = {module for module in imported(modules()[name]) if module.split(".")[0] == "gateway"}
    assert all(module.startswith("gateway.ledger") for module in ours), "another room of the gateway"
    if name in EDGE or name == "" or name.split(".")[0] == "commands":
        return
    found = {module.removeprefix("gateway.ledger.") for module in ours}
    assert found <= MAY_IMPORT[name]


def test_the_table_names_no_module_that_is_gone_and_no_import_that_is_not_made() -> None:
    found = modules()
    for name, allowed in MAY_IMPORT.items():
        used = {
            module.removeprefix("gateway.ledger.") for module in imported(found[name]) if module.startswith("gateway")
        }
        assert allowed == used, name


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_modules_need_nothing_installed(name: str) -> None:
    foreign = {
        module.split(".")[0] for module in imported(modules()[name])
        if module.split(".")[0] not in sys.stdlib_module_names and not module.startswith("gateway")
    }  # fmt: skip
    assert foreign <= PURE[name]


def test_only_the_edge_reads_settings_or_the_environment() -> None:
    for name, path in modules().items():
        if name in ("settings", "commands.terminal"):
            continue
        text = path.read_text()
        assert "os.environ" not in text, name
        assert name.startswith("commands") or "read_settings" not in text, name
