"""Walks a JPEG's segments up to its first scan (ITU-T T.81, annex B); it never decodes entropy-coded data.

Baseline, extended and progressive Huffman pictures with 8 bits a sample pass; the rarer processes are refused, since
decoders disagree on them. A scan's data has no FF D9 of its own (FF is followed by 00 there), so an end marker after
the first scan tells a whole file from a truncated one.
"""

from gateway.door.image_headers.header import Header, ImageFault, truncated

_SOF_ACCEPTED = frozenset({0xC0, 0xC1, 0xC2})
_SOF_REFUSED = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_PROGRESSIVE, _SOS, _EOI = 0xC2, 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})  # none has a place before the first scan
_MAX_SEGMENTS = 4096
# A progressive picture of few bytes may order the whole picture to be refined again and again.
_MAX_SCANS = 100


def read_jpeg(data: bytes) -> Header:
    """The picture's Header; raises ImageFault. Needs the two bytes FF D8 at the start."""
    frame: tuple[int, int, int] | None = None
    at = 2
    for _ in range(_MAX_SEGMENTS):
        marker, at = _marker(data, at)
        if marker in _WITHOUT_LENGTH:
            raise _broken()
        if marker == _EOI:
            raise ImageFault("is a JPEG without a picture; send another file")
        length = int.from_bytes(data[at : at + 2])
        if length < 2:
            raise truncated() if at + 2 > len(data) else _broken()
        end = at + length
        if end > len(data):
            raise truncated()
        if marker in _SOF_REFUSED:
            raise ImageFault("is a JPEG of a rare kind (lossless, arithmetic or hierarchical); save it as a usual JPEG")
        if marker in _SOF_ACCEPTED:
            if frame is not None:
                raise _broken()
            frame = (marker, *_size(data, at, length))
        if marker == _SOS:
            return _scan(data, end, frame)
        at = end
    raise _broken()


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """The marker at `at`, after any fill bytes, and the place behind it."""
    if at >= len(data):
        raise truncated()
    if data[at] != 0xFF:
        raise _broken()
    limit = at + 64
    while at < len(data) and data[at] == 0xFF and at < limit:
        at += 1
    if at >= len(data):
        raise truncated()
    if data[at] in (0x00, 0xFF):
        raise _broken()
    return data[at], at + 1


def _size(data: bytes, at: int, length: int) -> tuple[int, int]:
    """(width, height) from the frame header whose length field is at `at`."""
    if length < 8:
        raise _broken()
    precision, components = data[at + 2], data[at + 7]
    height, width = int.from_bytes(data[at + 3 : at + 5]), int.from_bytes(data[at + 5 : at + 7])
    if precision != 8:
        raise ImageFault("is a JPEG with more than 8 bits a sample; save it with 8")
    if components not in (1, 3, 4) or length != 8 + 3 * components or width == 0 or height == 0:
        raise _broken()
    return width, height


def _scan(data: bytes, start: int, frame: tuple[int, int, int] | None) -> Header:
    if frame is None:
        raise _broken()
    process, width, height = frame
    if data.rfind(b"\xff\xd9", start) < 0:
        raise truncated()
    if process == _PROGRESSIVE and data.count(b"\xff\xda", start) >= _MAX_SCANS:
        raise ImageFault(f"is a progressive JPEG with more than {_MAX_SCANS} scans; save it as a usual JPEG")
    return Header("image/jpeg", width, height)


def _broken() -> ImageFault:
    return ImageFault("is a broken JPEG; save it again")
