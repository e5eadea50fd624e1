"""Draws one panel's data into its box, one function for each of Grafana's panel types that we use; asks nobody anything."""

import math
from datetime import UTC, datetime
from typing import Any

import numpy
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, MaxNLocator

from tests.monitoring.prometheus import Series, Window
from tests.monitoring.sheet import INK, LEGEND_LINE, LINE, NAMED, PALE, PALETTE, Box, Sheet, fitted, legend_lines, width
from tests.monitoring.units import written

Panel = dict[str, Any]
Named = tuple[str, Series]  # a series with its legend
_WARM = LinearSegmentedColormap.from_list("warm", ["#fff3e0", "#ffb74d", "#f57c00", "#b33c00", "#5d1f00"])


def _state(panel: Panel, value: float) -> dict[str, Any] | None:
    """What the panel says of this very value, if it does."""
    for mapping in panel["fieldConfig"]["defaults"]["mappings"]:
        if mapping["type"] == "special":
            return dict(mapping["options"]["result"]) if math.isnan(value) else None
        if (state := mapping["options"].get(f"{value:g}")) is not None:
            return dict(state)
    return None


def color_of(panel: Panel, value: float) -> str:
    """By what the panel says of this value, or by its thresholds."""
    if (state := _state(panel, value)) is not None:
        return NAMED[state["color"]]
    defaults = panel["fieldConfig"]["defaults"]
    steps = [step for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
    return NAMED[(steps or defaults["thresholds"]["steps"])[-1]["color"]]


def said(panel: Panel, value: float) -> str:
    if (state := _state(panel, value)) is not None:
        return str(state["text"])
    defaults = panel["fieldConfig"]["defaults"]
    if math.isfinite(value) and (places := defaults.get("decimals")) is not None:
        value = round(value, places + (2 if defaults["unit"] == "percentunit" else 0))
    return written(value, defaults["unit"])


def stat(sheet: Sheet, box: Box, panel: Panel, series: list[Named], window: Window) -> None:
    """The last value, large, above its course; several beside each other with their names."""
    each = box.w / len(series)
    for number, (name, one) in enumerate(series):
        part = Box(box.x + number * each, box.y, each, box.h)
        color, text = color_of(panel, one.last), said(panel, one.last)
        size = 26.0
        while size > 9 and width(text, size, bold=True) > part.w - 12:
            size -= 1
        top = part.h * 0.36 if len(series) > 1 else part.h * 0.32
        sheet.text(part.x + part.w / 2, part.y + top, text, size, color=color, bold=True, ha="center")
        if len(series) > 1:
            label = fitted(name, 8, part.w - 8)
            sheet.text(part.x + part.w / 2, part.y + top - 26, label, 8, color=PALE, ha="center")
        axes = sheet.axes(part.inside(2, part.h * 0.62, 2, 2))
        axes.set_axis_off()
        times, values = _columns(one)
        axes.plot(times, values, color=color, linewidth=1)
        low = min(0.0, float(numpy.nanmin(values))) if numpy.isfinite(values).any() else 0.0
        axes.fill_between(times, values, low, color=color, alpha=0.15, linewidth=0)
        axes.set_xlim(window.start, window.end)
        axes.margins(y=0.1)


def lines(sheet: Sheet, box: Box, panel: Panel, series: list[Named], window: Window) -> None:
    """Lines or stacked areas over time, thresholds dashed, a legend below."""
    entries = [(name, PALETTE[number % len(PALETTE)]) for number, (name, _) in enumerate(series)]
    legend, rest = legend_lines(entries, box.w - 16)
    legend_high = LEGEND_LINE * len(legend) + 2
    axes = sheet.axes(room := box.inside(52, 4, 8, legend_high + 20))
    defaults = panel["fieldConfig"]["defaults"]
    if defaults["custom"]["stacking"]["mode"] == "normal":
        _stack(axes, series, entries, window.step * 1.5)
    else:
        for (_, one), (_, color) in zip(series, entries, strict=True):
            times, values = _columns(one, gap_s=window.step * 1.5)
            axes.plot(
                times, values, color=color, linewidth=1.4, marker="." if len(one.points) < 3 else None, markersize=4
            )
    _axes(axes, defaults, window)
    _make_room(sheet, room, axes)
    if defaults["custom"]["thresholdsStyle"]["mode"] != "off":
        low, high = axes.get_ylim()
        for step in defaults["thresholds"]["steps"]:
            if step["value"] is not None and low <= step["value"] <= high:
                axes.axhline(step["value"], color=NAMED[step["color"]], linestyle="--", linewidth=0.9)
    sheet.legend(Box(box.x + 8, box.y + box.h - legend_high, box.w - 16, legend_high), legend, rest)


def heatmap(sheet: Sheet, box: Box, panel: Panel, series: list[Named], window: Window) -> None:
    """One row for each bucket of a histogram, darker where more fell into it."""
    bounds = sorted({float(one.labels["le"]) for _, one in series})
    by_bound = {float(one.labels["le"]): one for _, one in series}
    times = numpy.arange(window.start, window.end + window.step / 2, window.step)
    below = numpy.zeros(len(times))
    rows = []
    for bound in bounds:
        values = numpy.zeros(len(times))
        for moment, value in by_bound[bound].points:
            values[min(len(times) - 1, round((moment - window.start) / window.step))] = (
                0 if math.isnan(value) else value
            )
        rows.append(numpy.maximum(values - below, 0))
        below = values
    grid = numpy.array(rows)
    used = [number for number, row in enumerate(grid) if row.max() > 1e-9] or [0]
    first, last = max(0, used[0] - 1), min(len(bounds) - 1, used[-1] + 1)
    shown = grid[first : last + 1]
    grid = numpy.where(shown > 1e-9, shown, numpy.nan)  # nothing is drawn where nothing fell
    axes = sheet.axes(box.inside(58, 4, 8, 24))
    axes.pcolormesh(times, numpy.arange(last - first + 2), grid[:, :-1], cmap=_WARM, rasterized=True)
    unit = panel["options"]["yAxis"]["unit"]
    names = ["∞" if math.isinf(bound) else written(bound, unit) for bound in bounds[first : last + 1]]
    axes.set_yticks(numpy.arange(1, len(names) + 1), names)
    axes.set_ylim(0, len(names))
    axes.grid(visible=True, axis="y", color=LINE, linewidth=0.5)
    _times(axes, window)


def bars(sheet: Sheet, box: Box, panel: Panel, series: list[Named], window: Window) -> None:
    """One horizontal bar for each series, by its last value."""
    defaults = panel["fieldConfig"]["defaults"]
    finite = [one.last for _, one in series if math.isfinite(one.last)]
    most = defaults.get("max") or max(finite, default=0) or 1
    shown = series[: max(1, int(box.h // 20))]
    high = min(34.0, box.h / len(shown))
    names = min(box.w * 0.4, max(width(name, 8) for name, _ in shown) + 8)
    for number, (name, one) in enumerate(shown):
        y, text = box.y + (number + 0.5) * high, said(panel, one.last)
        sheet.text(box.x + 8, y, fitted(name, 8, names - 4), 8)
        room = Box(box.x + 8 + names, y - high * 0.32, box.w - names - 92, high * 0.64)
        sheet.block(room, "#eceef0")
        share = min(1.0, max(0.0, one.last / most)) if math.isfinite(one.last) else 0.0
        sheet.block(Box(room.x, room.y, room.w * share, room.h), color_of(panel, one.last))
        sheet.text(box.x + box.w - 8, y, text, 9, color=color_of(panel, one.last), bold=True, ha="right")


def states(sheet: Sheet, box: Box, panel: Panel, series: list[Named], window: Window) -> None:
    """One band for each series, coloured by what it said when."""
    names = min(box.w * 0.3, max(width(name, 8) for name, _ in series) + 16)
    room = box.inside(8 + names, 4, 8, 42)
    high = room.h / len(series)
    scale = room.w / (window.end - window.start)
    for number, (name, one) in enumerate(series):
        y = room.y + number * high
        sheet.text(box.x + 8, y + high / 2, fitted(name, 8, names - 8), 8)
        for moment, value in one.points:
            x = room.x + (moment - window.start) * scale
            wide = min(window.step * scale + 0.6, room.x + room.w - x)
            sheet.block(Box(x, y + high * 0.1, max(0.5, wide), high * 0.8), color_of(panel, value))
    axes = sheet.axes(room)
    axes.set_yticks([])
    _times(axes, window)
    mappings = panel["fieldConfig"]["defaults"]["mappings"]
    entries = [(state["text"], NAMED[state["color"]]) for one in mappings for state in one["options"].values()]
    sheet.legend(Box(box.x + 8, box.y + box.h - 18, box.w - 16, 16), [entries])


def table(sheet: Sheet, box: Box, panel: Panel, columns: list[tuple[str, str, list[Series]]]) -> None:
    """``columns`` are (heading, unit, series); one line for each set of labels."""
    lines_of = {tuple(sorted(one.labels.items())) for _, _, found in columns for one in found}
    labels = sorted({name for line in lines_of for name, _ in line})
    heads = [*labels, *(heading for heading, _, _ in columns)]
    values = [{tuple(sorted(one.labels.items())): one.last for one in found} for _, _, found in columns]
    shown = sorted(lines_of, key=lambda line: -(values[0].get(line, 0.0)) if values else 0)
    each = (box.w - 16) / len(heads)
    for number, head in enumerate(heads):
        sheet.text(
            box.x + 8 + number * each, box.y + 10, fitted(head, 8, each - 8, bold=True), 8, color=PALE, bold=True
        )
    for line_number, line in enumerate(shown[: max(1, int((box.h - 24) // 20))]):
        y = box.y + 32 + line_number * 20
        sheet.block(Box(box.x + 8, y - 11, box.w - 16, 0.6), LINE)
        cells = [dict(line).get(label, "") for label in labels]
        for (_, unit, _), column in zip(columns, values, strict=True):
            cells.append(
                written(column[line], unit or panel["fieldConfig"]["defaults"]["unit"]) if line in column else ""
            )
        for number, cell in enumerate(cells):
            sheet.text(box.x + 8 + number * each, y, fitted(cell, 8, each - 8), 8, color=INK)


def _stack(axes: Axes, series: list[Named], entries: list[tuple[str, str]], gap_s: float) -> None:
    moments = sorted({moment for _, one in series for moment, value in one.points if math.isfinite(value)})
    breaks = [number for number in range(1, len(moments)) if moments[number] - moments[number - 1] > gap_s]
    base = numpy.zeros(len(moments))
    for (_, one), (_, color) in zip(series, entries, strict=True):
        known = dict(one.points)
        top = base + numpy.nan_to_num(numpy.array([known.get(moment, 0.0) for moment in moments]))
        for first, last in zip([0, *breaks], [*breaks, len(moments)], strict=True):
            piece = slice(first, last)
            axes.fill_between(moments[piece], base[piece], top[piece], color=color, alpha=0.35, linewidth=0)
            axes.plot(moments[piece], top[piece], color=color, linewidth=1)
        base = top


def _axes(axes: Axes, defaults: dict[str, Any], window: Window) -> None:
    low, high = axes.get_ylim()
    if (least := defaults.get("min")) is not None:
        low = least
    if (most := defaults.get("max")) is not None:
        high = most
    # Where all is 0, matplotlib would show hundredths above and below.
    flat = most is None and not float(axes.dataLim.y1) > 0
    axes.set_ylim(low, low + 1 if flat or high <= low else high)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value, defaults["unit"])))
    axes.grid(visible=True, axis="y", color=LINE, linewidth=0.6)
    _times(axes, window)


def _make_room(sheet: Sheet, room: Box, axes: Axes) -> None:
    """Move the axes' left edge so that their longest label fits beside it."""
    low, high = axes.get_ylim()
    labels = [axes.yaxis.get_major_formatter()(tick, 0) for tick in axes.get_yticks() if low <= tick <= high]
    left = max(24.0, max((width(label, 7.5) for label in labels), default=0.0) + 12) - 52
    sheet.move(axes, room.inside(left, 0, 0, 0))


def _times(axes: Axes, window: Window) -> None:
    span = window.end - window.start
    every = next((step for step in (15, 30, 60, 120, 300, 600, 900, 1800, 3600) if span / step <= 6), 7200)
    # None at the very edges, where its label would lie on others or outside.
    first = math.ceil((window.start + span * 0.05) / every) * every
    ticks = numpy.arange(first, window.end - span * 0.04, every)
    pattern = "%H:%M:%S" if every < 60 else "%H:%M"
    axes.set_xticks(ticks, [datetime.fromtimestamp(float(tick), UTC).strftime(pattern) for tick in ticks])
    axes.set_xlim(window.start, window.end)


def _columns(one: Series, gap_s: float = math.inf) -> tuple[list[float], list[float]]:
    """Times and values, with a break where points are missing."""
    times: list[float] = []
    values: list[float] = []
    for moment, value in one.points:
        if times and moment - times[-1] > gap_s:
            times.append(times[-1])
            values.append(math.nan)
        times.append(moment)
        values.append(value if math.isfinite(value) else math.nan)
    return times, values
