"""What a phone's camera writes: a JPEG that lies on its side, with orientation, the time it was taken and a Display P3 profile."""

import functools
import io
import struct

from PIL import Image, ImageCms

_ORIENTATION, _TAKEN, _SUBSECOND, _EXIF = 0x0112, 0x9003, 0x9291, 0x8769
_UPRIGHT_BY_A_QUARTER_TO_THE_RIGHT = 6
# D50 colorants of Display P3; they replace those of sRGB, whose curve it shares.
_COLORANTS = {
    b"rXYZ": (0.51512, 0.2412, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.1571, 0.06657, 0.78407),
}


def phone_jpeg(upright: Image.Image, quality: int, number: int) -> bytes:
    """The file of a photo that was taken upright; ``number`` is in its time, so that no two files are the same."""
    exif = Image.Exif()
    exif[_ORIENTATION] = _UPRIGHT_BY_A_QUARTER_TO_THE_RIGHT
    exif.get_ifd(_EXIF)[_TAKEN] = f"2026:11:30 {number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}"
    exif.get_ifd(_EXIF)[_SUBSECOND] = f"{number:06}"
    file = io.BytesIO()
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    lying.save(file, "JPEG", quality=quality, exif=exif, icc_profile=display_p3())
    return file.getvalue()


@functools.cache
def srgb() -> bytes:
    """The profile of sRGB."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@functools.cache
def display_p3() -> bytes:
    """The profile of Display P3."""
    profile = bytearray(srgb())
    for number in range(struct.unpack_from(">I", profile, 128)[0]):
        name, at, _ = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        if name in _COLORANTS:
            struct.pack_into(">3i", profile, at + 8, *(round(value * 65536) for value in _COLORANTS[name]))
    return bytes(profile)
