"""Walks a GIF's blocks (GIF89a specification); one frame passes, two are an animation; it never decodes pixels."""

from gateway.door.image_headers.header import Header, ImageFault, Steps, animated, truncated

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B


def read_gif(data: bytes, steps: Steps) -> Header:
    """The picture's Header; raises ImageFault or TooManySteps. Needs GIF87a or GIF89a at the start."""
    if len(data) < 13:
        raise truncated()
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if width == 0 or height == 0:
        raise _broken()
    at = 13 + _table_bytes(data[10])
    framed = False
    while True:
        steps.take(Steps.PART)
        if at >= len(data):
            raise truncated()
        kind = data[at]
        if kind == _TRAILER:
            if not framed:
                raise _broken()
            return Header("image/gif", width, height)
        if kind == _EXTENSION:
            at = _after_sub_blocks(data, at + 2, steps)
        elif kind == _IMAGE:
            if framed:
                raise animated()
            framed = True
            at = _after_frame(data, at, width, height, steps)
        else:
            raise _broken()


def _after_frame(data: bytes, at: int, width: int, height: int, steps: Steps) -> int:
    if at + 11 > len(data):
        raise truncated()
    left, top, wide, high = (int.from_bytes(data[at + i : at + i + 2], "little") for i in (1, 3, 5, 7))
    # A frame beyond the canvas makes decoders grow the picture past what was checked.
    if wide == 0 or high == 0 or left + wide > width or top + high > height:
        raise _broken()
    at += 10 + _table_bytes(data[at + 9])
    if at >= len(data):
        raise truncated()
    if not 2 <= data[at] <= 8 or data[at + 1 : at + 2] == b"\0":
        raise _broken()
    return _after_sub_blocks(data, at + 1, steps)


def _after_sub_blocks(data: bytes, at: int, steps: Steps) -> int:
    size = len(data)
    while True:
        steps.take(1)
        if at >= size:
            raise truncated()
        length = data[at]
        at += 1 + length
        if length == 0:
            return at


def _table_bytes(packed: int) -> int:
    """Bytes of the colour table that `packed` announces."""
    return 3 << ((packed & 7) + 1) if packed & 0x80 else 0


def _broken() -> ImageFault:
    return ImageFault("is a broken GIF; save it again")
