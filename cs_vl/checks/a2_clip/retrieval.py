"""Checks of retrieval: recall@k."""

import numpy as np
import torch

from cs_vl.checks.probes import number
from cs_vl.checks.spec import Exercise, Stage

KS = (1, 2, 4, 7)


def scores(rng, queries, candidates):
    """Similarities of either sign, a scale and a place of its own for each row, and no ties."""
    ranks = rng.permuted(np.tile(np.arange(candidates), (queries, 1)), axis=1)
    scale, place = rng.uniform(0.3, 1, (queries, 1)), rng.uniform(-1, 0.5, (queries, 1))
    return torch.from_numpy(scale * ranks / candidates + place).float()


def one_relevant(rng):
    """Fewer queries than candidates; the relevant one stands anywhere in its row."""
    queries, candidates = 24, 29
    relevant = torch.zeros(queries, candidates, dtype=torch.bool)
    relevant[torch.arange(queries), torch.from_numpy(rng.integers(0, candidates, queries))] = True
    return {"similarity": scores(rng, queries, candidates), "relevant": relevant}


def several_relevant(rng):
    """More queries than candidates; a query has one to five that are relevant."""
    queries, candidates = 31, 17
    count = torch.from_numpy(rng.integers(1, 6, (queries, 1)))
    place = torch.from_numpy(rng.permuted(np.tile(np.arange(candidates), (queries, 1)), axis=1))
    return {"similarity": scores(rng, queries, candidates), "relevant": place < count}


def recall(fn, inputs):
    similarity, relevant = inputs["similarity"], inputs["relevant"]
    return {f"recall at {k}": number(fn(similarity.clone(), relevant.clone(), k)) for k in KS}


def recall_of_logits(fn, inputs):
    """The order decides, not the scale; and who looks at all candidates finds something."""
    similarity, relevant = inputs["similarity"], inputs["relevant"]
    candidates = similarity.shape[1]
    results = {f"recall at {k}, of logits": number(fn(3000 * similarity, relevant.clone(), k)) for k in KS}
    return {**results, "recall at all": number(fn(similarity.clone(), relevant.clone(), candidates))}


RECALL_AT_K = Exercise(
    name="recall_at_k",
    module="cs_vl.tasks.retrieval",
    stages=(
        Stage(name="one relevant candidate", points=2, case=one_relevant, probe=recall),
        Stage(name="several relevant candidates", points=2, case=several_relevant, probe=recall),
        Stage(
            name="any scale, any k",
            kind="property",
            points=1,
            case=several_relevant,
            probe=recall_of_logits,
            needs=("one relevant candidate", "several relevant candidates"),
            hint="Only the order of a row's similarities counts: here they are logits of thousands.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (RECALL_AT_K,)
