"""Known answers: the focal loss in NumPy."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake

FOCAL, FOCAL_BACKWARD = "focal_loss_numpy", "focal_loss_numpy_backward"


# --- forward -------------------------------------------------------------------------------------------


def sigmoid(x):
    return (1 + np.tanh(x / 2)) / 2


def softplus(x):
    return np.logaddexp(0, x)


def entropy(x, t):
    return softplus(np.where(t == 1, -x, x))


def missed(x, t):
    return sigmoid(np.where(t == 1, -x, x))


def weights(t, alpha):
    return np.where(t == 1, alpha, 1 - alpha)


@alternative(FOCAL)
def as_in_detr(logits, targets, alpha=0.25, gamma=2.0):
    x, t = torch.tensor(logits), torch.tensor(targets)
    prob = x.sigmoid()
    ce = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    p_t = prob * t + (1 - prob) * (1 - t)
    loss = ce * ((1 - p_t) ** gamma)
    return ((alpha * t + (1 - alpha) * (1 - t)) * loss).mean(1).numpy()


@alternative(FOCAL)
def stable_entropy(logits, targets, alpha=0.25, gamma=2.0):
    ce = np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))
    return np.mean(weights(targets, alpha) * (1 - np.exp(-ce)) ** gamma * ce, axis=1)


@alternative(FOCAL)
def mask_by_mask(logits, targets, alpha=0.25, gamma=2.0):
    out = []
    for x, t in zip(logits, targets, strict=True):
        total = 0.0
        for xi, ti in zip(x, t, strict=True):
            m = xi if ti else -xi
            log_p = -softplus(-m)
            total -= (alpha if ti else 1 - alpha) * (1 - np.exp(log_p)) ** gamma * log_p
        out.append(total / len(x))
    return np.array(out)


@alternative(FOCAL)
def branch_by_branch(logits, targets, alpha=0.25, gamma=2.0):
    """Each sign of the logit has a form that is exact; np.where computes both, and overflows in the other."""
    above, below = np.exp(-logits), np.exp(logits)
    p = np.where(logits >= 0, 1 / (1 + above), below / (1 + below))
    log_p = np.where(logits >= 0, -np.log1p(above), logits - np.log1p(below))
    log_not = np.where(logits >= 0, -logits - np.log1p(above), -np.log1p(below))
    inside, outside = alpha * (1 - p) ** gamma * log_p, (1 - alpha) * p**gamma * log_not
    return -np.average(np.where(targets > 0.5, inside, outside), axis=-1)


@alternative(FOCAL)
def in_float32(logits, targets, alpha=0.25, gamma=2.0):
    margin = ((2 * targets - 1) * logits).astype(np.float32)
    log_p = -np.logaddexp(np.float32(0), -margin)
    alpha_t = np.array([1 - alpha, alpha], dtype=np.float32)[targets.astype(int)]
    return (
        np.einsum("mp,mp,mp->m", alpha_t, (-np.expm1(log_p)) ** np.float32(gamma), -log_p) / margin.shape[1]
    )


@mistake(FOCAL, "You left out (1 - p_t)^gamma: that is weighted cross-entropy.")
def without_focus(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * entropy(logits, targets)).mean(1)


@mistake(FOCAL, "You left out alpha_t.")
def without_alpha(logits, targets, alpha=0.25, gamma=2.0):
    return (missed(logits, targets) ** gamma * entropy(logits, targets)).mean(1)


@mistake(FOCAL, "alpha belongs to the pixels where the target is 1, and 1 - alpha to the others.")
def alpha_swapped(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, 1 - alpha) * missed(logits, targets) ** gamma * entropy(logits, targets)).mean(1)


@mistake(FOCAL, "alpha weighs the pixels inside the mask; those outside have the weight 1 - alpha, not 1.")
def alpha_inside_only(logits, targets, alpha=0.25, gamma=2.0):
    weight = np.where(targets == 1, alpha, 1.0)
    return (weight * missed(logits, targets) ** gamma * entropy(logits, targets)).mean(1)


@mistake(FOCAL, "All pixels have the weight alpha here: where the target is 0 it is 1 - alpha.")
def alpha_everywhere(logits, targets, alpha=0.25, gamma=2.0):
    return (alpha * missed(logits, targets) ** gamma * entropy(logits, targets)).mean(1)


@mistake(FOCAL, "You used p_t^gamma: it is 1 - p_t, what is still missing, that is raised to gamma.")
def focus_on_the_easy(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * (1 - missed(logits, targets)) ** gamma * entropy(logits, targets)).mean(
        1
    )


@mistake(FOCAL, "You used 1 - p for all pixels: where the target is 0, 1 - p_t is p.")
def always_one_minus_p(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * (1 - sigmoid(logits)) ** gamma * entropy(logits, targets)).mean(1)


@mistake(FOCAL, "Pixels outside the mask are left out: there the loss is that of 1 - p.")
def inside_only(logits, targets, alpha=0.25, gamma=2.0):
    return (targets * alpha * missed(logits, targets) ** gamma * entropy(logits, targets)).mean(1)


@mistake(FOCAL, "You took the sum over the pixels: take the mean.")
def summed(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * missed(logits, targets) ** gamma * entropy(logits, targets)).sum(1)


@mistake(
    FOCAL,
    "You divided by the number of pixels inside the mask, as detectors do: divide by that of all pixels.",
)
def over_the_positives(logits, targets, alpha=0.25, gamma=2.0):
    loss = weights(targets, alpha) * missed(logits, targets) ** gamma * entropy(logits, targets)
    return loss.sum(1) / targets.sum(1)


@mistake(FOCAL, "You averaged over all masks: each mask has its own loss.")
def one_loss(logits, targets, alpha=0.25, gamma=2.0):
    return np.mean(weights(targets, alpha) * missed(logits, targets) ** gamma * entropy(logits, targets))


@mistake(FOCAL, "You divided by the pixels of all masks: each mask has its own number.")
def over_all_pixels(logits, targets, alpha=0.25, gamma=2.0):
    loss = weights(targets, alpha) * missed(logits, targets) ** gamma * entropy(logits, targets)
    return loss.sum(1) / loss.size


@mistake(FOCAL, "The loss is negative: mind the minus in front of the logarithm.")
def negative(logits, targets, alpha=0.25, gamma=2.0):
    return -(weights(targets, alpha) * missed(logits, targets) ** gamma * entropy(logits, targets)).mean(1)


@mistake(FOCAL, "You did not apply the sigmoid: the inputs are logits, not probabilities.")
def without_sigmoid(logits, targets, alpha=0.25, gamma=2.0):
    p = np.clip(logits, 1e-9, 1 - 1e-9)
    p_t = np.where(targets == 1, p, 1 - p)
    return (weights(targets, alpha) * (1 - p_t) ** gamma * -np.log(p_t)).mean(1)


@mistake(FOCAL, "gamma multiplies here: it is an exponent.")
def gamma_as_a_factor(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * gamma * missed(logits, targets) * entropy(logits, targets)).mean(1)


@mistake(FOCAL, "gamma is fixed at 2 here: use the argument.")
def gamma_fixed(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * missed(logits, targets) ** 2 * entropy(logits, targets)).mean(1)


@mistake(FOCAL, "alpha is fixed at 0.25 here: use the argument.")
def alpha_fixed(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, 0.25) * missed(logits, targets) ** gamma * entropy(logits, targets)).mean(1)


@mistake(
    FOCAL,
    "The sigmoid or its logarithm overflows for large logits: -log sigmoid(m) = log(1 + exp(-m)), by np.logaddexp.",
)
def overflowing(logits, targets, alpha=0.25, gamma=2.0):
    p = 1 / (1 + np.exp(-logits))
    p_t = p * targets + (1 - p) * (1 - targets)
    return (weights(targets, alpha) * (1 - p_t) ** gamma * -np.log(p_t)).mean(1)


@mistake(
    FOCAL, "You clipped the probabilities: a pixel that is wrong by a logit of 1000 has a loss near 1000."
)
def clipped(logits, targets, alpha=0.25, gamma=2.0):
    p_t = np.clip(1 - missed(logits, targets), 1e-8, 1 - 1e-8)
    return (weights(targets, alpha) * (1 - p_t) ** gamma * -np.log(p_t)).mean(1)


@mistake(FOCAL, "You raised cross-entropy to gamma, too: the power is of 1 - p_t alone.")
def power_of_both(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * (missed(logits, targets) * entropy(logits, targets)) ** gamma).mean(1)


@mistake(FOCAL, "You raised alpha_t to gamma, too: the power is of 1 - p_t alone.")
def power_of_alpha(logits, targets, alpha=0.25, gamma=2.0):
    return ((weights(targets, alpha) * missed(logits, targets)) ** gamma * entropy(logits, targets)).mean(1)


@mistake(
    FOCAL,
    "You took the mean of cross-entropy first, and p_t = exp(-mean) from it: each pixel has a p_t of its own.",
)
def focus_on_the_mean(logits, targets, alpha=0.25, gamma=2.0):
    mean = (weights(targets, alpha) * entropy(logits, targets)).mean(1)
    return (1 - np.exp(-mean)) ** gamma * mean


@mistake(FOCAL, "You put alpha_t into cross-entropy before taking p_t = exp(-it): p_t has no alpha in it.")
def alpha_in_p_t(logits, targets, alpha=0.25, gamma=2.0):
    weighted = weights(targets, alpha) * entropy(logits, targets)
    return ((1 - np.exp(-weighted)) ** gamma * weighted).mean(1)


@mistake(FOCAL, "You averaged the two factors apart: multiply pixel by pixel, then take the mean.")
def product_of_means(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * missed(logits, targets) ** gamma).mean(1) * entropy(
        logits, targets
    ).mean(1)


@mistake(FOCAL, "Your mean goes over the masks (axis 0): it goes over the pixels of each mask.")
def along_the_masks(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * missed(logits, targets) ** gamma * entropy(logits, targets)).mean(0)


@mistake(
    FOCAL, "Yours is not summed up: it has a number for each pixel, and each mask is to have one, their mean."
)
def pixel_losses(logits, targets, alpha=0.25, gamma=2.0):
    return weights(targets, alpha) * missed(logits, targets) ** gamma * entropy(logits, targets)


# --- backward ------------------------------------------------------------------------------------------


@alternative(FOCAL_BACKWARD)
def by_autograd(logits, targets, alpha=0.25, gamma=2.0):
    x = torch.tensor(logits, requires_grad=True)
    t = torch.tensor(targets)
    ce = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    away = torch.sigmoid(torch.where(t == 1, -x, x))
    loss = (torch.where(t == 1, alpha, 1 - alpha) * away**gamma * ce).mean(1).sum()
    return torch.autograd.grad(loss, x)[0].numpy()


@alternative(FOCAL_BACKWARD)
def case_by_case(logits, targets, alpha=0.25, gamma=2.0):
    """Lin et al. 2017, appendix B: alpha_t y (1 - p_t)^gamma (gamma p_t log p_t + p_t - 1)."""
    p = sigmoid(logits)
    inside = alpha * (1 - p) ** gamma * (gamma * p * -softplus(-logits) + p - 1)
    outside = -(1 - alpha) * p**gamma * (gamma * (1 - p) * -softplus(logits) - p)
    return (targets * inside + (1 - targets) * outside) / logits.shape[1]


@alternative(FOCAL_BACKWARD)
def pixel_by_pixel(logits, targets, alpha=0.25, gamma=2.0):
    out = np.empty_like(logits)
    for i, j in np.ndindex(*logits.shape):
        y = 2 * targets[i, j] - 1
        m = y * logits[i, j]
        q = sigmoid(-m)
        slope = -gamma * q**gamma * (1 - q) * softplus(-m) - q ** (gamma + 1)
        out[i, j] = y * (alpha if y > 0 else 1 - alpha) * slope / logits.shape[1]
    return out


@alternative(FOCAL_BACKWARD)
def by_the_power_rule(logits, targets, alpha=0.25, gamma=2.0):
    """The product rule as it stands in a textbook, then the chain through p_t."""
    sign = 2 * targets - 1
    p_t = sigmoid(sign * logits)
    log_p = -softplus(-sign * logits)
    d_focus = gamma * (1 - p_t) ** (gamma - 1) * p_t * (1 - p_t) * log_p
    d_log = -((1 - p_t) ** gamma) * (1 - p_t)
    return sign * (alpha * targets + (1 - alpha) * (1 - targets)) * (d_focus + d_log) / logits.shape[1]


def focal_slope(logits, targets, alpha, gamma, *, focus=True, log=True, sign=True, weight=None):
    """The derivative with parts left out, before the mean."""
    y = np.where(targets == 1, 1.0, -1.0) if sign else 1.0
    q, ce = missed(logits, targets), entropy(logits, targets)
    slope = -(q**gamma) * (gamma * (1 - q) * ce * focus + q * log)
    return y * (weights(targets, alpha) if weight is None else weight) * slope


@mistake(FOCAL_BACKWARD, "You held (1 - p_t)^gamma constant: it depends on the logit, too.")
def focus_held_constant(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, gamma, focus=False) / logits.shape[1]


@mistake(FOCAL_BACKWARD, "You held log p_t constant: it depends on the logit, too.")
def log_held_constant(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, gamma, log=False) / logits.shape[1]


@mistake(
    FOCAL_BACKWARD, "The sign is wrong where the target is 0: there p_t = 1 - p falls as the logit rises."
)
def sign_forgotten(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, gamma, sign=False) / logits.shape[1]


@mistake(FOCAL_BACKWARD, "The gradient points the other way: mind the minus of -log p_t.")
def wrong_way(logits, targets, alpha=0.25, gamma=2.0):
    return -focal_slope(logits, targets, alpha, gamma) / logits.shape[1]


@mistake(FOCAL_BACKWARD, "You did not divide by the number of pixels: the loss is their mean.")
def mean_forgotten(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, gamma)


@mistake(FOCAL_BACKWARD, "You divided by the number of masks, too: each mask has its own loss.")
def over_the_masks_too(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, gamma) / logits.size


@mistake(FOCAL_BACKWARD, "You left alpha_t out of the gradient.")
def alpha_forgotten(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, gamma, weight=1.0) / logits.shape[1]


@mistake(
    FOCAL_BACKWARD,
    "alpha belongs to the pixels where the target is 1, and 1 - alpha to the others, in the gradient as well.",
)
def alpha_swapped_backward(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, 1 - alpha, gamma) / logits.shape[1]


@mistake(FOCAL_BACKWARD, "That is the gradient of cross-entropy, p - t, without any focus.")
def cross_entropy_gradient(logits, targets, alpha=0.25, gamma=2.0):
    return (sigmoid(logits) - targets) / logits.shape[1]


@mistake(FOCAL_BACKWARD, "That is the gradient with respect to p: go on through the sigmoid, by p (1 - p).")
def with_respect_to_p(logits, targets, alpha=0.25, gamma=2.0):
    p = sigmoid(logits)
    return focal_slope(logits, targets, alpha, gamma) / (p * (1 - p)) / logits.shape[1]


@mistake(FOCAL_BACKWARD, "You multiplied by p (1 - p) once more: the derivative in the logit has it already.")
def sigmoid_twice(logits, targets, alpha=0.25, gamma=2.0):
    p = sigmoid(logits)
    return focal_slope(logits, targets, alpha, gamma) * p * (1 - p) / logits.shape[1]


@mistake(FOCAL_BACKWARD, "The derivative of (1 - p_t)^gamma lacks its factor gamma.")
def gamma_not_brought_down(logits, targets, alpha=0.25, gamma=2.0):
    y, q, ce = np.where(targets == 1, 1.0, -1.0), missed(logits, targets), entropy(logits, targets)
    return -y * weights(targets, alpha) * q**gamma * ((1 - q) * ce + q) / logits.shape[1]


@mistake(
    FOCAL_BACKWARD, "Both parts of the derivative have the same sign: surer is better, by either factor."
)
def parts_subtracted(logits, targets, alpha=0.25, gamma=2.0):
    y, q, ce = np.where(targets == 1, 1.0, -1.0), missed(logits, targets), entropy(logits, targets)
    return y * weights(targets, alpha) * q**gamma * (gamma * (1 - q) * ce - q) / logits.shape[1]


@mistake(FOCAL_BACKWARD, "gamma is fixed at 2 in your gradient: use the argument.")
def gamma_fixed_backward(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, 2.0) / logits.shape[1]


@mistake(
    FOCAL_BACKWARD,
    "Large logits give NaN or infinity: something is divided by p_t or 1 - p_t, or exp overflows.",
)
def overflowing_backward(logits, targets, alpha=0.25, gamma=2.0):
    p_t = np.where(targets == 1, 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(logits)))
    y = np.where(targets == 1, 1.0, -1.0)
    slope = (1 - p_t) ** gamma * (gamma * p_t * np.log(p_t) + p_t - 1)
    return y * weights(targets, alpha) * slope / logits.shape[1]


@mistake(
    FOCAL_BACKWARD,
    "In the derivative of (1 - p_t)^gamma the exponent goes down by 1, and then d(1 - p_t) brings p_t (1 - p_t): you left the last out.",
)
def chain_not_followed(logits, targets, alpha=0.25, gamma=2.0):
    y, q, ce = np.where(targets == 1, 1.0, -1.0), missed(logits, targets), entropy(logits, targets)
    return -y * weights(targets, alpha) * (gamma * q ** (gamma - 1) * ce + q ** (gamma + 1)) / logits.shape[1]


@mistake(FOCAL_BACKWARD, "A factor p_t is missing: the derivative of 1 - p_t is -p_t (1 - p_t).")
def p_t_missing(logits, targets, alpha=0.25, gamma=2.0):
    y, q, ce = np.where(targets == 1, 1.0, -1.0), missed(logits, targets), entropy(logits, targets)
    return -y * weights(targets, alpha) * q**gamma * (gamma * ce + q) / logits.shape[1]


@mistake(
    FOCAL_BACKWARD,
    "The exponent does not go down in your derivative of (1 - p_t)^gamma: it is gamma (1 - p_t)^(gamma - 1).",
)
def exponent_not_lowered(logits, targets, alpha=0.25, gamma=2.0):
    y, q, ce = np.where(targets == 1, 1.0, -1.0), missed(logits, targets), entropy(logits, targets)
    return -y * weights(targets, alpha) * q**gamma * (gamma * q * (1 - q) * ce + q) / logits.shape[1]


@mistake(FOCAL_BACKWARD, "Only pixels inside the mask get a gradient: those outside have one, too.")
def inside_only_backward(logits, targets, alpha=0.25, gamma=2.0):
    return targets * focal_slope(logits, targets, alpha, gamma) / logits.shape[1]


@mistake(
    FOCAL_BACKWARD,
    "All pixels have the weight alpha in your gradient: where the target is 0 it is 1 - alpha.",
)
def alpha_everywhere_backward(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, gamma, weight=alpha) / logits.shape[1]


@mistake(FOCAL_BACKWARD, "alpha is fixed at 0.25 in your gradient: use the argument.")
def alpha_fixed_backward(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, 0.25, gamma) / logits.shape[1]


@mistake(
    FOCAL_BACKWARD,
    "You divided by the number of pixels inside the mask: the loss is the mean over all its pixels.",
)
def over_the_positives_backward(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, gamma) / targets.sum(1, keepdims=True)


@mistake(FOCAL_BACKWARD, "You returned the loss: its gradient is asked for, a number for each logit.")
def the_loss_itself(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * missed(logits, targets) ** gamma * entropy(logits, targets)).mean(1)


@mistake(FOCAL_BACKWARD, "You used p for all pixels: where the target is 0, p_t is 1 - p.")
def p_for_all(logits, targets, alpha=0.25, gamma=2.0):
    slope = focal_slope(logits, np.ones_like(targets), alpha, gamma, weight=weights(targets, alpha))
    return np.where(targets == 1, slope, -slope) / logits.shape[1]


@mistake(
    FOCAL_BACKWARD,
    "You took every pixel for one inside the mask: where the target is 0, p_t is 1 - p, and falls as the logit rises.",
)
def all_inside(logits, targets, alpha=0.25, gamma=2.0):
    inside = np.ones_like(targets)
    return focal_slope(logits, inside, alpha, gamma, weight=weights(targets, alpha)) / logits.shape[1]


@mistake(
    FOCAL_BACKWARD,
    "You wrote 1 - p_t for p_t: the derivative of 1 - p_t is -p_t (1 - p_t), and its factor p_t stays.",
)
def missing_for_p_t(logits, targets, alpha=0.25, gamma=2.0):
    y, q, ce = np.where(targets == 1, 1.0, -1.0), missed(logits, targets), entropy(logits, targets)
    return -y * weights(targets, alpha) * q**gamma * (gamma * q * ce + q) / logits.shape[1]


@mistake(FOCAL_BACKWARD, "A factor 1 - p_t is missing in the logarithm's part.")
def factor_of_the_log_missing(logits, targets, alpha=0.25, gamma=2.0):
    y, q, ce = np.where(targets == 1, 1.0, -1.0), missed(logits, targets), entropy(logits, targets)
    return -y * weights(targets, alpha) * q**gamma * (gamma * (1 - q) * ce + 1) / logits.shape[1]
