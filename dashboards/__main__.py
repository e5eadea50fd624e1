"""``python -m dashboards write`` makes deploy/grafana/dashboards anew from dashboards/ and docs/runbook.md; asks nobody."""

import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from dashboards import runbook
from dashboards.boards.engines import ENGINES
from dashboards.boards.latency import LATENCY
from dashboards.boards.overview import OVERVIEW
from dashboards.boards.tenants import TENANTS
from dashboards.boards.trust import TRUST
from dashboards.grafana import document
from dashboards.model import LANGUAGES

TOP = Path(__file__).parents[1]
FOLDER = TOP / "deploy" / "grafana" / "dashboards"
RUNBOOK = TOP / "docs" / "runbook.md"
BOARDS = (OVERVIEW, LATENCY, TENANTS, ENGINES, TRUST)

app = typer.Typer(add_completion=False, no_args_is_help=True)


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dashboard's path in the folder, and its JSON."""
    text = RUNBOOK.read_text(encoding="utf-8")
    ids = runbook.panel_ids(text)
    for language in LANGUAGES:
        for board in BOARDS:
            yield f"{language}/{board.name}.json", document(board, language, ids)
    yield "en/runbook.json", document(runbook.runbook(text), "en", ids)  # the runbook is in English


def printed(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


@app.command()
def write() -> None:
    """Write deploy/grafana/dashboards/ from dashboards/ and docs/runbook.md."""
    wanted = dict(documents())
    for path in FOLDER.rglob("*.json"):
        if path.relative_to(FOLDER).as_posix() not in wanted:
            path.unlink()
    for name, value in wanted.items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_text(printed(value), encoding="utf-8")


@app.command(
    hidden=True, add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def draw(context: typer.Context) -> None:
    """Hand on to ``python -m tests.monitoring.draw``, where drawing has moved: it is for development alone."""
    print("python -m dashboards draw is now python -m tests.monitoring.draw", file=sys.stderr)
    sys.argv[1:] = context.args
    runpy.run_module("tests.monitoring.draw", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    app()
