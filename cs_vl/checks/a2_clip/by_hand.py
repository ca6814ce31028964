"""Checks of InfoNCE in NumPy, forward and backward.

Inputs are float64.  Where a probe calls a function twice it hands out copies: working in place is no mistake.
"""

import numpy as np

from cs_vl.checks.a1_transformer.by_hand import gradients_of, only
from cs_vl.checks.probes import number
from cs_vl.checks.spec import Exercise, Stage

BATCH, DIM = 5, 7


def pairs(rng, batch=BATCH, dim=DIM):
    """Queries of length 1, each somewhat like its own key, as in the middle of training."""
    keys = rng.normal(size=(batch, dim))
    queries = 0.5 * keys + rng.normal(size=(batch, dim))
    return [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, keys)]


def unit_features(rng):
    queries, keys = pairs(rng)
    return {"queries": queries, "keys": keys, "scale": float(rng.uniform(3, 8))}


def any_features(rng):
    """Of all lengths, with a scale below 1; the width is less than the batch."""
    queries, keys = pairs(rng, batch=6, dim=4)
    queries *= rng.uniform(1, 4, size=(6, 1))
    keys *= rng.uniform(1, 4, size=(6, 1))
    return {"queries": queries, "keys": keys, "scale": float(rng.uniform(0.3, 0.8))}


def huge_logits(rng):
    """Logits near 6400 for all queries ("queries"); or near -6400 for every other one ("queries apart").

    A row's own logits lie some hundreds apart, and query 0 does not pick its own key: its probability is
    too small for floating point.  Numbers are few quarters, so that logits are exact in float32, too.
    """
    queries, keys = (rng.integers(-4, 5, (BATCH, DIM)) / 4 for _ in range(2))
    queries[0], keys[0], keys[1] = 0.75, -1, 1
    queries[:, 0] = keys[:, 0] = 8
    apart = queries.copy()
    apart[1::2, 0] = -8
    return {"queries": queries, "queries apart": apart, "keys": keys, "scale": 100.0}


def loss_of(fn, inputs):
    return {"loss": number(fn(inputs["queries"], inputs["keys"], inputs["scale"]))}


def loss_of_huge(fn, inputs):
    keys, scale = inputs["keys"], inputs["scale"]
    return {
        "loss": number(fn(inputs["queries"], keys.copy(), scale)),
        "loss of queries apart": number(fn(inputs["queries apart"], keys.copy(), scale)),
    }


HUGE_HINT = (
    "Logits lie near 6400 here, or near -6400, some hundreds apart: does an exponential overflow, or "
    "is it 0 where its logarithm is taken?"
)

INFO_NCE_NUMPY = Exercise(
    name="info_nce_numpy",
    module="cs_vl.losses.by_hand",
    stages=(
        Stage(name="features of length 1", points=2, case=unit_features, probe=loss_of),
        Stage(
            name="features of any length",
            points=1,
            case=any_features,
            probe=loss_of,
            hint="Nothing is normalised here, and the scale is below 1.",
        ),
        Stage(
            name="huge logits",
            points=2,
            case=huge_logits,
            probe=loss_of_huge,
            needs=("features of length 1",),
            hint=HUGE_HINT,
        ),
    ),
)


# --- backward ------------------------------------------------------------------------------------------

ARGUMENTS = ("queries", "keys", "scale")


def all_gradients(fn, inputs, queries="queries", of=""):
    result = fn(inputs[queries].copy(), inputs["keys"].copy(), inputs["scale"])
    named = gradients_of(result, *(name + of for name in ARGUMENTS))
    of_scale = f"gradient of scale{of}"
    return {name: number(x) if name == of_scale else x for name, x in named.items()}


def gradients_of_huge(fn, inputs):
    return all_gradients(fn, inputs) | all_gradients(fn, inputs, "queries apart", " (queries apart)")


INFO_NCE_NUMPY_BACKWARD = Exercise(
    name="info_nce_numpy_backward",
    module="cs_vl.losses.by_hand",
    stages=(
        Stage(
            name="gradient of queries",
            points=3,
            case=unit_features,
            probe=only(all_gradients, "gradient of queries"),
            hint="Go back step by step: from the loss to the logits (B, B), then to the queries.",
        ),
        Stage(
            name="gradient of keys",
            points=2,
            case=unit_features,
            probe=only(all_gradients, "gradient of keys"),
            hint="A key is in the denominator of every query, so all of them have a say.",
        ),
        Stage(
            name="gradient of scale",
            points=2,
            case=unit_features,
            probe=only(all_gradients, "gradient of scale"),
            hint="The scale stands in every logit: what does each logit change by, when it changes?",
        ),
        Stage(
            name="features of any length",
            points=1,
            case=any_features,
            probe=all_gradients,
            hint="Nothing is normalised here, and the scale is below 1.",
        ),
        Stage(
            name="huge logits",
            points=1,
            case=huge_logits,
            probe=gradients_of_huge,
            needs=tuple(f"gradient of {name}" for name in ARGUMENTS),
            rtol=1e-3,
            atol=1e-3,  # a rounding error of float32 in p, times a scale of 100
            hint=HUGE_HINT,
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (INFO_NCE_NUMPY, INFO_NCE_NUMPY_BACKWARD)
