"""Checks of attention in torch: scaled dot product, and many heads.

Where a probe calls a function twice it hands out copies: working in place is no mistake.  All is float32,
gradients too: an answer may hold its scores in a plain `torch.zeros`.
"""

import torch

from cs_vl.checks.probes import build, gradients, leaf, normal, pair, parameters
from cs_vl.checks.spec import Exercise, Stage
from cs_vl.nn.attention import MultiHeadAttention


def both(result, of=""):
    """Name output and weights; what is not returned is None."""
    named = pair(result)
    return {f"output{of}": named["output"], f"weights{of}": named.get("weights")}


def boolean_mask(rng, *shape, hidden):
    """The key `hidden` is hidden from every query; no query sees nothing."""
    mask = torch.from_numpy(rng.random(shape) < 0.6)
    mask[..., 1] = True
    mask[..., hidden] = False
    return mask


def additive_mask(rng, *shape):
    """Causal: -inf hides what comes later.  Every other key has a bias, the others 0, which hides nothing."""
    queries, keys = shape[-2:]
    mask = normal(rng, *shape)
    mask[..., ::2] = 0.0
    return mask.masked_fill_(torch.ones(queries, keys).triu(keys - queries + 1) == 1, -torch.inf)


# --- scaled dot product --------------------------------------------------------------------------------

HIDDEN = 4  # the key that the boolean masks hide from every query


def attention_case(*leading):
    """q, k, v with every dimension different."""

    def case(rng):
        queries, keys, d_k, d_v = 4, 6, 5, 7
        return {
            "q": normal(rng, *leading, queries, d_k),
            "k": normal(rng, *leading, keys, d_k),
            "v": normal(rng, *leading, keys, d_v),
        }

    return case


def with_and_without_batch(rng):
    alone = attention_case()(rng)
    return {**attention_case(2, 3)(rng), **{f"{name} alone": x for name, x in alone.items()}}


def huge_scores(rng):
    """Near 1024 for one query, near -1024 for the next.

    The width is 16 and numbers are few quarters, so that scores are exact however they are scaled.
    """
    queries, keys, width = 5, 6, 16
    q = torch.from_numpy(rng.integers(-8, 9, (3, queries, width)) / 4).float()
    k = torch.from_numpy(rng.integers(-8, 9, (3, keys, width)) / 4).float()
    q[..., 0], k[..., 0] = torch.tensor([64.0, -64.0, 64.0, -64.0, 64.0]), 64.0
    return {"q": q, "k": k, "v": normal(rng, 3, keys, 7)}


def boolean_case(rng):
    return {
        **attention_case(2, 3)(rng),
        "mask": boolean_mask(rng, 2, 1, 4, 6, hidden=HIDDEN),
        "mask for all": boolean_mask(rng, 4, 6, hidden=HIDDEN),
        "mask of keys": boolean_mask(rng, 2, 3, 1, 6, hidden=HIDDEN),
    }


def additive_case(rng):
    return {**attention_case(2, 3)(rng), "mask": additive_mask(rng, 3, 4, 6)}


def hidden_case(rng):
    """Seen keys have scores near -57.  Those of hidden ones would be near -18, had they no mask."""
    inputs = boolean_case(rng)
    inputs["q"][..., 0], inputs["k"][..., 0], inputs["k"][..., HIDDEN, 0] = -8.0, 16.0, 5.0
    return inputs


def attend(fn, inputs, mask=None, of=""):
    q, k, v = (inputs[name + of].clone() for name in "qkv")
    return fn(q, k, v, None if mask is None else mask.clone())


def attention_value(fn, inputs):
    return both(attend(fn, inputs, inputs.get("mask")))


def attention_any_rank(fn, inputs):
    return attention_value(fn, inputs) | both(attend(fn, inputs, of=" alone"), " without a batch")


def attention_masked(fn, inputs):
    found = {}
    for name in ("mask", "mask for all", "mask of keys"):
        found |= both(attend(fn, inputs, inputs[name]), f" with {name}")
    return found


def attention_gradient(fn, inputs):
    leaves = {name: leaf(inputs[name]) for name in "qkv"}
    return gradients(both(attend(fn, leaves, inputs["mask"]))["output"], **leaves)


def attention_hidden_keys(fn, inputs):
    return {"weights of hidden keys": both(attend(fn, inputs, inputs["mask"]))["weights"][..., HIDDEN]}


SCALED_DOT_PRODUCT_ATTENTION = Exercise(
    name="scaled_dot_product_attention",
    module="cs_vl.nn.attention",
    stages=(
        Stage(name="no mask", points=2, case=attention_case(3), probe=attention_value),
        Stage(
            name="any leading dimensions",
            points=0.5,
            case=with_and_without_batch,
            probe=attention_any_rank,
            hint="q, k and v come with two leading dimensions here, and with none: count axes from the end.",
        ),
        Stage(
            name="huge scores",
            points=0.5,
            case=huge_scores,
            probe=attention_value,
            rtol=1e-3,
            hint="All scores of a query are near 1000 here, or near -1000: can exp overflow, or a sum be 0?",
        ),
        Stage(
            name="boolean mask",
            points=1,
            cases=1,
            case=boolean_case,
            probe=attention_masked,
            hint="True lets a query look at a key; a mask broadcasts to the shape of the scores.",
        ),
        Stage(
            name="additive mask",
            points=1,
            case=additive_case,
            probe=attention_value,
            hint="A floating point mask is added to the scaled scores: 0 changes nothing, -inf hides a key.",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=0.5,
            case=boolean_case,
            probe=attention_gradient,
            needs=("boolean mask",),
        ),
        Stage(
            name="hidden keys get exactly 0",
            kind="property",
            points=0.5,
            case=hidden_case,
            probe=attention_hidden_keys,
            needs=("boolean mask",),
            atol=0,
            hint="What stands at a masked score must be so low that its exponential is exactly 0.",
        ),
    ),
)

# --- many heads ----------------------------------------------------------------------------------------


def multi_head_case(context=True, masks=False, **init):
    """x and a context of another length, every dimension different."""

    def case(rng):
        batch, queries, keys, dim, heads = 3, 5, 7, 8, 2
        arguments = {"dim": dim, "heads": heads, **init}
        inputs = {
            "init": arguments,
            "params": parameters(rng, MultiHeadAttention(**arguments)),
            "x": normal(rng, batch, queries, dim),
        }
        if context:
            inputs["context"] = normal(rng, batch, keys, init.get("context_dim", dim))
        if masks:
            inputs["mask"] = boolean_mask(rng, batch, 1, queries, keys, hidden=3)
            inputs["mask of each head"] = boolean_mask(rng, batch, heads, queries, keys, hidden=2)
            inputs["additive mask"] = additive_mask(rng, queries, keys)
            inputs["mask of x itself"] = boolean_mask(rng, batch, 1, queries, queries, hidden=3)
        return inputs

    return case


def multi_head_value(cls, inputs):
    module = build(cls, inputs["init"], inputs["params"])
    return both(module(inputs["x"], inputs.get("context"), None))


def multi_head_masked(cls, inputs):
    module, found = build(cls, inputs["init"], inputs["params"]), {}
    for name in ("mask", "mask of each head", "additive mask"):
        result = module(inputs["x"].clone(), inputs["context"].clone(), inputs[name])
        found |= both(result, f" with {name}")
    return found | both(module(inputs["x"].clone(), mask=inputs["mask of x itself"]), " in self-attention")


def multi_head_gradient(cls, inputs):
    """With a context, and without, where x is queries, keys and values at once."""
    module = build(cls, inputs["init"], inputs["params"])
    x, context = leaf(inputs["x"]), leaf(inputs["context"])
    output = both(module(x.clone(), context.clone(), None))["output"]
    alone = both(module(x.clone(), None, None))["output"]
    return {
        **gradients(output, x=x, context=context, **dict(module.named_parameters())),
        **gradients(alone, **{"x in self-attention": x}),
    }


MULTI_HEAD_ATTENTION = Exercise(
    name="MultiHeadAttention",
    module="cs_vl.nn.attention",
    builds_on=("scaled_dot_product_attention",),
    stages=(
        Stage(name="self-attention", points=3, case=multi_head_case(context=False), probe=multi_head_value),
        Stage(name="cross-attention", points=1.5, case=multi_head_case(), probe=multi_head_value),
        Stage(
            name="context_dim and head_dim of their own",
            points=1,
            case=multi_head_case(context_dim=9, head_dim=6, bias=False),
            probe=multi_head_value,
            hint="A head is `self.head_dim` wide, whatever dim // heads is; and there are no biases here.",
        ),
        Stage(
            name="masks",
            points=1,
            cases=1,
            case=multi_head_case(masks=True),
            probe=multi_head_masked,
            hint="Hand the mask on as it is; where you use it yourself, True lets a query look.",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=0.5,
            case=multi_head_case(),
            probe=multi_head_gradient,
            needs=("self-attention", "cross-attention"),
        ),
    ),
)

EXERCISES = (SCALED_DOT_PRODUCT_ATTENTION, MULTI_HEAD_ATTENTION)
