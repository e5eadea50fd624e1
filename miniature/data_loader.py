"""Fills batches of one shape each in worker processes, into memory that all of them share; trains nothing."""

import mmap
import multiprocessing
import re
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from miniature import dialogue
from miniature.conversation import Conversation, spans
from miniature.drawing import load_fonts
from miniature.tokenizer import PIECES

CELL_PX = 28
# Height and width in cells, and how often. Square pictures come first; all have about the same area.
GRIDS = ((12, 12), (10, 14), (14, 10), (9, 16), (16, 9), (11, 14), (14, 11))
GRID_WEIGHTS = (62, 8, 6, 7, 5, 7, 5)
MOST_CELLS = 154
SKILLS = (
    "other",
    "describe",
    "question",
    "locate",
    "json",
    "read",
    "describe text",
    "compare",
    "tool",
    "result",
    "refuse",
    "identity",
    "no picture",
    "unclear",
    "form",
    "instruction",
    "continued",
    "mixed",
)
FONT_SIZES_PX = (22, 26, 30, 36, 42, 50, 58, 68, 80, 96, 112)


@dataclass(frozen=True)
class TrainingKind:
    """A kind of batch: rows, tokens in a row, pictures in a row, and how often it is made."""

    name: str
    rows: int
    tokens: int
    pictures: int
    share: float


KINDS = (
    TrainingKind("one picture", 256, 448, 1, 68),
    TrainingKind("two pictures", 128, 576, 2, 10),
    TrainingKind("picture and tools", 128, 448, 1, 8),
    TrainingKind("talk", 256, 384, 0, 14),
    TrainingKind("form", 128, 768, 1, 0),
    TrainingKind("some tools", 64, 2048, 1, 0),
    TrainingKind("long", 16, 10240, 1, 0),
    TrainingKind("longest", 4, 30720, 1, 0),
    TrainingKind("long talk", 32, 4096, 0, 0),
)
# Of the kinds above, those whose prompts are filled with tools and instructions up to their length.
FILLED = ("some tools", "long", "longest", "long talk")
# What a token of a form counts that the grammar gives, such as a key.
GIVEN_WEIGHT = 0.12
# How often a word of a key is cut in two.
CUT = 0.4
# Shares of single pictures that cannot be made out, and that test manners (see manners.py).
UNCLEAR = 0.13
MANNERS = 0.15

SHARES = tuple(kind.share for kind in KINDS)
# The share of texts among single pictures.
READING = 0.3


@dataclass
class Batch:
    """`pictures` (n, height, width, 3) uint8 · `ids` and `weights` (rows, tokens) · `places` (rows, 3, tokens).

    `places` are the temporal, height and width positions; a token of weight 0 is not learnt. `skills` (rows, tokens)
    are numbers into `SKILLS`.
    """

    kind: TrainingKind
    grid: tuple[int, int]
    pictures: NDArray[np.uint8]
    ids: NDArray[np.int16]
    places: NDArray[np.int16]
    weights: NDArray[np.float16]
    skills: NDArray[np.int8]


class Coder:
    """The tokenizer's `encode`, remembered word by word: pieces never join, so the ids are the same and come faster."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        added = sorted(
            (token.content for token in tokenizer.get_added_tokens_decoder().values()), key=len, reverse=True
        )
        self._pieces = re.compile("|".join([*map(re.escape, added), PIECES]))
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}
        self.picture = int(tokenizer.token_to_id("<|image|>") or 0)

    def marked(
        self, text: str, marks: tuple[tuple[int, int], ...], random: Random | None = None
    ) -> tuple[list[int], list[bool]]:
        """The ids of a text, and which of them lie in a marked range of characters.

        With `random`, some words outside are cut in two: a grammar lets the likeliest beginning of a key through, which
        may be the token of a shorter key.
        """
        ids: list[int] = []
        inside: list[bool] = []
        at = 0
        for piece in self._pieces.findall(text):
            within = any(at < end and start < at + len(piece) for start, end in marks)
            if random and not within and len(piece) > 1 and piece.isalpha() and random.random() < CUT:
                here = random.randint(1, len(piece) - 1)
                found = self(piece[:here]) + self(piece[here:])
            else:
                found = self(piece)
            ids += found
            inside += [within] * len(found)
            at += len(piece)
        return ids, inside

    def __call__(self, text: str) -> list[int]:
        """The ids of a text."""
        known = self._known
        ids: list[int] = []
        for piece in self._pieces.findall(text):
            found = known.get(piece)
            if found is None:
                found = known[piece] = self._tokenizer.encode(piece, add_special_tokens=False).ids
            ids += found
        return ids


@dataclass
class TrainingRow:
    """A conversation in tokens: ids, the weight and the skill of each, and positions (3, tokens)."""

    ids: list[int]
    weights: list[float]
    skills: list[int]
    places: NDArray[np.int16]


def encode(
    coder: Coder, conversation: Conversation, grid: tuple[int, int], random: Random | None = None
) -> TrainingRow:
    """The conversation in tokens; every picture has `grid` = (height, width) cells. `random`: see `Coder.marked`."""
    cells = grid[0] * grid[1]
    ids: list[int] = []
    weights: list[float] = []
    skills: list[int] = []
    for piece in spans(conversation):
        skill = SKILLS.index(piece.skill)
        if piece.marks and piece.learn:
            tokens, inside = coder.marked(piece.text, piece.marks, random)
            weight = max(1, sum(inside)) ** -0.5
            ids += tokens
            weights += [weight if one else weight * GIVEN_WEIGHT for one in inside]
            skills += [skill] * len(tokens)
            continue
        tokens = coder(piece.text)
        # A short answer counts as much as a long one, or reading would drown in descriptions.
        weight = len(tokens) ** -0.5 if piece.learn else 0.0
        for token in tokens:
            repeat = cells if token == coder.picture else 1
            ids += [token] * repeat
            weights += [weight] * repeat
            skills += [skill] * repeat
    return TrainingRow(ids, weights, skills, positions(ids, coder.picture, grid))


def positions(ids: list[int], picture: int, grid: tuple[int, int]) -> NDArray[np.int16]:
    """Positions (3, tokens) as transformers and vLLM count them: a picture moves on by its longer side."""
    out = np.zeros((3, len(ids)), np.int16)
    down, across = np.divmod(np.arange(grid[0] * grid[1]), grid[1])
    here, at = 0, 0
    while at < len(ids):
        if ids[at] == picture:
            end = at + grid[0] * grid[1]
            out[0, at:end], out[1, at:end], out[2, at:end] = here, here + down, here + across
            here += max(grid)
        else:
            end = ids.index(picture, at) if picture in ids[at:] else len(ids)
            out[:, at:end] = np.arange(here, here + end - at)
            here += end - at
        at = end
    return out


def sample_of(
    random: Random, kind: TrainingKind, grid: tuple[int, int], fonts: dialogue.Fonts, reading: float = READING
) -> dialogue.Sample:
    """A sample for a batch of this kind; `reading` is the share of texts among single pictures."""
    size = (grid[1] * CELL_PX, grid[0] * CELL_PX)
    if kind.name == "one picture":
        chance = random.random()
        if chance < UNCLEAR:
            return dialogue.unclear_sample(random, size, fonts)
        if chance < UNCLEAR + MANNERS:
            return dialogue.manner_sample(random, size)
        if random.random() < reading:
            return dialogue.text_sample(random, size, fonts)
        return dialogue.scene_sample(random, size)
    if kind.name == "form":
        return dialogue.form_sample(random, size, fonts)
    if kind.name in FILLED:
        return dialogue.long_sample(random, size, kind.tokens, kind.pictures > 0)
    if kind.name == "two pictures":
        return dialogue.pair_sample(random, size)
    if kind.name == "picture and tools":
        return dialogue.counting_sample(random, size, fonts)
    return dialogue.talk_sample(random)


class Slot:
    """Room for one batch of any kind, in memory that forked processes share."""

    def __init__(self) -> None:
        tokens = max(kind.rows * kind.tokens for kind in KINDS)
        pictures = max(kind.rows * kind.pictures for kind in KINDS)
        self.pictures = np.frombuffer(mmap.mmap(-1, pictures * MOST_CELLS * CELL_PX * CELL_PX * 3), np.uint8)
        self.ids = np.frombuffer(mmap.mmap(-1, tokens * 2), np.int16)
        self.places = np.frombuffer(mmap.mmap(-1, tokens * 6), np.int16)
        self.weights = np.frombuffer(mmap.mmap(-1, tokens * 2), np.float16)
        self.skills = np.frombuffer(mmap.mmap(-1, tokens), np.int8)

    def batch(self, kind: TrainingKind, grid: tuple[int, int]) -> Batch:
        """The slot seen as a batch of this kind; it shares the slot's memory."""
        shape = (kind.rows * kind.pictures, grid[0] * CELL_PX, grid[1] * CELL_PX, 3)
        text = kind.rows * kind.tokens
        return Batch(
            kind,
            grid,
            self.pictures[: int(np.prod(shape))].reshape(shape),
            self.ids[:text].reshape(kind.rows, kind.tokens),
            self.places[: 3 * text].reshape(kind.rows, 3, kind.tokens),
            self.weights[:text].reshape(kind.rows, kind.tokens),
            self.skills[:text].reshape(kind.rows, kind.tokens),
        )


def fill(random: Random, batch: Batch, coder: Coder, fonts: dialogue.Fonts, reading: float = READING) -> None:
    """Fill every row of the batch."""
    row = 0
    while row < batch.kind.rows:
        sample = sample_of(random, batch.kind, batch.grid, fonts, reading)
        line = encode(coder, sample.conversation, batch.grid, random)
        length = len(line.ids)
        if length > batch.kind.tokens:
            continue
        batch.ids[row, :length], batch.ids[row, length:] = line.ids, 0
        batch.weights[row, :length], batch.weights[row, length:] = line.weights, 0
        batch.skills[row, :length], batch.skills[row, length:] = line.skills, 0
        batch.places[row, :, :length], batch.places[row, :, length:] = line.places, 0
        for number, picture in enumerate(sample.pictures):
            batch.pictures[row * batch.kind.pictures + number] = np.asarray(picture)
        row += 1


def _work(
    seed: int,
    tokenizer_file: str,
    fonts_folder: str,
    shares: tuple[float, ...],
    reading: float,
    slots: list[Slot],
    empty: "Queue[int]",
    full: "Queue[tuple[int, int, int]]",
) -> None:
    random = Random(seed)
    coder = Coder(Tokenizer.from_file(tokenizer_file))
    fonts = load_fonts(Path(fonts_folder), FONT_SIZES_PX)
    while True:
        slot = empty.get()
        kind = random.choices(range(len(KINDS)), shares)[0]
        grid = random.choices(range(len(GRIDS)), GRID_WEIGHTS)[0]
        fill(random, slots[slot].batch(KINDS[kind], GRIDS[grid]), coder, fonts, reading)
        full.put((slot, kind, grid))


class Feed:
    """Worker processes that keep slots filled; `close` ends them."""

    def __init__(
        self,
        tokenizer_file: Path,
        fonts_folder: Path,
        seed: int,
        workers: int,
        slots: int,
        shares: tuple[float, ...] = SHARES,
        reading: float = READING,
    ) -> None:
        context = multiprocessing.get_context("fork")
        self._slots = [Slot() for _ in range(slots)]
        self._empty: Queue[int] = context.Queue()
        self._full: Queue[tuple[int, int, int]] = context.Queue()
        for number in range(slots):
            self._empty.put(number)
        self._workers: list[BaseProcess] = [
            context.Process(
                target=_work,
                args=(
                    seed * 1000 + number,
                    str(tokenizer_file),
                    str(fonts_folder),
                    shares,
                    reading,
                    self._slots,
                    self._empty,
                    self._full,
                ),
                daemon=True,
            )
            for number in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def batches(self) -> Iterator[Batch]:
        """Batches without end; each is valid only until the next one is asked for."""
        while True:
            slot, kind, grid = self._full.get(timeout=300)
            yield self._slots[slot].batch(KINDS[kind], GRIDS[grid])
            self._empty.put(slot)

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.join(10)
