"""Every kind of picture file that clients send: format, bits, colours, transparency, orientation, profile; and how it looks.

`Kind.looks` is the picture upright, as RGB on white. Where Pillow reads a kind rightly that is Pillow's own conversion; where it
doesn't it is computed from the samples, as the PNG specification says.
"""

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from PIL import Image as Picture
from PIL import ImageChops, ImageOps

from loadtest.phones import display_p3, srgb
from tests.gateway.images.files import ORIENTATION, chunk, file

WIDTH, HEIGHT = 24, 16
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
_CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
_PNG_KINDS = [
    *((GREY, bits) for bits in (1, 2, 4, 8, 16)),
    *((RGB, bits) for bits in (8, 16)),
    *((PALETTE, bits) for bits in (1, 2, 4, 8)),
    *((GREY_ALPHA, bits) for bits in (8, 16)),
    *((RGBA, bits) for bits in (8, 16)),
]
Samples = list[list[tuple[int, ...]]]


@dataclass(frozen=True)
class Kind:
    """`recode`: the engine must not get the file as it is."""

    name: str
    type: str
    data: bytes = field(repr=False)
    recode: bool
    lossy: bool = False
    spec: Picture.Image | None = field(default=None, repr=False)

    @property
    def looks(self) -> Picture.Image:
        return self.spec or on_white(self.data)


def on_white(data: bytes) -> Picture.Image:
    """Pillow's own conversion: upright, over white where transparent."""
    with Picture.open(io.BytesIO(data)) as opened:
        upright = ImageOps.exif_transpose(opened)
        if not upright.has_transparency_data:
            return upright.convert("RGB")
        white = Picture.new("RGBA", upright.size, "white")
        return Picture.alpha_composite(white, upright.convert("RGBA")).convert("RGB")


def apart(one: Picture.Image, other: Picture.Image) -> int:
    """By how much the farthest two samples differ."""
    assert one.size == other.size
    return max(max(plane.tobytes()) for plane in ImageChops.difference(one, other).split())


def kinds() -> Iterator[Kind]:
    """The whole table."""
    yield from _pngs()
    yield from _jpegs()
    yield from _gifs()
    yield from _webps()
    yield from _avifs()


def _pngs() -> Iterator[Kind]:
    for (colour, bits), clear, turn, profile in itertools.product(_PNG_KINDS, (False, True), (1, 6), (None, "sRGB")):
        if clear and colour in (GREY_ALPHA, RGBA):
            continue
        samples = _samples(colour, bits)
        extra = b"" if profile is None else chunk(b"iCCP", b"p\0\0" + zlib.compress(srgb()))
        extra += b"" if turn == 1 else chunk(b"eXIf", _exif(turn).removeprefix(b"Exif\0\0"))
        extra += _palette(bits) if colour == PALETTE else b""
        extra += _transparency(colour, bits, samples) if clear else b""
        misread = (colour == GREY and bits == 16) or (clear and (colour == RGB or (colour == GREY and bits in (2, 4))))
        name = f"PNG, {_name(colour)}, {bits} bits{', tRNS' if clear else ''}{_more(turn, profile)}"
        spec = _by_the_specification(colour, bits, samples, clear, turn) if misread else None
        yield Kind(name, "image/png", _png(colour, bits, samples, extra), misread, spec=spec)


def _samples(colour: int, bits: int) -> Samples:
    """A gradient; its samples use every bit."""
    most = (1 << bits) - 1
    channels = _CHANNELS[colour]
    return [
        [
            tuple(
                (x * (channel + 3) + y * (channel + 1) * 5) * 3 * most // 255 % (most + 1)
                for channel in range(channels)
            )
            for x in range(WIDTH)
        ]
        for y in range(HEIGHT)
    ]


def _png(colour: int, bits: int, samples: Samples, extra: bytes) -> bytes:
    lines = b""
    for row in samples:
        digits = "".join(format(value, f"0{bits}b") for pixel in row for value in pixel)
        lines += b"\0" + int(digits, 2).to_bytes(len(digits) // 8)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def _palette(bits: int) -> bytes:
    return chunk(
        b"PLTE", bytes(value for n in range(1 << bits) for value in (n * 7 % 256, 255 - n % 256, n * 31 % 256))
    )


def _transparency(colour: int, bits: int, samples: Samples) -> bytes:
    if colour == PALETTE:
        return chunk(b"tRNS", bytes(n * 97 % 256 for n in range(1 << bits)))
    return chunk(b"tRNS", struct.pack(f">{_CHANNELS[colour]}H", *_clear(samples)))


def _clear(samples: Samples) -> tuple[int, ...]:
    """The transparent colour: neither black nor white if there is another."""
    return sorted(pixel for row in samples for pixel in row)[WIDTH * HEIGHT // 2]


def _by_the_specification(colour: int, bits: int, samples: Samples, clear: bool, turn: int) -> Picture.Image:
    most = (1 << bits) - 1
    white = _clear(samples) if clear else None
    made = Picture.new("RGB", (WIDTH, HEIGHT))
    for y, row in enumerate(samples):
        for x, pixel in enumerate(row):
            shade = [value >> 8 if bits == 16 else value * 255 // most for value in pixel]
            made.putpixel((x, y), (255, 255, 255) if pixel == white else tuple(shade * (3 // len(shade))))
    return made.transpose(Picture.Transpose.ROTATE_270) if turn == 6 else made


def _jpegs() -> Iterator[Kind]:
    for mode, turn, profile in itertools.product(
        ("RGB", "RGB, progressive", "L", "CMYK"), (1, 3, 6, 8), (None, "sRGB", "Display P3")
    ):
        options = {
            "exif": _exif(turn),
            "icc_profile": {None: None, "sRGB": srgb(), "Display P3": display_p3()}[profile],
        }
        data = file("JPEG", _gradient().convert(mode[:4].strip(",")), progressive="progressive" in mode, **options)
        yield Kind(f"JPEG, {mode}{_more(turn, profile)}", "image/jpeg", data, recode=False)


def _gifs() -> Iterator[Kind]:
    plain = _gradient().convert("P", palette=Picture.Palette.ADAPTIVE, colors=32)
    yield Kind("GIF, palette", "image/gif", file("GIF", plain), recode=False)
    yield Kind("GIF, palette, transparent", "image/gif", file("GIF", plain, transparency=3), recode=False)
    yield Kind("GIF, grey", "image/gif", file("GIF", plain.convert("L")), recode=False)
    yield Kind("GIF, grey, transparent", "image/gif", file("GIF", plain.convert("L"), transparency=9), recode=False)


def _webps() -> Iterator[Kind]:
    for (name, image, lossless), turn, profile in itertools.product(_coloured(), (1, 6), (None, "sRGB")):
        options = {"exif": _exif(turn)} | ({"icc_profile": srgb()} if profile else {})
        data = file("WEBP", image, lossless=lossless, **options)
        yield Kind(f"WebP, {name}{_more(turn, profile)}", "image/webp", data, recode=False)


def _avifs() -> Iterator[Kind]:
    for (name, image, _), turn, profile in itertools.product(_coloured()[::2], (1, 6), (None, "sRGB")):
        options = {"exif": _exif(turn)} | ({"icc_profile": srgb()} if profile else {})
        data = file("AVIF", image, quality=90, speed=10, **options)
        yield Kind(f"AVIF, {name}{_more(turn, profile)}", "image/avif", data, recode=True, lossy=True)


def _coloured() -> list[tuple[str, Picture.Image, bool]]:
    glass = _gradient().convert("RGBA")
    glass.putalpha(_gradient().convert("L"))
    return [
        ("lossy", _gradient(), False),
        ("lossless", _gradient(), True),
        ("lossy, alpha", glass, False),
        ("lossless, alpha", glass, True),
        ("grey", _gradient().convert("L"), False),
    ]


def _gradient() -> Picture.Image:
    across = Picture.linear_gradient("L").resize((WIDTH, HEIGHT))
    down = Picture.linear_gradient("L").rotate(90).resize((WIDTH, HEIGHT))
    return Picture.merge("RGB", (across, down, Picture.new("L", (WIDTH, HEIGHT), 60)))


def _exif(turn: int) -> bytes:
    exif = Picture.Exif()
    exif[ORIENTATION] = turn
    return exif.tobytes()


def _name(colour: int) -> str:
    return {GREY: "grey", RGB: "RGB", PALETTE: "palette", GREY_ALPHA: "grey and alpha", RGBA: "RGBA"}[colour]


def _more(turn: int, profile: str | None) -> str:
    return f"{'' if turn == 1 else f', orientation {turn}'}{f', {profile}' if profile else ''}"
