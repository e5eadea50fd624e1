"""Makes the tokenizer's words from the conversations themselves: `python -m miniature.vocabulary FOLDER`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from miniature import dialogue
from miniature.conversation import spans
from miniature.drawing import load_fonts
from miniature.model_config import write_folder
from miniature.tokenizer import build

SEED = 20
CONVERSATIONS = 6000
# Names made up by chance do not repeat often enough to become words of their own.
SIZE_TOKENS = 2400
SIZE_PX = (336, 336)


def texts(seed: int, count: int) -> Iterator[str]:
    """The texts of `count` conversations of every kind."""
    random = Random(seed)
    fonts = load_fonts(Path(), (32,))
    for number in range(count):
        if number % 6 == 0:
            sample = dialogue.pair_sample(random, SIZE_PX)
        elif number % 6 == 1:
            sample = dialogue.scene_sample(random, SIZE_PX)
        elif number % 6 == 2:
            sample = dialogue.counting_sample(random, SIZE_PX, fonts)
        elif number % 6 == 3:
            sample = dialogue.text_sample(random, SIZE_PX, fonts)
        else:
            sample = dialogue.talk_sample(random)
        yield "".join(piece.text for piece in spans(sample.conversation))


def main() -> None:
    """Write tokenizer, configuration, template and processor files into a checkpoint folder."""
    write_folder(Path(sys.argv[1]), build(texts(SEED, CONVERSATIONS), SIZE_TOKENS))


if __name__ == "__main__":
    main()
