"""Fine-tuning: train the image tower on labelled images, from where zero-shot classification stands."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cs_vl.models.clip import CLIP
from cs_vl.train import fit


class ImageClassifier(nn.Module):
    """CLIP's image tower with a linear head that starts as the zero-shot classifier   (Wortsman et al. 2022).

    At the start the head's rows are the class embeddings times exp(logit_scale), so that its logits are those
    of zero-shot classification.

    Args:
        clip: its image tower is copied, not changed.
        class_embeddings: each row of length 1.
    """

    def __init__(self, clip: CLIP, class_embeddings: Float[Tensor, "classes dim"]):
        super().__init__()
        self.visual = copy.deepcopy(clip.visual)
        self.visual_projection = copy.deepcopy(clip.visual_projection)
        classes, dim = class_embeddings.shape
        self.head = nn.Linear(dim, classes, device=clip.logit_scale.device)
        with torch.no_grad():
            self.head.weight.copy_(class_embeddings * clip.logit_scale.exp().to(class_embeddings.device))
            self.head.bias.zero_()

    def forward(
        self, images: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images classes"]:
        """Logits."""
        return self.head(F.normalize(self.visual_projection(self.visual(images).pooled)))


def finetune(
    clip: CLIP,
    images: Float[Tensor, "images channels height width"],
    labels: Int[Tensor, " images"],
    class_embeddings: Float[Tensor, "classes dim"],
    *,
    steps: int,
    batch_size: int = 64,
    lr: float = 1e-4,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    **options: Any,
) -> ImageClassifier:
    """Train all of an `ImageClassifier`, tower and head, with cross-entropy; `clip` itself stays as it is.

    Args:
        images, labels: to learn from; labels are rows of `class_embeddings`.
        lr: small, since the tower knows much already: a large rate forgets it.
        augment: (some of the images, generator) -> the batch that the tower sees.
        options: of `cs_vl.train.fit`: seed, device, progress, weight_decay, ...
    """
    if len(images) != len(labels):
        raise ValueError(f"each image needs a label; got {len(images)} images and {len(labels)} labels")

    def batch(step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        rows = torch.randint(len(images), (batch_size,), generator=generator)
        chosen = images[rows]
        return chosen if augment is None else augment(chosen, generator), labels[rows]

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        logits = model(batch[0])
        accuracy = (logits.argmax(dim=1) == batch[1]).float().mean()
        return F.cross_entropy(logits, batch[1]), {"accuracy": accuracy}

    classifier = ImageClassifier(clip, class_embeddings)
    fit(classifier, loss, batch, steps=steps, lr=lr, **options)
    return classifier


@torch.no_grad()
def wise_ft(zero_shot: ImageClassifier, fine_tuned: ImageClassifier, alpha: float) -> ImageClassifier:
    """A classifier between two: each weight is (1 - alpha) * zero_shot + alpha * fine_tuned.

    Fine-tuning gains on images like those that it saw, and may lose on others; half way one often keeps most
    of both (Wortsman et al. 2022, eq. 1).
    """
    between = copy.deepcopy(fine_tuned)
    start = zero_shot.state_dict()
    for name, value in between.state_dict().items():
        if value.is_floating_point():  # BatchNorm counts its batches in an integer, which nobody uses
            value.lerp_(start[name].to(value.device), 1 - alpha)
    return between
