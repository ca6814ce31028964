"""Right answers, made of torch built-ins, in place of a5's earlier exercises while later ones are judged.

This file never reaches students: what they get is built without it.
"""

import math

import torch
import torch.nn.functional as F


def fourier_positions(points, frequencies):
    waves = torch.einsum("...c,ch->...h", math.pi * (4 * points - 2), frequencies)
    return torch.cat((torch.sin(waves), torch.cos(waves)), -1)


def mask_iou(a, b):
    a, b = torch.broadcast_tensors(a, b)
    common, union = ((op(a, b)).flatten(-2).float().sum(-1) for op in (torch.logical_and, torch.logical_or))
    return torch.where(union > 0, common / union, torch.ones_like(union))


def focal_loss_numpy(logits, targets, alpha=0.25, gamma=2.0):
    x, t = torch.as_tensor(logits), torch.as_tensor(targets)
    entropy = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    missed = torch.where(t == 1, torch.sigmoid(-x), torch.sigmoid(x))
    return (entropy * missed.pow(gamma) * torch.where(t == 1, alpha, 1 - alpha)).mean(-1).numpy()


def dice_loss_numpy(logits, targets, smooth=1.0):
    p, t = torch.as_tensor(logits).sigmoid(), torch.as_tensor(targets)
    return (1 - (2 * torch.einsum("mp,mp->m", p, t) + smooth) / ((p + t).sum(-1) + smooth)).numpy()


STAND_INS = {
    "fourier_positions": fourier_positions,
    "mask_iou": mask_iou,
    "focal_loss_numpy": focal_loss_numpy,
    "dice_loss_numpy": dice_loss_numpy,
}
