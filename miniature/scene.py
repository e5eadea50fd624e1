"""What is in a picture, before it is painted: shapes with colour, size and place; draws nothing and says nothing."""

import hashlib
import math
from dataclasses import dataclass
from random import Random

from miniature.words import COLOURS, PLACES, SHAPES, SIZES

# Extent over the square root of the picture's area. Between the classes lies a gap that judged pictures avoid.
EXTENTS = {"small": (0.095, 0.145), "medium": (0.185, 0.245), "large": (0.295, 0.37)}
SMALL_BELOW = 0.165
LARGE_ABOVE = 0.27
GRID = 1000
# Boxes are told in steps of 5 of the 1000: at most 0.9 pixels off in a picture of 336.
STEP = 5


@dataclass(frozen=True)
class Shape:
    """One shape; `box` is x1, y1, x2, y2 in pixels around `outline`."""

    kind: str
    colour: str
    size: str
    place: str
    outline: tuple[tuple[float, float], ...]
    box: tuple[float, float, float, float]

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box, in pixels."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


@dataclass(frozen=True)
class Scene:
    """A picture's content: width and height in pixels, shapes in the order in which they are told."""

    width: int
    height: int
    shapes: tuple[Shape, ...]

    def told_box(self, shape: Shape) -> tuple[int, int, int, int]:
        """The shape's box on the 0-1000 grid, in steps of `STEP`."""
        x1, y1, x2, y2 = shape.box
        across, down = GRID / self.width, GRID / self.height
        edges = (x1 * across, y1 * down, x2 * across, y2 * down)
        a, b, c, d = (min(GRID, max(0, STEP * round(edge / STEP))) for edge in edges)
        return a, b, c, d


def held_out(kind: str, colour: str, place: str) -> bool:
    """Whether training never sees this combination: about one in nine; the plainest ones are always trained."""
    if colour in ("red", "blue", "green", "yellow") and kind in ("circle", "square") and place in ("left", "right"):
        return False
    return hashlib.sha256(f"{kind} {colour} {place}".encode()).digest()[0] % 9 == 0


HELD_OUT = tuple((k, c, p) for k in SHAPES for c in COLOURS for p in PLACES if held_out(k, c, p))


def size_class(extent: float) -> str:
    """small, medium or large for an extent as in `EXTENTS`."""
    return "small" if extent < SMALL_BELOW else "large" if extent > LARGE_ABOVE else "medium"


def place_class(x: float, y: float) -> str:
    """The place of a point given as fractions of width and height."""
    return PLACES[3 * min(2, int(y * 3)) + min(2, int(x * 3))]


def _ring(count: int, start: float, radii: tuple[float, ...]) -> list[tuple[float, float]]:
    steps = [start + 2 * math.pi * i / count for i in range(count)]
    return [(radii[i % len(radii)] * math.cos(t), radii[i % len(radii)] * math.sin(t)) for i, t in enumerate(steps)]


_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "circle": _ring(48, 0, (1,)),
    "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    "triangle": [(0, -1), (1, 1), (-1, 1)],
    "star": _ring(10, -math.pi / 2, (1.08, 0.45)),
    "diamond": [(0, -1), (1, 0), (0, 1), (-1, 0)],
    "cross": [
        (x / 3, y / 3)
        for x, y in (
            (-1, -3),
            (1, -3),
            (1, -1),
            (3, -1),
            (3, 1),
            (1, 1),
            (1, 3),
            (-1, 3),
            (-1, 1),
            (-3, 1),
            (-3, -1),
            (-1, -1),
        )
    ],
}


def outline(
    kind: str, x: float, y: float, width: float, height: float, turn: float = 0.0
) -> tuple[tuple[float, float], ...]:
    """The corners of a shape around (x, y), in pixels; `turn` in radians."""
    points = _OUTLINES[kind]
    cos, sin = math.cos(turn), math.sin(turn)
    if turn:
        points = [(px * cos - py * sin, px * sin + py * cos) for px, py in points]
    return tuple((x + px * width / 2, y + py * height / 2) for px, py in points)


def make_shape(
    kind: str,
    colour: str,
    x: float,
    y: float,
    width: float,
    height: float,
    picture: tuple[int, int],
    turn: float = 0.0,
) -> Shape:
    """A shape in a picture of `picture` = (width, height) pixels, its size and place classed from its numbers."""
    points = outline(kind, x, y, width, height, turn)
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    box = (min(xs), min(ys), max(xs), max(ys))
    size = size_class(math.sqrt(width * height) / math.sqrt(picture[0] * picture[1]))
    middle_x, middle_y = (box[0] + box[2]) / 2 / picture[0], (box[1] + box[3]) / 2 / picture[1]
    return Shape(kind, colour, size, place_class(middle_x, middle_y), points, box)


def _apart(box: tuple[float, float, float, float], others: list[Shape], gap: float) -> bool:
    return all(
        box[0] > o.box[2] + gap or box[2] < o.box[0] - gap or box[1] > o.box[3] + gap or box[3] < o.box[1] - gap
        for o in others
    )


def _within(random: Random, cell: int, margin: float) -> float:
    low, high = cell / 3 + (margin if cell else 0), (cell + 1) / 3 - (margin if cell < 2 else 0)
    return random.uniform(low, high)


def random_scene(
    random: Random,
    width: int,
    height: int,
    count: int | None = None,
    judged: bool = False,
    colours: tuple[str, ...] = COLOURS,
) -> Scene:
    """A scene of one to five shapes, one to a place.

    `judged` scenes keep clear of the borders between size and place classes, and hold at least one combination that
    training never sees; all other scenes hold none.
    """
    count = count or random.choices((1, 2, 3, 4, 5), (22, 26, 24, 15, 13))[0]
    side = math.sqrt(width * height)
    gap = 0.012 * side
    shapes: list[Shape] = []
    plan = [(random.choice(SHAPES), random.choice(colours), place) for place in random.sample(PLACES, count)]
    if judged:
        choices = [item for item in HELD_OUT if item[1] in colours]
        kind, colour, place = random.choice(choices)
        rest = [item for item in plan if item[2] != place]
        plan = [(kind, colour, place), *rest[: count - 1]]
    for kind, colour, place in plan:
        cell = PLACES.index(place)
        for _ in range(12):
            size = random.choice(SIZES)
            low, high = EXTENTS[size]
            if not judged and random.random() < 0.12:
                low, high = 0.085, 0.40
            if count == 1 and size == "large" and random.random() < 0.35:
                high = 0.75
            extent = random.uniform(low, high) * side
            ratio = random.choice((1.0, 1.0, 1.0, random.uniform(0.92, 1.08)))
            w, h = extent * ratio, extent / ratio
            turn = random.uniform(-0.14, 0.14) if random.random() < 0.15 and kind != "circle" else 0.0
            margin = 0.04 if judged else random.choice((0.04, 0.04, 0.02, 0.0))
            x, y = _within(random, cell % 3, margin) * width, _within(random, cell // 3, margin) * height
            # A shape that would leave the picture is moved in; its place is classed from where it then is.
            x = min(max(x, w * 0.56), width - w * 0.56)
            y = min(max(y, h * 0.56), height - h * 0.56)
            shape = make_shape(kind, colour, x, y, w, h, (width, height), turn)
            clear = shape.place == place and _apart(shape.box, shapes, gap)
            inside = min(shape.box) >= 0 and shape.box[2] <= width and shape.box[3] <= height
            if judged:
                clear = clear and _clear_of_borders(shape, width, height) and not 0.15 < w / side < 0.18
            if clear and inside and (judged or not held_out(kind, colour, place)):
                shapes.append(shape)
                break
    if not shapes or (judged and not any(held_out(s.kind, s.colour, s.place) for s in shapes)):
        return random_scene(random, width, height, count, judged, colours)
    return Scene(width, height, tuple(sorted(shapes, key=lambda shape: PLACES.index(shape.place))))


def _clear_of_borders(shape: Shape, width: int, height: int) -> bool:
    x, y = shape.centre
    return all(abs(part - border) > 0.03 for part in (x / width, y / height) for border in (1 / 3, 2 / 3))
