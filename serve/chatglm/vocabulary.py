"""Reads GLM-4's vocabulary, a list of byte strings and ranks; never guesses what a broken line meant."""

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path

# The order is the published one: each takes the next id after the last rank (151329 and on in glm-4v-9b).
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
)

# How text is cut before byte pairs are merged (the same pattern as OpenAI's cl100k_base).
SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class PrepareError(Exception):
    """A folder cannot be prepared; the text says what to do. The tree of its kinds is in folder.py."""


class VocabularyBroken(PrepareError):
    """`tokenizer.model` is not a complete list of tokens and ranks."""


def parse_ranks(lines: Iterable[str]) -> dict[bytes, int]:
    """Token bytes → rank, from lines of `base64 rank`. The ranks are 0, 1, 2, … and every single byte is a token.

    Raises VocabularyBroken, with the line's number, for anything else: a lost line would move every later token.
    """
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(lines, start=1):
        encoded, separator, rank = line.rstrip("\r\n").partition(" ")
        try:
            token = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            token = b""
        if not token or not separator or rank != str(number - 1):
            raise VocabularyBroken(_broken(f"line {number} is not a base64 token, a space and the rank {number - 1}"))
        if token in ranks:
            raise VocabularyBroken(_broken(f"line {number} repeats the token of line {ranks[token] + 1}"))
        ranks[token] = number - 1
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise VocabularyBroken(_broken(f"{len(missing)} of the 256 single bytes are missing"))
    return ranks


def read_ranks(path: Path) -> dict[bytes, int]:
    """`parse_ranks` of a file. Raises VocabularyBroken, also for a file that is not ASCII text."""
    try:
        with path.open(encoding="ascii") as lines:
            return parse_ranks(lines)
    except UnicodeDecodeError as error:
        raise VocabularyBroken(_broken("it is not ASCII text (a Git LFS pointer or a SentencePiece model?)")) from error


def special_ids(ranks: dict[bytes, int]) -> dict[str, int]:
    """Special token → id: they follow the last rank in the order of SPECIAL_TOKENS."""
    return {token: len(ranks) + place for place, token in enumerate(SPECIAL_TOKENS)}


def _broken(reason: str) -> str:
    return f"tokenizer.model: {reason}. Fetch the file again from where the model was published."
