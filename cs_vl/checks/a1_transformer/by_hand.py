"""Checks of NumPy forward and backward passes: softmax, layer norm, attention.

Inputs are float64.  Where a probe calls a function twice it hands out copies: working in place is no mistake.
"""

import numpy as np

from cs_vl.checks.probes import pair
from cs_vl.checks.spec import Exercise, Stage

ROWS = (4, 6)
BATCHED = (2, 3, 4, 5)
AXES = (0, 1, -2)  # the last one, the default, has a stage of its own


def gradients_of(result, *names):
    """Name the gradients in a returned tuple; anything else stands for the first alone."""
    several = isinstance(result, tuple | list)
    return {f"gradient of {name}": x for name, x in zip(names, result if several else [result], strict=False)}


def only(probe, *names):
    """The named part of what a probe finds, so that each gradient counts by itself."""

    def part(fn, inputs):
        return {name: value for name, value in probe(fn, inputs).items() if name in names}

    return part


# --- softmax -------------------------------------------------------------------------------------------


def logits(*shape):
    return lambda rng: {"x": 2 * rng.normal(size=shape)}


def extreme_logits(rng):
    x = rng.integers(-12, 13, (5, 6)) / 4  # quarters stay exact in float32, whatever is added
    x[0] += 1e4
    x[1] -= 1e4
    x[2] *= 1e4
    x[1, 2] = x[3, 1] = x[3, 4] = -np.inf
    return {"x": x}


def softmax_value(fn, inputs):
    return {"output": fn(inputs["x"])}


def softmax_of_extremes(fn, inputs):
    output = fn(inputs["x"].copy())
    impossible = np.asarray(output)[np.isneginf(inputs["x"])]
    return {"output": output, "probabilities of -inf are exactly 0": impossible == 0}


def softmax_along_axes(fn, inputs):
    return {f"output along axis {axis}": fn(inputs["x"].copy(), axis=axis) for axis in AXES}


SOFTMAX = Exercise(
    name="softmax",
    module="cs_vl.nn.by_hand",
    stages=(
        Stage(name="along the last axis", points=1, case=logits(*ROWS), probe=softmax_value),
        Stage(name="along any axis", points=1, case=logits(*BATCHED), probe=softmax_along_axes),
        Stage(
            name="huge logits, and -inf",
            points=1,
            case=extreme_logits,
            probe=softmax_of_extremes,
            hint="Some logits here are near 1e4, near -1e4, or -inf: can exp overflow, or a sum be 0?",
        ),
    ),
)


def shares(rng, shape, axis=-1):
    """What a softmax may return: positive, and 1 in all along an axis."""
    others = tuple(np.delete(shape, axis))
    return np.ascontiguousarray(np.moveaxis(rng.dirichlet(np.ones(shape[axis]), others), -1, axis))


def probabilities(rng):
    return {"grad_y": rng.normal(size=ROWS), "y": shares(rng, ROWS)}


def probabilities_along_axes(rng):
    return {
        "grad_y": rng.normal(size=BATCHED),
        **{f"y along axis {axis}": shares(rng, BATCHED, axis) for axis in AXES},
    }


def probabilities_of_zero(rng):
    """One row is all in one entry; others have entries of 0, as those of masked keys."""
    y = shares(rng, ROWS)
    y[0, 1:] = y[1, 3] = y[2, [0, 4]] = 0
    return {"grad_y": rng.normal(size=ROWS), "y": y / y.sum(-1, keepdims=True)}


def softmax_gradient(fn, inputs):
    return {"gradient of x": fn(inputs["grad_y"], inputs["y"])}


def softmax_gradient_along_axes(fn, inputs):
    return {
        f"gradient of x along axis {axis}": fn(
            inputs["grad_y"].copy(), inputs[f"y along axis {axis}"], axis=axis
        )
        for axis in AXES
    }


SOFTMAX_BACKWARD = Exercise(
    name="softmax_backward",
    module="cs_vl.nn.by_hand",
    stages=(
        Stage(name="along the last axis", points=2, case=probabilities, probe=softmax_gradient),
        Stage(
            name="along any axis",
            points=2,
            case=probabilities_along_axes,
            probe=softmax_gradient_along_axes,
        ),
        Stage(
            name="probabilities of 0 and 1",
            kind="property",
            points=1,
            case=probabilities_of_zero,
            probe=softmax_gradient,
            hint="Some probabilities are exactly 0: do you divide by them, or take their logarithm?",
        ),
    ),
)


# --- layer norm ----------------------------------------------------------------------------------------


EPS = 0.7  # of the order of a variance


def vectors(*, backward=False, **batches):
    """Vectors with a mean far from 0 for each named batch; those of `flat` have a variance near 1e-5."""

    def case(rng):
        dim = 6
        inputs = {name: 3 + 2 * rng.normal(size=(*batch, dim)) for name, batch in batches.items()}
        if "flat" in inputs:
            inputs["flat"] *= 2e-3
        inputs["weight"] = 1 + 0.5 * rng.normal(size=dim)
        if backward:
            grads = {f"grad_{name}": rng.normal(size=(*batch, dim)) for name, batch in batches.items()}
            if "flat" in inputs:
                grads["grad_flat"] *= 1e-2  # it is divided by a small deviation
            return {**grads, **inputs}
        return {**inputs, "bias": rng.normal(size=dim)}

    return case


def layer_norm_value(fn, inputs):
    return {"output": fn(inputs["x"], inputs["weight"], inputs["bias"])}


def layer_norm_any_batch(fn, inputs):
    return {
        "output": fn(inputs["x"], inputs["weight"], inputs["bias"]),
        "output of one vector": fn(inputs["vector"], inputs["weight"], inputs["bias"]),
    }


def layer_norm_eps(fn, inputs):
    return {
        f"output with eps={EPS}": fn(inputs["x"], inputs["weight"], inputs["bias"], eps=EPS),
        "output of nearly constant vectors": fn(inputs["flat"], inputs["weight"], inputs["bias"]),
    }


EPS_HINT = "Here eps matters: look at where it enters, and whether the argument is used."

LAYER_NORM = Exercise(
    name="layer_norm",
    module="cs_vl.nn.by_hand",
    stages=(
        Stage(name="a batch of vectors", points=2, case=vectors(x=(4,)), probe=layer_norm_value),
        Stage(
            name="any leading dimensions",
            points=1,
            case=vectors(x=(2, 3, 4), vector=()),
            probe=layer_norm_any_batch,
        ),
        Stage(
            name="eps",
            points=1,
            case=vectors(x=(4,), flat=(3,)),
            probe=layer_norm_eps,
            hint=EPS_HINT,
        ),
    ),
)


def layer_norm_gradients(fn, inputs):
    return gradients_of(fn(inputs["grad_x"], inputs["x"], inputs["weight"]), "x", "weight", "bias")


def layer_norm_gradients_any_batch(fn, inputs):
    of_vector = fn(inputs["grad_vector"], inputs["vector"], inputs["weight"])
    return {
        **layer_norm_gradients(fn, inputs),
        **gradients_of(of_vector, "one vector", "weight for one vector", "bias for one vector"),
    }


def layer_norm_gradients_eps(fn, inputs):
    with_eps = fn(inputs["grad_x"], inputs["x"], inputs["weight"], eps=EPS)
    of_flat = fn(inputs["grad_flat"], inputs["flat"], inputs["weight"])
    return {
        **gradients_of(with_eps, f"x with eps={EPS}", f"weight with eps={EPS}"),
        **gradients_of(of_flat, "nearly constant vectors", "weight for nearly constant vectors"),
    }


LAYER_NORM_BACKWARD = Exercise(
    name="layer_norm_backward",
    module="cs_vl.nn.by_hand",
    builds_on=("layer_norm",),
    stages=(
        Stage(
            name="gradient of bias",
            points=1,
            case=vectors(x=(4,), backward=True),
            probe=only(layer_norm_gradients, "gradient of bias"),
        ),
        Stage(
            name="gradient of weight",
            points=2,
            case=vectors(x=(4,), backward=True),
            probe=only(layer_norm_gradients, "gradient of weight"),
        ),
        Stage(
            name="gradient of x",
            points=3,
            case=vectors(x=(4,), backward=True),
            probe=only(layer_norm_gradients, "gradient of x"),
            hint="x_i acts on every y_j: directly (i = j), through the mean and through the deviation.",
        ),
        Stage(
            name="any leading dimensions",
            points=1,
            case=vectors(x=(2, 3, 4), vector=(), backward=True),
            probe=layer_norm_gradients_any_batch,
        ),
        Stage(
            name="eps",
            points=1,
            case=vectors(x=(4,), flat=(3,), backward=True),
            probe=layer_norm_gradients_eps,
            hint=EPS_HINT,
        ),
    ),
)


# --- attention -----------------------------------------------------------------------------------------

HIDDEN = 4  # the key that a mask hides from every query


def attention_case(leading=(), mask=False, backward=False):
    """q, k, v with every dimension different."""

    def case(rng):
        queries, keys, d_k, d_v = 4, 6, 5, 7
        inputs = {"grad_output": rng.normal(size=(*leading, queries, d_v))} if backward else {}
        inputs |= {
            "q": rng.normal(size=(*leading, queries, d_k)),
            "k": rng.normal(size=(*leading, keys, d_k)),
            "v": rng.normal(size=(*leading, keys, d_v)),
        }
        if mask:
            inputs["k"][..., HIDDEN, :] *= 5  # were it seen, it would draw much attention
            inputs["mask"] = rng.random((leading[0], 1, queries, keys)) < 0.6
            inputs["mask"][..., 1] = True  # no row is wholly masked
            inputs["mask"][..., HIDDEN] = False
        return inputs

    return case


def attend(fn, inputs, names, **mask):
    return fn(*(inputs[name].copy() for name in names), **mask)


def attention_value(fn, inputs):
    return pair(attend(fn, inputs, ("q", "k", "v")))


def attention_masked(fn, inputs):
    own = attend(fn, inputs, ("q", "k", "v"), mask=inputs["mask"])
    shared = attend(fn, inputs, ("q", "k", "v"), mask=inputs["mask"][0, 0])
    return {**pair(own), **pair(shared, "output with one mask for all", "weights with one mask for all")}


def attention_hidden_weights(fn, inputs):
    weights = np.asarray(attend(fn, inputs, ("q", "k", "v"), mask=inputs["mask"])[1])
    return {"weights of masked keys": weights[~np.broadcast_to(inputs["mask"], weights.shape)]}


MASK_HINT = "True lets a query look at a key; a mask broadcasts to the shape of the scores."

ATTENTION = Exercise(
    name="attention",
    module="cs_vl.nn.by_hand",
    builds_on=("softmax",),
    stages=(
        Stage(name="no mask", points=2, case=attention_case(), probe=attention_value),
        Stage(name="a batch of heads", points=1, case=attention_case((2, 3)), probe=attention_value),
        Stage(
            name="mask", points=1, case=attention_case((2, 3), True), probe=attention_masked, hint=MASK_HINT
        ),
        Stage(
            name="masked keys get exactly 0",
            kind="property",
            points=1,
            case=attention_case((2, 3), True),
            probe=attention_hidden_weights,
            needs=("mask",),
            rtol=0,
            atol=0,
            hint="What stands at a masked score must be so low that its exponential is exactly 0.",
        ),
    ),
)

BACKWARD = ("grad_output", "q", "k", "v")


def attention_gradients(fn, inputs):
    return gradients_of(attend(fn, inputs, BACKWARD), "q", "k", "v")


def attention_masked_gradients(fn, inputs):
    own = attend(fn, inputs, BACKWARD, mask=inputs["mask"])
    shared = attend(fn, inputs, BACKWARD, mask=inputs["mask"][0, 0])
    return {
        **gradients_of(own, "q", "k", "v"),
        **gradients_of(shared, *(f"{name} with one mask for all" for name in "qkv")),
    }


def attention_hidden_gradients(fn, inputs):
    _, grad_k, grad_v = attend(fn, inputs, BACKWARD, mask=inputs["mask"])
    return {
        "gradient of a key that nobody sees": np.asarray(grad_k)[..., HIDDEN, :],
        "gradient of its value": np.asarray(grad_v)[..., HIDDEN, :],
    }


ATTENTION_BACKWARD = Exercise(
    name="attention_backward",
    module="cs_vl.nn.by_hand",
    builds_on=("softmax", "softmax_backward", "attention"),
    stages=(
        Stage(
            name="gradient of v",
            points=2,
            case=attention_case(backward=True),
            probe=only(attention_gradients, "gradient of v"),
        ),
        Stage(
            name="gradients of q and k",
            points=3,
            case=attention_case(backward=True),
            probe=only(attention_gradients, "gradient of q", "gradient of k"),
            hint="Go back step by step: from the output to the weights, to the scores, to q and k.",
        ),
        Stage(
            name="a batch of heads",
            points=1,
            case=attention_case((2, 3), backward=True),
            probe=attention_gradients,
        ),
        Stage(
            name="mask",
            points=2,
            case=attention_case((2, 3), True, True),
            probe=attention_masked_gradients,
            hint=MASK_HINT,
        ),
        Stage(
            name="a key that nobody sees gets exactly 0",
            kind="property",
            points=1,
            case=attention_case((2, 3), True, True),
            probe=attention_hidden_gradients,
            needs=("mask",),
            rtol=0,
            atol=0,
            hint="The weight of a masked key must be exactly 0; then so is all that is multiplied by it.",
        ),
    ),
)

EXERCISES = (SOFTMAX, SOFTMAX_BACKWARD, LAYER_NORM, LAYER_NORM_BACKWARD, ATTENTION, ATTENTION_BACKWARD)
