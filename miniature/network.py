"""The forward pass in batches of one shape, over the weights of transformers' own module: equal, but faster."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from miniature.model_config import EPS, MEAN, MERGE, PATCH_PX, STD

FEW = 100


def patches(pictures: Tensor) -> Tensor:
    """Pictures (n, height, width, 3) uint8 to (n, patches, 3 * 14 * 14) normalised, in `Glm46VProcessor`'s order.

    The processor repeats each picture as two frames; `PatchEmbed` adds their weights instead.
    """
    count, height, width, _ = pictures.shape
    mean = torch.tensor(MEAN, device=pictures.device) * 255
    std = torch.tensor(STD, device=pictures.device) * 255
    pixels = (pictures.float() - mean) / std
    pixels = pixels.view(
        count, height // PATCH_PX // MERGE, MERGE, PATCH_PX, width // PATCH_PX // MERGE, MERGE, PATCH_PX, 3
    )
    return pixels.permute(0, 1, 4, 2, 5, 7, 3, 6).reshape(count, -1, 3 * PATCH_PX * PATCH_PX)


def patch_places(grid: tuple[int, int], device: torch.device) -> Tensor:
    """Row and column of every patch (patches, 2) of a picture of `grid` = (height, width) cells, in patch order."""
    rows, columns = torch.meshgrid(
        torch.arange(grid[0] * MERGE, device=device), torch.arange(grid[1] * MERGE, device=device), indexing="ij"
    )
    both = torch.stack((rows, columns), -1).view(grid[0], MERGE, grid[1], MERGE, 2)
    return both.permute(0, 2, 1, 3, 4).reshape(-1, 2)


def _norm(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x.float(), (x.shape[-1],), weight, EPS).to(x.dtype)


def _vision_weights(block: Any) -> tuple[Tensor, ...]:
    attention, mlp = block.attn, block.mlp
    modules = (block.norm1, attention.qkv, attention.proj, block.norm2, mlp.gate_proj, mlp.up_proj, mlp.down_proj)
    return tuple(module.weight for module in modules)


def _vision_block(x: Tensor, weights: tuple[Tensor, ...], heads: int, cos: Tensor, sin: Tensor) -> Tensor:
    norm1, qkv, proj, norm2, gate, up, down = weights
    batch, count, width = x.shape
    q, k, v = F.linear(_norm(x, norm1), qkv).view(batch, count, 3, heads, width // heads).permute(2, 0, 3, 1, 4)

    def turned(y: Tensor) -> Tensor:
        one, two = y.float().chunk(2, -1)
        return (y.float() * cos + torch.cat((-two, one), -1) * sin).to(v.dtype)

    y = F.scaled_dot_product_attention(turned(q), turned(k), v)
    x = x + F.linear(y.transpose(1, 2).reshape(batch, count, width), proj)
    y = _norm(x, norm2)
    return x + F.linear(F.silu(F.linear(y, gate)) * F.linear(y, up), down)


def _text_weights(layer: Any) -> tuple[Tensor, ...]:
    heads = layer.self_attn
    return (
        *(part for module in (heads.q_proj, heads.k_proj, heads.v_proj) for part in (module.weight, module.bias)),
        heads.o_proj.weight,
        layer.mlp.gate_up_proj.weight,
        layer.mlp.down_proj.weight,
        layer.input_layernorm.weight,
        layer.post_self_attn_layernorm.weight,
        layer.post_attention_layernorm.weight,
        layer.post_mlp_layernorm.weight,
    )


def _text_block(x: Tensor, weights: tuple[Tensor, ...], width: int, cos: Tensor, sin: Tensor) -> Tensor:
    wq, bq, wk, bk, wv, bv, wo, gate_up, down, before, after, before_mlp, after_mlp = weights
    batch, count, _ = x.shape
    y = _norm(x, before)

    def heads(z: Tensor) -> Tensor:
        return z.view(batch, count, -1, width).transpose(1, 2)

    def turned(z: Tensor) -> Tensor:
        one, two = z[..., 0::2].float(), z[..., 1::2].float()
        return torch.stack((one * cos - two * sin, two * cos + one * sin), -1).flatten(-2).to(z.dtype)

    q, k, v = turned(heads(F.linear(y, wq, bq))), turned(heads(F.linear(y, wk, bk))), heads(F.linear(y, wv, bv))
    repeat = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    x = x + _norm(F.linear(y.transpose(1, 2).reshape(batch, count, -1), wo), after)
    gate, up = F.linear(_norm(x, before_mlp), gate_up).chunk(2, -1)
    return x + _norm(F.linear(F.silu(gate) * up, down), after_mlp)


class Network:
    """Runs `model` (a Glm4vForConditionalGeneration) on batches in which all pictures have one grid."""

    def __init__(self, model: Any, compiled: bool = False, backend: str = "inductor") -> None:
        self.model = model
        self._vision_block = torch.compile(_vision_block, dynamic=False, backend=backend) if compiled else _vision_block
        self._text_block = torch.compile(_text_block, dynamic=False, backend=backend) if compiled else _text_block
        torch._dynamo.config.cache_size_limit = 64
        torch._dynamo.config.accumulated_cache_size_limit = 512

    def see(self, pictures: Tensor) -> Tensor:
        """Pictures (n, height, width, 3) uint8 to (n, cells, hidden)."""
        visual = self.model.model.visual
        grid = (pictures.shape[1] // PATCH_PX // MERGE, pictures.shape[2] // PATCH_PX // MERGE)
        places = patch_places(grid, pictures.device)
        weight = visual.patch_embed.proj.weight.sum(2).flatten(1)
        x = F.linear(patches(pictures).to(self._dtype()), weight, visual.patch_embed.proj.bias)
        x = _norm(x, visual.post_conv_layernorm.weight) + self._placed(visual, grid, places)
        angles = (places[..., None].float() * visual.rotary_pos_emb.inv_freq.float()).flatten(1)
        cos, sin = (torch.cat((part, part), -1) for part in (angles.cos(), angles.sin()))
        # Compiling takes longer than it saves for the few pictures of long prompts.
        step = self._vision_block if len(pictures) >= FEW else _vision_block
        for block in visual.blocks:
            x = step(x, _vision_weights(block), block.attn.num_heads, cos, sin)
        x = _norm(x, visual.post_layernorm.weight)
        x = x.view(x.shape[0], -1, MERGE * MERGE * x.shape[-1])
        down = visual.downsample
        x = F.linear(x, down.weight.permute(0, 2, 3, 1).flatten(1), down.bias)
        merger = visual.merger
        x = F.gelu(merger.post_projection_norm(merger.proj(x)).to(x.dtype))
        return merger.down_proj(F.silu(merger.gate_proj(x)) * merger.up_proj(x))

    def _dtype(self) -> torch.dtype:
        device = self.model.device.type
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32

    def _placed(self, visual: Any, grid: tuple[int, int], places: Tensor) -> Tensor:
        weight = visual.embeddings.position_embedding.weight
        side = int(weight.shape[0] ** 0.5)
        table = weight.view(side, side, -1).permute(2, 0, 1).unsqueeze(0).float()
        extent = torch.tensor((grid[0] * MERGE, grid[1] * MERGE), device=weight.device)
        at = ((places + 0.5) / extent * 2 - 1).flip(-1)[None, :, None]
        taken = F.grid_sample(table, at.float(), mode="bicubic", align_corners=False, padding_mode="border")
        return taken[0, :, :, 0].T.to(self._dtype())

    def hidden(self, ids: Tensor, places: Tensor, seen: Tensor | None) -> Tensor:
        """Token ids (rows, tokens), places (rows, 3, tokens) and what was seen, to hidden states before the head."""
        language = self.model.model.language_model
        x = F.embedding(ids, language.embed_tokens.weight).to(self._dtype())
        if seen is not None:
            mask = (ids == self.model.config.image_token_id).unsqueeze(-1)
            x = x.masked_scatter(mask, seen.to(x.dtype))
        sections = language.rotary_emb.mrope_section
        angles = places.permute(1, 0, 2)[..., None].float() * language.rotary_emb.inv_freq.float()
        mixed = torch.cat([part[i % 3] for i, part in enumerate(angles.split(sections, -1))], -1)
        cos, sin = mixed.cos()[:, None], mixed.sin()[:, None]
        for layer in language.layers:
            x = self._text_block(x, _text_weights(layer), layer.self_attn.head_dim, cos, sin)
        return _norm(x, language.norm.weight)

    def loss(self, pictures: Tensor | None, ids: Tensor, places: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sum of the losses of learnt tokens, and the sum of their weights."""
        return self.loss_seen(None if pictures is None else self.see(pictures), ids, places, weights)

    def loss_seen(self, seen: Tensor | None, ids: Tensor, places: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The same, of pictures that were seen already."""
        x = self.hidden(ids, places, seen)
        learnt = weights[:, 1:] > 0
        logits = F.linear(x[:, :-1][learnt], self.model.model.language_model.embed_tokens.weight).float()
        losses = F.cross_entropy(logits, ids[:, 1:][learnt], reduction="none")
        weight = weights[:, 1:][learnt]
        return (losses * weight).sum(), weight.sum()
