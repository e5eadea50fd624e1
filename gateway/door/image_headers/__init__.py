"""Reads format and size of a picture from its header and checks that it is whole; no pixel is ever decoded.

One walker a format, each a pure function from bytes to a Header. Accepted are the formats that clients send and every
decoder knows well: JPEG, PNG, WebP, GIF with one frame; and AVIF, which the engine gets as another format. Bytes after a
picture's end are ignored, as decoders do (phones append previews and films); bytes missing before it are an error.
"""

from gateway.door.image_headers.avif import is_avif, read_avif
from gateway.door.image_headers.gif import read_gif
from gateway.door.image_headers.header import Header, ImageFault, Steps, TooManySteps
from gateway.door.image_headers.jpeg import read_jpeg
from gateway.door.image_headers.other_formats import way_out
from gateway.door.image_headers.png import read_png
from gateway.door.image_headers.webp import read_webp

__all__ = ["Header", "ImageFault", "Steps", "TooManySteps", "read_header"]


def read_header(data: bytes, steps: Steps) -> Header:
    """Format and size of the picture in `data`. Raises ImageFault if it is none of the accepted ones, or not whole.

    Raises TooManySteps if the file has more parts than `steps` has left.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return read_jpeg(data, steps)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return read_png(data, steps)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return read_webp(data, steps)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return read_gif(data, steps)
    if is_avif(data):
        return read_avif(data, steps)
    raise ImageFault(way_out(data))
