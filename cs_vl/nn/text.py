"""Text transformers: BERT, GPT-2 and CLIP's text tower are one class; a language model adds one line."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cs_vl.exercise import exercise
from cs_vl.nn.block import TransformerBlock
from cs_vl.nn.init import init_weights
from cs_vl.nn.masks import attention_mask


@exercise
def pool_text(
    tokens: Float[Tensor, "batch length dim"],
    ids: Int[Tensor, "batch length"],
    how: str,
    *,
    end_id: int = -1,
    lengths: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, "batch dim"]:
    """One vector a text.

    Args:
        tokens: the transformer's output, one vector a token.
        ids: the tokens' ids.
        how: "first": the first token (BERT's [CLS]).
            "last": the last token that is not padding (GPT).
            "eot": the *first* token whose id is `end_id` (CLIP); padding behind it may repeat that id.
            "mean": the average over the tokens that are not padding.
        end_id: id of the end-of-text token (no id is negative); for "eot" only.
        lengths: how many tokens of each text are real, 1 to length; padding stands behind them.  None: all.
            For "last" and "mean".

    Returns:
        (batch, dim), each row from its own text alone.  Padding gets exactly zero gradient.

    Raises:
        ValueError: an unknown `how`, or for "eot" a text without end_id.
    """
    if how not in ("first", "last", "eot", "mean"):
        raise ValueError(f"how must be 'first', 'last', 'eot' or 'mean'; got {how!r}")
    if how == "eot" and not (ids == end_id).any(dim=1).all():
        raise ValueError(f"'eot' needs an end_id that occurs in every text; end_id={end_id} does not")
    if lengths is None:
        lengths = torch.full_like(ids[:, 0], ids.shape[1])
    ### BEGIN SOLUTION
    # Each way is an average over the tokens that it chooses.
    position = torch.arange(ids.shape[1]).to(ids.device).expand_as(ids)  # (batch, length)
    chosen = {
        "first": position < 1,
        "last": position == lengths[:, None] - 1,
        "eot": position == (ids == end_id).int().argmax(dim=1, keepdim=True),  # the first of equal maxima
        "mean": position < lengths[:, None],
    }[how]
    return (tokens * chosen[..., None]).sum(dim=1) / chosen.sum(dim=1, keepdim=True)
    ### END SOLUTION


class TextOutput(NamedTuple):
    """What a text transformer returns.

    pooled: one vector a text.
    tokens: one vector a token, after the final norm.
    hidden_states: depth + 1 tensors: what enters the first block, then what leaves each block, all before
        the final norm.
    """

    pooled: Float[Tensor, "batch dim"]
    tokens: Float[Tensor, "batch length dim"]
    hidden_states: tuple[Float[Tensor, "batch length dim"], ...]


class TextTransformer(nn.Module):
    """A transformer over token ids; what it becomes depends on its mask and on where the norms stand.

    - BERT (Devlin et al. 2019): causal=False, pool="first", pre_norm=False, final_norm=False,
      embed_norm=True, segments=2
    - GPT-2 (Radford et al. 2019): causal=True, pool="last", activation="gelu_tanh"
    - CLIP's text tower (Radford et al. 2021): causal=True, pool="eot", end_id=..., activation="quick_gelu"
    - a prefix LM (Raffel et al. 2020): any of them, and
      `forward(ids, mask=language_model_mask("prefix", ...))`

    Args:
        vocab_size: number of token ids.
        context_length: the longest text, in tokens; positions are learned.
        dim, depth, heads: width of the tokens, number of blocks, attention heads of each.
        mlp_dim: hidden width of the MLPs (default: 4 * dim).
        causal: whether a token sees itself and those before it only.
        pool, end_id: how tokens become one vector; see `pool_text`.
        pre_norm: pre-norm or post-norm blocks; see `TransformerBlock`.
        activation: the MLPs', a key of `cs_vl.nn.mlp.ACTIVATIONS`.
        eps: of all layer norms.
        segments: number of segments that a text may have (BERT: sentences A and B), or 0.
        embed_norm: whether to normalise the embeddings before the first block.
        final_norm: whether to normalise the tokens after the last block.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        context_length: int,
        dim: int,
        depth: int,
        heads: int,
        mlp_dim: int | None = None,
        causal: bool,
        pool: str = "last",
        end_id: int = -1,
        pre_norm: bool = True,
        activation: str = "gelu",
        eps: float = 1e-5,
        segments: int = 0,
        embed_norm: bool = False,
        final_norm: bool = True,
    ):
        super().__init__()
        if pool == "eot" and end_id < 0:
            raise ValueError("pool='eot' needs end_id, the id of the end-of-text token")
        self.causal = causal
        self.pool = pool
        self.end_id = end_id
        self.token_embed = nn.Embedding(vocab_size, dim)
        self.position_embed = nn.Parameter(torch.empty(context_length, dim))
        self.segment_embed = nn.Embedding(segments, dim) if segments else None
        self.embed_norm = nn.LayerNorm(dim, eps=eps) if embed_norm else nn.Identity()
        self.blocks = nn.ModuleList(
            TransformerBlock(dim, heads, mlp_dim, pre_norm=pre_norm, activation=activation, eps=eps)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim, eps=eps) if final_norm else nn.Identity()

        self.apply(init_weights)
        nn.init.trunc_normal_(self.position_embed, std=0.02)

    def forward(
        self,
        ids: Int[Tensor, "batch length"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        mask: Bool[Tensor, "*#batch length length"] | None = None,
        segment_ids: Int[Tensor, "batch length"] | None = None,
    ) -> TextOutput:
        """Read texts.

        Args:
            ids: token ids, each text's real tokens first.
            lengths: how many tokens of each text are real (None: all); nobody looks at the padding behind.
            mask: takes the place of the model's own pattern (causal or not); True = may look; broadcasts to
                (batch, heads, length, length).  Padding stays hidden.
            segment_ids: 0 to segments - 1 (None: all 0).

        Raises:
            ValueError: a text is longer than context_length.
        """
        batch, length = ids.shape
        x = self.embed(ids, segment_ids)
        if lengths is None:
            lengths = torch.full((batch,), length, device=ids.device)
        padding_mask = attention_mask(length, lengths, length, causal=self.causal and mask is None)
        mask = padding_mask if mask is None else padding_mask & mask.to(ids.device)

        hidden_states = [x]
        for block in self.blocks:
            x = block(x, mask)
            hidden_states.append(x)

        tokens = self.norm(x)
        pooled = pool_text(tokens, ids, self.pool, end_id=self.end_id, lengths=lengths)
        return TextOutput(pooled, tokens, tuple(hidden_states))

    def embed(
        self, ids: Int[Tensor, "batch length"], segment_ids: Int[Tensor, "batch length"] | None = None
    ) -> Float[Tensor, "batch length dim"]:
        """What enters the first block; arguments and errors as in `forward`."""
        length = ids.shape[1]
        if length > len(self.position_embed):
            longest = len(self.position_embed)
            raise ValueError(f"context_length is {longest} tokens; got {length}: cut the texts or raise it")
        x = self.token_embed(ids) + self.position_embed[:length]
        if self.segment_embed is not None:
            x = x + self.segment_embed(torch.zeros_like(ids) if segment_ids is None else segment_ids)
        return self.embed_norm(x)


class LanguageModel(nn.Module):
    """A text transformer and its guess at each token: the more alike, the likelier.

    The head is tied: it is the token embedding itself (Press & Wolf 2017), so it adds no parameter.

    Args:
        transformer: causal for a GPT; not causal for a masked LM.
    """

    def __init__(self, transformer: TextTransformer):
        super().__init__()
        self.transformer = transformer

    def forward(
        self,
        ids: Int[Tensor, "batch length"],
        lengths: Int[Tensor, " batch"] | None = None,
        *,
        mask: Bool[Tensor, "*#batch length length"] | None = None,
    ) -> Float[Tensor, "batch length vocab"]:
        """Logits; arguments as in `TextTransformer`.  A causal LM's logits at i are of token i + 1."""
        tokens = self.transformer(ids, lengths, mask=mask).tokens
        return tokens @ self.transformer.token_embed.weight.T
