"""Right answers, made of built-ins, in place of a5's earlier exercises while later ones are judged.

This file never reaches students: what they get is built without it.
"""

import torch


def mask_iou(a, b):
    """By inclusion and exclusion."""
    common = torch.einsum("...hw,...hw->...", a.double(), b.double())
    union = a.double().sum(dim=(-2, -1)) + b.double().sum(dim=(-2, -1)) - common
    return torch.where(union > 0, common / union, 1.0).float()


STAND_INS = {
    "mask_iou": mask_iou,
}
