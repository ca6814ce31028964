"""Checks of InfoNCE in torch, and of the temperature's clamp."""

import math

import torch
from torch import nn

from cs_vl.checks.a2_clip.by_hand import HUGE_HINT, huge_logits, unit_features
from cs_vl.checks.probes import gradients, leaf, number
from cs_vl.checks.spec import Exercise, Stage

# --- InfoNCE -------------------------------------------------------------------------------------------


def in_torch(case, dtype=torch.float32):
    """The NumPy exercise's case with images for queries and texts for keys; the scale is a tensor, too."""

    def draw(rng):
        return {
            name.replace("queries", "images").replace("keys", "texts"): torch.as_tensor(x, dtype=dtype)
            for name, x in case(rng).items()
        }

    return draw


def loss(fn, inputs, *direction, images="images", scale=None):
    scale = inputs["scale"].clone() if scale is None else scale
    return number(fn(inputs[images].clone(), inputs["texts"].clone(), scale, *direction))


def loss_in(direction):
    return lambda fn, inputs: {"loss": loss(fn, inputs, direction)}


def loss_of_both(fn, inputs):
    return {
        "loss": loss(fn, inputs),
        "loss with a plain number as scale": loss(fn, inputs, scale=inputs["scale"].item()),
    }


def loss_of_huge(fn, inputs):
    return {
        "loss": loss(fn, inputs),
        "loss of images apart": loss(fn, inputs, images="images apart"),
    }


def loss_gradient(fn, inputs):
    found = {}
    for direction in ("both", "image", "text"):
        leaves = {name: leaf(inputs[name]) for name in ("images", "texts", "scale")}
        output = fn(*leaves.values(), direction)
        if not isinstance(output, torch.Tensor):  # a plain number: nothing hangs on it
            output = torch.zeros(())
        found |= {f"{name} ({direction})": x for name, x in gradients(output, **leaves).items()}
    return found


INFO_NCE = Exercise(
    name="info_nce",
    module="cs_vl.losses.info_nce",
    stages=(
        Stage(
            name="each image picks its text",
            points=1,
            case=in_torch(unit_features),
            probe=loss_in("image"),
        ),
        Stage(
            name="each text picks its image",
            points=1,
            case=in_torch(unit_features),
            probe=loss_in("text"),
            hint="A text's candidates stand in its column.",
        ),
        Stage(name="both", points=1.5, case=in_torch(unit_features), probe=loss_of_both),
        Stage(
            name="huge logits",
            points=1,
            case=in_torch(huge_logits),
            probe=loss_of_huge,
            needs=("both",),
            hint=HUGE_HINT,
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=1.5,
            case=in_torch(unit_features, torch.float64),
            probe=loss_gradient,
            hint="It should reach both sides' features and the scale, through every logit.",
        ),
    ),
)


# --- the clamp -----------------------------------------------------------------------------------------


def multipliers(low, high, then):
    """Logarithms of multipliers: one drawn from the bounds, and fixed ones."""
    return lambda rng: {"logit_scales": [math.log(x) for x in (rng.uniform(low, high), *then)]}


def bounded(case, low, high):
    return lambda rng: case(rng) | {"max_scale": float(rng.uniform(low, high))}


def clamp_all(fn, inputs):
    """The parameters themselves, after the call: as the optimiser and the model know them."""
    parameters = [nn.Parameter(torch.tensor(value)) for value in inputs["logit_scales"]]
    for parameter in parameters:
        parameter.grad = torch.tensor(7.0)
        fn(parameter, *(inputs[name] for name in ("max_scale",) if name in inputs))
    return parameters


def clamped(fn, inputs):
    return {"logit_scale": torch.cat([x.detach().reshape(-1) for x in clamp_all(fn, inputs)])}


def whole(fn, inputs):
    """What one that was changed and those that were not must still be."""
    parameters = clamp_all(fn, inputs)
    return {
        "requires_grad": [x.requires_grad for x in parameters],
        ".grad": [None if x.grad is None else x.grad.item() for x in parameters],
        "dtypes": [str(x.dtype) for x in parameters],
    }


CLAMP_LOGIT_SCALE = Exercise(
    name="clamp_logit_scale",
    module="cs_vl.losses.temperature",
    stages=(
        Stage(
            name="at most 100",
            points=1,
            case=multipliers(150, 900, (60, 101, 1e60)),
            probe=clamped,
            hint="The parameter is the multiplier's logarithm; is it changed in place?",
        ),
        Stage(
            name="at least 1",
            points=0.5,
            case=multipliers(0.05, 0.6, (0.95, 1.2, 0.003)),
            probe=clamped,
            hint="A multiplier of 1 has a logarithm of 0.",
        ),
        Stage(
            name="at most max_scale",
            points=0.5,
            case=bounded(multipliers(21, 29, (95, 110, 18, 0.4)), 19, 20.5),
            probe=clamped,
            hint="The upper bound is the argument `max_scale`, a multiplier.",
        ),
        Stage(
            name="still a parameter in training",
            kind="property",
            points=1,
            case=multipliers(150, 900, (0.5, 14.3)),
            probe=whole,
            needs=("at most 100", "at least 1"),
            hint="Change its value only: not whether it requires a gradient, and not its `.grad`.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (INFO_NCE, CLAMP_LOGIT_SCALE)
