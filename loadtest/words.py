"""Text for questions: common words, most of them one token to any tokenizer of English, or a tokenizer's own; pure."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from loadtest.errors import WrongUsage

_TEXT = (
    "the of and to in is that it was for on are as with they at be this from have or by one had not but what all were when we"
    " there can an your which their said if do will each about how up out them then she many some so these would other into has"
    " more her two like him see time could no make than first been its who now people my made over did down only way find use may"
    " water long little very after words called just where most know get through back much go good new write our me man too any"
    " day same right look think also around another came come work three must because does part even place well such here take"
    " why help put different away again off went old number great tell men say small every found still between name should home"
    " big give air line set own under read last never us left end along while might next sound below saw something thought both"
    " few those always show large often together asked house world going want school important until form food keep children"
)
WORDS = tuple(_TEXT.split())


def text(tokens: int, dice: random.Random, words: Sequence[str] = WORDS) -> str:
    """About ``tokens`` tokens in random order, so that no two texts begin alike for long."""
    return " ".join(dice.choices(words, k=max(1, tokens - 1))) + "?"


def of_tokenizer(path: Path, most: int = 2000) -> list[str]:
    """Words that are one token each to the tokenizer of a tokenizer.json (byte-level BPE), for one that knows no English.

    Raises WrongUsage if it has none.
    """
    try:
        vocabulary = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
        found = [
            token[1:] for token in vocabulary if token.startswith("Ġ") and token[1:].isascii() and token[1:].isalpha()
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WrongUsage(f"{path} is no tokenizer.json: {error!r}") from None
    if not found:
        raise WrongUsage(f"{path} has no tokens that are whole words")
    return found[:: max(1, len(found) // most)][:most]
