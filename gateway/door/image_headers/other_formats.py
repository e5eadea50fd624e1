"""What to do with a file that is none of the accepted pictures, by its first bytes; it only says, and reads nothing else."""

_HEIC = (
    "is a HEIC picture, which this service does not read. On an iPhone or iPad set Settings > Camera > Formats to Most "
    "Compatible, or share the photo as JPEG. Elsewhere save it as JPEG"
)
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_NONE = "is not a JPEG, PNG, WebP, GIF or AVIF picture; convert it to one of them"
_STARTS = {
    b"%PDF": "is a PDF; send its pages as JPEG or PNG pictures",
    b"BM": "is a BMP; save it as PNG or JPEG",
    b"II*\0": "is a TIFF; save it as PNG or JPEG",
    b"MM\0*": "is a TIFF; save it as PNG or JPEG",
    b"\xff\x0a": "is a JPEG XL picture; save it as JPEG",
    b"\0\0\0\x0cJXL ": "is a JPEG XL picture; save it as JPEG",
    b"\0\0\0\x0cjP  ": "is a JPEG 2000 picture; save it as JPEG",
    b"\0\0\1\0": "is an icon; save it as PNG",
    b"<svg": "is an SVG; save it as PNG",
    b"<?xml": "is an SVG or other XML; save it as PNG",
    b"<!DOCTYPE": "is a web page, not a picture; send the picture's own bytes",
    b"<html": "is a web page, not a picture; send the picture's own bytes",
}


def way_out(data: bytes) -> str:
    """The end of a sentence that begins with "The image"."""
    if data[4:8] == b"ftyp":
        return _HEIC if data[8:12] in _HEIC_BRANDS else "is a film; send frames as JPEG or PNG pictures"
    return next((say for start, say in _STARTS.items() if data.startswith(start)), _NONE)
