"""A grid of points: a question at every place."""

import torch
from jaxtyping import Float
from torch import Tensor

from cs_vl.exercise import exercise


@exercise
def point_grid(n: int) -> Float[Tensor, "n*n 2"]:
    """n x n points that cover the unit square evenly (SAM, `utils/amg.py`).

    The square is cut into n x n equal cells, with a point in the middle of each.

    Returns:
        (x, y) of each, in reading order: along the top row first, left to right.  float32.
    """
    ### BEGIN SOLUTION
    at = (torch.arange(n) + 0.5) / n
    y, x = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1)
    ### END SOLUTION
