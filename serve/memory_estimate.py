"""How much GPU memory a model will take, from its config and headers; arithmetic only, and called an estimate.

Weights: what the headers say; with fp8 weights every matrix that vLLM quantises on loading (linear layers of the
language model, not embeddings, norms, or the vision tower) counts one byte a parameter instead of two.
KV cache: 2 (key, value) × layers × KV heads × head size × bytes of its type, for every token.
"""

from dataclasses import dataclass
from typing import Any

from serve.weights import Checkpoint, Tensor

# Activations, CUDA graphs and CUDA itself: 2.2 GB was what remained of 23.2 GB on an H100 with fp8 weights and 232,000
# tokens of KV cache.
OVERHEAD_BYTES = 2_200_000_000
_CACHE_BYTES = {"auto": 2, "bfloat16": 2, "float16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}


@dataclass(frozen=True)
class Estimate:
    """GPU memory by purpose, for one card; ``cache_tokens`` is what the rest of the card's share holds."""

    weights_bytes: int
    token_bytes: int
    cache_tokens: int

    def fits(self, context_tokens: int) -> bool:
        """Whether one conversation of ``context_tokens`` has room."""
        return self.cache_tokens >= context_tokens


def weights_bytes(checkpoint: Checkpoint, *, fp8: bool) -> int:
    """Bytes that the weights take once loaded, on all cards together."""
    if not fp8:
        return sum(tensor.size_bytes for tensor in checkpoint.tensors)
    return sum(tensor.parameters if _quantised(tensor) else tensor.size_bytes for tensor in checkpoint.tensors)


def _quantised(tensor: Tensor) -> bool:
    if len(tensor.shape) != 2 or tensor.dtype not in {"BF16", "F16", "F32"}:
        return False
    return not any(
        part in tensor.name for part in ("embed", "lm_head", "visual", "vision", "output_layer", "gate.weight")
    )


def token_bytes(config: dict[str, Any], cache_dtype: str) -> int:
    """Bytes of KV cache that one token takes, on all cards together.

    Reads the text part of the config of both GLM-4V generations (``text_config``, or ChatGLM's own names).
    """
    text = config.get("text_config", config)
    layers = int(text.get("num_hidden_layers") or text["num_layers"])
    heads = int(text.get("num_key_value_heads") or text.get("multi_query_group_num") or text["num_attention_heads"])
    size = int(text.get("head_dim") or text.get("kv_channels") or text["hidden_size"] // text["num_attention_heads"])
    return 2 * layers * heads * size * _CACHE_BYTES.get(cache_dtype, 2)


def estimate(
    checkpoint: Checkpoint, *, card_bytes: int, cards: int, share: float, fp8: bool, cache_dtype: str
) -> Estimate:
    """What one of ``cards`` equal cards of ``card_bytes`` would hold when vLLM may use ``share`` of it."""
    weights = weights_bytes(checkpoint, fp8=fp8) // cards
    token = max(1, token_bytes(checkpoint.config, cache_dtype) // cards)
    left = int(card_bytes * share) - weights - OVERHEAD_BYTES
    return Estimate(weights, token, max(0, left // token))
