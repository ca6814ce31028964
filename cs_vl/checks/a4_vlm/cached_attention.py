"""Checks of a decoder's attention: positions, shared keys, masks and the cache.

All is float32, gradients too.  A cache is made in the probe, from tensors, and holds more room than it needs:
what has not been filled yet is large, so that whoever looks at it shows.
"""

import torch

from cs_vl.checks.probes import build, gradients, leaf, normal, parameters
from cs_vl.checks.spec import Exercise, Stage
from cs_vl.nn.cached_attention import CachedAttention
from cs_vl.nn.kv_cache import LayerCache

BATCH, NEW, HEAD_DIM = 2, 5, 4
ALONE = {"dim": 12, "heads": 3, "rotary_base": None}  # no rotation: what is judged there is something else
ROTARY = {"dim": 12, "heads": 3, "rotary_base": 50.0}
SHARED = {"dim": 24, "heads": 6, "kv_heads": 2, "rotary_base": None}
LLAMA = {**SHARED, "rotary_base": 10000.0}
PAST, ROOM = 4, 20  # tokens in a cache, and how many fit
PIECES = (2, 1, 3)  # sizes of the pieces in which a text is read


def tokens(rng, init, new=NEW):
    return {
        "init": init,
        "params": parameters(rng, CachedAttention(**init)),
        "x": normal(rng, BATCH, new, init["dim"]),
        "positions": torch.arange(new),
    }


def forwards(rng, *shape):
    """Positions that grow, by steps of 1 to 4."""
    return torch.from_numpy(rng.integers(1, 5, shape)).cumsum(-1)


def visible(rng, *leading, new=NEW, past=0):
    """A boolean mask that is not causal; each token sees itself, and none sees all."""
    mask = torch.from_numpy(rng.random((*leading, new, past + new)) < 0.5)
    mask[..., 0, past + new - 1] = True
    itself = torch.eye(past + new, dtype=torch.bool)
    return (mask | itself[past:]) & ~itself.roll(2, dims=1)[past:]


def plain(init):
    return lambda rng: tokens(rng, init)


def rotary(rng):
    return {
        **tokens(rng, ROTARY),
        "positions": forwards(rng, NEW),
        "positions of each text": forwards(rng, BATCH, NEW),
        "positions in no order": forwards(rng, NEW)[torch.from_numpy(rng.permutation(NEW))],
    }


def masks(rng):
    return {
        **tokens(rng, ALONE),
        "mask": visible(rng, BATCH, 1),
        "mask for all": visible(rng, 1, 1),
        "mask of each head": visible(rng, BATCH, ALONE["heads"]),
    }


def in_pieces(init):
    def case(rng):
        kv_heads = init.get("kv_heads", init["heads"])
        return {
            **tokens(rng, init, sum(PIECES)),
            "old keys": normal(rng, BATCH, kv_heads, PAST, HEAD_DIM),
            "old values": normal(rng, BATCH, kv_heads, PAST, HEAD_DIM),
            "first": int(rng.integers(3, 30)),  # position of the first new token: nobody's place in the cache
        }

    return case


def llama(rng):
    """Left-padded texts that go on: each has positions of its own."""
    inputs = in_pieces(LLAMA)(rng)
    inputs["x"] = inputs["x"][:, :NEW]
    inputs["positions"] = torch.from_numpy(rng.permutation([1, 3]))[:, None] + torch.arange(NEW)
    inputs["mask"] = visible(rng, BATCH, 1, past=PAST)
    return inputs


# --- probes --------------------------------------------------------------------------------------------


def make(cls, inputs):
    return build(cls, inputs["init"], inputs["params"])


def value(cls, inputs):
    return {"output": make(cls, inputs)(inputs["x"], inputs["positions"])}


def value_rotary(cls, inputs):
    attn = make(cls, inputs)
    return {
        f"output with {name}": attn(inputs["x"].clone(), inputs[name])
        for name in ("positions", "positions of each text", "positions in no order")
    }


def value_masked(cls, inputs):
    attn = make(cls, inputs)
    return {
        f"output with {name}": attn(inputs["x"].clone(), inputs["positions"], inputs[name].clone())
        for name in ("mask", "mask for all", "mask of each head")
    }


def cache_of(inputs, old):
    """A cache of the old tokens, or an empty one."""
    keys, values = inputs["old keys"], inputs["old values"]
    cache = LayerCache(*(torch.full((*x.shape[:2], ROOM, HEAD_DIM), 9.0) for x in (keys, values)))
    if old:
        cache.append(keys, values)
    return cache


def contents(cache, of=""):
    return {
        f"number of tokens in the cache{of}": cache.length,
        f"keys in the cache{of}": cache.keys[:, :, : cache.length],
        f"values in the cache{of}": cache.values[:, :, : cache.length],
    }


@torch.no_grad()
def value_in_pieces(cls, inputs):
    """After old tokens, and from an empty cache on."""
    attn, found = make(cls, inputs), {}
    for old, of in ((True, ""), (False, " that was empty")):
        cache = cache_of(inputs, old)
        places = inputs["positions"] + inputs["first"]
        for i, (x, positions) in enumerate(
            zip(inputs["x"].split(PIECES, dim=1), places.split(PIECES), strict=True)
        ):
            found[f"output of piece {i}, with a cache{of}"] = attn(x.clone(), positions, None, cache)
        found |= contents(cache, of)
    return found


@torch.no_grad()
def value_llama(cls, inputs):
    cache = cache_of(inputs, old=True)
    output = make(cls, inputs)(inputs["x"], inputs["positions"], inputs["mask"], cache)
    return {"output": output, **contents(cache)}


def gradient(cls, inputs):
    attn, x = make(cls, inputs), leaf(inputs["x"])
    return gradients(attn(x.clone(), inputs["positions"]), x=x, **dict(attn.named_parameters()))


CACHE_HINT = (
    "What `append` returns are the keys and values of all tokens so far; it is called once a forward pass."
)

CACHED_ATTENTION = Exercise(
    name="CachedAttention",
    module="cs_vl.nn.cached_attention",
    builds_on=("rotary_embed",),
    stages=(
        Stage(
            name="a whole text",
            points=2,
            case=plain({**ALONE, "bias": True}),
            probe=value,
            hint="There is no mask here: each token sees itself and those before it.",
        ),
        Stage(
            name="rotary positions",
            points=1.5,
            cases=1,
            case=rotary,
            probe=value_rotary,
            hint="Queries and keys turn, by `positions` and with `self.rotary_base`; values don't.",
        ),
        Stage(
            name="fewer heads of keys and values",
            points=1.5,
            case=plain(SHARED),
            probe=value,
            hint="Neighbouring query heads share a key head: 0, 1, 2 the first, and 3, 4, 5 the second.",
        ),
        Stage(
            name="masks",
            points=1,
            cases=1,
            case=masks,
            probe=value_masked,
            hint="True = may look; where a mask is given, it alone says who sees whom.",
        ),
        Stage(
            name="a cache", points=1.5, cases=1, case=in_pieces(ALONE), probe=value_in_pieces, hint=CACHE_HINT
        ),
        Stage(
            name="a cache of rotated keys",
            points=0.5,
            cases=1,
            case=in_pieces(ROTARY),
            probe=value_in_pieces,
            hint="Keys are rotated once, by their own positions, and go into the cache as they are then.",
        ),
        Stage(
            name="everything at once, as in Llama",
            points=0.5,
            cases=1,
            case=llama,
            probe=value_llama,
            hint="Fewer key heads, rotation, a mask and a cache meet here.",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=0.5,
            cases=1,
            case=plain({**LLAMA, "bias": True}),
            probe=gradient,
            needs=("a whole text", "rotary positions", "fewer heads of keys and values"),
        ),
    ),
)

EXERCISES = (CACHED_ATTENTION,)
