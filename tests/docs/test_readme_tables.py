"""Every setting, target, command, route, profile and exit code is in both READMEs, with its true default."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from fastapi import FastAPI

import serve.__main__
from gateway import settings as gateway_settings
from gateway import wiring
from gateway.app import build
from gateway.engines.pool import Pool
from gateway.engines.shared_load import SharedLoad
from gateway.keys.store import KeyStore
from gateway.ledger import errors as ledger_errors
from gateway.ledger import settings as ledger_settings
from gateway.ledger.client.async_client import Deadlines, LedgerClient
from gateway.telemetry import catalogue as metrics
from gateway.telemetry.counters import Metrics
from serve import errors as serve_errors
from serve import profile
from serve import settings as serve_settings
from tests.docs.readme import NAMES, TOP, codes, tables

pytestmark = pytest.mark.parametrize("readme", NAMES)

MAKEFILE = (TOP / "Makefile").read_text(encoding="utf-8")
NONE = {"README.md": "none", "README.zh.md": "无"}
# The wildcards of a mounted folder and HEAD, which comes with every GET, are not ways of asking of their own.
METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE")


def written(default: Any, readme: str) -> str:
    """How a default is written in a table."""
    if default is None:
        return NONE[readme]
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{default}`"


@pytest.mark.parametrize(
    ("table", "prefix", "model"),
    [
        ("gateway settings", gateway_settings.PREFIX, gateway_settings.Settings),
        ("engine settings", serve_settings.PREFIX, serve_settings.Settings),
        ("ledger settings", ledger_settings.PREFIX, ledger_settings.LedgerSettings),
    ],
)
def test_every_setting_is_there_with_its_default(readme: str, table: str, prefix: str, model: Any) -> None:
    fields = {
        prefix + name.upper(): written(field.get_default(call_default_factory=True), readme)
        for name, field in model.model_fields.items()
        if name != "home" or prefix == gateway_settings.PREFIX
    }
    assert {name: cells[0] for name, cells in tables(readme)[table].items()} == fields


def test_the_state_folder_is_the_same_for_every_process(readme: str) -> None:
    rooms = (gateway_settings.Settings, serve_settings.Settings, ledger_settings.LedgerSettings)
    assert {str(room.model_fields["home"].default) for room in rooms} == {
        codes(tables(readme)["gateway settings"]["VITRINE_HOME"][0])[0]
    }


def test_every_make_target_is_there(readme: str) -> None:
    targets = {f"make {name}" for name in re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE)}
    assert set(tables(readme)["targets"]) == targets


def test_every_make_variable_is_there_with_its_default(readme: str) -> None:
    table = tables(readme)["variables"]
    assert set(table) == set(re.findall(r"\$\(([A-Z]+)\)", MAKEFILE))
    for name, default in re.findall(r"^([A-Z]+) \?= ([a-z0-9]+)$", MAKEFILE, re.MULTILINE):
        assert table[name][0] == f"`{default}`"
    for name in ("host", "port"):
        assert table[name.upper()][0] == written(gateway_settings.Settings.model_fields[name].default, readme)


def commands() -> dict[str, set[str]]:
    """Every command of every room, with its arguments and its options' long names."""
    found: dict[str, set[str]] = {}
    rooms = ("serve", "gateway", "loadtest", "dashboards", "bench")
    for path in sorted(path for room in rooms for path in (TOP / room).rglob("__main__.py")):
        name = ".".join(path.parent.relative_to(TOP).parts)
        module = importlib.import_module(f"{name}.__main__")
        # A room whose commands lie in several files joins them when it is asked to.
        collect(typer.main.get_command(module.app if hasattr(module, "app") else module.make_app()), name, found)
    return found


def collect(command: Any, words: str, found: dict[str, set[str]]) -> None:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            if not inner.hidden:  # one that only hands on to its new name
                collect(inner, f"{words} {name}", found)
        return
    options = {option for parameter in command.params for option in parameter.opts}
    found[f"python -m {words}"] = {option for option in options if option.startswith("--") or "-" not in option}


def test_every_command_is_there_with_its_options(readme: str) -> None:
    assert {name: set(codes(cells[0])) for name, cells in tables(readme)["commands"].items()} == commands()


def routes(home: Path) -> set[str]:
    keys = KeyStore(home / "keys.sqlite")
    try:
        ledger = LedgerClient(home / "ledger.sock", Deadlines(), buffered=False)
        settings = gateway_settings.Settings(home=home)
        pool = Pool(wiring.pool_plan(settings, SharedLoad.alone()))
        application = build(
            wiring.services(settings, ledger_settings.LedgerSettings(), keys, pool, ledger, Metrics("0"))
        )
    finally:
        keys.close()
    app = next(part for part in vars(application).values() if isinstance(part, FastAPI))
    found = set()
    for route in app.routes:
        methods = getattr(route, "methods", None) or {"GET"}
        found |= {f"{method} {getattr(route, 'path', '')}" for method in METHODS if method in methods}
    return found


def test_every_route_is_there(readme: str, tmp_path: Path) -> None:
    assert set(tables(readme)["routes"]) == routes(tmp_path)


def test_every_metric_is_there_with_its_kind_and_labels(readme: str) -> None:
    written = {name: (kind, tuple(codes(labels))) for name, (kind, labels, _) in tables(readme)["metrics"].items()}
    assert written == {one.name: (one.kind, one.labels) for one in metrics.ALL}


def test_every_profile_is_there_with_its_context(readme: str) -> None:
    contexts = {name: str(profile.load(name).flags["max-model-len"]) for name in profile.names()}
    assert {name: cells[-1] for name, cells in tables(readme)["profiles"].items()} == contexts


def test_every_exit_code_is_there(readme: str) -> None:
    errors = [*vars(serve_errors).values(), *vars(ledger_errors).values()]
    used = {error.exit_code for error in errors if hasattr(error, "exit_code")}
    used |= {serve.__main__.WRONG_USAGE, gateway_settings.WRONG_USAGE, gateway_settings.BadSettings.exit_code, 0}
    assert {int(code) for code in tables(readme)["exit codes"]} == used


def test_both_readmes_have_the_same_tables_with_the_same_keys(readme: str) -> None:
    ours, english = tables(readme), tables(NAMES[0])
    assert {name: list(rows) for name, rows in ours.items()} == {name: list(rows) for name, rows in english.items()}
    assert len(english) == 10
