"""Checks of the block, patches and the ViT.

Each runs with simple parts of torch in place of what the student wrote before.  All is float32,
gradients too: there are models, such as CLIP, whose norms turn all to float32.
"""

import torch
import torch.nn.functional as F
from torch import nn

from cs_vl.checks.probes import build, gradients, leaf, normal, parameters
from cs_vl.checks.spec import Exercise, Stage
from cs_vl.nn.block import TransformerBlock
from cs_vl.nn.patch_embed import PatchEmbed
from cs_vl.nn.vit import ViT, ViTOutput

# --- the block ---------------------------------------------------------------------------------------


class OneHead(nn.Module):
    """Stands in for `MultiHeadAttention`: takes and returns the same, with one head, by torch."""

    def __init__(self, dim):
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x, context=None, mask=None):
        context = x if context is None else context
        if context.shape[::2] != x.shape[::2]:
            raise ValueError(
                "attn is called as attn(x, context, mask): hand the mask on by its name, mask=mask"
            )
        q, k = x[:, None], context[:, None]
        identity = torch.eye(k.shape[2], dtype=k.dtype).expand(len(k), 1, -1, -1)
        weights = F.scaled_dot_product_attention(q, k, identity, mask)
        return self.linear(F.scaled_dot_product_attention(q, k, k, mask)[:, 0]), weights


def block_case(mask=False, **init):
    def case(rng):
        batch, tokens, dim = 3, 5, 6
        arguments = {"dim": dim, "heads": 2, "mlp_dim": 7, **init}
        block = TransformerBlock(**arguments)
        block.attn = OneHead(dim)
        inputs = {
            "init": arguments,
            "params": parameters(rng, block),
            "x": 1 + 2 * normal(rng, batch, tokens, dim),
            "mask": None,
        }
        if mask:
            inputs["mask"] = torch.from_numpy(rng.random((batch, 1, tokens, tokens)) < 0.5)
            inputs["mask"] |= torch.eye(tokens, dtype=torch.bool)  # everyone sees themselves
            inputs["mask"][..., 1, 3] = False
        return inputs

    return case


def build_block(cls, inputs, **init):
    return build(cls, {**inputs["init"], **init}, inputs["params"], attn=OneHead(inputs["init"]["dim"]))


def both_kinds(cls, inputs):
    return {
        "pre-norm": build_block(cls, inputs, pre_norm=True),
        "post-norm": build_block(cls, inputs, pre_norm=False),
    }


def block_value(cls, inputs):
    return {"output": build_block(cls, inputs)(inputs["x"])}


def block_masked(cls, inputs):
    kinds = both_kinds(cls, inputs).items()
    return {f"{kind} output": block(inputs["x"].clone(), inputs["mask"]) for kind, block in kinds}


def block_leaves_x(cls, inputs):
    kept = []
    for block in both_kinds(cls, inputs).values():
        x = inputs["x"].clone()
        with torch.no_grad():
            block(x)
        kept.append(torch.equal(x, inputs["x"]))
    return {"x is as it was": all(kept)}


def block_gradient(cls, inputs):
    found = {}
    for kind, block in both_kinds(cls, inputs).items():
        x = leaf(inputs["x"])
        leaves = {"x": x, **dict(block.named_parameters())}
        found |= gradients(block(x), **{f"{name} ({kind})": tensor for name, tensor in leaves.items()})
    return found


TRANSFORMER_BLOCK = Exercise(
    name="TransformerBlock",
    module="cs_vl.nn.block",
    stages=(
        Stage(name="pre-norm", points=2, case=block_case(pre_norm=True), probe=block_value),
        Stage(name="post-norm", points=1, case=block_case(pre_norm=False), probe=block_value),
        Stage(name="a mask", points=1, case=block_case(mask=True), probe=block_masked),
        Stage(
            name="x is left as it was",
            kind="property",
            points=0.5,
            cases=1,
            case=block_case(),
            probe=block_leaves_x,
            hint="x += y changes the tensor that the caller still holds; x = x + y makes a new one.",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=0.5,
            cases=1,
            case=block_case(),
            probe=block_gradient,
            needs=("pre-norm", "post-norm"),
        ),
    ),
)

# --- patches -----------------------------------------------------------------------------------------


def patch_case(p, channels, rows, columns, plain=False, **init):
    """`plain`: each patch has one colour, so that the order of the pixels inside does not matter."""

    def case(rng):
        batch, dim = 2, 5
        arguments = {"patch_size": p, "channels": channels, "dim": dim, **init}
        if plain:
            images = normal(rng, batch, 1, rows, columns).repeat_interleave(p, 2).repeat_interleave(p, 3)
            images = images.repeat(1, channels, 1, 1)
        else:
            images = normal(rng, batch, channels, rows * p, columns * p)
        return {
            "init": arguments,
            "params": parameters(rng, PatchEmbed(**arguments)),
            "images": images,
        }

    return case


def patch_value(cls, inputs):
    return {"tokens": build(cls, inputs["init"], inputs["params"])(inputs["images"])}


def patch_gradient(cls, inputs):
    module, images = build(cls, inputs["init"], inputs["params"]), leaf(inputs["images"])
    return gradients(module(images), images=images, **dict(module.named_parameters()))


PATCH_EMBED = Exercise(
    name="PatchEmbed",
    module="cs_vl.nn.patch_embed",
    stages=(
        Stage(name="pixels inside a patch", points=1, case=patch_case(3, 2, 4, 1), probe=patch_value),
        Stage(
            name="patches in reading order",
            points=1,
            case=patch_case(3, 2, 2, 4, plain=True),
            probe=patch_value,
        ),
        Stage(
            name="whole images, without a bias",
            points=1,
            case=patch_case(2, 3, 5, 4, bias=False),
            probe=patch_value,
            hint="With bias=False `self.proj` has none: its `bias` is None.",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=1,
            case=patch_case(2, 3, 2, 3),
            probe=patch_gradient,
        ),
    ),
)

# --- ViT ---------------------------------------------------------------------------------------------


class Patches(nn.Module):
    """Stands in for `PatchEmbed`, with its parts: a convolution whose stride is its kernel's size."""

    def __init__(self, patch_size, channels, dim):
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Linear(channels * patch_size * patch_size, dim)

    def forward(self, images):
        kernel = self.proj.weight.unflatten(1, (-1, self.patch_size, self.patch_size))
        return F.conv2d(images, kernel, self.proj.bias, stride=self.patch_size).flatten(2).mT


class Mixer(nn.Module):
    """Stands in for `TransformerBlock`: every token sees the mean of all."""

    def __init__(self, dim):
        super().__init__()
        self.linear = nn.Linear(dim, dim)

    def forward(self, x, mask=None):
        return x + torch.tanh(self.linear(x + x.mean(1, keepdim=True)))


class WeightedMean(nn.Module):
    """Stands in for `AttentionPool`: tokens that score higher weigh more."""

    def __init__(self, dim):
        super().__init__()
        self.score = nn.Linear(dim, 1)

    def forward(self, tokens, mask=None):
        return (self.score(tokens).softmax(1) * tokens).sum(1)


def vit_parts(init):
    dim = init["dim"]
    return {
        "patch_embed": Patches(init["patch_size"], init["channels"], dim),
        "blocks": nn.ModuleList(Mixer(dim) for _ in range(init["depth"])),
        **({"attention_pool": WeightedMean(dim)} if init["pool"] == "map" else {}),
    }


def vit_case(**init):
    """2 x 3 patches, so 6 or 7 tokens of width 5."""

    def case(rng):
        arguments = {
            "image_size": (4, 6), "patch_size": 2, "channels": 2, "dim": 5, "depth": 2, "heads": 1, **init,
        }  # fmt: skip
        vit = ViT(**arguments)
        for name, part in vit_parts(arguments).items():
            setattr(vit, name, part)
        return {
            "init": arguments,
            "params": parameters(rng, vit, scale=0.6),
            "images": normal(rng, 3, 2, 4, 6),
        }

    return case


def build_vit(cls, inputs):
    return build(cls, inputs["init"], inputs["params"], **vit_parts(inputs["init"]))


def named(output, *names):
    """The parts asked for, and which parts there are; where there is none, what came instead."""
    there = [name for name in ViTOutput._fields if hasattr(output, name)]
    parts = {name: getattr(output, name) for name in names if name in there}
    return {**parts, "parts": there or type(output).__name__}


def vit_tokens(cls, inputs):
    return named(build_vit(cls, inputs)(inputs["images"]), "tokens", "pooled")


def vit_pooled(cls, inputs):
    return named(build_vit(cls, inputs)(inputs["images"]), "pooled")


def vit_hidden_states(cls, inputs):
    result = named(build_vit(cls, inputs)(inputs["images"]), "hidden_states")
    states = result.pop("hidden_states", None)
    states = states if isinstance(states, tuple | list | torch.Tensor) else ()
    numbered = {f"hidden_states[{i}]": state for i, state in enumerate(states)}
    return {**numbered, "number of hidden states": len(states), **result}


def vit_gradient(cls, inputs):
    vit, images = build_vit(cls, inputs), leaf(inputs["images"])
    output = vit(images)
    # Among the layers' tokens are those that LLaVA reads: they are to be learned through, too.
    parts = [output.pooled, output.tokens, *output.hidden_states]
    return gradients(torch.cat([x.flatten() for x in parts]), images=images, **dict(vit.named_parameters()))


VIT = Exercise(
    name="ViT",
    module="cs_vl.nn.vit",
    stages=(
        Stage(name="class token", points=2, case=vit_case(pool="cls"), probe=vit_tokens),
        Stage(name="mean over the patches", points=1, case=vit_case(pool="mean"), probe=vit_pooled),
        Stage(name="attention pooling", points=1, case=vit_case(pool="map"), probe=vit_pooled),
        Stage(
            name="every layer's tokens, with pre_ln",
            points=1,
            case=vit_case(pool="cls", pre_ln=True),
            probe=vit_hidden_states,
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=1,
            cases=1,
            case=vit_case(pool="cls"),
            probe=vit_gradient,
        ),
    ),
)

EXERCISES = (TRANSFORMER_BLOCK, PATCH_EMBED, VIT)
