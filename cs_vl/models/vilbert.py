"""ViLBERT: one transformer for words, one for pieces of the image, and co-attention between the two."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cs_vl.models.visual_bert import real_keys
from cs_vl.nn.attention import MultiHeadAttention
from cs_vl.nn.block import TransformerBlock
from cs_vl.nn.init import init_weights
from cs_vl.nn.mlp import MLP
from cs_vl.nn.text import TextTransformer


class CoAttentionBlock(nn.Module):
    """One stream's half of a co-attentional layer (Lu et al. 2019, fig. 2b).

    A post-norm `TransformerBlock` but for one thing: the queries are the stream's own, the keys and values
    the other stream's.

    Args:
        dim, other_dim: width of this stream, and of the other.
        heads, head_dim: attention heads, and the width of each.
        mlp_dim: hidden width of the MLP (default: 4 * dim).
        activation: the MLP's, a key of `cs_vl.nn.mlp.ACTIVATIONS`.
        eps: of both layer norms.
    """

    def __init__(
        self,
        dim: int,
        other_dim: int,
        *,
        heads: int,
        head_dim: int,
        mlp_dim: int | None = None,
        activation: str = "gelu",
        eps: float = 1e-5,
    ):
        super().__init__()
        self.attn = MultiHeadAttention(dim, heads, context_dim=other_dim, head_dim=head_dim)
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.mlp = MLP(dim, mlp_dim or 4 * dim, activation)
        self.norm2 = nn.LayerNorm(dim, eps=eps)

    def forward(
        self,
        x: Float[Tensor, "batch tokens dim"],
        other: Float[Tensor, "batch keys other_dim"],
        mask: Tensor | None = None,
    ) -> Float[Tensor, "batch tokens dim"]:
        """Return every token of x updated by what it found in the other stream.

        Args:
            mask: which keys of `other` are to be seen, as `MultiHeadAttention` takes it.
        """
        x = self.norm1(x + self.attn(x, other, mask)[0])
        return self.norm2(x + self.mlp(x))


class ViLBERTOutput(NamedTuple):
    """What ViLBERT returns: one vector a token of the text, one vector a region of the image."""

    text: Float[Tensor, "batch length text_dim"]
    visual: Float[Tensor, "batch regions visual_dim"]


class ViLBERT(nn.Module):
    """Two streams that meet in co-attention (Lu et al. 2019, sec. 3.1).

    The text is read alone first.  Then, `co_depth` times, each stream looks at the other, and goes through a
    block of its own.  Regions need no blocks before: a detector has read them already.

    Made to be pre-trained on pairs of image and caption and then fine-tuned for one task at a time (VQA,
    referring expressions, retrieval).  LLaVA has no second stream and no cross-attention: its image is part
    of the text, and the language model's own self-attention finds it.  Flamingo kept the cross-attention in
    one direction, from text to image.

    The paper's base model: a `bert` of 12 blocks, visual_dim=1024, visual_heads=8, co_depth=6, co_heads=8,
    co_head_dim=128, and visual MLPs of 1024 (official code, `config/bert_base_6layer_6conect.json`).

    Args:
        bert: a `TextTransformer` as BERT is, of co_depth blocks at least: the last co_depth each stand behind
            a co-attention.  Its own mask (causal or not) and its pooling play no part.
        region_dim: width of the regions' features.
        visual_dim, visual_heads, visual_mlp_dim: of the visual stream's blocks (default MLP: 4 * visual_dim).
        co_depth: number of co-attentional layers, and of the visual stream's own blocks.
        co_heads, co_head_dim: attention heads of the co-attention, the same in both directions.
        text_mlp_dim: of the text's half of the co-attentional layers (default: four times its width).
        activation, eps: of all that is not `bert`'s own.

    Raises:
        ValueError: `bert` has fewer blocks than co_depth.
    """

    def __init__(
        self,
        bert: TextTransformer,
        *,
        region_dim: int,
        visual_dim: int,
        visual_heads: int,
        visual_mlp_dim: int | None = None,
        co_depth: int,
        co_heads: int,
        co_head_dim: int,
        text_mlp_dim: int | None = None,
        activation: str = "gelu",
        eps: float = 1e-5,
    ):
        super().__init__()
        if len(bert.blocks) < co_depth:
            raise ValueError(f"co_depth={co_depth} needs as many text blocks; bert has {len(bert.blocks)}")
        text_dim = bert.token_embed.embedding_dim
        co: dict[str, Any] = {
            "heads": co_heads,
            "head_dim": co_head_dim,
            "activation": activation,
            "eps": eps,
        }
        layers = range(co_depth)

        self.visual_embed = nn.Linear(region_dim, visual_dim)
        self.box_embed = nn.Linear(5, visual_dim)
        self.visual_norm = nn.LayerNorm(visual_dim, eps=eps)
        self.text_looks = nn.ModuleList(
            CoAttentionBlock(text_dim, visual_dim, mlp_dim=text_mlp_dim, **co) for _ in layers
        )
        self.visual_looks = nn.ModuleList(
            CoAttentionBlock(visual_dim, text_dim, mlp_dim=visual_mlp_dim, **co) for _ in layers
        )
        self.visual_blocks = nn.ModuleList(
            TransformerBlock(
                visual_dim, visual_heads, visual_mlp_dim, pre_norm=False, activation=activation, eps=eps
            )
            for _ in layers
        )
        self.apply(init_weights)
        self.bert = bert  # as it comes: it may be trained already

    def forward(
        self,
        ids: Int[Tensor, "batch length"],
        regions: Float[Tensor, "batch regions region_dim"],
        boxes: Float[Tensor, "batch regions 4"],
        lengths: Int[Tensor, " batch"] | None = None,
        counts: Int[Tensor, " batch"] | None = None,
        *,
        segment_ids: Int[Tensor, "batch length"] | None = None,
    ) -> ViLBERTOutput:
        """Read texts and images, each in its own stream.

        Args:
            ids, lengths, segment_ids: as in `TextTransformer`.
            regions: features of regions or patches, in any order; each image's real ones first.  In the
                paper the first is the average of them all, and its box the whole image.
            boxes: left, top, right and bottom of each region in [0, 1], as a part of width and height.
            counts: how many regions of each image are real, 1 to regions (None: all).

        Raises:
            ValueError: a length or a count is out of range, or a text longer than BERT's context_length.
        """
        left, top, right, bottom = boxes.unbind(-1)
        area = (right - left) * (bottom - top)
        boxes = torch.cat([boxes, area[..., None]], dim=-1)
        visual = self.visual_norm(self.visual_embed(regions) + self.box_embed(boxes))
        text = self.bert.embed(ids, segment_ids)
        text_mask, visual_mask = real_keys(ids, lengths), real_keys(regions, counts)

        alone = len(self.bert.blocks) - len(self.visual_blocks)
        for block in self.bert.blocks[:alone]:
            text = block(text, text_mask)
        for text_looks, visual_looks, text_block, visual_block in zip(
            self.text_looks, self.visual_looks, self.bert.blocks[alone:], self.visual_blocks, strict=True
        ):
            # At the same time: each sees the other as it was.
            text, visual = text_looks(text, visual, visual_mask), visual_looks(visual, text, text_mask)
            text, visual = text_block(text, text_mask), visual_block(visual, visual_mask)
        return ViLBERTOutput(self.bert.norm(text), visual)
