"""What vLLM 0.32 lacks for GLM-4V, as its plugin (entry point ``vitrine``): pictures and parsers prepared in fewer steps.

It changes the last bit of a position, and writes an empty answer as "" instead of null; it changes no other result, and reads no
setting and no request.

vLLM loads it in every process of an engine whose profile says ``VLLM_PLUGINS = "vitrine"``. It imports vLLM, so nothing else of
``serve`` imports it. docs/decisions/0062 has the measurements.
"""

import functools

import numpy as np
import torch
from transformers.models.glm46v.image_processing_glm46v import Glm46VImageProcessor
from transformers.models.glm46v.processing_glm46v import Glm46VProcessor
from vllm.compilation.decorators import should_torch_compile_mm_encoder, support_torch_compile
from vllm.entrypoints.openai.chat_completion.protocol import ChatMessage
from vllm.model_executor.layers.rotary_embedding.common import ApplyRotaryEmb
from vllm.model_executor.models import glm4_1v
from vllm.parser.engine import streaming_parser_engine
from vllm.utils.torch_utils import async_tensor_h2d

# The constant of bicubic interpolation in torch (aten/src/ATen/native/GridSampler.h), of which grid_sample makes use.
_BICUBIC_A = -0.75

_attention = glm4_1v.Glm4vVisionAttention.forward
_drop_info = streaming_parser_engine._build_drop_info
_message = ChatMessage.__init__


def register() -> None:
    """Let ``compile_mm_encoder`` mean GLM-4V's encoder too, find positions without ``grid_sample``, cut pictures by whole lines,
    prepare parsers of answers once, and write an empty answer as ""; twice is once."""
    support_torch_compile(
        dynamic_arg_dims={"x": 0, "cu_seqlens": 0, "rotary_pos_emb_cos": 0, "rotary_pos_emb_sin": 0},
        enable_if=should_torch_compile_mm_encoder,
        is_encoder=True,
    )(glm4_1v.Glm4vVisionBlock)
    glm4_1v.Glm4vVisionAttention.forward = _attention_compiled
    glm4_1v.Glm4vVisionTransformer.pos_embeds_interpolate = _positions_of
    Glm46VImageProcessor.patchify = _patchify
    Glm46VProcessor.replace_image_token = _one_placeholder
    streaming_parser_engine._build_drop_info = _drop_info_kept
    ChatMessage.__init__ = _message_with_text


def _attention_compiled(
    self: glm4_1v.Glm4vVisionAttention,
    x: torch.Tensor,
    cu_seqlens: torch.Tensor,
    rotary_pos_emb_cos: torch.Tensor,
    rotary_pos_emb_sin: torch.Tensor,
    max_seqlen: torch.Tensor | None = None,
) -> torch.Tensor:
    """``x`` (patches, 1, channels) in and out. Queries and keys are rotated in the kernel that takes them out of ``qkv``, values
    are read from where they lie; vLLM copies all three first. Not compiled, that would be slower, so it is vLLM's own."""
    if not torch.compiler.is_compiling():
        return _attention(self, x, cu_seqlens, rotary_pos_emb_cos, rotary_pos_emb_sin, max_seqlen)
    q, k, v = (part.transpose(0, 1) for part in self.split_qkv(self.qkv(x)[0]))
    q, k = (ApplyRotaryEmb.forward_static(part, rotary_pos_emb_cos, rotary_pos_emb_sin) for part in (q, k))
    seen = self.attn(query=q, key=k, value=v, cu_seqlens=cu_seqlens, max_seqlen=max_seqlen)
    return self.proj(seen.transpose(0, 1).flatten(2))[0]


def _positions_of(encoder: glm4_1v.Glm4vVisionTransformer, grid_thw: list[list[int]]) -> torch.Tensor:
    # Detached: vLLM's older model runner captures graphs outside of inference mode.
    table = encoder.embeddings.position_embedding.weight.detach()
    merge = encoder.spatial_merge_size
    return torch.cat([positions(table, t, h, w, merge) for t, h, w in grid_thw]).to(encoder.dtype)


def positions(table: torch.Tensor, frames: int, height: int, width: int, merge: int) -> torch.Tensor:
    """The position embeddings of one picture or film: ``table`` (size², channels) stretched over ``height`` × ``width`` patches.

    Bicubic, in float32, as ``torch.nn.functional.grid_sample`` with ``padding_mode="border"`` does it, but rows first and then
    columns: two small products of matrices. Returns (frames · height · width, channels) in the table's dtype, patches in
    the encoder's order: the ``merge`` × ``merge`` of one token lie together.
    """
    size, channels = round(table.shape[0] ** 0.5), table.shape[1]
    rows = taps(height, size, table.device) @ table.float().view(size, size * channels)
    grid = taps(width, size, table.device) @ rows.view(height, size, channels)
    grid = grid.to(table.dtype).view(height // merge, merge, width // merge, merge, channels)
    return grid.permute(0, 2, 1, 3, 4).reshape(height * width, channels).repeat(frames, 1)


# One for each length of a side, not for each size of a picture: 41 KB for the longest side of 6,000 pixels.
@functools.lru_cache(maxsize=512)
def taps(length: int, size: int, device: torch.device) -> torch.Tensor:
    """How much each of ``size`` points is worth at each of ``length`` places between them: (length, size) in float32."""
    place = (torch.arange(length, dtype=torch.float32) + 0.5) / length * 2 - 1
    place = ((place + 1) * size - 1) / 2
    left = place.floor()
    beyond = place - left
    weights = torch.zeros(length, size, dtype=torch.float32)
    for step in (-1, 0, 1, 2):
        point = (left.long() + step).clamp(0, size - 1)  # past the border lies the border
        weights.scatter_add_(1, point.unsqueeze(1), _worth((beyond - step).abs()).unsqueeze(1))
    return async_tensor_h2d(weights, device=device)


def _worth(distance: torch.Tensor) -> torch.Tensor:
    a, d = _BICUBIC_A, distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, far)


def _patchify(
    self: Glm46VImageProcessor, images: torch.Tensor, patch_size: int, merge_size: int, temporal_patch_size: int
) -> tuple[torch.Tensor, int, int]:
    """Pictures cut into patches: ``images`` (pictures, channels, height, width) on the CPU, of any dtype that numpy has, both sides
    multiples of ``patch_size`` · ``merge_size``. Returns (pictures, patches, channels · ``temporal_patch_size`` · ``patch_size``²),
    and how many patches are above and beside one another. A picture is the same frame ``temporal_patch_size`` times; patches are
    in the encoder's order (``positions``).

    A line of a patch is moved whole, where torch moves byte after byte.
    """
    size, merge, frames = patch_size, merge_size, temporal_patch_size
    count, channels, height, width = images.shape
    down, across = height // size // merge, width // size // merge
    pixels = images.contiguous().numpy()
    line = np.dtype((np.void, size * pixels.itemsize))
    lines = pixels.view(line).reshape(count, channels, down, merge, size, across, merge)
    cut = np.empty((count, down, across, merge, merge, channels, frames, size), line)
    cut[:] = lines.transpose(0, 2, 5, 3, 6, 1, 4)[..., None, :]
    flat = cut.view(pixels.dtype).reshape(count, down * merge * across * merge, channels * frames * size * size)
    return torch.from_numpy(flat), down * merge, across * merge


def _one_placeholder(self: Glm46VProcessor, image_inputs: object, image_idx: int, **kwargs: object) -> str:
    # vLLM throws this text away and counts placeholders by itself: one is tokenized sooner than a photo's six hundred.
    return str(self.image_token)


# By identity: a configuration is frozen but has no hash. Both are kept, so that no other object gets their place in memory. vLLM
# keeps one configuration for each way to think (glm47_moe.py) and a process one tokenizer, so that this stays as small.
_kept: dict[tuple[int, int], tuple[object, object, object]] = {}


def _drop_info_kept(config: object, tokenizer: object) -> object:
    # A regular expression for each special token, compiled anew for two parsers of every answer, four where it is streamed.
    key = (id(config), id(tokenizer))
    if key not in _kept:
        _kept[key] = (_drop_info(config, tokenizer), config, tokenizer)
    return _kept[key][0]


def _message_with_text(self: ChatMessage, /, **fields: object) -> None:
    # vLLM's parsers give None for an answer of no text. In OpenAI's API null goes with tool calls alone, and clients rely on it.
    if fields.get("content") is None and not fields.get("tool_calls"):
        fields["content"] = ""
    _message(self, **fields)
