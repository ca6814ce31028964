"""Checks of rotary positions.

Positions stay below 100, so that angles in float32 and in float64 are the same within the tolerance.  Where x
is float16, and the tolerance wide, they are large: positions or angles in float16 would be off by a radian.
"""

import torch

from cs_vl.checks import probes
from cs_vl.checks.probes import leaf, normal
from cs_vl.checks.spec import Exercise, Stage

BATCH, HEADS, LENGTH, HEAD_DIM = 2, 3, 5, 8
TURNED = 1e-4  # the error of an angle in float32, times a few


def queries(rng, dtype=torch.float32):
    return normal(rng, BATCH, HEADS, LENGTH, HEAD_DIM).to(dtype)


def anywhere(rng, *shape):
    """Positions in no order, some of them twice."""
    positions = torch.from_numpy(rng.integers(3, 100, shape))
    positions[..., 3] = positions[..., 1]
    return positions


def left_padded(rng):
    """Counted from the first real token on; the padding before it is at 0."""
    padding = torch.from_numpy(rng.permutation([1, 3]))
    return (torch.arange(LENGTH) - padding[:, None]).clamp(min=0)


def in_order(rng):
    return {"x": queries(rng), "positions": torch.arange(LENGTH)}


def in_no_order(rng):
    return {"x": queries(rng), "positions": anywhere(rng, LENGTH)}


def of_each_text(rng):
    return {
        "x": queries(rng),
        "positions": left_padded(rng),
        "other positions": anywhere(rng, BATCH, LENGTH),
    }


def other_bases(rng):
    return {
        **in_no_order(rng),
        "base": float(rng.uniform(5, 50)),
        "large base": float(rng.uniform(3e5, 9e5)),
    }


def other_types(rng):
    return {"x": queries(rng, torch.float64), "positions": torch.from_numpy(rng.integers(3000, 6000, LENGTH))}


def rotated(fn, inputs, positions="positions", base=()):
    return fn(inputs["x"].clone(), inputs[positions].clone(), *base)


def value(fn, inputs):
    return {"output": rotated(fn, inputs)}


def value_of_each_text(fn, inputs):
    return {
        "output of left-padded texts": rotated(fn, inputs),
        "output of texts in no order": rotated(fn, inputs, "other positions"),
    }


def value_with_bases(fn, inputs):
    bases = ("base", "large base")
    return {f"output with a {name}": rotated(fn, inputs, base=(inputs[name],)) for name in bases}


def value_of_types(fn, inputs):
    """Roughly: float16 has three digits."""
    found = {}
    for dtype in (torch.float64, torch.float16):
        output = rotated(fn, {**inputs, "x": inputs["x"].to(dtype)})
        found[f"output of {dtype}"] = output
        found[f"dtype of the output of {dtype}"] = str(getattr(output, "dtype", type(output)))
    return found


def gradient(fn, inputs):
    x = leaf(inputs["x"])
    return probes.gradients(rotated(fn, {**inputs, "x": x}), x=x)


ROTARY_EMBED = Exercise(
    name="rotary_embed",
    module="cs_vl.nn.rotary",
    stages=(
        Stage(
            name="positions 0, 1, 2, ...",
            points=2.5,
            atol=TURNED,
            case=in_order,
            probe=value,
            hint="Position 0 changes nothing; at position 1 the first pair, numbers 0 and head_dim / 2, "
            "turns by 1 radian.",
        ),
        Stage(
            name="positions in no order",
            points=1,
            atol=TURNED,
            case=in_no_order,
            probe=value,
            hint="`positions` says where each token is; its place in x does not count.",
        ),
        Stage(
            name="positions of each text",
            points=1.5,
            atol=TURNED,
            case=of_each_text,
            probe=value_of_each_text,
            hint="`positions` is (batch, length) here: all heads of a text turn by the same angles.",
        ),
        Stage(name="base", points=1, atol=TURNED, case=other_bases, probe=value_with_bases),
        Stage(
            name="gradient",
            kind="gradient",
            points=0.5,
            atol=TURNED,
            case=in_no_order,
            probe=gradient,
            needs=("positions in no order",),
        ),
        Stage(
            name="x's own dtype",
            kind="property",
            points=0.5,
            rtol=1e-2,
            atol=0.05,
            case=other_types,
            probe=value_of_types,
            hint="x is float64 here, then float16, and so should be what comes back; angles need float32.",
        ),
    ),
)

EXERCISES = (ROTARY_EMBED,)
