"""Known answers: RMSNorm in NumPy."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake

FORWARD = "rms_norm_numpy"
BACKWARD = "rms_norm_numpy_backward"


def mean(x, axis=-1):
    return x.mean(axis=axis, keepdims=True)


def total(x, axis=-1):
    return x.sum(axis=axis, keepdims=True)


def rms(x, eps=1e-6, axis=-1):
    return np.sqrt(mean(x**2, axis) + eps)


# --- forward -------------------------------------------------------------------------------------------


@alternative(FORWARD)
def by_torch(x, weight, eps=1e-6):
    return F.rms_norm(torch.tensor(x), weight.shape, torch.tensor(weight), eps).numpy()


@alternative(FORWARD)
def one_token_at_a_time(x, weight, eps=1e-6):
    normed = []
    for token in x.reshape(-1, len(weight)):
        mean_square = sum(number**2 for number in token) / len(token)
        normed.append(
            [w * number * (mean_square + eps) ** -0.5 for w, number in zip(weight, token, strict=True)]
        )
    return np.array(normed).reshape(x.shape)


@alternative(FORWARD)
def by_the_length(x, weight, eps=1e-6):
    """sqrt(n) times the unit vector."""
    n = x.shape[-1]
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.multiply(x / np.hypot(length, np.sqrt(n * eps)) * np.sqrt(n), weight)


@alternative(FORWARD)
def as_in_transformers(x, weight, eps=1e-6):
    x32 = x.astype(np.float32)
    variance = np.mean(np.power(x32, 2), axis=-1)[..., None]
    return weight * (x32 * np.reciprocal(np.sqrt(variance + np.float32(eps)))).astype(x.dtype)


@alternative(FORWARD)
def by_einsum(x, weight, eps=1e-6):
    squares = np.einsum("...i,...i->...", x, x) / x.shape[-1]
    return np.einsum("...i,i,...->...i", x, weight, 1 / np.sqrt(squares + eps))


@mistake(
    FORWARD,
    "You subtracted the mean (that is layer norm): RMS norm divides, and leaves the mean where it is.",
)
def as_layer_norm(x, weight, eps=1e-6):
    return weight * (x - mean(x)) / np.sqrt(x.var(axis=-1, keepdims=True) + eps)


@mistake(
    FORWARD,
    "You divided by the standard deviation, which is taken about the mean: take the mean of x^2 itself.",
)
def divided_by_std(x, weight, eps=1e-6):
    return weight * x / np.sqrt(x.var(axis=-1, keepdims=True) + eps)


@mistake(FORWARD, "You subtracted the mean before dividing by the root of the mean square: only divide.")
def centred(x, weight, eps=1e-6):
    return weight * (x - mean(x)) / rms(x, eps)


@mistake(FORWARD, "Your code does not use `weight`.")
def without_weight(x, weight, eps=1e-6):
    return x / rms(x, eps)


@mistake(FORWARD, "You multiplied by 1 + weight, as Gemma does: here the factor is `weight` itself.")
def one_plus_weight(x, weight, eps=1e-6):
    return (1 + weight) * x / rms(x, eps)


@mistake(FORWARD, "You divided by `weight`: it multiplies what has been normalised.")
def divided_by_weight(x, weight, eps=1e-6):
    return x / rms(x, eps) / weight


@mistake(FORWARD, "You multiplied by the weight before normalising: multiply what has been normalised.")
def weight_first(x, weight, eps=1e-6):
    return weight * x / rms(weight * x, eps)


@mistake(FORWARD, "You added the weight: it is a factor.")
def weight_added(x, weight, eps=1e-6):
    return x / rms(x, eps) + weight


@mistake(FORWARD, "You divided by the mean square: divide by its square root.")
def without_root(x, weight, eps=1e-6):
    return weight * x / (mean(x**2) + eps)


@mistake(FORWARD, "You multiplied by the root of the mean square: divide by it.")
def multiplied_by_rms(x, weight, eps=1e-6):
    return weight * x * rms(x, eps)


@mistake(FORWARD, "You took the sum of the squares (the length of the vector): take their mean.")
def sum_of_squares(x, weight, eps=1e-6):
    return weight * x / np.sqrt(total(x**2) + eps)


@mistake(FORWARD, "You divided by the mean absolute value: take the root of the mean square.")
def mean_absolute_value(x, weight, eps=1e-6):
    return weight * x / (mean(np.abs(x)) + eps)


@mistake(FORWARD, "You squared the mean: take the mean of the squares.")
def square_of_mean(x, weight, eps=1e-6):
    return weight * x / np.sqrt(mean(x) ** 2 + eps)


@mistake(FORWARD, "Your mean square divides by dim - 1: it is a plain mean, over dim numbers.")
def divided_by_dim_minus_1(x, weight, eps=1e-6):
    return weight * x / np.sqrt(total(x**2) / (x.shape[-1] - 1) + eps)


@mistake(FORWARD, "You normalised over the batch: each token has its own mean square, along the last axis.")
def over_the_batch(x, weight, eps=1e-6):
    return weight * x / rms(x, eps, 0)


@mistake(
    FORWARD, "You normalised all numbers together: each token has its own mean square, along the last axis."
)
def over_everything(x, weight, eps=1e-6):
    return weight * x / rms(x, eps, None)


@mistake(FORWARD, "You normalised along axis 1, the last one of a matrix only: use axis -1.")
def along_axis_one(x, weight, eps=1e-6):
    return weight * x / rms(x, eps, min(1, x.ndim - 1))


@mistake(FORWARD, "You added eps to the root: it is added to the mean square, inside the root.")
def eps_outside_the_root(x, weight, eps=1e-6):
    return weight * x / (rms(x, 0) + eps)


@mistake(
    FORWARD, "You left out eps, which matters where a token is faint, and saves one of zeros from 0 / 0."
)
def without_eps(x, weight, eps=1e-6):
    return weight * x / rms(x, 0)


@mistake(FORWARD, "You wrote 1e-6 where the argument `eps` belongs.")
def fixed_eps(x, weight, eps=1e-6):
    return weight * x / rms(x)


@mistake(FORWARD, "You added eps to the sum of the squares: it is added to their mean.")
def eps_to_the_sum(x, weight, eps=1e-6):
    return weight * x / np.sqrt((total(x**2) + eps) / x.shape[-1])


@mistake(FORWARD, "You took the larger of eps and the mean square: add eps to it.")
def clamped_by_eps(x, weight, eps=1e-6):
    return weight * x / np.sqrt(np.maximum(mean(x**2), eps))


# --- backward ------------------------------------------------------------------------------------------


@alternative(BACKWARD)
def by_autograd(grad_y, x, weight, eps=1e-6):
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, weight)]
    y = F.rms_norm(leaves[0], weight.shape, leaves[1], eps)
    return [grad.numpy() for grad in torch.autograd.grad(y, leaves, torch.tensor(grad_y))]


@alternative(BACKWARD)
def jacobian_of_each_token(grad_y, x, weight, eps=1e-6):
    n = x.shape[-1]
    grad_x, grad_weight = np.zeros_like(x), np.zeros(n)
    for i in np.ndindex(x.shape[:-1]):
        r = np.sqrt(x[i] @ x[i] / n + eps)
        grad_x[i] = (np.eye(n) / r - np.outer(x[i], x[i]) / (n * r**3)) @ (weight * grad_y[i])
        grad_weight += grad_y[i] * x[i] / r
    return grad_x, grad_weight


@alternative(BACKWARD)
def step_by_step(grad_y, x, weight, eps=1e-6):
    """Back through y = weight * (x * inverse), inverse = mean_square^(-1/2), mean_square = mean(x^2) + eps."""
    rows, n = x.reshape(-1, x.shape[-1]), x.shape[-1]
    gs = grad_y.reshape(rows.shape)
    inverse = (np.mean(rows**2, axis=1, keepdims=True) + eps) ** -0.5
    d_normed = gs * weight
    d_inverse = np.sum(d_normed * rows, axis=1, keepdims=True)
    d_mean_square = d_inverse * -0.5 * inverse**3
    d_rows = d_normed * inverse + d_mean_square * 2 * rows / n
    return d_rows.reshape(x.shape), np.sum(gs * rows * inverse, axis=0)


@alternative(BACKWARD)
def by_einsum_backward(grad_y, x, weight, eps=1e-6):
    s = 1 / np.sqrt(np.einsum("...i,...i->...", x, x) / x.shape[-1] + eps)
    along = np.einsum("...i,i,...i->...", grad_y, weight, x) * s**3 / x.shape[-1]
    rows = (a.reshape(-1, len(weight)) for a in (grad_y, x * s[..., None]))
    grad_weight = np.einsum("ti,ti->i", *rows)
    return s[..., None] * weight * grad_y - along[..., None] * x, grad_weight


@alternative(BACKWARD)
def by_projection(grad_y, x, weight, eps=1e-6):
    """The gradient less its part along x; with eps, a little less of that."""
    square = total(x**2)
    g = grad_y * weight
    r = np.sqrt(square / x.shape[-1] + eps)
    part = total(g * x) / (square + x.shape[-1] * eps)
    return (g - part * x) / r, np.atleast_2d(grad_y * x / r).reshape(-1, len(weight)).sum(0)


def norm_backward(
    grad_y,
    x,
    weight,
    eps=1e-6,
    *,
    r=rms,
    along=1.0,
    averaged=mean,
    power=1.0,
    inner=lambda g, x, x_hat: g * x_hat,
    outer=lambda x, x_hat: x_hat,
    factor=lambda x, x_hat: x_hat,
    reduce=np.sum,
    batch=None,
):
    """Right where no option is given; each mistake changes one."""
    root = r(x, eps)
    x_hat = x / root
    g = grad_y * weight
    grad_x = (g - along * outer(x, x_hat) * averaged(inner(g, x, x_hat))) / root**power
    batch = tuple(range(x.ndim - 1)) if batch is None else batch
    return grad_x, reduce(grad_y * factor(x, x_hat), axis=batch)


@mistake(BACKWARD, "You took the root of the mean square to be a constant: every x_i moves it.")
def constant_root(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, along=0)


@mistake(
    BACKWARD,
    "What comes through the root of the mean square has the wrong sign: a larger root makes every y smaller.",
)
def wrong_sign(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, along=-1)


@mistake(
    BACKWARD,
    "What comes through the root of the mean square is twice what it should be: the root halves the 2 of the square.",
)
def twice(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, along=2)


@mistake(
    BACKWARD,
    "What comes through the root of the mean square is half of what it should be: did you forget the 2 of x^2?",
)
def half(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, along=0.5)


@mistake(BACKWARD, "You took a sum where a mean belongs: the mean square divides by dim.")
def sum_for_mean(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, averaged=total)


@mistake(BACKWARD, "You averaged over the batch, too: every token has a root of its own.")
def mean_of_everything(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, averaged=lambda a: a.mean())


@mistake(BACKWARD, "Your mean runs over the batch: it runs over the numbers of a token, the last axis.")
def mean_over_the_batch(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, averaged=lambda a: mean(a, 0))


@mistake(BACKWARD, "You left `weight` out of the gradient of x: dL/dx_hat is grad_y * weight.")
def weight_left_out(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, np.ones_like(weight), eps)


@mistake(
    BACKWARD,
    "You left `weight` out of what comes through the root: that path starts at dL/dx_hat = grad_y * weight, too.",
)
def weight_left_out_of_the_mean(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, inner=lambda g, x, x_hat: grad_y * x_hat)


@mistake(
    BACKWARD,
    "You multiplied by the weight at the end: it belongs to grad_y before the mean is taken, as it differs from number "
    "to number.",
)
def weight_at_the_end(grad_y, x, weight, eps=1e-6):
    grad_x, grad_weight = norm_backward(grad_y, x, np.ones_like(weight), eps)
    return weight * grad_x, grad_weight


@mistake(
    BACKWARD,
    "You took only y_i's dependence on its own x_i: through the root x_i moves all other y_j, too.",
)
def own_number_only(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, averaged=lambda a: a / a.shape[-1])


@mistake(
    BACKWARD,
    "You subtracted the mean of the gradient, as in layer norm: RMS norm takes no mean away, so there is no such path.",
)
def as_layer_norm_backward(grad_y, x, weight, eps=1e-6):
    g = grad_y * weight
    x_hat = x / rms(x, eps)
    return (g - mean(g) - x_hat * mean(g * x_hat)) / rms(x, eps), norm_backward(grad_y, x, weight, eps)[1]


@mistake(
    BACKWARD,
    "You did not multiply by x_hat what comes through the root: it moves each x_i in proportion to x_i.",
)
def not_along_x_hat(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, outer=lambda x, x_hat: 1)


@mistake(BACKWARD, "Your mean is of g alone; it is of g * x_hat.")
def mean_of_g(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, inner=lambda g, x, x_hat: g)


@mistake(
    BACKWARD,
    "You wrote x for x_hat where you subtract the part along it: both times it is x / root that counts.",
)
def x_for_x_hat(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, inner=lambda g, x, x_hat: g * x, outer=lambda x, x_hat: x)


@mistake(
    BACKWARD,
    "One of the two x_hat in x_hat * mean(g * x_hat) is x in your code: a power of the root is missing.",
)
def one_x_for_x_hat(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, inner=lambda g, x, x_hat: g * x)


@mistake(BACKWARD, "Your gradient of x is not divided by the root of the mean square.")
def not_divided_by_root(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, power=0)


@mistake(BACKWARD, "You divided the gradient of x by the mean square: divide by its root.")
def divided_by_mean_square(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, power=2)


@mistake(BACKWARD, "Your gradient of x has the opposite sign.")
def opposite_sign(grad_y, x, weight, eps=1e-6):
    grad_x, grad_weight = norm_backward(grad_y, x, weight, eps)
    return -grad_x, grad_weight


@mistake(
    BACKWARD,
    "Your gradient of weight takes x where x_hat belongs: the weight multiplies what has been normalised.",
)
def weight_from_x(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, factor=lambda x, x_hat: x)


@mistake(BACKWARD, "Your gradient of weight takes y where x_hat belongs, which has the weight in it already.")
def weight_from_y(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, factor=lambda x, x_hat: weight * x_hat)


@mistake(BACKWARD, "Your gradient of weight is that of a bias: multiply grad_y by x_hat before the sum.")
def weight_as_bias(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, factor=lambda x, x_hat: 1)


@mistake(BACKWARD, "You averaged the gradient of weight over the tokens: sum them.")
def weight_averaged(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, reduce=np.mean)


@mistake(
    BACKWARD,
    "Your gradient of weight is not summed over the tokens: all of them share one weight, of shape (dim,).",
)
def weight_not_summed(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, reduce=lambda a, axis: a)


@mistake(
    BACKWARD, "You summed the gradient of weight over its own dimension: sum over all axes but the last."
)
def weight_summed_over_the_last(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, batch=-1)


@mistake(
    BACKWARD, "Your gradient of weight is summed over the first axis only: sum over all axes but the last."
)
def weight_summed_over_the_first(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, batch=0)


@mistake(BACKWARD, "You returned (grad_weight, grad_x): the gradient of x comes first.")
def weight_first_backward(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps)[::-1]


@mistake(BACKWARD, "You returned the gradient of x alone: (grad_x, grad_weight) is asked for.")
def x_alone(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps)[0]


@mistake(BACKWARD, "You left eps out of the backward pass: it is part of the root.")
def without_eps_backward(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, 0)


@mistake(BACKWARD, "You wrote 1e-6 in the backward pass where the argument `eps` belongs.")
def fixed_eps_backward(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight)


@mistake(
    BACKWARD,
    "You added eps to the root in the backward pass: it is added to the mean square, inside the root.",
)
def eps_outside_the_root_backward(grad_y, x, weight, eps=1e-6):
    return norm_backward(grad_y, x, weight, eps, r=lambda x, eps: rms(x, 0) + eps)


@mistake(BACKWARD, "Your formula takes the mean of x_hat^2 to be 1: with eps it is a little less.")
def as_if_without_eps(grad_y, x, weight, eps=1e-6):
    g, unit = grad_y * weight, x / np.maximum(rms(x, 0), 1e-300)
    return (g - unit * mean(g * unit)) / rms(x, eps), norm_backward(grad_y, x, weight, eps)[1]
