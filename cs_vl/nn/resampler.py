"""The perceiver resampler: however much there is to see, a fixed number of tokens sums it up."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cs_vl.exercise import exercise
from cs_vl.nn.attention import MultiHeadAttention
from cs_vl.nn.mlp import ACTIVATIONS


class FeedForward(nn.Module):
    """norm, linear, activation, linear, without biases in the linear layers (open_flamingo, `helpers.py`)."""

    def __init__(self, dim: int, hidden: int, activation: str = "gelu"):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, hidden, bias=False)
        self.activation = ACTIVATIONS[activation]
        self.fc2 = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.fc2(self.activation(self.fc1(self.norm(x))))


class ResamplerBlock(nn.Module):
    """The parts of one layer of a resampler.

    `norm_media` and `norm_latents` are layer norms; `attn(x, context)` returns a pair (output, weights);
    `mlp` begins with a norm of its own.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, mlp_dim: int, activation: str):
        super().__init__()
        self.norm_media = nn.LayerNorm(dim)
        self.norm_latents = nn.LayerNorm(dim)
        self.attn = MultiHeadAttention(dim, heads, head_dim=head_dim, bias=False)
        self.mlp = FeedForward(dim, mlp_dim, activation)


@exercise
class PerceiverResampler(nn.Module):
    """Learned queries that look at an image, layer after layer (Alayrac et al. 2022, Flamingo, fig. 5).

    Args:
        dim: width of the image's tokens and of the latents.
        depth: number of layers.
        heads, head_dim: of each layer's attention (default: head_dim = dim // heads).
        latents: how many tokens sum an image up.
        mlp_dim: hidden width of the MLPs (default: 4 * dim).
        activation: the MLPs' (open_flamingo: "gelu").
    """

    def __init__(
        self,
        dim: int,
        *,
        depth: int,
        heads: int,
        head_dim: int | None = None,
        latents: int = 64,
        mlp_dim: int | None = None,
        activation: str = "gelu",
    ):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(latents, dim))
        self.blocks: Any = nn.ModuleList(
            ResamplerBlock(dim, heads, head_dim or dim // heads, mlp_dim or 4 * dim, activation)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, media: Float[Tensor, "images tokens dim"]) -> Float[Tensor, "images latents dim"]:
        """Sum up each image, whatever the number of its tokens.

        Every image starts from the same `self.latents`.  In each block (see `ResamplerBlock`) the queries are
        norm_latents(latents); keys and values come from norm_media(media) *and*, behind them, from
        norm_latents(latents): the latents look at the image and at each other.  What attention gives is added
        to the latents (as they were before the norm), then what the block's `mlp` gives for that sum.  The
        media stay the same for all blocks.  `self.norm` comes once, at the end.

        `block.attn(x, context)` returns a pair (output, weights); `block.mlp` begins with a norm of its own.
        """
        ### BEGIN SOLUTION
        latents = self.latents.expand(len(media), -1, -1)
        for block in self.blocks:
            queries = block.norm_latents(latents)
            context = torch.cat([block.norm_media(media), queries], dim=1)
            latents = latents + block.attn(queries, context)[0]
            latents = latents + block.mlp(latents)
        return self.norm(latents)
        ### END SOLUTION
