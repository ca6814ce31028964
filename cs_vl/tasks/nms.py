"""Non-maximum suppression: of what has been found several times, the best."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cs_vl.exercise import exercise


@exercise
def nms(
    boxes: Float[Tensor, "n 4"], scores: Float[Tensor, " n"], threshold: float = 0.7
) -> Int[Tensor, " kept"]:
    """Which boxes to keep: from the best one down, each that no better kept one overlaps too much.

    Args:
        boxes: x0, y0, x1, y1 with x0 < x1 and y0 < y1; the area is (x1 - x0) (y1 - y0).  There may be none.
        scores: any numbers; the higher, the better; of two equal ones the earlier is the better.
        threshold: a box goes where its IoU with a better box that was *kept* is greater than this.

    Returns:
        The indices of the kept boxes, the best first; int64.  Boxes and scores stay as they were.
    """
    ### BEGIN SOLUTION
    low, high = boxes[:, None, :2].maximum(boxes[:, :2]), boxes[:, None, 2:].minimum(boxes[:, 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)  # (n, n)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=-1)
    iou = common / (area[:, None] + area - common)

    kept: list[int] = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        if not kept or iou[i, kept].max() <= threshold:
            kept.append(i)
    return torch.tensor(kept, dtype=torch.long)
    ### END SOLUTION
