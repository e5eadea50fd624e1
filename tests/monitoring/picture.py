"""Draws a dashboard's JSON with the data of a Prometheus, on Grafana's grid; it is our drawing, never Grafana's."""

import io
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from tests.monitoring import plots
from tests.monitoring.prometheus import Prometheus, Series, Window
from tests.monitoring.sheet import PALE, Box, Sheet, fitted, require_font

WIDE = 1560
_COLUMN, _UNIT, _GAP, _HEAD = WIDE / 24, 36, 8, 56
_COLORS = 256
_NO_DATA = {"en": "No data", "zh": "无数据"}
_DRAWERS = {
    "stat": plots.stat,
    "timeseries": plots.lines,
    "heatmap": plots.heatmap,
    "bargauge": plots.bars,
    "state-timeline": plots.states,
}


def draw(document: dict[str, Any], prometheus: Prometheus, window: Window, to: Path) -> None:
    """Write the picture of a dashboard. Raises QueryError and NoFont."""
    require_font()
    high = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in document["panels"])
    sheet = Sheet(WIDE, _HEAD + high * _UNIT + _GAP)
    language = next(tag.removeprefix("vitrine-") for tag in document["tags"] if tag.startswith("vitrine-"))
    _head(sheet, document, window)
    for panel in document["panels"]:
        grid = panel["gridPos"]
        box = Box(
            grid["x"] * _COLUMN + _GAP / 2,
            _HEAD + grid["y"] * _UNIT,
            grid["w"] * _COLUMN - _GAP,
            grid["h"] * _UNIT - _GAP,
        )
        if panel["type"] == "row":
            sheet.text(box.x + 4, box.y + box.h / 2 + 2, panel["title"], 12, bold=True)
        else:
            _draw_panel(sheet, box, panel, prometheus, window, language)
    _save(sheet, to)


def _head(sheet: Sheet, document: dict[str, Any], window: Window) -> None:
    first, last = (datetime.fromtimestamp(moment, UTC).strftime("%H:%M:%S") for moment in (window.start, window.end))
    sheet.text(12, 20, document["title"], 15, bold=True)
    sheet.text(12, 43, fitted(document["description"], 9, WIDE - 260), 9, color=PALE)
    sheet.text(WIDE - 12, 20, f"{first} - {last} UTC", 9, color=PALE, ha="right")


def _draw_panel(
    sheet: Sheet, box: Box, panel: dict[str, Any], prometheus: Prometheus, window: Window, language: str
) -> None:
    sheet.card(box)
    sheet.text(box.x + 10, box.y + 15, fitted(panel["title"], 9.5, box.w - 20, bold=True), 9.5, bold=True)
    room = box.inside(2, 30, 2, 4)
    if panel["type"] == "table":
        heads = panel["transformations"][-1]["options"]["renameByName"].values()
        units = {one["matcher"]["options"]: one["properties"][0]["value"] for one in panel["fieldConfig"]["overrides"]}
        columns = [
            (head, units.get(head, ""), prometheus.at(window.filled(target["expr"]), window.end))
            for head, target in zip(heads, panel["targets"], strict=True)
        ]
        if any(found for _, _, found in columns):
            plots.table(sheet, room, panel, columns)
            return
        series = []
    else:
        series = [named for target in panel["targets"] for named in _series(target, prometheus, window)]
    if series:
        _DRAWERS[panel["type"]](sheet, room, panel, series, window)
    else:
        nothing = panel["fieldConfig"]["defaults"].get("noValue", _NO_DATA[language])
        sheet.text(box.x + box.w / 2, box.y + box.h / 2, nothing, 11, color=PALE, ha="center")


def _series(target: dict[str, Any], prometheus: Prometheus, window: Window) -> list[tuple[str, Series]]:
    expr = window.filled(target["expr"])
    found = prometheus.at(expr, window.end) if target["instant"] else prometheus.over(expr, window)
    return sorted(((_legend(target["legendFormat"], one.labels), one) for one in found), key=lambda pair: pair[0])


def _legend(template: str, labels: dict[str, str]) -> str:
    if template == "__auto":
        return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()) if name != "__name__") or "value"
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: labels.get(match[1], ""), template)


def _save(sheet: Sheet, to: Path) -> None:
    """As PNG with few colours: the pictures are kept in the repository."""
    raw = io.BytesIO()
    sheet.figure.savefig(raw, format="png", facecolor=sheet.figure.get_facecolor())
    raw.seek(0)
    with Image.open(raw) as image:
        image.convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE).save(to, optimize=True)
