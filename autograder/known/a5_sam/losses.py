"""Known answers: IoU, and the dice loss in NumPy."""

import numpy as np
import torch

from autograder.known import alternative, mistake

IOU = "mask_iou"
DICE, DICE_BACKWARD = "dice_loss_numpy", "dice_loss_numpy_backward"


def area(mask):
    return mask.float().sum(dim=(-2, -1))


def ratio(common, union):
    return torch.where(union > 0, common / union.clamp(min=1e-9), torch.ones_like(union))


# --- IoU -----------------------------------------------------------------------------------------------


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


@alternative(IOU)
def pair_by_pair(a, b):
    """Sets of places."""
    shape = torch.broadcast_shapes(a.shape, b.shape)
    pairs = (
        zip(a.expand(shape).flatten(0, -3), b.expand(shape).flatten(0, -3), strict=True)
        if a.dim() + b.dim() > 4
        else [(a, b)]
    )
    ious = []
    for x, y in pairs:
        here, there = ({tuple(place) for place in mask.nonzero().tolist()} for mask in (x, y))
        ious.append(len(here & there) / len(here | there) if here or there else 1.0)
    return torch.tensor(ious).reshape(shape[:-2])


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


@mistake(IOU, "You averaged the IoU of the masks and that of what is outside both: only the masks count.")
def mean_with_the_background(a, b):
    return (ratio(area(a & b), area(a | b)) + ratio(area(~a & ~b), area(~a | ~b))) / 2


@mistake(IOU, "You rounded down (//): IoU is a fraction.")
def rounded_down(a, b):
    common, union = (a & b).sum(dim=(-2, -1)), (a | b).sum(dim=(-2, -1))
    return torch.where(union == 0, 1, common // union.clamp(min=1)).float()


@mistake(
    IOU, "You summed over all dimensions but the first: sum over the last two, whatever stands before them."
)
def all_but_the_first(a, b):
    common, union = (x.float().flatten(1).sum(1) for x in (a & b, a | b))
    return ratio(common, union)


@mistake(IOU, "You squeezed the result: a leading dimension of size 1 is gone, too.")
def squeezed(a, b):
    return ratio(area(a & b), area(a | b)).squeeze()


@mistake(IOU, "You gave 1 where one mask is empty: only two empty masks are the same; one alone gives 0.")
def one_where_one_is_empty(a, b):
    return torch.where((area(a) > 0) & (area(b) > 0), ratio(area(a & b), area(a | b)), 1.0)


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


def sigmoid(x):
    return (1 + np.tanh(x / 2)) / 2


def softplus(x):
    return np.logaddexp(0, x)


@alternative(DICE)
def with_the_plain_sigmoid(logits, targets, smooth=1.0):
    """exp may overflow here, with a warning: 1 / (1 + infinity) is 0, as it should be."""
    p = 1 / (1 + np.exp(-logits))
    return 1 - (2 * np.sum(p * targets, axis=-1) + smooth) / (np.sum(p, -1) + np.sum(targets, -1) + smooth)


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


@mistake(
    DICE,
    "Large logits give NaN: exp(x) / (1 + exp(x)) is infinity / infinity.  Take 1 / (1 + exp(-x)), or a tanh.",
)
def dice_overflowing(logits, targets, smooth=1.0):
    return dice_of(np.exp(logits) / (1 + np.exp(logits)), targets, smooth)


@mistake(DICE, "You multiplied the sums, sum(p) sum(t): multiply pixel by pixel, then sum.")
def product_of_sums(logits, targets, smooth=1.0):
    p, t = sigmoid(logits).sum(1), targets.sum(1)
    return 1 - (2 * p * t + smooth) / (p + t + smooth)


@mistake(DICE, "You took minus the coefficient, as V-Net maximises it: the loss is 1 minus it.")
def minus_the_coefficient(logits, targets, smooth=1.0):
    return dice_of(sigmoid(logits), targets, smooth) - 1


@mistake(DICE, "You took -log of the coefficient: the loss is 1 minus it.")
def minus_log(logits, targets, smooth=1.0):
    return -np.log(1 - dice_of(sigmoid(logits), targets, smooth))


@mistake(DICE, "You averaged the losses of the mask and of what is outside it: only the mask counts.")
def with_the_background(logits, targets, smooth=1.0):
    return (dice_of(sigmoid(logits), targets, smooth) + dice_of(sigmoid(-logits), 1 - targets, smooth)) / 2


@mistake(DICE, "Your sums go over the masks (axis 0): they go over the pixels of each mask.")
def along_the_masks(logits, targets, smooth=1.0):
    return dice_of(sigmoid(logits).T, targets.T, smooth)


@mistake(DICE, "Your bracket is in the wrong place: 1 minus the whole fraction.")
def bracket_misplaced(logits, targets, smooth=1.0):
    p = sigmoid(logits)
    return (1 - (2 * (p * targets).sum(1) + smooth)) / (p.sum(1) + targets.sum(1) + smooth)


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


@alternative(DICE_BACKWARD)
def jacobian_of_each_mask(logits, targets, smooth=1.0):
    rows = []
    for x, t in zip(logits, targets, strict=True):
        p = 1 / (1 + np.exp(-x))
        n, d = 2 * p @ t + smooth, np.sum(p + t) + smooth
        rows.append(np.diag(p * (1 - p)) @ (n - 2 * t * d) / d**2)
    return np.stack(rows)


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
    return (n - 2 * targets * d) / d**2 * p * (1 - p) / logits.shape[1]


@mistake(DICE_BACKWARD, "You divided by the number of masks: each mask has its own loss.")
def over_the_masks(logits, targets, smooth=1.0):
    p, n, d = sums(logits, targets, smooth)
    return (n - 2 * targets * d) / d**2 * p * (1 - p) / len(logits)


@mistake(DICE_BACKWARD, "Large logits give NaN: exp overflows; take p (1 - p) from a sigmoid that saturates.")
def dice_overflowing_backward(logits, targets, smooth=1.0):
    _, n, d = sums(logits, targets, smooth)
    slope = np.exp(-logits) / (1 + np.exp(-logits)) ** 2
    return (n - 2 * targets * d) / d**2 * slope


@mistake(
    DICE_BACKWARD,
    "That is the gradient of a dice that squares below, as V-Net does: here nothing is squared.",
)
def squared_below(logits, targets, smooth=1.0):
    p = sigmoid(logits)
    n = 2 * (p * targets).sum(1, keepdims=True) + smooth
    d = (p**2 + targets**2).sum(1, keepdims=True) + smooth
    return (2 * p * n - 2 * targets * d) / d**2 * p * (1 - p)


@mistake(DICE_BACKWARD, "That is the gradient of the soft IoU: dice does not subtract the common part below.")
def of_soft_iou(logits, targets, smooth=1.0):
    p = sigmoid(logits)
    n = (p * targets).sum(1, keepdims=True) + smooth
    d = (p + targets).sum(1, keepdims=True) - n + 2 * smooth
    return -(targets * d - n * (1 - targets)) / d**2 * p * (1 - p)


@mistake(DICE_BACKWARD, "The derivative of the sigmoid is p (1 - p): you wrote the logits for p.")
def logits_for_p(logits, targets, smooth=1.0):
    _, n, d = sums(logits, targets, smooth)
    return (n - 2 * targets * d) / d**2 * logits * (1 - logits)


@mistake(DICE_BACKWARD, "You wrote p for the target in the numerator's derivative: d(p t) / dp is t.")
def p_for_the_target(logits, targets, smooth=1.0):
    p, n, d = sums(logits, targets, smooth)
    return (n - 2 * p * d) / d**2 * p * (1 - p)


@mistake(
    DICE_BACKWARD,
    "Both terms of the quotient rule have the same sign in yours: one is subtracted from the other.",
)
def quotient_added(logits, targets, smooth=1.0):
    p, n, d = sums(logits, targets, smooth)
    return -(n + 2 * targets * d) / d**2 * p * (1 - p)


@mistake(DICE_BACKWARD, "The targets do not depend on the logits: below, each p alone has a derivative.")
def targets_differentiated(logits, targets, smooth=1.0):
    p, n, d = sums(logits, targets, smooth)
    return (n * (1 + targets) - 2 * targets * d) / d**2 * p * (1 - p)
