"""Checks of masks."""

import torch

from cs_vl.checks.spec import Exercise, Stage


def mask_case(query_len, key_len, causal=False):
    """Three samples, of different lengths; where the mask is causal, one of them has no padding."""

    def case(rng):
        lengths = torch.tensor([int(rng.integers(2, key_len - 2)), key_len - 2, key_len - (not causal)])
        return {
            "query_len": query_len,
            "key_lengths": lengths[torch.from_numpy(rng.permutation(3))],
            "key_len": key_len,
            "causal": causal,
        }

    return case


def mask_value(fn, inputs):
    """What is not causal is asked for by the default."""
    options = {"causal": True} if inputs["causal"] else {}
    return {"mask": fn(inputs["query_len"], inputs["key_lengths"], inputs["key_len"], **options)}


def mask_of_last_queries(fn, inputs):
    """Several queries, and one, as when a text is written token by token."""
    few = mask_value(fn, inputs)["mask"]
    return {"mask": few, "mask of one query": mask_value(fn, {**inputs, "query_len": 1})["mask"]}


ATTENTION_MASK = Exercise(
    name="attention_mask",
    module="cs_vl.nn.masks",
    stages=(
        Stage(
            name="padding",
            points=2,
            case=mask_case(6, 6),
            probe=mask_value,
            hint="Sample b may look at its first key_lengths[b] keys.",
        ),
        Stage(
            name="cross-attention",
            points=1,
            case=mask_case(9, 6),
            probe=mask_value,
            hint="There are more queries than keys.",
        ),
        Stage(
            name="causal",
            points=2,
            case=mask_case(7, 7, causal=True),
            probe=mask_value,
            hint="A query sees itself and what comes before it, but no padding.",
        ),
        Stage(
            name="causal, fewer queries than keys",
            points=1,
            case=mask_case(4, 9, causal=True),
            probe=mask_of_last_queries,
            hint="The last query stands at the last key.",
        ),
    ),
)


def language_model_case(rng):
    return {"length": int(rng.integers(6, 10))}


def prefix_case(rng):
    length = int(rng.integers(7, 10))
    return {"length": length, "prefix_length": int(rng.integers(3, length - 2))}


def language_model_value(fn, inputs):
    length = inputs["length"]
    masks = {f"{kind} mask": fn(kind, length) for kind in ("causal", "masked")}
    return {**masks, "causal mask, where a prefix_length is given": fn("causal", length, 2)}


def prefix_value(fn, inputs):
    length = inputs["length"]
    return {
        "prefix mask": fn("prefix", length, inputs["prefix_length"]),
        "mask of an empty prefix": fn("prefix", length, 0),
        "mask of a text that is all prefix": fn("prefix", length, length),
    }


LANGUAGE_MODEL_MASK = Exercise(
    name="language_model_mask",
    module="cs_vl.nn.masks",
    stages=(
        Stage(name="causal and masked", points=2, case=language_model_case, probe=language_model_value),
        Stage(
            name="prefix",
            points=2,
            case=prefix_case,
            probe=prefix_value,
            hint="The prefix reads itself in both directions; what follows it is causal.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (ATTENTION_MASK, LANGUAGE_MODEL_MASK)
