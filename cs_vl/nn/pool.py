"""Attention pooling: a learned question to all tokens, answered by one vector."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cs_vl.nn.attention import MultiHeadAttention
from cs_vl.nn.mlp import MLP


class AttentionPool(nn.Module):
    """Multi-head attention pooling, the "MAP" head (Lee et al. 2019, sec. 3.2; Zhai et al. 2022, sec. 2.2).

    One learned query attends to all tokens; an MLP with a pre-norm and a residual connection follows, as in
    SigLIP.

    Args:
        dim: width of the tokens and of the pooled vector.
        heads: number of attention heads.
        mlp_dim: hidden width of the MLP (default: 4 * dim).
        activation: the MLP's, a key of `cs_vl.nn.mlp.ACTIVATIONS`.
        eps: of the layer norm.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_dim: int | None = None,
        *,
        activation: str = "gelu",
        eps: float = 1e-6,
    ):
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, 1, dim))
        self.attn = MultiHeadAttention(dim, heads)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.mlp = MLP(dim, mlp_dim or 4 * dim, activation)
        nn.init.trunc_normal_(self.query, std=0.02)

    def forward(
        self, tokens: Float[Tensor, "batch tokens dim"], mask: Tensor | None = None
    ) -> Float[Tensor, "batch dim"]:
        """Pool; `mask` as `MultiHeadAttention` takes it, with one query."""
        x, _ = self.attn(self.query.expand(len(tokens), -1, -1), tokens, mask)
        return (x + self.mlp(self.norm(x)))[:, 0]
