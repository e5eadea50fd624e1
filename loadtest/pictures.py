"""Pictures like those that people send, as JPEG: photos and pages, every one different; pure but for the processor it takes.

A photo has what costs a codec and an encoder their time: texture whose strength falls with its frequency as in nature, light
that falls off, things with edges in front of it, and the grain of a sensor. Noise would be five times as large and compress
like nothing real. One ground is made slowly; its variants are other cut-outs of it, encoded anew, so that no two have the
same pixels and each costs one encoding.
"""

import io
import random
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from loadtest.phones import phone_jpeg
from loadtest.words import WORDS

MARGIN = 64  # cut-outs differ by up to so many pixels in each direction
_GRAIN = 2.0
_PHONE_GRAIN, _PHONE_PICTURES = 6.5, 2  # in each batch


def variants(style: str, width: int, height: int, quality: int, seed: int, count: int) -> Iterator[bytes]:
    """``count`` different JPEGs of one ground; at most 2 * MARGIN² of them."""
    if count > 2 * MARGIN * MARGIN:
        raise ValueError(f"{count} variants of one ground: there are {2 * MARGIN * MARGIN}")
    if style == "phone":
        yield from _phone_variants(width, height, quality, seed, count)
        return
    ground = (photo if style == "photo" else page)(width + MARGIN, height + MARGIN, seed)
    places = random.Random(seed).sample(range(2 * MARGIN * MARGIN), count)
    mirrored = ground.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for place in places:
        flip, rest = divmod(place, MARGIN * MARGIN)
        y, x = divmod(rest, MARGIN)
        # A page is never mirrored: its second half is turned by nothing, but lit differently.
        source = mirrored if flip and style == "photo" else ground
        cut = source.crop((x, y, x + width, y + height))
        if flip and style == "page":
            cut = cut.point(_DIMMER)
        yield _jpeg(cut, quality)


def _phone_variants(width: int, height: int, quality: int, seed: int, count: int) -> Iterator[bytes]:
    """Few pictures with their times and so their bytes all different: a photo of 12 megapixels takes seconds to make."""
    small = photo(width // 2 + MARGIN, height // 2 + MARGIN, seed)
    dice = np.random.default_rng(seed)
    grain = dice.normal(0, _PHONE_GRAIN, (height, width, 1)).astype(np.float32)
    places = random.Random(seed).sample(range(MARGIN), min(count, _PHONE_PICTURES))
    made = []
    for place in places:
        box = (place, place, place + width // 2, place + height // 2)
        large = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC, box), dtype=np.float32)
        made.append(Image.fromarray(np.clip(large + grain, 0, 255).astype(np.uint8)))
    for number in range(count):
        yield phone_jpeg(made[number % len(made)], quality, seed * 10_000 + number)


def photo(width: int, height: int, seed: int) -> Image.Image:
    """One photo-like picture."""
    dice = np.random.default_rng(seed)
    bright = _texture(dice, width, height, 1.3) * 34
    colours = [_texture(dice, width, height, 1.9) * 26 for _ in range(2)]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = dice.uniform(0, 2 * np.pi)
    light = 118 + 42 * (np.cos(angle) * x + np.sin(angle) * y) - 22 * (x * x + y * y)
    planes = [light + bright + colours[0], light + bright, light + bright + colours[1]]
    ground = Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8))
    scene = np.asarray(_things(ground, random.Random(seed)), dtype=np.float32)
    grain = dice.normal(0, _GRAIN, scene.shape[:2]).astype(np.float32)[..., None]
    return Image.fromarray(np.clip(scene + grain, 0, 255).astype(np.uint8))


def page(width: int, height: int, seed: int) -> Image.Image:
    """One scanned page: paragraphs, headings, a table, on paper that is not quite white."""
    dice = random.Random(seed)
    image = Image.new("L", (width, height), 247)
    draw = ImageDraw.Draw(image)
    size = max(10, width // 70)
    body, heading = ImageFont.load_default(size), ImageFont.load_default(size * 1.6)
    left, right, y = width // 12, width - width // 12, height // 18
    while y < height - height // 14:
        if dice.random() < 0.12:
            draw.text((left, y), " ".join(dice.choices(WORDS, k=4)).title(), 20, heading)
            y += size * 3
        elif dice.random() < 0.08:
            y = _table(draw, dice, body, left, right, y, size)
        else:
            for _ in range(dice.randint(3, 8)):
                y = _line(draw, dice, body, left, right, y, size)
            y += size
    grain = np.random.default_rng(seed).normal(0, _GRAIN, (height, width))
    y_, x_ = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(0.5)), dtype=np.float32)
    grey = np.clip(soft + grain - 9 * (x_ * x_ + y_ * y_), 0, 255)
    return Image.fromarray(np.stack([grey, grey * 0.995, grey * 0.97], -1).astype(np.uint8))


_DIMMER = [max(0, value - 3) for value in range(256)] * 3


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _texture(
    dice: np.random.Generator, width: int, height: int, slope: float
) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """Noise whose amplitude falls as 1/f**slope, of variance 1: natural pictures have a slope of about 1."""
    spectrum = np.fft.rfft2(dice.normal(size=(height, width)))
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    f[0, 0] = np.inf
    plane = np.fft.irfft2(spectrum / f**slope, s=(height, width))
    plane /= plane.std()
    return plane


def _things(ground: Image.Image, dice: random.Random) -> Image.Image:
    """Discs and slabs with a shadow side, in front of the ground and as sharp as a lens draws them."""
    width, height = ground.size
    for _ in range(dice.randint(5, 11)):
        size = dice.randint(width // 12, width // 3)
        x, y = dice.randrange(-size // 2, width - size // 2), dice.randrange(-size // 2, height - size // 2)
        mask = Image.new("L", (size, size), 0)
        draw = ImageDraw.Draw(mask)
        if dice.random() < 0.5:
            draw.ellipse([2, 2, size - 3, int(size * dice.uniform(0.5, 1)) - 3], fill=235)
        else:
            corners = [(dice.randrange(size), dice.randrange(size)) for _ in range(4)]
            draw.polygon(corners, fill=235)
        paint = Image.linear_gradient("L").resize((size, size)).rotate(90 * dice.randrange(4))
        dark, light = ([dice.randrange(256) for _ in range(3)] for _ in range(2))
        planes = [paint.point([d + (b - d) * v // 255 for v in range(256)]) for d, b in zip(dark, light, strict=True)]
        ground.paste(Image.merge("RGB", planes), (x, y), mask.filter(ImageFilter.GaussianBlur(1.2)))
    return ground


def _line(
    draw: ImageDraw.ImageDraw,
    dice: random.Random,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    left: int,
    right: int,
    y: int,
    size: int,
) -> int:
    text = ""
    while draw.textlength(text, font) < right - left - size * 6:
        text += " " + dice.choice(WORDS)
    draw.text((left, y), text.strip(), 25, font)
    return y + int(size * 1.45)


def _table(
    draw: ImageDraw.ImageDraw,
    dice: random.Random,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    left: int,
    right: int,
    y: int,
    size: int,
) -> int:
    step = (right - left) // 4
    for _ in range(dice.randint(3, 7)):
        draw.line([left, y, right, y], 90)
        for column in range(4):
            text = dice.choice(WORDS) if column == 0 else f"{dice.uniform(0, 9999):,.2f}"
            draw.text((left + column * step + size // 2, y + size // 4), text, 25, font)
        y += int(size * 1.9)
    draw.line([left, y, right, y], 90)
    return y + size * 2
