"""Checks of what is read out of frozen features: the linear probe and nearest neighbours."""

import torch
import torch.nn.functional as F

from cs_vl.checks.probes import normal, pair
from cs_vl.checks.spec import Exercise, Stage

# --- linear_probe --------------------------------------------------------------------------------------

# Counts differ by class, so that a penalised bias shows.
COUNTS = (3, 5, 8, 14)
MINIMUM_HINT = (
    "At the minimum of the docstring's objective this gradient is 0: you stopped on the way there, or went "
    "to the minimum of something else."
)


def probe_case(l2, shift=None):
    """Blobs that overlap: no line parts them.  `shift`: of the features' mean; None for those of length 1."""

    def case(rng):
        classes, dim = len(COUNTS), 5
        labels = torch.from_numpy(rng.permutation([c for c, n in enumerate(COUNTS) for _ in range(n)]))
        features = 0.6 * normal(rng, classes, dim)[labels] + normal(rng, len(labels), dim)
        if shift is None:
            features = F.normalize(features)
        else:
            features = 0.7 * features * torch.linspace(0.5, 1.5, dim) + shift
        return {
            "features": features,
            "labels": labels,
            "num_classes": classes,
            "l2": l2 * float(rng.uniform(0.8, 1.2)),
            "offset": 0.5 * normal(rng, dim),
        }

    return case


def fitted(fn, inputs, **changed):
    """(weight, bias) of a call, as tensors in float64, or whatever else was returned, by name."""
    given = {name: inputs[name] for name in ("features", "labels", "num_classes", "l2")} | changed
    given |= {name: given[name].clone() for name in ("features", "labels")}
    result = pair(fn(*given.values()), "weight", "bias")
    return {n: torch.as_tensor(x).detach().double() if hasattr(x, "shape") else x for n, x in result.items()}


def slope(inputs, weight, bias):
    """The gradient of the objective in weight and bias, side by side; NaN where they don't fit."""
    features, labels, classes = inputs["features"].double(), inputs["labels"], inputs["num_classes"]
    shapes = [(classes, features.shape[1]), (classes,)]
    if [getattr(x, "shape", None) for x in (weight, bias)] != shapes:
        return torch.full((classes, features.shape[1] + 1), torch.nan)
    gap = (features @ weight.T + bias).softmax(dim=1) - F.one_hot(labels, classes)
    of_weight = gap.T @ features / len(labels) + inputs["l2"] * weight
    return torch.cat([of_weight, gap.mean(dim=0)[:, None]], dim=1)


def minimum(fn, inputs):
    """The gradient comes first: where it isn't 0, it says more than the numbers of the weight."""
    found = fitted(fn, inputs)
    weight, bias = found.get("weight"), found.get("bias")
    if getattr(bias, "ndim", 0) == 1:
        found["bias"] = bias - bias.mean()  # what all biases have in common is free
    return {"gradient where you stopped": slope(inputs, weight, bias), **found}


def shifted(fn, inputs):
    """The bias takes up an offset of all features: the weight stays as it is."""
    moved = fitted(fn, inputs, features=inputs["features"] + inputs["offset"])
    return {"weight with an offset": moved.get("weight")}


LINEAR_PROBE = Exercise(
    name="linear_probe",
    module="cs_vl.tasks.linear_probe",
    stages=(
        Stage(
            name="the minimum",
            points=3,
            case=probe_case(0.1),
            probe=minimum,
            rtol=3e-3,
            atol=3e-3,
            hint=MINIMUM_HINT,
        ),
        Stage(
            name="features as they are",
            cases=1,
            points=1,
            case=probe_case(0.1, shift=0.7),
            probe=minimum,
            rtol=3e-3,
            atol=3e-3,
            hint=MINIMUM_HINT + " Here the features have neither length 1 nor mean 0.",
        ),
        Stage(
            name="a strong penalty",
            cases=1,
            points=1,
            case=probe_case(1.0, shift=0.3),
            probe=minimum,
            rtol=3e-3,
            atol=3e-3,
            hint=MINIMUM_HINT + " Here l2 is near 1.",
        ),
        Stage(
            name="an offset of all features",
            kind="property",
            points=1,
            cases=1,
            case=probe_case(0.3, shift=0.0),
            probe=shifted,
            rtol=3e-3,
            atol=3e-3,
            hint="The bias takes it up, as long as nothing penalises it: the weight stays as it is.",
        ),
    ),
)

# --- knn_classify --------------------------------------------------------------------------------------

BANK, QUERIES, CLASSES = 12, 4, 6
ABSENT = 4  # a class in the midst that no image belongs to


def bank_case(k, temperature):
    """Images in no order of class; each query has one neighbour that stands out, and several near it."""

    def case(rng):
        dim = 5
        present = [c for c in range(CLASSES) if c != ABSENT]
        labels = rng.permutation([*present, *rng.choice(present, BANK - len(present))])
        return {
            "features": F.normalize(0.5 + normal(rng, BANK, dim)),
            "labels": torch.from_numpy(labels),
            "queries": F.normalize(0.5 + normal(rng, QUERIES, dim)),
            "k": k,
            "num_classes": CLASSES + 1,  # none belongs to the last one, either
            "temperature": temperature * float(rng.uniform(0.8, 1.2)),
            "order": torch.from_numpy(rng.permutation(BANK)),
        }

    return case


def vote(fn, inputs, **changed):
    names = ("features", "labels", "queries", "k", "num_classes", "temperature")
    given = {name: inputs[name] for name in names} | changed
    return fn(*(x.clone() if torch.is_tensor(x) else x for x in given.values()))


def knn_scores(fn, inputs):
    return {"scores": vote(fn, inputs)}


def knn_any_k(fn, inputs):
    return {f"scores of k={k}": vote(fn, inputs, k=k) for k in (1, 2, BANK)}


def knn_one_query(fn, inputs):
    return {
        f"scores of query {i} alone": vote(fn, inputs, queries=inputs["queries"][i : i + 1])
        for i in range(QUERIES)
    }


def knn_reordered(fn, inputs):
    order = inputs["order"]
    features, labels = inputs["features"][order], inputs["labels"][order]
    return {"scores with the images in another order": vote(fn, inputs, features=features, labels=labels)}


KNN_CLASSIFY = Exercise(
    name="knn_classify",
    module="cs_vl.tasks.knn",
    stages=(
        Stage(
            name="the weighted vote",
            points=2,
            case=bank_case(5, 0.5),
            probe=knn_scores,
            hint="Each of the k nearest adds exp(cosine / temperature) to the score of its own class.",
        ),
        Stage(
            name="any k",
            points=1,
            case=bank_case(3, 0.2),
            probe=knn_any_k,
            hint="k is 1 here, then 2, then all of the images.",
        ),
        Stage(
            name="one query at a time",
            kind="property",
            points=1,
            case=bank_case(4, 0.07),
            probe=knn_one_query,
            hint="A query's scores do not depend on which others stand beside it.",
        ),
        Stage(
            name="images in another order",
            kind="property",
            points=1,
            case=bank_case(4, 0.3),
            probe=knn_reordered,
            hint="In which order the images come makes no difference, if labels go with their images.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (LINEAR_PROBE, KNN_CLASSIFY)
