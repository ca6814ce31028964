"""The supervised twin of the emoji CLIP: the same tower and pictures; classes instead of captions."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cs_vl.data.emoji import EmojiSet, on_background
from cs_vl.tasks.emoji_clip import Answer, EmojiBatch


class EmojiClassifier(nn.Module):
    """An image tower and a linear head, with a score for every concept; it can only name what it was taught.

    Args:
        visual: `visual(images).pooled` is (images, visual_dim).
        concepts: how many there are, held-out ones too, which it never learns to choose.
    """

    def __init__(self, visual: nn.Module, visual_dim: int, concepts: int):
        super().__init__()
        self.visual = visual
        self.head = nn.Linear(visual_dim, concepts)

    def forward(
        self, images: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images concepts"]:
        return self.head(self.visual(images).pooled)


def classifier_loss(model: EmojiClassifier, batch: EmojiBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy over the concepts, and the share of images named rightly."""
    logits = model(batch.images)
    accuracy = (logits.argmax(dim=1) == batch.concept).float().mean()
    return F.cross_entropy(logits, batch.concept), {"accuracy": accuracy}


def classifier_answers(model: EmojiClassifier, batch_size: int = 256) -> Answer:
    """The head's scores, for pictures on white; see `emoji_scores`."""
    device = model.head.weight.device

    @torch.no_grad()
    def answer(pictures: EmojiSet) -> Tensor:
        parts = on_background(pictures.rgba).split(batch_size)
        return torch.cat([model(part.to(device)).cpu() for part in parts])

    return answer
