"""Walks an AVIF's boxes (ISO/IEC 14496-12 and 23008-12, AV1 Image File Format) to its size; it never decodes AV1.

The size is the primary item's `ispe`, which decoders compare with the coded picture. Every AVIF is encoded anew before the engine
sees it: AV1 is a film's codec, and its decoder stays in the processes that were made for that (docs/decisions/0066).
"""

from collections.abc import Callable, Iterator

from gateway.door.image_headers.header import Header, ImageFault, Steps, animated, truncated

_MOST_BRANDS = 64
_SCANS = 4  # decoding AV1 takes about as long as so many JPEGs or PNGs of that size
_Box = tuple[bytes, int, int]  # its type, and where its content begins and ends


def is_avif(data: bytes) -> bool:
    """Whether the file says that it is an AVIF, of one picture or of several."""
    return data[4:8] == b"ftyp" and not {b"avif", b"avis"}.isdisjoint(_brands(data))


def read_avif(data: bytes, steps: Steps) -> Header:
    """The picture's Header; raises ImageFault or TooManySteps. Needs `is_avif`."""
    if b"avis" in _brands(data):
        raise animated()
    size: tuple[int, int] | None = None
    content = False
    for kind, start, end in _boxes(data, 0, len(data), steps, truncated):
        if kind == b"moov":
            raise animated()
        if kind == b"meta":
            if size is not None:
                raise _broken()
            size, inside = _picture(data, start, end, steps)
            content = content or inside
        content = content or kind == b"mdat"
        if size is not None and content:
            return Header("image/avif", *size, scans=_SCANS, recode=True)
    raise truncated()


def _brands(data: bytes) -> list[bytes]:
    """The major one and the compatible ones; between them stands a version."""
    end = min(int.from_bytes(data[:4]), len(data), 16 + 4 * _MOST_BRANDS)
    return [data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))]


def _broken() -> ImageFault:
    return ImageFault("is a broken AVIF; save it again")


def _boxes(data: bytes, at: int, stop: int, steps: Steps, beyond: Callable[[], ImageFault] = _broken) -> Iterator[_Box]:
    """The boxes from `at` to `stop`. Raises `beyond` where one goes on behind `stop`."""
    while at < stop:
        steps.take(Steps.PART)
        length, kind, start = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8], at + 8
        if length == 1:
            length, start = int.from_bytes(data[start : start + 8]), start + 8
        elif length == 0:
            length = stop - at
        if start > stop or at + length > stop:
            raise beyond()
        if at + length < start:
            raise _broken()
        yield kind, start, at + length
        at += length


def _picture(data: bytes, start: int, stop: int, steps: Steps) -> tuple[tuple[int, int], bool]:
    """Width and height of the primary item, and whether the box holds content of items itself."""
    primary: int | None = None
    properties: dict[int, list[int]] = {}
    sizes: dict[int, tuple[int, int]] = {}
    inside = False
    for kind, at, end in _boxes(data, start + 4, stop, steps):
        if kind == b"pitm":
            primary = int.from_bytes(data[at + 4 : at + (6 if data[at : at + 1] == b"\0" else 8)])
        elif kind == b"idat":
            inside = True
        elif kind == b"iprp":
            for below, first, last in _boxes(data, at, end, steps):
                if below == b"ipco":
                    sizes = _sizes(data, first, last, steps)
                elif below == b"ipma":
                    properties |= _associations(data, first, last, steps)
    found = [sizes[number] for number in properties.get(primary or 0, ()) if number in sizes]
    if primary is None or len(found) != 1 or 0 in found[0]:
        raise _broken()
    return found[0], inside


def _sizes(data: bytes, start: int, stop: int, steps: Steps) -> dict[int, tuple[int, int]]:
    """Width and height by the number of the property that says so."""
    return {
        number: (int.from_bytes(data[at + 4 : at + 8]), int.from_bytes(data[at + 8 : at + 12]))
        for number, (kind, at, end) in enumerate(_boxes(data, start, stop, steps), 1)
        if kind == b"ispe" and end - at == 12
    }


def _associations(data: bytes, start: int, stop: int, steps: Steps) -> dict[int, list[int]]:
    """The numbers of each item's properties."""
    id_bytes = 2 if data[start : start + 1] == b"\0" else 4
    wide = 2 if data[start + 3 : start + 4] and data[start + 3] & 1 else 1
    found: dict[int, list[int]] = {}
    at = start + 8
    for _ in range(int.from_bytes(data[start + 4 : at])):
        if at + id_bytes + 1 > stop:
            raise _broken()
        item, count = int.from_bytes(data[at : at + id_bytes]), data[at + id_bytes]
        at += id_bytes + 1
        steps.take(Steps.PART + count)
        if at + count * wide > stop:
            raise _broken()
        essential = 1 << (8 * wide - 1)
        found[item] = [
            int.from_bytes(data[place : place + wide]) & ~essential for place in range(at, at + count * wide, wide)
        ]
        at += count * wide
    return found
