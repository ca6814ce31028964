"""Checks of IoU, of focal and dice in NumPy (forward and backward), and of SAM's best-of-several loss.

Arrays are float64.  Probes hand out copies: working in place is no mistake.
"""

import numpy as np
import torch

from cs_vl.checks.probes import leaf, normal, pair
from cs_vl.checks.spec import Exercise, Stage

# --- IoU ---------------------------------------------------------------------------------------------


def random_masks(rng, *shape, share=0.5):
    return torch.from_numpy(rng.random(shape) < share)


def iou_case(rng):
    """Five pairs of masks of different sizes; one pair has nothing in common, one is the same twice."""
    a, b = random_masks(rng, 5, 4, 6, share=0.6), random_masks(rng, 5, 4, 6, share=0.4)
    b[1] = ~a[1]
    b[2] = a[2]
    return {"a": a, "b": b}


def iou_value(fn, inputs):
    return {"iou": fn(inputs["a"].clone(), inputs["b"].clone())}


def iou_empty_case(rng):
    """Pair by pair: both empty, the first, the second, neither."""
    a, b = random_masks(rng, 4, 3, 5), random_masks(rng, 4, 3, 5)
    a[[0, 1]], b[[0, 2]] = False, False
    a[3, 0], b[3, 0] = True, True
    return {"a": a, "b": b}


def iou_broadcast_case(rng):
    return {"a": random_masks(rng, 3, 1, 4, 5), "b": random_masks(rng, 2, 4, 5), "one": random_masks(rng, 4, 5)}


def iou_broadcast(fn, inputs):
    a, b, one = (inputs[name].clone() for name in ("a", "b", "one"))
    return {"iou of each with each": fn(a, b), "iou of one mask with several": fn(one, b), "iou of two": fn(one, b[0])}


MASK_IOU = Exercise(
    name="mask_iou",
    module="cs_vl.losses.mask_iou",
    stages=(
        Stage(
            name="pairs of masks",
            points=2,
            case=iou_case,
            probe=iou_value,
            hint="Count pixels: those in both masks, and those in one or the other.",
        ),
        Stage(
            name="any leading dimensions",
            points=1,
            cases=1,
            case=iou_broadcast_case,
            probe=iou_broadcast,
            hint="Sum over the last two dimensions only, and let the others broadcast.",
        ),
        Stage(
            name="empty masks",
            points=1,
            cases=1,
            case=iou_empty_case,
            probe=iou_value,
            hint="Two empty masks are the same: 1. One empty mask has nothing in common with another: 0.",
        ),
    ),
)

# --- focal and dice in NumPy -------------------------------------------------------------------------

MASKS, PIXELS = 3, 7


def pixel_case(scale=2.0, masks=MASKS, pixels=PIXELS, **options):
    """Masks with pixels inside and outside, the first with one alone inside."""

    def case(rng):
        targets = (rng.random((masks, pixels)) < 0.5).astype(np.float64)
        targets[0] = 0
        targets[:, 1], targets[:, 2] = 1, 0
        return {"logits": 0.3 + scale * rng.normal(size=(masks, pixels)), "targets": targets, "options": options}

    return case


def large_case(rng):
    """Sure and right, sure and wrong, by up to a thousand."""
    size = np.array([1e3, 40.0, 800.0, 300.0, 1e3, 40.0, 3.0])
    targets = (rng.random((2, PIXELS)) < 0.5).astype(np.float64)
    targets[:, 0], targets[:, 1] = [1, 0], [0, 1]
    sign = np.where(rng.random((2, PIXELS)) < 0.5, -1.0, 1.0)
    sign[:, 0] = [-1, 1]  # sure and wrong
    return {"logits": sign * size, "targets": targets, "options": {}}


def call(fn, inputs):
    with np.errstate(all="ignore"):  # what overflows shows in the result
        return fn(inputs["logits"].copy(), inputs["targets"].copy(), **inputs["options"])


def loss_of(fn, inputs):
    return {"loss": call(fn, inputs)}


def gradient_of(fn, inputs):
    return {"gradient of logits": call(fn, inputs)}


FOCAL = Exercise(
    name="focal_loss_numpy",
    module="cs_vl.losses.mask_losses_by_hand",
    stages=(
        Stage(
            name="several masks",
            points=2,
            case=pixel_case(),
            probe=loss_of,
            hint="For each pixel: how much does the model believe in the truth? Then the mean over a mask's pixels.",
        ),
        Stage(
            name="other alpha and gamma",
            points=1,
            case=pixel_case(alpha=0.7, gamma=3.5),
            probe=loss_of,
            hint="alpha weighs pixels inside the mask, 1 - alpha those outside; gamma is the power of 1 - p_t.",
        ),
        Stage(
            name="large logits",
            points=1,
            cases=1,
            case=large_case,
            probe=loss_of,
            hint="log(sigmoid(-1000)) is -1000, but log(0) is not: take the logarithm by hand first.",
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
            case=pixel_case(),
            probe=gradient_of,
            hint="Two factors depend on the logit: (1 - p_t)^gamma and log p_t. And mind the sign where the target is 0.",
        ),
        Stage(
            name="other alpha and gamma",
            points=2,
            case=pixel_case(alpha=0.7, gamma=3.5),
            probe=gradient_of,
            hint="The derivative of (1 - p_t)^gamma brings gamma down as a factor.",
        ),
        Stage(
            name="gamma = 0, and large logits",
            points=1,
            cases=1,
            case=lambda rng: {"none": pixel_case(gamma=0.0)(rng), "large": large_case(rng)},
            probe=lambda fn, inputs: {
                "gradient of logits at gamma = 0": call(fn, inputs["none"]),
                "gradient of large logits": call(fn, inputs["large"]),
            },
            hint="At gamma = 0 it is cross-entropy's gradient; nothing may be divided by 1 - p_t or by p_t, which can be 0.",
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
            case=pixel_case(),
            probe=loss_of,
            hint="Sums over the pixels of one mask: of p times t, of p, of t.",
        ),
        Stage(
            name="another smooth",
            points=0.5,
            cases=1,
            case=pixel_case(smooth=3.0),
            probe=loss_of,
            hint="smooth is added once above and once below.",
        ),
        Stage(
            name="large logits",
            points=0.5,
            cases=1,
            case=large_case,
            probe=loss_of,
            hint="exp(1000) overflows: a sigmoid by way of tanh does not.",
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
            case=pixel_case(),
            probe=gradient_of,
            hint="Each p stands above the line (times 2 t) and below it: the quotient rule, then sigmoid's derivative.",
        ),
        Stage(
            name="another smooth",
            points=1,
            cases=1,
            case=pixel_case(smooth=3.0),
            probe=gradient_of,
            hint="smooth stands in both sums.",
        ),
        Stage(
            name="large logits",
            points=1,
            cases=1,
            case=large_case,
            probe=gradient_of,
            hint="Where p is 0 or 1 the gradient is 0: p (1 - p).",
        ),
    ),
)

# --- the best of several masks -----------------------------------------------------------------------

PROMPTS, HEIGHT, WIDTH = 5, 4, 6


def several_masks_case(k=3):
    """Masks that are right to different degrees, so that loss, IoU and the predicted IoU disagree on the best."""

    def case(rng):
        targets = random_masks(rng, PROMPTS, HEIGHT, WIDTH, share=0.3)
        targets[:, 1, 2] = True
        towards = (2.0 * targets - 1)[:, None] * torch.from_numpy(rng.uniform(-0.3, 1.5, (PROMPTS, k)))[:, :, None, None]
        noise = normal(rng, PROMPTS, k, HEIGHT, WIDTH, dtype=torch.float64)
        iou = torch.from_numpy(rng.uniform(0, 1, (PROMPTS, k)))
        return {"masks": towards + 1.5 * noise, "iou": iou, "targets": targets}

    return case


def losses(result):
    return pair(result, "mask_loss", "iou_loss")


def best_value(fn, inputs):
    return losses(fn(*(inputs[name].clone() for name in ("masks", "iou", "targets"))))


def gradient_or_zeros(loss, leaf):
    if not (isinstance(loss, torch.Tensor) and loss.requires_grad):
        return torch.zeros_like(leaf)
    (grad,) = torch.autograd.grad(loss, leaf, allow_unused=True, retain_graph=True)
    return torch.zeros_like(leaf) if grad is None else grad


def best_gradient(fn, inputs):
    masks, iou = leaf(inputs["masks"]), leaf(inputs["iou"])
    found = losses(fn(masks, iou, inputs["targets"]))
    mask_loss, iou_loss = found.get("mask_loss"), found.get("iou_loss")
    of_masks = gradient_or_zeros(mask_loss, masks)
    return {
        "gradient of mask_loss in masks": of_masks,
        "masks with a gradient that is not exactly 0": (of_masks != 0).flatten(2).any(dim=2),
        "gradient of iou_loss in iou": gradient_or_zeros(iou_loss, iou),
        "gradient of iou_loss in masks": gradient_or_zeros(iou_loss, masks),
        "gradient of mask_loss in iou": gradient_or_zeros(mask_loss, iou),
    }


BEST_OF_MASKS = Exercise(
    name="best_of_masks_loss",
    module="cs_vl.losses.best_of_masks",
    builds_on=("mask_iou",),
    stages=(
        Stage(
            name="three masks a prompt",
            points=4,
            case=several_masks_case(),
            probe=best_value,
            hint="A loss for each mask of each prompt, then the least of each prompt's, then the mean over the prompts.",
        ),
        Stage(
            name="one mask, or five",
            points=1,
            cases=1,
            case=lambda rng: {"one": several_masks_case(1)(rng), "five": several_masks_case(5)(rng)},
            probe=lambda fn, inputs: {
                f"{name} with {k} masks": value
                for k, some in inputs.items()
                for name, value in best_value(fn, some).items()
            },
            hint="How many masks a prompt has is masks.shape[1].",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=3,
            case=several_masks_case(),
            probe=best_gradient,
            hint="The best mask alone learns from mask_loss; iou_loss teaches the predicted IoU alone.",
        ),
    ),
)

EXERCISES = (MASK_IOU, FOCAL, FOCAL_BACKWARD, DICE, DICE_BACKWARD, BEST_OF_MASKS)
