"""What a dashboard is, as plain data: rows of panels, queries, thresholds, both languages; knows no JSON and draws nothing."""

import enum
from dataclasses import dataclass, field
from typing import Literal

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
COLUMNS = 24  # of Grafana's grid


class PanelKind(enum.StrEnum):
    """Grafana's own names of the panel types that we use."""

    STAT = "stat"
    TIMESERIES = "timeseries"
    BARS = "bargauge"
    HEATMAP = "heatmap"
    STATES = "state-timeline"
    TABLE = "table"
    TEXT = "text"


@dataclass(frozen=True)
class Text:
    """The same in both languages; English alone where it is a name."""

    en: str
    zh: str

    def said(self, language: Language) -> str:
        return self.zh if language == "zh" else self.en


def both(text: str) -> Text:
    """What reads alike in both languages: names, units, percentiles."""
    return Text(text, text)


@dataclass(frozen=True)
class PanelQuery:
    """One PromQL expression. ``legend`` may hold ``{{label}}``; in a table it heads the column, with ``unit``."""

    expr: str
    legend: Text = field(default_factory=lambda: both(""))
    unit: str = ""


@dataclass(frozen=True)
class ColorStep:
    """From ``value`` on the colour is ``color``; the first step's value is None."""

    value: float | None
    color: str


@dataclass(frozen=True)
class Panel:
    """One panel. ``unit`` is Grafana's id of a unit; ``runbook`` the title of a section of docs/runbook.md."""

    kind: PanelKind
    title: Text
    about: Text
    queries: tuple[PanelQuery, ...] = ()
    unit: str = "short"
    width: int = 8
    height: int = 8
    steps: tuple[ColorStep, ...] = ()
    lowest: float | None = 0
    highest: float | None = None
    decimals: int | None = None
    stacked: bool = False
    states: tuple[tuple[str, Text, str], ...] = ()  # a value, what it means, its colour
    runbook: str | None = None
    quiet: bool = False  # without a series all is well: nothing of the kind happened
    content: str = ""  # of a text panel, Markdown


@dataclass(frozen=True)
class PanelRow:
    """A heading and the panels below it."""

    title: Text
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice at the top of the dashboard: all values of ``label`` of ``metric``."""

    name: str
    label: str
    metric: str
    title: Text


@dataclass(frozen=True)
class Dashboard:
    """``name`` is the file's and part of the uid."""

    name: str
    title: Text
    about: Text
    rows: tuple[PanelRow, ...]
    variables: tuple[Variable, ...] = ()

    @property
    def panels(self) -> list[Panel]:
        return [panel for row in self.rows for panel in row.panels]


@dataclass(frozen=True)
class GridPlace:
    """Where a panel lies on the grid, in columns and Grafana's units of height."""

    x: int
    y: int
    w: int
    h: int


def placed(dashboard: Dashboard) -> list[tuple[PanelRow | Panel, GridPlace]]:
    """Rows and panels from the top, panels beside each other until a line of 24 columns is full."""
    found: list[tuple[PanelRow | Panel, GridPlace]] = []
    y = 0
    for row in dashboard.rows:
        found.append((row, GridPlace(0, y, COLUMNS, 1)))
        y, x, tallest = y + 1, 0, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                y, x, tallest = y + tallest, 0, 0
            found.append((panel, GridPlace(x, y, panel.width, panel.height)))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return found


ALWAYS_GREEN = (ColorStep(None, "green"),)


def rising(warn: float, bad: float) -> tuple[ColorStep, ...]:
    """Green, yellow from ``warn`` on, red from ``bad`` on."""
    return (ColorStep(None, "green"), ColorStep(warn, "yellow"), ColorStep(bad, "red"))


def falling(bad: float, warn: float) -> tuple[ColorStep, ...]:
    """Red below ``bad``, yellow below ``warn``, else green."""
    return (ColorStep(None, "red"), ColorStep(bad, "yellow"), ColorStep(warn, "green"))


def never(above: float) -> tuple[ColorStep, ...]:
    """Green, and red from ``above`` on: what must not happen at all."""
    return (ColorStep(None, "green"), ColorStep(above, "red"))
