"""Causal self-attention for decoders: with rotary positions, shared keys and a cache."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cs_vl.exercise import exercise
from cs_vl.nn.kv_cache import LayerCache
from cs_vl.nn.rotary import rotary_embed


@exercise
class CachedAttention(nn.Module):
    """A decoder's self-attention, that reads a text in one go or goes on from a cache.

    Args:
        dim: width of the tokens.
        heads: number of heads; each is dim // heads wide, and head h owns the columns h * head_dim ...
            (h + 1) * head_dim - 1 of its projection.
        kv_heads: number of heads of keys and values (default: heads).  Where they are fewer, each serves
            heads // kv_heads neighbouring query heads (Ainslie et al. 2023, GQA): with 6 heads and 2
            kv_heads, heads 0, 1, 2 look at key head 0, and heads 3, 4, 5 at key head 1.
        rotary_base: of `rotary_embed`, or None for no rotation (GPT-2).
        bias: whether the four linear layers have one (Llama: no; GPT-2: yes).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        rotary_base: float | None = 10000.0,
        bias: bool = False,
    ):
        super().__init__()
        kv_heads = kv_heads or heads
        if dim % heads or heads % kv_heads:
            raise ValueError(
                f"heads must divide dim, and kv_heads must divide heads; got dim={dim}, heads={heads} and "
                f"kv_heads={kv_heads}"
            )
        self.heads = heads
        self.kv_heads = kv_heads
        self.head_dim = dim // heads
        self.rotary_base = rotary_base
        self.q_proj = nn.Linear(dim, heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(dim, kv_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(dim, kv_heads * self.head_dim, bias=bias)
        self.out_proj = nn.Linear(heads * self.head_dim, dim, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "batch new dim"],
        positions: Int[Tensor, " new"] | Int[Tensor, "batch new"],
        mask: Bool[Tensor, "#batch #heads new keys"] | None = None,
        cache: LayerCache | None = None,
    ) -> Float[Tensor, "batch new dim"]:
        """Let the new tokens look at all tokens so far, their own among them.

        Queries and keys are rotated (`rotary_embed`), each by its own position, where `rotary_base` is not
        None; values never are.  The new keys, rotated already, and the new values then go into the cache,
        whose `append` gives those of all tokens so far, older ones first.  Attention is softmax(q k^T /
        sqrt(head_dim)) v in each head; `out_proj` joins the heads, head 0 first.

        Args:
            x: the new tokens: the whole text where there is no cache, or where it is still empty.
            positions: of the new tokens; see `rotary_embed`.
            mask: True = may look; it alone says so, and keys are all tokens so far, the new ones last.
                Every row has a True.  None: causal: a token sees itself and all before it, in x and in the
                cache.
            cache: this layer's, or None.

        Returns:
            (batch, new, dim).
        """
        ### BEGIN SOLUTION
        # (batch, new, heads * head_dim) -> (batch, heads, new, head_dim)
        q, k, v = (
            project(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        if self.rotary_base is not None:
            # Both by the same angles: in one go.
            both = rotary_embed(torch.cat([q, k], dim=1), positions, self.rotary_base)
            q, k = both.split([self.heads, self.kv_heads], dim=1)
        if cache is not None:
            k, v = cache.append(k, v)
        new, keys = q.shape[2], k.shape[2]
        if mask is None and new > 1:  # one token alone sees all that is there
            mask = x.new_ones(new, keys).tril(keys - new).bool()
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        return self.out_proj(heads.transpose(1, 2).flatten(2))
        ### END SOLUTION
