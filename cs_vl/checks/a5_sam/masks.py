"""Checks of what surrounds a SAM: clicks on its faults, stable masks, non-maximum suppression, a grid.

Random numbers that choose a pixel are never near the next one, and no IoU is near its threshold by accident;
the stages that mean "exactly there" use numbers without rounding.
"""

import numpy as np
import torch

from cs_vl.checks.probes import normal, number, pair
from cs_vl.checks.spec import Exercise, Stage

# --- clicks -----------------------------------------------------------------------------------------------


def blobs(rng, n, height, width, share=0.4):
    """Masks, none empty and none full, without symmetry: what is above a quantile of noise."""
    noise = rng.standard_normal((n, height, width))
    return torch.from_numpy(noise > np.quantile(noise, 1 - share, axis=(1, 2), keepdims=True))


def chances(rng, counts):
    """For each mask a number of [0, 1) that chooses one of so many pixels, and not nearly the next one."""
    chosen = [int(rng.integers(m)) + rng.uniform(0.15, 0.85) for m in counts]
    return torch.tensor([c / m for c, m in zip(chosen, counts, strict=True)], dtype=torch.float32)


def clicked(rng, predicted, targets, count):
    """A case; `count` gives how many pixels can be clicked at in each mask."""
    return {
        "predicted": predicted,
        "targets": targets,
        "uniform": chances(rng, count.flatten(1).sum(1).tolist()),
    }


def first_click(rng):
    targets = blobs(rng, 7, 5, 8)
    return clicked(rng, torch.zeros_like(targets), targets, targets)


def faulty(rng):
    """Masks that lack more pixels than they have in vain, or fewer; two have a single fault, one each way."""
    targets = blobs(rng, 9, 6, 9)
    predicted = torch.cat([blobs(rng, 5, 6, 9, share=0.25), blobs(rng, 4, 6, 9, share=0.6)])
    predicted[:2] = targets[:2]
    predicted[0, 5, 8], targets[0, 5, 8] = True, False
    predicted[1, 0, 8], targets[1, 0, 8] = False, True
    return clicked(rng, predicted, targets, predicted != targets)


def too_much(rng):
    """Masks that lack nothing: all faults are in vain."""
    targets = blobs(rng, 8, 7, 4)
    predicted = targets | blobs(rng, 8, 7, 4, share=0.5)
    predicted[:, 2] = True
    targets[:, 2, 1] = False
    return clicked(rng, predicted, targets, predicted != targets)


def some_faultless(rng):
    """Every other mask is as it should be."""
    predicted, targets = blobs(rng, 8, 5, 7), blobs(rng, 8, 5, 7)
    targets[:, 0, 0] = False
    predicted[::2] = targets[::2]
    wrong = predicted != targets
    wrong[::2] = targets[::2]
    return clicked(rng, predicted, targets, wrong)


def one_pair(rng):
    return {"predicted": blobs(rng, 1, 4, 7)[0], "targets": blobs(rng, 1, 4, 7)[0]}


def click(fn, inputs):
    points = fn(inputs["predicted"].clone(), inputs["targets"].clone(), inputs["uniform"].clone())
    return pair(points, "points", "labels")


def click_on_one_and_all(fn, inputs):
    """All masks together, then the first alone."""
    first = click(fn, {name: value[:1] for name, value in inputs.items()})
    return {**click(fn, inputs), **{f"{name} of one mask": value for name, value in first.items()}}


def click_with_and_without(fn, inputs):
    """All masks together, and then those without a fault by themselves."""
    right = (inputs["predicted"] == inputs["targets"]).flatten(1).all(dim=1)
    alone = click(fn, {name: value[right] for name, value in inputs.items()})
    return {**click(fn, inputs), **{f"{name} without any fault": value for name, value in alone.items()}}


def click_everywhere(fn, inputs):
    """The same mask many times: from the least chance to the greatest, a number for every wrong pixel."""
    m = int((inputs["predicted"] != inputs["targets"]).sum())
    uniform = torch.cat([torch.zeros(1), (torch.arange(m) + 0.5) / m, torch.tensor([1 - 2**-20])])
    predicted, targets = (inputs[name].repeat(m + 2, 1, 1) for name in ("predicted", "targets"))
    return pair(fn(predicted, targets, uniform), "points", "labels")


SAMPLE_ERROR_POINTS = Exercise(
    name="sample_error_points",
    module="cs_vl.tasks.clicks",
    stages=(
        Stage(
            name="first click",
            points=1.5,
            case=first_click,
            probe=click,
            hint="No pixel is in the mask yet: all of the target is wrong. Points are (x, y).",
        ),
        Stage(
            name="wrong pixels",
            points=2,
            case=faulty,
            probe=click_on_one_and_all,
            hint="Wrong is what differs, either way; foreground where the target has the pixel.",
        ),
        Stage(
            name="only too much",
            points=1,
            case=too_much,
            probe=click,
            hint="A pixel that the mask has in vain is wrong, too: a background click.",
        ),
        Stage(
            name="masks without a fault",
            points=1,
            case=some_faultless,
            probe=click_with_and_without,
            hint="Where nothing is wrong, click on any pixel of the target.",
        ),
        Stage(
            name="every wrong pixel",
            kind="property",
            points=0.5,
            case=one_pair,
            probe=click_everywhere,
            needs=("wrong pixels",),
            hint="Number floor(uniform * m) of m: from 0 on the first one, up to 1 the last one.",
        ),
    ),
)


# --- stability --------------------------------------------------------------------------------------------


def logits_case(rng):
    return {
        "logits": 2 * normal(rng, 3, 2, 7, 11) + normal(rng, 3, 2, 1, 1),
        "threshold": float(rng.uniform(0.3, 0.7) * rng.choice([-1, 1])),
        "offset": float(rng.uniform(0.4, 1.4)),
    }


def quarters(rng):
    """Logits that are whole quarters, so that many are exactly at a threshold."""
    logits = torch.from_numpy(rng.integers(-8, 9, (4, 6, 9)) / 4).float()
    return {"logits": logits, "threshold": 0.25 * int(rng.choice([-1, 1])), "offset": 0.5}


def partly_nothing(rng):
    """One mask is nowhere above a threshold, one is above both everywhere, one in a single pixel."""
    shift = torch.tensor([-8.0, -1.2, 0.0, 12.0, -8.0])[:, None, None]
    logits = normal(rng, 5, 5, 6).clamp(-2, 2) + shift
    logits[4, int(rng.integers(5)), int(rng.integers(6))] = 4.0
    return {"logits": logits}


def stability(fn, inputs):
    logits, threshold, offset = inputs["logits"], inputs["threshold"], inputs["offset"]
    return {
        "stability": fn(logits.clone(), threshold, offset),
        "stability at the opposite threshold": fn(logits.clone(), -threshold, offset),
    }


def stability_by_default(fn, inputs):
    logits = inputs["logits"]
    return {
        "stability": fn(logits.clone()),
        "stability of one mask": number(fn(logits[0, 0].clone())),
        "stability of 1 x 2 masks": fn(logits[:1].clone()),
    }


def stability_of_nothing(fn, inputs):
    return {"stability": fn(inputs["logits"].clone())}


STABILITY_SCORE = Exercise(
    name="stability_score",
    module="cs_vl.tasks.stability",
    builds_on=("mask_iou",),
    stages=(
        Stage(
            name="stability",
            points=1,
            case=logits_case,
            probe=stability_by_default,
            hint="Pixels above threshold + offset, divided by those above threshold - offset, for each mask.",
        ),
        Stage(
            name="threshold and offset",
            points=1,
            case=logits_case,
            probe=stability,
            hint="The two thresholds are threshold + offset and threshold - offset.",
        ),
        Stage(
            name="nothing there",
            kind="property",
            points=0.5,
            case=partly_nothing,
            probe=stability_of_nothing,
            hint="Where no pixel is above the lower threshold the score is 0.",
        ),
        Stage(
            name="exactly at a threshold",
            kind="property",
            points=0.5,
            case=quarters,
            probe=stability,
            hint="A pixel exactly at a threshold is not above it.",
        ),
    ),
)


# --- non-maximum suppression ------------------------------------------------------------------------------


def chain(rng, n, width, height):
    """n boxes in a row, each shifted by about a quarter of its side.

    The IoU of neighbours is 0.57 to 0.63, of the next ones 0.29 to 0.37, of others less.
    """
    step = rng.uniform(0.23, 0.27) * np.array([[width, 0], [0, height]])[rng.integers(2)]
    corner = np.arange(n)[:, None] * step * rng.choice([-1, 1])
    return np.concatenate([corner, corner + np.array([width, height])], axis=1)


def arranged(rng, groups):
    """Boxes of groups that are far apart, in any order.

    Args:
        groups: (boxes, ranks) of each: of a group, the box with the smallest rank is the best.
    """
    places = rng.permutation(len(groups))
    boxes = np.concatenate(
        [
            boxes + np.tile([40 * at + 15, 30 * (at % 3) + 25], 2)
            for (boxes, _), at in zip(groups, places, strict=True)
        ]
    )
    # Ranks are mixed over the groups, not within them.
    ranks = np.concatenate([np.asarray(r) + 0.9 * rng.random() for _, r in groups])
    scores = (1 - ranks / 8) * rng.uniform(0.8, 1)
    order = rng.permutation(len(boxes))
    return {
        "boxes": torch.from_numpy(boxes[order]).float(),
        "scores": torch.from_numpy(scores[order]).float(),
        "threshold": float(rng.uniform(0.44, 0.49)),
    }


def sides(rng):
    return rng.uniform(7, 11), rng.uniform(13, 18)


def pairs_case(rng):
    """Pairs of boxes that overlap much, or little, or not at all."""
    groups = [(chain(rng, 2, *sides(rng)), rng.permutation(2)) for _ in range(3)]
    for _ in range(2):
        two = chain(rng, 3, *sides(rng))[::2]
        groups.append((two, rng.permutation(2)))
    groups.append((chain(rng, 5, *sides(rng))[::4], rng.permutation(2)))
    return arranged(rng, groups)


def chains_case(rng):
    """Rows of boxes: the best one at an end, or in the middle, or at both ends; and a row by itself."""
    ranks = [[0, 1, 2, 3], [3, 2, 1, 0, 4], [2, 0, 1, 3], [0, 2, 4, 3, 1]]
    case = arranged(rng, [(chain(rng, len(r), *sides(rng)), r) for r in ranks])
    row = arranged(
        rng, [(chain(rng, 7, *sides(rng)), [2, 0, 1, 6, 3, 4, 5])]
    )  # the best one drives out the next two
    return {**case, "row": row["boxes"], "row scores": row["scores"]}


def small_case(rng):
    """Boxes in parts of the image's side, some within others, some across."""
    groups = [(chain(rng, 3, *sides(rng)), rank) for rank in ([1, 0, 2], [0, 1, 2])]
    for rank in ([0, 1], [1, 0]):
        for share in (0.25, 0.36, 0.75):  # of the larger box's area
            width, height = sides(rng)
            side = share**0.5
            corner = rng.uniform(0, 1 - side, 2) * [width, height]
            inner = [*corner, *(corner + side * np.array([width, height]))]
            groups.append((np.array([[0, 0, width, height], inner]), rank))
        long = rng.uniform(14, 18)
        groups.append((np.array([[0, 0, long, 0.375 * long], [0, 0, 0.375 * long, long]]), rank))  # IoU 0.23
    case = arranged(rng, groups)
    case["boxes"] /= 440
    return case


def at_the_threshold(rng):
    """Pairs whose IoU is exactly a half: 2 of 4 columns in common."""
    corner = 16 * rng.permutation(12)[:5].reshape(-1, 1) + rng.integers(0, 5, (5, 2))
    size, step = np.array([3, 4]), np.array([1, 0])
    boxes = np.concatenate([corner, corner + size, corner + step, corner + step + size], axis=1)
    scores = rng.permutation(10) / 16 + 0.125
    return {
        "boxes": torch.from_numpy(boxes.reshape(10, 4)).float(),
        "scores": torch.from_numpy(scores).float(),
        "threshold": 0.5,
    }


def ties_case(rng):
    """Pairs and rows of boxes of which several are equally good."""
    ranks = [[0, 0], [1, 1], [2, 0, 0, 2], [0, 0], [1, 1, 1]]
    case = arranged(rng, [(chain(rng, len(r), *sides(rng)), r) for r in ranks])
    case["scores"] = (case["scores"] * 4).round() / 4
    return case


def suppress(fn, inputs):
    return {"kept": fn(inputs["boxes"].clone(), inputs["scores"].clone(), inputs["threshold"])}


def suppress_row(fn, inputs):
    row = fn(inputs["row"].clone(), inputs["row scores"].clone(), inputs["threshold"])
    return {**suppress(fn, inputs), "kept of one row": row}


def suppress_twice(fn, inputs):
    """At a threshold in the middle, and at a low one."""
    low = fn(inputs["boxes"].clone(), inputs["scores"].clone(), 0.18)
    return {**suppress(fn, inputs), "kept at threshold 0.18": low}


def suppress_few(fn, inputs):
    """At the default threshold, and at 0; scores below 0; a single box, and none; the inputs afterwards."""
    boxes, scores = inputs["boxes"], inputs["scores"]
    none = fn(boxes[:0].clone(), scores[:0].clone(), 0.5)
    given = boxes.clone(), scores.clone()
    fn(*given, 0.3)
    return {
        "boxes and scores as before": torch.equal(given[0], boxes) and torch.equal(given[1], scores),
        "kept of scores below 0": fn(boxes.clone(), scores - 2),
        "kept at the default threshold": fn(boxes.clone(), scores.clone()),
        "kept at threshold 0": fn(boxes.clone(), scores.clone(), 0.0),
        "kept of a single box": fn(boxes[3:4].clone(), scores[3:4].clone(), 0.5),
        "kept of no boxes": none,
        "type of no boxes' indices": "float" if "float" in str(getattr(none, "dtype", "")) else "whole",
    }


NMS = Exercise(
    name="nms",
    module="cs_vl.tasks.nms",
    stages=(
        Stage(
            name="pairs of boxes",
            points=2,
            case=pairs_case,
            probe=suppress,
            hint="Of two boxes whose IoU is greater than the threshold the better one stays.",
        ),
        Stage(
            name="rows of boxes",
            points=2,
            case=chains_case,
            probe=suppress_row,
            hint="Only a box that was kept itself drives others out.",
        ),
        Stage(
            name="small boxes, and boxes within boxes",
            points=1,
            case=small_case,
            probe=suppress_twice,
            hint="IoU is the common area divided by that of the union; coordinates may well be from 0 to 1.",
        ),
        Stage(
            name="exactly at the threshold",
            kind="property",
            points=0.25,
            case=at_the_threshold,
            probe=suppress,
            hint="A box whose IoU is the threshold stays.",
        ),
        Stage(
            name="equal scores",
            kind="property",
            points=0.5,
            case=ties_case,
            probe=suppress,
            hint="Of two equal scores the earlier one is the better.",
        ),
        Stage(
            name="few boxes",
            kind="property",
            points=0.25,
            case=small_case,
            probe=suppress_few,
            hint="One box stays; of none, none. Scores may be below 0, and stay what they are.",
        ),
    ),
)


# --- the grid ---------------------------------------------------------------------------------------------


def grid_size(rng):
    return {"n": int(rng.integers(4, 24))}


def grid(fn, inputs):
    return {"points": fn(inputs["n"])}


def grid_of_one(fn, inputs):
    return {"points for n = 1": fn(1), "points": fn(inputs["n"] + 1)}


POINT_GRID = Exercise(
    name="point_grid",
    module="cs_vl.tasks.point_grid",
    stages=(
        Stage(
            name="points",
            points=1.5,
            case=grid_size,
            probe=grid,
            hint="The middle of the first of n cells is at 1 / (2 n); x runs fastest.",
        ),
        Stage(
            name="a single point",
            kind="property",
            points=0.5,
            case=grid_size,
            probe=grid_of_one,
            hint="A single point is in the middle.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (SAMPLE_ERROR_POINTS, STABILITY_SCORE, NMS, POINT_GRID)
