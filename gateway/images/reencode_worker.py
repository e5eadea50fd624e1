"""Decodes one picture after another and encodes its pixels anew; a program of its own, which knows nothing of the gateway.

    python -I reencode_worker.py MOST_PIXELS

Frames on stdin and stdout, as in worker_pool.py: format, pixel budget, length and a picture; whether it went well, length and
the new picture. It ends at the end of stdin. Whoever finds a hole in a decoder is here: no environment, no new files or
sockets, no children, bounded memory.
"""

import base64
import io
import os
import resource
import signal
import struct
import sys
import warnings

from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

REQUEST, ANSWER = struct.Struct(">4sQQ"), struct.Struct(">?Q")
BASE_BYTES, BYTES_PER_PIXEL = 256 << 20, 24
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG_BITS_AT = 24
_AVIF = base64.b64decode(  # a white square: there is no need for the encoder here, which takes long to start
    "AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAOltZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAAA5waXRtAA"
    "AAAAABAAAAHmlsb2MAAAAARAAAAQABAAAAAQAAAQ0AAAAcAAAAKGlpbmYAAAAAAAEAAAAaaW5mZQIAAAAAAQAAYXYwMUNvbG9yAAAAAGhpcHJw"
    "AAAASWlwY28AAAAUaXNwZQAAAAAAAAAQAAAAEAAAAA5waXhpAAAAAAEIAAAADGF2MUOBABwAAAAAE2NvbHJuY2x4AAEADQAGgAAAABdpcG1hAA"
    "AAAAAAAAEAAQQBAoMEAAAAJG1kYXQSAAoIGAz/2mAhoNQyDh7FWd/+LAB1fVybC12A"
)
_PLUGINS = (
    AvifImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)  # loaded before the limits


def main(most_pixels: int) -> None:
    """Serve until the end of stdin."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are the gateway's, which still answers for a while
    source = os.fdopen(os.dup(0), "rb")
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not break a frame
    _prepare(most_pixels)
    _bound(most_pixels)
    while True:
        head = source.read(REQUEST.size)
        if len(head) < REQUEST.size:
            return
        kind, budget, length = REQUEST.unpack(head)
        data = source.read(length)
        if len(data) < length:
            return
        try:
            made, well = remake(data, kind.decode().strip(), budget), True
        except Exception:  # noqa: BLE001  decoders raise anything; why it failed is nobody's business outside
            made, well = b"", False
        target.write(ANSWER.pack(well, len(made)))
        target.write(made)
        target.flush()


def remake(data: bytes, kind: str, budget: int) -> bytes:
    """JPEG or PNG with the pixels of `data`, upright, not more than `budget` of them, and nothing else."""
    with Image.open(io.BytesIO(data), formats=(kind,)) as opened:
        size = _within(opened.size, budget)
        lossy = kind == "JPEG" or (
            opened.mode == "RGB" and (kind == "AVIF" or (kind == "WEBP" and _is_lossy_webp(data)))
        )
        if kind == "JPEG":
            opened.draft(None, size)  # decodes a half, a quarter or an eighth of a picture that is far too large
        opened.load()
        turn = _TURNS.get(_orientation(opened))
        image = _plain(opened, data[_PNG_BITS_AT] if kind == "PNG" else 8)
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    if turn is not None:
        image = image.transpose(turn)
    image.info = {}  # encoders write profiles and comments that they find here
    out = io.BytesIO()
    if lossy:
        image.save(out, "JPEG", quality=95, subsampling=0)
    else:
        image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _within(size: tuple[int, int], budget: int) -> tuple[int, int]:
    width, height = size
    if width * height <= budget:
        return size
    scale = (budget / (width * height)) ** 0.5
    return max(1, int(width * scale)), max(1, int(height * scale))


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  broken metadata is no reason to refuse a picture: it goes
        return 1


def _plain(image: Image.Image, bits: int) -> Image.Image:
    """In one of three modes, of 8 bits: L, RGB, RGBA. ``bits`` is how many each sample of the file has."""
    clear = image.info.get("transparency")
    if image.mode.startswith("I"):
        return _plain_16_bits(image, clear)
    # A PNG's one transparent colour is written with the file's own bits, and Pillow has made the pixels 8 bits wide.
    if image.mode == "RGB" and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 if bits == 16 else value & 255 for value in clear)
    elif image.mode == "L" and isinstance(clear, int) and bits < 8:
        image.info["transparency"] = (clear & (1 << bits) - 1) * 255 // ((1 << bits) - 1)
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _plain_16_bits(image: Image.Image, clear: int | None) -> Image.Image:
    """The upper byte of each grey sample: Pillow's own conversion cuts off what is over 255. ``clear`` is transparent."""
    samples = image.tobytes()  # low byte first
    upper = Image.frombytes("L", image.size, samples[1::2])
    if clear is None:
        return upper
    lower = Image.frombytes("L", image.size, samples[::2])
    differs = ImageChops.lighter(
        upper.point([255 * (value != clear >> 8) for value in range(256)]),
        lower.point([255 * (value != clear & 255) for value in range(256)]),
    )
    return Image.merge("RGBA", (upper, upper, upper, differs))


def _is_lossy_webp(data: bytes) -> bool:
    at = 12
    while at + 8 <= len(data):
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name in (b"VP8 ", b"VP8L"):
            return name == b"VP8 "
        at += 8 + length + (length & 1)
    return False


def _prepare(most_pixels: int) -> None:
    """Decode and encode everything once, so that no module is looked for when files can't be opened any more."""
    Image.MAX_IMAGE_PIXELS = most_pixels
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # it may start no threads
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    # Without it Pillow opens what phones write (MPO) as a film of several pictures: it is a JPEG with something behind it.
    Image.register_open("JPEG", JpegImagePlugin.JpegImageFile, lambda start: start[:3] == b"\xff\xd8\xff")
    exif = Image.Exif()
    exif[_ORIENTATION] = 6
    for kind, mode in (("JPEG", "RGB"), ("PNG", "RGBA"), ("PNG", "I;16"), ("WEBP", "RGB"), ("GIF", "P")):
        out = io.BytesIO()
        Image.new(mode, (16, 8)).save(out, kind, **({} if kind == "GIF" else {"exif": exif}))
        remake(out.getvalue(), kind, 64)
    remake(_AVIF, "AVIF", 64)


def _bound(most_pixels: int) -> None:
    memory = BASE_BYTES + BYTES_PER_PIXEL * most_pixels
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    main(int(sys.argv[1]))
