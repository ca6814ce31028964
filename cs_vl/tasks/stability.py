"""Stability: does a mask change when its threshold does?"""

from jaxtyping import Float
from torch import Tensor

from cs_vl.exercise import exercise


@exercise
def stability_score(
    logits: Float[Tensor, "*batch height width"], threshold: float = 0.0, offset: float = 1.0
) -> Float[Tensor, "*batch"]:
    """IoU of the mask at a higher threshold with the mask at a lower one (Kirillov et al. 2023, app. B).

    The masks are the pixels above threshold + offset and those above threshold - offset: a sure mask has a
    steep edge, and loses little from the one to the other.

    Returns:
        From 0 to 1, float32; 0 where no pixel is above the lower threshold.
    """
    ### BEGIN SOLUTION
    # The smaller mask lies within the larger one: it is their intersection, the larger one their union.
    smaller = (logits > threshold + offset).sum(dim=(-2, -1))
    larger = (logits > threshold - offset).sum(dim=(-2, -1))
    return smaller / larger.clamp(min=1)
    ### END SOLUTION
