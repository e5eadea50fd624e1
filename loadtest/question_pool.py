"""Questions made ahead of the clock, in worker processes, and kept in files: what is sent later is only read.

An entry is the JSON of one conversation's first message; a client process puts the request together around it.
"""

import base64
import contextlib
import multiprocessing
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import orjson

from loadtest.errors import LoadTestError
from loadtest.scenario import Ask, Scenario
from loadtest.words import WORDS, text

_GROUNDS = 24  # different photos at most, in each kind; the rest are cut-outs of them
_DEADLINE_S = 900.0


@dataclass(frozen=True)
class QuestionEntry:
    """Where one first message is, and of which kind it is."""

    kind: str
    file: str
    offset: int
    length: int


@dataclass(frozen=True)
class _Batch:
    """What one worker makes: the first messages of ``count`` conversations of one kind, numbered from ``first``."""

    kind: str
    ask: Ask
    first: int
    count: int
    seed: int
    file: str
    words: Sequence[str]


def deal(scenario: Scenario, count: int, seed: int) -> list[str]:
    """The kind of each of ``count`` conversations, in order: drawn by weight, so that a mix is mixed at any time."""
    kinds = list(scenario.kinds)
    weights = [weight for _, weight in scenario.kinds.values()]
    return random.Random(f"deal {seed}").choices(kinds, weights, k=count)


def make(
    scenario: Scenario,
    count: int,
    seed: int,
    folder: Path,
    progress: Callable[[int, int], None] = lambda *_: None,
    words: Sequence[str] = WORDS,
) -> list[QuestionEntry]:
    """``count`` first messages in files below ``folder``; ``progress`` is told how many there are, of how many.

    Raises LoadTestError if they are not made in time.
    """
    order = deal(scenario, count, seed)
    batches = []
    for kind, (ask, _) in scenario.kinds.items():
        batches += _batches(kind, ask, order.count(kind), seed, folder, words)
    made: dict[str, list[tuple[int, QuestionEntry]]] = {kind: [] for kind in scenario.kinds}
    done = 0
    if all(ask.images is None for ask, _ in scenario.kinds.values()):  # not worth a process
        for batch in batches:
            made[batch.kind] += _numbered(batch, _make(batch))
        return _in_order(order, made)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=context) as workers:
        futures: dict[Future[list[int]], _Batch] = {workers.submit(_make, batch): batch for batch in batches}
        try:
            for future in as_completed(futures, timeout=_DEADLINE_S):
                batch = futures[future]
                made[batch.kind] += _numbered(batch, future.result())
                done += batch.count
                progress(done, count)
        except TimeoutError:
            raise LoadTestError(f"the questions were not made within {_DEADLINE_S:.0f} s") from None
        finally:
            workers.shutdown(wait=False, cancel_futures=True)
    return _in_order(order, made)


def _numbered(batch: _Batch, lengths: list[int]) -> Iterator[tuple[int, QuestionEntry]]:
    offset = 0
    for number, length in enumerate(lengths, batch.first):
        yield number, QuestionEntry(batch.kind, batch.file, offset, length)
        offset += length


def _in_order(order: list[str], made: dict[str, list[tuple[int, QuestionEntry]]]) -> list[QuestionEntry]:
    rows = {kind: iter([entry for _, entry in sorted(found, key=lambda one: one[0])]) for kind, found in made.items()}
    return [next(rows[kind]) for kind in order]


def _batches(kind: str, ask: Ask, count: int, seed: int, folder: Path, words: Sequence[str]) -> list[_Batch]:
    """Of about equal size; never more than one ground has variants."""
    if not count:
        return []
    pieces = min(_GROUNDS, (count + 7) // 8)
    if ask.images is not None:
        from loadtest import pictures  # not above: numpy takes time that no process of clients has to spend

        pieces = max(pieces, -(-count * ask.images.count // (2 * pictures.MARGIN**2)))
        if ask.images.distinct:
            pieces = 1  # all questions are about the same few pictures
    bounds = [count * number // pieces for number in range(pieces + 1)]
    return [
        _Batch(kind, ask, start, end - start, seed * 1000 + number, str(folder / f"{kind}-{number}.bin"), words)
        for number, (start, end) in enumerate(pairwise(bounds))
    ]


def _make(batch: _Batch) -> list[int]:
    """Write one batch; the lengths of its entries."""
    dice = random.Random(f"{batch.kind} {batch.seed}")
    urls = iter(_urls(batch))
    lengths = []
    with open(batch.file, "wb") as file:
        for _ in range(batch.count):
            content: list[dict[str, object]] = [
                {"type": "image_url", "image_url": {"url": next(urls)}}
                for _ in range(batch.ask.images.count if batch.ask.images else 0)
            ]
            content.append({"type": "text", "text": text(batch.ask.text_tokens, dice, batch.words)})
            lengths.append(file.write(orjson.dumps({"role": "user", "content": content})))
    return lengths


def _urls(batch: _Batch) -> Iterable[str]:
    images = batch.ask.images
    if images is None:
        return []
    from loadtest import pictures

    wanted = batch.count * images.count
    count = min(images.distinct, wanted) or wanted
    made = map(_url, pictures.variants(images.style, images.width, images.height, images.quality, batch.seed, count))
    if not images.distinct:
        return made
    few = list(made)
    return [few[number % len(few)] for number in range(wanted)]


def _url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


class QuestionReader:
    """Reads entries; keeps their files open."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}

    def read(self, entry: QuestionEntry) -> bytes:
        descriptor = self._files.get(entry.file)
        if descriptor is None:
            descriptor = self._files[entry.file] = os.open(entry.file, os.O_RDONLY)
        return os.pread(descriptor, entry.length, entry.offset)

    def close(self) -> None:
        for descriptor in self._files.values():
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._files.clear()
