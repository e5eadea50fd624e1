"""Prepares the folder that the engine serves; never changes the published one, never copies or runs a Python file.

PrepareError
├── NotThisModel       the source is another model, or its numbers contradict each other
├── SourceIncomplete   a file of the source is missing
├── TargetInTheWay     the target exists
└── VocabularyBroken   tokenizer.model cannot be read
"""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve.chatglm.tokenizer import write_tokenizer
from serve.chatglm.vocabulary import PrepareError, read_ranks, special_ids

# A turn of anybody else ends the answer.
STOP_TOKENS = ("<|endoftext|>", "<|user|>", "<|observation|>")
INDEX = "model.safetensors.index.json"


class NotThisModel(PrepareError):
    """The source is not glm-4v-9b's architecture."""


class SourceIncomplete(PrepareError):
    """The source lacks a file."""


class TargetInTheWay(PrepareError):
    """Something exists where the prepared folder should go."""


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made: base tokens, weight files, and whether these are hard links (else symbolic ones)."""

    base_tokens: int
    weight_files: int
    hard_links: bool


def prepare(source: Path, target: Path) -> Prepared:
    """Make `target` a folder that vLLM serves as GLM4VForCausalLM without remote code, from the published `source`.

    Weights are linked, not copied: hard links where the file system allows them, symbolic ones elsewhere. `target`
    appears only when complete. Raises PrepareError.
    """
    if target.exists() or target.is_symlink():
        raise TargetInTheWay(f"{target} exists. Remove it, or name another folder.")
    config = _read_json(source, "config.json")
    if config.get("model_type") != "chatglm" or not isinstance(config.get("vision_config"), dict):
        raise NotThisModel(
            f"{source}: config.json is not glm-4v-9b's (model_type chatglm with a vision_config). "
            "Newer GLM-4V models need no preparation: serve their folder as it is."
        )
    ranks = read_ranks(_existing(source, "tokenizer.model"))
    ids = special_ids(ranks)
    _check_ids(source, config, ids)
    weights = _weights(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        folder = Path(scratch) / target.name
        folder.mkdir()
        _write_json(folder / "config.json", _servable_config(config))
        _write_json(folder / "generation_config.json", _generation_config(source, ids))
        write_tokenizer(ranks, folder, context_tokens=config["seq_length"])
        hard = [_link(path.resolve(), folder / path.name) for path in weights]
        folder.rename(target)
    shards = sum(path.suffix == ".safetensors" for path in weights)
    return Prepared(base_tokens=len(ranks), weight_files=shards, hard_links=all(hard))


def _check_ids(source: Path, config: dict[str, Any], ids: dict[str, int]) -> None:
    published = {
        "pad_token_id": "<|endoftext|>",
        "boi_token_id": "<|begin_of_image|>",
        "eoi_token_id": "<|end_of_image|>",
    }
    found = {token: config.get(key) for key, token in published.items()}
    if (source / "tokenizer_config.json").exists():
        decoder = _read_json(source, "tokenizer_config.json").get("added_tokens_decoder", {})
        try:
            found |= {entry["content"]: int(number) for number, entry in decoder.items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SourceIncomplete(
                f"{source}: tokenizer_config.json is not the published one. Fetch it again."
            ) from error
    wrong = {token: number for token, number in found.items() if ids.get(token) != number}
    if wrong:
        token, number = next(iter(wrong.items()))
        raise NotThisModel(
            f"{source}: {token} is published as token {number}, but tokenizer.model makes it {ids.get(token)}. "
            "The files are from different models, or one is cut short: fetch them again."
        )
    rows, context = config.get("padded_vocab_size"), config.get("seq_length")
    if not isinstance(rows, int) or rows <= max(ids.values()) or not isinstance(context, int):
        raise NotThisModel(
            f"{source}: config.json has no seq_length, or a padded_vocab_size too small for the tokens of "
            "tokenizer.model. The files are from different models: fetch them again."
        )


def _servable_config(config: dict[str, Any]) -> dict[str, Any]:
    """`config` without pointers to remote code, under the architecture name by which vLLM knows the vision model."""
    kept = {key: value for key, value in config.items() if key != "auto_map"}
    # transformers takes a large tokenizer beside a config of no version for an old, broken Mistral one and says so.
    return {"transformers_version": "5.0.0"} | kept | {"architectures": ["GLM4VForCausalLM"]}


def _generation_config(source: Path, ids: dict[str, int]) -> dict[str, Any]:
    published = _read_json(source, "generation_config.json") if (source / "generation_config.json").exists() else {}
    return published | {"eos_token_id": [ids[token] for token in STOP_TOKENS], "pad_token_id": ids["<|endoftext|>"]}


def _weights(source: Path) -> list[Path]:
    """The safetensors files, with their index if there is one; raises SourceIncomplete for a missing shard."""
    if not (source / INDEX).exists():
        return [_existing(source, "model.safetensors")]
    names = sorted(set(_read_json(source, INDEX).get("weight_map", {}).values()))
    strange = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
    if strange or not names:
        raise SourceIncomplete(f"{source}: {INDEX} does not name this folder's safetensors files. Fetch it again.")
    return [_existing(source, name) for name in (INDEX, *names)]


def _existing(source: Path, name: str) -> Path:
    path = source / name
    if not path.is_file():
        raise SourceIncomplete(f"{source} has no {name}. Fetch the whole model, with its safetensors files.")
    return path


def _read_json(source: Path, name: str) -> dict[str, Any]:
    try:
        value = json.loads(_existing(source, name).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SourceIncomplete(f"{source}: {name} is not JSON ({error}). Fetch it again.") from error
    if not isinstance(value, dict):
        raise SourceIncomplete(f"{source}: {name} is not a JSON object. Fetch it again.")
    return value


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _link(origin: Path, link: Path) -> bool:
    """Hard link if possible, else a symbolic one; says which."""
    try:
        os.link(origin, link)
    except OSError:  # another file system, or somebody else's file where the kernel protects hard links
        link.symlink_to(origin)
        return False
    return True
