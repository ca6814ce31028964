"""Attention: every query looks at every key, and takes home a weighted average of the values."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cs_vl.exercise import exercise


@exercise
def scaled_dot_product_attention(
    q: Float[Tensor, "*batch queries d_k"],
    k: Float[Tensor, "*batch keys d_k"],
    v: Float[Tensor, "*batch keys d_v"],
    mask: Bool[Tensor, "*#batch queries keys"] | Float[Tensor, "*#batch queries keys"] | None = None,
) -> tuple[Float[Tensor, "*batch queries d_v"], Float[Tensor, "*batch queries keys"]]:
    """softmax(q k^T / sqrt(d_k) + mask) v   (Vaswani et al. 2017, eq. 1).

    Args:
        q, k, v: any number of leading batch dimensions (often batch and heads); d_v may differ from d_k.
        mask: broadcasts to (*batch, queries, keys), or None.  Boolean: True = may look, False = must not.
            Floating point: added to the scaled scores before the softmax.
            Every query may look at one key at least: no row is wholly masked.

    Returns:
        (output, weights): the output (*batch, queries, d_v), and the attention weights
        (*batch, queries, keys), each row of which sums to 1.
    """
    ### BEGIN SOLUTION
    scores = q @ k.mT / math.sqrt(q.shape[-1])  # (*batch, queries, keys)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    weights = scores.softmax(dim=-1)
    return weights @ v, weights
    ### END SOLUTION


@exercise
class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each in its own slice of the width (Vaswani et al. 2017, sec. 3.2.2).

    Self-attention when only `x` is given; cross-attention when `context` is: queries come from `x`, keys
    and values from `context`.

    Args:
        dim: width of `x` and of the output.
        heads: number of heads; head h owns the columns h * head_dim ... (h + 1) * head_dim - 1 of each
            projection.
        context_dim: width of `context` (default: dim).
        head_dim: width of one head (default: dim // heads).
        bias: whether the four linear layers have one.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        context_dim: int | None = None,
        head_dim: int | None = None,
        bias: bool = True,
    ):
        super().__init__()
        if head_dim is None and dim % heads:
            raise ValueError(f"dim must be divisible by heads; got dim={dim} and heads={heads}")
        self.heads = heads
        self.head_dim = head_dim or dim // heads
        context_dim = context_dim or dim
        self.q_proj = nn.Linear(dim, heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(context_dim, heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(context_dim, heads * self.head_dim, bias=bias)
        self.out_proj = nn.Linear(heads * self.head_dim, dim, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "batch queries dim"],
        context: Float[Tensor, "batch keys context_dim"] | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Float[Tensor, "batch queries dim"], Float[Tensor, "batch heads queries keys"]]:
        """Attend from `x` to `context` (to `x` itself where it is None).

        Args:
            mask: as in `scaled_dot_product_attention`; broadcasts to (batch, heads, queries, keys).

        Returns:
            (output, weights): (batch, queries, dim), and one map a head (batch, heads, queries, keys).
        """
        ### BEGIN SOLUTION
        context = x if context is None else context
        # (batch, tokens, heads * head_dim) -> (batch, heads, tokens, head_dim)
        q = self.q_proj(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k = self.k_proj(context).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        v = self.v_proj(context).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        heads, weights = scaled_dot_product_attention(q, k, v, mask)
        return self.out_proj(heads.transpose(1, 2).flatten(2)), weights
        ### END SOLUTION
