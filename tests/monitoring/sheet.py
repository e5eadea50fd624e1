"""A sheet of paper in pixels, on which panels are drawn: frames, titles, text that fits, legends; asks nobody anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.textpath import TextToPath

FONT = "Noto Sans CJK SC"
DPI = 100
INK, PALE, LINE, PAPER, CARD = "#24292e", "#6e7680", "#d8d9dc", "#f4f5f5", "#ffffff"
# Grafana's named colours, as its light theme has them, and its classic palette.
NAMED = {
    "green": "#3d9140",
    "yellow": "#c99700",
    "orange": "#d9691a",
    "red": "#d1293d",
    "blue": "#1f62e0",
    "purple": "#8f3bb8",
    "text": INK,
    "gray": "#8a8f98",
}
PALETTE = (
    "#56a64b",
    "#e0b400",
    "#3274d9",
    "#fa6400",
    "#e02f44",
    "#7e57c2",
    "#1fa2a8",
    "#96630a",
    "#8a8f98",
    "#c4162a",
    "#37872d",
    "#1250b0",
)
LEGEND_LINE = 15
_LEGEND = 7.5  # its size
_MEASURE = TextToPath()

Entry = tuple[str, str]  # a name and its colour


class NoFont(Exception):
    """The font for Chinese text is not installed."""


def require_font(name: str = FONT) -> None:
    """Raises NoFont if Chinese titles could not be drawn."""
    if name not in {font.name for font in font_manager.fontManager.ttflist}:
        raise NoFont(f"the font {name!r} for Chinese titles is not installed (Debian: fonts-noto-cjk)")


@dataclass(frozen=True)
class Box:
    """A rectangle on the sheet, in pixels from its top left corner."""

    x: float
    y: float
    w: float
    h: float

    def inside(self, left: float, top: float, right: float, bottom: float) -> "Box":
        return Box(self.x + left, self.y + top, self.w - left - right, self.h - top - bottom)


def width(text: str, size: float, *, bold: bool = False) -> float:
    """How many pixels ``text`` is wide."""
    properties = font_manager.FontProperties(family=FONT, size=size, weight="bold" if bold else "normal")
    wide, _, _ = _MEASURE.get_text_width_height_descent(text, properties, ismath=False)
    return float(wide) * DPI / 72


def fitted(text: str, size: float, room: float, *, bold: bool = False) -> str:
    """``text``, cut with an ellipsis to at most ``room`` pixels."""
    if width(text, size, bold=bold) <= room:
        return text
    while text and width(text + "…", size, bold=bold) > room:
        text = text[:-1]
    return text + "…"


class Sheet:
    """``width`` and ``height`` in pixels."""

    def __init__(self, wide: int, high: int) -> None:
        self.wide, self.high = wide, high
        self.figure = Figure(figsize=(wide / DPI, high / DPI), dpi=DPI, facecolor=PAPER)
        self.canvas = FigureCanvasAgg(self.figure)

    def text(
        self, x: float, y: float, text: str, size: float, *, color: str = INK, bold: bool = False, **more: Any
    ) -> None:
        """``y`` is the text's middle unless ``va`` says otherwise."""
        look: dict[str, Any] = {
            "va": "center",
            "family": FONT,
            "weight": "bold" if bold else "normal",
            "parse_math": False,
        }
        self.figure.text(x / self.wide, 1 - y / self.high, text, size=size, color=color, **(look | more))

    def card(self, box: Box) -> None:
        """A panel's frame."""
        self.figure.add_artist(
            FancyBboxPatch(
                (box.x, self.high - box.y - box.h),
                box.w,
                box.h,
                boxstyle="round,pad=0,rounding_size=3",
                facecolor=CARD,
                edgecolor=LINE,
                linewidth=0.8,
                transform=None,
                zorder=-2,
            )
        )

    def block(self, box: Box, color: str) -> None:
        """A filled rectangle."""
        self.figure.add_artist(
            Rectangle((box.x, self.high - box.y - box.h), box.w, box.h, facecolor=color, linewidth=0, transform=None)
        )

    def _place(self, box: Box) -> tuple[float, float, float, float]:
        return box.x / self.wide, 1 - (box.y + box.h) / self.high, box.w / self.wide, box.h / self.high

    def move(self, axes: Axes, box: Box) -> None:
        axes.set_position(self._place(box))

    def axes(self, box: Box) -> Axes:
        axes = self.figure.add_axes(self._place(box))
        axes.set_facecolor("none")
        for side in ("top", "right", "left", "bottom"):
            axes.spines[side].set_visible(False)
        axes.tick_params(length=0, labelsize=7.5, colors=PALE)
        return axes

    def legend(self, box: Box, lines: Sequence[Sequence[Entry]], rest: int = 0) -> None:
        """Lines that ``legend_lines`` made; ``rest`` is how many entries are not in them."""
        for number, line in enumerate(lines):
            x, y = box.x, box.y + 8 + number * LEGEND_LINE
            for name, color in line:
                self.block(Box(x, y - 1.5, 12, 3), color)
                self.text(x + 16, y, name, _LEGEND)
                x += _entry(name)
            if rest and number == len(lines) - 1:
                self.text(x, y, f"+{rest}", _LEGEND, color=PALE)


def legend_lines(entries: Sequence[Entry], room: float, most: int = 2) -> tuple[list[list[Entry]], int]:
    """The entries in at most so many lines of ``room`` pixels, and how many are left over."""
    lines: list[list[Entry]] = [[]]
    x = 0.0
    for number, (name, color) in enumerate(entries):
        name = fitted(name, _LEGEND, room - 50)
        last, more = len(lines) == most, number < len(entries) - 1
        if x and x + _entry(name) + (30 if last and more else 0) > room:
            if last:
                return lines, len(entries) - number
            lines.append([])
            x = 0.0
        lines[-1].append((name, color))
        x += _entry(name)
    return lines, 0


def _entry(name: str) -> float:
    return width(name, _LEGEND) + 30
