"""Turns GLM-4's ranks into the files that a standard tokenizer reads; never imports the model's own tokenizer code."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from serve.chatglm.vocabulary import SPECIAL_TOKENS, SPLIT_PATTERN


def write_tokenizer(ranks: dict[bytes, int], folder: Path, context_tokens: int) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` into `folder`.

    Every ordinary text gets the ids that tiktoken gives it with the same ranks and SPLIT_PATTERN. `context_tokens` is
    the longest prompt that the model was trained for. Needs the packages of an engine (transformers, tokenizers).
    """
    _converter(ranks).converted().save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context_tokens,
        "model_input_names": ["input_ids", "attention_mask"],
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "additional_special_tokens": list(SPECIAL_TOKENS),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "chat_template.jinja").write_text(chat_template(), encoding="utf-8")


def chat_template() -> str:
    """GLM-4's prompt format as a Jinja template."""
    return files("serve.chatglm").joinpath("prompt.jinja").read_text(encoding="utf-8")


def _converter(ranks: dict[bytes, int]) -> Any:
    # Here and not above: a machine that only checks a profile may have no engine installed.
    from transformers.convert_slow_tokenizer import TikTokenConverter

    class RanksInHand(TikTokenConverter):  # type: ignore[misc]  # its base has no types
        # The inherited loader keeps files in a shared temporary folder, found again by path alone: it would serve
        # yesterday's vocabulary, or a stranger's.
        @staticmethod
        def load_tiktoken_bpe(tiktoken_url: str) -> dict[bytes, int]:
            return ranks

    return RanksInHand(vocab_file="", pattern=SPLIT_PATTERN, extra_special_tokens=list(SPECIAL_TOKENS))
