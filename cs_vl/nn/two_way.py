"""The two-way transformer: prompts look at the image, and the image looks back at the prompts."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from cs_vl.exercise import exercise
from cs_vl.nn.mlp import MLP


class NarrowAttention(nn.Module):
    """Multi-head attention whose keys and values may come from different tensors, in a width of its own.

    Args:
        dim: width of queries, keys, values and of the output.
        heads: number of heads.
        inner_dim: width of all heads together (default: dim; SAM's cross-attentions: dim / 2).
    """

    def __init__(self, dim: int, heads: int, inner_dim: int | None = None):
        super().__init__()
        inner_dim = inner_dim or dim
        if inner_dim % heads:
            raise ValueError(f"inner_dim must be divisible by heads; got {inner_dim} and {heads}")
        self.heads = heads
        self.q_proj = nn.Linear(dim, inner_dim)
        self.k_proj = nn.Linear(dim, inner_dim)
        self.v_proj = nn.Linear(dim, inner_dim)
        self.out_proj = nn.Linear(inner_dim, dim)

    def forward(
        self,
        q: Float[Tensor, "*batch queries dim"],
        k: Float[Tensor, "*#batch keys dim"],
        v: Float[Tensor, "*#batch keys dim"],
    ) -> Float[Tensor, "*batch queries dim"]:
        """Batch dimensions broadcast: an image that many prompts share is projected once."""
        q, k, v = (
            proj(x).unflatten(-1, (self.heads, -1)).transpose(-2, -3)  # (*batch, heads, tokens, head_dim)
            for proj, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        batch = torch.broadcast_shapes(q.shape[:-3], k.shape[:-3])
        # torch's own attention wants one batch dimension, the same for all; it never stores the scores.
        q, k, v = (x.expand(*batch, -1, -1, -1).reshape(-1, *x.shape[-3:]) for x in (q, k, v))
        heads = F.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2)
        return self.out_proj(heads.reshape(*batch, *heads.shape[1:]))


@exercise
class TwoWayBlock(nn.Module):
    """One layer of SAM's decoder (Kirillov et al. 2023, app. A and fig. 14; `modeling/transformer.py`).

    Args:
        dim: width of tokens and pixels.
        heads: of all three attentions.
        mlp_dim: hidden width of the MLP.
        inner_dim: width of the two cross-attentions (default: dim / 2).
        first: whether it is the first layer.
        eps: of the layer norms.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_dim: int,
        *,
        inner_dim: int | None = None,
        first: bool = False,
        eps: float = 1e-5,
    ):
        super().__init__()
        inner_dim = inner_dim or dim // 2
        self.first = first
        self.self_attn = NarrowAttention(dim, heads)
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.token_to_image = NarrowAttention(dim, heads, inner_dim)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = MLP(dim, mlp_dim, "relu")
        self.norm3 = nn.LayerNorm(dim, eps=eps)
        self.image_to_token = NarrowAttention(dim, heads, inner_dim)
        self.norm4 = nn.LayerNorm(dim, eps=eps)

    def forward(
        self,
        tokens: Float[Tensor, "images prompts tokens dim"],
        pixels: Float[Tensor, "images #prompts pixels dim"],
        token_positions: Float[Tensor, "images prompts tokens dim"],
        pixel_positions: Float[Tensor, "pixels dim"],
    ) -> tuple[Float[Tensor, "images prompts tokens dim"], Float[Tensor, "images prompts pixels dim"]]:
        """Update the tokens, then the pixels; all inputs are left as they were.

        Four sublayers, each added to what came in and then normalised (post-norm):

        1. `self_attn` among the tokens, `norm1`;
        2. `token_to_image`: tokens look at pixels, `norm2`;
        3. `mlp` of each token, `norm3`;
        4. `image_to_token`: pixels look at the tokens, `norm4`.

        Every attention adds the positions to its queries and keys, never to its values.  `first`: the tokens
        are their own positions then, so sublayer 1 adds none, and what it gives *replaces* the tokens.

        Args:
            pixels: where no mask is given as a prompt, all prompts share one image: prompts = 1.  What
                comes out has a picture for each prompt.
            token_positions: the tokens as they entered the first layer.
            pixel_positions: `grid_positions`, flattened.

        `attn(q, k, v)` gives the output alone, and broadcasts over the prompts.
        """
        ### BEGIN SOLUTION
        if self.first:
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            q = tokens + token_positions
            tokens = self.norm1(tokens + self.self_attn(q, q, tokens))

        q, k = tokens + token_positions, pixels + pixel_positions
        tokens = self.norm2(tokens + self.token_to_image(q, k, pixels))
        tokens = self.norm3(tokens + self.mlp(tokens))

        q = tokens + token_positions  # the pixels' queries are k, as before: they have not changed
        pixels = self.norm4(pixels + self.image_to_token(k, q, tokens))
        return tokens, pixels
        ### END SOLUTION


class TwoWayTransformer(nn.Module):
    """`TwoWayBlock`s, and a last look of the tokens at the image.

    Args:
        dim, heads, mlp_dim, inner_dim, eps: as in `TwoWayBlock`; the last norm has an eps of 1e-5 always.
        depth: number of blocks.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        mlp_dim: int,
        *,
        depth: int = 2,
        inner_dim: int | None = None,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.blocks: Any = nn.ModuleList(
            TwoWayBlock(dim, heads, mlp_dim, inner_dim=inner_dim, first=i == 0, eps=eps) for i in range(depth)
        )
        self.token_to_image = NarrowAttention(dim, heads, inner_dim or dim // 2)
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        tokens: Float[Tensor, "images prompts tokens dim"],
        pixels: Float[Tensor, "images #prompts pixels dim"],
        pixel_positions: Float[Tensor, "pixels dim"],
    ) -> tuple[Float[Tensor, "images prompts tokens dim"], Float[Tensor, "images prompts pixels dim"]]:
        positions = tokens  # a prompt's token says where it is; it is added again in every attention
        for block in self.blocks:
            tokens, pixels = block(tokens, pixels, positions, pixel_positions)
        looked = self.token_to_image(tokens + positions, pixels + pixel_positions, pixels)
        return self.norm(tokens + looked), pixels
