"""Reads what a model folder says of itself (config, safetensors headers); never loads a tensor and never runs its code.

Format of a safetensors file: 8 bytes little-endian header length, a JSON header, the tensors' bytes
(https://github.com/huggingface/safetensors, "Format").
"""

import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve.errors import ServeError

_HEADER_LIMIT_BYTES = 100_000_000  # the format's own limit
# fmt: off
_BITS = {  # of one element, by the format's names of types (safetensors 0.8)
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}
# fmt: on
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint: its name, its type as safetensors spells it, shape, and size in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int

    @property
    def parameters(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Checkpoint:
    """A complete model folder: its config.json and all its tensors."""

    folder: Path
    config: dict[str, Any]
    tensors: tuple[Tensor, ...]

    @property
    def architecture(self) -> str:
        names = self.config.get("architectures")
        return str(names[0]) if isinstance(names, list) and names else "unknown"


def read(folder: Path) -> Checkpoint:
    """Read a model folder and prove it complete: config, every shard of the index, every shard's full length.

    Raises ServeError naming the file and the way out.
    """
    try:
        return _read(folder)
    except OSError as error:
        raise ServeError(
            f"{error.filename or folder} cannot be read ({error.strerror}); let this user read it, or copy the model"
        ) from None


def _read(folder: Path) -> Checkpoint:
    if not folder.is_dir():
        raise ServeError(f"model folder {folder} does not exist; set MODEL= to the folder with config.json in it")
    config = _json(folder / "config.json", "copy the whole model repository, not only its weights")
    index = folder / INDEX
    promised = _weight_map(index) if index.exists() else {}
    shards = sorted(set(promised.values())) if promised else _shards_without_an_index(folder)
    missing = [name for name in shards if not (folder / name).is_file()]
    if missing:
        raise ServeError(
            f"{folder} lacks {len(missing)} of {len(shards)} weight files, first {missing[0]}; copy them again"
        )
    if not shards:
        others = sorted(path.name for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".ckpt"})
        if others:
            raise ServeError(
                f"{folder} has pickled weights ({others[0]}), which can run code when they load; "
                "Vitrine serves safetensors only: get or convert the model in that format"
            )
        raise ServeError(f"{folder} has no weights (*.safetensors); copy them there")
    tensors = [tensor for name in shards for tensor in header(folder / name)]
    absent = sorted(promised.keys() - {tensor.name for tensor in tensors})
    if absent:
        raise ServeError(
            f"{folder}: {len(absent)} tensors of {INDEX} are in no weight file, first {absent[0]}; copy the weights again"
        )
    return Checkpoint(folder, config, tuple(tensors))


def header(path: Path) -> list[Tensor]:
    """The tensors that a safetensors file holds, in the header's order.

    Raises ServeError if the file is not safetensors, or shorter or longer than its header says.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else _HEADER_LIMIT_BYTES + 1
            if length > _HEADER_LIMIT_BYTES:
                raise ServeError(f"{path} is not a safetensors file; get it again")
            if 8 + length > size:
                raise ServeError(f"{path} is truncated within its header ({size:,} bytes); copy it again")
            text = file.read(length)
    except OSError as error:
        raise ServeError(f"{path} cannot be read ({error.strerror}); mend that or copy it again") from None
    try:
        tensors, data_bytes = _entries(text)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ServeError(f"{path} has a broken safetensors header; copy it again") from None
    expected = 8 + length + data_bytes
    if size < expected:
        raise ServeError(f"{path} is truncated: {size:,} of {expected:,} bytes; copy it again")
    if size > expected:
        raise ServeError(f"{path} is longer than its header says: {size:,} for {expected:,} bytes; copy it again")
    return tensors


def _entries(text: bytes) -> tuple[list[Tensor], int]:
    """The tensors of a header, and the bytes of data that they cover without a gap or an overlap, as the format asks.

    Raises ValueError, KeyError, TypeError, AttributeError or RecursionError for anything else.
    """
    entries = json.loads(text)
    entries.pop("__metadata__", None)
    tensors, places = [], []
    for name, entry in entries.items():
        dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        if type(dtype) is not str or type(shape) is not list or any(type(n) is not int for n in (*shape, start, end)):
            raise TypeError(name)
        tensor = Tensor(name, dtype, tuple(shape), end - start)
        if min(*shape, start, end, 0) < 0 or end - start != _size_bytes(tensor):
            raise ValueError(name)
        tensors.append(tensor)
        places.append((start, end))
    reached = 0
    for start, end in sorted(places):
        if start != reached:
            raise ValueError(start)
        reached = end
    return tensors, reached


def _size_bytes(tensor: Tensor) -> int:
    return (tensor.parameters * _BITS[tensor.dtype] + 7) // 8


def _weight_map(index: Path) -> dict[str, str]:
    """Which file holds which tensor, as the index says."""
    found = _json(index, "copy it again").get("weight_map")
    plain = isinstance(found, dict) and all(
        isinstance(name, str) and Path(name).name == name for name in found.values()
    )
    if not plain or not found:
        raise ServeError(f"{index} names no weight files of this folder; copy it again")
    return dict(found)


def _shards_without_an_index(folder: Path) -> list[str]:
    """The weight files that are here, and those that their own names say are missing (``model-00001-of-00004``)."""
    names = {path.name for path in folder.glob("*.safetensors")}
    for name in list(names):
        numbered = re.fullmatch(r"(.+-)(\d{5})-of-(\d{5})\.safetensors", name)
        if numbered:
            stem, _, count = numbered.groups()
            names |= {f"{stem}{number:05}-of-{count}.safetensors" for number in range(1, int(count) + 1)}
    return sorted(names)


def _json(path: Path, way_out: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ServeError(f"{path} is missing; {way_out}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ServeError(f"{path} cannot be read ({error}); copy it again") from None
    if not isinstance(value, dict):
        raise ServeError(f"{path} is not a JSON object; copy it again")
    return value
