"""Who may import whom, in the whole house: the rooms never, and inside each from the edge to what is pure."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import TOP

ROOMS = ("vitrine", "serve", "gateway", "loadtest", "dashboards")

# Every module of serve, and what of serve it may import. One that is not here may import nothing: add it.
MAY_IMPORT: dict[str, set[str]] = {
    "serve": set(),
    "serve.__main__": {
        "serve.chatglm", "serve.checks", "serve.errors", "serve.machine", "serve.profile", "serve.settings",
        "serve.supervisor",
    },
    "serve.supervisor": {
        "serve.engine", "serve.errors", "serve.isolation", "serve.manifest", "serve.probe", "serve.profile",
        "serve.settings", "serve.state",
    },
    "serve.engine": {"serve.profile", "serve.settings"},
    "serve.launcher": {"serve.errors", "serve.isolation"},
    "serve.plugin": set(),  # vLLM loads it, in the engine's processes
    "serve.checks": {"serve.errors", "serve.estimate", "serve.machine", "serve.profile", "serve.weights"},
    "serve.estimate": {"serve.weights"},  # pure
    "serve.weights": {"serve.errors"},
    "serve.manifest": {"serve.errors"},
    "serve.probe": {"serve.errors"},
    "serve.profile": {"serve.errors"},
    "serve.settings": {"serve.errors"},
    "serve.state": {"serve.isolation"},
    "serve.isolation": set(),
    "serve.machine": set(),
    "serve.errors": set(),
    "serve.install": set(),  # runs before anything is installed
}  # fmt: skip

# A folder, or a module, with the only one of ours that it may import: itself.
ALONE = ("gateway.door", "gateway.ledger", "gateway.pictures.worker", "serve.chatglm", "serve.miniature")
# The engine's own packages are imported by those that become an engine, or that make its models.
HEAVY = ("vllm", "torch", "transformers", "tokenizers", "safetensors")
MAY_BE_HEAVY = ("serve.launcher", "serve.plugin", "serve.chatglm", "serve.miniature", "loadtest")


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def modules(top: Path) -> dict[str, Path]:
    """Every module of the rooms, by its name."""
    found = {}
    for room in ROOMS:
        for path in sorted((top / room).rglob("*.py")):
            parts = path.relative_to(top).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """What a module imports, wherever in it: `from a import b` is a.b where that is a module of ours, else a."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            for _ in range(node.level - 1):
                package = package.rpartition(".")[0]
            start = ".".join(part for part in (package if node.level else "", node.module or "") if part)
            yield from (f"{start}.{alias.name}" if f"{start}.{alias.name}" in known else start for alias in node.names)


def faults(top: Path) -> list[str]:
    """One line for each import that is not allowed, and for each module of serve that the table forgot."""
    known = modules(top)
    alone = [folder for folder in ALONE if folder in known]
    found = []
    for name, path in known.items():
        room = name.partition(".")[0]
        home = next((folder for folder in alone if within(name, folder)), None)
        if room == "serve" and home is None and name not in MAY_IMPORT:
            found.append(f"{name} is not in the table")
        for other in sorted(set(imports(name, path, known))):
            top_name = other.partition(".")[0]
            if top_name in HEAVY and not any(within(name, heavy) for heavy in MAY_BE_HEAVY):
                found.append(f"{name} imports {other}, an engine's package")
            if top_name not in ROOMS:
                continue
            if top_name != room:
                found.append(f"{name} imports {other}: the rooms meet over sockets")
            elif home is not None:
                if not within(other, home):
                    found.append(f"{name} imports {other}: {home} stands alone")
            elif room == "serve" and other not in MAY_IMPORT.get(name, set()):
                found.append(f"{name} imports {other}")
    return found


def test_nobody_imports_what_it_may_not() -> None:
    assert faults(TOP) == []


def test_the_table_names_no_module_that_is_gone() -> None:
    assert MAY_IMPORT.keys() - modules(TOP).keys() == set()


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        ("gateway/app.py", "import serve.state", "gateway.app imports serve.state: the rooms meet over sockets"),
        ("loadtest/x.py", "from gateway import chat", "loadtest.x imports gateway: the rooms meet over sockets"),
        ("dashboards/x.py", "import gateway.metrics", "dashboards.x imports gateway.metrics: the rooms meet over sockets"),
        ("vitrine/x.py", "import gateway.keys", "vitrine.x imports gateway.keys: the rooms meet over sockets"),
        ("serve/manifest.py", "from serve import probe", "serve.manifest imports serve.probe"),
        ("serve/manifest.py", "from . import probe", "serve.manifest imports serve.probe"),
        ("serve/manifest.py", "def f():\n    from .probe import fault", "serve.manifest imports serve.probe"),
        ("serve/manifest.py", "import serve.probe as p", "serve.manifest imports serve.probe"),
        ("serve/new.py", "", "serve.new is not in the table"),
        ("serve/probe.py", "import torch.cuda", "serve.probe imports torch.cuda, an engine's package"),
        ("gateway/door/a.py", "from gateway.errors import X", "gateway.door.a imports gateway.errors: gateway.door stands alone"),
        ("gateway/door/a/b.py", "from ... import errors", "gateway.door.a.b imports gateway.errors: gateway.door stands alone"),
        ("gateway/ledger/log.py", "from gateway import app", "gateway.ledger.log imports gateway.app: gateway.ledger stands alone"),
        ("serve/chatglm/folder.py", "import serve.errors", "serve.chatglm.folder imports serve.errors: serve.chatglm stands alone"),
    ],
)  # fmt: skip
def test_a_house_with_a_wrong_import_is_caught(tmp_path: Path, path: str, text: str, fault: str) -> None:
    files = {"gateway/errors.py": "", "serve/probe.py": "", "gateway/door/__init__.py": "", "gateway/ledger/__init__.py": "",
             "serve/chatglm/__init__.py": "", path: text}  # fmt: skip
    if "loadtest" not in path:
        files["gateway/app.py"] = files.get("gateway/app.py", "")
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert faults(tmp_path) == [fault]


def loaded(program: str, home: Path | None = None) -> set[str]:
    """The modules that a Python has imported when it has run ``program``."""
    environment = {**os.environ, **({"VITRINE_HOME": str(home)} if home else {})}
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {program}; print(*sys.modules, file=sys.stderr)"],
        cwd=TOP, env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return set(done.stderr.split())


@pytest.mark.parametrize("command", ["gateway.keys", "gateway.engines", "gateway.ledger"])
def test_a_command_starts_without_what_only_a_server_needs(command: str) -> None:
    assert loaded(f"import {command}.__main__") & {"aiohttp", "fastapi", "redis", "structlog"} == set()


def test_vitrine_imports_no_more_for_a_command_than_its_room_does(tmp_path: Path) -> None:
    alone = loaded("from gateway.keys.__main__ import main; main(['list'])", tmp_path)
    through_vitrine = loaded("from vitrine.__main__ import main; main(['keys', 'list'])", tmp_path)
    assert "gateway.keys.__main__" in through_vitrine
    assert {name for name in through_vitrine - alone if not within(name, "vitrine")} == set()


@pytest.mark.parametrize("words", ["--help", "version"])
def test_vitrine_imports_no_room_for_its_own_words(words: str) -> None:
    names = loaded(f"from vitrine.__main__ import main; main([{words!r}])")
    assert {name.partition(".")[0] for name in names} & {"serve", "gateway", "loadtest", "dashboards"} == set()
