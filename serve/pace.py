"""How much prefill and image encoding one step of an engine may hold, so that no answer waits longer than a target.

Pure arithmetic: imports no vLLM, reads no clock and no request. ``serve.paced_scheduler`` asks it before every step.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

# A step holds this many tokens of prompts whatever they cost: without a floor, prompts would stand still beside many answers.
LEAST_TOKENS = 64
# How much one step's time changes what is known, and how far a single step (a pause of the machine) can pull.
_LEARNS = 0.05
_FURTHEST = 2.0
# A step with less prefill than this says nothing of its price: the rest of the step varies by as much.
_TELLING_MS = 3.0


@dataclass(frozen=True)
class Costs:
    """What a step takes, in milliseconds: ``base`` whatever it holds, and so much for each running sequence, each prompt
    token, each embedding of an image (which is a token of its prompt too) and each image. The defaults are estimates for
    GLM-4.6V-Flash in fp8 on one H200 (docs/decisions/0069)."""

    base: float = 4.5
    sequence: float = 0.018
    token: float = 0.0155
    embedding: float = 0.0132
    image: float = 0.0

    def answers(self, sequences: int) -> float:
        """Milliseconds of a step in which ``sequences`` answers get a token each."""
        return self.base + self.sequence * sequences

    def prefill(self, tokens: int, embeddings: int, images: int) -> float:
        """Milliseconds that prompts add to a step."""
        return self.token * tokens + self.embedding * embeddings + self.image * images


@dataclass(frozen=True)
class Prompt:
    """What is left of one prompt: ``tokens``, and for each image that is to be encoded the number of tokens before it and of
    its embeddings. Images are in the prompt's order and do not overlap."""

    tokens: int
    images: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Budget:
    """Of one step: tokens of prompts, embeddings of images, and how many images those are."""

    tokens: int
    embeddings: int
    images: int = 0


def plan(room_ms: float, costs: Costs, prompts: Iterable[Prompt]) -> Budget:
    """What of ``prompts``, in their order, a step may hold within ``room_ms``.

    It takes no longer than ``room_ms``, but for two things: it holds ``LEAST_TOKENS`` whatever they cost, and an image of any size
    where next to nothing else of prompts is in the step. More room never means less of anything.
    """
    tokens = embeddings = images = 0
    for prompt in prompts:
        done = 0
        for before, size in (*prompt.images, (prompt.tokens, 0)):
            fits = int((room_ms - costs.prefill(0, embeddings, images)) / costs.token)
            wanted = max(before - done, 0)
            taken = max(min(wanted, max(fits, LEAST_TOKENS) - tokens), 0)
            tokens, done = tokens + taken, done + taken
            if taken < wanted:
                return Budget(tokens, embeddings, images)
            alone = tokens < LEAST_TOKENS and not images
            if size and not alone and costs.prefill(tokens, embeddings + size, images + 1) > room_ms:
                return Budget(tokens, embeddings, images)
            embeddings, images = embeddings + size, images + bool(size)
    return Budget(tokens, embeddings, images)


@dataclass
class Speed:
    """How much slower than ``costs`` this machine is: 1.0 is as fast. Learned from steps, answers and prefill apart."""

    costs: Costs
    answers: float = 1.0
    prefill: float = 1.0

    def now(self) -> Costs:
        """The costs as they are on this machine."""
        slower = self.prefill
        return Costs(
            self.costs.base * self.answers,
            self.costs.sequence * self.answers,
            self.costs.token * slower,
            self.costs.embedding * slower,
            self.costs.image * slower,
        )

    def learn(self, sequences: int, held: Budget, took_ms: float) -> None:
        """A step of ``sequences`` (prompts among them) that held ``held`` took ``took_ms``."""
        expected = self.costs.answers(sequences)
        added = self.costs.prefill(held.tokens, held.embeddings, held.images)
        if not held.tokens:
            self.answers = _nearer(self.answers, took_ms / expected)
        elif added >= _TELLING_MS:
            self.prefill = _nearer(self.prefill, (took_ms - expected * self.answers) / added)


def _nearer(known: float, seen: float) -> float:
    return known + _LEARNS * (min(max(seen, known / _FURTHEST), known * _FURTHEST) - known)


@dataclass(frozen=True)
class Pace:
    """``target_ms``: how long a step may take while answers wait for it. ``learn``: whether steps correct ``costs``."""

    target_ms: float = 45.0
    costs: Costs = field(default_factory=Costs)
    learn: bool = True

    def between(self, answering: int, sequences: int, prompts: Iterable[Prompt], speed: Speed) -> Budget | None:
        """What the next step may hold; None if nobody waits for a token, so that it may hold all that it can."""
        if not answering:
            return None
        costs = speed.now()
        return plan(self.target_ms - costs.answers(sequences), costs, prompts)


def read(text: str) -> Pace:
    """A pace from JSON: ``{"target_ms": 45, "learn": true, "base": 4.5, ...}``, every name optional; "" for the defaults.

    Raises ValueError naming what is wrong and what was expected.
    """
    try:
        given: Any = json.loads(text or "{}")
    except ValueError as error:
        raise ValueError(f"VITRINE_PACE = {text!r} is no JSON ({error}); write an object of numbers") from None
    if not isinstance(given, dict):
        raise ValueError(f"VITRINE_PACE = {text!r}: expected an object of numbers")
    learn = given.pop("learn", True)
    if not isinstance(learn, bool):
        raise ValueError(f"VITRINE_PACE: learn = {learn!r}: expected true or false")
    known = {"target_ms", *Costs.__dataclass_fields__}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"VITRINE_PACE: unknown name {name!r}; expected one of {', '.join(sorted(known))}, learn")
        least = 0 if name in ("sequence", "embedding", "image") else 0.0001
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= 10_000:
            raise ValueError(f"VITRINE_PACE: {name} = {value!r}: expected milliseconds, {least:g} to 10000")
    target_ms = given.pop("target_ms", Pace.target_ms)
    return Pace(target_ms, replace(Costs(), **given), learn)
