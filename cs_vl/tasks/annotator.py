"""The annotator of the data engine, simulated: who knows what is there, and clicks until the mask is good."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cs_vl.data.part_scenes import LEVELS, PartScenes
from cs_vl.losses.mask_iou import mask_iou
from cs_vl.models.sam import SAM
from cs_vl.tasks.sam_scores import clicking

SAME = 0.5  # masks with a larger IoU count as the same one
INSIDE = 0.9  # a mask lies in another one with so much of its area


class Annotator:
    """Labels scenes with the model's help, by clicks alone; draws nothing.

    Args:
        scenes: with what is there, which the model does not see.
        patience: the most clicks for a mask.
        good: with this IoU a mask is done.
        enough: a mask that has less after the last click is left out.

    Attributes:
        clicks: how many there were so far.
    """

    def __init__(self, scenes: PartScenes, *, patience: int = 6, good: float = 0.9, enough: float = 0.7):
        self.scenes = scenes
        self.patience, self.good, self.enough = patience, good, enough
        self.clicks = 0

    @torch.no_grad()
    def annotate(
        self, model: SAM, scene: int, there: list[Bool[Tensor, "height width"]]
    ) -> list[Bool[Tensor, "height width"]]:
        """What `there` lacks of a scene's masks, each as the model gave it after some clicks.

        Where the model gives several masks, the annotator takes the best one.
        """
        targets = self.scenes.masks[scene]
        if there:
            overlap = mask_iou(targets[:, None], torch.stack(there))
            targets = targets[overlap.amax(dim=1) <= SAME]
        if not len(targets):
            return []
        device = next(model.parameters()).device
        targets = targets.to(device)
        features = model.encode(self.scenes.images[scene][None].to(device))
        steps = clicking(model, features, targets, by_truth=True)
        best, best_iou = torch.zeros_like(targets), torch.zeros(len(targets), device=device)
        for _ in range(self.patience):
            unfinished = best_iou < self.good
            if not unfinished.any():
                break
            self.clicks += int(unfinished.sum())
            step = next(steps)
            better = unfinished & (step.chosen > best_iou)
            best = torch.where(better[:, None, None], step.shown, best)
            best_iou = torch.where(better, step.chosen, best_iou)
        return list(best[best_iou >= self.enough].cpu())


def as_scenes(
    images: Float[Tensor, "n 3 height width"], masks: Sequence[list[Bool[Tensor, "height width"]]]
) -> PartScenes:
    """Labelled images as scenes to train on; images without a mask are left out.

    What is a whole and what a part is seen by which masks lie in which others.
    """
    kept = [i for i, of_image in enumerate(masks) if of_image]
    stacked = [torch.stack(masks[i]) for i in kept]
    return PartScenes(
        images=images[kept],
        masks=tuple(stacked),
        level=tuple(nesting(of_image) for of_image in stacked),
        thing=tuple(torch.zeros(len(of_image), dtype=torch.long) for of_image in stacked),
        names=((),) * len(kept),
    )


def nesting(masks: Bool[Tensor, "m height width"]) -> Int[Tensor, " m"]:
    """How many larger masks each lies in, at most as many as there are levels below the first."""
    flat = masks.flatten(1).float()
    area = flat.sum(dim=1)
    common = flat @ flat.T
    lies_in = (common >= INSIDE * area[:, None]) & (area[:, None] < area)
    return lies_in.sum(dim=1).clamp(max=len(LEVELS) - 1)
