"""RMSNorm in NumPy, with the backward pass derived by hand."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from cs_vl.exercise import exercise


@exercise
def rms_norm_numpy(
    x: Float[ndarray, "*batch dim"], weight: Float[ndarray, " dim"], eps: float = 1e-6
) -> Float[ndarray, "*batch dim"]:
    """x / sqrt(mean(x^2) + eps) * weight, over the last dimension   (Zhang and Sennrich 2019, eq. 4).

    Layer norm without the mean and without the bias: all that it keeps of a token is its direction.

    Args:
        x: any number of leading dimensions.
        weight: one factor for each number of the last dimension.
        eps: inside the root, so that a token of zeros gives zeros.
    """
    ### BEGIN SOLUTION
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * weight
    ### END SOLUTION


@exercise
def rms_norm_numpy_backward(
    grad: Float[ndarray, "*batch dim"],
    x: Float[ndarray, "*batch dim"],
    weight: Float[ndarray, " dim"],
    eps: float = 1e-6,
) -> tuple[Float[ndarray, "*batch dim"], Float[ndarray, " dim"]]:
    """The gradients with respect to x and weight, from that with respect to y, the forward's output.

    Write x_hat for x / r, where r = sqrt(mean(x^2) + eps) is one number a token.  Every x_i moves r, and with
    it every y_j of its token: that is the term which takes from the gradient its part along x_hat.

    Args:
        grad: dL/dy, of the shape of x.
        x, weight, eps: as in the forward pass.

    Returns:
        (dL/dx, dL/dweight), of the shapes of x and weight; the weight collects from all tokens.
    """
    ### BEGIN SOLUTION
    r = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)  # (*batch, 1)
    x_hat = x / r
    g = grad * weight  # dL/dx_hat
    grad_x = (g - x_hat * (g * x_hat).mean(axis=-1, keepdims=True)) / r
    return grad_x, (grad * x_hat).reshape(-1, x.shape[-1]).sum(axis=0)
    ### END SOLUTION
