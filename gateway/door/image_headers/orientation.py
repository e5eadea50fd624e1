"""Whether a picture's file says that it lies on its side (EXIF's orientation, 5 to 8); pure, and never decodes a pixel.

Only files that `read_header` found whole come here. Broken metadata means upright, as with the engine's decoder.
"""

import struct

_TAG, _MOST_ENTRIES, _MOST_PARTS = 0x0112, 256, 4096


def lies_on_its_side(data: bytes) -> bool:
    """Whether width and height change places when the picture is turned upright."""
    try:
        return _orientation(_exif(data)) in (5, 6, 7, 8)
    except (struct.error, IndexError):
        return False


def _exif(data: bytes) -> bytes:
    """The TIFF structure of a file's first EXIF part; empty if it has none."""
    if data.startswith(b"\xff\xd8"):
        return _in_jpeg(data)
    if data.startswith(b"\x89PNG"):
        return _in_chunks(data, 8, ">I4s", b"eXIf", after=4)
    if data.startswith(b"RIFF"):
        return _in_chunks(data, 12, "<4sI", b"EXIF", after=0)
    return b""


def _in_jpeg(data: bytes) -> bytes:
    at = 2
    for _ in range(_MOST_PARTS):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in (0xD9, 0xDA):  # the pixels begin
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            return data[at + 10 : at + 2 + length]
        at += 2 + length
    return b""


def _in_chunks(data: bytes, at: int, form: str, wanted: bytes, after: int) -> bytes:
    for _ in range(_MOST_PARTS):
        if at + 8 > len(data):
            break
        first, second = struct.unpack_from(form, data, at)
        name, length = (second, first) if isinstance(first, int) else (first, second)
        if name == wanted:
            return data[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0")
        at += 8 + length + after + (length % 2 if form[0] == "<" else 0)
    return b""


def _orientation(exif: bytes) -> int:
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    for number in range(min(count, _MOST_ENTRIES)):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * number)
        if tag == _TAG and kind == 3:
            return int(value)
    return 1
