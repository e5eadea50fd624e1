"""``python -m dashboards write`` makes deploy/grafana anew; ``draw`` makes pictures from it and a Prometheus that runs."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

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


@app.command()
def draw(
    to: Annotated[Path, typer.Option(help="the folder for the pictures")],
    prometheus: Annotated[str, typer.Option(help="where Prometheus answers")] = "http://127.0.0.1:9090",
    minutes: Annotated[float, typer.Option(help="how far back")] = 60,
    scrape_s: Annotated[float, typer.Option(help="how often it scrapes")] = 15,
) -> None:
    """Draw every dashboard with the data of a Prometheus: our drawing, not Grafana's."""
    from tests.monitoring.picture import draw as drawn  # matplotlib is for development alone
    from tests.monitoring.prometheus import Prometheus, QueryError, Window
    from tests.monitoring.sheet import NoFont

    now = time.time()
    to.mkdir(parents=True, exist_ok=True)
    try:
        for path in sorted(FOLDER.glob("*/*.json")):
            if path.stem != "runbook":
                window = Window(now - minutes * 60, now, scrape_s)
                name = to / f"{path.stem}.{path.parent.name}.png"
                drawn(json.loads(path.read_text(encoding="utf-8")), Prometheus(prometheus), window, name)
                print(name)
    except (QueryError, NoFont) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
