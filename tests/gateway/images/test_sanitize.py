"""With ``sanitize`` the engine sees pixels encoded anew, as many as ``detail`` asks for, and nothing else."""

import base64
import io
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture

from gateway.door import BadImage, image_tokens
from gateway.images.reencoding import HIGH_PIXELS, LOW_PIXELS
from tests.gateway.door.bodies import LIMITS, body, image_part, parse, picture, user
from tests.gateway.images.asking import ask, processes
from tests.gateway.images.files import SECRET_PLACE, chunk, file, halves, photograph, png, rows
from tests.support.audit import Ledger
from tests.support.fake_engine import FakeEngine
from tests.support.gateway import Gateway
from tests.support.pictures import PNG, Pictures, asking
from tests.support.process import run


def part_seen(engine: FakeEngine) -> dict[str, Any]:
    """The picture's part in the last body that the engine got."""
    found: dict[str, Any] = engine.bodies[-1]["messages"][-1]["content"][-1]
    return found


def seen(engine: FakeEngine) -> tuple[str, bytes, Picture.Image]:
    """Type, bytes and pixels of the last picture that the engine got."""
    head, _, payload = part_seen(engine)["image_url"]["url"].partition(";base64,")
    data = base64.b64decode(payload)
    image = Picture.open(io.BytesIO(data))
    image.load()
    return head, data, image


def close_to(pixel: Any, colour: tuple[int, int, int]) -> bool:
    return all(abs(one - other) < 12 for one, other in zip(pixel, colour, strict=True))


@pytest.mark.parametrize(
    ("kind", "data"),
    [("image/jpeg", picture("JPEG")), ("image/png", picture("PNG")), ("image/gif", picture("GIF"))],
    ids=["jpeg", "png", "gif"],
)
def test_what_stands_behind_a_picture_does_not_reach_the_engine(
    sanitizing: Gateway, engine: FakeEngine, key: str, kind: str, data: bytes
) -> None:
    tail = b"PK\x03\x04 a file of another kind <script>"
    assert ask(sanitizing, key, data + tail, kind).status == 200
    _, got, image = seen(engine)
    assert b"another kind" not in got
    assert image.size == (64, 48)


def test_where_and_when_a_picture_was_taken_does_not_reach_the_engine(
    sanitizing: Gateway, engine: FakeEngine, key: str
) -> None:
    data = photograph()
    assert data.count(SECRET_PLACE.encode()) == 3
    assert ask(sanitizing, key, data, "image/jpeg").status == 200
    head, got, image = seen(engine)
    assert head == "data:image/jpeg"
    assert SECRET_PLACE.encode() not in got
    assert not image.getexif()
    assert not {"exif", "comment", "icc_profile"} & image.info.keys()


@pytest.mark.parametrize(
    ("orientation", "size", "red"),
    [(1, (64, 48), (32, 5)), (3, (64, 48), (32, 42)), (6, (48, 64), (42, 32)), (8, (48, 64), (5, 32))],
)
def test_a_picture_stands_upright_at_the_engine(
    sanitizing: Gateway, engine: FakeEngine, key: str, orientation: int, size: tuple[int, int], red: tuple[int, int]
) -> None:
    assert ask(sanitizing, key, photograph(orientation), "image/jpeg").status == 200
    _, _, image = seen(engine)
    assert image.size == size
    assert close_to(image.getpixel(red), (255, 0, 0))
    assert close_to(image.getpixel((size[0] - red[0], size[1] - red[1])), (0, 0, 255))


@pytest.mark.parametrize(
    ("data", "kind", "made", "mode"),
    [
        (picture("JPEG"), "image/jpeg", "image/jpeg", "RGB"),
        (file("JPEG", halves().convert("CMYK")), "image/jpeg", "image/jpeg", "RGB"),
        (picture("JPEG", progressive=True), "image/jpeg", "image/jpeg", "RGB"),
        (file("JPEG", halves().convert("L")), "image/jpeg", "image/jpeg", "L"),
        (picture("WEBP"), "image/webp", "image/jpeg", "RGB"),
        (picture("WEBP", lossless=True), "image/webp", "image/png", "RGB"),
        (file("WEBP", Picture.new("RGBA", (64, 48), (255, 0, 0, 99))), "image/webp", "image/png", "RGBA"),
        (file("PNG", Picture.new("RGBA", (64, 48), (255, 0, 0, 99))), "image/png", "image/png", "RGBA"),
        (file("PNG", halves().convert("P")), "image/png", "image/png", "RGB"),
        (file("PNG", halves().convert("1")), "image/png", "image/png", "L"),
        (file("GIF", halves().convert("P")), "image/gif", "image/png", "RGB"),
    ],
)
def test_every_format_becomes_a_jpeg_or_a_png(
    sanitizing: Gateway, engine: FakeEngine, key: str, data: bytes, kind: str, made: str, mode: str
) -> None:
    assert ask(sanitizing, key, data, kind).status == 200
    head, _, image = seen(engine)
    assert (head, image.mode, image.size) == (f"data:{made}", mode, (64, 48))


def test_sixteen_bits_become_eight_without_being_cut_off(sanitizing: Gateway, engine: FakeEngine, key: str) -> None:
    assert ask(sanitizing, key, file("PNG", Picture.new("I;16", (64, 48), 0x8040))).status == 200
    _, _, image = seen(engine)
    assert (image.mode, image.getpixel((1, 1))) == ("L", 0x80)


def test_a_phones_film_of_pictures_is_taken_as_its_first(sanitizing: Gateway, engine: FakeEngine, key: str) -> None:
    two = file("MPO", halves(), save_all=True, append_images=(Picture.new("RGB", (64, 48), "green"),))
    assert ask(sanitizing, key, two, "image/jpeg").status == 200
    _, got, image = seen(engine)
    assert got.count(b"\xff\xd8\xff") == 1
    assert close_to(image.getpixel((32, 5)), (255, 0, 0))


def test_a_picture_with_half_of_its_pixels_is_refused(
    sanitizing: Gateway, gateway: Gateway, engine: FakeEngine, key: str
) -> None:
    data = png(rows()[:-20])
    assert ask(gateway, key, data).status == 200, "its structure is whole: only who decodes it can tell"
    engine.bodies.clear()
    answer = ask(sanitizing, key, data)
    assert (answer.status, answer.error["code"]) == (400, "invalid_image")
    assert answer.error["param"] == "messages[0].content[1].image_url.url"
    assert engine.bodies == []
    assert ask(sanitizing, key, picture()).status == 200


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """300 MiB in 300 KiB."""
    return zlib.compress(bytes(300 << 20), 9)


@pytest.mark.parametrize(("name", "label"), [(b"zTXt", b"Comment"), (b"iCCP", b"Profile")], ids=["text", "profile"])
def test_a_bomb_beside_the_pixels_is_refused(
    sanitizing: Gateway, engine: FakeEngine, key: str, bomb: bytes, name: bytes, label: bytes
) -> None:
    answer = ask(sanitizing, key, png(rows(), extra=chunk(name, label + b"\0\0" + bomb)))
    assert (answer.status, answer.error["code"]) == (400, "invalid_image")
    assert engine.bodies == []
    assert ask(sanitizing, key, picture()).status == 200


@pytest.mark.parametrize(
    ("detail", "budget"), [("low", LOW_PIXELS), ("high", HIGH_PIXELS), ("auto", HIGH_PIXELS), (None, HIGH_PIXELS)]
)
def test_detail_is_a_budget_of_pixels(sanitizing: Gateway, engine: FakeEngine, detail: str | None, budget: int) -> None:
    limited, _ = sanitizing.limited_key("--tokens-per-min", "100000")
    answer = ask(sanitizing, limited, picture("JPEG", 3000, 2000), "image/jpeg", detail=detail)
    assert answer.status == 200
    _, _, image = seen(engine)
    width, height = image.size
    assert 0.99 * budget < width * height <= budget
    assert abs(width / height - 1.5) < 0.01
    assert part_seen(engine)["image_url"].keys() == {"url"}
    reserved = 100_000 - int(answer.headers["x-ratelimit-remaining-tokens"])
    prompt = image_tokens(width, height) + len("What is this?") // 3 + 8
    assert 0 <= reserved - prompt - min(1024, max(4096 - prompt, 1)) < 10  # what the request has besides


def test_a_small_picture_is_not_made_larger(sanitizing: Gateway, engine: FakeEngine, key: str) -> None:
    assert ask(sanitizing, key, picture(), detail="high").status == 200
    assert seen(engine)[2].size == (64, 48)


def test_the_log_has_the_picture_as_the_client_sent_it(
    sanitizing: Gateway, engine: FakeEngine, ledger: Ledger, key: str, tmp_path: Path
) -> None:
    data = picture("WEBP", 1200, 900)
    answer = ask(sanitizing, key, data, "image/webp", detail="low")
    assert seen(engine)[2].size != (1200, 900)
    (record,) = ledger.records(kind="admit", id=answer.headers["x-audit-id"])
    (image,) = record["images"]
    assert (image["type"], image["bytes"], image["width"], image["height"]) == ("image/webp", len(data), 1200, 900)
    (tmp_path / "as-sent.webp").write_bytes(data)
    found = run("gateway.ledger", "find", "--image", str(tmp_path / "as-sent.webp"), "--json", env=ledger.env)
    assert answer.headers["x-audit-id"] in found.stdout, found.stderr


def test_the_same_picture_has_another_name_when_its_pixels_are_others(
    sanitizing: Gateway, gateway: Gateway, engine: FakeEngine, key: str
) -> None:
    names = []
    for one, detail in (
        (gateway, "high"),
        (gateway, "low"),
        (sanitizing, "high"),
        (sanitizing, "auto"),
        (sanitizing, "low"),
    ):
        assert ask(one, key, picture(), detail=detail).status == 200
        names.append(part_seen(engine)["uuid"])
    as_it_came, also, high, auto, low = names
    assert as_it_came == also
    assert high == auto
    assert len({as_it_came, high, low}) == 3


@pytest.mark.parametrize(
    "made",
    [b"", b"nothing", picture("GIF"), picture("WEBP"), picture()[:-9], picture("PNG", 520, 520)],
    ids=["empty", "garbage", "gif", "webp", "cut", "too large"],
)
def test_what_a_process_gives_back_is_not_trusted(made: bytes) -> None:
    (image,) = parse(body(user(image_part(picture())))).images
    before = image.json_url()
    with pytest.raises(BadImage):
        image.show(made, LOW_PIXELS, LIMITS)
    assert (image.json_url(), image.shown) == (before, (64, 48))
    image.show(picture("PNG", 512, 512), LOW_PIXELS, LIMITS)
    assert image.shown == (512, 512)


def test_what_a_picture_grows_to_counts_as_memory(home: Path, engine: FakeEngine, ledger: Ledger) -> None:
    small_file = picture("WEBP", 2600, 1800, lossless=True)
    room = str(2 * len(small_file))
    with Gateway(home, VITRINE_SANITIZE="true", VITRINE_MAX_BODY_BYTES=room, VITRINE_MAX_BODIES_BYTES=room) as crowded:
        key = crowded.create_key()
        for _ in range(2):  # what was taken is given back
            answer = ask(crowded, key, small_file, "image/webp")
            assert (answer.status, answer.error["code"]) == (503, "memory_full")
            assert ask(crowded, key, picture()).status == 200
    assert len(engine.bodies) == 2


def test_a_picture_that_was_fetched_is_encoded_anew_too(
    home: Path, engine: FakeEngine, ledger: Ledger, pictures: Pictures
) -> None:
    place = f"http://localhost:{pictures.port}=127.0.0.1+::1"
    with Gateway(home, VITRINE_SANITIZE="true", VITRINE_REMOTE_IMAGES=place) as fetching:
        key, sent = fetching.create_key(), asking(pictures.url("good.png"))
        answer = fetching.request("POST", "/v1/chat/completions", key=key, body=sent)
    assert answer.status == 200
    _, got, image = seen(engine)
    assert got != PNG
    assert image.tobytes() == Picture.open(io.BytesIO(PNG)).convert(image.mode).tobytes()
    (record,) = ledger.records(kind="admit", id=answer.headers["x-audit-id"])
    assert record["images"][0]["bytes"] == len(PNG)


def test_without_the_setting_no_process_runs_and_a_picture_passes_as_it_came(
    gateway: Gateway, engine: FakeEngine, key: str
) -> None:
    data = photograph()
    assert ask(gateway, key, data, "image/jpeg").status == 200
    assert seen(engine)[1] == data
    assert processes(gateway) == []
