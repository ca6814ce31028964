"""Checks of SAM's loss, where the best of several masks learns alone.

Arrays are float64, so that a gradient of 0 is told from a small one.
"""

import numpy as np
import torch

from cs_vl.checks.probes import leaf, pair
from cs_vl.checks.spec import Exercise, Stage

PROMPTS, HEIGHT, WIDTH = 5, 4, 6
MASKS = ("masks", "iou", "targets")


def margins(rng, k, inside, outside, blunder):
    """How far k masks are on the right side, pixel by pixel, in an order of their own.

    One is calm: right nearly everywhere, and sure of nothing.  One is sure, and right but for one pixel: its
    overlap is the larger, but how bad is the blunder?  One is right everywhere, so its overlap is whole, but
    so unsure that its dice loss is great.  The others are as they come.
    """
    size = len(inside) + len(outside)
    rows = rng.normal(0.3, 1.5, (k, size))
    rows[0] = rng.uniform(0.9, 1.3, size)
    rows[0, [inside[0], *outside[:2]]] = -rng.uniform(0.05, 0.3, 3)
    if k > 1:
        rows[1] = rng.uniform(3, 5, size)
        rows[1, inside[1]] = -blunder
    if k > 2:
        rows[2] = rng.uniform(0.05, 0.2, size)  # right everywhere, and sure of nothing at all
    return rng.permutation(rows)


def several(k=3, on_the_line=False):
    """Prompts with k masks each; the loss, its parts, overlap and predicted IoU prefer different ones.

    With `on_the_line`, the last two pixels' logits are exactly 0.
    """

    def case(rng):
        targets = np.zeros((PROMPTS, HEIGHT * WIDTH), dtype=bool)
        masks = np.zeros((PROMPTS, k, HEIGHT * WIDTH))
        for prompt in range(PROMPTS):
            inside, outside = np.split(rng.permutation(HEIGHT * WIDTH), [7 + prompt % 3])
            targets[prompt, inside] = True
            blunder = rng.uniform(9, 12) if prompt % 2 else rng.uniform(3.1, 3.4)
            masks[prompt] = margins(rng, k, inside, outside, blunder) * (2 * targets[prompt] - 1)
        if on_the_line:
            masks[..., -2:] = 0
        return {
            "masks": torch.from_numpy(masks.reshape(PROMPTS, k, HEIGHT, WIDTH)),
            "iou": torch.from_numpy(rng.uniform(0, 1, (PROMPTS, k))),
            "targets": torch.from_numpy(targets.reshape(PROMPTS, HEIGHT, WIDTH)),
        }

    return case


def losses(fn, inputs, **leaves):
    given = {name: inputs[name].clone() for name in MASKS} | leaves
    return pair(fn(*given.values()), "mask_loss", "iou_loss")


def one_or_five(rng):
    return {"one": several(1)(rng), "five": several(5, on_the_line=True)(rng)}


def losses_of_one_or_five(fn, inputs):
    return {
        f"{name} of {k} a prompt": loss
        for k, some in inputs.items()
        for name, loss in losses(fn, some).items()
    }


def types(fn, inputs):
    """With all of float64, and with all of float32: the losses' types."""
    found = {}
    for name, kind in (("float64", torch.float64), ("float32", torch.float32)):
        of_kind = {**inputs, "masks": inputs["masks"].to(kind), "iou": inputs["iou"].to(kind)}
        for loss, value in losses(fn, of_kind).items():
            found[f"type of {loss} for {name}"] = str(getattr(value, "dtype", type(value).__name__))
    return found


def gradient(loss, of):
    """d loss / d of; zeros where none flows."""
    if not (isinstance(loss, torch.Tensor) and loss.requires_grad):
        return torch.zeros_like(of)
    (grad,) = torch.autograd.grad(loss, of, allow_unused=True, retain_graph=True)
    return torch.zeros_like(of) if grad is None else grad


def gradients(fn, inputs):
    masks, iou = leaf(inputs["masks"]), leaf(inputs["iou"])
    found = losses(fn, inputs, masks=masks, iou=iou)
    of_masks = gradient(found.get("mask_loss"), masks)
    return {
        "gradient of mask_loss in masks": of_masks,
        "masks with a gradient that is not exactly 0": (of_masks != 0).flatten(2).any(dim=2),
        "gradient of iou_loss in iou": gradient(found.get("iou_loss"), iou),
        "gradient of iou_loss in masks": gradient(found.get("iou_loss"), masks),
        "gradient of mask_loss in iou": gradient(found.get("mask_loss"), iou),
    }


BEST_OF_MASKS = Exercise(
    name="best_of_masks_loss",
    module="cs_vl.losses.best_of_masks",
    builds_on=("mask_iou",),
    stages=(
        Stage(
            name="three masks a prompt",
            points=4,
            case=several(),
            probe=losses,
            hint="A loss for each mask of each prompt; the least of each prompt's; the mean of those.",
        ),
        Stage(
            name="one mask, or five",
            points=1,
            case=one_or_five,
            probe=losses_of_one_or_five,
            hint="A prompt has masks.shape[1] masks; and a logit of exactly 0 is outside: masks > 0.",
        ),
        Stage(
            name="float64 and float32",
            kind="property",
            points=0.5,
            case=several(),
            probe=types,
            hint="Both losses keep the type of masks and iou.",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=2.5,
            case=several(),
            probe=gradients,
            hint="From mask_loss the best mask alone learns; from iou_loss the predicted IoU alone.",
        ),
    ),
)

EXERCISES = (BEST_OF_MASKS,)
