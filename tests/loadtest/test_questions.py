"""Questions made ahead: pictures of the right size and all different, scenarios that load, mixes that are mixed."""

import base64
import io
import json
from pathlib import Path

import pytest
from PIL import Image, ImageOps, ImageStat

from loadtest import pictures, question_pool
from loadtest import scenario as scenario_
from loadtest.errors import WrongUsage
from loadtest.phones import display_p3, srgb
from loadtest.scenario import Ask, Images, Scenario


def made(folder: Path, ask: Ask, count: int) -> list[list[bytes]]:
    """The pictures of each question."""
    chosen = Scenario(name="test", description="", ask=ask, kinds={"test": (ask, 1.0)})
    reader, found = question_pool.QuestionReader(), []
    for entry in question_pool.make(chosen, count, 1, folder):
        content = json.loads(reader.read(entry))["content"]
        urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
        assert all(url.startswith("data:image/jpeg;base64,") for url in urls)
        found.append([base64.b64decode(url.partition(",")[2]) for url in urls])
    reader.close()
    return found


def test_pictures_are_jpegs_of_the_right_size_and_no_two_have_the_same_pixels(tmp_path: Path) -> None:
    found = made(tmp_path, Ask(text_tokens=8, answer_tokens=1, images=Images(count=3, width=140, height=84)), 30)
    assert [len(one) for one in found] == [3] * 30
    pixels = set()
    for jpeg in (jpeg for one in found for jpeg in one):
        with Image.open(io.BytesIO(jpeg)) as image:
            assert (image.format, image.size, image.mode) == ("JPEG", (140, 84), "RGB")
            pixels.add(image.tobytes())
    assert len(pixels) == 90


def test_a_scenario_may_repeat_its_pictures(tmp_path: Path) -> None:
    images = Images(width=56, height=56, distinct=3)
    found = made(tmp_path, Ask(text_tokens=8, answer_tokens=1, images=images), 20)
    assert len({one[0] for one in found}) == 3


@pytest.mark.parametrize(("style", "width", "height"), [("photo", 560, 840), ("page", 840, 1120)])
def test_pictures_weigh_what_such_pictures_weigh(style: str, width: int, height: int) -> None:
    """Photos and scans at this quality have 0.1 to 0.4 bytes a pixel; noise has more than 0.7, a flat ground 0.01."""
    jpegs = list(pictures.variants(style, width, height, 85, 1, 3))
    for jpeg in jpegs:
        assert 0.1 < len(jpeg) / (width * height) < 0.4
    with Image.open(io.BytesIO(jpegs[0])) as image:
        (deviation,) = ImageStat.Stat(image.convert("L")).stddev
    assert deviation > 20


def test_a_phones_photos_lie_on_their_side_with_orientation_and_profile_and_none_is_the_same_file() -> None:
    jpegs = list(pictures.variants("phone", 300, 400, 85, 1, 5))
    assert len(set(jpegs)) == 5
    for jpeg in jpegs:
        with Image.open(io.BytesIO(jpeg)) as image:
            assert (image.format, image.size, image.getexif()[0x0112]) == ("JPEG", (400, 300), 6)
            assert image.info["icc_profile"] == display_p3() != srgb()
            assert ImageOps.exif_transpose(image).size == (300, 400)


def test_one_ground_has_only_so_many_variants() -> None:
    with pytest.raises(ValueError, match="8192"):
        next(pictures.variants("photo", 28, 28, 85, 1, 2 * 64 * 64 + 1))


def test_every_built_in_scenario_loads_and_has_goals() -> None:
    assert scenario_.names() == ["conversation", "document", "mixed", "multi-image", "phone", "text", "vqa"]
    for name in scenario_.names():
        found = scenario_.load(name)
        assert found.name == name
        assert found.goals
        # A percentile that is a goal can be told from so many.
        assert found.load.requests * min(ask.turns for ask, _ in found.kinds.values()) >= 500
    vqa, _ = scenario_.load("vqa").kinds["vqa"]
    assert vqa.images is not None
    assert (vqa.images.width, vqa.images.height, vqa.text_tokens, vqa.answer_tokens) == (560, 840, 64, 128)


def test_a_mix_is_dealt_by_weight_at_any_time() -> None:
    dealt = question_pool.deal(scenario_.load("mixed"), 4000, 1)
    for part in (dealt[:1000], dealt[3000:]):
        assert part.count("vqa") == pytest.approx(500, abs=70)
        assert part.count("document") == pytest.approx(50, abs=30)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name = 'a'\ndescription = ''", r"it needs \[ask\] or \[\[mix\]\]"),
        ("name = 'a'\ndescription = ''\n[ask]\ntext_tokens = 0\nanswer_tokens = 1", "ask.text_tokens = 0"),
        ("name = 'a'\ndescription = ''\n[ask]\ntext_tokens = 1\nanswer_tokens = 1\npages = 1", "ask.pages"),
        ("name = 'a'\ndescription = ''\n[[mix]]\nof = 'mixed'\nweight = 1", "mixed is a mix itself"),
        ("name = 'a'\ndescription = ''\n[[mix]]\nof = 'none'\nweight = 1", "there is no scenario 'none'"),
        ("name = ", "cannot be read"),
    ],
)
def test_a_scenario_that_can_not_be_is_refused_by_name(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(WrongUsage, match=fault):
        scenario_.load(str(path))
