"""Paints scenes and short texts with PIL; knows pixels and paint, no questions and no answers."""

import io
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageFont

from miniature.scene import Scene

Paint = tuple[int, int, int]
PAINTS: dict[str, tuple[Paint, ...]] = {
    "red": ((255, 0, 0), (255, 0, 0), (220, 20, 60), (200, 10, 10), (230, 40, 40)),
    "blue": ((0, 0, 255), (0, 0, 255), (30, 60, 220), (65, 105, 225), (20, 40, 180)),
    "green": ((0, 128, 0), (0, 128, 0), (0, 255, 0), (0, 190, 30), (40, 150, 60)),
    "yellow": ((255, 255, 0), (255, 255, 0), (255, 225, 0), (240, 230, 40)),
    "orange": ((255, 165, 0), (255, 165, 0), (255, 140, 0), (245, 130, 20)),
    "purple": ((128, 0, 128), (128, 0, 128), (150, 30, 210), (110, 30, 150)),
    "black": ((0, 0, 0), (0, 0, 0), (20, 20, 20), (35, 35, 35)),
    "white": ((255, 255, 255), (255, 255, 255), (245, 245, 245)),
}
GROUNDS: tuple[Paint, ...] = (
    (255, 255, 255),
    (240, 240, 240),
    (200, 200, 200),
    (128, 128, 128),
    (225, 235, 245),
    (245, 235, 220),
    (70, 70, 80),
    (0, 0, 0),
    (170, 190, 175),
    (150, 130, 110),
)
# Squared distance of two paints under which they are too alike to lie on each other.
ALIKE = 90**2


def _distance(one: Paint, two: Paint) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, two, strict=True))


def _shade(random: Random, paint: Paint, by: int) -> Paint:
    r, g, b = (min(255, max(0, part + random.randint(-by, by))) for part in paint)
    return r, g, b


def _ground(random: Random, paints: list[Paint]) -> Paint:
    white_first = [GROUNDS[0]] * (random.random() < 0.45)
    for ground in (*white_first, *random.sample(GROUNDS, len(GROUNDS))):
        shade = ground if random.random() < 0.6 else _shade(random, ground, 12)
        if all(_distance(shade, paint) > ALIKE for paint in paints):
            return shade
    return max(GROUNDS, key=lambda ground: min(_distance(ground, paint) for paint in paints))


def _canvas(random: Random, size: tuple[int, int], ground: Paint) -> Image.Image:
    if random.random() < 0.8:
        return Image.new("RGB", size, ground)
    other = _shade(random, ground, 28)
    ramp = Image.linear_gradient("L") if random.random() < 0.5 else Image.linear_gradient("L").rotate(90)
    return Image.composite(
        Image.new("RGB", size, ground), Image.new("RGB", size, other), ramp.resize(size, Image.Resampling.BILINEAR)
    )


def _worn(random: Random, picture: Image.Image) -> Image.Image:
    """JPEG traces or another size on the way, as a picture from outside would have."""
    chance = random.random()
    if chance < 0.12:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=random.randint(45, 95))
        return Image.open(buffer).convert("RGB")
    if chance < 0.22:
        scale = random.uniform(0.55, 1.4)
        middle = (max(28, int(picture.width * scale)), max(28, int(picture.height * scale)))
        return picture.resize(middle, Image.Resampling.BICUBIC).resize(picture.size, Image.Resampling.BICUBIC)
    if chance < 0.30:
        grain = Image.frombytes("L", (64, 64), random.randbytes(64 * 64)).resize(picture.size, Image.Resampling.NEAREST)
        return Image.blend(picture, grain.convert("RGB"), random.uniform(0.01, 0.06))
    return picture


def paint_scene(random: Random, scene: Scene, worn: bool = True) -> Image.Image:
    """An RGB picture of the scene in its own size in pixels."""
    paints = [random.choice(PAINTS[shape.colour]) for shape in scene.shapes]
    paints = [paint if random.random() < 0.5 else _shade(random, paint, 12) for paint in paints]
    # Twice the size and then halved: smooth edges. The other half of the pictures keeps PIL's hard ones.
    times = 2 if random.random() < 0.5 else 1
    size = (scene.width * times, scene.height * times)
    picture = _canvas(random, size, _ground(random, paints))
    pen = ImageDraw.Draw(picture)
    rim = random.random() < 0.1
    for shape, paint in zip(scene.shapes, paints, strict=True):
        edge = (0, 0, 0) if rim and shape.colour != "black" else None
        if shape.kind == "circle":
            pen.ellipse([part * times for part in shape.box], fill=paint, outline=edge, width=times)
        else:
            pen.polygon([(x * times, y * times) for x, y in shape.outline], fill=paint, outline=edge, width=times)
    if times == 2:
        picture = picture.reduce(2)
    return _worn(random, picture) if worn else picture


def load_fonts(folder: Path, sizes: tuple[int, ...]) -> list[ImageFont.FreeTypeFont]:
    """Every font file of a folder in every size in pixels, and PIL's own where the folder is missing or empty."""
    files = sorted(folder.glob("*.ttf")) if folder.is_dir() else []
    fonts = [ImageFont.truetype(str(file), size) for file in files for size in sizes]
    own = [ImageFont.load_default(size) for size in sizes]
    return fonts + [font for font in own if isinstance(font, ImageFont.FreeTypeFont)]


def paint_text(
    random: Random, text: str, size: tuple[int, int], fonts: list[ImageFont.FreeTypeFont], worn: bool = True
) -> Image.Image:
    """An RGB picture of `size` pixels with `text` somewhere in it, whole."""
    for _ in range(20):
        font = random.choice(fonts)
        left, top, right, bottom = font.getbbox(text)
        if right - left < size[0] - 12 and bottom - top < size[1] - 12:
            break
    else:
        font = min(fonts, key=lambda one: one.size)
        left, top, right, bottom = font.getbbox(text)
    ink = random.choice(((0, 0, 0), (0, 0, 0), (255, 255, 255), *(PAINTS[c][0] for c in ("red", "blue", "green"))))
    picture = _canvas(random, size, _ground(random, [ink]))
    x = random.uniform(4, max(5, size[0] - (right - left) - 4)) - left
    y = random.uniform(4, max(5, size[1] - (bottom - top) - 4)) - top
    ImageDraw.Draw(picture).text((x, y), text, font=font, fill=ink)
    return _worn(random, picture) if worn else picture
