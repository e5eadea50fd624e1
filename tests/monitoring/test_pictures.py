"""The pictures of dashboards: there is one of each, and they are drawn from JSON and what a real Prometheus answers."""

from pathlib import Path

import pytest
from PIL import Image, ImageChops

from tests.monitoring.picture import WIDE, draw
from tests.monitoring.prometheus import QueryError
from tests.monitoring.promql import dashboards
from tests.monitoring.sheet import FONT, NoFont, legend_lines, require_font, width
from tests.monitoring.town import Town
from tests.monitoring.units import written
from tests.support.process import TOP, run

ALL = {name: document for name, document in dashboards().items() if "runbook" not in name}
KEPT = TOP / "docs" / "dashboards"
MOST_BYTES = 300_000


@pytest.fixture(autouse=True)
def font() -> None:
    try:
        require_font()
    except NoFont as error:
        pytest.skip(str(error))


def test_a_picture_of_each_is_kept_as_large_as_its_grid() -> None:
    names = {f"{Path(name).stem}.{Path(name).parent}.png" for name in ALL}
    assert {path.name for path in KEPT.glob("*.png")} == names
    for name in names:
        assert (KEPT / name).stat().st_size < MOST_BYTES
        with Image.open(KEPT / name) as image:
            assert image.width == WIDE


@pytest.mark.parametrize("name", ["en/engines.json", "zh/overview.json"])
def test_a_dashboard_is_drawn(living: Town, tmp_path: Path, name: str) -> None:
    draw(ALL[name], living.prometheus, living.window, tmp_path / "with.png")
    # The same without its titles: what differs is that these were drawn.
    bare = {**ALL[name], "panels": [{**panel, "title": ""} for panel in ALL[name]["panels"]]}
    draw(bare, living.prometheus, living.window, tmp_path / "without.png")
    with Image.open(tmp_path / "with.png") as ours, Image.open(tmp_path / "without.png") as theirs:
        assert ours.width == WIDE
        assert ImageChops.difference(ours.convert("RGB"), theirs.convert("RGB")).getbbox()


def test_a_dashboard_with_a_broken_expression_is_not_drawn(living: Town, tmp_path: Path) -> None:
    document = ALL["en/tenants.json"]
    panels = [
        {**panel, "targets": [{**target, "expr": "sum(" + target["expr"]} for target in panel.get("targets", [])]}
        for panel in document["panels"]
    ]
    with pytest.raises(QueryError, match="parse error"):
        draw({**document, "panels": panels}, living.prometheus, living.window, tmp_path / "picture.png")


def test_a_missing_font_is_named_with_its_package() -> None:
    with pytest.raises(
        NoFont, match=r"^the font 'Nobody Sans' for Chinese titles is not installed \(Debian: fonts-noto-cjk\)$"
    ):
        require_font("Nobody Sans")
    assert FONT


def test_a_prometheus_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    done = run("tests.monitoring.draw", "--to", str(tmp_path), "--prometheus", "http://127.0.0.1:1", env={})
    assert done.returncode == 1
    assert done.stderr.startswith("error: http://127.0.0.1:1 does not answer: ")
    assert done.stderr.count("\n") == 1


def test_a_legend_fits_its_room_and_counts_what_does_not() -> None:
    entries = [(f"engine-{number} · requests_per_min", "red") for number in range(20)]
    lines, rest = legend_lines(entries, 400)
    assert len(lines) == 2
    assert sum(map(len, lines)) + rest == 20
    assert all(sum(width(name, 7.5) + 30 for name, _ in line) <= 400 for line in lines)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "s", "0 s"),
        (0.0485, "s", "48.5 ms"),
        (90, "s", "1.5 min"),
        (86400 * 20, "s", "20 day"),
        (0.995, "percentunit", "99.5%"),
        (1540, "short", "1.54 K"),
        (1540, "reqps", "1.54K req/s"),
        (2400, "suffix: tok/s", "2400 tok/s"),
        (1 << 30, "bytes", "1 GiB"),
        (float("nan"), "s", "NaN"),
        (1235, "none", "1235"),
        (-1.5, "suffix:×", "-1.5×"),
    ],
)
def test_numbers_are_written_with_their_unit(value: float, unit: str, text: str) -> None:
    assert written(value, unit) == text
