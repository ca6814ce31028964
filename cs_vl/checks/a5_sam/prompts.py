"""Checks of SAM's prompt encoder: the waves of a place, points and boxes as tokens, a mask on the grid."""

from functools import partial

import torch

from cs_vl.checks.a5_sam.inputs import leaves_inputs
from cs_vl.checks.probes import build, gradients, leaf, normal, parameters
from cs_vl.checks.spec import Exercise, Stage
from cs_vl.models.prompt_encoder import MaskEncoder, PointEncoder

IMAGES, PROMPTS = 2, 3
stage = partial(Stage, rtol=1e-3, atol=1e-4)
AS_BEFORE = "x += y changes a tensor that the caller still holds; x = x + y makes a new one."


def uniform(rng, *shape):
    return torch.from_numpy(rng.uniform(0, 1, shape)).float()


# --- the waves of a place ------------------------------------------------------------------------------

WAVES = 5
BATCHES = ((), (IMAGES, PROMPTS), (1, 2, 3, 1))


def some_places(rng):
    return {"points": uniform(rng, 7, 2), "frequencies": normal(rng, 2, WAVES)}


def places_in_batches(rng):
    """One place alone, and places in several dimensions, all in the same waves."""
    points = [uniform(rng, *batch, 2) for batch in BATCHES]
    return {"points": points, "frequencies": normal(rng, 2, WAVES)}


def run_waves(fn, inputs, **other):
    return None, {"output": fn(*(other.get(name, inputs[name]) for name in ("points", "frequencies")))}


def waves(fn, inputs):
    return run_waves(fn, inputs)[1]


def waves_of_batches(fn, inputs):
    return {
        f"output of points {tuple(points.shape)}": fn(points, inputs["frequencies"].clone())
        for points in inputs["points"]
    }


def gradient_of_waves(fn, inputs):
    """Of the points alone: the frequencies are never learned."""
    points = leaf(inputs["points"])
    _, found = run_waves(fn, inputs, points=points.clone())
    return gradients(found["output"], points=points)


FOURIER_POSITIONS = Exercise(
    name="fourier_positions",
    module="cs_vl.nn.fourier",
    stages=(
        stage(
            name="places in a list",
            points=2.5,
            case=some_places,
            probe=waves,
            hint="2 p - 1 goes from -1 to 1. A wave's angle is 2 pi times (2 p - 1) times its column of G; "
            "first the sines of all waves, then the cosines.",
        ),
        stage(
            name="places in any batch",
            points=1.5,
            case=places_in_batches,
            probe=waves_of_batches,
            hint="*batch may be any number of dimensions, none as well: only the last axis changes.",
        ),
        stage(
            name="all inputs are left as they were",
            kind="property",
            points=0.5,
            cases=1,
            case=some_places,
            probe=leaves_inputs(run_waves, ("points", "frequencies")),
            hint=AS_BEFORE,
        ),
        stage(
            name="gradient",
            kind="gradient",
            points=0.5,
            cases=1,
            case=some_places,
            probe=gradient_of_waves,
            hint="Sine and cosine have a gradient: it reaches the points.",
        ),
    ),
)


# --- points and boxes ----------------------------------------------------------------------------------

DIM = 6
POINT_INPUTS = ("points", "labels", "boxes")


def prompt(rng, size, batch, kinds, box):
    """Points of these kinds, shuffled in each set, and a box for each set or none."""
    labels = torch.from_numpy(rng.permuted(torch.tensor(kinds).expand(*batch, -1).numpy(), axis=-1)).long()
    # Two corners: the upper left one has the smaller x and the smaller y.
    boxes = (size * uniform(rng, *batch, 2, 2)).sort(dim=-2).values.flatten(-2)
    return {
        "points": size * uniform(rng, *batch, len(kinds), 2),
        "labels": labels,
        "boxes": boxes if box else None,
    }


def prompt_case(kinds=(0, 1, 1, 0), box=False, batch=(IMAGES, PROMPTS)):
    def case(rng):
        size = int(rng.integers(20, 60))
        arguments = {"dim": DIM, "image_size": size}
        return {
            "init": arguments,
            "params": parameters(rng, PointEncoder(**arguments), scale=1),
            "frequencies": normal(rng, 2, DIM // 2),
            **prompt(rng, size, batch, kinds, box),
        }

    return case


def prompt_of_nothing(rng):
    """A set of points that are all none, beside others."""
    case = prompt_case((1, -1, 0, -1, 1))(rng)
    case["labels"][0, 1] = -1
    return case


def prompts_in_batches(rng):
    """One set of points alone, and sets in three dimensions; with a box and without."""
    return {
        f"{name}{' and a box' * box}": prompt_case((1, 0, -1), box, batch)(rng)
        for name, batch in (("one set", ()), ("sets in three dimensions", (2, 1, 3)))
        for box in (False, True)
    }


def run_points(cls, inputs, **other):
    encoder = build(cls, inputs["init"], inputs["params"])
    encoder.frequencies = inputs["frequencies"].clone()
    points, labels, boxes = (other.get(name, inputs[name]) for name in POINT_INPUTS)
    # As a caller would: what is not there is not said.
    return encoder, {"tokens": encoder(points, labels) if boxes is None else encoder(points, labels, boxes)}


def tokens(cls, inputs):
    return run_points(cls, inputs)[1]


def tokens_of_batches(cls, inputs):
    return {f"tokens of {name}": run_points(cls, case)[1]["tokens"] for name, case in inputs.items()}


def gradient_of_tokens(cls, inputs):
    encoder, found = run_points(cls, inputs)
    return gradients(found["tokens"], **dict(encoder.named_parameters()))


def point_stage(name, points, hint, *, probe=tokens, **options):
    return stage(name=name, points=points, hint=hint, probe=probe, **options)


POINT_ENCODER = Exercise(
    name="PointEncoder",
    module="cs_vl.models.prompt_encoder",
    builds_on=("fourier_positions",),
    stages=(
        point_stage(
            "points without a box",
            2.5,
            "A token is where plus what; the place is ((x, y) + 0.5) / image_size. One more token comes "
            "last: `not_a_point`.",
            case=prompt_case(),
        ),
        point_stage(
            "points that are none",
            1.5,
            "Label -1: the token is `not_a_point`, without a place and without a row of `kinds`.",
            case=prompt_of_nothing,
        ),
        point_stage(
            "a box after the points",
            1.5,
            "A box is two more points: (x0, y0) of kind 2, then (x1, y1) of kind 3. No other token follows.",
            case=prompt_case((1, -1, 0, 1), box=True),
        ),
        point_stage("a box alone", 1, "n = 0: two tokens.", case=prompt_case((), box=True)),
        point_stage(
            "prompts in any batch",
            0.5,
            "*batch may be any number of dimensions, none as well: count axes from the end.",
            probe=tokens_of_batches,
            case=prompts_in_batches,
        ),
        point_stage(
            "all inputs are left as they were",
            0.5,
            AS_BEFORE,
            kind="property",
            probe=leaves_inputs(run_points, POINT_INPUTS),
            case=prompt_case((1, -1, 0, 1), box=True),
            cases=1,
            needs=("a box after the points",),
        ),
        point_stage(
            "gradient",
            0.5,
            "Gradients go to `kinds` and to `not_a_point`.",
            kind="gradient",
            probe=gradient_of_tokens,
            case=prompt_case((1, -1, 0, 1), box=True),
            cases=1,
            needs=("a box after the points",),
        ),
    ),
)


# --- a mask --------------------------------------------------------------------------------------------


def mask_case(batch=(IMAGES, PROMPTS), grid=(2, 3), there=True):
    """Logits as a decoder gives them, of a grid that is no square; or no mask."""

    def case(rng):
        # Of fewer channels some are nearly alike by chance, and their norm blows up the error of float32.
        arguments = {"dim": 7, "channels": (6, 9)}
        masks = 0.5 + 3 * normal(rng, *batch, 4 * grid[0], 4 * grid[1])
        return {
            "init": arguments,
            "params": parameters(rng, MaskEncoder(**arguments), scale=0.5),
            "masks": masks if there else None,
            "grid": grid,
        }

    return case


def one_of_a_kind(rng):
    return {
        "one image": mask_case((1, PROMPTS), (3, 2))(rng),
        "one prompt": mask_case((IMAGES, 1), (1, 4))(rng),
        "one place": mask_case((1, 1), (1, 1))(rng),
    }


def no_masks(rng):
    return {f"grid {grid}": mask_case(grid=grid, there=False)(rng) for grid in ((3, 5), (4, 2))}


def run_masks(cls, inputs, **other):
    encoder = build(cls, inputs["init"], inputs["params"])
    return encoder, {"output": encoder(other.get("masks", inputs["masks"]), inputs["grid"])}


def features(cls, inputs):
    return run_masks(cls, inputs)[1]


def features_of_each(cls, inputs):
    return {f"output for {name}": run_masks(cls, case)[1]["output"] for name, case in inputs.items()}


def gradient_of_masks(cls, inputs):
    """With masks, of all but `no_mask`; without, of `no_mask` alone: the others get zeros or None."""
    masks = leaf(inputs["masks"])
    encoder, found = run_masks(cls, inputs, masks=masks.clone())
    learned = {name: p for name, p in encoder.named_parameters() if name != "no_mask"}
    encoder, without = run_masks(cls, {**inputs, "masks": None})
    return {
        **gradients(found["output"], masks=masks, **learned),
        **gradients(without["output"], no_mask=encoder.no_mask),
    }


MASK_ENCODER = Exercise(
    name="MaskEncoder",
    module="cs_vl.models.prompt_encoder",
    stages=(
        stage(
            name="masks",
            points=2,
            case=mask_case(),
            probe=features,
            hint="Each mask is a picture of one channel: conv1, norm1, activation, conv2, norm2, activation, "
            "conv3.",
        ),
        stage(
            name="no mask",
            points=1.25,
            case=no_masks,
            probe=features_of_each,
            hint="masks is None: `no_mask` at every place, as (1, 1, dim, h, w).",
        ),
        stage(
            name="one image, one prompt, one place",
            points=0.5,
            case=one_of_a_kind,
            probe=features_of_each,
            hint="What comes out has images and prompts in front, also where there is one of them.",
        ),
        stage(
            name="masks are left as they were",
            kind="property",
            points=0.25,
            cases=1,
            case=mask_case(),
            probe=leaves_inputs(run_masks, ("masks",)),
            hint="A method whose name ends in _ changes a tensor that the caller still holds.",
        ),
        stage(
            name="gradient",
            kind="gradient",
            points=1,
            cases=1,
            case=mask_case(),
            probe=gradient_of_masks,
            needs=("masks", "no mask"),
            hint="Gradients go to the masks, to all convolutions and norms and, without masks, to `no_mask`.",
        ),
    ),
)

EXERCISES = (FOURIER_POSITIONS, POINT_ENCODER, MASK_ENCODER)
