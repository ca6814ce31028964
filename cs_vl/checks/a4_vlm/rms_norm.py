"""Checks of RMSNorm in NumPy, forward and backward.

Inputs are float64.  Where a probe calls a function twice it hands out copies: working in place is no mistake.
"""

from cs_vl.checks.a1_transformer.by_hand import EPS_HINT, gradients_of, only
from cs_vl.checks.spec import Exercise, Stage

EPS = 3.0  # of the order of a mean square


def tokens(*, backward=False, **batches):
    """Tokens whose mean is not 0, for each named batch.

    Those of `faint` have a mean square near the default eps, and one of them is all zeros.
    """

    def case(rng):
        dim = 6
        inputs = {name: 1 + 2 * rng.normal(size=(*batch, dim)) for name, batch in batches.items()}
        inputs["weight"] = 1 + 0.5 * rng.normal(size=dim)
        grads = {f"grad_{name}": rng.normal(size=(*batch, dim)) for name, batch in batches.items()}
        if "faint" in inputs:
            inputs["faint"] *= 5e-4
            inputs["faint"][1] = 0
            grads["grad_faint"] *= 1e-2  # it is divided by a small number
        return {**grads, **inputs} if backward else inputs

    return case


def value(fn, inputs, x="x", of="", **eps):
    return {f"output{of}": fn(inputs[x].copy(), inputs["weight"].copy(), **eps)}


def value_any_batch(fn, inputs):
    return value(fn, inputs) | value(fn, inputs, "vector", " of one vector")


def value_eps(fn, inputs):
    return value(fn, inputs, of=f" with eps={EPS}", eps=EPS) | value(fn, inputs, "faint", " of faint tokens")


RMS_NORM = Exercise(
    name="rms_norm_numpy",
    module="cs_vl.nn.rms_norm_by_hand",
    stages=(
        Stage(name="a batch of tokens", points=1, case=tokens(x=(4,)), probe=value),
        Stage(
            name="any leading dimensions",
            points=0.5,
            case=tokens(x=(2, 3, 4), vector=()),
            probe=value_any_batch,
            hint="x comes with three leading dimensions here, and with none: count axes from the end.",
        ),
        Stage(name="eps", points=0.5, case=tokens(x=(4,), faint=(3,)), probe=value_eps, hint=EPS_HINT),
    ),
)


# --- backward ------------------------------------------------------------------------------------------


def gradients(fn, inputs, x="x", names=("x", "weight"), **eps):
    arguments = (inputs[name].copy() for name in (f"grad_{x}", x, "weight"))
    return gradients_of(fn(*arguments, **eps), *names)


def gradients_any_batch(fn, inputs):
    of_vector = gradients(fn, inputs, "vector", ("one vector", "weight for one vector"))
    return gradients(fn, inputs) | of_vector


def gradients_eps(fn, inputs):
    with_eps = gradients(fn, inputs, names=(f"x with eps={EPS}", f"weight with eps={EPS}"), eps=EPS)
    return with_eps | gradients(fn, inputs, "faint", ("faint tokens", "weight for faint tokens"))


RMS_NORM_BACKWARD = Exercise(
    name="rms_norm_numpy_backward",
    module="cs_vl.nn.rms_norm_by_hand",
    builds_on=("rms_norm_numpy",),
    stages=(
        Stage(
            name="gradient of weight",
            points=1.5,
            case=tokens(x=(4,), backward=True),
            probe=only(gradients, "gradient of weight"),
            hint="All tokens share the weight: how does y_i change with weight_i?",
        ),
        Stage(
            name="gradient of x",
            points=2.5,
            case=tokens(x=(4,), backward=True),
            probe=only(gradients, "gradient of x"),
            hint="x_i acts on every y_j of its token: directly (i = j), and through the root.",
        ),
        Stage(
            name="any leading dimensions",
            points=1,
            case=tokens(x=(2, 3, 4), vector=(), backward=True),
            probe=gradients_any_batch,
            hint="x comes with three leading dimensions here, and with none.",
        ),
        Stage(
            name="eps",
            points=1,
            case=tokens(x=(4,), faint=(3,), backward=True),
            probe=gradients_eps,
            hint=EPS_HINT,
        ),
    ),
)

EXERCISES = (RMS_NORM, RMS_NORM_BACKWARD)
