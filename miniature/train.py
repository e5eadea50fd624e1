"""Trains the miniature on one GPU in minutes: `python -m miniature.train --help`; judges nothing."""

import argparse
import json
import math
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Glm4vForConditionalGeneration

from miniature import model_config, tokenizer
from miniature.data_loader import READING, SHARES, SKILLS, Batch, Feed
from miniature.muon import Muon
from miniature.network import Network

WARM = 0.02
REPORT_S = 15.0
FULL_ROWS = 256


@dataclass
class Loaded:
    """A batch on the device."""

    kind: str
    pictures: Tensor | None
    ids: Tensor
    places: Tensor
    weights: Tensor
    skills: Tensor


def load(batch: Batch, device: torch.device) -> Loaded:
    """Copy a batch to the device."""
    pictures = torch.from_numpy(batch.pictures).to(device) if batch.kind.pictures else None
    ids, places, weights, skills = (
        torch.from_numpy(part).to(device) for part in (batch.ids, batch.places, batch.weights, batch.skills)
    )
    return Loaded(batch.kind.name, pictures, ids.long(), places.long(), weights.float(), skills.long())


def loaded(feed: Feed, device: torch.device, ahead: int = 4) -> Iterator[Loaded]:
    """Batches on the device, copied by a thread while the GPU computes."""
    ready: queue.Queue[Loaded] = queue.Queue(ahead)

    def copy() -> None:
        stream = torch.cuda.Stream() if device.type == "cuda" else None
        for batch in feed.batches():
            with torch.cuda.stream(stream):
                one = load(batch, device)
            if stream:
                stream.synchronize()
            ready.put(one)

    threading.Thread(target=copy, daemon=True).start()
    while True:
        one = ready.get(timeout=300)
        if device.type == "cuda":
            for part in (one.pictures, one.ids, one.places, one.weights, one.skills):
                if part is not None:
                    part.record_stream(torch.cuda.current_stream())
        yield one


def optimizers(model: torch.nn.Module, rate: float, kind: str) -> list[torch.optim.Optimizer]:
    """AdamW for all, or Muon for the matrices of the layers and AdamW for the rest."""
    matrices, others, bare = [], [], []
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and "embed" not in name and kind == "muon":
            matrices.append(weight)
        elif weight.ndim >= 2:
            others.append(weight)
        else:
            bare.append(weight)
    groups = [{"params": others, "weight_decay": 0.05}, {"params": bare, "weight_decay": 0.0}]
    on_gpu = next(model.parameters()).is_cuda
    made: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.97), fused=on_gpu)]
    if matrices:
        made.append(Muon(matrices, rate, weight_decay=0.05))
    return made


def rate_at(done: float, decay: float) -> float:
    """The share of the full rate at a share of the run: up, level, then straight down over the last `decay`."""
    if done < WARM:
        return done / WARM
    return min(1.0, max(0.0, (1 - done) / decay))


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch types it so
def exact(network: Network, one: Loaded, rows: int = 64) -> dict[str, tuple[int, int]]:
    """By skill, how many answers the model would give exactly, and of how many.

    An answer is exact if each of its tokens is the likeliest after the true ones before it: what greedy decoding gives.
    """
    per_row = 0 if one.pictures is None else one.pictures.shape[0] // one.ids.shape[0]
    seen = None if one.pictures is None else network.see(one.pictures[: rows * per_row])
    ids, weights, skills = one.ids[:rows], one.weights[:rows, 1:], one.skills[:rows, 1:]
    hidden = network.hidden(ids, one.places[:rows], seen)[:, :-1]
    learnt = weights > 0
    guess = torch.nn.functional.linear(hidden[learnt], network.model.model.language_model.embed_tokens.weight).argmax(
        -1
    )
    right = torch.zeros_like(learnt)
    right[learnt] = guess == ids[:, 1:][learnt]
    before = torch.nn.functional.pad(learnt, (1, 0))[:, :-1]
    number = (learnt & ~before).flatten().cumsum(0)[learnt.flatten()] - 1
    count = int(number.max()) + 1
    whole = torch.ones(count, dtype=torch.long, device=ids.device)
    whole.scatter_reduce_(0, number, right[learnt].long(), "amin")
    skill = torch.zeros(count, dtype=torch.long, device=ids.device)
    skill.scatter_reduce_(0, number, skills[learnt], "amax", include_self=False)
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for kind, good in zip(skill.tolist(), whole.tolist(), strict=True):
        totals[SKILLS[kind]][0] += good
        totals[SKILLS[kind]][1] += 1
    return {name: (good, of) for name, (good, of) in totals.items()}


def save(model: Any, base: Path, out: Path) -> None:
    """Write a whole checkpoint folder, weights in bf16."""
    config = model_config.write_folder(out, tokenizer.load(base))
    copy = Glm4vForConditionalGeneration(config)
    copy.load_state_dict(model.state_dict())
    model_config.write_weights(out, copy)
    model_config.write_folder(out, tokenizer.load(base))


def train(options: argparse.Namespace) -> None:
    """One run; see the options."""
    start = time.monotonic()
    feed = Feed(
        options.base / "tokenizer.json",
        options.fonts,
        options.seed,
        options.workers,
        options.workers + 10,
        tuple(options.shares),
        options.reading,
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    config = model_config.configuration(tokenizer.load(options.base))
    if options.resume:
        # The shape is today's: the weights fit any length of the context.
        model = Glm4vForConditionalGeneration.from_pretrained(options.resume, config=config, dtype=torch.float32)
        rest = torch.load(options.resume / "rest.pt") if (options.resume / "rest.pt").is_file() else {}
        for name, weight in model.state_dict().items():
            weight += rest[name].float() if name in rest else 0.0
    else:
        model = model_config.untrained(config, options.seed)
    model = model.to(device)
    network = Network(model, compiled=device.type == "cuda" and not options.eager)
    watched = Network(model)
    steppers = optimizers(model, options.rate, options.optimizer)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    batches = loaded(feed, device)
    autocast = torch.autocast(device.type, torch.bfloat16)
    step, rows, told, losses = 0, 0, time.monotonic(), []
    tally: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    begun = time.monotonic()
    while (done := (time.monotonic() - begun) / options.seconds) < 1:
        for _ in range(options.join):
            one = next(batches)
            with autocast:
                total, weight = network.loss(one.pictures, one.ids, one.places, one.weights)
            # A batch of few rows is a rough guess at the way down: it pushes less.
            push = (len(one.ids) / FULL_ROWS) ** 0.25
            (total / weight * push / options.join).backward()
            losses.append((total / weight).detach())
            rows += len(one.ids)
        norm = torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for stepper in steppers:
            for group in stepper.param_groups:
                group["lr"] = options.rate * rate_at(done, options.decay)
            stepper.step()
            stepper.zero_grad(set_to_none=True)
        step += 1
        if step % 25 == 0:
            with autocast:
                for name, (good, of) in exact(watched, one).items():
                    tally[name][0] += good
                    tally[name][1] += of
        if time.monotonic() - told > REPORT_S or step == 1:
            loss = float(torch.stack(losses).mean())
            if not math.isfinite(loss):
                raise ArithmeticError(f"the loss is {loss} at step {step}: lower --rate")
            shares = {name: f"{good / of:.3f}" for name, (good, of) in sorted(tally.items())}
            took = time.monotonic() - told
            print(
                f"{time.monotonic() - start:6.1f} s  step {step}  loss {loss:.4f}  norm {float(norm):.2f}"
                f"  rows/s {rows / took:.0f}  {json.dumps(shares)}",
                flush=True,
            )
            told, rows, losses = time.monotonic(), 0, []
            tally.clear()
    save(model, options.base, options.out)
    # What bf16 cut off, for a run that goes on from here.
    rest = {name: weight.cpu() - weight.cpu().bfloat16().float() for name, weight in model.state_dict().items()}
    torch.save(
        {name: weight.bfloat16() for name, weight in rest.items() if name != "lm_head.weight"}, options.out / "rest.pt"
    )
    print(f"{time.monotonic() - start:6.1f} s  {step} steps, saved", flush=True)
    feed.close()


def main() -> None:
    """Read the options and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="folder with tokenizer.json (see vocabulary.py)")
    parser.add_argument("--fonts", type=Path, required=True, help="folder of .ttf files to train reading with")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint folder to write")
    parser.add_argument("--resume", type=Path, default=None, help="checkpoint folder to go on from")
    parser.add_argument("--seconds", type=float, default=500, help="how long to train, compilation included")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--decay", type=float, default=0.4, help="share of the run over which the rate falls")
    parser.add_argument("--optimizer", choices=("adamw", "muon"), default="muon")
    parser.add_argument("--join", type=int, default=2, help="batches to a step")
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument(
        "--shares", type=float, nargs=len(SHARES), default=SHARES, help="of the kinds of batches, see feed.py"
    )
    parser.add_argument("--reading", type=float, default=READING, help="share of texts among single pictures")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
