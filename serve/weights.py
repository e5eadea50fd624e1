"""Reads what a model folder says of itself (config, safetensors headers); never loads a tensor and never runs its code.

Format of a safetensors file: 8 bytes little-endian header length, a JSON header, the tensors' bytes
(https://github.com/huggingface/safetensors, "Format").
"""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve.errors import ServeError

_HEADER_LIMIT_BYTES = 100_000_000  # the format's own limit
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
        names = self.config.get("architectures") or ["unknown"]
        return str(names[0])


def read(folder: Path) -> Checkpoint:
    """Read a model folder and prove it complete: config, every shard of the index, every shard's full length.

    Raises ServeError naming the file and the way out.
    """
    if not folder.is_dir():
        raise ServeError(f"model folder {folder} does not exist; set MODEL= to the folder with config.json in it")
    config = _json(folder / "config.json", "copy the whole model repository, not only its weights")
    index = folder / INDEX
    if index.exists():
        shards = sorted(set(_json(index, "copy it again").get("weight_map", {}).values()))
        missing = [name for name in shards if not (folder / name).is_file()]
        if missing:
            raise ServeError(
                f"{folder} lacks {len(missing)} of {len(shards)} weight files, first {missing[0]}; copy them again"
            )
    else:
        shards = sorted(path.name for path in folder.glob("*.safetensors"))
    if not shards:
        others = sorted(path.name for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".ckpt"})
        if others:
            raise ServeError(
                f"{folder} has pickled weights ({others[0]}), which can run code when they load; "
                "Vitrine serves safetensors only: get or convert the model in that format"
            )
        raise ServeError(f"{folder} has no weights (*.safetensors); copy them there")
    tensors = [tensor for name in shards for tensor in header(folder / name)]
    return Checkpoint(folder, config, tuple(tensors))


def header(path: Path) -> list[Tensor]:
    """The tensors that a safetensors file holds, in the header's order.

    Raises ServeError if the file is not safetensors or shorter or longer than its header says.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else _HEADER_LIMIT_BYTES + 1
        if length > _HEADER_LIMIT_BYTES:
            raise ServeError(f"{path} is not a safetensors file; get it again")
        if 8 + length > size:
            raise ServeError(f"{path} is truncated within its header ({size:,} bytes); copy it again")
        try:
            entries = json.loads(file.read(length))
            tensors = [
                Tensor(name, entry["dtype"], tuple(entry["shape"]), entry["data_offsets"][1] - entry["data_offsets"][0])
                for name, entry in entries.items()
                if name != "__metadata__"
            ]
            end = max(
                (entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"), default=0
            )
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            raise ServeError(f"{path} has a broken safetensors header; copy it again") from None
    expected = 8 + length + end
    if size < expected:
        raise ServeError(f"{path} is truncated: {size:,} of {expected:,} bytes; copy it again")
    if size > expected:
        raise ServeError(f"{path} is longer than its header says: {size:,} for {expected:,} bytes; copy it again")
    return tensors


def _json(path: Path, way_out: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ServeError(f"{path} is missing; {way_out}") from None
    except (OSError, ValueError) as error:
        raise ServeError(f"{path} cannot be read ({error}); copy it again") from None
    if not isinstance(value, dict):
        raise ServeError(f"{path} is not a JSON object; copy it again")
    return value
