"""Checks of IoU, and of the focal and dice losses in NumPy, forward and backward.

Arrays are float64.  Probes hand out copies: working in place is no mistake.
"""

import numpy as np
import torch

from cs_vl.checks.spec import Exercise, Stage

# --- IoU -----------------------------------------------------------------------------------------------


def random_masks(rng, *shape, share=0.5):
    return torch.from_numpy(rng.random(shape) < share)


def pairs_case(rng):
    """Six pairs: one has nothing in common, one is the same twice, one a single pixel twice."""
    a, b = random_masks(rng, 6, 4, 5, share=0.6), random_masks(rng, 6, 4, 5, share=0.4)
    a[:, 0, 0] = b[:, 0, 0] = True
    b[1] = ~a[1]
    b[2] = a[2]
    a[3] = b[3] = False
    a[3, 1, 2] = b[3, 1, 2] = True
    return {"a": a, "b": b}


def leading_case(rng):
    shapes = {"some": (3, 1, 4, 5), "others": (2, 4, 5), "one": (4, 5), "alone": (1, 4, 5)}
    return {name: random_masks(rng, *shape) for name, shape in shapes.items()}


def empty_case(rng):
    """Both empty; the first; the second; neither."""
    a, b = random_masks(rng, 4, 3, 5), random_masks(rng, 4, 3, 5)
    a[:, 0, 1] = b[:, 0, 1] = True
    a[[0, 1]], b[[0, 2]] = False, False
    return {"a": a, "b": b}


def iou_of_pairs(fn, inputs):
    return {"iou": fn(inputs["a"].clone(), inputs["b"].clone())}


def iou_any_leading(fn, inputs):
    def iou(a, b):
        return fn(inputs[a].clone(), inputs[b].clone())

    return {
        "iou of each of 3 with each of 2": iou("some", "others"),
        "iou of one with each of 2": iou("one", "others"),
        "iou of two masks": iou("one", "one"),
        "iou of each of 3 with 1": iou("some", "alone"),
    }


MASK_IOU = Exercise(
    name="mask_iou",
    module="cs_vl.losses.mask_iou",
    stages=(
        Stage(
            name="pairs of masks",
            points=2,
            case=pairs_case,
            probe=iou_of_pairs,
            hint="Count the pixels that are in both masks, and those that are in one or the other.",
        ),
        Stage(
            name="any leading dimensions",
            points=1,
            case=leading_case,
            probe=iou_any_leading,
            hint="Sum over the last two dimensions alone; those before them broadcast.",
        ),
        Stage(
            name="empty masks",
            points=1,
            case=empty_case,
            probe=iou_of_pairs,
            hint="Two empty masks are the same: 1.  One empty mask has nothing in common with another: 0.",
        ),
    ),
)


# --- focal and dice ------------------------------------------------------------------------------------


def pixels(rng, masks=3, size=7):
    """Logits and targets; each mask has pixels inside and outside, the first a single one inside."""
    targets = (rng.random((masks, size)) < 0.5).astype(np.float64)
    targets[0] = 0
    targets[:, 1], targets[:, 2] = 1, 0
    return {"logits": 0.3 + 2 * rng.normal(size=(masks, size)), "targets": targets}


def pixels_with(**options):
    """The same pixels under several names, each with options of its own."""
    return lambda rng: {name: {**pixels(rng), "options": some} for name, some in options.items()}


def large_logits(rng):
    """Sure and right, sure and wrong, of either target and either sign, by up to a thousand."""
    size = np.array([1e3, 1e3, 1e3, 1e3, 300, 40, 3])
    targets, right = (np.where(rng.random((2, 7)) < 0.5, 1.0, 0.0) for _ in range(2))
    targets[:, :4], right[:, :4] = [1, 1, 0, 0], [1, 0, 1, 0]
    return {"logits": size * (2 * targets - 1) * (2 * right - 1), "targets": targets}


def call(fn, inputs, **options):
    return fn(inputs["logits"].copy(), inputs["targets"].copy(), **options)


def loss_of(fn, inputs):
    return {"loss": call(fn, inputs)}


def gradient_of(fn, inputs):
    return {"gradient of logits": call(fn, inputs)}


def with_options(what):
    """A probe that calls with each set of options: `what` with gamma=0.5, ..."""

    def probe(fn, inputs):
        return {
            f"{what} with {', '.join(f'{n}={x:g}' for n, x in some['options'].items())}": call(
                fn, some, **some["options"]
            )
            for some in inputs.values()
        }

    return probe


FOCAL_OPTIONS = {"much": {"alpha": 0.7, "gamma": 3.5}, "little": {"alpha": 0.6, "gamma": 0.5}}

FOCAL = Exercise(
    name="focal_loss_numpy",
    module="cs_vl.losses.mask_losses_by_hand",
    stages=(
        Stage(
            name="several masks",
            points=2,
            case=pixels,
            probe=loss_of,
            hint="How much does each pixel believe in the truth?  A mask's loss is the mean over its pixels.",
        ),
        Stage(
            name="other alpha and gamma",
            points=1,
            case=pixels_with(**FOCAL_OPTIONS),
            probe=with_options("loss"),
            hint="alpha weighs pixels inside the mask, 1 - alpha those outside; gamma is a power.",
        ),
        Stage(
            name="large logits",
            points=1,
            case=large_logits,
            probe=loss_of,
            hint="-log sigmoid(-1000) is 1000, yet sigmoid(-1000) is 0 here: simplify before you compute.",
        ),
    ),
)

FOCAL_BACKWARD = Exercise(
    name="focal_loss_numpy_backward",
    module="cs_vl.losses.mask_losses_by_hand",
    builds_on=("focal_loss_numpy",),
    stages=(
        Stage(
            name="several masks",
            points=3,
            case=pixels,
            probe=gradient_of,
            hint="(1 - p_t)^gamma and log p_t both depend on the logit; and which way does p_t go with it?",
        ),
        Stage(
            name="other alpha and gamma",
            points=2,
            case=pixels_with(**FOCAL_OPTIONS, no={"alpha": 0.4, "gamma": 0.0}),
            probe=with_options("gradient of logits"),
            hint="gamma comes down as a factor; at gamma = 0 what is left is cross-entropy's gradient.",
        ),
        Stage(
            name="large logits",
            points=1,
            case=large_logits,
            probe=gradient_of,
            hint="Here p_t is exactly 0 or 1: divide by neither it nor 1 - p_t, and take no logarithm of it.",
        ),
    ),
)

DICE = Exercise(
    name="dice_loss_numpy",
    module="cs_vl.losses.mask_losses_by_hand",
    stages=(
        Stage(
            name="several masks",
            points=2,
            case=pixels,
            probe=loss_of,
            hint="Three sums over the pixels of each mask: of p t, of p, of t.",
        ),
        Stage(
            name="another smooth",
            points=0.5,
            case=pixels_with(more={"smooth": 3.0}),
            probe=with_options("loss"),
            hint="smooth is added once above and once below.",
        ),
        Stage(
            name="large logits",
            points=0.5,
            case=large_logits,
            probe=loss_of,
            hint="exp(1000) is infinite, and infinity / infinity is NaN: which sigmoid has neither?",
        ),
    ),
)

DICE_BACKWARD = Exercise(
    name="dice_loss_numpy_backward",
    module="cs_vl.losses.mask_losses_by_hand",
    builds_on=("dice_loss_numpy",),
    stages=(
        Stage(
            name="several masks",
            points=3,
            case=pixels,
            probe=gradient_of,
            hint="Each p stands above the line and below it: the quotient rule, then sigmoid's.",
        ),
        Stage(
            name="another smooth",
            points=1,
            case=pixels_with(more={"smooth": 3.0}),
            probe=with_options("gradient of logits"),
            hint="smooth stands in both sums.",
        ),
        Stage(
            name="large logits",
            points=1,
            case=large_logits,
            probe=gradient_of,
            hint="Where p is 0 or 1 it no longer moves: the gradient is 0.",
        ),
    ),
)

EXERCISES = (MASK_IOU, FOCAL, FOCAL_BACKWARD, DICE, DICE_BACKWARD)
