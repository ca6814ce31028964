"""Checks of Flamingo's parts: the resampler, gated cross-attention and the mask between them.

All is float32, gradients too: an answer may hold its scores in a plain `torch.zeros`.
"""

import torch

from cs_vl.checks.probes import build, gradients, leaf, normal, parameters
from cs_vl.checks.spec import Exercise, Stage
from cs_vl.nn.gated_cross_attention import GatedCrossAttention
from cs_vl.nn.resampler import PerceiverResampler

RTOL, ATOL = 1e-3, 1e-4  # gradients of up to 10, summed in float32 in another order, differ by some 1e-5

# --- the resampler -----------------------------------------------------------------------------------


def resampler_case(**init):
    """Three images of 7 tokens, to be summed up in 4."""

    def case(rng):
        arguments = {"dim": 10, "depth": 1, "heads": 2, "latents": 4, "mlp_dim": 9, **init}
        params = parameters(rng, PerceiverResampler(**arguments), scale=0.4)
        params["latents"] = 0.7 + 1.5 * normal(rng, *params["latents"].shape)
        return {"init": arguments, "params": params, "media": 0.5 + 2 * normal(rng, 3, 7, arguments["dim"])}

    return case


def resampler_value(cls, inputs):
    return {"output": build(cls, inputs["init"], inputs["params"])(inputs["media"])}


def resampler_invariance(cls, inputs):
    """The tokens in another order, and one image without the others, after the rest has been seen."""
    resampler, media = build(cls, inputs["init"], inputs["params"]), inputs["media"]
    return {
        "output, tokens in another order": resampler(media.flip(1)),
        "output of one image alone": resampler(media[1:2].clone()),
        "output of fewer tokens": resampler(media[:, :3].clone()),
    }


def resampler_gradient(cls, inputs):
    resampler, media = build(cls, inputs["init"], inputs["params"]), leaf(inputs["media"])
    return gradients(resampler(media), media=media, **dict(resampler.named_parameters()))


PERCEIVER_RESAMPLER = Exercise(
    name="PerceiverResampler",
    module="cs_vl.nn.resampler",
    stages=(
        Stage(
            name="one block",
            points=3,
            case=resampler_case(),
            probe=resampler_value,
            rtol=RTOL,
            atol=ATOL,
            hint="Which tensors are normalised, and by which norm? From where does each residual start?",
        ),
        Stage(
            name="several blocks",
            points=2,
            case=resampler_case(depth=3, head_dim=6, activation="relu"),
            probe=resampler_value,
            rtol=RTOL,
            atol=ATOL,
            hint="Each block has weights of its own and goes on from the latents of the one before; "
            "the media stay as they came.",
        ),
        Stage(
            name="each image by itself, its tokens in any order and number",
            kind="property",
            points=1,
            cases=1,
            case=resampler_case(depth=2),
            probe=resampler_invariance,
            rtol=RTOL,
            atol=ATOL,
            needs=("one block", "several blocks"),
            hint="Every image starts from the same latents; attention does not know the order of its keys.",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=2,
            cases=1,
            case=resampler_case(depth=2),
            probe=resampler_gradient,
            rtol=RTOL,
            atol=ATOL,
            needs=("one block", "several blocks"),
            hint="Gradients go through every block to the media and to the latents, which are learned, too.",
        ),
    ),
)

# --- gated cross-attention ---------------------------------------------------------------------------

BATCH, LENGTH, IMAGES, LATENTS = 3, 7, 4, 6
UNSEEN = 2  # the image that no token sees


def seen_by_each(rng, blind):
    """One image for each token, in no order; `blind` tokens of each text see none."""
    choices = [i for i in range(IMAGES) if i != UNSEEN]
    seen = torch.from_numpy(rng.choice(choices, (BATCH, LENGTH)))
    mask = seen[..., None] == torch.arange(IMAGES)
    for text in mask:
        text[rng.choice(LENGTH, blind, replace=False)] = False
    return mask


def gated_case(blind=0, **init):
    """Three texts of 7 tokens and 4 images of 6 latents for each, one of which nobody sees."""

    def case(rng):
        arguments = {"dim": 8, "heads": 2, "head_dim": 5, "media_dim": 11, "mlp_dim": 9, **init}
        params = parameters(rng, GatedCrossAttention(**arguments), scale=0.4)
        for name, sign in (("attn_gate", 1), ("mlp_gate", -1)):
            params[name] = torch.full((1,), sign * float(rng.uniform(0.7, 1.3)))
        return {
            "init": arguments,
            "params": params,
            "x": 0.5 + 2 * normal(rng, BATCH, LENGTH, 8),
            "media": 0.3 + normal(rng, BATCH, IMAGES, LATENTS, 11),
            "mask": seen_by_each(rng, blind),
        }

    return case


def build_gated(cls, inputs, **values):
    return build(cls, inputs["init"], {**inputs["params"], **values})


def gated_value(cls, inputs):
    layer = build_gated(cls, inputs)
    return {"output": layer(inputs["x"], inputs["media"], inputs["mask"])}


def gated_leaves_inputs(cls, inputs):
    """The next layer gets the same media and the same mask."""
    given = {name: inputs[name].clone() for name in ("x", "media", "mask")}
    with torch.no_grad():
        build_gated(cls, inputs)(*given.values())
    return {f"{name} is as it was": torch.equal(tensor, inputs[name]) for name, tensor in given.items()}


def gated_shut(cls, inputs):
    """As training starts: nothing comes out that was not put in, yet both gates feel what they keep back."""
    layer = build_gated(cls, inputs, attn_gate=torch.zeros(1), mlp_gate=torch.zeros(1))
    media = leaf(inputs["media"])
    output = layer(inputs["x"].clone(), media, inputs["mask"])
    leaves = {"attn_gate at 0": layer.attn_gate, "mlp_gate at 0": layer.mlp_gate, "media at gates 0": media}
    return {
        "output is x, bit for bit": torch.equal(output, inputs["x"]),
        **gradients(output, **leaves),
    }


def gated_gradient(cls, inputs):
    """x is no leaf, as in a model."""
    layer, x, media = build_gated(cls, inputs), leaf(inputs["x"]), leaf(inputs["media"])
    output = layer(x.clone(), media, inputs["mask"])
    return gradients(output, x=x, media=media, **dict(layer.named_parameters()))


def gated_unseen(cls, inputs):
    """An image that nobody sees may be another, and learns nothing; no image matters where no token sees."""
    layer = build_gated(cls, inputs)
    other = inputs["media"].clone()
    other[:, UNSEEN] *= -2
    media = leaf(other)
    output = layer(inputs["x"].clone(), media, inputs["mask"])
    found = gradients(output, media=media)["gradient of media"]
    all_blind = layer(inputs["x"].clone(), other, torch.zeros_like(inputs["mask"]))
    return {
        "output": output,
        "gradient of the image that nobody sees": None if found is None else found[:, UNSEEN],
        "output where no token sees any image": all_blind,
    }


GATED_CROSS_ATTENTION = Exercise(
    name="GatedCrossAttention",
    module="cs_vl.nn.gated_cross_attention",
    stages=(
        Stage(
            name="every token sees an image",
            points=2,
            case=gated_case(),
            probe=gated_value,
            rtol=RTOL,
            atol=ATOL,
            hint="The keys are (batch, images * latents); each latent has the mask of its image.",
        ),
        Stage(
            name="tokens that see no image",
            points=1.5,
            case=gated_case(blind=3),
            probe=gated_value,
            rtol=RTOL,
            atol=ATOL,
            hint="Some rows of the mask are all False. A softmax over nothing but -inf divides 0 by 0, which "
            "is NaN: let such tokens look at something, then put 0 in place of what attention gives them.",
        ),
        Stage(
            name="the Idefics style",
            points=1,
            case=gated_case(blind=1, style="idefics"),
            probe=gated_value,
            rtol=RTOL,
            atol=ATOL,
            hint="RMSNorm and SwiGLU are in place of layer norm and FeedForward; SwiGLU has no norm "
            "of its own.",
        ),
        Stage(
            name="x, media and mask are left as they were",
            kind="property",
            points=0.5,
            cases=1,
            case=gated_case(blind=1),
            probe=gated_leaves_inputs,
            rtol=RTOL,
            atol=ATOL,
            hint="x += y and mask[rows] = ... change tensors that the caller still holds; x = x + y and "
            "mask.masked_fill(...) make new ones.",
        ),
        Stage(
            name="both gates at 0",
            kind="property",
            points=0.5,
            cases=1,
            case=gated_case(blind=2),
            probe=gated_shut,
            rtol=RTOL,
            atol=ATOL,
            hint="tanh(0) = 0 leaves x as it was, and the gates' own gradients are not 0 there, else they "
            "would never open.",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=1,
            cases=1,
            case=gated_case(blind=2),
            probe=gated_gradient,
            rtol=RTOL,
            atol=ATOL,
            hint="If it is NaN: for tokens that see nothing, NaN in the softmax spoils the gradient even if "
            "you replace it later; it must never arise.",
        ),
        Stage(
            name="what nobody sees changes nothing",
            kind="property",
            points=0.5,
            cases=1,
            case=gated_case(blind=2),
            probe=gated_unseen,
            rtol=RTOL,
            atol=ATOL,
            needs=("every token sees an image", "tokens that see no image"),
            hint="Hidden latents have weights of exactly 0, whatever their scores would be.",
        ),
    ),
)

# --- the mask ----------------------------------------------------------------------------------------


def texts_of(rng, *counts, length, apart):
    """For each count a text with that many `<image>` tokens, apart or side by side; none is the first."""
    is_image = torch.zeros(len(counts), length, dtype=torch.bool)
    for text, count in zip(is_image, counts, strict=True):
        if apart:
            text[rng.choice(length // 2, count, replace=False) * 2 + 1] = True
        else:
            start = int(rng.integers(1, length - count))
            text[start : start + count] = True
    return is_image


def interleaved_case(rng):
    return {"is_image": texts_of(rng, 3, 3, 3, 3, length=12, apart=True), "images": 3}


def fewer_case(rng):
    counts = rng.permutation([4, 2, 1, 0, 3])
    is_image = texts_of(rng, *counts.tolist(), length=11, apart=True)
    return {"is_image": is_image, "images": 5}


def adjacent_case(rng):
    """Images side by side; the first text begins with them, the second ends with them."""
    is_image = texts_of(rng, 3, 3, 3, 2, 3, length=9, apart=False)
    is_image[0], is_image[1] = torch.arange(9) < 3, torch.arange(9) >= 6
    return {"is_image": is_image, "images": 3}


def mask_value(fn, inputs):
    return {"mask": fn(inputs["is_image"], inputs["images"])}


def mask_of_beginnings(fn, inputs):
    """The first tokens alone, of each length: what has been written does not see what will be."""
    is_image, images = inputs["is_image"], inputs["images"]
    lengths = (1, 4, is_image.shape[1] - 1)
    return {f"mask of the first {n} tokens": fn(is_image[:, :n].clone(), images) for n in lengths}


MEDIA_MASK = Exercise(
    name="media_mask",
    module="cs_vl.nn.gated_cross_attention",
    stages=(
        Stage(
            name="text and images in turn",
            points=3,
            case=interleaved_case,
            probe=mask_value,
            hint="How many images have appeared up to a token, its own included? It sees the last of them.",
        ),
        Stage(
            name="texts with fewer images",
            points=1,
            cases=1,
            case=fewer_case,
            probe=mask_value,
            hint="The mask always has a column for each of the `images`; those that a text has not "
            "shown stay False.",
        ),
        Stage(
            name="images side by side",
            points=1,
            cases=1,
            case=adjacent_case,
            probe=mask_value,
            hint="Each <image> token is an image of its own, also directly behind another one.",
        ),
        Stage(
            name="what is still to come changes nothing",
            kind="property",
            points=1,
            cases=1,
            case=interleaved_case,
            probe=mask_of_beginnings,
            hint="A token's row depends on the tokens up to it alone, and on `images`.",
        ),
    ),
)

EXERCISES = (PERCEIVER_RESAMPLER, GATED_CROSS_ATTENTION, MEDIA_MASK)
