"""Checks of attention in torch: scaled dot product, and many heads."""

import torch
import torch.nn.functional as F

from cs_vl.checks.probes import build, gradients, leaf, normal, pair, parameters
from cs_vl.checks.spec import Exercise, Stage
from cs_vl.nn.attention import MultiHeadAttention


def attention_case(mask=None, dtype=torch.float32, leading=(2, 3)):
    """q, k, v with every dimension different, and a mask of the kind asked for."""

    def case(rng):
        queries, keys, d_k, d_v = 4, 6, 5, 7
        inputs = {
            "q": normal(rng, *leading, queries, d_k, dtype=dtype),
            "k": normal(rng, *leading, keys, d_k, dtype=dtype),
            "v": normal(rng, *leading, keys, d_v, dtype=dtype),
            "mask": None,
        }
        if mask == "boolean":
            inputs["mask"] = torch.from_numpy(rng.random((leading[0], 1, queries, keys)) < 0.6)
            inputs["mask"][..., 1] = True  # no row is wholly masked
            inputs["mask"][..., 4] = False
        elif mask == "additive":
            inputs["mask"] = normal(rng, leading[-1], queries, keys, dtype=dtype)
            inputs["mask"][..., ::2] = 0.0  # adding nothing is not hiding
        return inputs

    return case


def attention_value(fn, inputs):
    return pair(fn(inputs["q"], inputs["k"], inputs["v"], inputs["mask"]))


def attention_gradient(fn, inputs):
    q, k, v = (leaf(inputs[name]) for name in "qkv")
    output = pair(fn(q, k, v, inputs["mask"]))["output"]
    return gradients(output, q=q, k=k, v=v)


def attention_hidden_keys(fn, inputs):
    """Column 4 of the mask hides one key from every query: nothing may reach it, or come from it."""
    q, k, v = (leaf(inputs[name]) for name in "qkv")
    result = pair(fn(q, k, v, inputs["mask"]))
    found = gradients(result["output"], k=k, v=v)
    return {
        "weights of hidden keys": result["weights"][..., 4],
        "gradient of hidden keys": found["gradient of k"][..., 4, :],
        "gradient of hidden values": found["gradient of v"][..., 4, :],
    }


def attention_of_torch(q, k, v, mask=None):
    """The stand-in: torch's own; the weights are what comes out where the values are the identity."""
    weights = F.scaled_dot_product_attention(
        q, k, torch.eye(k.shape[-2], dtype=q.dtype).expand(*k.shape[:-1], -1), mask
    )
    return F.scaled_dot_product_attention(q, k, v, mask), weights


SCALED_DOT_PRODUCT_ATTENTION = Exercise(
    name="scaled_dot_product_attention",
    module="cs_vl.nn.attention",
    stages=(
        Stage(name="no mask", points=2, case=attention_case(leading=(3,)), probe=attention_value),
        Stage(name="boolean mask", points=1, case=attention_case("boolean"), probe=attention_value),
        Stage(name="additive mask", points=1, case=attention_case("additive"), probe=attention_value),
        Stage(
            name="gradient",
            kind="gradient",
            points=1,
            case=attention_case("boolean", torch.float64),
            probe=attention_gradient,
            needs=("boolean mask",),
        ),
        Stage(
            name="hidden keys get exactly nothing",
            kind="property",
            points=1,
            case=attention_case("boolean"),
            probe=attention_hidden_keys,
            needs=("boolean mask",),
            rtol=0,
            atol=0,
        ),
    ),
    stand_in=attention_of_torch,
)


def multi_head_case(context=False, mask=False, **init):
    def case(rng):
        batch, queries, dim, heads = 2, 5, 12, 3
        arguments = {"dim": dim, "heads": heads, **init}
        inputs = {
            "init": arguments,
            "params": parameters(rng, MultiHeadAttention(**arguments)),
            "x": normal(rng, batch, queries, dim),
            "context": normal(rng, batch, 7, init.get("context_dim", dim)) if context else None,
            "mask": None,
        }
        if mask:
            keys = 7 if context else queries
            inputs["mask"] = torch.from_numpy(rng.random((batch, 1, queries, keys)) < 0.6)
            inputs["mask"][..., 2] = True
        return inputs

    return case


def multi_head_value(cls, inputs):
    module = build(cls, inputs["init"], inputs["params"])
    return pair(module(inputs["x"], inputs["context"], inputs["mask"]))


def multi_head_gradient(cls, inputs):
    module = build(cls, inputs["init"], inputs["params"])
    x = leaf(inputs["x"])
    output = pair(module(x, inputs["context"], inputs["mask"]))["output"]
    return gradients(output, x=x, **dict(module.named_parameters()))


MULTI_HEAD_ATTENTION = Exercise(
    name="MultiHeadAttention",
    module="cs_vl.nn.attention",
    stages=(
        Stage(name="self-attention", points=3, case=multi_head_case(), probe=multi_head_value),
        Stage(name="cross-attention", points=2, case=multi_head_case(True), probe=multi_head_value),
        Stage(
            name="a mask, and a context of another width",
            points=1,
            case=multi_head_case(True, True, context_dim=8, head_dim=5),
            probe=multi_head_value,
        ),
        Stage(name="gradient", kind="gradient", points=1, case=multi_head_case(), probe=multi_head_gradient),
    ),
)

EXERCISES = (SCALED_DOT_PRODUCT_ATTENTION, MULTI_HEAD_ATTENTION)
