"""Walks a PNG's chunks and checks each one's CRC (W3C PNG, third edition); it never inflates picture data.

Compressed text and colour profiles are inflated up to a bound, because decoders inflate them when they open a file. Two kinds
are read wrongly by Pillow and so by the engine: grey of 16 bits, where all that is not nearly black becomes white, and one
transparent colour (tRNS) beside RGB or beside grey of 2 or 4 bits, which stays opaque.
"""

import zlib
from dataclasses import replace

from gateway.door.image_headers.header import Header, ImageFault, Steps, animated, truncated

_SIGNATURE_BYTES = 8
_MAX_SIDE = 2**31 - 1
# Pillow refuses more than this in one chunk, with an error from inside.
_MAX_INFLATED_BYTES = 1024 * 1024
_MAX_COMPRESSED_CHUNKS = 8
_GREY, _RGB = 0, 2
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_COMPRESSED = frozenset({b"iCCP", b"zTXt", b"iTXt"})


def read_png(data: bytes, steps: Steps) -> Header:
    """The picture's Header; raises ImageFault or TooManySteps. Needs the eight bytes of the signature at the start."""
    view = memoryview(data)
    header: Header | None = None
    pixels = transparent = False
    compressed = 0
    at = _SIGNATURE_BYTES
    while True:
        steps.take(Steps.PART)
        if at + 12 > len(data):
            raise truncated()
        length, kind = int.from_bytes(view[at : at + 4]), data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            raise truncated()
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            raise _broken()
        if (header is None) != (kind == b"IHDR"):
            raise _broken()
        if kind == b"IHDR":
            header = _header(data[at + 8 : end - 4])
        elif kind == b"acTL":
            raise animated()
        elif kind == b"IDAT":
            pixels = pixels or length > 0
        elif kind == b"IEND":
            if header is None or not pixels:
                raise _broken()
            return replace(header, recode=True) if _misread(data, transparent) else header
        elif kind == b"tRNS":
            transparent = True
        elif kind in _COMPRESSED:
            compressed += 1
            _check_inflated(kind, data[at + 8 : end - 4], compressed, steps)
        at = end


def _header(content: bytes) -> Header:
    if len(content) != 13:
        raise _broken()
    width, height = int.from_bytes(content[:4]), int.from_bytes(content[4:8])
    bits, colour, compression, filtering, interlace = content[8:]
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE) or bits not in _DEPTHS.get(colour, ()):
        raise _broken()
    if compression != 0 or filtering != 0 or interlace not in (0, 1):
        raise _broken()
    return Header("image/png", width, height)


def _misread(data: bytes, transparent: bool) -> bool:
    bits, colour = data[_SIGNATURE_BYTES + 16 : _SIGNATURE_BYTES + 18]
    if colour == _GREY:
        return bits == 16 or (transparent and bits in (2, 4))
    return transparent and colour == _RGB


def _check_inflated(kind: bytes, content: bytes, seen: int, steps: Steps) -> None:
    if seen > _MAX_COMPRESSED_CHUNKS:
        raise ImageFault("is a PNG with too many text chunks; save it without them")
    _, _, rest = content.partition(b"\0")
    if kind == b"iTXt":
        if rest[:1] != b"\1":  # not compressed
            return
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        rest = rest[1:]
    try:
        inflated = zlib.decompressobj().decompress(rest, _MAX_INFLATED_BYTES + 1)
    except zlib.error:
        raise _broken() from None
    steps.take(len(inflated) // Steps.INFLATED)
    if len(inflated) > _MAX_INFLATED_BYTES:
        raise ImageFault("is a PNG with too large a text or colour profile; save it without them")


def _broken() -> ImageFault:
    return ImageFault("is a broken PNG; save it again")
