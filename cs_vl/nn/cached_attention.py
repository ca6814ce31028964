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
        heads: number of heads; each is dim // heads wide.
        kv_heads: number of heads of keys and values (default: heads).  Where they are fewer, each serves
            heads // kv_heads neighbouring query heads (Ainslie et al. 2023, GQA): query head h looks with
            key head h // (heads // kv_heads).
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
        """Let the new tokens look at all tokens so far.

        Queries and keys are rotated (`rotary_embed`), each by its own position, where `rotary_base` is not
        None; values never are.  The new keys, rotated already, and the new values then go into the cache,
        whose `append` gives those of all tokens so far, older ones first.  Attention is softmax(q k^T /
        sqrt(head_dim)) v in each head; `out_proj` joins the heads.

        Args:
            x: the new tokens: the whole text where there is no cache, or where it is still empty.
            positions: of the new tokens; see `rotary_embed`.
            mask: True = may look; keys are all tokens so far, the new ones last.  None: causal: a new token
                sees all that were there before x, and of x itself and those before itself.
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
            q = rotary_embed(q, positions, self.rotary_base)
            k = rotary_embed(k, positions, self.rotary_base)
        if cache is not None:
            k, v = cache.append(k, v)
        if mask is None:
            new, keys = q.shape[2], k.shape[2]
            mask = torch.ones(new, keys, dtype=torch.bool, device=x.device).tril(keys - new)
        k = k.repeat_interleave(self.heads // self.kv_heads, dim=1)
        v = v.repeat_interleave(self.heads // self.kv_heads, dim=1)
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(heads.transpose(1, 2).flatten(2))
        ### END SOLUTION
