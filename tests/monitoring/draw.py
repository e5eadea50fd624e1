"""``python -m tests.monitoring.draw --to FOLDER`` draws every dashboard with the data of a Prometheus that already runs."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from dashboards.__main__ import FOLDER
from tests.monitoring.picture import draw
from tests.monitoring.prometheus import Prometheus, QueryError, Window
from tests.monitoring.sheet import NoFont


def draw_all(prometheus: Prometheus, window: Window, to: Path) -> None:
    """Write a picture of every dashboard but the runbook into ``to``. Raises QueryError and NoFont."""
    to.mkdir(parents=True, exist_ok=True)
    for path in sorted(FOLDER.glob("*/*.json")):
        if path.stem != "runbook":
            name = to / f"{path.stem}.{path.parent.name}.png"
            draw(json.loads(path.read_text(encoding="utf-8")), prometheus, window, name)
            print(f"{name}: {name.stat().st_size // 1024} KiB")


def main(
    to: Annotated[Path, typer.Option(help="the folder for the pictures")],
    prometheus: Annotated[str, typer.Option(help="where Prometheus answers")] = "http://127.0.0.1:9090",
    minutes: Annotated[float, typer.Option(help="how far back")] = 60,
    scrape_s: Annotated[float, typer.Option(help="how often it scrapes")] = 15,
) -> None:
    """Draw every dashboard with the data of a Prometheus: our drawing, not Grafana's."""
    now = time.time()
    try:
        draw_all(Prometheus(prometheus), Window(now - minutes * 60, now, scrape_s), to)
    except (QueryError, NoFont) as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    typer.run(main)
