"""Pictures that nobody of this small world can make out (photos, noise, blur, pages), and that it says so."""

import io
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from miniature import describing, questions, reading
from miniature.conversation import Turn
from miniature.drawing import paint_scene
from miniature.scene import random_scene
from miniature.words import COLOURS, SHAPES, SHORT_WORDS, Language, colour, shape

UNCLEAR: dict[Language, str] = {
    "en": "I cannot make out this picture. I only know simple shapes and short texts.",
    "zh": "我看不清这张图片，我只认识简单图形和短文字。",
}
NO_SHAPES = '{"shapes":[]}'
Size = tuple[int, int]
Pixels = NDArray[np.floating[Any]]
Fonts = list[ImageFont.FreeTypeFont]
# Standard deviation of the blur over the height of the letters: below it a text is read, above the second it is not.
READABLE_BLUR = 0.06
UNREADABLE_BLUR = 0.26


def _grain(random: Random, width: int, height: int, channels: int) -> Pixels:
    raw = np.frombuffer(random.randbytes(width * height * channels), np.uint8)
    return raw.reshape(height, width, channels).astype(np.float32)


def _enlarged(values: Pixels, size: Size, way: Image.Resampling) -> Pixels:
    picture = Image.fromarray(values.astype(np.uint8).squeeze()).resize(size, way)
    out = np.asarray(picture, np.float32)
    return out if out.ndim == 3 else out[..., None]


def fractal(random: Random, size: Size, channels: int, steep: float) -> Pixels:
    """Noise of many scales (height, width, channels), 0 to 255: coarse ones strong, fine ones weak, as in photos."""
    total: Pixels = np.zeros((size[1], size[0], channels), np.float32)
    cells, strength = random.choice((2, 3, 4)), 1.0
    while cells < size[0]:
        coarse = _grain(random, cells, max(1, cells * size[1] // size[0]), channels)
        total += strength * (_enlarged(coarse, size, Image.Resampling.BICUBIC) - 127)
        cells, strength = cells * 2, strength * steep
    low, high = float(total.min()), float(total.max())
    return (total - np.float32(low)) / np.float32(max(1.0, high - low)) * np.float32(255)


def _picture(values: Pixels) -> Image.Image:
    clear = np.clip(values, 0, 255).astype(np.uint8)
    return Image.fromarray(clear.squeeze() if clear.shape[-1] == 1 else clear).convert("RGB")


def _any_paint(random: Random) -> tuple[int, int, int]:
    return random.randrange(256), random.randrange(256), random.randrange(256)


def noise(random: Random, size: Size) -> Image.Image:
    """Grain of one size, coloured or gray."""
    block = random.choice((1, 1, 1, 2, 3, 4, 6, 8, 12))
    grain = _grain(random, max(4, size[0] // block), max(4, size[1] // block), random.choice((1, 3)))
    around, share = random.choice((0, 60, 127, 200, 255)), random.uniform(0.35, 1.0)
    way = random.choice((Image.Resampling.NEAREST, Image.Resampling.BICUBIC))
    values: Pixels = _enlarged(grain, size, way)
    if random.random() < 0.2:
        values = np.where(values > random.randint(90, 170), np.float32(255), np.float32(0))
    return _picture(around * (1 - share) + values * share)


def clouds(random: Random, size: Size) -> Image.Image:
    """Soft noise of all scales, in any tint and contrast."""
    channels = random.choice((1, 3, 3))
    values = fractal(random, size, channels, random.uniform(0.4, 0.8))
    if channels == 1 and random.random() < 0.7:
        one, two = (np.array(_any_paint(random), np.float32) for _ in range(2))
        values = one + (two - one) * values / 255
    elif random.random() < 0.6:
        gray = values.mean(-1, keepdims=True)
        values = gray + (values - gray) * random.uniform(0.1, 0.8)
    return _picture((values - 127) * random.uniform(0.6, 1.5) + random.randint(80, 180))


def landscape(random: Random, size: Size) -> Image.Image:
    """Bright above, dark and rough below, with a ragged border, and things standing about."""
    sky = np.linspace(0, 1, size[1], dtype=np.float32)[:, None, None]
    one, two, ground, dark = (np.array(_any_paint(random), np.float32) for _ in range(4))
    values = one + (two - one) * sky + (fractal(random, size, 1, 0.5) - 127) * random.uniform(0.05, 0.4)
    for depth in range(random.randint(1, 3)):
        ridge = fractal(random, (size[0], 4), 1, 0.5)[0, :, 0] / 255
        border = size[1] * (random.uniform(0.25, 0.7) + 0.1 * depth + (ridge - 0.5) * random.uniform(0.1, 0.5))
        below = np.arange(size[1], dtype=np.float32)[:, None] > border[None, :]
        rough = ground + (dark - ground) * fractal(random, size, 1, random.uniform(0.5, 0.9)) / 255
        values = np.where(below[..., None], rough * (0.7 + 0.15 * depth), values)
    return _things(random, _picture(values), random.randint(0, 6))


def _things(random: Random, picture: Image.Image, many: int) -> Image.Image:
    """Soft, shaded, half-transparent things put upon a picture."""
    width, height = picture.size
    for _ in range(many):
        mask = Image.new("L", picture.size, 0)
        pen = ImageDraw.Draw(mask)
        x, y = random.uniform(0, width), random.uniform(0, height)
        reach = random.uniform(0.04, 0.4) * width
        if random.random() < 0.5:
            w, h = reach, reach * random.uniform(0.3, 2)
            pen.ellipse([x - w, y - h, x + w, y + h], fill=random.randint(120, 255))
        else:
            points = [
                (x + random.uniform(-reach, reach), y + random.uniform(-reach, reach))
                for _ in range(random.randint(3, 9))
            ]
            pen.polygon(points, fill=random.randint(120, 255))
        mask = mask.filter(ImageFilter.BoxBlur(random.choice((1, 2, 4, 8, 16))))
        skin = fractal(random, (max(8, width // 4), max(8, height // 4)), 1, random.uniform(0.4, 0.8))
        one, two = (np.array(_any_paint(random), np.float32) for _ in range(2))
        shaded = _picture(one + (two - one) * skin / 255).resize(picture.size, Image.Resampling.BICUBIC)
        picture = Image.composite(shaded, picture, mask)
    return picture


def photo_like(random: Random, size: Size) -> Image.Image:
    """Shaded things on a soft ground, with grain, as a camera would see them."""
    picture = _things(random, clouds(random, size), random.randint(2, 14))
    if random.random() < 0.5:
        picture = Image.blend(picture, noise(random, size), random.uniform(0.02, 0.12))
    if random.random() < 0.3:
        picture = picture.convert("L").convert("RGB")
    return picture


def clutter(random: Random, size: Size) -> Image.Image:
    """Very many overlapping lines, boxes and ellipses."""
    picture = Image.new("RGB", size, _any_paint(random))
    pen = ImageDraw.Draw(picture)
    for _ in range(random.randint(40, 160)):
        x, y = random.uniform(0, size[0]), random.uniform(0, size[1])
        w, h = random.uniform(3, size[0] / 4), random.uniform(3, size[1] / 4)
        chance = random.random()
        if chance < 0.3:
            pen.ellipse([x - w, y - h, x + w, y + h], fill=_any_paint(random))
        elif chance < 0.6:
            pen.rectangle([x - w, y - h, x + w, y + h], fill=_any_paint(random))
        else:
            pen.line([x - w, y - h, x + w, y + h], fill=_any_paint(random), width=random.randint(1, 8))
    return picture.filter(ImageFilter.BoxBlur(random.choice((0, 0, 1, 2, 4))))


def pattern(random: Random, size: Size) -> Image.Image:
    """Waves, stripes, fields: a texture."""
    down, across = np.mgrid[0 : size[1], 0 : size[0]].astype(np.float32)
    total: Pixels = np.zeros((size[1], size[0]), np.float32)
    for _ in range(random.randint(1, 4)):
        long = random.uniform(5, 60)
        turn = random.uniform(0, np.pi)
        total += np.sin((across * np.cos(turn) + down * np.sin(turn)) * 2 * np.pi / long + random.uniform(0, 6))
    if random.random() < 0.4:
        total = np.sign(total)
    if random.random() < 0.5:
        total = total + (fractal(random, size, 1, 0.6)[..., 0] - 127) / 127
    low, high = total.min(), total.max()
    one, two = (np.array(_any_paint(random), np.float32) for _ in range(2))
    return _picture(one + (two - one) * ((total - low) / max(0.01, high - low))[..., None])


def page(random: Random, size: Size, fonts: Fonts) -> Image.Image:
    """A page with more lines than it can read, sharp or blurred."""
    small = [font for font in fonts if font.size <= 30] or fonts
    font = random.choice(small)
    ground = random.randint(170, 255)
    picture = Image.new("RGB", size, (ground, ground, ground - random.randint(0, 12)))
    pen = ImageDraw.Draw(picture)
    ink = random.randint(0, 90)
    y = random.uniform(4, 40)
    step = font.size * random.uniform(1.0, 1.6)
    margin = random.uniform(4, size[0] / 6)
    while y < size[1] - step:
        words: list[str] = []
        while font.getlength(" ".join(words)) < size[0] - 2 * margin - 3 * font.size:
            word = random.choice(SHORT_WORDS)
            words.append(random.choice((word.lower(), word.lower(), word.capitalize(), str(random.randint(1, 9999)))))
        if random.random() < 0.85:
            pen.text((margin, y), " ".join(words), font=font, fill=(ink, ink, ink))
        y += step
    return _scanned(random, picture.filter(ImageFilter.GaussianBlur(random.choice((0, 1, 2, 4, 8)))))


def _scanned(random: Random, picture: Image.Image) -> Image.Image:
    """Gray, grain and JPEG traces of a bad scan, each by chance."""
    if random.random() < 0.4:
        picture = picture.convert("L").convert("RGB")
    if random.random() < 0.4:
        picture = Image.blend(picture, noise(random, picture.size), random.uniform(0.02, 0.15))
    if random.random() < 0.3:
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=random.randint(20, 80))
        picture = Image.open(buffer).convert("RGB")
    return picture


def blurred_text(random: Random, size: Size, fonts: Fonts) -> Image.Image:
    """A short text, so blurred that no letter can be told."""
    font = random.choice(fonts)
    text = reading.random_text(random)
    if random.random() < 0.4:
        text = text + " " + random.choice(SHORT_WORDS)
    ground, ink = random.choice(((255, 0), (230, 40), (200, 60), (180, 30), (128, 0), (128, 255), (40, 220)))
    picture = Image.new("RGB", size, (ground, ground, ground))
    left, top, right, bottom = font.getbbox(text)
    x = random.uniform(0, max(1.0, size[0] - (right - left))) - left
    y = random.uniform(0, max(1.0, size[1] - (bottom - top))) - top
    ImageDraw.Draw(picture).text((x, y), text, font=font, fill=(ink, ink, ink))
    blur = font.size * random.uniform(UNREADABLE_BLUR, 0.7)
    return _scanned(random, picture.filter(ImageFilter.GaussianBlur(blur)))


def blurred_scene(random: Random, size: Size) -> Image.Image:
    """Shapes, so blurred that their kinds cannot be told."""
    picture = paint_scene(random, random_scene(random, *size))
    picture = picture.filter(ImageFilter.GaussianBlur(size[0] * random.uniform(0.09, 0.2)))
    return _scanned(random, picture)


def blank(random: Random, size: Size) -> Image.Image:
    """One colour, or a soft passage from one to another: nothing at all."""
    if random.random() < 0.5:
        return Image.new("RGB", size, _any_paint(random))
    turn = Image.linear_gradient("L").rotate(random.choice((0, 90, 180))).resize(size)
    return Image.composite(Image.new("RGB", size, _any_paint(random)), Image.new("RGB", size, _any_paint(random)), turn)


MAKERS: tuple[tuple[Callable[..., Image.Image], float, bool], ...] = (
    (noise, 1.2, False),
    (clouds, 1.2, False),
    (landscape, 1.2, False),
    (photo_like, 2.2, False),
    (clutter, 1.0, False),
    (pattern, 0.8, False),
    (page, 1.2, True),
    (blurred_text, 1.8, True),
    (blurred_scene, 0.6, False),
    (blank, 0.5, False),
)
# They are mostly painted in half their size, or training would wait for them.
COSTLY = (clouds, landscape, photo_like, pattern)


def unclear_picture(random: Random, size: Size, fonts: Fonts) -> Image.Image:
    """Any picture that cannot be made out."""
    maker, _, with_fonts = random.choices(MAKERS, [weight for _, weight, _ in MAKERS])[0]
    if with_fonts:
        return maker(random, size, fonts)
    if maker in COSTLY and random.random() < 0.75:
        return maker(random, (size[0] // 2, size[1] // 2)).resize(size, Image.Resampling.BICUBIC)
    return maker(random, size)


def slightly_blurred(random: Random, picture: Image.Image, letters_px: float) -> Image.Image:
    """A text that still is to be read."""
    return picture.filter(ImageFilter.GaussianBlur(letters_px * random.uniform(0.0, READABLE_BLUR)))


def ask(random: Random, language: Language) -> Turn:
    """Any question about such a picture, and that it cannot be made out."""
    chance = random.random()
    if chance < 0.4:
        question = random.choice(describing.DESCRIBE[language])
    elif chance < 0.7:
        asks = random.choice((reading.READ, reading.READ, reading.NUMBER, reading.WORD))
        question = random.choice(asks[language])
    elif chance < 0.76:
        return Turn(random.choice(describing.JSON[language]), NO_SHAPES, thought(language), skill="unclear")
    else:
        scene = random_scene(random, 336, 336)
        maker = random.choice((questions.what_colour, questions.which_shape, questions.locate, questions.where))
        turn = maker(random, scene, language)
        kind, paint = random.choice(SHAPES), random.choice(COLOURS)
        backup = (
            f"What color is the {kind}?" if language == "en" else f"{colour(paint, 'zh')}的{shape(kind, 'zh')}在哪里？"
        )
        question = turn.question if turn else backup
    return Turn(question, UNCLEAR[language], thought(language), skill="unclear")


def thought(language: Language) -> str:
    """What one thinks before saying so."""
    return "I cannot make it out." if language == "en" else "看不清。"
