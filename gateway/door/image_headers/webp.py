"""Walks a WebP's RIFF chunks (RFC 9649); it never decodes picture data."""

from gateway.door.image_headers.header import Header, ImageFault, Steps, animated, truncated

_MAX_CHUNKS = 1024
_ANIMATION_FLAG = 0x02


def read_webp(data: bytes, steps: Steps) -> Header:
    """The picture's Header; raises ImageFault or TooManySteps. Needs RIFF, a length and WEBP at the start."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise truncated()
    canvas: Header | None = None
    picture: Header | None = None
    at = 12
    for index in range(_MAX_CHUNKS):
        if at == end and picture is not None:
            return picture
        steps.take(Steps.PART)
        if at + 8 > end:
            raise _broken()
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        start, at = at + 8, at + 8 + length + (length & 1)
        if at > end:
            raise _broken()
        if kind in (b"ANIM", b"ANMF"):
            raise animated()
        if kind == b"VP8X":
            if index != 0:
                raise _broken()
            canvas = _extended(data[start : start + length])
        elif kind in (b"VP8 ", b"VP8L"):
            # Without VP8X the picture is the first and only chunk; with it, there is one picture of the canvas' size.
            if picture is not None or (canvas is None and index != 0):
                raise _broken()
            content = data[start : start + min(length, 10)]
            picture = _lossy(content, length) if kind == b"VP8 " else _lossless(content)
            if canvas is not None and canvas != picture:
                raise _broken()
    raise _broken()


def _extended(content: bytes) -> Header:
    if len(content) != 10:
        raise _broken()
    if content[0] & _ANIMATION_FLAG:
        raise animated()
    return _header(1 + int.from_bytes(content[4:7], "little"), 1 + int.from_bytes(content[7:10], "little"))


def _lossy(content: bytes, length: int) -> Header:
    """A VP8 key frame (RFC 6386, 9.1)."""
    if len(content) != 10 or content[0] & 1 or content[3:6] != b"\x9d\x01\x2a":
        raise _broken()
    first_partition = int.from_bytes(content[:3], "little") >> 5
    if first_partition > length - 10:
        raise truncated()
    return _header(int.from_bytes(content[6:8], "little") & 0x3FFF, int.from_bytes(content[8:10], "little") & 0x3FFF)


def _lossless(content: bytes) -> Header:
    if len(content) < 5 or content[0] != 0x2F:
        raise _broken()
    bits = int.from_bytes(content[1:5], "little")
    if bits >> 29:
        raise _broken()
    return _header(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))


def _header(width: int, height: int) -> Header:
    if width == 0 or height == 0:
        raise _broken()
    return Header("image/webp", width, height)


def _broken() -> ImageFault:
    return ImageFault("is a broken WebP; save it again")
