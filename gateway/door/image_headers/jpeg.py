"""Walks a JPEG's segments (ITU-T T.81, annex B) and counts its scans; it never decodes entropy-coded data.

Baseline, extended and progressive Huffman pictures with 8 bits a sample pass; the rarer processes are refused, since
decoders disagree on them. A scan's data has no FF D9 of its own (FF is followed by 00 there), so an end marker after
the first scan tells a whole file from a truncated one.
"""

import re

from gateway.door.image_headers.header import Header, ImageFault, Steps, truncated

_SOF_ACCEPTED = frozenset({0xC0, 0xC1, 0xC2})
_SOF_REFUSED = frozenset({0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_PROGRESSIVE, _SOS, _EOI = 0xC2, 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})  # none has a place before the first scan
# A picture of few bytes may order a decoder to go over the whole picture again and again.
_MAX_SCANS = 100
# In a scan's data FF is followed by 00, by a restart marker, or by another FF that fills.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
# One search holds the interpreter's lock for so many bytes: some milliseconds, and others have their turn.
_WINDOW_BYTES = 256 * 1024


def read_jpeg(data: bytes, steps: Steps) -> Header:
    """The picture's Header; raises ImageFault or TooManySteps. Needs the two bytes FF D8 at the start."""
    frame: tuple[int, int, int, int] | None = None
    at = 2
    while True:
        marker, at = _marker(data, at, steps)
        if marker in _WITHOUT_LENGTH:
            raise _broken()
        if marker == _EOI:
            raise ImageFault("is a JPEG without a picture; send another file")
        end = _segment_end(data, at)
        if marker in _SOF_REFUSED:
            raise ImageFault("is a JPEG of a rare kind (lossless, arithmetic or hierarchical); save it as a usual JPEG")
        if marker in _SOF_ACCEPTED:
            if frame is not None:
                raise _broken()
            frame = (marker, *_size(data, at, end - at))
        if marker == _SOS:
            return _scan(data, at, end, frame, steps)
        at = end


def _marker(data: bytes, at: int, steps: Steps) -> tuple[int, int]:
    """The marker at `at`, after any fill bytes, and the place behind it."""
    if at >= len(data):
        raise truncated()
    if data[at] != 0xFF:
        raise _broken()
    start, limit = at, at + 64
    while at < len(data) and data[at] == 0xFF and at < limit:
        at += 1
    steps.take(Steps.PART + at - start)
    if at >= len(data):
        raise truncated()
    if data[at] in (0x00, 0xFF):
        raise _broken()
    return data[at], at + 1


def _segment_end(data: bytes, at: int) -> int:
    """Where the segment ends whose length field is at `at`."""
    length = int.from_bytes(data[at : at + 2])
    if length < 2:
        raise truncated() if at + 2 > len(data) else _broken()
    if at + length > len(data):
        raise truncated()
    return at + length


def _size(data: bytes, at: int, length: int) -> tuple[int, int, int]:
    """(width, height, components) from the frame header whose length field is at `at`."""
    if length < 8:
        raise _broken()
    precision, components = data[at + 2], data[at + 7]
    height, width = int.from_bytes(data[at + 3 : at + 5]), int.from_bytes(data[at + 5 : at + 7])
    if precision != 8:
        raise ImageFault("is a JPEG with more than 8 bits a sample; save it with 8")
    if components not in (1, 3, 4) or length != 8 + 3 * components or width == 0 or height == 0:
        raise _broken()
    return width, height, components


def _scan(data: bytes, at: int, end: int, frame: tuple[int, int, int, int] | None, steps: Steps) -> Header:
    """The Header, at the first scan, whose header has its length field at `at` and ends at `end`."""
    if frame is None:
        raise _broken()
    process, width, height, components = frame
    # Decoders end after one scan only if it has all components and no later one refines it.
    if process != _PROGRESSIVE and data[at + 2 : at + 3] == bytes((components,)):
        if not _ends(data, end):
            raise truncated()
        return Header("image/jpeg", width, height)
    return Header("image/jpeg", width, height, _scans(data, end, steps))


def _ends(data: bytes, start: int) -> bool:
    """Whether there is an end marker after `start`. It is at the file's end, mostly."""
    stop = len(data)
    while stop > start:
        low = max(start, stop - _WINDOW_BYTES)
        if data.rfind(b"\xff\xd9", low, stop + 1) >= 0:
            return True
        stop = low
    return False


def _scans(data: bytes, at: int, steps: Steps) -> int:
    """How many scans there are up to the end marker, the one whose data begins at `at` among them."""
    scans = 1
    while True:
        at = _next_marker(data, at, steps)
        marker = data[at - 1]
        if marker == _EOI:
            return scans
        if marker == _SOS:
            scans += 1
            if scans > _MAX_SCANS:
                raise ImageFault(f"is a JPEG with more than {_MAX_SCANS} scans; save it as a usual JPEG")
        if marker not in _WITHOUT_LENGTH:
            at = _segment_end(data, at)


def _next_marker(data: bytes, at: int, steps: Steps) -> int:
    """The place behind the next marker from `at` on."""
    steps.take(Steps.PART)
    while at < len(data) - 1:
        # One more byte: a marker may stand where two windows meet.
        stop = min(len(data), at + _WINDOW_BYTES + 1)
        found = _NEXT_MARKER.search(data, at, stop)
        steps.take(data.count(b"\xff", at, found.start() if found else stop) // Steps.FOUR)
        if found:
            return found.end()
        at = stop - 1
    raise truncated()


def _broken() -> ImageFault:
    return ImageFault("is a broken JPEG; save it again")
