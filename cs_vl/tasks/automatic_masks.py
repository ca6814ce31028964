"""Everything in an image: ask at every place, and keep what is sure, steady and new."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from skimage.morphology import remove_small_holes, remove_small_objects
from torch import Tensor

from cs_vl.data.scenes import tight_boxes
from cs_vl.models.sam import SAM, to_size
from cs_vl.tasks.clicks import mask_boxes
from cs_vl.tasks.nms import nms
from cs_vl.tasks.point_grid import point_grid
from cs_vl.tasks.rle import mask_to_rle
from cs_vl.tasks.stability import stability_score


@dataclass(frozen=True)
class Masks:
    """What was found in an image, the surest first: m masks.

    Attributes:
        masks: at the image's size.
        points: (x, y) of the click that gave each, in pixels.
        iou: as the model predicts it.
        stability: `stability_score`.
    """

    masks: Bool[Tensor, "m height width"]
    points: Float[Tensor, "m 2"]
    iou: Float[Tensor, " m"]
    stability: Float[Tensor, " m"]

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def boxes(self) -> Int[Tensor, "m 4"]:
        """x0, y0, x1, y1, tight, the last pixels included."""
        return mask_boxes(self.masks)

    def __getitem__(self, kept: Tensor | slice) -> "Masks":
        """Some of the masks."""
        return Masks(self.masks[kept], self.points[kept], self.iou[kept], self.stability[kept])

    def records(self) -> list[dict[str, Any]]:
        """One dict a mask, with the keys of SAM's `SamAutomaticMaskGenerator`, ready for JSON."""
        return [
            {
                "segmentation": mask_to_rle(mask),
                "area": int(mask.sum()),
                "bbox": [box[0], box[1], box[2] - box[0] + 1, box[3] - box[1] + 1],  # x, y, width, height
                "predicted_iou": float(iou),
                "stability_score": float(stability),
                "point_coords": [point],
            }
            for mask, box, point, iou, stability in zip(
                self.masks, self.boxes.tolist(), self.points.tolist(), self.iou, self.stability, strict=True
            )
        ]


@torch.no_grad()
def answers_everywhere(
    model: SAM,
    image: Float[Tensor, "3 size size"],
    *,
    points: int | Float[Tensor, "n 2"] = 16,
    at_once: int = 64,
) -> Iterator[tuple[Float[Tensor, "m size size"], Float[Tensor, "m 2"], Float[Tensor, " m"]]]:
    """Click at many places: (logits, clicks, predicted IoU) of all the masks that some of them give.

    The arguments are those of `automatic_masks`.
    """
    grid = point_grid(points) if isinstance(points, int) else points
    device, size = next(model.parameters()).device, image.shape[-1]
    features = model.encode(image[None].to(device))
    for some in grid.to(device).split(at_once):
        clicks = some * size - 0.5  # `PointEncoder` adds the half
        labels = torch.ones(1, len(some), 1, dtype=torch.long, device=device)
        out = model.decode(features, clicks[None, :, None], labels)
        logits = to_size(out.masks[0].flatten(0, 1), size)  # (masks of each click, ...)
        yield logits, clicks.repeat_interleave(out.iou.shape[2], dim=0), out.iou[0].flatten()


@torch.no_grad()
def automatic_masks(
    model: SAM,
    image: Float[Tensor, "3 size size"],
    *,
    points: int | Float[Tensor, "n 2"] = 16,
    at_once: int = 64,
    min_iou: float = 0.88,
    min_stability: float = 0.95,
    offset: float = 1.0,
    max_overlap: float = 0.7,
    min_area: int = 0,
) -> Masks:
    """Segment everything (Kirillov et al. 2023, app. B; `automatic_mask_generator.py`).

    Args:
        image: in [0, 1], of the model's size.
        points: so many in a row and in a column (SAM: 32), or the points themselves, from 0 to 1.
        at_once: prompts at a time.
        min_iou: the least predicted IoU.
        min_stability, offset: the least `stability_score`, and its offset.
        max_overlap: of two masks whose boxes' IoU is greater, the less sure one goes.
        min_area: smaller islands go and smaller holes are filled, in pixels; 0 for neither.

    Returns:
        The masks, the surest first; none may be left.
    """
    found = []
    for logits, clicks, iou in answers_everywhere(model, image, points=points, at_once=at_once):
        stability = stability_score(logits, offset=offset)
        masks = logits > 0
        sure = (iou >= min_iou) & (stability >= min_stability) & masks.flatten(1).any(dim=1)
        found.append((masks[sure], clicks[sure], iou[sure], stability[sure]))
    masks, clicks, iou, stability = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
    if min_area and len(masks):
        masks = torch.stack([clean(mask, min_area) for mask in masks])
    return Masks(masks, clicks, iou, stability)[nms(tight_boxes(masks).float(), iou, max_overlap)]


def clean(mask: Bool[Tensor, "height width"], min_area: int) -> Bool[Tensor, "height width"]:
    """A mask without islands and holes of less than `min_area` pixels (4-connected).

    Where all islands are smaller they stay: a mask does not vanish.
    """
    array = mask.numpy()
    filled = remove_small_holes(array, max_size=min_area - 1)
    kept = remove_small_objects(filled, max_size=min_area - 1)
    return torch.from_numpy(np.ascontiguousarray(kept if kept.any() else filled))
