"""The transformer block: look at the others, then think for yourself; twice added to what was there."""

from jaxtyping import Float
from torch import Tensor, nn

from cs_vl.exercise import exercise
from cs_vl.nn.attention import MultiHeadAttention
from cs_vl.nn.mlp import MLP


@exercise
class TransformerBlock(nn.Module):
    """Self-attention and MLP, each with a residual connection and a layer norm.

    Pre-norm (GPT-2, ViT): each sublayer reads a normalised x, and its output is added to x itself; nothing
    on the residual path is ever normalised (Xiong et al. 2020, fig. 1b).  Post-norm (the original
    transformer, BERT): each sum of x and a sublayer's output is normalised (Vaswani et al. 2017, sec. 3.1).
    Either way `norm1` belongs to the attention and `norm2` to the MLP.

    Args:
        dim: width of the tokens.
        heads: number of attention heads.
        mlp_dim: hidden width of the MLP (default: 4 * dim).
        pre_norm: pre-norm or post-norm.
        activation: the MLP's, a key of `cs_vl.nn.mlp.ACTIVATIONS`.
        eps: of both layer norms.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_dim: int | None = None,
        *,
        pre_norm: bool = True,
        activation: str = "gelu",
        eps: float = 1e-5,
    ):
        super().__init__()
        self.pre_norm = pre_norm
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = MultiHeadAttention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = MLP(dim, mlp_dim or 4 * dim, activation)

    def forward(
        self, x: Float[Tensor, "batch tokens dim"], mask: Tensor | None = None
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return every token updated; x itself is left as it was.

        Args:
            mask: who may look at whom, as `MultiHeadAttention` takes it.  `self.attn` returns a pair
                (output, weights).
        """
        ### BEGIN SOLUTION
        if self.pre_norm:
            x = x + self.attn(self.norm1(x), mask=mask)[0]
            return x + self.mlp(self.norm2(x))
        x = self.norm1(x + self.attn(x, mask=mask)[0])
        return self.norm2(x + self.mlp(x))
        ### END SOLUTION
