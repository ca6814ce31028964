"""Known answers: clicks on faults, the stability of a mask, non-maximum suppression, a grid of points."""

import numpy as np
import torch

from autograder.known import alternative, mistake
from cs_vl.losses.mask_iou import mask_iou

CLICKS, STABLE, NMS, GRID = "sample_error_points", "stability_score", "nms", "point_grid"


# --- clicks: other right answers ---------------------------------------------------------------------------


@alternative(CLICKS)
def mask_by_mask(predicted, targets, uniform):
    """With nonzero, which counts row by row."""
    points, labels = [], []
    for mask, target, u in zip(predicted, targets, uniform, strict=True):
        candidates = (mask != target).nonzero()
        if len(candidates) == 0:
            candidates = target.nonzero()
        y, x = candidates[int(u * len(candidates))]
        points.append(torch.stack([x, y]))
        labels.append(target[y, x].long())
    return torch.stack(points), torch.stack(labels)


@alternative(CLICKS)
def two_kinds_of_faults(predicted, targets, uniform):
    """As SAM 2's sample_random_points_from_errors: false positives and false negatives."""
    fp, fn = ~targets & predicted, targets & ~predicted
    right = torch.all((predicted == targets).flatten(1), dim=1)[:, None, None]
    missed = fn | (right & targets)
    everything = fp | missed
    rank = everything.flatten(1).double().cumsum(1) - 1
    m = everything.flatten(1).sum(1)
    wanted = torch.floor(uniform.double() * m)
    hit = (rank == wanted[:, None]) & everything.flatten(1)
    index = hit.double().argmax(dim=1)
    y, x = torch.div(index, predicted.shape[2], rounding_mode="floor"), index % predicted.shape[2]
    labels = missed[torch.arange(len(index)), y, x].to(torch.int64)
    return torch.stack((x, y), dim=1), labels


@alternative(CLICKS)
def in_numpy_with_flatnonzero(predicted, targets, uniform):
    predicted, targets, uniform = predicted.numpy(), targets.numpy(), uniform.numpy()
    points, labels = np.zeros((len(targets), 2), dtype=np.int64), np.zeros(len(targets), dtype=np.int64)
    for i in range(len(targets)):
        wrong = np.logical_xor(predicted[i], targets[i])
        where = np.flatnonzero(wrong if wrong.any() else targets[i])
        y, x = np.unravel_index(where[int(np.floor(uniform[i] * len(where)))], targets[i].shape)
        points[i] = x, y
        labels[i] = targets[i, y, x]
    return torch.from_numpy(points), torch.from_numpy(labels)


@alternative(CLICKS)
def pixel_by_pixel(predicted, targets, uniform):
    points, labels = [], []
    for p, t, u in zip(predicted.tolist(), targets.tolist(), uniform.tolist(), strict=True):
        cells = [(x, y) for y in range(len(t)) for x in range(len(t[0]))]
        wrong = [(x, y) for x, y in cells if p[y][x] is not t[y][x]] or [(x, y) for x, y in cells if t[y][x]]
        x, y = wrong[int(u * len(wrong))]
        points.append([x, y])
        labels.append(1 if t[y][x] else 0)
    return torch.tensor(points), torch.tensor(labels)


@alternative(CLICKS)
def by_searchsorted(predicted, targets, uniform):
    n, _, width = targets.shape
    wrong = (predicted ^ targets).view(n, -1)
    wrong = wrong + targets.view(n, -1) * (wrong.sum(1, keepdim=True) == 0)
    sums = wrong.int().cumsum(1)
    k = (uniform * sums[:, -1]).floor().int() + 1
    at = torch.searchsorted(sums.contiguous(), k[:, None])[:, 0]
    y = at // width
    return torch.stack([at - y * width, y], dim=-1), (targets[range(n), y, at - y * width]).to(torch.long)


# --- clicks: mistakes, as variations of one plain answer ---------------------------------------------------


def or_the_target(candidates, targets):
    return torch.where(candidates.flatten(1).any(dim=1)[:, None, None], candidates, targets)


def faults(predicted, targets):
    return or_the_target(predicted != targets, targets)


def lacks_more(predicted, targets):
    return (targets & ~predicted).sum((1, 2)) >= (predicted & ~targets).sum((1, 2))


def larger_kind(predicted, targets):
    more = lacks_more(predicted, targets)[:, None, None]
    return torch.where(more, targets & ~predicted, predicted & ~targets)


def floored(uniform, m):
    return (uniform * m).long()


def sampled(predicted, targets, uniform, *, where=faults, number=floored, label=None, flat=None):
    """(points, labels), with one of the steps in place of another; what has no candidate gets pixel 0."""
    candidates = where(predicted, targets)
    flat = flat or (lambda masks: masks.flatten(1))
    counts = flat(candidates).cumsum(dim=1)
    pixel = (counts > number(uniform, counts[:, -1])[:, None]).long().argmax(dim=1)
    width = targets.shape[2]
    points = torch.stack([pixel % width, pixel // width], dim=1)
    if label:
        return points, label(predicted.flatten(1).gather(1, pixel[:, None])[:, 0], pixel, targets)
    return points, targets.flatten(1).gather(1, pixel[:, None])[:, 0].long()


def wrong_click(name, sentence, **options):
    """A mistake that is `sampled` with other options."""

    def answer(predicted, targets, uniform):
        return sampled(predicted, targets, uniform, **options)

    answer.__name__ = name
    mistake(CLICKS, sentence)(answer)


def of_target(targets, pixel):
    return targets.flatten(1).gather(1, pixel[:, None])[:, 0].long()


@mistake(CLICKS, "Your points are (y, x): a point is (x, y), the column first.")
def row_first(predicted, targets, uniform):
    points, labels = sampled(predicted, targets, uniform)
    return points.flip(1), labels


@mistake(CLICKS, "You divided by the height: in a picture counted row by row, x is the rest by the *width*.")
def divided_by_the_height(predicted, targets, uniform):
    points, labels = sampled(predicted, targets, uniform)
    pixel, height = points[:, 1] * targets.shape[2] + points[:, 0], targets.shape[1]
    return torch.stack([pixel % height, pixel // height], dim=1), labels


wrong_click(
    "labels_exchanged",
    "You exchanged the labels: what the mask lacks is a foreground click, 1; what it has in vain, 0.",
    label=lambda there, pixel, targets: 1 - of_target(targets, pixel),
)
wrong_click(
    "label_is_the_masks",
    "Your label is what the predicted mask says of the pixel: it is what the *target* says.",
    label=lambda there, pixel, targets: there.long(),
)
wrong_click(
    "label_from_the_mask",
    "You told foreground by what the predicted mask lacks; a mask without a fault lacks nothing, and its click is "
    "foreground all the same.",
    label=lambda there, pixel, targets: (~there).long(),
)
wrong_click(
    "always_foreground",
    "All your clicks are foreground: one on a pixel that the mask has in vain is background, 0.",
    label=lambda there, pixel, targets: torch.ones_like(pixel),
)
wrong_click(
    "always_background",
    "All your clicks are background: one on a pixel of the target is foreground, 1.",
    label=lambda there, pixel, targets: torch.zeros_like(pixel),
)


@mistake(CLICKS, "You decided the label for the whole mask: it is that of the pixel that was clicked.")
def one_label_for_a_mask(predicted, targets, uniform):
    points, _ = sampled(predicted, targets, uniform)
    return points, (faults(predicted, targets) & targets).flatten(1).any(dim=1).long()


@mistake(
    CLICKS,
    "Your label is that of the mask's more frequent kind of fault: it is that of the pixel that was clicked.",
)
def label_of_the_larger_kind(predicted, targets, uniform):
    points, _ = sampled(predicted, targets, uniform)
    return points, lacks_more(predicted, targets).long()


wrong_click(
    "minus_one_for_background",
    "Your background is -1: it is 0 (in SAM, -1 is a point that is no point).",
    label=lambda there, pixel, targets: 2 * of_target(targets, pixel) - 1,
)
wrong_click(
    "labels_are_booleans",
    "Your labels are True and False: turn them into 1 and 0, int64.",
    label=lambda there, pixel, targets: of_target(targets, pixel).bool(),
)
wrong_click(
    "only_what_is_missing",
    "You only clicked on what the mask lacks: what it has in vain is wrong, too.",
    where=lambda p, t: or_the_target(t & ~p, t),
)
wrong_click(
    "only_what_is_in_vain",
    "You only clicked on what the mask has in vain: what it lacks is wrong, too.",
    where=lambda p, t: or_the_target(p & ~t, t),
)
wrong_click(
    "missing_first",
    "You clicked on what the mask has in vain only where it lacks nothing: any wrong pixel is as likely.",
    where=lambda p, t: torch.where((t & ~p).flatten(1).any(dim=1)[:, None, None], t & ~p, faults(p, t)),
)
wrong_click(
    "the_larger_kind",
    "You click on the more frequent kind of fault only: any wrong pixel is as likely.",
    where=lambda p, t: or_the_target(larger_kind(p, t), t),
)
wrong_click(
    "on_the_mask",
    "You click on what the mask has, right or wrong: click where it differs from the target.",
    where=or_the_target,
)
wrong_click(
    "anywhere",
    "You clicked on any pixel of the image: only on one that is wrong.",
    where=lambda p, t: torch.ones_like(t),
)
wrong_click(
    "on_the_target",
    "You clicked on any pixel of the target, whatever the mask has of it: only on one that is wrong.",
    where=lambda p, t: t,
)
wrong_click(
    "on_what_is_right",
    "You clicked on pixels on which mask and target agree: click where they differ.",
    where=lambda p, t: p == t,
)
wrong_click(
    "in_either",
    "You clicked on any pixel of either mask (| in place of ^): one that is in both is right.",
    where=lambda p, t: p | t,
)
wrong_click(
    "in_both",
    "You clicked where both masks are (& in place of ^): there the mask is right.",
    where=lambda p, t: p & t,
)
wrong_click(
    "faultless_anywhere",
    "A mask without a fault got a click anywhere in the image: it gets one on the target.",
    where=lambda p, t: torch.where((p != t).flatten(1).any(dim=1)[:, None, None], p != t, True),
)
wrong_click(
    "faultless_at_the_corner",
    "A mask without a fault got a click at (0, 0), as argmax of nothing gives: it gets one on the target.",
    where=lambda p, t: p != t,
)
wrong_click(
    "a_faultless_batch_only",
    "You looked for a batch without any fault: each mask without one gets its click on the target.",
    where=lambda p, t: p ^ t if (p ^ t).any() else t,
)
wrong_click(
    "first_pixel",
    "You always clicked on the first pixel that is wrong: take number floor(uniform * m) of the m.",
    number=lambda u, m: torch.zeros_like(m),
)
wrong_click(
    "last_pixel",
    "You always clicked on the last pixel that is wrong: take number floor(uniform * m) of the m.",
    number=lambda u, m: m - 1,
)
wrong_click(
    "middle_pixel",
    "You always clicked on the middle one of the wrong pixels: take number floor(uniform * m) of the m.",
    number=lambda u, m: m // 2,
)
wrong_click(
    "rounded",
    "You rounded uniform * m: take its floor, so that the first pixel is as likely as the others.",
    number=lambda u, m: torch.minimum((u * m).round().long(), m - 1),
)
wrong_click(
    "last_never",
    "You multiplied by m - 1: so the last of the m pixels is never clicked; floor(uniform * m) is at most m - 1.",
    number=lambda u, m: (u * (m - 1)).long(),
)
wrong_click(
    "one_too_early",
    "You are one pixel too early: number 0 is the first of the candidates (is a >= in place of a >?).",
    number=lambda u, m: ((u * m).long() - 1).clamp(min=0),
)
wrong_click(
    "one_too_late",
    "You are one pixel too late: numbers begin with 0, so that the first of the candidates is number 0.",
    number=lambda u, m: torch.minimum((u * m).long() + 1, m - 1),
)
wrong_click(
    "chance_of_the_first",
    "You used the first mask's chance for all: each has its own.",
    number=lambda u, m: (u[0] * m).long(),
)
wrong_click(
    "from_the_end",
    "You numbered the candidates from the lower right: number 0 is the upper left one.",
    number=lambda u, m: m - 1 - (u * m).long(),
)
wrong_click(
    "as_many_as_the_most",
    "You used one m for all masks: each has its own number of candidates.",
    number=lambda u, m: torch.minimum((u * m.max()).long(), m - 1),
)
wrong_click(
    "as_many_as_the_image",
    "You multiplied by the number of all pixels: m is how many of them are wrong.",
    number=lambda u, m: torch.minimum((u * 35).long(), m - 1),
)


@mistake(CLICKS, "You numbered the pixels column by column: number them row by row.")
def column_by_column(predicted, targets, uniform):
    points, labels = sampled(predicted.mT, targets.mT, uniform)
    return points.flip(1), labels


def kind_by_kind(predicted, targets, uniform, kinds):
    points, labels = [], []
    for p, t, u in zip(predicted, targets, uniform, strict=True):
        candidates = torch.cat([kind.nonzero() for kind in kinds(p, t)])
        candidates = candidates if len(candidates) else t.nonzero()
        y, x = candidates[int(u * len(candidates))].tolist()
        points.append([x, y])
        labels.append(int(t[y, x]))
    return torch.tensor(points), torch.tensor(labels)


@mistake(CLICKS, "You numbered what the mask lacks before what it has in vain: all in one, row by row.")
def one_kind_after_the_other(predicted, targets, uniform):
    return kind_by_kind(predicted, targets, uniform, lambda p, t: (t & ~p, p & ~t))


@mistake(CLICKS, "You numbered what is in vain before what the mask lacks: all in one, row by row.")
def what_is_in_vain_first(predicted, targets, uniform):
    return kind_by_kind(predicted, targets, uniform, lambda p, t: (p & ~t, t & ~p))


@mistake(CLICKS, "You drew a chance of your own: `uniform` is the chance, so that a result can be repeated.")
def own_chance(predicted, targets, uniform):
    candidates = faults(predicted, targets).flatten(1)
    pixel = torch.multinomial(candidates.float(), 1)[:, 0]
    width = targets.shape[2]
    return torch.stack([pixel % width, pixel // width], dim=1), of_target(targets, pixel)


@mistake(
    CLICKS,
    "You clicked in the middle of all that is wrong, where nothing may be wrong: on one of the pixels.",
)
def centre_of_all(predicted, targets, uniform):
    wrong = faults(predicted, targets).float()
    m = wrong.sum(dim=(1, 2))
    y = ((wrong.sum(dim=2) * torch.arange(wrong.shape[1])).sum(dim=1) / m).long()
    x = ((wrong.sum(dim=1) * torch.arange(wrong.shape[2])).sum(dim=1) / m).long()
    return torch.stack([x, y], dim=1), targets[torch.arange(len(m)), y, x].long()


@mistake(CLICKS, "You added half a pixel: points are whole numbers here; the prompt encoder adds the half.")
def half_a_pixel(predicted, targets, uniform):
    points, labels = sampled(predicted, targets, uniform)
    return points + 0.5, labels


@mistake(CLICKS, "You divided the points by the image's size: they are in pixels.")
def parts_of_the_image(predicted, targets, uniform):
    points, labels = sampled(predicted, targets, uniform)
    return points / torch.tensor([targets.shape[2], targets.shape[1]]), labels


@mistake(CLICKS, "You returned the labels first: (points, labels).")
def labels_first(predicted, targets, uniform):
    return sampled(predicted, targets, uniform)[::-1]


@mistake(CLICKS, "You returned points alone: their labels are needed, too.")
def points_alone(predicted, targets, uniform):
    return sampled(predicted, targets, uniform)[0]


@mistake(CLICKS, "You returned the numbers of the pixels: turn each into (x, y).")
def numbers_of_pixels(predicted, targets, uniform):
    points, labels = sampled(predicted, targets, uniform)
    return points[:, 1] * targets.shape[2] + points[:, 0], labels


@mistake(CLICKS, "You squeezed what you return: of one mask, its dimension is gone, too.")
def squeezed_clicks(predicted, targets, uniform):
    points, labels = sampled(predicted, targets, uniform)
    return points.squeeze(), labels.squeeze()


# --- stability: other right answers ------------------------------------------------------------------------


@alternative(STABLE)
def as_in_amg(logits, threshold=0.0, offset=1.0):
    """As segment_anything's calculate_stability_score, without its NaN."""
    intersections = (logits > (threshold + offset)).sum(-1, dtype=torch.int16).sum(-1, dtype=torch.int32)
    unions = (logits > (threshold - offset)).sum(-1, dtype=torch.int16).sum(-1, dtype=torch.int32)
    return torch.nan_to_num(intersections / unions, nan=0.0)


@alternative(STABLE)
def with_and_and_or(logits, threshold=0.0, offset=1.0):
    high, low = logits > threshold + offset, logits > threshold - offset
    inter = (high & low).float().flatten(-2).sum(-1)
    union = (high | low).float().flatten(-2).sum(-1)
    return torch.where(union > 0, inter / union, torch.zeros_like(union))


@alternative(STABLE)
def mask_after_mask(logits, threshold=0.0, offset=1.0):
    scores = []
    for mask in logits.reshape(-1, *logits.shape[-2:]).numpy():
        high, low = np.count_nonzero(mask > threshold + offset), np.count_nonzero(mask > threshold - offset)
        scores.append(high / low if low else 0.0)
    return torch.tensor(scores).reshape(logits.shape[:-2])


@alternative(STABLE)
def by_einsum_with_epsilon(logits, threshold=0.0, offset=1.0):
    centred = logits - threshold
    high, low = (centred > offset).double(), (centred > -offset).double()
    return torch.einsum("...hw,...hw->...", high, low) / (torch.einsum("...hw->...", low) + 1e-9)


@alternative(STABLE)
def with_mask_iou(logits, threshold=0.0, offset=1.0):
    low = logits > threshold - offset
    return mask_iou(logits > threshold + offset, low) * low.flatten(-2).any(dim=-1)


# --- stability: mistakes -----------------------------------------------------------------------------------


def shares(high, low):
    high, low = (x.float().sum(dim=(-2, -1)) for x in (high, low))
    return high / low.clamp(min=1)


def thresholded(logits, threshold, offset):
    return logits > threshold + offset, logits > threshold - offset


@mistake(STABLE, "You took the sigmoid of the logits: thresholds and offset are of the logits themselves.")
def of_probabilities(logits, threshold=0.0, offset=1.0):
    return shares(*thresholded(logits.sigmoid(), threshold, offset))


@mistake(STABLE, "You added the offset above only: the lower threshold is threshold - offset.")
def only_above(logits, threshold=0.0, offset=1.0):
    return shares(logits > threshold + offset, logits > threshold)


@mistake(STABLE, "You took the offset off below only: the higher threshold is threshold + offset.")
def only_below(logits, threshold=0.0, offset=1.0):
    return shares(logits > threshold, logits > threshold - offset)


@mistake(STABLE, "Your thresholds are half an offset away on each side: the whole offset on each.")
def half_the_offset(logits, threshold=0.0, offset=1.0):
    return shares(*thresholded(logits, threshold, offset / 2))


@mistake(
    STABLE,
    "Your fraction is upside down: the smaller mask, at the higher threshold, is divided by the larger.",
)
def upside_down(logits, threshold=0.0, offset=1.0):
    high, low = thresholded(logits, threshold, offset)
    return shares(low, high)


@mistake(STABLE, "You left out the threshold: the masks are around it, not around 0.")
def around_zero(logits, threshold=0.0, offset=1.0):
    return shares(*thresholded(logits, 0.0, offset))


@mistake(STABLE, "You used an offset of 1, whatever is given.")
def offset_is_one(logits, threshold=0.0, offset=1.0):
    return shares(*thresholded(logits, threshold, 1.0))


@mistake(STABLE, "You used neither threshold nor offset as given, but 0 and 1.")
def by_default_always(logits, threshold=0.0, offset=1.0):
    return shares(*thresholded(logits, 0.0, 1.0))


@mistake(STABLE, "You exchanged threshold and offset.")
def exchanged(logits, threshold=0.0, offset=1.0):
    return shares(*thresholded(logits, offset, threshold))


@mistake(STABLE, "You multiplied by the offset: add it, and take it off.")
def factor(logits, threshold=0.0, offset=1.0):
    return shares(logits > threshold * (1 + offset), logits > threshold * (1 - offset))


@mistake(
    STABLE, "You took the sign of the threshold wrong: a pixel is in the mask where its logit is *above*."
)
def below(logits, threshold=0.0, offset=1.0):
    return shares(logits < threshold - offset, logits < threshold + offset)


@mistake(STABLE, "You took the pixels near the threshold alone: yours grows where a mask is unsure.")
def unsure_share(logits, threshold=0.0, offset=1.0):
    high, low = thresholded(logits, threshold, offset)
    return shares(low & ~high, low)


@mistake(
    STABLE, "You counted all pixels that stay as they are, the background too: IoU is about the mask alone."
)
def share_that_stays(logits, threshold=0.0, offset=1.0):
    high, low = thresholded(logits, threshold, offset)
    return (high == low).float().mean(dim=(-2, -1))


@mistake(STABLE, "You divided by all pixels of the image: divide by those above the lower threshold.")
def share_of_the_image(logits, threshold=0.0, offset=1.0):
    high, _ = thresholded(logits, threshold, offset)
    return high.float().mean(dim=(-2, -1))


@mistake(
    STABLE, "You compared with the mask at the threshold itself: the IoU is of the two at an offset from it."
)
def mean_of_both_sides(logits, threshold=0.0, offset=1.0):
    high, low = thresholded(logits, threshold, offset)
    middle = logits > threshold
    return (shares(high, middle) + shares(middle, low)) / 2


@mistake(STABLE, "Yours is Dice's coefficient, 2 |A & B| / (|A| + |B|): divide by the union.")
def dice(logits, threshold=0.0, offset=1.0):
    high, low = (x.float().sum(dim=(-2, -1)) for x in thresholded(logits, threshold, offset))
    return 2 * high / (high + low).clamp(min=1)


@mistake(STABLE, "You subtracted the common part twice: the larger mask *is* the union.")
def sum_as_union(logits, threshold=0.0, offset=1.0):
    high, low = (x.float().sum(dim=(-2, -1)) for x in thresholded(logits, threshold, offset))
    return high / (high + low).clamp(min=1)


@mistake(STABLE, "You used absolute logits: a pixel far below the threshold is not in the mask.")
def absolute(logits, threshold=0.0, offset=1.0):
    return shares(*thresholded(logits.abs(), threshold, offset))


@mistake(STABLE, "You added up logits: count the pixels that are above.")
def summed_logits(logits, threshold=0.0, offset=1.0):
    high, low = thresholded(logits, threshold, offset)
    return shares(logits * high, logits * low)


@mistake(STABLE, "You counted rows by themselves: one score for each mask, over height and width.")
def row_by_row(logits, threshold=0.0, offset=1.0):
    high, low = (x.float().sum(dim=-1) for x in thresholded(logits, threshold, offset))
    return high / low.clamp(min=1)


@mistake(STABLE, "You averaged over the rows' scores: count in the whole mask, then divide.")
def mean_over_rows(logits, threshold=0.0, offset=1.0):
    return row_by_row(logits, threshold, offset).mean(dim=-1)


@mistake(STABLE, "You counted over all masks at once: one score for each.")
def all_masks_in_one(logits, threshold=0.0, offset=1.0):
    high, low = (x.float().sum() for x in thresholded(logits, threshold, offset))
    return high / low.clamp(min=1)


@mistake(STABLE, "You counted over the first dimensions: a mask's pixels are the last two.")
def first_dimensions(logits, threshold=0.0, offset=1.0):
    high, low = (x.float().sum(dim=(0, 1)) for x in thresholded(logits, threshold, offset))
    return high / low.clamp(min=1)


@mistake(STABLE, "You divided whole numbers (//): the score lies between 0 and 1.")
def whole_numbers(logits, threshold=0.0, offset=1.0):
    high, low = (x.sum(dim=(-2, -1)) for x in thresholded(logits, threshold, offset))
    return (high // low.clamp(min=1)).float()


@mistake(STABLE, "Where nothing is above the lower threshold you divided 0 by 0: such a mask's score is 0.")
def nan_for_nothing(logits, threshold=0.0, offset=1.0):
    high, low = (x.float().sum(dim=(-2, -1)) for x in thresholded(logits, threshold, offset))
    return high / low


@mistake(STABLE, "A mask in which nothing is got 1, as two empty masks' IoU is: here it is worth nothing, 0.")
def one_for_nothing(logits, threshold=0.0, offset=1.0):
    high, low = (x.float().sum(dim=(-2, -1)) for x in thresholded(logits, threshold, offset))
    return torch.where(low == 0, 1.0, high / low)


@mistake(STABLE, "You smoothed the fraction with ones: it is the plain ratio of two counts.")
def smoothed(logits, threshold=0.0, offset=1.0):
    high, low = (x.float().sum(dim=(-2, -1)) for x in thresholded(logits, threshold, offset))
    return (high + 1) / (low + 1)


@mistake(STABLE, "You counted pixels exactly at a threshold as above it: > in place of >=.")
def at_least(logits, threshold=0.0, offset=1.0):
    return shares(logits >= threshold + offset, logits >= threshold - offset)


@mistake(STABLE, "You squeezed the result: a leading dimension of size 1 is gone, too.")
def squeezed(logits, threshold=0.0, offset=1.0):
    return shares(*thresholded(logits, threshold, offset)).squeeze()


@mistake(STABLE, "You added 1 below, against a division by 0: it is the plain ratio, and 0 where nothing is.")
def one_more_below(logits, threshold=0.0, offset=1.0):
    high, low = (x.float().sum(dim=(-2, -1)) for x in thresholded(logits, threshold, offset))
    return high / (low + 1)


# --- non-maximum suppression: other right answers ----------------------------------------------------------


def overlap(boxes, others):
    """IoU of all pairs."""
    low, high = (
        torch.maximum(boxes[:, None, :2], others[:, :2]),
        torch.minimum(boxes[:, None, 2:], others[:, 2:]),
    )
    common = (high - low).clamp(min=0).prod(dim=2)
    return common / (area_of(boxes)[:, None] + area_of(others) - common)


def area_of(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


@alternative(NMS)
def as_fast_rcnn(boxes, scores, threshold=0.7):
    """The well-known py_cpu_nms, in NumPy, without its + 1."""
    dets, order = boxes.numpy(), np.argsort(-scores.numpy(), kind="stable")
    x1, y1, x2, y2 = dets.T
    areas = (x2 - x1) * (y2 - y1)
    keep = []
    while order.size > 0:
        i = order[0]
        keep.append(int(i))
        xx1, yy1 = np.maximum(x1[i], x1[order[1:]]), np.maximum(y1[i], y1[order[1:]])
        xx2, yy2 = np.minimum(x2[i], x2[order[1:]]), np.minimum(y2[i], y2[order[1:]])
        inter = np.maximum(0.0, xx2 - xx1) * np.maximum(0.0, yy2 - yy1)
        ovr = inter / (areas[i] + areas[order[1:]] - inter)
        order = order[np.where(ovr <= threshold)[0] + 1]
    return torch.tensor(keep, dtype=torch.int64)


@alternative(NMS)
def as_torchvision(boxes, scores, threshold=0.7):
    """The C++ kernel's two loops: what is suppressed is marked and passed over."""
    order = torch.sort(scores, descending=True, stable=True)[1].tolist()
    suppressed = [False] * len(order)
    keep = []
    for a, i in enumerate(order):
        if suppressed[a]:
            continue
        keep.append(i)
        for b in range(a + 1, len(order)):
            p, q = boxes[i].double(), boxes[order[b]].double()
            w = max(0.0, float(min(p[2], q[2]) - max(p[0], q[0])))
            h = max(0.0, float(min(p[3], q[3]) - max(p[1], q[1])))
            union = float((p[2] - p[0]) * (p[3] - p[1]) + (q[2] - q[0]) * (q[3] - q[1])) - w * h
            if w * h / union > threshold:
                suppressed[b] = True
    return torch.as_tensor(keep, dtype=torch.long)


@alternative(NMS)
def survivors_masked(boxes, scores, threshold=0.7):
    """Sorted once; a boolean mask of those that are left."""
    order = torch.argsort(scores, descending=True, stable=True)
    iou = overlap(boxes[order], boxes[order])
    keep = torch.ones(len(order), dtype=torch.bool)
    for i in range(len(order)):
        if keep[i]:
            keep[i + 1 :] &= ~(iou[i, i + 1 :] > threshold)
    return order[keep]


@alternative(NMS)
def until_nothing_changes(boxes, scores, threshold=0.7):
    """Matrix NMS by fixed point: a box stays where no box that stays drives it out."""
    order = torch.argsort(-scores, stable=True)
    drives_out = torch.triu(overlap(boxes[order], boxes[order]) > threshold, diagonal=1)
    keep = torch.ones(len(order), dtype=torch.bool)
    while True:
        now = ~(drives_out & keep[:, None]).any(dim=0)
        if torch.equal(now, keep):
            return order[keep]
        keep = now


@alternative(NMS)
def best_of_what_is_left(boxes, scores, threshold=0.7):
    """argmax again and again; IoU multiplied out, so that nothing is divided."""
    left, kept = scores.clone().double(), []
    while (left > -torch.inf).any():
        i = int(left.argmax())
        kept.append(i)
        sides = torch.minimum(boxes[i, 2:], boxes[:, 2:]) - torch.maximum(boxes[i, :2], boxes[:, :2])
        common = sides.relu().prod(1)
        union = area_of(boxes) + area_of(boxes[i : i + 1]) - common
        left[common > threshold * union] = -torch.inf
        left[i] = -torch.inf
    return torch.tensor(kept).long()


# --- non-maximum suppression: mistakes, as variations of one plain answer -----------------------------------


def best_first(scores):
    return scores.argsort(descending=True, stable=True).tolist()


def suppressed(boxes, scores, threshold, *, iou=overlap, order=best_first, drives_out=None):
    """Indices of the kept, with one of the steps in place of another."""
    drives_out = drives_out or (lambda ious: (ious > threshold).any())
    table, kept = iou(boxes, boxes), []
    for i in order(scores):
        if not kept or not drives_out(table[i, kept]):
            kept.append(i)
    return torch.tensor(kept, dtype=torch.long)


def wrong_nms(name, sentence, **options):
    """A mistake that is `suppressed` with other options."""

    def answer(boxes, scores, threshold=0.7):
        return suppressed(boxes, scores, threshold, **options)

    answer.__name__ = name
    mistake(NMS, sentence)(answer)


def over(share):
    """A measure in place of IoU, of the common area and those of the two boxes."""

    def measure(boxes, others):
        low = torch.maximum(boxes[:, None, :2], others[:, :2])
        high = torch.minimum(boxes[:, None, 2:], others[:, 2:])
        common = (high - low).clamp(min=0).prod(dim=2)
        return share(common, area_of(boxes)[:, None], area_of(others))

    return measure


def not_clamped(boxes, others):
    low, high = (
        torch.maximum(boxes[:, None, :2], others[:, :2]),
        torch.minimum(boxes[:, None, 2:], others[:, 2:]),
    )
    common = (high - low).prod(dim=2)
    return common / (area_of(boxes)[:, None] + area_of(others) - common)


def hull(boxes, others):
    """The area of the box around both, in place of the union."""
    low, high = (
        torch.minimum(boxes[:, None, :2], others[:, :2]),
        torch.maximum(boxes[:, None, 2:], others[:, 2:]),
    )
    common = torch.minimum(boxes[:, None, 2:], others[:, 2:]) - torch.maximum(
        boxes[:, None, :2], others[:, :2]
    )
    return common.clamp(min=0).prod(dim=2) / (high - low).prod(dim=2)


def of_one_pixel_more(boxes, others):
    more = torch.tensor([0.0, 0, 1, 1])
    return overlap(boxes + more, others + more)


def of_centres_and_sizes(boxes, others):
    boxes, others = (
        torch.cat([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], dim=1) for b in (boxes, others)
    )
    return overlap(boxes, others)


def of_corners_and_sizes(boxes, others):
    boxes, others = (torch.cat([b[:, :2], b[:, :2] + b[:, 2:]], dim=1) for b in (boxes, others))
    return overlap(boxes, others)


def of_columns(boxes, others):
    """IoU along x alone."""
    common = (
        torch.minimum(boxes[:, None, 2], others[:, 2]) - torch.maximum(boxes[:, None, 0], others[:, 0])
    ).clamp(min=0)
    return common / ((boxes[:, 2] - boxes[:, 0])[:, None] + others[:, 2] - others[:, 0] - common)


wrong_nms(
    "one_pixel_more",
    "You added 1 to the sides: the area is (x1 - x0) (y1 - y0); with boxes from 0 to 1, a 1 more is everything.",
    iou=of_one_pixel_more,
)
wrong_nms(
    "share_of_the_smaller",
    "You divided the common area by the smaller box's: so a box within another always goes; divide by the union.",
    iou=over(lambda common, a, b: common / torch.minimum(a, b)),
)
wrong_nms(
    "share_of_the_larger",
    "You divided the common area by the larger box's: divide by the union.",
    iou=over(lambda common, a, b: common / torch.maximum(a, b)),
)
wrong_nms(
    "share_of_its_own",
    "You divided the common area by that of the box in question: divide by the union of both.",
    iou=over(lambda common, a, b: common / a),
)
wrong_nms(
    "share_of_the_better",
    "You divided the common area by the better box's area: divide by that of the union.",
    iou=over(lambda common, a, b: common / b),
)
wrong_nms(
    "common_counted_twice",
    "Your union counts the common area twice: it is the sum of both areas less the common one.",
    iou=over(lambda common, a, b: common / (a + b)),
)
wrong_nms(
    "dice_in_place_of_iou",
    "Yours is Dice's coefficient, twice the common area by the sum of both: IoU divides by the union.",
    iou=over(lambda common, a, b: 2 * common / (a + b)),
)
wrong_nms(
    "any_overlap",
    "You let a box go for any overlap: only where its IoU is greater than the threshold.",
    iou=over(lambda common, a, b: (common > 0).float()),
)
wrong_nms(
    "common_area_alone",
    "You compared the common area itself with the threshold: divide it by the union first.",
    iou=over(lambda common, a, b: common),
)
wrong_nms(
    "box_around_both",
    "Your union is the box around both: it is the sum of both areas less the common one.",
    iou=hull,
)
wrong_nms(
    "sides_not_clamped",
    "Boxes that are apart in x and in y got a common area, minus times minus: clamp the sides at 0.",
    iou=not_clamped,
)
wrong_nms(
    "centres_and_sizes",
    "You read the boxes as centre, width and height: they are x0, y0, x1, y1.",
    iou=of_centres_and_sizes,
)
wrong_nms(
    "corners_and_sizes",
    "You read the boxes as x, y, width, height: they are x0, y0, x1, y1.",
    iou=of_corners_and_sizes,
)
wrong_nms(
    "along_x_alone",
    "Your overlap is along x alone: the common area is a width times a height.",
    iou=of_columns,
)
wrong_nms(
    "worst_first",
    "You began with the worst box: sort the scores from the highest down.",
    order=lambda scores: scores.argsort(stable=True).tolist(),
)
wrong_nms(
    "in_the_order_given",
    "You did not sort by score: of two boxes the better one stays, wherever it stands.",
    order=lambda scores: list(range(len(scores))),
)
wrong_nms(
    "ties_to_the_later",
    "Of two equal scores you took the later box first (a sort turned round?): the earlier one is the better.",
    order=lambda scores: scores.argsort(stable=True).flip(0).tolist(),
)


@mistake(NMS, "You kept what overlaps and let go what does not: your comparison is the wrong way round.")
def the_other_way_round(boxes, scores, threshold=0.7):
    return suppressed(boxes, scores, threshold, drives_out=lambda ious: (ious <= threshold).any())


@mistake(NMS, "A box whose IoU is exactly the threshold goes in yours: only a greater IoU drives it out.")
def at_the_threshold(boxes, scores, threshold=0.7):
    return suppressed(boxes, scores, threshold, drives_out=lambda ious: (ious >= threshold).any())


@mistake(NMS, "You used 0.7, whatever threshold is given.")
def always_the_default(boxes, scores, threshold=0.7):
    return suppressed(boxes, scores, 0.7)


@mistake(NMS, "You used 0.5, whatever threshold is given.")
def always_a_half(boxes, scores, threshold=0.7):
    return suppressed(boxes, scores, 0.5)


@mistake(NMS, "You compared with the threshold's complement, 1 - threshold.")
def complement(boxes, scores, threshold=0.7):
    return suppressed(boxes, scores, 1 - threshold)


@mistake(NMS, "You compared each box with the one that was kept last: compare it with all that were kept.")
def last_kept_only(boxes, scores, threshold=0.7):
    return suppressed(boxes, scores, threshold, drives_out=lambda ious: ious[-1] > threshold)


@mistake(NMS, "You compared each box with the best of all alone: compare it with all that were kept.")
def best_only(boxes, scores, threshold=0.7):
    return suppressed(boxes, scores, threshold, drives_out=lambda ious: ious[0] > threshold)


@mistake(NMS, "A box went only where all kept ones overlap it: one is enough.")
def all_must_overlap(boxes, scores, threshold=0.7):
    return suppressed(boxes, scores, threshold, drives_out=lambda ious: (ious > threshold).all())


@mistake(NMS, "You added up the IoUs with the kept boxes: a single one must be greater than the threshold.")
def summed_ious(boxes, scores, threshold=0.7):
    return suppressed(boxes, scores, threshold, drives_out=lambda ious: ious.sum() > threshold)


@mistake(NMS, "In yours, boxes that are gone drive out others: only one that was *kept* does.")
def the_gone_drive_out(boxes, scores, threshold=0.7):
    order = torch.tensor(best_first(scores), dtype=torch.long)
    over_it = torch.triu(overlap(boxes[order], boxes[order]) > threshold, diagonal=1)
    return order[~over_it.any(dim=0)]


@mistake(
    NMS,
    "You compared each box only with the next better one: compare it with all better ones that were kept.",
)
def neighbours_in_order(boxes, scores, threshold=0.7):
    order = torch.tensor(best_first(scores), dtype=torch.long)
    iou = overlap(boxes[order], boxes[order])
    return order[[i for i in range(len(order)) if i == 0 or iou[i, i - 1] <= threshold]]


@mistake(NMS, "You let both go of two boxes that overlap: the better one stays.")
def both_go(boxes, scores, threshold=0.7):
    order = torch.tensor(best_first(scores), dtype=torch.long)
    iou = overlap(boxes[order], boxes[order]).fill_diagonal_(0)
    return order[(iou <= threshold).all(dim=1)]


@mistake(NMS, "You stop at the first box that goes: the ones after it may well stay.")
def stopped_at_the_first(boxes, scores, threshold=0.7):
    order, kept = best_first(scores), suppressed(boxes, scores, threshold).tolist()
    while order[: len(kept)] != kept:
        kept.pop()
    return torch.tensor(kept, dtype=torch.long)


@mistake(
    NMS,
    "You remove from the list that you go through, so the loop skips the one behind each removed box.",
)
def removed_while_going_through(boxes, scores, threshold=0.7):
    iou, left, kept = overlap(boxes, boxes), best_first(scores), []
    while left:
        kept.append(left.pop(0))
        for k in left:
            if iou[kept[-1], k] > threshold:
                left.remove(k)
    return torch.tensor(kept, dtype=torch.long)


@mistake(
    NMS,
    "You remove from the list that both your loops go through, so each skips the one behind a removed box: go "
    "through a copy.",
)
def removed_in_both_loops(boxes, scores, threshold=0.7):
    iou, left, kept = overlap(boxes, boxes), best_first(scores), []
    for i in left:
        kept.append(i)
        for k in left:
            if k != i and iou[i, k] > threshold:
                left.remove(k)
    return torch.tensor(kept, dtype=torch.long)


def marked_in_scores(boxes, scores, threshold, mark):
    iou, kept = overlap(boxes, boxes), []
    while (scores > mark).any():
        i = int(scores.argmax())
        kept.append(i)
        scores[iou[i] > threshold] = mark
        scores[i] = mark
    return torch.tensor(kept, dtype=torch.long)


@mistake(
    NMS,
    "You mark what is gone by a score of -1 or 0, but scores may be below 0 themselves: keep a mask of what is left.",
)
def marked_by_zero(boxes, scores, threshold=0.7):
    return marked_in_scores(boxes, scores.clone(), threshold, 0.0)


@mistake(NMS, "You changed the scores that were given: whoever calls still needs them.")
def scores_in_place(boxes, scores, threshold=0.7):
    return marked_in_scores(boxes, scores, threshold, -torch.inf)


@mistake(
    NMS,
    "You mark what is gone in the scores that were given, which may be below 0 themselves, and which whoever calls "
    "still needs: keep a mask of what is left.",
)
def marked_by_zero_in_place(boxes, scores, threshold=0.7):
    return marked_in_scores(boxes, scores, threshold, 0.0)


@mistake(NMS, "You sorted the indices: the best box comes first.")
def sorted_indices(boxes, scores, threshold=0.7):
    return suppressed(boxes, scores, threshold).sort().values


@mistake(NMS, "Your indices come from the worst kept box to the best: the best comes first.")
def best_last(boxes, scores, threshold=0.7):
    return suppressed(boxes, scores, threshold).flip(0)


@mistake(NMS, "Your indices are places among the sorted boxes: turn them back by order[kept].")
def places_in_order(boxes, scores, threshold=0.7):
    order = torch.tensor(best_first(scores), dtype=torch.long)
    return suppressed(boxes[order], scores[order], threshold)


@mistake(NMS, "You returned boxes: return their indices.")
def the_boxes(boxes, scores, threshold=0.7):
    return boxes[suppressed(boxes, scores, threshold)]


@mistake(NMS, "You returned scores: return the boxes' indices.")
def the_scores(boxes, scores, threshold=0.7):
    return scores[suppressed(boxes, scores, threshold)]


@mistake(NMS, "You returned a mask of True and False: return the indices, the best first.")
def a_mask(boxes, scores, threshold=0.7):
    return torch.zeros(len(boxes), dtype=torch.bool).index_fill(0, suppressed(boxes, scores, threshold), True)


@mistake(NMS, "You returned a list: make a tensor of the indices (int64).")
def a_list(boxes, scores, threshold=0.7):
    return suppressed(boxes, scores, threshold).tolist()


@mistake(
    NMS,
    "Of no boxes yours gives floats, as torch.tensor([]) does: say dtype=torch.long, so that they can be indices.",
)
def floats_for_nothing(boxes, scores, threshold=0.7):
    kept = suppressed(boxes, scores, threshold)
    return kept if len(kept) else torch.tensor([])


@mistake(NMS, "You returned the boxes that go: return those that stay.")
def those_that_go(boxes, scores, threshold=0.7):
    kept = suppressed(boxes, scores, threshold).tolist()
    return torch.tensor([i for i in best_first(scores) if i not in kept], dtype=torch.long)


@mistake(NMS, "You kept every box, in the order of the scores: those that overlap a better one too much go.")
def sorted_only(boxes, scores, threshold=0.7):
    return torch.tensor(best_first(scores), dtype=torch.long)


@mistake(NMS, "You kept the best box alone: go on with those that it does not overlap too much.")
def the_best_alone(boxes, scores, threshold=0.7):
    return torch.tensor(best_first(scores)[:1], dtype=torch.long)


@mistake(NMS, "You lowered scores as soft NMS does and kept every box: what overlaps too much goes.")
def soft(boxes, scores, threshold=0.7):
    iou, left, kept = overlap(boxes, boxes), scores.clone(), []
    while len(kept) < len(scores):
        i = int(left.argmax())
        kept.append(i)
        left = torch.where(iou[i] > threshold, left * (1 - iou[i]), left)
        left[kept] = -torch.inf
    return torch.tensor(kept, dtype=torch.long)


# --- the grid: other right answers --------------------------------------------------------------------------


@alternative(GRID)
def as_build_point_grid(n):
    """As segment_anything's build_point_grid."""
    offset = 1 / (2 * n)
    one_side = np.linspace(offset, 1 - offset, n)
    points_x = np.tile(one_side[None, :], (n, 1))
    points_y = np.tile(one_side[:, None], (1, n))
    return torch.from_numpy(np.stack([points_x, points_y], axis=-1).reshape(-1, 2))


@alternative(GRID)
def two_loops(n):
    return torch.tensor([[(x + 0.5) / n, (y + 0.5) / n] for y in range(n) for x in range(n)])


@alternative(GRID)
def by_cartesian_product(n):
    middle = torch.linspace(0, 1, 2 * n + 1)[1::2]
    return torch.cartesian_prod(middle, middle).flip(-1)


@alternative(GRID)
def by_division(n):
    i = torch.arange(n * n)
    return torch.stack(((i % n + 0.5) / n, (torch.div(i, n, rounding_mode="floor") + 0.5) / n), 1)


# --- the grid: mistakes ------------------------------------------------------------------------------------


def grid_of(at, other=None):
    """Points of which x runs fastest."""
    y, x = torch.meshgrid(at if other is None else other, at, indexing="ij")
    return torch.stack([x, y], dim=-1).flatten(0, 1).float()


def middles(n):
    return (torch.arange(n) + 0.5) / n


@mistake(GRID, "Your points reach the edges, 0 and 1: each is in the middle of its cell.")
def edges_included(n):
    return grid_of(torch.linspace(0, 1, n))


@mistake(GRID, "Your points are the cells' upper left corners: add half a cell.")
def corners(n):
    return grid_of(torch.arange(n) / n)


@mistake(GRID, "Your points are the cells' lower right corners: half a cell less.")
def far_corners(n):
    return grid_of((torch.arange(n) + 1) / n)


@mistake(
    GRID, "You put n points between the edges, at 1 / (n + 1), 2 / (n + 1), ...: the middles of n cells."
)
def inner_points(n):
    return grid_of(torch.arange(1, n + 1) / (n + 1))


@mistake(GRID, "Your points keep a whole cell away from the edges: half a cell.")
def a_whole_cell_away(n):
    return grid_of(torch.linspace(1 / n, 1 - 1 / n, n))


@mistake(GRID, "Your first number stays while the second runs: points are (x, y), and x runs fastest.")
def y_runs_fastest(n):
    return grid_of(middles(n)).flip(1)


@mistake(GRID, "Your rows begin at the bottom: y is 0 at the top.")
def from_the_bottom(n):
    return grid_of(middles(n), middles(n).flip(0))


@mistake(GRID, "Your rows run from right to left.")
def from_the_right(n):
    return grid_of(middles(n).flip(0), middles(n))


@mistake(GRID, "Your points are in cells: divide by n, so that they are in the unit square.")
def in_cells(n):
    return grid_of(middles(n) * n)


@mistake(GRID, "Your points are from -1 to 1: the unit square is from 0 to 1.")
def from_minus_one(n):
    return 2 * grid_of(middles(n)) - 1


@mistake(GRID, "Yours is the diagonal, n points: every x comes with every y, n * n points.")
def diagonal(n):
    return torch.stack([middles(n), middles(n)], dim=-1)


@mistake(GRID, "Your points are in rows, (n, n, 2): flatten them to (n * n, 2).")
def in_rows(n):
    return grid_of(middles(n)).unflatten(0, (n, n))


@mistake(GRID, "All x are in one row, all y in another, (2, n * n): a point is a row of two.")
def coordinates_in_rows(n):
    return grid_of(middles(n)).T


@mistake(GRID, "You reshaped (2, n, n) to (n * n, 2), which mixes x and y: stack along the last dimension.")
def reshaped(n):
    return grid_of(middles(n)).T.reshape(-1, 2)


@mistake(GRID, "Your points are drawn by chance: they are the middles of the cells.")
def by_chance(n):
    return torch.rand(n * n, 2)


@mistake(GRID, "Both numbers of your points are x: the second is y.")
def x_twice(n):
    return grid_of(middles(n))[:, [0, 0]]


@mistake(GRID, "Both numbers of your points are y: the first is x.")
def y_twice(n):
    return grid_of(middles(n))[:, [1, 1]]


@mistake(GRID, "You returned a list: make a tensor of the points.")
def a_list_of_points(n):
    return grid_of(middles(n)).tolist()


@mistake(GRID, "Your points are cells of a unit square cut into n in all: n to each side.")
def one_row(n):
    at = (torch.arange(n * n) + 0.5) / (n * n)
    return torch.stack([at, torch.full_like(at, 0.5)], dim=-1)
