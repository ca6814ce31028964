"""RMSNorm in NumPy, with the backward pass derived by hand."""

import numpy as np
from jaxtyping import Float

from cs_vl.exercise import exercise


@exercise
def rms_norm_numpy(
    x: Float[np.ndarray, "*batch dim"], weight: Float[np.ndarray, " dim"], eps: float = 1e-6
) -> Float[np.ndarray, "*batch dim"]:
    """y = weight * x / sqrt(mean(x^2) + eps)   (Zhang and Sennrich 2019, eq. 4).

    Layer norm without the mean and without the bias: all that it keeps of a token is its direction.

    Args:
        x: any number of leading dimensions; the mean is that of each vector along the last axis.
        weight: one factor for each number of a vector.
        eps: inside the root, so that a token of zeros gives zeros.
    """
    ### BEGIN SOLUTION
    rms = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)  # (*batch, 1)
    return weight * x / rms
    ### END SOLUTION


@exercise
def rms_norm_numpy_backward(
    grad_y: Float[np.ndarray, "*batch dim"],
    x: Float[np.ndarray, "*batch dim"],
    weight: Float[np.ndarray, " dim"],
    eps: float = 1e-6,
) -> tuple[Float[np.ndarray, "*batch dim"], Float[np.ndarray, " dim"]]:
    """The gradients of `rms_norm_numpy`'s inputs, from that of its output y = rms_norm_numpy(x, weight, eps).

    Args:
        grad_y: dL/dy, in the shape of x.
        x, weight, eps: what `rms_norm_numpy` was given.

    Returns:
        (grad_x, grad_weight), each in the shape of its input: `weight` serves every token, so its gradient
        is a sum over all leading dimensions.
    """
    ### BEGIN SOLUTION
    rms = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
    x_hat = x / rms
    # x_i acts on x_hat_j by itself, and through rms, where drms/dx_i = x_i / (n rms) = x_hat_i / n:
    # dx_hat_j/dx_i = (1[i = j] - x_hat_i x_hat_j / n) / rms.
    g = grad_y * weight  # dL/dx_hat
    grad_x = (g - x_hat * (g * x_hat).mean(axis=-1, keepdims=True)) / rms
    return grad_x, (grad_y * x_hat).sum(axis=tuple(range(x.ndim - 1)))
    ### END SOLUTION
