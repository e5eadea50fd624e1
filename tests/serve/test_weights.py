"""What a model folder says of itself is believed only when it is whole."""

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve import weights
from serve.errors import ServeError
from serve.weights import Tensor
from tests.serve.checkpoints import SHARDS, sharded, whole

INDEX = "model.safetensors.index.json"


def raw(path: Path, header: object, data: bytes = b"") -> Path:
    """A file in the format's frame with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_a_whole_folder_is_read_with_every_tensor(tmp_path: Path) -> None:
    path = whole(tmp_path / "m")
    found = weights.read(path.parent)
    assert found.architecture == "Glm4vForConditionalGeneration"
    assert sorted(found.tensors, key=lambda tensor: tensor.name) == [
        Tensor("a", "F32", (3, 4), 48),
        Tensor("b", "F16", (5,), 10),
    ]
    assert [tensor.parameters for tensor in sorted(found.tensors, key=lambda tensor: tensor.name)] == [12, 5]


def test_every_shard_of_an_index_is_read(tmp_path: Path) -> None:
    assert {tensor.name for tensor in weights.read(sharded(tmp_path / "m")).tensors} == {"a", "b"}


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    (sharded(tmp_path / "m") / SHARDS[1]).unlink()
    with pytest.raises(ServeError, match=rf"lacks 1 of 2 weight files, first {SHARDS[1]}; copy them again"):
        weights.read(tmp_path / "m")


def test_a_missing_shard_is_named_where_the_index_is_missing_too(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "m")
    (folder / INDEX).unlink()
    assert len(weights.read(folder).tensors) == 2
    (folder / SHARDS[0]).unlink()
    with pytest.raises(ServeError, match=rf"lacks 1 of 2 weight files, first {SHARDS[0]}"):
        weights.read(folder)


def test_a_shard_that_lacks_a_promised_tensor_is_refused(tmp_path: Path) -> None:
    folder = sharded(tmp_path / "m")
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"]["c"] = SHARDS[0]
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(ServeError, match=r"1 tensors of .* are in no weight file, first c"):
        weights.read(folder)


@pytest.mark.parametrize(
    "index",
    ['{"weight_map": {"a": "../m/model.safetensors"}}', '{"weight_map": ["a"]}', '{"weight_map": {"a": 1}}', "{}"],
)
def test_an_index_that_names_no_files_of_its_folder_is_refused(tmp_path: Path, index: str) -> None:
    path = whole(tmp_path / "m")
    (path.parent / INDEX).write_text(index)
    with pytest.raises(ServeError, match="names no weight files of this folder; copy it again"):
        weights.read(path.parent)


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "\xff"])
def test_a_broken_config_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = whole(tmp_path / "m")
    (path.parent / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ServeError, match=r"config.json (cannot be read|is not a JSON object)"):
        weights.read(path.parent)


def test_a_folder_that_is_not_there_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match=r"does not exist; set MODEL="):
        weights.read(tmp_path / "none")


def test_a_folder_without_config_says_what_to_copy(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match=r"config.json is missing; copy the whole model repository"):
        weights.read(tmp_path)


def test_a_folder_without_weights_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ServeError, match=r"has no weights \(\*\.safetensors\)"):
        weights.read(tmp_path)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    with pytest.raises(ServeError, match=r"pickled weights \(pytorch_model.bin\), which can run code"):
        weights.read(tmp_path)


def test_a_truncated_file_says_how_much_is_there(tmp_path: Path) -> None:
    path = whole(tmp_path / "m")
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ServeError, match=rf"is truncated: {size - 1:,} of {size:,} bytes; copy it again"):
        weights.header(path)


def test_a_file_with_more_than_its_header_says_is_refused(tmp_path: Path) -> None:
    path = whole(tmp_path / "m")
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ServeError, match="longer than its header says"):
        weights.header(path)


@pytest.mark.parametrize("content", [b"", b"<html>", b"not safetensors at all", b"\xff" * 64])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ServeError, match="is not a safetensors file"):
        weights.header(path)


BROKEN = {
    "not JSON": b"{",
    "not an object": [],
    "too deep": b"[" * 100_000,
    "a tensor that is no object": {"a": 1},
    "no offsets": {"a": {"dtype": "U8", "shape": [1]}},
    "three offsets": {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 1]}},
    "an end that is not a number": b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, NaN]}}',
    "an end of infinity": b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, Infinity]}}',
    "a shape of text": {"a": {"dtype": "U8", "shape": "1", "data_offsets": [0, 1]}},
    "a negative shape": {"a": {"dtype": "U8", "shape": [-1], "data_offsets": [1, 0]}},
    "a shape of booleans": {"a": {"dtype": "U8", "shape": [True], "data_offsets": [0, 1]}},
    "a type that is a list": {"a": {"dtype": ["U8"], "shape": [1], "data_offsets": [0, 1]}},
    "an unknown type": {"a": {"dtype": "U9", "shape": [1], "data_offsets": [0, 1]}},
    "a size that its shape has not": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 1]}},
    "a gap": {"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}},
    "an overlap": {
        "a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]},
        "b": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]},
    },
}


@pytest.mark.parametrize("header", BROKEN.values(), ids=BROKEN)
def test_a_broken_header_is_refused(tmp_path: Path, header: object) -> None:
    with pytest.raises(ServeError, match="has a broken safetensors header"):
        weights.header(raw(tmp_path / "m.safetensors", header, b"\0\0"))


def test_a_folder_in_place_of_a_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match=r"cannot be read \(Is a directory\)"):
        weights.header(tmp_path)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole(tmp_path_factory.mktemp("real") / "m")


@given(data=st.data())
def test_a_real_file_cut_anywhere_is_refused(real: Path, data: st.DataObject) -> None:
    content = real.read_bytes()
    cut = real.with_name("cut.bytes")
    cut.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(ServeError):
        weights.header(cut)


@given(data=st.data())
def test_mutated_bytes_of_a_header_raise_nothing_but_our_error(real: Path, data: st.DataObject) -> None:
    content = bytearray(real.read_bytes())
    length = 8 + struct.unpack("<Q", content[:8])[0]
    for place in data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    changed = real.with_name("changed.bytes")
    changed.write_bytes(content)
    try:
        tensors = weights.header(changed)
    except ServeError:
        return
    assert sum(tensor.size_bytes for tensor in tensors) <= len(content)
