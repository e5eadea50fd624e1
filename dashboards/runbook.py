"""The runbook as a dashboard: what docs/runbook.md says about each alert, in Grafana itself, where no internet is needed."""

import re

from dashboards.model import Dashboard, Panel, PanelKind, PanelRow, Text, both

_SECTION = re.compile(r"^### (?P<title>.+)\n(?P<text>(?:(?!^##).*\n?)+)", re.MULTILINE)
HEADING = "## Alerts"


def sections(markdown: str) -> dict[str, str]:
    """The text below each alert's heading, by title. Raises ValueError where there is no chapter on alerts."""
    _, heading, rest = markdown.partition(f"\n{HEADING}\n")
    if not heading:
        raise ValueError(f"the runbook has no chapter {HEADING!r}")
    chapter = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return {match["title"]: match["text"].strip() for match in _SECTION.finditer(chapter)}


def anchor(title: str) -> str:
    """What a link to the section ends with."""
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


def runbook(markdown: str) -> Dashboard:
    panels = tuple(
        Panel(PanelKind.TEXT, both(title), both("docs/runbook.md"), width=12, height=14, content=text)
        for title, text in sections(markdown).items()
    )
    return Dashboard(
        "runbook",
        Text("Vitrine: runbook", "Vitrine 处置手册"),
        Text("What each alert means, what to look at, what to do.", "每个告警的含义、该看什么、该做什么。"),
        (PanelRow(Text("Alerts", "告警"), panels),),
    )


def panel_ids(markdown: str) -> dict[str, int]:
    """The panels' ids by section: the row comes first."""
    return {title: number for number, title in enumerate(sections(markdown), start=2)}
