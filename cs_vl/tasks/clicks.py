"""An annotator who clicks: on what is meant, and then on what the model got wrong."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cs_vl.data.scenes import tight_boxes
from cs_vl.exercise import exercise


@exercise
def sample_error_points(
    predicted: Bool[Tensor, "n height width"],
    targets: Bool[Tensor, "n height width"],
    uniform: Float[Tensor, " n"],
) -> tuple[Int[Tensor, "n 2"], Int[Tensor, " n"]]:
    """A next click for each mask: on a pixel that is wrong, any of them as likely (SAM, app. A).

    Where the mask lacks the pixel, the click is foreground; where the mask has it in vain, background.  A
    mask without a fault gets a click on the target, any pixel as likely, foreground.

    Args:
        predicted: masks as they are; all False for a first click.
        targets: masks as they should be, none empty.
        uniform: the chance, in [0, 1), one number a mask: of m candidates, numbered row by row from the upper
            left, number floor(uniform * m) is clicked.

    Returns:
        (points, labels): (x, y) of the pixels, whole numbers; 1 foreground, 0 background.  Both int64.
    """
    ### BEGIN SOLUTION
    wrong = predicted ^ targets
    faultless = ~wrong.flatten(1).any(dim=1)
    candidates = torch.where(faultless[:, None, None], targets, wrong).flatten(1)
    number = (uniform * candidates.sum(dim=1)).long()
    # The candidate with `number` candidates before it: the first pixel where the count exceeds that.
    pixel = (candidates.cumsum(dim=1) > number[:, None]).long().argmax(dim=1)
    width = targets.shape[-1]
    points = torch.stack([pixel % width, pixel // width], dim=1)
    return points, targets.flatten(1).gather(1, pixel[:, None])[:, 0].long()
    ### END SOLUTION


def mask_boxes(masks: Bool[Tensor, "*batch height width"]) -> Int[Tensor, "*batch 4"]:
    """x0, y0, x1, y1 of the pixels in each mask, the last ones included, as in SAM; zeros if empty."""
    boxes = tight_boxes(masks)
    boxes[..., 2:] = (boxes[..., 2:] - 1).clamp(min=0)  # an empty mask's are 0 already
    return boxes


def jitter_boxes(
    boxes: Int[Tensor, "*batch 4"], normal: Float[Tensor, "*batch 4"], size: int
) -> Float[Tensor, "*batch 4"]:
    """Boxes as a hand draws them: each coordinate off by a tenth of the box's side, at most by 20 pixels.

    Args:
        normal: the chance, standard normal numbers.
        size: height and width of the image, beyond which no box reaches.
    """
    sides = (boxes[..., 2:] - boxes[..., :2] + 1).float().repeat_interleave(2, dim=-1)
    sides = sides[..., [0, 2, 0, 2]]  # width, height, width, height
    noise = (0.1 * sides * normal).clamp(-20, 20)
    moved = (boxes + noise).clamp(0, size - 1)
    low, high = torch.minimum(moved[..., :2], moved[..., 2:]), torch.maximum(moved[..., :2], moved[..., 2:])
    return torch.cat([low, high], dim=-1)
