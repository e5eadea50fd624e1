"""vLLM's scheduler with steps sized by time: prompts and images get what is left of a step after the answers that wait for it.

A profile names it with ``scheduler-cls`` and may give its costs in the environment as ``VITRINE_PACE`` (``serve.pace.read``). It
changes how much of a prompt a step holds. It changes neither the order of requests nor their answers. vLLM loads it in the engine's
core. It imports vLLM, so nothing else of ``serve`` imports it. Written for vllm/v1/core/sched/scheduler.py of 0.32.
"""

import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.engine import EngineCoreOutputs
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request

from serve import pace


class PacedScheduler(AsyncScheduler):  # type: ignore[misc]  # vLLM is untyped where it is not installed
    """Sets vLLM's two budgets, of tokens and of image embeddings, anew for every step."""

    max_num_scheduled_tokens: int
    max_num_encoder_input_tokens: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pace = pace.read(os.environ.get("VITRINE_PACE", ""))
        self.speed = pace.Speed(self.pace.costs)
        self._stuck = False  # prompts waited for the last step, and it held nothing of them
        # What was started and not ended yet: at most as many steps as vLLM has in flight.
        self._started: deque[tuple[SchedulerOutput, float, pace.Budget | None]] = deque()
        self._ended = 0.0

    def schedule(self, throttle_prefills: bool = False) -> SchedulerOutput:
        """As vLLM's, with what ``pace.plan`` allows. Budgets are vLLM's own again when it returns."""
        most_tokens, most_embeddings = self.max_num_scheduled_tokens, self.max_num_encoder_input_tokens
        # Answers first: behind a prompt that takes all that the step allows they would get no token.
        self.running.sort(key=_is_prefilling)
        answering = {request.request_id for request in self.running if not _is_prefilling(request)}
        prompts = list(self._prompts(most_tokens))
        budget = self.pace.between(len(answering), len(answering), prompts, self.speed)
        if budget is not None:
            largest = max((size for _, size in prompts[0].images), default=0) if prompts else 0
            if self._stuck and largest > budget.embeddings:
                # The plan doesn't know what vLLM finds in its cache of prefixes: the image that it made room for may need no
                # encoding, and the next one of the same prompt may be larger.
                budget = pace.Budget(pace.LEAST_TOKENS, largest)
            owed = sum(_owed(request) for request in self.running if not _is_prefilling(request))
            self.max_num_scheduled_tokens = min(most_tokens, owed + budget.tokens)
            self.max_num_encoder_input_tokens = min(most_embeddings, budget.embeddings)
        try:
            output = super().schedule(throttle_prefills)
        finally:
            self.max_num_scheduled_tokens, self.max_num_encoder_input_tokens = most_tokens, most_embeddings
        self._stuck = bool(prompts) and answering >= output.num_scheduled_tokens.keys()
        self._started.append((output, time.monotonic(), self._held(output, answering)))
        return output

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        """As vLLM's; learns from how long the step took."""
        now = time.monotonic()
        while self._started:
            output, began, held = self._started.popleft()
            if output is scheduler_output:
                # A step begins when the one before it ends, or later.
                took_ms = (now - max(began, self._ended)) * 1000
                if self.pace.learn and held is not None and output.total_num_scheduled_tokens:
                    self.speed.learn(len(output.num_scheduled_tokens), held, took_ms)
                break
        self._ended = now
        outputs: dict[int, EngineCoreOutputs] = super().update_from_output(scheduler_output, model_runner_output)
        return outputs

    def _prompts(self, most_tokens: int) -> Iterator[pace.Prompt]:
        """Those that vLLM will look at, in its order, until they are more than a step can hold."""
        waiting = (
            request
            for request in chain(self.kv_holding_waiting, self.waiting)
            if not self._is_blocked_waiting_status(request.status)
        )
        for request in chain(filter(_is_prefilling, self.running), waiting):
            prompt = self._left_of(request)
            yield prompt
            most_tokens -= prompt.tokens
            if most_tokens <= 0:
                return

    def _left_of(self, request: Request) -> pace.Prompt:
        done = request.num_computed_tokens
        images = []
        for number, feature in enumerate(request.mm_features or ()):
            place = feature.mm_position
            cached = self.encoder_cache_manager.get_cached_num_encoder_embeds(request, number) is not None
            if place.offset + place.length > done and not cached:
                images.append((max(place.offset - done, 0), place.get_num_embeds()))
        return pace.Prompt(max(request.num_tokens - done, 1), tuple(images))

    def _held(self, output: SchedulerOutput, answering: set[str]) -> pace.Budget | None:
        """What of prompts the step holds; None if an image in it is longer than a target, whose encoding follows another law: its
        attention grows with its square."""
        tokens = sum(number for name, number in output.num_scheduled_tokens.items() if name not in answering)
        held = pace.Budget(tokens, 0)
        costs = self.speed.now()
        for name, numbers in output.scheduled_encoder_inputs.items():
            for number in numbers:
                size = self.requests[name].get_num_encoder_embeds(number)
                if costs.prefill(0, size, 1) > self.pace.target_ms:
                    return None
                held = replace(held, embeddings=held.embeddings + size, images=held.images + 1)
        return held


def _is_prefilling(request: Request) -> bool:
    return bool(request.is_prefill_chunk)


def _owed(request: Request) -> int:
    """Tokens of an answer's next step: one, and those that were guessed ahead."""
    ahead = request.num_tokens_with_spec + request.num_output_placeholders - request.num_computed_tokens
    return max(int(ahead), 0)
