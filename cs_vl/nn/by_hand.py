"""Backpropagation by hand: what autograd does for you, three times over, in NumPy.

`grad_y` always stands for dL/dy, the gradient of some scalar loss L with respect to an output y: it has y's
shape, and arrives from above.  A backward pass turns it into dL/dx for every input x, in x's shape.
All functions keep the floating-point dtype of their inputs, and take any number of leading batch dimensions.
"""

import math

import numpy as np
from jaxtyping import Bool, Float

from cs_vl.exercise import exercise


@exercise
def softmax(x: Float[np.ndarray, "..."], axis: int = -1) -> Float[np.ndarray, "..."]:
    """y_i = exp(x_i) / sum_j exp(x_j), where i and j run along `axis`.

    Args:
        x: logits of any size: entries such as 1e4 or -1e4 are as good as others, and an entry of -inf gets
            exactly 0.  No slice along `axis` is all -inf.

    Returns:
        Probabilities in [0, 1] in the shape of `x`, which sum to 1 along `axis`; never NaN.
    """
    ### BEGIN SOLUTION
    # exp(x_i - c) / sum_j exp(x_j - c) is the same for every c; with the maximum, exp cannot overflow.
    exp = np.exp(x - x.max(axis=axis, keepdims=True))
    return exp / exp.sum(axis=axis, keepdims=True)
    ### END SOLUTION


@exercise
def softmax_backward(
    grad_y: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."], axis: int = -1
) -> Float[np.ndarray, "..."]:
    """The gradient of the logits, from that of the probabilities y = softmax(x, axis).

    The Jacobian dy_i/dx_j of one slice of length n has n^2 entries: find the form that never builds it.

    Args:
        grad_y: dL/dy.
        y: what `softmax` returned, in the same shape; the logits themselves are not needed.
        axis: the axis along which the softmax was taken.

    Returns:
        dL/dx, in the shape of `y`.
    """
    ### BEGIN SOLUTION
    # dy_i/dx_j = y_i (1[i = j] - y_j), so dL/dx_j = sum_i g_i dy_i/dx_j = y_j (g_j - sum_i g_i y_i).
    return y * (grad_y - (grad_y * y).sum(axis=axis, keepdims=True))
    ### END SOLUTION


@exercise
def layer_norm(
    x: Float[np.ndarray, "*batch dim"],
    weight: Float[np.ndarray, " dim"],
    bias: Float[np.ndarray, " dim"],
    eps: float = 1e-5,
) -> Float[np.ndarray, "*batch dim"]:
    """y = weight * (x - mean) / sqrt(variance + eps) + bias   (Ba et al. 2016, sec. 3).

    Mean and variance are those of each vector along the last axis; the variance is the biased one (it
    divides by dim, not by dim - 1).
    """
    ### BEGIN SOLUTION
    std = np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    return weight * (x - x.mean(axis=-1, keepdims=True)) / std + bias
    ### END SOLUTION


@exercise
def layer_norm_backward(
    grad_y: Float[np.ndarray, "*batch dim"],
    x: Float[np.ndarray, "*batch dim"],
    weight: Float[np.ndarray, " dim"],
    eps: float = 1e-5,
) -> tuple[Float[np.ndarray, "*batch dim"], Float[np.ndarray, " dim"], Float[np.ndarray, " dim"]]:
    """The gradients of `layer_norm`'s inputs, from that of its output y = layer_norm(x, weight, bias, eps).

    Args:
        grad_y: dL/dy.
        x, weight, eps: what `layer_norm` was given (the bias's value is not needed).

    Returns:
        (grad_x, grad_weight, grad_bias), each in the shape of its input: `weight` and `bias` serve every
        vector of the batch, so their gradients are sums over all leading dimensions.
    """
    ### BEGIN SOLUTION
    std = np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    x_hat = (x - x.mean(axis=-1, keepdims=True)) / std
    # x_i acts on x_hat_j by itself, through the mean and through std, which are functions of every x_i:
    # dx_hat_j/dx_i = (1[i = j] - 1/n - x_hat_i x_hat_j / n) / std.
    g = grad_y * weight  # dL/dx_hat
    grad_x = (g - g.mean(axis=-1, keepdims=True) - x_hat * (g * x_hat).mean(axis=-1, keepdims=True)) / std
    batch = tuple(range(x.ndim - 1))
    return grad_x, (grad_y * x_hat).sum(axis=batch), grad_y.sum(axis=batch)
    ### END SOLUTION


@exercise
def attention(
    q: Float[np.ndarray, "*batch queries d_k"],
    k: Float[np.ndarray, "*batch keys d_k"],
    v: Float[np.ndarray, "*batch keys d_v"],
    mask: Bool[np.ndarray, "*#batch queries keys"] | None = None,
) -> tuple[Float[np.ndarray, "*batch queries d_v"], Float[np.ndarray, "*batch queries keys"]]:
    """softmax(q k^T / sqrt(d_k)) v, over the keys that the mask allows   (Vaswani et al. 2017, eq. 1).

    Args:
        q, k, v: with the same leading batch dimensions, which are not broadcast; d_v may differ from d_k.
        mask: boolean, True = may look, False = must not; broadcasts to (*batch, queries, keys).
            Every query may look at one key at least: no row is wholly masked.

    Returns:
        (output, weights): the output (*batch, queries, d_v), and the attention weights
        (*batch, queries, keys), each row of which sums to 1 and is exactly 0 where the mask is False.
    """
    ### BEGIN SOLUTION
    scores = q @ k.swapaxes(-2, -1) / math.sqrt(q.shape[-1])  # (*batch, queries, keys)
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    weights = softmax(scores)
    return weights @ v, weights
    ### END SOLUTION


@exercise
def attention_backward(
    grad_output: Float[np.ndarray, "*batch queries d_v"],
    q: Float[np.ndarray, "*batch queries d_k"],
    k: Float[np.ndarray, "*batch keys d_k"],
    v: Float[np.ndarray, "*batch keys d_v"],
    mask: Bool[np.ndarray, "*#batch queries keys"] | None = None,
) -> tuple[
    Float[np.ndarray, "*batch queries d_k"],
    Float[np.ndarray, "*batch keys d_k"],
    Float[np.ndarray, "*batch keys d_v"],
]:
    """The gradients of q, k and v, from that of the output of attention(q, k, v, mask).

    There is no cache: compute again what you need of the forward pass.

    Args:
        grad_output: dL/d(output); the loss does not look at the attention weights themselves.
        q, k, v, mask: what `attention` was given.

    Returns:
        (grad_q, grad_k, grad_v), each in the shape of its input.  A key that no query may look at gets a
        gradient of exactly 0, and so does its value.
    """
    ### BEGIN SOLUTION
    scale = math.sqrt(q.shape[-1])
    scores = q @ k.swapaxes(-2, -1) / scale
    weights = softmax(scores if mask is None else np.where(mask, scores, -np.inf))
    # For y = a b (matrices): dL/da = dL/dy b^T and dL/db = a^T dL/dy.  Used on weights v, then on q k^T.
    grad_v = weights.swapaxes(-2, -1) @ grad_output
    grad_scores = softmax_backward(grad_output @ v.swapaxes(-2, -1), weights) / scale
    return grad_scores @ k, grad_scores.swapaxes(-2, -1) @ q, grad_v
    ### END SOLUTION
