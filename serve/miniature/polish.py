"""Goes on training the text half on the CPU: copying names, with pictures mixed in; never moves the vision half."""

import argparse
import time
from pathlib import Path
from random import Random

import numpy as np
import torch
from transformers import Glm4vForConditionalGeneration

from serve.miniature import dialogue, errands, tokenizer
from serve.miniature.conversation import Conversation
from serve.miniature.drawing import load_fonts
from serve.miniature.feed import CELL_PX, FONT_SIZES_PX, KINDS, Coder, Row, encode, sample_of
from serve.miniature.network import Network
from serve.miniature.train import rate_at, save
from serve.miniature.words import LANGUAGES

GRID = (12, 12)
TALKS, ERRANDS, PICTURES = 4, 24, 3
MOST_TOKENS = 180


def padded(rows: list[Row]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids (rows, tokens), places (rows, 3, tokens) and weights (rows, tokens) of rows of different lengths."""
    longest = max(len(row.ids) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    places = torch.zeros(len(rows), 3, longest, dtype=torch.long)
    weights = torch.zeros(len(rows), longest)
    for number, row in enumerate(rows):
        length = len(row.ids)
        ids[number, :length] = torch.tensor(row.ids)
        places[number, :, :length] = torch.from_numpy(row.places.astype(np.int64))
        weights[number, :length] = torch.tensor(row.weights)
    return ids, places, weights


def _texts(random: Random, coder: Coder) -> list[Row]:
    rows: list[Row] = []
    while len(rows) < TALKS + ERRANDS:
        if len(rows) < TALKS:
            conversation = dialogue.talk_sample(random).conversation
        else:
            tools, turn = errands.errand(random, random.choice(LANGUAGES))
            conversation = Conversation([turn], "", tools, random.random() < 0.4)
        row = encode(coder, conversation, GRID)
        if len(row.ids) <= MOST_TOKENS:
            rows.append(row)
    return rows


def polish(options: argparse.Namespace) -> None:
    """One run; see the options."""
    random = Random(options.seed)
    coder = Coder(tokenizer.load(options.checkpoint))
    model = Glm4vForConditionalGeneration.from_pretrained(options.checkpoint, dtype=torch.float32)
    rest = torch.load(options.rest) if options.rest else {}
    for name, weight in model.state_dict().items():
        weight += rest[name].float() if name in rest else 0.0
    model.model.visual.requires_grad_(False)
    network = Network(model)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    stepper = torch.optim.AdamW(weights, lr=options.rate, betas=(0.9, 0.98), weight_decay=0.01)
    fonts = load_fonts(options.fonts, FONT_SIZES_PX)
    begun, step = time.monotonic(), 0
    sums = [0.0, 0.0]
    while (done := (time.monotonic() - begun) / options.seconds) < 1:
        kind = random.choices(KINDS[:3], (6, 2, 2))[0]
        samples = [sample_of(random, kind, GRID, fonts, 0.3) for _ in range(PICTURES if kind.pictures == 1 else 1)]
        pictures = np.stack([np.asarray(picture) for sample in samples for picture in sample.pictures])
        assert pictures.shape[1:3] == (GRID[0] * CELL_PX, GRID[1] * CELL_PX)
        rows = [encode(coder, sample.conversation, GRID) for sample in samples]
        with torch.autocast("cpu", torch.bfloat16):
            text, count = network.loss(None, *padded(_texts(random, coder)))
            with torch.no_grad():
                seen = network.see(torch.from_numpy(pictures))
            shown, weight = network.loss_seen(seen, *padded(rows))
        (text / count + 0.5 * shown / weight).backward()
        sums[0] += float(text.detach() / count)
        sums[1] += float(shown.detach() / weight)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        stepper.param_groups[0]["lr"] = options.rate * rate_at(done, 0.6)
        stepper.step()
        stepper.zero_grad(set_to_none=True)
        step += 1
        if step % 20 == 0:
            print(
                f"{time.monotonic() - begun:6.1f} s  step {step}  text {sums[0] / 20:.4f}  pictures {sums[1] / 20:.4f}",
                flush=True,
            )
            sums = [0.0, 0.0]
    save(model, options.checkpoint, options.out)


def main() -> None:
    """Read the options and go on training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--rest", type=Path, default=None, help="rest.pt of the run that wrote the checkpoint")
    parser.add_argument("--fonts", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=500)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--rate", type=float, default=3e-4)
    polish(parser.parse_args())


if __name__ == "__main__":
    main()
