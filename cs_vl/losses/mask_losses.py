"""The losses of masks in torch: the same numbers as in `mask_losses_by_hand`, on any device."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def focal_loss(
    logits: Float[Tensor, "*batch height width"],
    targets: Float[Tensor, "*batch height width"],
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[Tensor, "*batch"]:
    """Each mask's focal loss, the mean over its pixels (Lin et al. 2017, eq. 5).  Targets are 0 or 1."""
    minus_log = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")  # -log p_t
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    wrong = 1 - (-minus_log).exp()  # 1 - p_t
    return (weight * wrong**gamma * minus_log).mean(dim=(-2, -1))


def dice_loss(
    logits: Float[Tensor, "*batch height width"],
    targets: Float[Tensor, "*batch height width"],
    smooth: float = 1.0,
) -> Float[Tensor, "*batch"]:
    """Each mask's dice loss (Milletari et al. 2016, sec. 3; as MaskFormer has it).  Targets are 0 or 1."""
    p = logits.sigmoid()
    common = 2 * (p * targets).sum(dim=(-2, -1)) + smooth
    return 1 - common / (p.sum(dim=(-2, -1)) + targets.sum(dim=(-2, -1)) + smooth)
