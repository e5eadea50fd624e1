"""What a card would hold, against figures of the published models and of one measured start."""

from pathlib import Path

import pytest

from serve.memory_estimate import OVERHEAD_BYTES, Estimate, estimate, token_bytes, weights_bytes
from serve.weights import Checkpoint, Tensor

FLASH = {  # GLM-4.6V-Flash, config.json
    "architectures": ["Glm4vForConditionalGeneration"],
    "text_config": {
        "hidden_size": 4096,
        "num_attention_heads": 32,
        "num_hidden_layers": 40,
        "num_key_value_heads": 2,
    },
}
CHATGLM = {  # glm-4v-9b, config.json
    "hidden_size": 4096,
    "num_layers": 40,
    "kv_channels": 128,
    "multi_query_group_num": 2,
    "num_attention_heads": 32,
}
H100_BYTES = 81_559 << 20  # nvidia-smi's memory.total


def bf16(name: str, *shape: int) -> Tensor:
    size = 2
    for length in shape:
        size *= length
    return Tensor(name, "BF16", shape, size)


LAYER = bf16("model.language_model.layers.0.mlp.down_proj.weight", 4096, 13696)
KEPT = (
    bf16("model.language_model.embed_tokens.weight", 151_552, 4096),
    bf16("lm_head.weight", 151_552, 4096),
    bf16("model.visual.blocks.0.attn.qkv.weight", 4608, 1536),
    bf16("model.language_model.layers.0.input_layernorm.weight", 4096),
)


def checkpoint(*tensors: Tensor, config: dict[str, object] | None = None) -> Checkpoint:
    return Checkpoint(Path("m"), config or FLASH, tensors)


@pytest.mark.parametrize("config", [FLASH, CHATGLM], ids=["text_config", "ChatGLM's names"])
def test_a_token_of_both_generations_takes_40960_bytes_of_cache(config: dict[str, object]) -> None:
    assert token_bytes(config, "auto") == token_bytes(config, "bfloat16") == 40_960
    assert token_bytes(config, "fp8") == token_bytes(config, "fp8_e4m3") == 20_480


def test_a_config_without_grouped_heads_counts_every_head() -> None:
    assert token_bytes({"num_hidden_layers": 1, "num_attention_heads": 4, "hidden_size": 64}, "auto") == 2 * 4 * 16 * 2


def test_fp8_halves_the_linear_layers_and_nothing_else() -> None:
    found = checkpoint(LAYER, *KEPT)
    kept = sum(tensor.size_bytes for tensor in KEPT)
    assert weights_bytes(found, fp8=False) == LAYER.size_bytes + kept
    assert weights_bytes(found, fp8=True) == LAYER.size_bytes // 2 + kept


def test_weights_that_are_fp8_already_count_as_they_are() -> None:
    found = checkpoint(Tensor("layers.0.mlp.up_proj.weight", "F8_E4M3", (8, 8), 64))
    assert weights_bytes(found, fp8=True) == weights_bytes(found, fp8=False) == 64


def test_the_rest_of_the_card_is_cache() -> None:
    found = estimate(checkpoint(LAYER), card_bytes=H100_BYTES, cards=1, share=0.92, fp8=False, cache_dtype="auto")
    left = int(H100_BYTES * 0.92) - LAYER.size_bytes - OVERHEAD_BYTES
    assert found == Estimate(LAYER.size_bytes, 40_960, left // 40_960)
    assert found.fits(found.cache_tokens)
    assert not found.fits(found.cache_tokens + 1)


def test_two_cards_share_weights_and_cache() -> None:
    one, two = (
        estimate(checkpoint(LAYER), card_bytes=H100_BYTES, cards=cards, share=0.9, fp8=False, cache_dtype="auto")
        for cards in (1, 2)
    )
    assert (two.weights_bytes, two.token_bytes) == (one.weights_bytes // 2, one.token_bytes // 2)
    assert two.cache_tokens > 2 * one.cache_tokens


def test_a_card_smaller_than_the_weights_holds_no_token() -> None:
    found = estimate(checkpoint(LAYER), card_bytes=1 << 30, cards=1, share=0.9, fp8=False, cache_dtype="auto")
    assert found.cache_tokens == 0
    assert not found.fits(1)


def flash_shapes() -> tuple[Tensor, ...]:
    """Every matrix of GLM-4.6V-Flash, from its config."""
    text = {
        "q": (4096, 4096),
        "k": (256, 4096),
        "v": (256, 4096),
        "o": (4096, 4096),
        "up": (27392, 4096),
        "down": (4096, 13696),
    }
    sight = {"qkv": (4608, 1536), "proj": (1536, 1536), "gate": (4096, 1536), "up": (4096, 1536), "down": (1536, 4096)}
    merger = {"proj": (4096, 4096), "gate": (13696, 4096), "up": (13696, 4096), "down": (4096, 13696)}
    return (
        *(
            bf16(f"model.language_model.layers.{n}.{name}.weight", *shape)
            for n in range(40)
            for name, shape in text.items()
        ),
        *(bf16(f"model.visual.blocks.{n}.{name}.weight", *shape) for n in range(24) for name, shape in sight.items()),
        *(bf16(f"model.visual.merger.{name}.weight", *shape) for name, shape in merger.items()),
        bf16("model.visual.downsample.weight", 4096, 1536, 2, 2),
        bf16("model.visual.patch_embed.proj.weight", 1536, 3, 2, 14, 14),
        bf16("model.language_model.embed_tokens.weight", 151_552, 4096),
        bf16("lm_head.weight", 151_552, 4096),
    )


def test_the_full_size_model_takes_20_6_gb_in_bfloat16() -> None:
    assert weights_bytes(checkpoint(*flash_shapes()), fp8=False) == pytest.approx(20.6e9, rel=0.005)


def test_the_measured_start_with_fp8_weights_held_more_than_the_estimate_promises_but_little_more() -> None:
    """An H100 held fp8 weights and 232,000 tokens of cache in 23.2 GB."""
    made = estimate(
        checkpoint(*flash_shapes()), card_bytes=23_200_000_000, cards=1, share=1, fp8=True, cache_dtype="auto"
    )
    assert 0.85 * 232_000 <= made.cache_tokens <= 232_000
