"""Masks as runs of equal pixels, as COCO stores them."""

import torch
from jaxtyping import Bool
from torch import Tensor


def mask_to_rle(mask: Bool[Tensor, "height width"]) -> dict[str, list[int]]:
    """COCO's uncompressed run-length encoding: column by column, and the first run is of zeros (maybe none).

    Returns:
        {"size": [height, width], "counts": [...]}; `pycocotools.mask.frPyObjects` reads it.
    """
    pixels = mask.T.flatten().cpu()  # down the first column, then the next
    change = (pixels[1:] ^ pixels[:-1]).nonzero().flatten() + 1
    ends = torch.cat([torch.zeros(1, dtype=torch.long), change, torch.tensor([len(pixels)])])
    counts = ends.diff().tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if bool(pixels[0]) else counts}


def rle_to_mask(rle: dict[str, list[int]]) -> Bool[Tensor, "height width"]:
    """The mask that `mask_to_rle` has encoded.

    Raises:
        ValueError: the runs do not add up to the size.
    """
    height, width = rle["size"]
    counts = torch.tensor(rle["counts"], dtype=torch.long)
    if int(counts.sum()) != height * width:
        raise ValueError(
            f"the runs add up to {int(counts.sum())} pixels; {height} x {width} has {height * width}"
        )
    values = torch.arange(len(counts)) % 2 == 1
    return values.repeat_interleave(counts).unflatten(0, (width, height)).T
