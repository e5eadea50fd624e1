"""Muon in batches: orthogonalised momentum for matrices, all of one shape at once; knows nothing of what they mean.

Keller Jordan's Muon (2024) with its quintic Newton-Schulz coefficients, and the scale 0.2 * sqrt(longer side) of
Liu et al. (2025, arXiv 2502.16982), which lets it share AdamW's rate and weight decay.
"""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
STEPS = 5


def orthogonal(matrices: Tensor) -> Tensor:
    """Each of (n, rows, columns) brought near the closest matrix whose singular values are all one."""
    a, b, c = COEFFICIENTS
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):  # type: ignore[misc]  # its base has no types
    """One group of matrices; `lr` and `weight_decay` as AdamW's."""

    def __init__(self, matrices: list[Tensor], lr: float, weight_decay: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch types it so
    def step(self, closure: Any = None) -> None:
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    shapes[weight.shape].append(weight)
            for shape, weights in shapes.items():
                moments = [self.state[w].setdefault("momentum", torch.zeros_like(w)) for w in weights]
                gradients = [w.grad for w in weights]
                torch._foreach_lerp_(moments, gradients, 1 - group["momentum"])
                ahead = torch._foreach_lerp(gradients, moments, group["momentum"])
                moves = orthogonal(torch.stack(ahead)).unbind()
                rate = group["lr"]
                torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
                torch._foreach_add_(weights, list(moves), alpha=-rate * 0.2 * max(shape) ** 0.5)
