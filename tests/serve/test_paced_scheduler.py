"""The scheduler that paces, driven as vLLM's engine drives it: real requests and caches, a model that says one word."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from serve.pace import LEAST_TOKENS
from serve.profile import SCHEDULER
from tests.support.process import TOP

pytest.importorskip("torch", reason="the gateway's installation has no engine")

pytestmark = pytest.mark.process  # vLLM asks programs of the system

MODEL = TOP / "serve/checkpoint"
STEP, BLOCK = 8192, 16  # the encoder may have as many embeddings as a step has tokens
# Easy to reckon with: a millisecond a hundred tokens or embeddings, so that a photo of 600 takes 12.
PACE = {"target_ms": 30, "base": 4, "sequence": 0.1, "token": 0.01, "embedding": 0.01, "learn": False}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CACHE_ROOT", str(tmp_path_factory.mktemp("vllm")))
        patch.setenv("VLLM_PLUGINS", "")
        from vllm.engine.arg_utils import EngineArgs

        arguments = EngineArgs(
            model=str(MODEL),
            dtype="float32",
            max_model_len=16384,
            max_num_batched_tokens=STEP,
            max_num_seqs=64,
            limit_mm_per_prompt={"image": 8, "video": 0},
            async_scheduling=True,
            scheduler_cls=SCHEDULER,
        )
        yield arguments.create_engine_config()


class Engine:
    """What of vLLM's core matters here: steps one after the other, each answered with a token by every prompt that is through."""

    def __init__(self, config: Any, blocks: int = 4096) -> None:
        import torch
        from vllm.utils.hashing import sha256
        from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
        from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
        from vllm.v1.structured_output import StructuredOutputManager

        spec = FullAttentionSpec(block_size=BLOCK, num_kv_heads=1, head_size=1, dtype=torch.float32)
        config.cache_config.num_gpu_blocks = blocks
        init_none_hash(sha256)
        self._hasher = get_request_block_hasher(BLOCK, sha256)
        self.scheduler = config.scheduler_config.get_scheduler_cls()(
            vllm_config=config,
            kv_cache_config=KVCacheConfig(blocks, [], [KVCacheGroupSpec(["layer"], spec)]),
            structured_output_manager=StructuredOutputManager(config),
            block_size=BLOCK,
        )
        self.answers: dict[str, int] = {}

    def ask(self, name: str, text: int, *images: int, answer: int = 1000, of: str = "") -> None:
        """``images`` of so many embeddings follow the first 20 tokens of ``text``. ``of``: a request with the same beginning."""
        from vllm.multimodal.inputs import MultiModalFeatureSpec, PlaceholderRange
        from vllm.sampling_params import SamplingParams
        from vllm.v1.request import Request

        features, place = [], 20
        for number, size in enumerate(images):
            seen = f"{of or name}-{number}-{size}"
            features.append(MultiModalFeatureSpec(None, "image", seen, PlaceholderRange(place, size), seen))
            place += size
        word = sum(map(ord, of or name)) % 1000  # nobody else's text, so that no prefix is found by chance
        tokens = [word] * (text + sum(images))
        sampling = SamplingParams(max_tokens=answer, ignore_eos=True)
        sampling.update_from_generation_config({}, 0)
        self.scheduler.add_request(
            Request(name, tokens, sampling, None, mm_features=features, block_hasher=self._hasher)
        )

    def step(self) -> dict[str, int]:
        """Tokens of each request in the step."""
        from vllm.v1.outputs import ModelRunnerOutput

        scheduler = self.scheduler
        output = scheduler.schedule()
        self.encoded = {
            name: [scheduler.requests[name].get_num_encoder_embeds(number) for number in numbers]
            for name, numbers in output.scheduled_encoder_inputs.items()
        }
        names = list(output.num_scheduled_tokens)
        through = [not scheduler.requests[name].is_prefill_chunk for name in names]
        for name, whole in zip(names, through, strict=True):
            self.answers[name] = self.answers.get(name, 0) + whole
        said = ModelRunnerOutput(
            names, {name: place for place, name in enumerate(names)}, [[7] if whole else [] for whole in through]
        )
        scheduler.update_from_output(output, said)
        return dict(output.num_scheduled_tokens)


@pytest.fixture
def engine(config: Any, monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setenv("VITRINE_PACE", json.dumps(PACE))
    return Engine(config)


def price(tokens: dict[str, int], encoded: dict[str, list[int]], answering: set[str]) -> float:
    prompts = sum(count for name, count in tokens.items() if name not in answering)
    embeddings = sum(map(sum, encoded.values()))
    return 4 + 0.1 * len(answering) + 0.01 * prompts + 0.01 * embeddings


def test_with_nobody_answering_a_step_holds_all_that_vllm_lets_it(engine: Engine) -> None:
    for number in range(14):
        engine.ask(f"photo-{number}", 64, 600)
    assert engine.step() == {**{f"photo-{number}": 664 for number in range(12)}, "photo-12": STEP - 12 * 664}


def test_steps_stay_within_the_target_and_every_answer_gets_its_token_in_each(engine: Engine) -> None:
    engine.ask("talker", 10)
    engine.step()
    for number in range(30):
        engine.ask(f"photo-{number}", 64, 600)
    answering = {"talker"}
    steps = 0
    while len(answering) < 31:
        tokens = engine.step()
        steps += 1
        assert tokens.keys() >= answering
        assert price(tokens, engine.encoded, answering) <= 30 + 0.01 * LEAST_TOKENS
        answering |= {name for name, count in engine.answers.items() if count}
        assert steps < 100
    # 30 photos of 12.64 ms in steps with room for 23 to 26: two a step but for what is lost at the ends.
    assert steps <= 18
    # Budgets are vLLM's again.
    assert engine.scheduler.max_num_scheduled_tokens == STEP
    assert engine.scheduler.max_num_encoder_input_tokens >= STEP


def test_a_page_that_no_step_has_room_for_is_encoded_with_next_to_nothing_else(engine: Engine) -> None:
    engine.ask("talker", 10)
    engine.step()
    engine.ask("photo", 64, 600)
    engine.ask("page", 64, 4800)
    engine.ask("later", 64, 600)
    assert engine.step() == {"talker": 1, "photo": 664, "page": 20}
    assert engine.step() == {"talker": 1, "photo": 1, "page": LEAST_TOKENS}
    assert engine.encoded == {"page": [4800]}
    for _ in range(5):
        assert engine.step()["talker"] == 1
    assert all(engine.answers[name] for name in ("page", "later"))


def test_a_long_text_is_cut_and_answers_behind_it_are_not_kept_waiting(engine: Engine) -> None:
    engine.ask("talker", 10)
    engine.step()
    engine.ask("book", 12000)
    tokens = engine.step()
    assert tokens == {"talker": 1, "book": 2590}
    engine.scheduler.running.reverse()  # as where a prompt that waited for its image was overtaken
    assert engine.step() == {"talker": 1, "book": 2590}
    for number in range(8):
        engine.ask(f"short-{number}", 10)
    for _ in range(8):
        assert engine.step()["talker"] == 1
    assert all(engine.answers[name] for name in ("book", *(f"short-{number}" for number in range(8))))


def test_an_image_behind_a_cached_prefix_that_is_larger_than_planned_is_encoded_one_step_later(
    engine: Engine,
) -> None:
    engine.ask("first", 40, 588, answer=1)  # it ends where a block ends: all of it is found again
    while engine.scheduler.requests:
        engine.step()
    engine.scheduler.encoder_cache_manager.reset()  # its prefix is cached, its image no longer
    engine.ask("talker", 10)
    engine.step()
    engine.ask("again", 40, 588, 4800, of="first")
    steps = []
    while not engine.answers.get("again"):
        steps.append((engine.step().get("again", 0), engine.encoded))
        assert len(steps) < 10
    # The first step was planned for a photo, so that the page did not fit.
    assert steps[:2] == [(0, {}), (LEAST_TOKENS, {"again": [4800]})]


def test_it_learns_how_fast_the_machine_is(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_PACE", json.dumps({**PACE, "base": 10_000, "learn": True}))
    engine = Engine(config)
    engine.ask("talker", 10)
    for _ in range(40):
        engine.step()
    assert engine.scheduler.speed.answers < 0.5


def test_a_pace_that_can_not_be_is_said_at_the_start(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_PACE", '{"speed": 1}')
    with pytest.raises(ValueError, match="VITRINE_PACE: unknown name 'speed'"):
        Engine(config)
