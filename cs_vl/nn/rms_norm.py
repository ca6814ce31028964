"""RMSNorm: layer norm without the mean and without the bias."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, over the last dimension   (Zhang and Sennrich 2019, eq. 4)."""

    def __init__(self, dim: int, *, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        mean_square = x.square().mean(dim=-1, keepdim=True)
        return x * (mean_square + self.eps).rsqrt() * self.weight
