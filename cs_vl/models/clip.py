"""CLIP: two towers, one for images and one for texts, that meet on the unit sphere of one space."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cs_vl.exercise import exercise


class CLIPOutput(NamedTuple):
    """What CLIP returns; None stands for what was not asked for.

    image_features, text_features: each of length 1.
    logits: how well each image (a row) fits each text (a column).
    """

    image_features: Float[Tensor, "images embed_dim"] | None
    text_features: Float[Tensor, "texts embed_dim"] | None
    logits: Float[Tensor, "images texts"] | None


@exercise
class CLIP(nn.Module):
    """Contrastive language-image pre-training (Radford et al. 2021, fig. 3).

    Args:
        visual: `visual(images).pooled` is (images, visual_dim); a `ViT`, say.
        text: `text(ids, lengths).pooled` is (texts, text_dim); a `TextTransformer`, say.
        visual_dim, text_dim: width of what the towers pool.
        embed_dim: width of the space that they share.
        logit_scale: start of the parameter, the *logarithm* of what multiplies cosines (default: ln(1/0.07)).
        logit_bias: start of what is added to the logits (SigLIP: -10), or None for none; then
            `self.logit_bias` is None, too.
    """

    def __init__(
        self,
        *,
        visual: nn.Module,
        text: nn.Module,
        visual_dim: int,
        text_dim: int,
        embed_dim: int,
        logit_scale: float = math.log(1 / 0.07),
        logit_bias: float | None = None,
    ):
        super().__init__()
        self.visual = visual
        self.text = text
        self.visual_projection = nn.Linear(visual_dim, embed_dim, bias=False)
        self.text_projection = nn.Linear(text_dim, embed_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(float(logit_scale)))
        self.logit_bias = None if logit_bias is None else nn.Parameter(torch.tensor(float(logit_bias)))

    def forward(
        self,
        images: Float[Tensor, "images channels height width"] | None = None,
        ids: Int[Tensor, "texts length"] | None = None,
        lengths: Int[Tensor, " texts"] | None = None,
    ) -> CLIPOutput:
        """Encode what is given.

        A tower's `pooled` goes through its projection and is then scaled to length 1 (L2 norm).

        Args:
            images, ids: either may be None: its features are None then, as are the logits.
            lengths: how many tokens of each text are real; handed on to the text tower, None too.

        Returns:
            `CLIPOutput`: logits[i, j] = exp(logit_scale) * cosine(image i, text j), plus logit_bias where
            there is one.
        """
        ### BEGIN SOLUTION
        image_features = text_features = logits = None
        if images is not None:
            image_features = F.normalize(self.visual_projection(self.visual(images).pooled))
        if ids is not None:
            text_features = F.normalize(self.text_projection(self.text(ids, lengths).pooled))
        if image_features is not None and text_features is not None:
            logits = self.logit_scale.exp() * image_features @ text_features.T
            if self.logit_bias is not None:
                logits = logits + self.logit_bias
        return CLIPOutput(image_features, text_features, logits)
        ### END SOLUTION

    def encode_image(
        self, images: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images embed_dim"]:
        """Features of images alone."""
        return self(images=images).image_features

    def encode_text(
        self, ids: Int[Tensor, "texts length"], lengths: Int[Tensor, " texts"] | None = None
    ) -> Float[Tensor, "texts embed_dim"]:
        """Features of texts alone."""
        return self(ids=ids, lengths=lengths).text_features
