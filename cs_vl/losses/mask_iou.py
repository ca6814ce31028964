"""IoU: how much two masks have in common."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cs_vl.exercise import exercise


@exercise
def mask_iou(
    a: Bool[Tensor, "*#batch height width"], b: Bool[Tensor, "*#batch height width"]
) -> Float[Tensor, "*batch"]:
    """Intersection over union: the pixels in both masks, divided by those in either.

    Args:
        a, b: boolean masks; leading dimensions broadcast, so that (k, 1, h, w) and (m, h, w) give (k, m).

    Returns:
        From 0, nothing in common, to 1, the same; float32.  Two empty masks are the same: 1.
    """
    ### BEGIN SOLUTION
    both = (a & b).sum(dim=(-2, -1))
    either = (a | b).sum(dim=(-2, -1))
    return torch.where(either == 0, 1.0, both / either.clamp(min=1))
    ### END SOLUTION
