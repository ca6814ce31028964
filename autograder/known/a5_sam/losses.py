"""Known answers: IoU, focal and dice in NumPy."""

import numpy as np
import torch
import torch.nn.functional as F

from autograder.known import alternative, mistake

IOU = "mask_iou"
FOCAL, FOCAL_BACKWARD = "focal_loss_numpy", "focal_loss_numpy_backward"
DICE, DICE_BACKWARD = "dice_loss_numpy", "dice_loss_numpy_backward"


def area(mask):
    return mask.float().sum(dim=(-2, -1))


def ratio(common, union):
    return torch.where(union > 0, common / union.clamp(min=1e-9), torch.ones_like(union))


# --- IoU ---------------------------------------------------------------------------------------------


@alternative(IOU)
def by_areas(a, b):
    """Inclusion and exclusion."""
    common = area(a & b)
    union = area(a) + area(b) - common
    return torch.where(union > 0, common / union, torch.ones_like(common))


@alternative(IOU)
def by_products(a, b):
    x, y = a.to(torch.float64).flatten(-2), b.to(torch.float64).flatten(-2)
    common = (x * y).sum(-1)
    union = torch.maximum(x, y).sum(-1)
    iou = torch.ones_like(common)
    iou[union > 0] = common[union > 0] / union[union > 0]
    return iou.float()


@alternative(IOU)
def with_a_small_number(a, b):
    common, union = (a & b).sum((-2, -1)), (a | b).sum((-2, -1))
    return (common + 1e-7) / (union + 1e-7)


@alternative(IOU)
def nan_to_one(a, b):
    iou = torch.logical_and(a, b).sum(-1).sum(-1) / torch.logical_or(a, b).sum(-1).sum(-1)
    return torch.nan_to_num(iou, nan=1.0)


@mistake(IOU, "That is Dice, 2 |a and b| / (|a| + |b|): IoU divides by the pixels in either mask.")
def dice_coefficient(a, b):
    return ratio(2 * area(a & b), area(a) + area(b))


@mistake(IOU, "You divided by the pixels of the first mask: divide by those in either.")
def over_the_first(a, b):
    return ratio(area(a & b), area(a | (b & False)))


@mistake(IOU, "You divided by the pixels of the second mask: divide by those in either.")
def over_the_second(a, b):
    return ratio(area(a & b), area(b | (a & False)))


@mistake(IOU, "You divided by the smaller mask: divide by the pixels in either.")
def over_the_smaller(a, b):
    return ratio(area(a & b), torch.minimum(area(a), area(b)))


@mistake(IOU, "You divided by the larger mask: divide by the pixels in either.")
def over_the_larger(a, b):
    return ratio(area(a & b), torch.maximum(area(a), area(b)))


@mistake(IOU, "You divided by |a| + |b|, which counts the common pixels twice.")
def common_counted_twice(a, b):
    return ratio(area(a & b), area(a) + area(b))


@mistake(IOU, "That is the share of pixels on which the masks agree: what neither mask has does not count.")
def pixel_accuracy(a, b):
    return (a == b).float().mean(dim=(-2, -1))


@mistake(IOU, "Two empty masks give NaN (0 / 0): they are the same, so 1.")
def nan_when_empty(a, b):
    return (a & b).sum(dim=(-2, -1)) / (a | b).sum(dim=(-2, -1))


@mistake(IOU, "Two empty masks give 0: they are the same, so 1.")
def zero_when_empty(a, b):
    return (a & b).sum(dim=(-2, -1)) / (a | b).sum(dim=(-2, -1)).clamp(min=1)


@mistake(IOU, "You counted all pairs of masks together: each pair has its own IoU.")
def one_number(a, b):
    return ratio((a & b).float().sum(), (a | b).float().sum())


@mistake(IOU, "You took the mean of a row's IoUs: count over all of the mask's pixels at once.")
def mean_of_rows(a, b):
    return ratio((a & b).float().sum(-1), (a | b).float().sum(-1)).mean(-1)


@mistake(IOU, "You added 1 above and below: IoU is not smoothed.")
def smoothed(a, b):
    return (area(a & b) + 1) / (area(a | b) + 1)


@mistake(IOU, "That is 1 - IoU, a distance.")
def distance(a, b):
    return 1 - ratio(area(a & b), area(a | b))


@mistake(IOU, "You divided by the pixels in one mask alone (xor): divide by those in either.")
def over_the_difference(a, b):
    return ratio(area(a & b), area(a ^ b))


@mistake(IOU, "You divided by the number of pixels in the picture: divide by those in either mask.")
def over_the_picture(a, b):
    return (a & b).float().mean(dim=(-2, -1))


# --- focal, forward ----------------------------------------------------------------------------------


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


@mistake(FOCAL, "You left out (1 - p_t)^gamma: that is weighted cross-entropy.")
def without_focus(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * entropy(logits, targets)).mean(-1)


@mistake(FOCAL, "You left out alpha_t.")
def without_alpha(logits, targets, alpha=0.25, gamma=2.0):
    return (missed(logits, targets) ** gamma * entropy(logits, targets)).mean(-1)


@mistake(FOCAL, "alpha belongs to the pixels where the target is 1, and 1 - alpha to the others.")
def alpha_swapped(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, 1 - alpha) * missed(logits, targets) ** gamma * entropy(logits, targets)).mean(
        -1
    )


@mistake(FOCAL, "alpha weighs the pixels inside the mask; those outside have the weight 1 - alpha, not 1.")
def alpha_inside_only(logits, targets, alpha=0.25, gamma=2.0):
    weight = np.where(targets == 1, alpha, 1.0)
    return (weight * missed(logits, targets) ** gamma * entropy(logits, targets)).mean(-1)


@mistake(FOCAL, "All pixels have the weight alpha here: where the target is 0 it is 1 - alpha.")
def alpha_everywhere(logits, targets, alpha=0.25, gamma=2.0):
    return (alpha * missed(logits, targets) ** gamma * entropy(logits, targets)).mean(-1)


@mistake(FOCAL, "You used p_t^gamma: it is 1 - p_t, what is still missing, that is raised to gamma.")
def focus_on_the_easy(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * (1 - missed(logits, targets)) ** gamma * entropy(logits, targets)).mean(
        -1
    )


@mistake(FOCAL, "You used 1 - p for all pixels: where the target is 0, 1 - p_t is p.")
def always_one_minus_p(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * (1 - sigmoid(logits)) ** gamma * entropy(logits, targets)).mean(-1)


@mistake(FOCAL, "Pixels outside the mask are left out: there the loss is that of 1 - p.")
def inside_only(logits, targets, alpha=0.25, gamma=2.0):
    return (targets * alpha * missed(logits, targets) ** gamma * entropy(logits, targets)).mean(-1)


@mistake(FOCAL, "You took the sum over the pixels: take the mean.")
def summed(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * missed(logits, targets) ** gamma * entropy(logits, targets)).sum(-1)


@mistake(
    FOCAL,
    "You divided by the number of pixels inside the mask, as detectors do: divide by that of all pixels.",
)
def over_the_positives(logits, targets, alpha=0.25, gamma=2.0):
    loss = weights(targets, alpha) * missed(logits, targets) ** gamma * entropy(logits, targets)
    return loss.sum(-1) / targets.sum(-1)


@mistake(FOCAL, "You averaged over all masks: each mask has its own loss.")
def one_loss(logits, targets, alpha=0.25, gamma=2.0):
    return np.mean(weights(targets, alpha) * missed(logits, targets) ** gamma * entropy(logits, targets))


@mistake(FOCAL, "The loss is negative: mind the minus in front of the logarithm.")
def negative(logits, targets, alpha=0.25, gamma=2.0):
    return -(weights(targets, alpha) * missed(logits, targets) ** gamma * entropy(logits, targets)).mean(-1)


@mistake(FOCAL, "You did not apply the sigmoid: the inputs are logits, not probabilities.")
def without_sigmoid(logits, targets, alpha=0.25, gamma=2.0):
    p = np.clip(logits, 1e-9, 1 - 1e-9)
    p_t = np.where(targets == 1, p, 1 - p)
    return (weights(targets, alpha) * (1 - p_t) ** gamma * -np.log(p_t)).mean(-1)


@mistake(FOCAL, "gamma multiplies here: it is an exponent.")
def gamma_as_a_factor(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * gamma * missed(logits, targets) * entropy(logits, targets)).mean(-1)


@mistake(FOCAL, "gamma is fixed at 2 here: use the argument.")
def gamma_fixed(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, alpha) * missed(logits, targets) ** 2 * entropy(logits, targets)).mean(-1)


@mistake(FOCAL, "alpha is fixed at 0.25 here: use the argument.")
def alpha_fixed(logits, targets, alpha=0.25, gamma=2.0):
    return (weights(targets, 0.25) * missed(logits, targets) ** gamma * entropy(logits, targets)).mean(-1)


@mistake(
    FOCAL,
    "The sigmoid or its logarithm overflows for large logits: -log sigmoid(m) = log(1 + exp(-m)), by np.logaddexp.",
)
def overflowing(logits, targets, alpha=0.25, gamma=2.0):
    p = 1 / (1 + np.exp(-logits))
    p_t = p * targets + (1 - p) * (1 - targets)
    return (weights(targets, alpha) * (1 - p_t) ** gamma * -np.log(p_t)).mean(-1)


@mistake(
    FOCAL, "You clipped the probabilities: a pixel that is wrong by a logit of 1000 has a loss near 1000."
)
def clipped(logits, targets, alpha=0.25, gamma=2.0):
    p_t = np.clip(1 - missed(logits, targets), 1e-8, 1 - 1e-8)
    return (weights(targets, alpha) * (1 - p_t) ** gamma * -np.log(p_t)).mean(-1)


# --- focal, backward ---------------------------------------------------------------------------------


@alternative(FOCAL_BACKWARD)
def by_autograd(logits, targets, alpha=0.25, gamma=2.0):
    x = torch.tensor(logits, requires_grad=True)
    t = torch.tensor(targets)
    ce = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    away = torch.sigmoid(torch.where(t == 1, -x, x))
    loss = (torch.where(t == 1, alpha, 1 - alpha) * away**gamma * ce).mean(-1).sum()
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


def focal_slope(logits, targets, alpha, gamma, *, focus=True, log=True, sign=True, weight=None):
    """The derivative with parts left out, before the mean."""
    y = np.where(targets == 1, 1.0, -1.0) if sign else 1.0
    q, ce = missed(logits, targets), entropy(logits, targets)
    slope = -(q**gamma) * (gamma * (1 - q) * ce * focus + q * log)
    return y * (weights(targets, alpha) if weight is None else weight) * slope


@mistake(FOCAL_BACKWARD, "You held (1 - p_t)^gamma constant: it depends on the logit, too.")
def focus_held_constant(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, gamma, focus=False) / logits.shape[-1]


@mistake(FOCAL_BACKWARD, "You held log p_t constant: it depends on the logit, too.")
def log_held_constant(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, gamma, log=False) / logits.shape[-1]


@mistake(
    FOCAL_BACKWARD, "The sign is wrong where the target is 0: there p_t = 1 - p falls as the logit rises."
)
def sign_forgotten(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, gamma, sign=False) / logits.shape[-1]


@mistake(FOCAL_BACKWARD, "The gradient points the other way: mind the minus of -log p_t.")
def wrong_way(logits, targets, alpha=0.25, gamma=2.0):
    return -focal_slope(logits, targets, alpha, gamma) / logits.shape[-1]


@mistake(FOCAL_BACKWARD, "You did not divide by the number of pixels: the loss is their mean.")
def mean_forgotten(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, gamma)


@mistake(FOCAL_BACKWARD, "You divided by the number of masks, too: each mask has its own loss.")
def over_the_masks_too(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, gamma) / logits.size


@mistake(FOCAL_BACKWARD, "You left alpha_t out of the gradient.")
def alpha_forgotten(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, gamma, weight=1.0) / logits.shape[-1]


@mistake(
    FOCAL_BACKWARD,
    "alpha belongs to the pixels where the target is 1, and 1 - alpha to the others, in the gradient as well.",
)
def alpha_swapped_backward(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, 1 - alpha, gamma) / logits.shape[-1]


@mistake(FOCAL_BACKWARD, "That is the gradient of cross-entropy, p - t, without any focus.")
def cross_entropy_gradient(logits, targets, alpha=0.25, gamma=2.0):
    return (sigmoid(logits) - targets) / logits.shape[-1]


@mistake(FOCAL_BACKWARD, "That is the gradient with respect to p: go on through the sigmoid, by p (1 - p).")
def with_respect_to_p(logits, targets, alpha=0.25, gamma=2.0):
    p = sigmoid(logits)
    return focal_slope(logits, targets, alpha, gamma) / (p * (1 - p)) / logits.shape[-1]


@mistake(FOCAL_BACKWARD, "You multiplied by p (1 - p) once more: the derivative in the logit has it already.")
def sigmoid_twice(logits, targets, alpha=0.25, gamma=2.0):
    p = sigmoid(logits)
    return focal_slope(logits, targets, alpha, gamma) * p * (1 - p) / logits.shape[-1]


@mistake(FOCAL_BACKWARD, "The derivative of (1 - p_t)^gamma lacks its factor gamma.")
def gamma_not_brought_down(logits, targets, alpha=0.25, gamma=2.0):
    y, q, ce = np.where(targets == 1, 1.0, -1.0), missed(logits, targets), entropy(logits, targets)
    return -y * weights(targets, alpha) * q**gamma * ((1 - q) * ce + q) / logits.shape[-1]


@mistake(
    FOCAL_BACKWARD, "Both parts of the derivative have the same sign: surer is better, by either factor."
)
def parts_subtracted(logits, targets, alpha=0.25, gamma=2.0):
    y, q, ce = np.where(targets == 1, 1.0, -1.0), missed(logits, targets), entropy(logits, targets)
    return y * weights(targets, alpha) * q**gamma * (gamma * (1 - q) * ce - q) / logits.shape[-1]


@mistake(FOCAL_BACKWARD, "gamma is fixed at 2 in your gradient: use the argument.")
def gamma_fixed_backward(logits, targets, alpha=0.25, gamma=2.0):
    return focal_slope(logits, targets, alpha, 2.0) / logits.shape[-1]


@mistake(
    FOCAL_BACKWARD,
    "Large logits give NaN or infinity: something is divided by p_t or 1 - p_t, or exp overflows.",
)
def overflowing_backward(logits, targets, alpha=0.25, gamma=2.0):
    p_t = np.where(targets == 1, 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(logits)))
    y = np.where(targets == 1, 1.0, -1.0)
    slope = (1 - p_t) ** gamma * (gamma * p_t * np.log(p_t) + p_t - 1)
    return y * weights(targets, alpha) * slope / logits.shape[-1]


# --- dice, forward -----------------------------------------------------------------------------------


@alternative(DICE)
def as_in_maskformer(logits, targets, smooth=1.0):
    inputs, t = torch.tensor(logits).sigmoid().flatten(1), torch.tensor(targets)
    numerator = 2 * (inputs * t).sum(-1)
    denominator = inputs.sum(-1) + t.sum(-1)
    return (1 - (numerator + smooth) / (denominator + smooth)).numpy()


@alternative(DICE)
def by_einsum(logits, targets, smooth=1.0):
    p = np.exp(-softplus(-logits))
    common = np.einsum("mp,mp->m", p, targets)
    total = np.einsum("mp->m", p + targets)
    return (total - 2 * common) / (total + smooth)


@alternative(DICE)
def dice_mask_by_mask(logits, targets, smooth=1.0):
    losses = []
    for x, t in zip(logits, targets, strict=True):
        p = sigmoid(x)
        losses.append(1 - (2 * np.dot(p, t) + smooth) / (p.sum() + t.sum() + smooth))
    return np.asarray(losses)


def dice_of(p, t, smooth, twice=2.0, above=1.0, below=1.0):
    return 1 - (twice * (p * t).sum(-1) + above * smooth) / (p.sum(-1) + t.sum(-1) + below * smooth)


@mistake(DICE, "The common part counts twice: 2 sum(p t).")
def common_once(logits, targets, smooth=1.0):
    return dice_of(sigmoid(logits), targets, smooth, twice=1.0)


@mistake(DICE, "That is the coefficient: the loss is 1 minus it.")
def coefficient(logits, targets, smooth=1.0):
    return 1 - dice_of(sigmoid(logits), targets, smooth)


@mistake(DICE, "You left smooth out.")
def without_smooth(logits, targets, smooth=1.0):
    return dice_of(sigmoid(logits), targets, 0.0)


@mistake(DICE, "smooth stands below only: it is added above, too.")
def smooth_below_only(logits, targets, smooth=1.0):
    return dice_of(sigmoid(logits), targets, smooth, above=0.0)


@mistake(DICE, "smooth stands above only: it is added below, too.")
def smooth_above_only(logits, targets, smooth=1.0):
    return dice_of(sigmoid(logits), targets, smooth, below=0.0)


@mistake(DICE, "You added smooth twice above (2 (sum(p t) + smooth)): add it once.")
def smooth_twice_above(logits, targets, smooth=1.0):
    return dice_of(sigmoid(logits), targets, smooth, above=2.0)


@mistake(DICE, "You added smooth to each sum below, twice in all: add it once.")
def smooth_twice_below(logits, targets, smooth=1.0):
    return dice_of(sigmoid(logits), targets, smooth, below=2.0)


@mistake(DICE, "You did not apply the sigmoid: the inputs are logits.")
def dice_without_sigmoid(logits, targets, smooth=1.0):
    return dice_of(logits, targets, smooth)


@mistake(DICE, "You thresholded the logits: the belief itself counts, or there would be no gradient.")
def thresholded(logits, targets, smooth=1.0):
    return dice_of((logits > 0).astype(float), targets, smooth)


@mistake(DICE, "You squared below, as V-Net does: here nothing is squared.")
def squared(logits, targets, smooth=1.0):
    p = sigmoid(logits)
    return 1 - (2 * (p * targets).sum(-1) + smooth) / ((p**2).sum(-1) + (targets**2).sum(-1) + smooth)


@mistake(DICE, "You took the sums over all masks together: each mask has its own loss.")
def all_masks_together(logits, targets, smooth=1.0):
    p = sigmoid(logits)
    return np.float64(1 - (2 * (p * targets).sum() + smooth) / (p.sum() + targets.sum() + smooth))


@mistake(DICE, "You took means in place of sums: smooth weighs more then.")
def means(logits, targets, smooth=1.0):
    p = sigmoid(logits)
    return 1 - (2 * (p * targets).mean(-1) + smooth) / (p.mean(-1) + targets.mean(-1) + smooth)


@mistake(DICE, "That is the soft IoU's loss: below, the common part is not subtracted.")
def soft_iou(logits, targets, smooth=1.0):
    p = sigmoid(logits)
    common = (p * targets).sum(-1)
    return 1 - (common + smooth) / (p.sum(-1) + targets.sum(-1) - common + smooth)


@mistake(DICE, "smooth is fixed at 1 here: use the argument.")
def smooth_fixed(logits, targets, smooth=1.0):
    return dice_of(sigmoid(logits), targets, 1.0)


@mistake(DICE, "You averaged over the masks: each mask has its own loss.")
def averaged(logits, targets, smooth=1.0):
    return dice_of(sigmoid(logits), targets, smooth).mean()


# --- dice, backward ----------------------------------------------------------------------------------


@alternative(DICE_BACKWARD)
def dice_by_autograd(logits, targets, smooth=1.0):
    x, t = torch.tensor(logits, requires_grad=True), torch.tensor(targets)
    p = x.sigmoid()
    loss = 1 - (2 * (p * t).sum(-1) + smooth) / (p.sum(-1) + t.sum(-1) + smooth)
    loss.sum().backward()
    return x.grad.numpy()


@alternative(DICE_BACKWARD)
def dice_by_parts(logits, targets, smooth=1.0):
    """d(1 - N/D) = -(dN D - N dD) / D^2 with dN = 2 t dp, dD = dp."""
    p = sigmoid(logits)
    n, d = 2 * (p * targets).sum(1) + smooth, (p + targets).sum(1) + smooth
    return -(2 * targets / d[:, None] - (n / d**2)[:, None]) * p * (1 - p)


@alternative(DICE_BACKWARD)
def dice_gradient_mask_by_mask(logits, targets, smooth=1.0):
    grads = np.zeros_like(logits)
    for i in range(len(logits)):
        p, t = np.exp(-softplus(-logits[i])), targets[i]
        n, d = 2 * p @ t + smooth, p.sum() + t.sum() + smooth
        for j in range(len(p)):
            grads[i, j] = (n - 2 * t[j] * d) / d / d * p[j] * np.exp(-softplus(logits[i, j]))
    return grads


def sums(logits, targets, smooth):
    p = sigmoid(logits)
    n = 2 * (p * targets).sum(-1, keepdims=True) + smooth
    d = p.sum(-1, keepdims=True) + targets.sum(-1, keepdims=True) + smooth
    return p, n, d


@mistake(DICE_BACKWARD, "You held the denominator constant: each p stands below, too.")
def below_held_constant(logits, targets, smooth=1.0):
    p, _, d = sums(logits, targets, smooth)
    return -2 * targets / d * p * (1 - p)


@mistake(DICE_BACKWARD, "You held the numerator constant: where the target is 1, p stands above, too.")
def above_held_constant(logits, targets, smooth=1.0):
    p, n, d = sums(logits, targets, smooth)
    return n / d**2 * p * (1 - p)


@mistake(DICE_BACKWARD, "That is the gradient with respect to p: go on through the sigmoid, by p (1 - p).")
def dice_with_respect_to_p(logits, targets, smooth=1.0):
    _, n, d = sums(logits, targets, smooth)
    return (n - 2 * targets * d) / d**2


@mistake(DICE_BACKWARD, "The gradient points the other way: the loss is 1 *minus* the quotient.")
def dice_wrong_way(logits, targets, smooth=1.0):
    p, n, d = sums(logits, targets, smooth)
    return -(n - 2 * targets * d) / d**2 * p * (1 - p)


@mistake(DICE_BACKWARD, "The quotient rule divides by the denominator squared.")
def not_squared(logits, targets, smooth=1.0):
    p, n, d = sums(logits, targets, smooth)
    return (n - 2 * targets * d) / d * p * (1 - p)


@mistake(DICE_BACKWARD, "The 2 of the numerator is missing in its derivative: 2 t.")
def two_forgotten(logits, targets, smooth=1.0):
    p, n, d = sums(logits, targets, smooth)
    return (n - targets * d) / d**2 * p * (1 - p)


@mistake(
    DICE_BACKWARD,
    "In the quotient rule the derivative of the numerator is multiplied by the denominator, and the other way round: yours are swapped.",
)
def quotient_swapped(logits, targets, smooth=1.0):
    p, n, d = sums(logits, targets, smooth)
    return (d - 2 * targets * n) / d**2 * p * (1 - p)


@mistake(DICE_BACKWARD, "smooth is missing in the sums of your gradient.")
def smooth_forgotten(logits, targets, smooth=1.0):
    p, n, d = sums(logits, targets, 0.0)
    return (n - 2 * targets * d) / d**2 * p * (1 - p)


@mistake(DICE_BACKWARD, "smooth is fixed at 1 in your gradient: use the argument.")
def smooth_fixed_backward(logits, targets, smooth=1.0):
    p, n, d = sums(logits, targets, 1.0)
    return (n - 2 * targets * d) / d**2 * p * (1 - p)


@mistake(DICE_BACKWARD, "The derivative of the sigmoid is p (1 - p), not p.")
def sigmoid_half(logits, targets, smooth=1.0):
    p, n, d = sums(logits, targets, smooth)
    return (n - 2 * targets * d) / d**2 * p


@mistake(DICE_BACKWARD, "Your sums go over all masks: each mask has its own.")
def sums_over_all_masks(logits, targets, smooth=1.0):
    p = sigmoid(logits)
    n, d = 2 * (p * targets).sum() + smooth, p.sum() + targets.sum() + smooth
    return (n - 2 * targets * d) / d**2 * p * (1 - p)


@mistake(DICE_BACKWARD, "You divided by the number of pixels: the loss is no mean.")
def over_the_pixels(logits, targets, smooth=1.0):
    p, n, d = sums(logits, targets, smooth)
    return (n - 2 * targets * d) / d**2 * p * (1 - p) / logits.shape[-1]


@mistake(DICE_BACKWARD, "You divided by the number of masks: each mask has its own loss.")
def over_the_masks(logits, targets, smooth=1.0):
    p, n, d = sums(logits, targets, smooth)
    return (n - 2 * targets * d) / d**2 * p * (1 - p) / len(logits)


@mistake(DICE_BACKWARD, "Large logits give NaN: exp overflows; take p (1 - p) from a sigmoid that saturates.")
def dice_overflowing_backward(logits, targets, smooth=1.0):
    _, n, d = sums(logits, targets, smooth)
    slope = np.exp(-logits) / (1 + np.exp(-logits)) ** 2
    return (n - 2 * targets * d) / d**2 * slope
