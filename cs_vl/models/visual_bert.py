"""VisualBERT: words and pieces of the image, side by side in one BERT."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cs_vl.nn.init import init_weights
from cs_vl.nn.masks import attention_mask
from cs_vl.nn.text import TextTransformer


class VisualBERTOutput(NamedTuple):
    """What VisualBERT returns.

    pooled: the first text token, [CLS], which has read both.
    text: one vector a token of the text.
    visual: one vector a region of the image.
    """

    pooled: Float[Tensor, "batch dim"]
    text: Float[Tensor, "batch length dim"]
    visual: Float[Tensor, "batch regions dim"]


class VisualBERT(nn.Module):
    """A single stream (Li et al. 2019, sec. 3.2): from the first block on, everything looks at everything.

    Made to be pre-trained on captions with masked words and then fine-tuned for one task at a time, such as
    VQA with a classifier over the common answers on `pooled`.  LLaVA, too, puts the image into the sequence
    by a linear layer, but the sequence is that of a causal language model, which writes its answers; and its
    patches come from CLIP, where the regions here came from an object detector.

    Left out: regions that borrow the positions of the words which name them, where a data set says so (VCR).

    Args:
        bert: a `TextTransformer` as BERT is, with segments=2 at least: segment 1 and position 0 are what the
            image's start from.  Its own mask (causal or not) and its pooling play no part.
        visual_dim: width of the regions' features.

    Raises:
        ValueError: `bert` has fewer than two segments.
    """

    def __init__(self, bert: TextTransformer, *, visual_dim: int):
        super().__init__()
        if bert.segment_embed is None or bert.segment_embed.num_embeddings < 2:
            raise ValueError("VisualBERT needs a text transformer with segments=2: one for the image")
        self.bert = bert
        self.visual_projection = nn.Linear(visual_dim, bert.token_embed.embedding_dim)
        self.visual_projection.apply(init_weights)
        # One of each for all regions: a region's place is known, if at all, from its features.
        self.visual_segment = nn.Parameter(bert.segment_embed.weight[1].detach().clone())
        self.visual_position = nn.Parameter(bert.position_embed[0].detach().clone())

    def forward(
        self,
        ids: Int[Tensor, "batch length"],
        regions: Float[Tensor, "batch regions visual_dim"],
        lengths: Int[Tensor, " batch"] | None = None,
        counts: Int[Tensor, " batch"] | None = None,
        *,
        segment_ids: Int[Tensor, "batch length"] | None = None,
    ) -> VisualBERTOutput:
        """Read texts and images together.

        Args:
            ids, lengths, segment_ids: as in `TextTransformer`.
            regions: features of regions or patches, in any order; each image's real ones first.
            counts: how many regions of each image are real, 1 to regions (None: all).

        Raises:
            ValueError: a length or a count is out of range, or a text longer than BERT's context_length.
        """
        visual = self.visual_projection(regions) + self.visual_segment + self.visual_position
        x = torch.cat([self.bert.embed(ids, segment_ids), self.bert.embed_norm(visual)], dim=1)
        mask = torch.cat([real_keys(ids, lengths), real_keys(regions, counts)], dim=-1)
        for block in self.bert.blocks:
            x = block(x, mask)
        text, visual = self.bert.norm(x).tensor_split([ids.shape[1]], dim=1)
        return VisualBERTOutput(text[:, 0], text, visual)


def real_keys(padded: Tensor, lengths: Int[Tensor, " batch"] | None) -> Tensor:
    """The mask (batch, 1, 1, keys) by which nobody looks at the padding of (batch, keys, ...)."""
    batch, keys = padded.shape[:2]
    if lengths is None:
        lengths = torch.full((batch,), keys, device=padded.device)
    return attention_mask(1, lengths, keys)
