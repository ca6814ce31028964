"""Rotary positions: turn each query and key by its place, and their product depends on the distance alone."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cs_vl.exercise import exercise


@exercise
def rotary_embed(
    x: Float[Tensor, "batch heads length head_dim"],
    positions: Int[Tensor, " length"] | Int[Tensor, "batch length"],
    base: float = 10000.0,
) -> Float[Tensor, "batch heads length head_dim"]:
    """Rotate pairs of numbers by angles that grow with the position   (Su et al. 2021, RoFormer, eq. 14-15).

    Number j of the first half of the last dimension and number j of its *second half* are a point in the
    plane (Llama's layout; others pair the neighbours 2j and 2j + 1).  A token at position m turns the point
    counterclockwise by the angle m * base^(-2j / head_dim), for j = 0 ... head_dim / 2 - 1.  At position 1
    the point (1, 0) of j = 0 goes to (cos 1, sin 1).  Position 0 changes nothing, and no rotation changes
    a length.

    Args:
        x: queries or keys; head_dim is even.
        positions: of each token: the same for all texts (length,), or each text its own (batch, length),
            as left padding needs it.  They need not begin at 0, nor follow one another.
        base: the larger, the slower the slow pairs turn.

    Returns:
        As x, in x's dtype (the angles themselves are float32: in float16 they would be too coarse).
    """
    ### BEGIN SOLUTION
    first, second = x.chunk(2, dim=-1)
    half = first.shape[-1]
    frequency = torch.logspace(0, 1 / half - 1, half, base=base, device=x.device)  # base^(-j / half)
    # The same angles for all heads: (1, length, half), or (batch, 1, length, half).
    angle = (positions[..., None] * frequency).unsqueeze(-3)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
    ### END SOLUTION
