"""T5: an encoder reads, a decoder writes and looks back at what was read (Raffel et al. 2020, sec. 2.1)."""

from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cs_vl.nn.attention import MultiHeadAttention
from cs_vl.nn.masks import attention_mask
from cs_vl.nn.mlp import gelu_tanh
from cs_vl.nn.relative_bias import RelativeBias
from cs_vl.nn.rms_norm import RMSNorm


def shift_right(
    labels: Int[Tensor, "batch target"], *, start: int = 0, ignore: int = -100
) -> Int[Tensor, "batch target"]:
    """What the decoder reads while it learns to write `labels`: `start`, then all labels but the last.

    Args:
        labels: the ids to write; those that the loss leaves out are `ignore`, and become `start` here.
        start: T5 starts with its padding token, id 0.
    """
    shifted = F.pad(labels[:, :-1], (1, 0), value=start)
    return shifted.masked_fill(shifted == ignore, start)


class StackOutput(NamedTuple):
    """What the encoder returns (length: the source's), or the decoder (length: the target's).

    tokens: one vector a token, after the final norm.
    hidden_states: depth + 1 tensors: what enters the first block, then what leaves each block, all before
        the final norm.
    cross_attention: a decoder's weights over the source, one tensor a block; an encoder has none.
    """

    tokens: Float[Tensor, "batch length dim"]
    hidden_states: tuple[Float[Tensor, "batch length dim"], ...]
    cross_attention: tuple[Float[Tensor, "batch heads length source"], ...]


class T5Output(NamedTuple):
    """What a T5 returns; `logits` at i are of the target's token i + 1."""

    logits: Float[Tensor, "batch target vocab"]
    encoder: StackOutput
    decoder: StackOutput


class T5FeedForward(nn.Module):
    """down(relu(up(x))); gated, as in T5 v1.1: down(gelu(gate(x)) * up(x))   (Shazeer 2020, "GEGLU")."""

    def __init__(self, dim: int, mlp_dim: int, *, gated: bool):
        super().__init__()
        self.gate = nn.Linear(dim, mlp_dim, bias=False) if gated else None
        self.up = nn.Linear(dim, mlp_dim, bias=False)
        self.down = nn.Linear(mlp_dim, dim, bias=False)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        if self.gate is None:
            return self.down(self.up(x).relu())
        return self.down(gelu_tanh(self.gate(x)) * self.up(x))


class T5Block(nn.Module):
    """Self-attention, in a decoder cross-attention, feed-forward: each pre-norm, none with a bias."""

    def __init__(
        self, *, dim: int, head_dim: int, heads: int, mlp_dim: int, gated: bool, decoder: bool, eps: float
    ):
        super().__init__()
        self.attn_norm = RMSNorm(dim, eps=eps)
        self.attn = MultiHeadAttention(dim, heads, head_dim=head_dim, bias=False)
        if decoder:
            self.cross_norm = RMSNorm(dim, eps=eps)
            self.cross_attn = MultiHeadAttention(dim, heads, head_dim=head_dim, bias=False)
        self.mlp_norm = RMSNorm(dim, eps=eps)
        self.mlp = T5FeedForward(dim, mlp_dim, gated=gated)

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        bias: Float[Tensor, "#batch heads length length"],
        source: Float[Tensor, "batch source dim"] | None = None,
        source_mask: Bool[Tensor, "#batch 1 length source"] | None = None,
    ) -> tuple[Float[Tensor, "batch length dim"], Float[Tensor, "batch heads length source"] | None]:
        """Update every token.

        Args:
            bias: added to the scores of the self-attention; -inf where a token must not look.
            source: the encoder's output, for a decoder.
            source_mask: True = may look.

        Returns:
            (x, weights): `weights` of the cross-attention, None without a `source`.
        """
        weights = None
        x = x + self.attn(self.attn_norm(x), mask=bias)[0]
        if source is not None:
            seen, weights = self.cross_attn(self.cross_norm(x), source, source_mask)
            x = x + seen
        return x + self.mlp(self.mlp_norm(x)), weights


class T5Stack(nn.Module):
    """The encoder or the decoder: blocks that share one relative bias, and a final norm."""

    def __init__(self, blocks: list[T5Block], bias: RelativeBias, norm: RMSNorm):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.bias = bias
        self.norm = norm

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        mask: Bool[Tensor, "#batch 1 length length"],
        source: Float[Tensor, "batch source dim"] | None = None,
        source_mask: Bool[Tensor, "#batch 1 length source"] | None = None,
    ) -> StackOutput:
        bias = self.bias(x.shape[1], x.shape[1])  # (1, heads, length, length)
        bias = bias.masked_fill(~mask, -torch.inf)  # (batch, heads, length, length)
        hidden_states, cross_attention = [x], []
        for block in self.blocks:
            x, weights = block(x, bias, source, source_mask)
            hidden_states.append(x)
            if weights is not None:
                cross_attention.append(weights)
        return StackOutput(self.norm(x), tuple(hidden_states), tuple(cross_attention))


class T5(nn.Module):
    """Text in, text out.  No position embeddings: the relative bias alone knows the order of the tokens.

    Our attention divides its scores by sqrt(head_dim); T5's does not, and starts from query weights that are
    smaller by that factor instead, which is the same model.

    Args:
        vocab_size: number of token ids; source and target share one embedding.
        dim: width of the tokens.
        head_dim, heads: width and number of the attention heads; their product may differ from dim.
        mlp_dim: hidden width of the feed-forward layers.
        encoder_depth, decoder_depth: number of blocks.
        buckets, max_distance: of the relative bias; see `relative_position_bucket`.
        tied: whether the head is the embedding, times dim^-0.5 (T5 v1.0), or a layer of its own (v1.1).
        gated: whether the feed-forward layers are gated GELUs (v1.1) or plain ReLUs (v1.0).
        eps: of all norms.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        dim: int,
        head_dim: int,
        heads: int,
        mlp_dim: int,
        encoder_depth: int,
        decoder_depth: int,
        buckets: int = 32,
        max_distance: int = 128,
        tied: bool = True,
        gated: bool = False,
        eps: float = 1e-6,
    ):
        super().__init__()
        block = partial(
            T5Block, dim=dim, head_dim=head_dim, heads=heads, mlp_dim=mlp_dim, gated=gated, eps=eps
        )
        bias = partial(RelativeBias, heads, buckets=buckets, max_distance=max_distance)
        self.embed = nn.Embedding(vocab_size, dim)  # starts as N(0, 1), as T5's does
        self.encoder = T5Stack(
            [block(decoder=False) for _ in range(encoder_depth)],
            bias(bidirectional=True),
            RMSNorm(dim, eps=eps),
        )
        self.decoder = T5Stack(
            [block(decoder=True) for _ in range(decoder_depth)],
            bias(bidirectional=False),
            RMSNorm(dim, eps=eps),
        )
        self.head = None if tied else nn.Linear(dim, vocab_size, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)

    def encode(
        self, ids: Int[Tensor, "batch source"], lengths: Int[Tensor, "batch"] | None = None
    ) -> StackOutput:
        """Read the source: every token sees all of it."""
        x = self.embed(ids)
        return self.encoder(x, _mask(x, x, lengths))

    def decode(
        self,
        decoder_ids: Int[Tensor, "batch target"],
        source: Float[Tensor, "batch source dim"],
        lengths: Int[Tensor, "batch"] | None = None,
    ) -> StackOutput:
        """Write the target: a token sees those before it, and the whole source (`encode(...).tokens`)."""
        x = self.embed(decoder_ids)
        return self.decoder(x, _mask(x, x, causal=True), source, _mask(x, source, lengths))

    def to_logits(self, tokens: Float[Tensor, "batch target dim"]) -> Float[Tensor, "batch target vocab"]:
        """What the decoder will write next."""
        if self.head is not None:
            return self.head(tokens)
        # the embedding has unit variance: without the factor, logits would start sqrt(dim) large
        return tokens * tokens.shape[-1] ** -0.5 @ self.embed.weight.T

    def forward(
        self,
        ids: Int[Tensor, "batch source"],
        decoder_ids: Int[Tensor, "batch target"],
        lengths: Int[Tensor, "batch"] | None = None,
    ) -> T5Output:
        """Read a source and what has been written of its target.

        Args:
            ids: the source's token ids, each text's real tokens first.
            decoder_ids: the target's, behind a start token: in training `shift_right(labels)`.  They need no
                lengths: padding stands behind the real tokens, which never look ahead.
            lengths: how many tokens of each source are real (None: all); nobody looks at the padding behind.

        Raises:
            ValueError: a length is outside 1 ... source.
        """
        encoder = self.encode(ids, lengths)
        decoder = self.decode(decoder_ids, encoder.tokens, lengths)
        return T5Output(self.to_logits(decoder.tokens), encoder, decoder)


def _mask(
    queries: Tensor, keys: Tensor, lengths: Tensor | None = None, *, causal: bool = False
) -> Bool[Tensor, "batch 1 queries keys"]:
    """`attention_mask` between (batch, length, dim) tokens."""
    if lengths is None:
        lengths = torch.full((len(keys),), keys.shape[1], device=keys.device)
    return attention_mask(queries.shape[1], lengths, keys.shape[1], causal=causal)
