"""Checks of NT-Xent.  Numbers are float32: an answer may hold its mask in a plain `torch.zeros`."""

import torch
import torch.nn.functional as F

from cs_vl.checks.a2_clip.by_hand import pairs
from cs_vl.checks.probes import gradients, leaf, number
from cs_vl.checks.spec import Exercise, Stage

VIEWS = ("views_a", "views_b")


def views(batch, dim):
    """Two views of each image, somewhat alike."""

    def case(rng):
        a, b = (torch.from_numpy(x).float() for x in pairs(rng, batch, dim))
        return {"views_a": a, "views_b": b, "temperature": float(rng.uniform(0.3, 0.7))}

    return case


def one_image(rng):
    """Of one image the partner is the only candidate, which costs nothing; of two there are three."""
    return views(2, 3)(rng) | {f"{name} of one": x for name, x in views(1, 3)(rng).items()}


def small_temperature(rng):
    """All views look alike, but for the last of views_a, which lies opposite: also to its own partner."""
    x = 0.3 * rng.normal(size=(2, 5, 4))
    x[..., 0] += 1
    x[0, -1] = [-1, 0, 0, 0]
    a, b = F.normalize(torch.from_numpy(x), dim=-1).float()
    return {"views_a": a, "views_b": b, "temperature": float(rng.uniform(0.004, 0.005))}


def value(fn, inputs):
    return {"loss": number(fn(inputs["views_a"], inputs["views_b"], inputs["temperature"]))}


def values_of_few(fn, inputs):
    of_one = fn(*(inputs[f"{name} of one"] for name in (*VIEWS, "temperature")))
    return value(fn, inputs) | {"loss of one image": number(of_one)}


def gradient(fn, inputs):
    """By features as they are before the caller normalises them, so that doing so again is no mistake."""
    leaves = {name: leaf(inputs[name]) for name in VIEWS}
    loss = fn(*(F.normalize(x, dim=1) for x in leaves.values()), inputs["temperature"])
    if not isinstance(loss, torch.Tensor):  # a plain number: nothing hangs on it
        loss = torch.zeros(())
    return gradients(loss, **leaves)


NT_XENT = Exercise(
    name="nt_xent",
    module="cs_vl.losses.nt_xent",
    stages=(
        Stage(
            name="loss",
            points=2.5,
            case=views(5, 4),
            probe=value,
            hint="2B anchors, each with 2B - 1 candidates: all views, its partner too, but not itself.",
        ),
        Stage(
            name="two images, and one",
            points=0.5,
            case=one_image,
            probe=values_of_few,
            hint="With one image each view has one candidate, its partner: the loss is 0.",
        ),
        Stage(
            name="small temperature",
            points=1.5,
            case=small_temperature,
            probe=value,
            hint="Similarities / temperature lie between -250 and 250 here: does an exponential overflow, or "
            "is an anchor itself still a candidate when all others are near -250?",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=1.5,
            case=views(5, 4),
            probe=gradient,
            hint="It should reach both views, as anchors and as candidates.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (NT_XENT,)
