"""Checks of text transformers: how a text becomes one vector."""

import torch

from cs_vl.checks.probes import gradients, leaf, normal
from cs_vl.checks.spec import Exercise, Stage

BATCH, LENGTH, DIM, END = 3, 8, 5, 10


def pool_case(rng):
    """Lengths differ and leave padding; the end token's id is neither the largest nor the smallest."""
    ids = rng.choice([*range(1, END), *range(END + 1, 20)], (BATCH, LENGTH))
    ids[:, 0], ids[:, 1] = END + 5, END - 5
    ids[range(BATCH), 2 + rng.permutation(BATCH)] = END
    ids[:, LENGTH - 3] = END  # again, in what stands behind the text
    return {
        "tokens": normal(rng, BATCH, LENGTH, DIM),
        "ids": torch.from_numpy(ids),
        "end_id": END,
        "lengths": torch.from_numpy(2 + rng.choice(LENGTH - 3, BATCH, replace=False)),
    }


def pool_positions(fn, inputs):
    tokens, ids, lengths = inputs["tokens"], inputs["ids"], inputs["lengths"]
    return {
        "last token": fn(tokens, ids, "last", lengths=lengths),
        "last token without padding": fn(tokens, ids, "last"),
        "first token": fn(tokens, ids, "first"),
    }


def pool_mean(fn, inputs):
    tokens, ids, lengths = inputs["tokens"], inputs["ids"], inputs["lengths"]
    return {
        "mean": fn(tokens, ids, "mean", lengths=lengths),
        "mean without padding": fn(tokens, ids, "mean"),
    }


def pool_end(fn, inputs):
    return {"end of text": fn(inputs["tokens"], inputs["ids"], "eot", end_id=inputs["end_id"])}


def pool_gradient(fn, inputs):
    """Of padding not only a small gradient, but none at all."""
    padding = torch.arange(LENGTH) >= inputs["lengths"][:, None]
    results = {}
    for how in ("last", "mean"):
        tokens = leaf(inputs["tokens"])
        gradient = gradients(fn(tokens, inputs["ids"], how, lengths=inputs["lengths"]), tokens=tokens)[
            "gradient of tokens"
        ]
        results[f"gradient of tokens ({how})"] = gradient
        results[f"padding has a gradient ({how})"] = (
            None if gradient is None else bool((gradient[padding] != 0).any())
        )
    return results


POOL_TEXT = Exercise(
    name="pool_text",
    module="cs_vl.nn.text",
    stages=(
        Stage(name="first and last", points=1, case=pool_case, probe=pool_positions),
        Stage(name="end of text", points=1, case=pool_case, probe=pool_end),
        Stage(name="mean", points=1, case=pool_case, probe=pool_mean),
        Stage(
            name="gradient",
            kind="gradient",
            points=1,
            case=pool_case,
            probe=pool_gradient,
            needs=("first and last", "mean"),
            hint="Padding should get none.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (POOL_TEXT,)
