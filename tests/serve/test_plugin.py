"""The plugin against vLLM's own encoder: the same positions, the same attention, compiled where the engine is told to compile."""

import contextlib
import copy
import tempfile
from collections.abc import Iterator
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from serve.profile import PLUGIN
from tests.support.process import TOP

torch = pytest.importorskip("torch", reason="the gateway's installation has no engine")

pytestmark = pytest.mark.process  # vLLM asks programs of the system, and PyTorch compiles

MODEL = TOP / "serve/checkpoint"
GRIDS = {
    "photo": [[1, 60, 40]],
    "as large as the table": [[1, 24, 24]],
    "strip": [[1, 2, 428]],
    "film and pictures": [[2, 4, 6], [1, 120, 160], [1, 36, 48]],
}


PICTURES = {
    "photo": (560, 840),
    "strip": (28, 700),
    "to be made smaller": (1999, 3001),
    "to be made larger": (31, 17),
}


@pytest.fixture(scope="module")
def vllms_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the plugin replaces, as vLLM has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CACHE_ROOT", str(tmp_path_factory.mktemp("vllm")))
        patch.setenv("VLLM_PLUGINS", "")  # where the word is not set, vLLM loads all plugins that are installed
        own = known()
        assert not any(function.__module__.startswith("serve") for function in own.values())
        for name, place in places().items():
            patch.setattr(*place, own[name])  # and back again at the end: other tests of this process are vLLM's own
        yield own


def places() -> dict[str, tuple[Any, str]]:
    """Where what the plugin replaces is: a class or a module, and its name there."""
    from transformers.models.glm46v.image_processing_glm46v import Glm46VImageProcessor
    from transformers.models.glm46v.processing_glm46v import Glm46VProcessor
    from vllm.entrypoints.openai.chat_completion.protocol import ChatMessage
    from vllm.model_executor.models import glm4_1v
    from vllm.parser.engine import streaming_parser_engine

    return {
        "attention": (glm4_1v.Glm4vVisionAttention, "forward"),
        "positions": (glm4_1v.Glm4vVisionTransformer, "pos_embeds_interpolate"),
        "patchify": (Glm46VImageProcessor, "patchify"),
        "placeholders": (Glm46VProcessor, "replace_image_token"),
        "drop_info": (streaming_parser_engine, "_build_drop_info"),
        "message": (ChatMessage, "__init__"),
    }


def known() -> dict[str, Any]:
    """What is there now."""
    return {name: getattr(*place) for name, place in places().items()}


@contextlib.contextmanager
def engine(**flags: Any) -> Iterator[Any]:
    """The miniature's encoder, trained, two blocks of it, as an engine with these flags and the plugin would have it."""
    from vllm.config import set_current_vllm_config
    from vllm.distributed import init_distributed_environment, initialize_model_parallel
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader import get_model

    from serve import plugin

    plugin.register()
    plugin.register()  # a second time must change nothing: vLLM says that it may happen
    arguments = EngineArgs(
        model=str(MODEL), dtype="float32", max_model_len=2048, limit_mm_per_prompt={"image": 8, "video": 0}, **flags
    )
    config = arguments.create_engine_config()
    with set_current_vllm_config(config):
        if not torch.distributed.is_initialized():
            init_distributed_environment(1, 0, f"file://{tempfile.mkdtemp()}/meeting", 0, "gloo")
            initialize_model_parallel(1, 1)
        visual = get_model(vllm_config=config).visual
        visual.blocks = visual.blocks[:2]  # compiling one takes seconds
        with torch.inference_mode():
            yield visual


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


def test_each_thing_that_the_plugin_is_to_replace_is_replaced(vllms_own: dict[str, Any]) -> None:
    from serve import plugin

    plugin.register()
    now = known()
    assert now.keys() == vllms_own.keys()
    assert {function.__module__ for function in now.values()} == {plugin.__name__}


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_positions_are_those_of_vllm_in_the_same_order(
    encoder: Any, vllms_own: dict[str, Any], grid: list[list[int]]
) -> None:
    theirs = vllms_own["positions"](encoder, grid)
    ours = encoder.pos_embeds_interpolate(grid)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    spread = encoder.embeddings.position_embedding.weight.std()
    # Where a patch lies is rounded to float32 on both sides, in other steps.
    assert (ours - theirs).abs().max() < 2e-5 * spread


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_positions_in_bfloat16_differ_by_their_last_bit_and_hardly_ever(
    encoder: Any, vllms_own: dict[str, Any], grid: list[list[int]]
) -> None:
    half = SimpleNamespace(
        embeddings=copy.deepcopy(encoder.embeddings).bfloat16(),
        dtype=torch.bfloat16,
        hidden_size=encoder.hidden_size,
        spatial_merge_size=encoder.spatial_merge_size,
    )
    theirs, ours = (find(half, grid) for find in (vllms_own["positions"], type(encoder).pos_embeds_interpolate))
    assert (ours.shape, ours.dtype) == (theirs.shape, torch.bfloat16)
    # Apart by one in the order of all bfloat16 numbers; near 0 the step is finer than float32's rounding of the sum.
    apart = (ours.view(torch.int16).int() - theirs.view(torch.int16).int()).abs()
    assert apart[theirs.abs() > 1e-3].max() <= 1
    assert (apart > 0).float().mean() < 1e-3


def test_positions_are_found_inside_of_inference_mode_and_then_outside(encoder: Any) -> None:
    grid = [[1, 14, 22]]
    inside = encoder.pos_embeds_interpolate(grid)
    with torch.inference_mode(False):
        outside = encoder.pos_embeds_interpolate(grid)
    assert torch.equal(inside, outside)


def test_how_much_each_point_is_worth_sums_to_one_and_a_table_of_the_same_size_is_itself() -> None:
    from serve.plugin import taps

    cpu = torch.device("cpu")
    assert torch.allclose(taps(97, 24, cpu).sum(1), torch.ones(97), atol=1e-6)
    assert torch.allclose(taps(24, 24, cpu), torch.eye(24), atol=1e-5)


@pytest.mark.long("compiles the encoder with g++")
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
        assert plain.std() > 1e-3
        assert torch.allclose(compiled, plain, rtol=1e-4, atol=1e-4 * float(plain.std()))


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


def test_patches_are_those_of_transformers_whatever_the_picture_is(vllms_own: dict[str, Any]) -> None:
    from serve.plugin import _patchify

    bytes_ = torch.randint(0, 256, (2, 3, 84, 140), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    turned = bytes_.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # channels last, as a decoded picture lies
    for images in (bytes_, turned, bytes_.float(), bytes_[:1, :1]):
        for size, merge, frames in ((14, 2, 2), (7, 2, 1), (14, 1, 3)):
            theirs, *grid = vllms_own["patchify"](None, images, size, merge, frames)
            ours, *counts = _patchify(None, images, size, merge, frames)
            assert counts == grid
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("size", PICTURES.values(), ids=PICTURES)
def test_vllm_prepares_the_same_prompt_and_pixels_with_the_plugin(
    vllms_own: dict[str, Any], size: tuple[int, int]
) -> None:
    import numpy as np
    from PIL import Image
    from transformers.models.glm46v.image_processing_glm46v import Glm46VImageProcessor
    from transformers.models.glm46v.processing_glm46v import Glm46VProcessor
    from vllm.engine.arg_utils import EngineArgs
    from vllm.multimodal import MULTIMODAL_REGISTRY

    from serve import plugin

    random = np.random.default_rng(size)
    pictures = [
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)),
        Image.fromarray(random.integers(0, 256, (56, 84, 3), np.uint8)),
    ]
    processor = MULTIMODAL_REGISTRY.create_processor(EngineArgs(model=str(MODEL)).create_model_config())
    one = processor.info.get_hf_processor().image_token_id
    prepared = []
    plugin.register()
    for patchify, placeholders in (
        (Glm46VImageProcessor.patchify, Glm46VProcessor.replace_image_token),
        (vllms_own["patchify"], vllms_own["placeholders"]),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Glm46VImageProcessor, "patchify", patchify)
            patch.setattr(Glm46VProcessor, "replace_image_token", placeholders)
            prepared.append(processor([5, one, 6, one, 7], processor.data_parser.parse_mm_data({"image": pictures})))
    ours, theirs = prepared
    assert ours["prompt_token_ids"].count(one) > 2
    assert ours["prompt_token_ids"] == theirs["prompt_token_ids"]
    assert ours["mm_placeholders"] == theirs["mm_placeholders"]
    assert ours["mm_hashes"] == theirs["mm_hashes"]
    assert len(ours["mm_kwargs"]["image"]) == len(pictures)
    for mine, other in zip(ours["mm_kwargs"]["image"], theirs["mm_kwargs"]["image"], strict=True):
        assert mine.keys() == other.keys() == {"pixel_values", "image_grid_thw"}
        for name in mine:
            assert torch.equal(mine[name].data, other[name].data)


def test_what_parsers_drop_is_prepared_once_for_each_way_to_think(vllms_own: dict[str, Any]) -> None:
    from transformers import AutoTokenizer
    from vllm.parser.engine import streaming_parser_engine
    from vllm.parser.glm47_moe import Glm47MoeParser, glm47_moe_config

    from serve import plugin

    plugin.register()
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    prepared = []
    for thinks in (True, False):
        config = glm47_moe_config(thinking=thinks)
        theirs = vllms_own["drop_info"](config, tokenizer)
        ours = streaming_parser_engine._build_drop_info(config, tokenizer)
        assert ours.extra_token_ids == theirs.extra_token_ids != {}
        for part in type(ours.lexer_shape).__slots__:
            assert getattr(ours.lexer_shape, part) == getattr(theirs.lexer_shape, part)
        prepared.append(ours)
        words = {"chat_template_kwargs": {"enable_thinking": thinks}}
        parsers = [Glm47MoeParser(tokenizer, **words) for _ in range(2)]
        assert all(parser._engine._lexer._shape is ours.lexer_shape for parser in parsers)
        assert parsers[0]._engine._lexer is not parsers[1]._engine._lexer
    assert prepared[0] is not prepared[1]


def test_an_answer_of_no_text_is_an_empty_text_and_null_goes_with_calls_alone(vllms_own: dict[str, Any]) -> None:
    from vllm.entrypoints.generate.base.protocol import FunctionCall, ToolCall
    from vllm.entrypoints.openai.chat_completion.protocol import ChatMessage

    from serve import plugin

    plain = ChatMessage.__new__(ChatMessage)
    vllms_own["message"](plain, role="assistant", content=None)
    assert plain.content is None
    plugin.register()
    call = ToolCall(function=FunctionCall(name="f", arguments="{}"))
    assert ChatMessage(role="assistant", content=None, reasoning="I see").content == ""
    assert ChatMessage(role="assistant", content=None, tool_calls=[]).content == ""
    assert ChatMessage(role="assistant", content=None, tool_calls=[call]).content is None
    assert ChatMessage(role="assistant", content="red").model_dump()["content"] == "red"
