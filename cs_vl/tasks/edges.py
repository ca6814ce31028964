"""Edges, though nobody has trained them: where the masks of everything change."""

import numpy as np
import torch
from jaxtyping import Float
from skimage.filters import sobel
from skimage.segmentation import find_boundaries
from torch import Tensor

from cs_vl.data.scenes import tight_boxes
from cs_vl.models.sam import SAM
from cs_vl.tasks.automatic_masks import answers_everywhere
from cs_vl.tasks.nms import nms
from cs_vl.tasks.stability import stability_score


def edges(
    model: SAM,
    image: Float[Tensor, "3 size size"],
    *,
    points: int = 16,
    min_iou: float = 0.0,
    min_stability: float = 0.0,
    max_overlap: float = 0.7,
) -> Float[Tensor, "size size"]:
    """How much of an edge each pixel is, from 0 to 1 (Kirillov et al. 2023, sec. 7.2 and app. D.2).

    All masks of a grid of clicks that are sure and steady enough, without those that are there twice; of
    each the Sobel filter of its probabilities, along its outline alone; of all of these the largest value at
    each pixel.  The paper thins the edges in the end, which is not done here.

    Args:
        image: in [0, 1], of the model's size.
        points: clicks in a row and in a column.
        min_iou, min_stability: the bars of `automatic_masks`; the paper has none here.
        max_overlap: of two masks whose boxes' IoU is greater, the less sure one goes.
    """
    parts = zip(*answers_everywhere(model, image, points=points), strict=True)
    logits, _, iou = (torch.cat(part).cpu() for part in parts)
    there = (logits > 0).flatten(1).any(dim=1) & (iou >= min_iou) & (stability_score(logits) >= min_stability)
    logits, iou = logits[there], iou[there]
    strongest = np.zeros(image.shape[-2:])
    for mask in logits[nms(tight_boxes(logits > 0).float(), iou, max_overlap)]:
        outline = find_boundaries((mask > 0).numpy(), mode="thick")
        strongest = np.maximum(strongest, sobel(mask.sigmoid().numpy()) * outline)
    return torch.from_numpy(strongest / max(strongest.max(), 1e-9)).float()
