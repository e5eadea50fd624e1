"""Who may import whom, in the whole house: the rooms never, and inside each from the edge to what is pure."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.process import TOP

ROOMS = ("vitrine", "serve", "gateway", "loadtest", "dashboards", "miniature", "bench")

# Every module of serve, and what of serve it may import. One that is not here may import nothing: add it.
MAY_IMPORT: dict[str, set[str]] = {
    "serve": set(),
    "serve.__main__": {
        "serve.chatglm",
        "serve.checks",
        "serve.choice",
        "serve.errors",
        "serve.machine",
        "serve.profile",
        "serve.settings",
        "serve.supervisor",
    },
    "serve.supervisor": {
        "serve.engine",
        "serve.errors",
        "serve.isolation",
        "serve.model_manifest",
        "serve.probe",
        "serve.profile",
        "serve.settings",
        "serve.state",
        "serve.vital_signs",
    },
    "serve.engine": {"serve.profile", "serve.settings"},
    "serve.launcher": {"serve.errors", "serve.isolation"},
    "serve.plugin": set(),  # vLLM loads it, in the engine's processes
    "serve.paced_scheduler": {"serve.pace"},  # vLLM loads it, in the engine's core
    "serve.pace": set(),  # pure
    "serve.checks": {"serve.errors", "serve.memory_estimate", "serve.machine", "serve.profile", "serve.weights"},
    "serve.choice": {"serve.machine", "serve.profile"},
    "serve.memory_estimate": {"serve.weights"},  # pure
    "serve.weights": {"serve.errors"},
    "serve.model_manifest": {"serve.errors"},
    "serve.probe": {"serve.errors"},
    "serve.vital_signs": {"serve.probe"},
    "serve.profile": {"serve.errors"},
    "serve.settings": {"serve.errors"},
    "serve.state": {"serve.isolation"},
    "serve.isolation": set(),
    "serve.machine": set(),
    "serve.errors": set(),
    "serve.install": set(),  # runs before anything is installed
    "serve.miniature": set(),  # says where old commands went
}

# Every room of the gateway, the ledger's rooms and the files beside them, and what each imports: no more, and no less.
ROOMS_OF_THE_GATEWAY: dict[str, set[str]] = {
    "front": set(),
    "door": set(),
    "ledger.errors": set(),
    "ledger.settings": {"ledger.errors"},
    "ledger.format": {"ledger.errors"},
    "ledger.storage": {"ledger.errors", "ledger.format"},
    "ledger.readers": {"ledger.errors", "ledger.format", "ledger.storage"},
    "ledger.client": {"ledger.errors", "ledger.format", "ledger.readers", "ledger.settings"},
    "ledger.service": {"ledger.client", "ledger.errors", "ledger.format", "ledger.readers", "ledger.storage"},
    "ledger.commands": {
        "ledger.client",
        "ledger.errors",
        "ledger.format",
        "ledger.readers",
        "ledger.service",
        "ledger.settings",
        "ledger.storage",
    },
    "ledger.bench": set(),  # says where the old command went
    "ledger.__main__": {"ledger.commands", "ledger.errors", "ledger.format"},
    "settings": set(),
    "command_line": {"ledger.format"},
    "telemetry": {"front", "ledger.client", "ledger.errors", "ledger.format"},
    "images": {"door", "front"},
    "keys": {"command_line", "front", "ledger.client", "ledger.errors", "ledger.format", "ledger.settings", "settings"},
    "engines": {
        "command_line",
        "front",
        "ledger.client",
        "ledger.errors",
        "ledger.format",
        "ledger.settings",
        "settings",
        "telemetry",
    },
    "people": {"front", "keys"},
    "relay": {"door", "engines", "front", "keys", "ledger.client", "ledger.errors", "telemetry"},
    "routes": {
        "door",
        "engines",
        "front",
        "images",
        "keys",
        "ledger.client",
        "ledger.errors",
        "ledger.format",
        "ledger.readers",
        "people",
        "relay",
        "telemetry",
    },
    "app": {"routes"},
    "wiring": {
        "door",
        "engines",
        "front",
        "images",
        "keys",
        "ledger.client",
        "ledger.settings",
        "people",
        "relay",
        "routes",
        "settings",
        "telemetry",
    },
    "worker": {
        "app",
        "command_line",
        "engines",
        "front",
        "keys",
        "ledger.client",
        "ledger.errors",
        "ledger.settings",
        "people",
        "routes",
        "settings",
        "telemetry",
        "wiring",
    },
    "workers": {"engines", "settings", "telemetry", "worker"},
    "__main__": {
        "app",
        "command_line",
        "engines",
        "keys",
        "ledger.errors",
        "ledger.settings",
        "settings",
        "telemetry",
        "wiring",
        "worker",
        "workers",
    },
}

# A module with the only packages besides Python's own that it may import: the one who reads it alone must be able to run it.
PURE: dict[str, set[str]] = {
    "gateway.door.image_tokens": set(),
    "gateway.door.body_limits": set(),
    "gateway.door.field_paths": set(),
    "gateway.engines.affinity": set(),
    "gateway.engines.health": set(),
    "gateway.front.proxies": set(),
    "gateway.images.reencode_worker": {"PIL"},
    "gateway.keys.token": set(),
    "gateway.ledger.format.record_id": set(),
    "gateway.ledger.format.merkle": set(),
    "gateway.ledger.format.printable": {"orjson"},
    "gateway.ledger.readers.verify_proof": {"cryptography"},
    "gateway.ledger.service.rate_limits": set(),
    "gateway.ledger.service.refusal_rollup": set(),
}

# A folder, or a module, with the only one of ours that it may import: itself.
ALONE = ("gateway.door", "gateway.ledger", "gateway.images.reencode_worker", "serve.chatglm")
# The engine's own packages are imported by those that become an engine, or that make its models.
HEAVY = ("vllm", "torch", "transformers", "tokenizers", "safetensors")
MAY_BE_HEAVY = ("serve.launcher", "serve.plugin", "serve.paced_scheduler", "serve.chatglm", "miniature", "loadtest")


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


def _nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(_parsed(path.read_bytes()))


@cache
def _parsed(text: bytes) -> ast.Module:
    return ast.parse(text)


def imports(name: str, path: Path, known: dict[str, Path]) -> Iterator[str]:
    """What a module imports, wherever in it: `from a import b` is a.b where that is a module of ours, else a."""
    for node in _nodes(path):
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
            if top_name != room and room != "bench":  # which measures parts of the others
                found.append(f"{name} imports {other}: the rooms meet over sockets")
            elif home is not None:
                if not within(other, home):
                    found.append(f"{name} imports {other}: {home} stands alone")
            elif room == "serve" and other not in MAY_IMPORT.get(name, set()):
                found.append(f"{name} imports {other}")
    return found


def room_of(name: str) -> str:
    """The room of a module of the gateway: its first folder or file, in the ledger the second."""
    parts = name.split(".")[1:]
    return ".".join(parts[: 2 if parts[0] == "ledger" else 1]) if parts else ""


def imports_of_rooms(top: Path) -> dict[str, set[str]]:
    """What each room of the gateway imports of the others."""
    known = {name: path for name, path in modules(top).items() if within(name, "gateway")}
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        room = room_of(name)
        others = {room_of(other) for other in imports(name, path, known) if within(other, "gateway")}
        found.setdefault(room, set()).update(others - {room})
    del found[""]
    if not found.get("ledger"):
        found.pop("ledger", None)  # the package's own file
    return found


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The groups of nodes that reach each other, Tarjan's strongly connected components of more than one node."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        order[node] = lowest[node] = len(order)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in order:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == order[node]:
            group = set(stack[stack.index(node) :])
            del stack[stack.index(node) :]
            if len(group) > 1 or node in graph.get(node, ()):
                found.append(group)

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def test_each_room_of_the_gateway_imports_what_the_table_says() -> None:
    assert imports_of_rooms(TOP) == ROOMS_OF_THE_GATEWAY


def test_no_rooms_and_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(ROOMS_OF_THE_GATEWAY) == []
    known = modules(TOP)
    graph = {name: {other for other in imports(name, path, known) if other in known} for name, path in known.items()}
    assert circles(graph) == []


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, [{"b", "c"}]),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [{"a", "b", "c"}]),
        ({"a": {"a"}}, [{"a"}]),
    ],
)
def test_a_circle_is_found(graph: dict[str, set[str]], found: list[set[str]]) -> None:
    assert circles(graph) == found


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_needs_nothing_installed(name: str) -> None:
    known = modules(TOP)
    foreign = (
        {other.split(".")[0] for other in imports(name, known[name], known)} - sys.stdlib_module_names - {"gateway"}
    )
    assert foreign <= PURE[name]


def test_only_settings_and_the_edge_read_the_environment() -> None:
    known = modules(TOP)
    reading = {
        name
        for name, path in known.items()
        if within(name, "gateway")
        and any(isinstance(node, ast.Attribute) and ast.unparse(node) == "os.environ" for node in _nodes(path))
    }
    assert reading == {"gateway.ledger.settings", "gateway.people.directory", "gateway.settings", "gateway.workers"}


def test_nobody_imports_what_it_may_not() -> None:
    assert faults(TOP) == []


def test_the_table_names_no_module_that_is_gone() -> None:
    assert MAY_IMPORT.keys() - modules(TOP).keys() == set()


@pytest.mark.parametrize(
    ("path", "text", "fault"),
    [
        ("gateway/app.py", "import serve.state", "gateway.app imports serve.state: the rooms meet over sockets"),
        ("loadtest/x.py", "from gateway import app", "loadtest.x imports gateway: the rooms meet over sockets"),
        (
            "dashboards/x.py",
            "import gateway.settings",
            "dashboards.x imports gateway.settings: the rooms meet over sockets",
        ),
        ("vitrine/x.py", "import gateway.keys", "vitrine.x imports gateway.keys: the rooms meet over sockets"),
        ("miniature/x.py", "import serve.probe", "miniature.x imports serve.probe: the rooms meet over sockets"),
        ("loadtest/x.py", "from bench import report", "loadtest.x imports bench: the rooms meet over sockets"),
        ("bench/x.py", "import gateway.errors, serve.probe, torch", "bench.x imports torch, an engine's package"),
        ("serve/model_manifest.py", "from serve import probe", "serve.model_manifest imports serve.probe"),
        ("serve/model_manifest.py", "from . import probe", "serve.model_manifest imports serve.probe"),
        (
            "serve/model_manifest.py",
            "def f():\n    from .probe import fault",
            "serve.model_manifest imports serve.probe",
        ),
        ("serve/model_manifest.py", "import serve.probe as p", "serve.model_manifest imports serve.probe"),
        ("serve/new.py", "", "serve.new is not in the table"),
        ("serve/probe.py", "import torch.cuda", "serve.probe imports torch.cuda, an engine's package"),
        (
            "gateway/door/a.py",
            "from gateway.errors import X",
            "gateway.door.a imports gateway.errors: gateway.door stands alone",
        ),
        (
            "gateway/door/a/b.py",
            "from ... import errors",
            "gateway.door.a.b imports gateway.errors: gateway.door stands alone",
        ),
        (
            "gateway/ledger/x.py",
            "from gateway import app",
            "gateway.ledger.x imports gateway.app: gateway.ledger stands alone",
        ),
        (
            "serve/chatglm/folder.py",
            "import serve.errors",
            "serve.chatglm.folder imports serve.errors: serve.chatglm stands alone",
        ),
    ],
)
def test_a_house_with_a_wrong_import_is_caught(tmp_path: Path, path: str, text: str, fault: str) -> None:
    files = {
        "gateway/errors.py": "",
        "serve/probe.py": "",
        "gateway/door/__init__.py": "",
        "gateway/ledger/__init__.py": "",
        "serve/chatglm/__init__.py": "",
        path: text,
    }
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
        cwd=TOP,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
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
