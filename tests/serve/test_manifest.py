"""The manifest root stands for every byte and every name of a model folder."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from serve import model_manifest
from serve.errors import ServeError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_bytes(b"{}")
    (folder / "sub" / "a").write_bytes(b"aaa")
    (folder / "sub.b").write_bytes(b"bb")
    return folder


def fresh(model: Path) -> str:
    """The root, computed without anything remembered."""
    cache = model.parent / "none.json"
    cache.unlink(missing_ok=True)
    return model_manifest.root(model, cache)


def test_the_root_is_what_sha256sum_and_sort_would_make(model: Path) -> None:
    names = ["config.json", "sub.b", "sub/a"]  # LC_ALL=C sort
    lines = "".join(
        f"{hashlib.sha256((model / name).read_bytes()).hexdigest()} {(model / name).stat().st_size} {name}\n"
        for name in names
    )
    assert fresh(model) == hashlib.sha256(lines.encode()).hexdigest()


CHANGES: dict[str, Callable[[Path], object]] = {
    "a byte": lambda model: (model / "sub" / "a").write_bytes(b"aab"),
    "a name": lambda model: (model / "sub" / "a").rename(model / "sub" / "c"),
    "a file more": lambda model: (model / "new").write_bytes(b""),
    "a file less": lambda model: (model / "sub.b").unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_root_changes_with(model: Path, change: Callable[[Path], object]) -> None:
    before = fresh(model)
    assert fresh(model) == before
    change(model)
    assert fresh(model) != before


def test_a_file_is_read_again_only_when_size_or_time_changed(model: Path, tmp_path: Path) -> None:
    cache, file = tmp_path / "cache.json", model / "sub" / "a"
    before, times = model_manifest.root(model, cache), file.stat()
    file.write_bytes(b"xyz")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert model_manifest.root(model, cache) == before  # what nobody could see without reading; fresh() reads
    assert fresh(model) != before
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert model_manifest.root(model, cache) == fresh(model)


def test_a_changed_size_is_seen_although_the_time_is_the_same(model: Path, tmp_path: Path) -> None:
    cache, file = tmp_path / "cache.json", model / "sub" / "a"
    before, times = model_manifest.root(model, cache), file.stat()
    file.write_bytes(b"longer")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert model_manifest.root(model, cache) != before


@pytest.mark.parametrize("content", ["{", "[]", '{"KEY": 3}', '{"KEY": []}', '{"KEY": [3]}'])
def test_a_broken_cache_is_not_believed(model: Path, tmp_path: Path, content: str) -> None:
    cache = tmp_path / "cache.json"
    cache.write_text(content.replace("KEY", str(model / "sub" / "a")))
    assert model_manifest.root(model, cache) == fresh(model)


def test_a_name_with_a_line_break_is_refused(model: Path, tmp_path: Path) -> None:
    (model / "a\nb").write_bytes(b"")
    with pytest.raises(ServeError, match="line break in its name"):
        model_manifest.root(model, tmp_path / "cache.json")


def test_a_name_that_is_not_utf8_has_a_root_too(model: Path) -> None:
    before = fresh(model)
    with open(os.fsencode(model) + b"/\xff", "wb"):
        pass
    assert fresh(model) != before


def test_it_stops_when_told_to(model: Path, tmp_path: Path) -> None:
    with pytest.raises(model_manifest.Stopped):
        model_manifest.root(model, tmp_path / "cache.json", lambda: True)
