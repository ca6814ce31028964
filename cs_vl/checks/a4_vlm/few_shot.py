"""Checks of in-context learning: the likelihood of each label after some examples."""

import torch

from cs_vl.checks.probes import normal
from cs_vl.checks.spec import Exercise, Stage

VOCAB, DIM = 17, 11


def reader_of(weights):
    """A causal model from tensors alone: its logits at i depend on every token up to i, and on their order.

    Each token is added to what was there before, turned by its place; nothing is forgotten.
    """
    embed, frequency, head = weights["embed"], weights["frequency"], weights["head"]

    def read(ids):
        if not isinstance(ids, torch.Tensor) or ids.ndim != 2:
            raise TypeError("read takes a tensor of ids of shape (batch, length)")
        place = torch.arange(1, ids.shape[1] + 1, dtype=embed.dtype)[:, None]
        sums = (embed[ids.long()] * torch.cos(place * frequency)).cumsum(dim=1)
        return sums / place.sqrt() @ head

    return read


def questions(shots, prefix, labels, sharp=1.0):
    """Draws a case.

    Args:
        shots, labels: how many tokens each example's and each compared label has.  The compared ones begin
            alike: what tells them apart stands at their ends, and the last begins as longer ones do.
        sharp: what the logits are multiplied by: from 40 on many a probability is 0 in float32.
        prefix: how many tokens stand between an image and its label.
    """

    def case(rng):
        image_id, eoc_id, *words = (int(i) for i in rng.permutation(VOCAB))

        def some(n):
            return [int(word) for word in rng.choice(words, n, replace=False)]

        longest = some(max(labels))
        return {
            "embed": normal(rng, VOCAB, DIM),
            "frequency": torch.from_numpy(rng.uniform(0.2, 2.5, DIM)).float(),
            "head": sharp * normal(rng, DIM, VOCAB),
            "shots": [some(n) for n in shots],
            "labels": [[*longest[: n - 1], *some(1)] for n in labels[:-1]] + [longest[: labels[-1]]],
            "image_id": image_id,
            "eoc_id": eoc_id,
            "prefix": some(prefix),
        }

    return case


def ids_of(inputs):
    return {"image_id": inputs["image_id"], "eoc_id": inputs["eoc_id"]}


def score(fn, inputs):
    shots, labels, prefix = inputs["shots"], inputs["labels"], inputs["prefix"]
    return {"scores": fn(reader_of(inputs), shots, labels, **ids_of(inputs), prefix=prefix)}


def score_without_prefix(fn, inputs):
    return {"scores": fn(reader_of(inputs), inputs["shots"], inputs["labels"], **ids_of(inputs))}


def score_each_alone(fn, inputs):
    """A label's score does not depend on which others are compared, nor on where it stands among them."""
    read, shots, labels = reader_of(inputs), inputs["shots"], inputs["labels"]
    given = {**ids_of(inputs), "prefix": inputs["prefix"]}
    alone = {f"score of label {i} alone": fn(read, shots, [label], **given) for i, label in enumerate(labels)}
    return {**alone, "scores, labels reversed": fn(read, shots, labels[::-1], **given)}


FEW_SHOT_SCORES = Exercise(
    name="few_shot_scores",
    module="cs_vl.tasks.in_context",
    stages=(
        Stage(
            name="no shots",
            points=1,
            case=questions([], 0, [1, 1, 1]),
            probe=score_without_prefix,
            hint="Read <image>, the label, <eoc>; add up log p of the label's token and of <eoc>.",
        ),
        Stage(
            name="labels of several tokens",
            points=2,
            case=questions([], 2, [2, 3, 1, 4, 3]),
            probe=score,
            hint="Each token of the label, and its <eoc>, is predicted by the logits at the token before it.",
        ),
        Stage(
            name="some shots",
            points=3,
            case=questions([1, 3, 2], 2, [2, 1, 3, 2]),
            probe=score,
            hint="The text is <image> prefix label <eoc> for each shot, then <image> prefix label <eoc>.",
        ),
        Stage(
            name="each label by itself",
            kind="property",
            points=1,
            case=questions([2, 1], 1, [3, 2, 1, 2], sharp=60.0),
            probe=score_each_alone,
            needs=("some shots",),
            hint="A label's score does not depend on the other labels, and is finite, however low.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (FEW_SHOT_SCORES,)
