"""How good a SAM's masks are: after one click, after many, and whether it knows."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from cs_vl.data.part_scenes import LEVELS, PartScenes
from cs_vl.losses.mask_iou import mask_iou
from cs_vl.models.sam import SAM, to_size
from cs_vl.tasks.automatic_masks import automatic_masks


def centre_points(
    predicted: Bool[Tensor, "n height width"], targets: Bool[Tensor, "n height width"]
) -> tuple[Int[Tensor, "n 2"], Int[Tensor, " n"]]:
    """As `sample_error_points`, but in the middle of the largest fault, farthest from all that is right.

    So SAM is evaluated (Kirillov et al. 2023, app. D.1): without chance.
    """
    wrong = predicted ^ targets
    has_fault = wrong.any(dim=(1, 2), keepdim=True)
    wrong = torch.where(has_fault, wrong, targets)
    points = []
    for mask in wrong.cpu().numpy():
        depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]  # beyond the image nothing is wrong
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        points.append((int(x), int(y)))
    where = torch.tensor(points, device=targets.device)
    labels = targets[torch.arange(len(targets), device=targets.device), where[:, 1], where[:, 0]].long()
    return where, labels


class Clicked(NamedTuple):
    """What m masks came to after n clicks each.

    points, labels: of all clicks so far.
    shown: the masks that were chosen.
    iou: the true IoU of each of the k masks that the last click gave; chosen: that of the chosen ones.
    said: the IoU that the model predicts for each of them.
    """

    points: Float[Tensor, "1 m n 2"]
    labels: Int[Tensor, "1 m n"]
    shown: Bool[Tensor, "m height width"]
    iou: Float[Tensor, "m k"]
    chosen: Float[Tensor, " m"]
    said: Float[Tensor, "m k"]


@torch.no_grad()
def clicking(
    model: SAM,
    features: Float[Tensor, "1 dim grid grid"],
    targets: Bool[Tensor, "m height width"],
    *,
    multimask: bool = True,
    by_truth: bool = False,
) -> Iterator[Clicked]:
    """Click at each target in the middle of what is wrong, again and again: without an end.

    After the first click there is one answer a prompt, with the last one as a mask prompt.

    Args:
        multimask: whether the first click asks for several masks.
        by_truth: of several masks the best one is chosen, else the one that the model is surest of.
    """
    shown, answer = torch.zeros_like(targets), None
    points = torch.zeros(1, len(targets), 0, 2, device=targets.device)
    labels = torch.zeros(1, len(targets), 0, dtype=torch.long, device=targets.device)
    while True:
        point, label = centre_points(shown, targets)
        points = torch.cat([points, point.float()[None, :, None]], dim=2)
        labels = torch.cat([labels, label[None, :, None]], dim=2)
        several = multimask and answer is None
        out = model.decode(features, points, labels, masks=answer, multimask=several)
        masks = to_size(out.masks[0], targets.shape[-1]) > 0  # (m, k, height, width)
        iou, said = mask_iou(masks, targets[:, None]), out.iou[0]
        which = (iou if by_truth else said).argmax(dim=1)[:, None]
        answer = out.masks.take_along_dim(which[None, :, :, None, None], dim=2)[:, :, 0]
        shown = masks.take_along_dim(which[:, :, None, None], dim=1)[:, 0]
        yield Clicked(points, labels, shown, iou, iou.take_along_dim(which, dim=1)[:, 0], said)


@dataclass(frozen=True)
class ClickScores:
    """Each mask of some scenes, clicked at: m masks.

    Attributes:
        level: of the mask, an index into `LEVELS`.
        best: IoU of the best of the masks after one click.
        chosen: IoU of the one that the model is surest of, after 1, 2, ... clicks.
        confidence: the IoU that it predicts for that one.
    """

    level: Int[Tensor, " m"]
    best: Float[Tensor, " m"]
    chosen: Float[Tensor, "m clicks"]
    confidence: Float[Tensor, "m clicks"]

    def table(self) -> dict[str, float]:
        """Means: of the best first masks by level, of the chosen ones by clicks, of the last by level."""
        of_level = {name: self.level == i for i, name in enumerate(LEVELS) if (self.level == i).any()}
        last = self.chosen.shape[1]
        rows = {f"best of 3, {name}": float(self.best[here].mean()) for name, here in of_level.items()}
        rows |= {f"{n} clicks": float(iou) for n, iou in enumerate(self.chosen.mean(dim=0), start=1)}
        return rows | {
            f"{last} clicks, {name}": float(self.chosen[here, -1].mean()) for name, here in of_level.items()
        }


@torch.no_grad()
def click_scores(
    model: SAM, scenes: PartScenes, *, clicks: int = 8, multimask: bool = True, at_once: int = 64
) -> ClickScores:
    """Ask for every mask of the scenes by clicks in the middle of what is wrong.

    Args:
        clicks: how many.  After the first there is one answer a prompt, with the last one as a mask prompt.
        multimask: whether the first click asks for several masks.
        at_once: prompts of an image at a time.
    """
    device = next(model.parameters()).device
    level, best, chosen, confidence = [], [], [], []
    for i in range(len(scenes)):
        features = model.encode(scenes.images[i : i + 1].to(device))
        for targets, levels in zip(
            scenes.masks[i].split(at_once), scenes.level[i].split(at_once), strict=True
        ):
            steps = list(islice(clicking(model, features, targets.to(device), multimask=multimask), clicks))
            level.append(levels)
            best.append(steps[0].iou.amax(dim=1))
            chosen.append(torch.stack([step.chosen for step in steps], dim=1))
            confidence.append(torch.stack([step.said.amax(dim=1) for step in steps], dim=1))
    return ClickScores(*(torch.cat(parts).cpu() for parts in (level, best, chosen, confidence)))


@torch.no_grad()
def everything_scores(
    model: SAM, scenes: PartScenes, *, overlap: float = 0.5, **options: Any
) -> dict[str, float]:
    """How much of what is there is found without any prompt (`automatic_masks`, which takes the options).

    Returns:
        "found, whole", "found, part", ...: the share of the masks of each level that have an IoU above
        `overlap` with something that was found; "found that is there": the share of what was found that has
        such an IoU with a mask; "found, an image": how many were found.
    """
    hits, right, total = [], 0, 0
    for image, masks in zip(scenes.images, scenes.masks, strict=True):
        found = automatic_masks(model, image, **options).masks
        same = mask_iou(found[:, None], masks) > overlap  # (found, there)
        hits.append(same.any(dim=0))
        right, total = right + int(same.any(dim=1).sum()), total + len(found)
    hit, level = torch.cat(hits), torch.cat(scenes.level)
    scores = {f"found, {name}": float(hit[level == i].float().mean()) for i, name in enumerate(LEVELS)}
    return scores | {"found that is there": right / max(total, 1), "found, an image": total / len(scenes)}
