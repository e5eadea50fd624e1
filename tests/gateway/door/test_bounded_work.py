"""What a request can cost is bounded in the unit that costs: steps through files, scans, extreme numbers, copies."""

import json
import random
import tracemalloc
import zlib
from dataclasses import replace

import msgspec
import pytest

from gateway.door import DoorLimits, OverBound, digest_images, parse_chat
from gateway.door.data_url import split_data_url
from gateway.door.image_headers import Header, ImageFault, Steps, read_header
from gateway.door.image_headers.jpeg import _WINDOW_BYTES
from tests.attack.costly import Kind, chunk, gif, jpeg, kinds, parsed, png, scans, shown, webp
from tests.gateway.door.bodies import LIMITS, body, image_part, picture, refused, user

TEXT = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 1_000_000, 9))


def avif(boxes: int, associations: int = 0) -> bytes:
    """An AVIF with so many empty boxes before its own, and so many boxes that say what 1 item with 255 properties has."""
    data = picture("AVIF")
    first = int.from_bytes(data[:4])
    item = b"\0\0\0\x01" + b"\x27\x0f\xff" + b"\x05" * 255
    content = b"ipma" + bytes(4) + item
    more = ((4 + len(content)).to_bytes(4) + content) * associations
    properties = data.index(b"iprp") - 4
    meta = data.index(b"meta") - 4
    at = data.index(b"ipma") - 4
    made = bytearray(data[:at] + more + data[at:])
    for place in (properties, meta):
        made[place : place + 4] = (int.from_bytes(made[place : place + 4]) + len(more)).to_bytes(4)
    return data[:first] + b"\0\0\0\x08free" * boxes + bytes(made[first:])


def header(data: bytes) -> tuple[Header, int]:
    """The header, and the steps that it took."""
    steps = Steps(LIMITS.image_steps, LIMITS.images_steps)
    return read_header(data, steps), steps.made


def steps_of(sent: bytes) -> int:
    """The steps that the images of a good request take."""
    return digest_images(parse_chat(sent, LIMITS)).made


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: str(kind.name))
def test_the_most_expensive_request_of_each_kind_passes_and_what_once_was_worse_does_not(kind: Kind) -> None:
    sent = kind.make()
    if kind.status == 200:
        assert steps_of(sent) <= LIMITS.images_steps
    else:
        assert refused(sent).status == kind.status


@pytest.mark.parametrize(
    ("name", "small", "large", "kind"),
    [
        ("PNG chunks", png(chunk(b"teXt", b"") * 10), png(chunk(b"teXt", b"") * 1010), "image/png"),
        ("GIF blocks", gif(10), gif(16_010), "image/gif"),
        ("JPEG segments", jpeg(10), jpeg(951), "image/jpeg"),
        ("JPEG fill bytes", jpeg(200, 1), jpeg(400, 60), "image/jpeg"),
        ("WebP chunks", webp(10), webp(1010), "image/webp"),
        ("PNG text that inflates", png(b""), png(TEXT * 5), "image/png"),
        ("AVIF boxes", avif(10), avif(1010), "image/avif"),
        ("AVIF associations", avif(0, 1), avif(0, 60), "image/avif"),
    ],
)
def test_more_parts_of_a_file_take_more_steps_and_over_the_limit_are_refused_by_name(
    name: str, small: bytes, large: bytes, kind: str
) -> None:
    few, many = steps_of(shown(small, kind, 1)), steps_of(shown(large, kind, 1))
    assert many - few >= 15_000, name
    of_image = refused(shown(large, kind, 1), replace(LIMITS, image_steps=many - 1))
    of_request = refused(shown(large, kind, 2), replace(LIMITS, images_steps=2 * many - 1))
    for error, limit in ((of_image, many - 1), (of_request, 2 * many - 1)):
        assert isinstance(error, OverBound)
        assert str(limit) in error.message
        assert "Save it again" in error.message
    assert steps_of(shown(large, kind, 2)) == 2 * many


def test_no_walk_goes_on_beyond_its_steps() -> None:
    for data in (
        png(chunk(b"teXt", b"") * 9000),
        gif(5_000_000),
        jpeg(9000),
        jpeg(9000, 63),
        scans_of_fill(10_000_000),
        avif(9000),
        avif(0, 9000),
    ):
        steps = Steps(1000, 1000)
        with pytest.raises(Exception, match="1000") as caught:
            read_header(data, steps)
        assert "TooManySteps" in repr(caught.value)
        assert steps.made < 1000 + _WINDOW_BYTES // Steps.FOUR


def scans_of_fill(size: int) -> bytes:
    """A progressive JPEG with so many bytes FF where the next marker should be."""
    data = picture("JPEG", progressive=True)
    return data[: data.rindex(b"\xff\xda")] + b"\xff" * size


def test_large_files_as_programs_write_them_pass() -> None:
    chance = random.Random(1)
    pixels = [chunk(b"IDAT", chance.randbytes(8192)) for _ in range(1270)]  # libpng's chunks, for 10 MB
    data = picture()
    (at,) = (data.index(b"IDAT") - 4,)
    assert header(data[:at] + b"".join(pixels) + data[-12:])[0].type == "image/png"
    frame = picture("GIF")
    blocks = b"".join(b"\xff" + chance.randbytes(255) for _ in range(40_000))
    start = frame.rindex(b"\x2c") + 11
    assert header(frame[:start] + blocks + b"\0;")[0].type == "image/gif"
    entropy = chance.randbytes(10_000_000).replace(b"\xff", b"\xff\0")
    film = picture("JPEG", progressive=True)
    found, made = header(film[:-2] + entropy + b"\xff\xd9")
    assert found.scans == film.count(b"\xff\xda")
    assert made < LIMITS.image_steps // 2


def test_scans_are_counted_as_decoders_go_through_them() -> None:
    usual, film = picture("JPEG", 200, 200), picture("JPEG", 200, 200, progressive=True)
    assert header(usual)[0].scans == 1
    assert header(film)[0].scans == film.count(b"\xff\xda") == 10
    assert header(scans(film, 98))[0].scans == 98
    with pytest.raises(ImageFault, match="more than 100 scans"):
        header(scans(film, 101))
    # One component a scan, again and again: no progressive file, and decoders go through all of it.
    at = usual.index(b"\xff\xda")
    one = b"\xff\xda\0\x08\x01\x01\x00\x00\x3f\x00"
    assert header(usual[:at] + one * 98 + b"\xff\xd9")[0].scans == 98
    # In a comment they are no scans, behind the end they are another file's.
    comment = b"\xff\xfe" + (2 + 200).to_bytes(2) + b"\xff\xda" * 100
    last = film.rindex(b"\xff\xda")
    assert header(film[:last] + comment + film[last:] + b"\xff\xda" * 200)[0].scans == 10
    for padding in range(_WINDOW_BYTES - 300, _WINDOW_BYTES + 3):  # the marker stands where two windows meet
        assert header(film[:last] + b"\0" * padding + film[last:])[0].scans == 10
    with pytest.raises(ImageFault, match="truncated"):
        header(film[:-2])


def test_pixels_times_scans_of_all_images_have_a_bound() -> None:
    film = picture("JPEG", 200, 200, progressive=True)
    sent = shown(scans(film, 50), "image/jpeg", 3)
    request = parse_chat(sent, replace(LIMITS, images_decoding=6_000_000))
    digest_images(request)
    assert [image.decoding for image in request.images] == [2_000_000] * 3
    error = refused(sent, replace(LIMITS, images_decoding=5_999_999))
    assert isinstance(error, OverBound)
    assert "6000000" in error.message
    assert "5999999" in error.message
    assert "usual" in error.message


@pytest.mark.parametrize("number", ["1.7976931348623157e308", "5e-324", "-1e300", "1." + "3" * 40])
def test_numbers_that_take_long_to_read_have_a_bound(number: str) -> None:
    tight = DoorLimits(extreme_numbers=20)
    parse_chat(parsed("[" + ",".join([number] * 20) + "]"), tight)
    error = refused(parsed("[" + ",".join([number] * 21) + "]" + " " * 200), tight)
    assert isinstance(error, OverBound)
    assert "20 numbers" in error.message
    parse_chat(parsed("[" + ",".join(["0.1234567890123456", "1e-30", "0.0", "-2.5e9"] * 20) + "]"), tight)


def test_patterns_are_counted_before_they_are_read() -> None:
    many = {f"p{n}": {"pattern": "{" + "1" * 400} for n in range(100)}  # each too long, which is seen second
    chosen = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"patternProperties": many}}}
    assert "100 patterns" in refused(body(response_format=chosen)).message


def test_an_escaped_head_costs_no_copy_of_the_payload() -> None:
    payload = b"A" * 10_000_000
    raw = msgspec.Raw(b'"data:image\\/png;base64,' + payload + b'"')
    tracemalloc.start()
    url = split_data_url(raw, "messages[0]")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (url.type, len(url.payload)) == (None, len(payload))
    assert peak < 100_000
    whole = json.dumps(body(user(image_part(picture()))))
    for written in (whole.replace(";base64", "\\u003bbase64"), whole.replace("data:", "\\u0064ata:")):
        assert digest_images(parse_chat(written.encode(), LIMITS)).made > 0
