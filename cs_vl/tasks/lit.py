"""LiT: towers that others have trained stay locked; two linear heads learn to bring them together.

Zhai et al. 2022 lock the image tower and train the text tower; here both are locked, and what they say of all
images and texts has been computed once, so that training takes seconds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cs_vl.data.emoji import EmojiSet
from cs_vl.data.features import Features
from cs_vl.models.clip import CLIP
from cs_vl.tasks.emoji_clip import Answer, EmojiBatch, distinct_rows


class LockedOutput(NamedTuple):
    """What `LockedTower` returns."""

    pooled: Float[Tensor, "batch dim"]


class LockedTower(nn.Module):
    """Stands where CLIP has a tower, and hands on the features that it is given."""

    def forward(self, features: Float[Tensor, "batch dim"], lengths: Any = None) -> LockedOutput:
        return LockedOutput(features)


class LinearHeads(CLIP):
    """A CLIP that takes features for images and for texts; it learns two projections and the temperature.

    `forward(image_features, text_features)`, `encode_image` and `encode_text` are CLIP's own.

    Args:
        image_dim, text_dim: width of the locked towers' features.
        embed_dim: width of the space that they share.
    """

    def __init__(self, image_dim: int, text_dim: int, embed_dim: int):
        super().__init__(
            visual=LockedTower(),
            text=LockedTower(),
            visual_dim=image_dim,
            text_dim=text_dim,
            embed_dim=embed_dim,
        )


def feature_batches(
    image_features: Float[Tensor, "images image_dim"],
    concept: Int[Tensor, " images"],
    text_features: Float[Tensor, "concepts text_dim"],
    batch_size: int,
) -> Callable[[int, torch.Generator], EmojiBatch]:
    """Random batches for `cs_vl.train.fit` with `clip_loss`: features stand for images and ids.

    Args:
        concept: of each image, a row of `text_features`.
        batch_size: the most pairs in a batch, no two of the same concept.
    """

    def batch(step: int, generator: torch.Generator) -> EmojiBatch:
        rows = distinct_rows(concept, batch_size, generator)
        chosen = concept[rows]
        return EmojiBatch(image_features[rows], text_features[chosen], torch.ones_like(chosen), chosen)

    return batch


def lit_answers(model: LinearHeads, features: Features) -> Answer:
    """Zero-shot from committed features: the cosine of a picture with each bare name; see `Answer`."""

    @torch.no_grad()
    def answer(pictures: EmojiSet) -> Tensor:
        device = model.logit_scale.device
        return (
            model.encode_image(features.of(pictures).to(device))
            @ model.encode_text(features.text.to(device)).T
        ).cpu()

    return answer
