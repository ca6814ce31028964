"""Fourier positions: a place as sines and cosines of random frequencies."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from cs_vl.exercise import exercise


@exercise
def fourier_positions(
    points: Float[Tensor, "*batch 2"], frequencies: Float[Tensor, "2 half"]
) -> Float[Tensor, "*batch 2*half"]:
    """sin and cos of 2 pi (2 p - 1) G   (Tancik et al. 2020, sec. 5; Kirillov et al. 2023, SAM, app. A).

    A network hardly hears a difference of a pixel in a bare coordinate; in the sine of a high frequency it
    does.  The frequencies G are drawn once and never learned.

    Args:
        points: (x, y), each from 0, the image's left or upper edge, to 1, its right or lower one.
        frequencies: G; column j holds the frequencies in x and in y of wave j.

    Returns:
        (*batch, 2 half): the sines of all waves, then their cosines.
    """
    ### BEGIN SOLUTION
    angles = 2 * math.pi * (2 * points - 1) @ frequencies  # (*batch, half)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
    ### END SOLUTION


def grid_positions(
    height: int, width: int, frequencies: Float[Tensor, "2 half"]
) -> Float[Tensor, "2*half height width"]:
    """`fourier_positions` of the cells of a grid, each at its centre."""
    rows, columns = (((torch.arange(n).to(frequencies) + 0.5) / n) for n in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    centres = torch.stack([x, y], dim=-1)  # (height, width, 2)
    return fourier_positions(centres, frequencies).permute(2, 0, 1)
