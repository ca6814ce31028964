"""A decoder-only language model: a small Llama, or a GPT-2, that can read embeddings in place of words."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cs_vl.nn.cached_attention import CachedAttention
from cs_vl.nn.init import init_weights
from cs_vl.nn.kv_cache import KVCache, LayerCache
from cs_vl.nn.mlp import MLP
from cs_vl.nn.rms_norm import RMSNorm
from cs_vl.nn.swiglu import SwiGLU

# Called before each block with its index and x: what it returns goes on (Flamingo's way in).
BeforeBlock = Callable[[int, Float[Tensor, "batch new dim"]], Float[Tensor, "batch new dim"]]


class DecoderBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, norm1: nn.Module, attn: CachedAttention, norm2: nn.Module, mlp: nn.Module):
        super().__init__()
        self.norm1 = norm1
        self.attn = attn
        self.norm2 = norm2
        self.mlp = mlp

    def forward(
        self,
        x: Float[Tensor, "batch new dim"],
        positions: Tensor,
        mask: Tensor | None,
        cache: LayerCache | None,
    ) -> Float[Tensor, "batch new dim"]:
        x = x + self.attn(self.norm1(x), positions, mask, cache)
        return x + self.mlp(self.norm2(x))


class Decoder(nn.Module):
    """A language model.

    - style="llama" (Touvron et al. 2023, sec. 2.2): RMSNorm, rotary positions, SwiGLU, no biases.
    - style="gpt2" (Radford et al. 2019, sec. 2.3): layer norm, learned positions, GELU, biases.

    Args:
        vocab_size: number of token ids.
        context_length: the longest text in tokens, images included.
        dim, depth, heads: width of the tokens, number of blocks, attention heads of each.
        kv_heads: heads of keys and values (default: heads); see `CachedAttention`.
        mlp_dim: hidden width of the MLPs (default: 4 * dim; for Llama 8/3 * dim, which costs the same).
        rotary_base: of Llama's positions.
        tied: whether the head is the token embedding itself, or a matrix `head` of its own.
        eps: of all norms (default: Llama 1e-6, GPT-2 1e-5).
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        context_length: int,
        dim: int,
        depth: int,
        heads: int,
        kv_heads: int | None = None,
        mlp_dim: int | None = None,
        style: Literal["llama", "gpt2"] = "llama",
        rotary_base: float = 10000.0,
        tied: bool = True,
        eps: float | None = None,
    ):
        super().__init__()
        if style not in ("llama", "gpt2"):
            raise ValueError(f"style must be 'llama' or 'gpt2'; got {style!r}")
        llama = style == "llama"
        eps = eps or (1e-6 if llama else 1e-5)
        self.context_length = context_length
        self.token_embed = nn.Embedding(vocab_size, dim)
        self.position_embed = None if llama else nn.Parameter(torch.empty(context_length, dim))

        def norm() -> nn.Module:
            return RMSNorm(dim, eps=eps) if llama else nn.LayerNorm(dim, eps=eps)

        def mlp() -> nn.Module:
            return (
                SwiGLU(dim, mlp_dim or 8 * dim // 3) if llama else MLP(dim, mlp_dim or 4 * dim, "gelu_tanh")
            )

        base = rotary_base if llama else None
        self.blocks = nn.ModuleList(
            DecoderBlock(
                norm(),
                CachedAttention(dim, heads, kv_heads=kv_heads, rotary_base=base, bias=not llama),
                norm(),
                mlp(),
            )
            for _ in range(depth)
        )
        self.norm = norm()
        self.head = None if tied else nn.Linear(dim, vocab_size, bias=False)

        self.apply(init_weights)
        if self.position_embed is not None:
            nn.init.trunc_normal_(self.position_embed, std=0.02)

    def forward(
        self,
        ids: Int[Tensor, "batch new"] | None = None,
        *,
        embeds: Float[Tensor, "batch new dim"] | None = None,
        real: Bool[Tensor, "batch keys"] | None = None,
        cache: KVCache | None = None,
        before_block: BeforeBlock | None = None,
    ) -> Float[Tensor, "batch new vocab"]:
        """Logits: those at i are of token i + 1.  Arguments as in `hidden`."""
        return self.logits(self.hidden(ids, embeds=embeds, real=real, cache=cache, before_block=before_block))

    def hidden(
        self,
        ids: Int[Tensor, "batch new"] | None = None,
        *,
        embeds: Float[Tensor, "batch new dim"] | None = None,
        real: Bool[Tensor, "batch keys"] | None = None,
        cache: KVCache | None = None,
        before_block: BeforeBlock | None = None,
    ) -> Float[Tensor, "batch new dim"]:
        """The tokens after the last norm.

        Args:
            ids: the new tokens; or
            embeds: what to read in their place: embeddings of words, of image patches, of anything.
            real: which tokens are real and which padding, in front or behind: of those in the cache first,
                then of the new ones.  None: all are.  Padding takes no position, and no real token sees it.
            cache: `new_cache(...)`, or None; the new tokens are put into it.
            before_block: see `BeforeBlock`.

        Raises:
            ValueError: neither or both of ids and embeds are given, or the text is too long.
        """
        if (ids is None) == (embeds is None):
            raise ValueError("a decoder reads either ids or embeds: give one of them")
        x = self.token_embed(ids) if embeds is None else embeds
        past, new = 0 if cache is None else cache.length, x.shape[1]
        if past + new > self.context_length:
            raise ValueError(
                f"context_length is {self.context_length} tokens; got {past + new}: shorten the text"
            )
        if real is None:
            mask, positions = None, torch.arange(past, past + new, device=x.device)
        else:
            if real.shape != (len(x), past + new):
                raise ValueError(
                    f"real should say of each of the {len(x)} x {past + new} tokens whether it is real; "
                    f"got shape {tuple(real.shape)}"
                )
            mask = padded_causal_mask(real, new)
            positions = (real.cumsum(dim=1) - 1).clamp(min=0)[:, past:]
        if self.position_embed is not None:
            x = x + self.position_embed[positions]
        for i, block in enumerate(self.blocks):
            if before_block is not None:
                x = before_block(i, x)
            x = block(x, positions, mask, None if cache is None else cache.layers[i])
        return self.norm(x)

    def logits(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch vocab"]:
        """The head: how likely each token comes next."""
        return x @ (self.token_embed.weight if self.head is None else self.head.weight).T

    def new_cache(self, batch: int, capacity: int) -> KVCache:
        """An empty cache for `batch` texts of up to `capacity` tokens."""
        attn: Any = self.blocks[0].attn
        return KVCache(
            len(self.blocks), batch, attn.kv_heads, capacity, attn.head_dim, like=self.token_embed.weight
        )


def padded_causal_mask(real: Bool[Tensor, "batch keys"], new: int) -> Bool[Tensor, "batch 1 new keys"]:
    """Who may look at whom, for the last `new` of all tokens: at real ones, and not ahead.

    Padding sees itself: a row that sees nothing would be NaN.
    """
    keys = real.shape[1]
    causal = torch.ones(new, keys, dtype=torch.bool, device=real.device).tril(keys - new)
    itself = torch.eye(keys, dtype=torch.bool, device=real.device)[keys - new :]
    return ((causal & real[:, None]) | itself)[:, None]
