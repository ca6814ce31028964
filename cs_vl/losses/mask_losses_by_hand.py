"""The losses of masks by hand, in NumPy: focal, pixel by pixel, and dice, mask by mask."""

import numpy as np
from jaxtyping import Float

from cs_vl.exercise import exercise


@exercise
def focal_loss_numpy(
    logits: Float[np.ndarray, "masks pixels"],
    targets: Float[np.ndarray, "masks pixels"],
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[np.ndarray, " masks"]:
    """The mean over the pixels of -alpha_t (1 - p_t)^gamma log p_t   (Lin et al. 2017, eq. 5).

    p = sigmoid(logit) is the belief that a pixel is in the mask; p_t the belief in the truth: p where the
    target is 1, 1 - p where it is 0.  alpha_t is alpha where the target is 1, and 1 - alpha where it is 0.

    Args:
        logits: finite, of any size: 1e3 and -1e3 give neither infinity nor NaN.
        targets: 0 or 1.

    Returns:
        The loss of each mask, divided by the number of pixels.
    """
    ### BEGIN SOLUTION
    margin = np.where(targets == 1, logits, -logits)  # p_t = sigmoid(margin)
    minus_log = np.logaddexp(0, -margin)  # -log sigmoid(m) = log(e^0 + e^-m), without overflow
    wrong = (1 - np.tanh(margin / 2)) / 2  # 1 - p_t; sigmoid(-m) as a tanh, which saturates
    weight = np.where(targets == 1, alpha, 1 - alpha)
    return (weight * wrong**gamma * minus_log).mean(axis=1)
    ### END SOLUTION


@exercise
def focal_loss_numpy_backward(
    logits: Float[np.ndarray, "masks pixels"],
    targets: Float[np.ndarray, "masks pixels"],
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float[np.ndarray, "masks pixels"]:
    """The gradient of each mask's `focal_loss_numpy` with respect to its logits.

    (1 - p_t)^gamma depends on the logits as log p_t does: both factors have a derivative.

    Args:
        logits, targets, alpha, gamma: those of the forward pass; gamma may be any number from 0 on.
    """
    ### BEGIN SOLUTION
    sign = np.where(targets == 1, 1.0, -1.0)
    margin = sign * logits
    minus_log = np.logaddexp(0, -margin)
    wrong = (1 - np.tanh(margin / 2)) / 2
    right = (1 + np.tanh(margin / 2)) / 2  # p_t
    weight = np.where(targets == 1, alpha, 1 - alpha)
    # With m the margin: d(1 - p_t)/dm = -p_t (1 - p_t), and d(-log p_t)/dm = -(1 - p_t).
    grad_margin = -(wrong**gamma) * (gamma * right * minus_log + wrong)
    return sign * weight * grad_margin / logits.shape[1]
    ### END SOLUTION


@exercise
def dice_loss_numpy(
    logits: Float[np.ndarray, "masks pixels"], targets: Float[np.ndarray, "masks pixels"], smooth: float = 1.0
) -> Float[np.ndarray, " masks"]:
    """1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth)   (Milletari et al. 2016, sec. 3; MaskFormer).

    p = sigmoid(logit), t the target; the sums go over the pixels of a mask, and nothing is squared.  A soft
    IoU: a small mask counts as much as a large one.

    Args:
        logits: finite, of any size.
        targets: 0 or 1.

    Returns:
        The loss of each mask.
    """
    ### BEGIN SOLUTION
    p = (1 + np.tanh(logits / 2)) / 2  # sigmoid, without overflow
    common = 2 * (p * targets).sum(axis=1) + smooth
    total = p.sum(axis=1) + targets.sum(axis=1) + smooth
    return 1 - common / total
    ### END SOLUTION


@exercise
def dice_loss_numpy_backward(
    logits: Float[np.ndarray, "masks pixels"], targets: Float[np.ndarray, "masks pixels"], smooth: float = 1.0
) -> Float[np.ndarray, "masks pixels"]:
    """The gradient of each mask's `dice_loss_numpy` with respect to its logits.

    Args:
        logits, targets, smooth: those of the forward pass.
    """
    ### BEGIN SOLUTION
    p = (1 + np.tanh(logits / 2)) / 2
    common = 2 * (p * targets).sum(axis=1, keepdims=True) + smooth
    total = p.sum(axis=1, keepdims=True) + targets.sum(axis=1, keepdims=True) + smooth
    grad_p = (common - 2 * targets * total) / total**2  # the quotient rule: every p stands below, too
    return grad_p * p * (1 - p)
    ### END SOLUTION
