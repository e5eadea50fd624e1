"""Picture files that carry more than a picture, or less."""

import io
import random
import struct
import zlib
from functools import cache

from PIL import Image as Picture

ORIENTATION, GPS, SECRET_PLACE = 0x0112, 0x8825, "52.5163 N 13.3777 E"


def file(kind: str, image: Picture.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@cache
def halves(width: int = 64, height: int = 48) -> Picture.Image:
    """Red above, blue below."""
    image = Picture.new("RGB", (width, height), "red")
    image.paste("blue", (0, height // 2, width, height))
    return image


def photograph(orientation: int = 1) -> bytes:
    """A JPEG as a phone writes it: with a place, a comment and a profile."""
    exif = Picture.Exif()
    exif[ORIENTATION] = orientation
    exif.get_ifd(GPS)[29] = SECRET_PLACE  # GPSDateStamp takes any text
    return file("JPEG", halves(), exif=exif, comment=SECRET_PLACE.encode(), icc_profile=SECRET_PLACE.encode())


@cache
def slow() -> bytes:
    """A PNG within the limits that takes a process more than a second."""
    return file("PNG", Picture.linear_gradient("L").resize((7600, 5200)).convert("RGBA"), compress_level=1)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(pixels: bytes, *, width: int = 64, height: int = 48, extra: bytes = b"") -> bytes:
    """A PNG of 8-bit grey whose chunks are all right, whatever ``pixels``, the content of IDAT, may be."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def rows(width: int = 64, height: int = 48) -> bytes:
    return zlib.compress((b"\0" + b"\x80" * width) * height, 9)


@cache
def noise(side: int) -> bytes:
    """A PNG that can't be made small."""
    return file("PNG", Picture.frombytes("RGB", (side, side), random.Random(side).randbytes(side * side * 3)))
