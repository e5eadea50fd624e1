"""Pictures for the exam that cannot be made out, of kinds that training never paints; photos come from a folder."""

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from miniature.reading import random_text

Size = tuple[int, int]
PHOTOS: list[Path] = []


def picture(number: int, random: Random, size: Size, fonts: Any) -> Image.Image:
    """A photo (where there is a folder of them), noise, or a blurred scan, in turn."""
    turn = number % 10
    if turn < 4 and PHOTOS:
        return photo(random, size)
    if turn < 6:
        return noise(random, size)
    if turn < 8:
        return scan(random, size, fonts)
    return cells(random, size) if turn == 8 else fractal(random, size)


def photo(random: Random, size: Size) -> Image.Image:
    """A part of one of the photos."""
    whole = Image.open(random.choice(PHOTOS)).convert("RGB")
    side = random.uniform(0.5, 1.0) * min(whole.size)
    x, y = random.uniform(0, whole.width - side), random.uniform(0, whole.height - side)
    return whole.resize(size, Image.Resampling.BICUBIC, box=(x, y, x + side, y + side))


def noise(random: Random, size: Size) -> Image.Image:
    """Normal noise of any strength, coloured or gray, sometimes over a picture of nothing."""
    made = np.random.default_rng(random.randrange(2**32))
    strength = random.uniform(25, 120)
    values = random.randint(40, 215) + made.normal(0, strength, (size[1], size[0], random.choice((1, 3))))
    clear = np.clip(values, 0, 255).astype(np.uint8)
    return Image.fromarray(clear.squeeze() if clear.shape[-1] == 1 else clear).convert("RGB")


def scan(random: Random, size: Size, fonts: Any) -> Image.Image:
    """A gray scan of a text that moved and is out of focus: no letter of it can be told."""
    font = random.choice(fonts)
    ground = random.randint(150, 235)
    page = Image.new("L", size, ground)
    pen = ImageDraw.Draw(page)
    for line in range(random.randint(1, 3)):
        text = random_text(random, judged=True)
        pen.text((random.randint(5, 90), 20 + line * font.size * 1.3), text, font=font, fill=random.randint(0, 80))
    page = page.filter(ImageFilter.GaussianBlur(font.size * random.uniform(0.22, 0.45)))
    page = page.filter(ImageFilter.BoxBlur(random.choice((2, 6, 10))))
    return page.rotate(random.uniform(-8, 8), fillcolor=ground).convert("RGB")


def cells(random: Random, size: Size) -> Image.Image:
    """The nearest of many points gives the colour."""
    made = np.random.default_rng(random.randrange(2**32))
    points = made.uniform(0, size[0], (random.randint(60, 220), 2))
    paints = made.integers(0, 256, (len(points), 3))
    down, across = np.mgrid[0 : size[1] : 2, 0 : size[0] : 2]
    far = (across[..., None] - points[:, 0]) ** 2 + (down[..., None] - points[:, 1]) ** 2
    return Image.fromarray(paints[far.argmin(-1)].astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def fractal(random: Random, size: Size) -> Image.Image:
    """A part of Mandelbrot's set."""
    x, y, wide = random.uniform(-1.6, 0.2), random.uniform(-0.9, 0.9), random.uniform(0.2, 1.2)
    gray = Image.effect_mandelbrot(size, (x - wide, y - wide, x + wide, y + wide), 100)
    return Image.merge("RGB", (gray, gray.point(lambda v: (v * 3) % 256), gray.point(lambda v: (v * 7) % 256)))
