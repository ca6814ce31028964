"""Masks of which a test knows every pixel."""

import torch
from torch import Tensor


def rectangle(x0: int, y0: int, x1: int, y1: int, size: int) -> Tensor:
    """A mask (size, size) of the pixels from x0, y0 up to x1, y1, the last ones left out."""
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask
