"""Small real model folders for tests, written by the safetensors library itself."""

import json
from pathlib import Path

import numpy
from safetensors.numpy import save_file

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def whole(folder: Path) -> Path:
    """A folder with one weight file of two tensors; its file's path."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": ["Glm4vForConditionalGeneration"]}))
    path = folder / "model.safetensors"
    matrix = numpy.arange(12, dtype=numpy.float32).reshape(3, 4)
    save_file({"a": matrix, "b": numpy.ones(5, numpy.float16)}, path, {"format": "pt"})
    return path


def sharded(folder: Path) -> Path:
    """A folder with two weight files and their index."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    for name, shard in zip("ab", SHARDS, strict=True):
        save_file({name: numpy.ones((2, 3), numpy.float32)}, folder / shard)
    index = {"metadata": {}, "weight_map": dict(zip("ab", SHARDS, strict=True))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
