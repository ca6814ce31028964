"""Edges, for nothing: where the masks of all clicks end."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import binary_dilation, gaussian_filter, map_coordinates
from skimage.filters import sobel
from torch import Tensor

from cs_vl.data.scenes import tight_boxes
from cs_vl.data.square import Square
from cs_vl.models.sam import SAM
from cs_vl.tasks.automatic_masks import answers_everywhere
from cs_vl.tasks.nms import nms
from cs_vl.tasks.point_grid import point_grid
from cs_vl.tasks.predictor import Image, as_image
from cs_vl.tasks.stability import stability_score


@torch.no_grad()
def edges(
    sam: SAM,
    image: Image,
    *,
    points: int = 16,
    max_overlap: float = 0.7,
    weighted: bool = True,
    at_once: int = 64,
) -> Float[Tensor, "height width"]:
    """An edge detector that nobody has trained (Kirillov et al. 2023, sec. 7.2 and app. D.2).

    All masks of a grid of clicks, none filtered by its quality; of those whose boxes overlap the surest.  An
    edge is where a mask's probability changes (a Sobel filter), on the pixels just around the mask; of all
    masks' edges the strongest counts.  What is left is scaled to [0, 1] and thinned.

    Other than in the paper: edges are weighted, since a small model is unsure of many of its masks, and their
    thinning (`thin`) is a few lines of our own in place of an edge detector's code.

    Args:
        image: as `Predictor` takes it, of any size.
        points: clicks in a row and in a column, three masks each.
        max_overlap: as in `nms`.
        weighted: a mask's edges count by its predicted IoU times its `stability_score`.  False: all alike, as
            in the paper.
        at_once: prompts at a time.

    Returns:
        In [0, 1], the strongest edge 1; all 0 where no mask ends within the image, or none is worth a thing.
    """
    picture = as_image(image)
    square = Square(picture.shape[1], picture.shape[2], sam.image_size)
    clicks = square.points(point_grid(points) * torch.tensor([square.width, square.height]) - 0.5)
    found = []
    for logits, _, iou in answers_everywhere(
        sam, square.image(picture, sam.mean.cpu()), points=(clicks + 0.5) / square.size, at_once=at_once
    ):
        masks = square.masks_back(logits) > 0
        there = masks.flatten(1).any(dim=1)
        found.append((logits[there], iou[there], tight_boxes(masks[there]).float()))
    logits, iou, boxes = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))

    weight = iou.clamp(0, 1) * stability_score(logits) if weighted else torch.ones(len(iou))
    strength = np.zeros((square.height, square.width))
    for i in nms(boxes, iou, max_overlap).tolist():
        belief = square.masks_back(logits[i][None])[0].sigmoid().numpy()
        mask = belief > 0.5
        around = binary_dilation(mask) & ~mask
        strength = np.maximum(strength, weight[i].item() * np.where(around, sobel(belief), 0))
    if strength.max() > 0:
        strength = strength / strength.max()
    return torch.from_numpy(thin(strength)).float()


def thin(
    strength: Float[np.ndarray, "height width"], sigma: float = 1.0
) -> Float[np.ndarray, "height width"]:
    """Edges one or two pixels wide: what is weaker than its neighbour across the edge goes.

    Args:
        strength: of the edge at each pixel.
        sigma: how much is smoothed to see in which direction an edge runs, in pixels.
    """
    # Across a ridge the surface bends down the most: the direction of the Hessian's lowest eigenvalue.
    xx, xy, yy = (gaussian_filter(strength, sigma, order=order) for order in ((0, 2), (1, 1), (2, 0)))
    across = np.arctan2(2 * xy, xx - yy) / 2 + np.pi / 2
    here, step = np.indices(strength.shape), np.stack([np.sin(across), np.cos(across)])
    sides = [map_coordinates(strength, here + way * step, order=1, mode="nearest") for way in (-1, 1)]
    return np.where(strength >= np.maximum(*sides), strength, 0)
