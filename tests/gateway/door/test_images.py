"""Images: inline only, their real type whatever is declared, whole files, and every limit by name."""

import io
import json
import random
from dataclasses import replace
from typing import Any

import PIL.Image
import pytest

from gateway.door import BadImage, DoorLimits, parse_chat
from tests.gateway.door.bodies import (
    LIMITS,
    animation,
    body,
    data_url,
    image_part,
    parse,
    picture,
    refused,
    user,
    written,
)

FORMATS: list[tuple[str, str, dict[str, Any]]] = [
    ("JPEG", "image/jpeg", {}),
    ("JPEG", "image/jpeg", {"progressive": True}),
    ("JPEG", "image/jpeg", {"quality": 100}),
    ("PNG", "image/png", {}),
    ("PNG", "image/png", {"optimize": True}),
    ("WEBP", "image/webp", {}),
    ("WEBP", "image/webp", {"lossless": True}),
    ("WEBP", "image/webp", {"exif": b"Exif\0\0MM"}),
    ("GIF", "image/gif", {}),
    ("AVIF", "image/avif", {}),
    ("AVIF", "image/avif", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
]


def shown(data: bytes, kind: str) -> dict[str, Any]:
    return body(user("What?", image_part(data, kind)))


@pytest.mark.parametrize(("name", "kind", "options"), FORMATS)
def test_a_real_picture_passes_with_its_size(name: str, kind: str, options: dict[str, Any]) -> None:
    data = picture(name, 123, 45, **options)
    (image,) = parse(shown(data, kind)).images
    assert (image.type, image.width, image.height, image.data) == (kind, 123, 45, data)
    assert image.size_bytes == len(data)


@pytest.mark.parametrize(("name", "kind", "options"), FORMATS)
def test_a_truncated_picture_is_refused(name: str, kind: str, options: dict[str, Any]) -> None:
    data = picture(name, 123, 45, **options)
    for length in {1, 8, 12, 20, len(data) // 3, len(data) // 2, len(data) * 9 // 10, len(data) - 1}:
        error = refused(shown(data[:length], kind))
        assert (error.status, error.code, error.param) == (400, "invalid_image", "messages[0].content[1].image_url.url")


@pytest.mark.parametrize(("name", "kind", "options"), FORMATS)
def test_bytes_after_the_end_are_ignored_as_decoders_do(name: str, kind: str, options: dict[str, Any]) -> None:
    parse(shown(picture(name, 40, 40, **options) + b"appended by a phone", kind))


@pytest.mark.parametrize(
    ("name", "kind"), [("GIF", "image/gif"), ("WEBP", "image/webp"), ("PNG", "image/png"), ("AVIF", "image/avif")]
)
def test_an_animated_picture_is_refused(name: str, kind: str) -> None:
    assert "animated" in refused(shown(animation(name), kind)).message


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"not a picture at all, but long enough", "image/png"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png"),
        (b"%PDF-1.7", "image/jpeg"),
        (b"\0" * 100, "image/webp"),
        (b"BM" + b"\0" * 60, "image/png"),
        (b"II*\0", "image/jpeg"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "image/png"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "image/webp"),
    ],
)
def test_wrong_magic_is_refused(data: bytes, kind: str) -> None:
    assert isinstance(refused(shown(data, kind)), BadImage)


@pytest.mark.parametrize(
    ("data", "say"),
    [
        (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
            "On an iPhone or iPad set Settings > Camera > Formats to Most Compatible",
        ),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heix", "share the photo as JPEG"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp41", "send frames"),
        (b"%PDF-1.7", "send its pages"),
        (b"BM" + b"\0" * 60, "is a BMP"),
        (b"II*\0", "is a TIFF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is an SVG"),
        (b"\xff\x0a" + b"\0" * 20, "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"<!DOCTYPE html>", "web page"),
        (b"who knows", "convert it"),
    ],
)
@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream"])
def test_a_file_of_another_format_is_refused_with_what_to_do(data: bytes, say: str, kind: str) -> None:
    assert say in refused(shown(data, kind)).message


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://example.org/a.png",
        "HTTPS://example.org/a.png",
        "file:///etc/passwd",
        "ftp://x/y",
        "/etc/passwd",
        "",
        " ",
        "data:",
        "data:,x",
        "data:image/png,abc",
        "data:image/png;base64",
        "data:image/png,;base64,AAAA",
        "data:image/png;base64,",
        "DATA:;BASE64,",
        "blob:x",
        "gs://b/o",
        "AAAA",
        "C:\\pictures\\a.png",
        "data:image/png;name=" + "x" * 2000 + ";base64,AAAA",
    ],
)
def test_anything_but_an_inline_image_is_refused(url: str) -> None:
    error = refused(body(user({"type": "image_url", "image_url": {"url": url}})))
    assert isinstance(error, BadImage)
    assert error.param == "messages[0].content[0].image_url.url"
    assert "base64" in error.message


@pytest.mark.parametrize("value", [None, 1, ["x"], {"a": 1}, True])
def test_a_url_that_is_no_string_is_refused(value: Any) -> None:
    assert refused(body(user({"type": "image_url", "image_url": {"url": value}}))).status == 400


@pytest.mark.parametrize("spoilt", ["={}", "{}====", "-{}", "{}_", "{}!", "{}ä", "{}%41", "{}%", "{}\0", "A"])
def test_broken_base64_is_refused(spoilt: str) -> None:
    head, _, payload = data_url(picture()).partition(",")
    error = refused(body(user({"type": "image_url", "image_url": {"url": f"{head},{spoilt.format(payload)}"}})))
    assert "base64" in error.message


@pytest.mark.parametrize("escape", ["/", "+"])
def test_slashes_escaped_as_some_encoders_do_are_read(escape: str) -> None:
    data = picture("PNG", 300, 300)
    plain = json.dumps(shown(data, "image/png"))
    escaped = plain.replace("/", "\\/") if escape == "/" else plain.replace("+", "\\u002b")
    assert escaped != plain
    assert parse(escaped.encode()).images[0].data == data
    assert written(escaped.encode()) == written(plain.encode())


def test_only_the_payload_escaped_is_read_too() -> None:
    data = picture("PNG", 300, 300)
    head, _, payload = json.dumps(shown(data, "image/png")).partition(";base64,")
    sent = f"{head};base64,{payload.replace('/', chr(92) + '/')}".encode()
    assert parse(sent).images[0].data == data
    assert written(sent) == written(shown(data, "image/png"))


@pytest.mark.parametrize(
    ("limits", "status", "named"),
    [
        ({"image_bytes": 100}, 413, "100"),
        ({"images_bytes": 150}, 413, "150"),
        ({"images": 1}, 400, "1"),
        ({"image_pixels": 3071}, 400, "3071"),
        ({"image_side_max": 63}, 400, "63"),
        ({"image_side_min": 49}, 400, "49"),
        ({"image_aspect": 1}, 400, "1 times"),
    ],
)
def test_every_limit_is_named(limits: dict[str, Any], status: int, named: str) -> None:
    sent = body(user(image_part(picture()), image_part(picture())))
    parse(sent)
    error = refused(sent, replace(LIMITS, **limits))
    assert error.status == status
    assert named in error.message


def test_bombs_are_refused_by_their_header() -> None:
    for kind, data in (("image/png", png_claiming(60_000, 60_000)), ("image/gif", gif_claiming(65_535, 65_535))):
        error = refused(shown(data, kind))
        assert "pixels" in error.message


def test_a_png_that_inflates_its_text_is_refused() -> None:
    import zlib

    bomb = b"note\0\0" + zlib.compress(b"\0" * 50_000_000, 9)
    data = picture()
    made = data[:33] + chunk(b"zTXt", bomb) + data[33:]
    assert "too large" in refused(shown(made, "image/png")).message
    fine = data[:33] + chunk(b"zTXt", b"note\0\0" + zlib.compress(b"hello")) + data[33:]
    parse(shown(fine, "image/png"))


def test_a_png_with_a_flipped_bit_is_refused() -> None:
    data = bytearray(picture(width=300, height=300))
    data[len(data) // 2] ^= 1
    assert "broken" in refused(shown(bytes(data), "image/png")).message


def test_a_webp_that_says_it_is_animated_is_refused() -> None:
    data = bytearray(picture("WEBP", 64, 48, exif=b"Exif\0\0MM"))
    data[20] |= 0x02
    assert "animated" in refused(shown(bytes(data), "image/webp")).message


def test_a_progressive_jpeg_of_endless_scans_is_refused() -> None:
    data = picture("JPEG", 64, 64, progressive=True)
    scan = data.rindex(b"\xff\xda")
    bomb = data[:scan] + data[scan:-2] * 200 + b"\xff\xd9"
    assert "scans" in refused(shown(bomb, "image/jpeg")).message


def test_a_gif_whose_frame_is_larger_than_its_canvas_is_refused() -> None:
    data = bytearray(picture("GIF", 64, 48))
    data[6:10] = b"\x08\0\x08\0"
    assert "broken" in refused(shown(bytes(data), "image/gif")).message


@pytest.mark.parametrize(
    "part", [b"meta\0\0\0\0", b"pitm\0\0\0\0\0\x01", b"ispe\0\0\0\0", b"ipma\0\0\0\0\0\0\0\x01\0\x01"]
)
def test_an_avif_without_what_says_its_size_is_refused(part: bytes) -> None:
    data = picture("AVIF", 64, 48)
    assert data.count(part) == 1
    refused(shown(data.replace(part, b"free" + part[4:]), "image/avif"))


def test_a_webp_whose_canvas_differs_from_its_picture_is_refused() -> None:
    data = bytearray(picture("WEBP", 64, 48, exif=b"Exif\0\0MM"))
    assert data[12:16] == b"VP8X"
    data[24] ^= 1
    assert "broken" in refused(shown(bytes(data), "image/webp")).message


def test_images_are_counted_before_they_are_decoded() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "!" * 4000}}
    assert "16" in refused(body(user(*[part] * 17))).message
    assert refused(body(user(part)), DoorLimits(image_bytes=1000)).status == 413


def chunk(kind: bytes, content: bytes) -> bytes:
    import zlib

    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def png_claiming(width: int, height: int) -> bytes:
    data = picture()
    header = width.to_bytes(4) + height.to_bytes(4) + data[24:29]
    return data[:8] + chunk(b"IHDR", header) + data[33:]


def gif_claiming(width: int, height: int) -> bytes:
    data = bytearray(picture("GIF"))
    data[6:10] = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return bytes(data)


@pytest.mark.parametrize(("place", "pictures"), [(None, 3), (0, 3), (1, 3), (3, 3), (0, 0)])
def test_a_long_data_url_in_a_text_is_text_and_pictures_keep_their_places(place: int | None, pictures: int) -> None:
    parts = [image_part(noise(64 + number), "image/png") for number in range(pictures)]
    text = "data:image/png;base64," + "QUJD" * 1000
    if place is not None:
        parts.insert(place, {"type": "text", "text": text})
    request = parse(body({"role": "user", "content": parts}))
    assert [(image.width, image.height) for image in request.images] == [(64 + n, 64) for n in range(pictures)]
    assert request.prompt_text.decode() == ("" if place is None else text)
    assert [image.data for image in request.images] == [noise(64 + number) for number in range(pictures)]


def noise(wide: int) -> bytes:
    """A PNG that base64 does not make short."""
    made = io.BytesIO()
    PIL.Image.frombytes("RGB", (wide, 64), random.Random(wide).randbytes(wide * 64 * 3)).save(made, "PNG")
    return made.getvalue()


def test_a_url_that_hides_bytes_behind_what_looks_like_base64_is_refused() -> None:
    """Long base64 is not read as UTF-8 with the rest of the body, and a URL of an image may only look like it."""
    url = b"https://a.example/;base64," + b"\xff" * 2000
    sent = json.dumps(body(user({"type": "image_url", "image_url": {"url": "HERE"}}))).encode().replace(b"HERE", url)
    with pytest.raises(BadImage):
        parse_chat(sent, replace(LIMITS, remote_images=True))
