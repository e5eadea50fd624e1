"""The plugin against vLLM's own encoder: the same positions, the same attention, compiled where the engine is told to compile."""

import contextlib
import tempfile
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import pytest

from serve.profile import PLUGIN
from tests.support.process import TOP

torch = pytest.importorskip("torch", reason="the gateway's installation has no engine")

MODEL = TOP / "serve/miniature/checkpoint"
GRIDS = [[[1, 60, 40]], [[1, 24, 24]], [[1, 2, 428]], [[2, 4, 6], [1, 120, 160], [1, 36, 48]]]


@pytest.fixture(scope="module")
def vllms_own() -> dict[str, Any]:
    """What the plugin replaces, as vLLM has it."""
    from vllm.model_executor.models import glm4_1v

    return {
        "attention": glm4_1v.Glm4vVisionAttention.forward,
        "positions": glm4_1v.Glm4vVisionTransformer.pos_embeds_interpolate,
    }


@contextlib.contextmanager
def engine(**flags: Any) -> Iterator[Any]:
    """The miniature's encoder, two blocks of it, as an engine with these flags and the plugin would have it."""
    from vllm.config import set_current_vllm_config
    from vllm.distributed import init_distributed_environment, initialize_model_parallel
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader import get_model

    from serve import plugin

    def shorter(config: Any) -> Any:
        if hasattr(config, "vision_config"):  # vLLM tries it first on a configuration that has none
            config.vision_config.depth = 2
        return config

    plugin.register()
    plugin.register()  # a second time must change nothing: vLLM says that it may happen
    arguments = EngineArgs(
        model=str(MODEL), load_format="dummy", hf_overrides=shorter, dtype="float32", max_model_len=2048,
        limit_mm_per_prompt={"image": 8, "video": 0}, **flags,
    )  # fmt: skip
    config = arguments.create_engine_config()
    with set_current_vllm_config(config), torch.inference_mode():
        if not torch.distributed.is_initialized():
            init_distributed_environment(1, 0, f"file://{tempfile.mkdtemp()}/meeting", 0, "gloo")
            initialize_model_parallel(1, 1)
        yield get_model(vllm_config=config).visual


@pytest.fixture(scope="module")
def encoder(vllms_own: dict[str, Any]) -> Iterator[Any]:
    """Compiled, by the compiler that changes nothing: the other one takes minutes."""
    with engine(compilation_config={"mode": 3, "backend": "eager", "compile_mm_encoder": True}) as compiled:
        yield compiled


def pixels(encoder: Any, grid: list[list[int]]) -> Any:
    columns = encoder.patch_embed.proj.in_channels * encoder.patch_embed.temporal_patch_size * encoder.patch_size**2
    count = sum(t * h * w for t, h, w in grid)
    dtype = encoder.input_norm.input_dtype or encoder.dtype
    return torch.randint(0, 256, (count, columns), generator=torch.Generator().manual_seed(count)).to(dtype)


def test_the_name_that_profiles_say_is_the_plugin_that_is_installed() -> None:
    (found,) = metadata.entry_points(group="vllm.general_plugins", name=PLUGIN)
    assert found.value == "serve.plugin:register"
    from serve import plugin

    assert found.load() is plugin.register


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_positions_are_those_of_vllm_in_the_same_order(
    encoder: Any, vllms_own: dict[str, Any], grid: list[list[int]]
) -> None:
    theirs = vllms_own["positions"](encoder, grid)
    ours = encoder.pos_embeds_interpolate(grid)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    spread = encoder.embeddings.position_embedding.weight.std()
    assert (
        ours - theirs
    ).abs().max() < 2e-5 * spread  # where a patch lies is rounded to float32 on both sides, in other steps


def test_positions_in_bfloat16_differ_by_their_last_bit_in_one_of_a_thousand_at_most(
    encoder: Any, vllms_own: dict[str, Any]
) -> None:
    from serve.plugin import positions

    table = encoder.embeddings.position_embedding.weight
    theirs = vllms_own["positions"](encoder, [[1, 60, 40]])
    ours = positions(table.bfloat16(), 1, 60, 40, 2)
    exact = positions(table.bfloat16().float(), 1, 60, 40, 2)
    assert torch.equal(ours, exact.bfloat16())
    assert ((ours - theirs.bfloat16()).abs() > 2**-7 * theirs.abs().clamp(min=1e-3)).float().mean() < 1e-3


def test_how_much_each_point_is_worth_sums_to_one_and_a_table_of_the_same_size_is_itself() -> None:
    from serve.plugin import taps

    cpu = torch.device("cpu")
    assert torch.allclose(taps(97, 24, cpu).sum(1), torch.ones(97), atol=1e-6)
    assert torch.allclose(taps(24, 24, cpu), torch.eye(24), atol=1e-5)


def test_the_compiled_encoder_sees_the_same_in_pictures_of_any_size(encoder: Any) -> None:
    assert len(encoder.blocks) > 1
    for grid in ([[1, 12, 16]], [[1, 24, 8], [1, 6, 10]]):
        words = pixels(encoder, grid)
        compiled = encoder(words, grid)
        assert all(block.compiled for block in encoder.blocks)
        for block in encoder.blocks:
            block.do_not_compile = True
        plain = encoder(words, grid)
        for block in encoder.blocks:
            block.do_not_compile = False
        assert torch.allclose(compiled, plain, atol=1e-5 * float(plain.abs().max()))


def test_no_block_is_compiled_where_the_engine_is_not_told_to(encoder: Any) -> None:
    assert not any(block.do_not_compile for block in encoder.blocks)
    with engine(compilation_config={"mode": 3, "backend": "eager"}) as plain:
        assert all(block.do_not_compile for block in plain.blocks)


def test_attention_as_it_is_compiled_is_vllms_own(encoder: Any, vllms_own: dict[str, Any]) -> None:
    grid = [[1, 24, 32], [1, 12, 16]]
    known = encoder.prepare_encoder_metadata(grid)
    names = ("cu_seqlens", "rotary_pos_emb_cos", "rotary_pos_emb_sin", "max_seqlen")
    layer = encoder.blocks[0].attn
    patches = torch.randn(24 * 32 + 12 * 16, 1, encoder.hidden_size, generator=torch.Generator().manual_seed(1))
    words = (patches, *(known[name] for name in names))
    theirs = vllms_own["attention"](layer, *words)
    torch._dynamo.reset()
    traced = torch.compile(lambda *given: layer.forward(*given), backend="eager", fullgraph=True)
    assert torch.equal(traced(*words), theirs)
    assert torch.equal(layer.forward(*words), theirs)
