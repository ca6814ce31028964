"""Known answers: NumPy forward and backward passes."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake

SOFTMAX, SOFTMAX_BACKWARD = "softmax", "softmax_backward"
LAYER_NORM, LAYER_NORM_BACKWARD = "layer_norm", "layer_norm_backward"
ATTENTION, ATTENTION_BACKWARD = "attention", "attention_backward"


def total(x, axis=-1):
    return x.sum(axis=axis, keepdims=True)


def mean(x, axis=-1):
    return x.mean(axis=axis, keepdims=True)


def by_autograd(f, grad_y, *inputs):
    leaves = [torch.tensor(x, requires_grad=True) for x in inputs]
    return tuple(g.numpy() for g in torch.autograd.grad(f(*leaves), leaves, torch.tensor(grad_y)))


# --- softmax -------------------------------------------------------------------------------------------


def stable(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / total(e, axis)


@alternative(SOFTMAX)
def slice_by_slice(x, axis=-1):
    def one(logits):
        top = max(logits)
        powers = [np.exp(logit - top) for logit in logits]
        return np.array(powers) / sum(powers)

    return np.apply_along_axis(one, axis, x)


@alternative(SOFTMAX)
def exp_of_log_softmax(x, axis=-1):
    return np.exp(x - np.logaddexp.reduce(x, axis=axis, keepdims=True))


@alternative(SOFTMAX)
def softmax_in_place(x, axis=-1):
    x = np.moveaxis(x, axis, 0)
    x -= np.amax(x, axis=0)
    np.exp(x, out=x)
    x /= np.add.reduce(x, axis=0)
    return np.moveaxis(x, 0, axis)


@alternative(SOFTMAX)
def softmax_in_float32(x, axis=-1):
    return F.softmax(torch.from_numpy(x).float(), dim=axis).numpy()


@mistake(SOFTMAX, "You divided the logits themselves by their sum: take their exponentials first.")
def without_exp(x, axis=-1):
    return x / total(x, axis)


@mistake(SOFTMAX, "You returned the exponentials alone: divide them by their sum, so that they sum to 1.")
def not_normalised(x, axis=-1):
    return np.exp(x)


@mistake(SOFTMAX, "You divided by the largest exponential: divide by their sum.")
def divided_by_the_largest(x, axis=-1):
    return np.exp(x - x.max(axis=axis, keepdims=True))


@mistake(SOFTMAX, "You divided by the sum of all entries: each slice along `axis` has a sum of its own.")
def sum_of_everything(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum()


@mistake(
    SOFTMAX,
    "Yours is one softmax over the whole array: each slice along `axis` is a distribution of its own.",
)
def one_softmax_for_all(x, axis=-1):
    e = np.exp(x - x.max())
    return e / e.sum()


@mistake(SOFTMAX, "Your code always works along the last axis: use the argument `axis`.")
def always_the_last_axis(x, axis=-1):
    return stable(x)


@mistake(SOFTMAX, "Your code always works along the first axis: use the argument `axis`.")
def always_the_first_axis(x, axis=-1):
    return stable(x, 0)


@mistake(
    SOFTMAX, "You subtracted the largest entry along one axis but summed along another: use `axis` for both."
)
def maximum_along_the_last_axis(x, axis=-1):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / total(e, axis)


@mistake(SOFTMAX, "You returned the logarithm of the softmax: the probabilities themselves are asked for.")
def log_softmax(x, axis=-1):
    return np.log(stable(x, axis))


@mistake(SOFTMAX, "Your sign is turned round: the *largest* logit should get the largest probability.")
def softmin(x, axis=-1):
    return stable(-x, axis)


@mistake(
    SOFTMAX,
    "exp overflows for large logits, and becomes 0 for all of a row of very negative ones: subtract each "
    "slice's largest entry first, which leaves the result as it is.",
)
def overflows(x, axis=-1):
    e = np.exp(x)
    return e / total(e, axis)


@mistake(
    SOFTMAX,
    "You subtracted the largest entry of the whole array: a slice that lies far below it becomes 0/0. "
    "Subtract each slice's own.",
)
def largest_of_everything(x, axis=-1):
    e = np.exp(x - x.max())
    return e / total(e, axis)


@mistake(
    SOFTMAX,
    "You subtracted the mean: after that entries can still be large, and a mean can be -inf. Subtract the "
    "largest entry.",
)
def subtracted_the_mean(x, axis=-1):
    e = np.exp(x - mean(x, axis))
    return e / total(e, axis)


@mistake(
    SOFTMAX,
    "You clipped the logits, which changes the probabilities of large ones: subtract the largest entry.",
)
def clipped(x, axis=-1):
    return stable(np.clip(x, -500, 500), axis)


@mistake(
    SOFTMAX,
    "You keep every probability a little above 0: an entry of -inf gets exactly 0, and nothing has to be added.",
)
def never_exactly_zero(x, axis=-1):
    return np.clip(stable(x, axis), 1e-9, 1)


# --- softmax, backward ---------------------------------------------------------------------------------


@alternative(SOFTMAX_BACKWARD)
def by_the_jacobian(grad_y, y, axis=-1):
    g, p = np.moveaxis(grad_y, axis, -1), np.moveaxis(y, axis, -1)
    jacobian = p[..., :, None] * (np.eye(p.shape[-1]) - p[..., None, :])
    return np.moveaxis(np.einsum("...ij,...i->...j", jacobian, g), -1, axis)


@alternative(SOFTMAX_BACKWARD)
def jacobian_of_each_slice(grad_y, y, axis=-1):
    grad_x = np.empty_like(y)
    gs, ys, out = (np.moveaxis(a, axis, -1) for a in (grad_y, y, grad_x))
    for i in np.ndindex(ys.shape[:-1]):
        out[i] = (np.diag(ys[i]) - np.outer(ys[i], ys[i])) @ gs[i]
    return grad_x


@alternative(SOFTMAX_BACKWARD)
def expanded(grad_y, y, axis=-1):
    grad_x = grad_y * y
    grad_x -= y * np.sum(grad_x, axis=axis, keepdims=True)
    return grad_x


@alternative(SOFTMAX_BACKWARD)
def softmax_by_autograd(grad_y, y, axis=-1):
    return by_autograd(lambda x: torch.softmax(x, axis), grad_y, np.log(y))[0]


@mistake(
    SOFTMAX_BACKWARD,
    "You used the diagonal of the Jacobian only, y_i (1 - y_i): every logit also changes all "
    "other probabilities of its slice.",
)
def diagonal_only(grad_y, y, axis=-1):
    return grad_y * y * (1 - y)


@mistake(
    SOFTMAX_BACKWARD,
    "You took each y_j to depend on x_j alone, as with exp: the sum in the denominator has a gradient too.",
)
def as_if_exp(grad_y, y, axis=-1):
    return grad_y * y


@mistake(
    SOFTMAX_BACKWARD, "The sum that you subtract should be of grad_y weighted by y, not of grad_y alone."
)
def unweighted_sum(grad_y, y, axis=-1):
    return y * (grad_y - total(grad_y, axis))


@mistake(
    SOFTMAX_BACKWARD,
    "You subtracted the plain mean of grad_y: it is the mean under the probabilities y that counts.",
)
def plain_mean(grad_y, y, axis=-1):
    return y * (grad_y - mean(grad_y, axis))


@mistake(SOFTMAX_BACKWARD, "You averaged grad_y * y where its sum is needed: the weights y sum to 1 already.")
def mean_of_products(grad_y, y, axis=-1):
    return y * (grad_y - mean(grad_y * y, axis))


@mistake(
    SOFTMAX_BACKWARD, "The factor y_j in front is missing: a logit with a small probability moves little."
)
def without_the_factor(grad_y, y, axis=-1):
    return grad_y - total(grad_y * y, axis)


@mistake(SOFTMAX_BACKWARD, "Your gradient has the opposite sign.")
def opposite_sign(grad_y, y, axis=-1):
    return y * (total(grad_y * y, axis) - grad_y)


@mistake(SOFTMAX_BACKWARD, "You added what comes through the denominator: its sign is minus.")
def plus_the_sum(grad_y, y, axis=-1):
    return y * (grad_y + total(grad_y * y, axis))


@mistake(
    SOFTMAX_BACKWARD,
    "You used a 1 where the sum of grad_y * y belongs: the other entries of grad_y count too.",
)
def minus_one(grad_y, y, axis=-1):
    return y * (grad_y - 1)


@mistake(SOFTMAX_BACKWARD, "You took the softmax of y once more: y is what the softmax returned already.")
def softmax_again(grad_y, y, axis=-1):
    y = stable(y, axis)
    return y * (grad_y - total(grad_y * y, axis))


@mistake(SOFTMAX_BACKWARD, "You swapped the arguments: grad_y comes first, then the probabilities y.")
def swapped_arguments(grad_y, y, axis=-1):
    return expanded(y, grad_y, axis)


@mistake(
    SOFTMAX_BACKWARD,
    "You returned y - grad_y, the gradient of softmax and cross-entropy together: here grad_y is "
    "not a label but dL/dy of any loss.",
)
def as_if_cross_entropy(grad_y, y, axis=-1):
    return y - grad_y


@mistake(SOFTMAX_BACKWARD, "You summed over the whole array: each slice along `axis` has a sum of its own.")
def summed_over_everything(grad_y, y, axis=-1):
    return y * (grad_y - (grad_y * y).sum())


@mistake(SOFTMAX_BACKWARD, "Your code always sums along the last axis: use the argument `axis`.")
def always_summed_along_the_last_axis(grad_y, y, axis=-1):
    return expanded(grad_y, y, -1)


@mistake(
    SOFTMAX_BACKWARD, "You divided by y, which can be exactly 0: the gradient of such a logit is 0, not NaN."
)
def divided_by_y(grad_y, y, axis=-1):
    return y**2 * (grad_y / y - total(grad_y * y, axis) / y)


# --- layer norm ----------------------------------------------------------------------------------------


def normalise(x, eps=1e-5, axis=-1, ddof=0):
    return (x - mean(x, axis)) / np.sqrt(x.var(axis=axis, keepdims=True, ddof=ddof) + eps)


@alternative(LAYER_NORM)
def layer_norm_of_torch(x, weight, bias, eps=1e-5):
    return F.layer_norm(torch.tensor(x), weight.shape, torch.tensor(weight), torch.tensor(bias), eps).numpy()


@alternative(LAYER_NORM)
def one_vector_at_a_time(x, weight, bias, eps=1e-5):
    vectors, n = x.reshape(-1, len(weight)), len(weight)
    normed = []
    for vector in vectors:
        mu = sum(vector) / n
        variance = sum((entry - mu) ** 2 for entry in vector) / n
        normed.append([(entry - mu) * (variance + eps) ** -0.5 for entry in vector])
    return (np.array(normed) * weight + bias).reshape(x.shape)


@alternative(LAYER_NORM)
def from_two_moments(x, weight, bias, eps=1e-5):
    mu = np.mean(x, -1)[..., None]
    variance = np.mean(np.square(x), -1)[..., None] - mu**2
    scale = weight / np.sqrt(variance + eps)
    return x * scale + (bias - mu * scale)


@mistake(
    LAYER_NORM,
    "You normalised over the batch (that is batch norm): each vector has its own mean and variance, along "
    "the last axis.",
)
def over_the_batch(x, weight, bias, eps=1e-5):
    return weight * normalise(x, eps, 0) + bias


@mistake(
    LAYER_NORM,
    "You normalised all entries together: each vector has its own mean and variance, along the last axis.",
)
def over_everything(x, weight, bias, eps=1e-5):
    return weight * normalise(x, eps, None) + bias


@mistake(LAYER_NORM, "You normalised along axis 1, the last one of a matrix only: use axis -1.")
def along_axis_one(x, weight, bias, eps=1e-5):
    return weight * normalise(x, eps, min(1, x.ndim - 1)) + bias


@mistake(
    LAYER_NORM, "Your variance divides by dim - 1: layer norm uses the biased one, which divides by dim."
)
def unbiased_variance(x, weight, bias, eps=1e-5):
    return weight * normalise(x, eps, ddof=1) + bias


@mistake(LAYER_NORM, "You divided by the variance: divide by its square root.")
def divided_by_the_variance(x, weight, bias, eps=1e-5):
    return weight * (x - mean(x)) / (x.var(axis=-1, keepdims=True) + eps) + bias


@mistake(LAYER_NORM, "You did not subtract the mean before dividing.")
def mean_not_subtracted(x, weight, bias, eps=1e-5):
    return weight * x / np.sqrt(x.var(axis=-1, keepdims=True) + eps) + bias


@mistake(
    LAYER_NORM,
    "You divided by the root of the mean square (that is RMS norm): the variance is taken about the mean.",
)
def as_rms_norm(x, weight, bias, eps=1e-5):
    return weight * x / np.sqrt(mean(x**2) + eps) + bias


@mistake(LAYER_NORM, "Your code does not use `weight` and `bias`: scale and shift what you have normalised.")
def without_weight_and_bias(x, weight, bias, eps=1e-5):
    return normalise(x, eps)


@mistake(LAYER_NORM, "Your code does not use `weight`.")
def without_weight(x, weight, bias, eps=1e-5):
    return normalise(x, eps) + bias


@mistake(LAYER_NORM, "Your code does not use `bias`.")
def without_bias(x, weight, bias, eps=1e-5):
    return weight * normalise(x, eps)


@mistake(LAYER_NORM, "You added the bias before multiplying by the weight: multiply first.")
def bias_first(x, weight, bias, eps=1e-5):
    return weight * (normalise(x, eps) + bias)


@mistake(
    LAYER_NORM,
    "You applied weight and bias before normalising, which takes their effect away: apply them after it.",
)
def affine_first(x, weight, bias, eps=1e-5):
    return normalise(weight * x + bias, eps)


@mistake(
    LAYER_NORM,
    "You added eps to the standard deviation: it is added to the variance, inside the square root.",
)
def eps_outside_the_root(x, weight, bias, eps=1e-5):
    return weight * (x - mean(x)) / (x.std(axis=-1, keepdims=True) + eps) + bias


@mistake(LAYER_NORM, "You left out eps, which matters where a variance is small.")
def without_eps(x, weight, bias, eps=1e-5):
    return weight * normalise(x, 0) + bias


@mistake(LAYER_NORM, "You wrote 1e-5 where the argument `eps` belongs.")
def fixed_eps(x, weight, bias, eps=1e-5):
    return weight * normalise(x) + bias


# --- layer norm, backward ------------------------------------------------------------------------------


@alternative(LAYER_NORM_BACKWARD)
def layer_norm_by_autograd(grad_y, x, weight, eps=1e-5):
    def layer_norm(x, weight, bias):
        return F.layer_norm(x, weight.shape, weight, bias, eps)

    return by_autograd(layer_norm, grad_y, x, weight, np.zeros_like(weight))


@alternative(LAYER_NORM_BACKWARD)
def step_by_step(grad_y, x, weight, eps=1e-5):
    """As for batch norm in many courses: through the standard deviation, then through the mean."""
    rows, n = x.reshape(-1, x.shape[-1]), x.shape[-1]
    gs = grad_y.reshape(rows.shape)
    centred = rows - rows.mean(1, keepdims=True)
    inverse_std = 1 / np.sqrt((centred**2).mean(1, keepdims=True) + eps)
    d_normed = gs * weight
    d_variance = (d_normed * centred).sum(1, keepdims=True) * -0.5 * inverse_std**3
    d_centred = d_normed * inverse_std + d_variance * 2 * centred / n
    d_x = d_centred - d_centred.sum(1, keepdims=True) / n
    return [d_x.reshape(x.shape), np.einsum("bi,bi->i", gs, centred * inverse_std), gs.sum(0)]


@alternative(LAYER_NORM_BACKWARD)
def jacobian_of_each_vector(grad_y, x, weight, eps=1e-5):
    n = x.shape[-1]
    grad_x, grad_weight, grad_bias = np.zeros_like(x), np.zeros(n), np.zeros(n)
    for i in np.ndindex(x.shape[:-1]):
        std = np.sqrt(np.var(x[i]) + eps)
        x_hat = (x[i] - np.mean(x[i])) / std
        jacobian = (np.eye(n) - 1 / n - np.outer(x_hat, x_hat) / n) / std
        grad_x[i] = jacobian @ (weight * grad_y[i])
        grad_weight += grad_y[i] * x_hat
        grad_bias += grad_y[i]
    return grad_x, grad_weight, grad_bias


def norm_backward(
    grad_y,
    x,
    weight,
    eps=1e-5,
    *,
    axis=-1,
    ddof=0,
    through_mean=1.0,
    through_std=1.0,
    averaged=mean,
    power=1.0,
    batch=None,
    reduce=np.sum,
    factor=lambda x, x_hat: x_hat,
):
    """Right where no option is given; each mistake changes one."""
    std = np.sqrt(x.var(axis=axis, keepdims=True, ddof=ddof) + eps)
    x_hat = (x - mean(x, axis)) / std
    g = grad_y * weight
    grad_x = (
        g - through_mean * averaged(g, axis) - through_std * x_hat * averaged(g * x_hat, axis)
    ) / std**power
    batch = tuple(range(x.ndim - 1)) if batch is None else batch
    return grad_x, reduce(grad_y * factor(x, x_hat), axis=batch), reduce(grad_y, axis=batch)


@mistake(
    LAYER_NORM_BACKWARD, "You took mean and standard deviation to be constants: both depend on every x_i."
)
def constants(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, eps, through_mean=0, through_std=0)


@mistake(LAYER_NORM_BACKWARD, "The path through the mean is missing: it takes away the mean of dL/dx_hat.")
def no_path_through_the_mean(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, eps, through_mean=0)


@mistake(
    LAYER_NORM_BACKWARD,
    "The path through the standard deviation is missing: it takes away a part along x_hat.",
)
def no_path_through_the_std(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, eps, through_std=0)


@mistake(LAYER_NORM_BACKWARD, "What comes through the standard deviation has the wrong sign.")
def wrong_sign_through_the_std(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, eps, through_std=-1)


@mistake(LAYER_NORM_BACKWARD, "You subtracted sums where means belong: mean and variance each divide by dim.")
def sums_for_means(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, eps, averaged=total)


@mistake(LAYER_NORM_BACKWARD, "You left `weight` out of the gradient of x: dL/dx_hat is grad_y * weight.")
def weight_left_out(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, np.ones_like(weight), eps)


@mistake(
    LAYER_NORM_BACKWARD,
    "You multiplied the gradient of x by `weight` only at the end: it differs from entry to entry, so it must be in "
    "before the means are taken.",
)
def weight_at_the_end(grad_y, x, weight, eps=1e-5):
    grad_x, grad_weight, grad_bias = norm_backward(grad_y, x, np.ones_like(weight), eps)
    return weight * grad_x, grad_weight, grad_bias


@mistake(
    LAYER_NORM_BACKWARD,
    "You put `weight` into the gradients of the parameters, too: only x sees the loss through it.",
)
def weight_in_all_gradients(grad_y, x, weight, eps=1e-5):
    grad_x, grad_weight, grad_bias = norm_backward(grad_y, x, weight, eps)
    return grad_x, weight * grad_weight, weight * grad_bias


@mistake(LAYER_NORM_BACKWARD, "Your gradient of x is not divided by the standard deviation.")
def not_divided_by_std(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, eps, power=0)


@mistake(
    LAYER_NORM_BACKWARD, "You divided the gradient of x by the variance: one standard deviation is enough."
)
def divided_by_variance(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, eps, power=2)


@mistake(
    LAYER_NORM_BACKWARD, "The gradient of `weight` needs the *normalised* x: weight multiplies x_hat, not x."
)
def weight_times_x(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, eps, factor=lambda x, x_hat: x)


@mistake(
    LAYER_NORM_BACKWARD,
    "For the gradient of `weight` you subtracted the mean from x, but did not divide by the standard deviation.",
)
def weight_times_centred(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, eps, factor=lambda x, _: x - mean(x, -1))


@mistake(
    LAYER_NORM_BACKWARD,
    "For the gradient of `weight` you divided x by its standard deviation but did not subtract the mean.",
)
def weight_times_uncentred(grad_y, x, weight, eps=1e-5):
    return norm_backward(
        grad_y, x, weight, eps, factor=lambda x, _: x / np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    )


@mistake(
    LAYER_NORM_BACKWARD, "You averaged the gradients of `weight` and `bias` over the batch: they are sums."
)
def averaged_over_the_batch(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, eps, reduce=np.mean)


@mistake(
    LAYER_NORM_BACKWARD,
    "You did not sum the gradients of `weight` and `bias` over the batch: each has the shape of "
    "its parameter.",
)
def not_summed(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, eps, batch=())


@mistake(
    LAYER_NORM_BACKWARD,
    "You summed the gradients of `weight` and `bias` over the first axis only: sum over all leading "
    "dimensions.",
)
def summed_over_the_first_axis(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, eps, batch=0 if x.ndim > 1 else ())


@mistake(LAYER_NORM_BACKWARD, "You returned the gradients of `bias` and `weight` in the wrong order.")
def bias_before_weight(grad_y, x, weight, eps=1e-5):
    grad_x, grad_weight, grad_bias = norm_backward(grad_y, x, weight, eps)
    return grad_x, grad_bias, grad_weight


@mistake(
    LAYER_NORM_BACKWARD, "You returned the gradient of x last: it comes first, then weight's and bias's."
)
def x_last(grad_y, x, weight, eps=1e-5):
    grad_x, grad_weight, grad_bias = norm_backward(grad_y, x, weight, eps)
    return grad_weight, grad_bias, grad_x


@mistake(
    LAYER_NORM_BACKWARD,
    "You took mean and variance over the batch: those of layer norm are along the last axis.",
)
def normalised_over_the_batch(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, eps, axis=0)


@mistake(
    LAYER_NORM_BACKWARD,
    "Your variance divides by dim - 1: layer norm uses the biased one, which divides by dim.",
)
def with_unbiased_variance(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, eps, ddof=1)


@mistake(LAYER_NORM_BACKWARD, "You left out eps, which matters where a variance is small.")
def backward_without_eps(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight, 0)


@mistake(LAYER_NORM_BACKWARD, "You wrote 1e-5 where the argument `eps` belongs.")
def backward_with_fixed_eps(grad_y, x, weight, eps=1e-5):
    return norm_backward(grad_y, x, weight)


# --- attention -----------------------------------------------------------------------------------------


def attention_weights(q, k, mask=None, scale=None, axis=-1, fill=-np.inf):
    """Right where no option is given; each mistake changes one."""
    scores = q @ np.swapaxes(k, -2, -1) * (q.shape[-1] ** -0.5 if scale is None else scale)
    return stable(scores if mask is None else np.where(mask, scores, fill), axis)


def attend(q, k, v, mask=None, **options):
    weights = attention_weights(q, k, mask, **options)
    return weights @ v, weights


@alternative(ATTENTION)
def by_einsum(q, k, v, mask=None):
    scores = np.einsum("...id,...jd->...ij", q, k) / np.sqrt(k.shape[-1])
    if mask is not None:
        scores = scores + (1 - mask) * -1e9
    weights = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("...ij,...jd->...id", weights, v), weights


@alternative(ATTENTION)
def by_loops(q, k, v, mask=None):
    output, weights = np.zeros((*q.shape[:-1], v.shape[-1])), np.zeros((*q.shape[:-1], k.shape[-2]))
    allowed = np.broadcast_to(True if mask is None else mask, weights.shape)
    for *b, i in np.ndindex(q.shape[:-1]):
        b = tuple(b)
        seen = [j for j in range(k.shape[-2]) if allowed[(*b, i, j)]]
        probabilities = stable(np.array([q[(*b, i)] @ k[(*b, j)] for j in seen]) / q.shape[-1] ** 0.5)
        for j, p in zip(seen, probabilities, strict=True):
            weights[(*b, i, j)] = p
            output[(*b, i)] += p * v[(*b, j)]
    return output, weights


@alternative(ATTENTION)
def renormalised(q, k, v, mask=None):
    weights = attention_weights(q, k) * (1.0 if mask is None else mask)
    weights = weights / weights.sum(axis=-1, keepdims=True)
    return [np.matmul(weights, v), weights]


@alternative(ATTENTION)
def attention_of_torch(q, k, v, mask=None):
    q, k, v = map(torch.from_numpy, (q, k, v))
    scores = q @ k.mT / q.shape[-1] ** 0.5
    if mask is not None:
        scores.masked_fill_(~torch.from_numpy(mask), torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1)
    return (weights @ v).numpy(), weights.numpy()


@mistake(ATTENTION, "You left out the 1/sqrt(d_k): large scores saturate the softmax, so divide them first.")
def without_scale(q, k, v, mask=None):
    return attend(q, k, v, mask, scale=1)


@mistake(
    ATTENTION,
    "You divided by d_k / 2: Python reads `** 1 / 2` as (d_k ** 1) / 2. Put the exponent in brackets.",
)
def divided_by_half(q, k, v, mask=None):
    return attend(q, k, v, mask, scale=2 / q.shape[-1])


@mistake(ATTENTION, "You divided the scores by d_k; divide by its square root.")
def divided_by_d(q, k, v, mask=None):
    return attend(q, k, v, mask, scale=1 / q.shape[-1])


@mistake(ATTENTION, "You multiplied the scores by sqrt(d_k); divide by it.")
def multiplied_by_sqrt_d(q, k, v, mask=None):
    return attend(q, k, v, mask, scale=q.shape[-1] ** 0.5)


@mistake(
    ATTENTION,
    "Your scale uses the width of the values; it is the width of queries and keys, d_k, that counts.",
)
def scaled_by_d_v(q, k, v, mask=None):
    return attend(q, k, v, mask, scale=v.shape[-1] ** -0.5)


@mistake(ATTENTION, "Your scale uses the number of keys; it is the width of a key, d_k, that counts.")
def scaled_by_the_number_of_keys(q, k, v, mask=None):
    return attend(q, k, v, mask, scale=k.shape[-2] ** -0.5)


@mistake(
    ATTENTION,
    "Your softmax runs over the queries: each query's weights over the *keys* (the last axis) sum to 1.",
)
def softmax_over_queries(q, k, v, mask=None):
    return attend(q, k, v, mask, axis=-2)


@mistake(ATTENTION, "You returned the scores as weights: the weights are what the softmax gives.")
def scores_for_weights(q, k, v, mask=None):
    scores = q @ np.swapaxes(k, -2, -1) / np.sqrt(q.shape[-1])
    return attend(q, k, v, mask)[0], scores if mask is None else np.where(mask, scores, -np.inf)


@mistake(ATTENTION, "You returned (weights, output): the output comes first.")
def weights_first(q, k, v, mask=None):
    return attend(q, k, v, mask)[::-1]


@mistake(ATTENTION, "You left out the softmax: the scores are not weights yet.")
def without_softmax(q, k, v, mask=None):
    scores = q @ np.swapaxes(k, -2, -1) / np.sqrt(q.shape[-1])
    return scores @ v, scores


@mistake(ATTENTION, "Your code ignores the mask.")
def ignored_mask(q, k, v, mask=None):
    return attend(q, k, v)


@mistake(ATTENTION, "Your mask is inverted: True means that a query may look at the key.")
def inverted_mask(q, k, v, mask=None):
    return attend(q, k, v, None if mask is None else ~mask)


@mistake(
    ATTENTION,
    "You added the mask to the scores as it is: True became 1 and False 0. Set the score to -inf where it is "
    "False.",
)
def added_mask(q, k, v, mask=None):
    weights = stable(q @ np.swapaxes(k, -2, -1) / np.sqrt(q.shape[-1]) + (0 if mask is None else mask))
    return weights @ v, weights


@mistake(ATTENTION, "You set masked scores to 0, and exp(0) is 1, not 0: use -inf.")
def filled_with_zero(q, k, v, mask=None):
    return attend(q, k, v, mask, fill=0)


@mistake(
    ATTENTION, "You masked after the softmax, so the weights no longer sum to 1: mask the scores before it."
)
def masked_after_softmax(q, k, v, mask=None):
    weights = attention_weights(q, k) * (1 if mask is None else mask)
    return weights @ v, weights


@mistake(
    ATTENTION,
    "The mask turns your scores into NaN (0 times infinity is NaN, and so is exp(inf) / inf): a masked "
    "score becomes -inf, the others stay as they are.",
)
def zero_times_infinity(q, k, v, mask=None):
    hidden = 0 if mask is None else (1 - mask) * -np.inf
    weights = stable(q @ np.swapaxes(k, -2, -1) / np.sqrt(q.shape[-1]) + hidden)
    return weights @ v, weights


@mistake(
    ATTENTION,
    "You masked the weights but not the output, or the other way round: the output is made with the masked "
    "weights.",
)
def output_not_masked(q, k, v, mask=None):
    return attend(q, k, v)[0], attention_weights(q, k, mask)


@mistake(
    ATTENTION, "You set masked scores to -100: a little still leaks through, as exp(-100) is not 0. Use -inf."
)
def filled_with_minus_100(q, k, v, mask=None):
    return attend(q, k, v, mask, fill=-100.0)


# --- attention, backward -------------------------------------------------------------------------------


@alternative(ATTENTION_BACKWARD)
def attention_by_autograd(grad_output, q, k, v, mask=None):
    allowed = None if mask is None else torch.from_numpy(mask)
    return by_autograd(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, allowed), grad_output, q, k, v)


@alternative(ATTENTION_BACKWARD)
def backward_by_einsum(grad_output, q, k, v, mask=None):
    scale = 1 / np.sqrt(q.shape[-1])
    scores = np.einsum("...id,...jd->...ij", q, k) * scale
    if mask is not None:
        scores = np.where(mask, scores, -1e9)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    dp = np.einsum("...id,...jd->...ij", grad_output, v)
    # sum_j p_ij dp_ij is the product of an output and its gradient (as in FlashAttention).
    output = np.einsum("...ij,...jd->...id", p, v)
    ds = p * (dp - (grad_output * output).sum(-1)[..., None])
    dq = scale * np.einsum("...ij,...jd->...id", ds, k)
    dk = scale * np.einsum("...ij,...id->...jd", ds, q)
    return [dq, dk, np.einsum("...ij,...id->...jd", p, grad_output)]


@alternative(ATTENTION_BACKWARD)
def query_by_query(grad_output, q, k, v, mask=None):
    grads = np.zeros_like(q), np.zeros_like(k), np.zeros_like(v)
    allowed = np.broadcast_to(True if mask is None else mask, (*q.shape[:-1], k.shape[-2]))
    root = np.sqrt(q.shape[-1])
    for *b, i in np.ndindex(q.shape[:-1]):
        b = tuple(b)
        p = stable(np.where(allowed[(*b, i)], k[b] @ q[(*b, i)] / root, -np.inf))
        g = grad_output[(*b, i)]
        grads[2][b] += np.outer(p, g)
        grad_scores = (np.diag(p) - np.outer(p, p)) @ (v[b] @ g)
        grads[0][(*b, i)] = grad_scores @ k[b] / root
        grads[1][b] += np.outer(grad_scores, q[(*b, i)]) / root
    return grads


def back(grad_output, q, k, v, mask=None, *, scale=None, grad_scale=None, through_softmax=None, **options):
    """Right where no option is given; each mistake changes one."""
    weights = attention_weights(q, k, mask, scale, **options)
    grad_weights = grad_output @ np.swapaxes(v, -2, -1)
    grad_scores = (through_softmax or expanded)(grad_weights, weights)
    grad_scores = grad_scores * (q.shape[-1] ** -0.5 if grad_scale is None else grad_scale)
    return grad_scores @ k, np.swapaxes(grad_scores, -2, -1) @ q, np.swapaxes(weights, -2, -1) @ grad_output


@mistake(
    ATTENTION_BACKWARD,
    "The 1/sqrt(d_k) is missing on the way back: the gradient of a scaled score is scaled too.",
)
def unscaled_on_the_way_back(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, mask, grad_scale=1)


@mistake(ATTENTION_BACKWARD, "The 1/sqrt(d_k) is missing when you compute the weights again.")
def unscaled_on_the_way_forward(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, mask, scale=1)


@mistake(
    ATTENTION_BACKWARD,
    "You left out the 1/sqrt(d_k) altogether: it belongs to the scores and to their gradient.",
)
def unscaled(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, mask, scale=1, grad_scale=1)


@mistake(ATTENTION_BACKWARD, "You scaled the gradient by 1/sqrt(d_k) twice.")
def scaled_twice(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, mask, grad_scale=1 / q.shape[-1])


@mistake(
    ATTENTION_BACKWARD,
    "You scaled only one of the gradients of q and k: the factor belongs to the scores, so both get it.",
)
def one_scaled(grad_output, q, k, v, mask=None):
    grad_q, grad_k, grad_v = back(grad_output, q, k, v, mask)
    return grad_q, grad_k * np.sqrt(q.shape[-1]), grad_v


@mistake(
    ATTENTION_BACKWARD,
    "You swapped the arguments of `softmax_backward`: first the gradient, then the probabilities.",
)
def arguments_swapped(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, mask, through_softmax=lambda g, y: expanded(y, g))


@mistake(
    ATTENTION_BACKWARD,
    "Your scale uses the width of the values; it is the width of queries and keys, d_k, that counts.",
)
def scaled_by_width_of_values(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, mask, scale=v.shape[-1] ** -0.5, grad_scale=v.shape[-1] ** -0.5)


@mistake(
    ATTENTION_BACKWARD,
    "The softmax's own backward pass is missing: you took the gradient of the weights for that of "
    "the scores.",
)
def softmax_skipped(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, mask, through_softmax=lambda g, y: g)


@mistake(
    ATTENTION_BACKWARD,
    "You used the diagonal of the softmax's Jacobian only: a score also changes all other weights of "
    "its row.",
)
def diagonal_of_the_jacobian(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, mask, through_softmax=diagonal_only)


@mistake(
    ATTENTION_BACKWARD,
    "You multiplied by the weights but left out the sum that the softmax's denominator brings.",
)
def softmax_as_if_exp(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, mask, through_softmax=as_if_exp)


@mistake(
    ATTENTION_BACKWARD,
    "Your softmax's backward pass runs along the queries: weights sum to 1 along the keys, the last axis.",
)
def softmax_backward_along_queries(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, mask, through_softmax=lambda g, y: expanded(g, y, -2))


@mistake(
    ATTENTION_BACKWARD,
    "When you compute the weights again your softmax runs over the queries: it runs over the keys.",
)
def forward_softmax_over_queries(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, mask, axis=-2)


@mistake(ATTENTION_BACKWARD, "The gradient of v needs the weights, not the scores.")
def scores_for_v(grad_output, q, k, v, mask=None):
    scores = q @ np.swapaxes(k, -2, -1) / np.sqrt(q.shape[-1])
    grad_q, grad_k, _ = back(grad_output, q, k, v, mask)
    return grad_q, grad_k, np.swapaxes(scores, -2, -1) @ grad_output


@mistake(ATTENTION_BACKWARD, "You returned the gradients of q and k in the wrong order.")
def k_before_q(grad_output, q, k, v, mask=None):
    grad_q, grad_k, grad_v = back(grad_output, q, k, v, mask)
    return grad_k, grad_q, grad_v


@mistake(
    ATTENTION_BACKWARD,
    "You returned the gradients in the opposite order: q's comes first, then k's, then v's.",
)
def v_first(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, mask)[::-1]


@mistake(
    ATTENTION_BACKWARD, "Your code ignores the mask: compute the weights again as `attention` did, with it."
)
def mask_ignored(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v)


@mistake(ATTENTION_BACKWARD, "Your mask is inverted: True means that a query may look at the key.")
def mask_inverted(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, None if mask is None else ~mask)


@mistake(
    ATTENTION_BACKWARD,
    "You masked the gradient of the scores only: the weights that you compute again need the mask first.",
)
def masked_on_the_way_back_only(grad_output, q, k, v, mask=None):
    keep = 1 if mask is None else mask
    return back(grad_output, q, k, v, through_softmax=lambda g, y: expanded(g, y) * keep)


@mistake(ATTENTION_BACKWARD, "You set masked scores to 0, and exp(0) is 1, not 0: use -inf.")
def masked_with_zero(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, mask, fill=0)


@mistake(
    ATTENTION_BACKWARD,
    "You set masked scores to -100: a little still leaks through, as exp(-100) is not 0. Use -inf.",
)
def masked_with_minus_100(grad_output, q, k, v, mask=None):
    return back(grad_output, q, k, v, mask, fill=-100.0)
