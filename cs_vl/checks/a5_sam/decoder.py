"""Checks of SAM's decoder: a two-way block, and the masks that are made of what comes out.

The mask decoder is judged with `Mixer` in the transformer's place, so that nothing hangs on `TwoWayBlock`.
"""

import torch
from torch import nn

from cs_vl.checks.a5_sam.inputs import leaves_inputs
from cs_vl.checks.probes import build, gradients, leaf, normal, pair, parameters
from cs_vl.checks.spec import Exercise, Stage
from cs_vl.models.mask_decoder import MaskDecoder
from cs_vl.nn.two_way import TwoWayBlock

RTOL, ATOL = 1e-3, 1e-4
IMAGES, PROMPTS = 2, 3

# --- the two-way block -------------------------------------------------------------------------------

BLOCK_INPUTS = ("tokens", "pixels", "token_positions", "pixel_positions")


def block_case(shared=False, **init):
    """5 tokens of each prompt, and 7 pixels, of one image for all prompts or of one for each."""

    def case(rng):
        arguments = {"dim": 8, "heads": 2, "mlp_dim": 11, "eps": 1e-2, **init}
        return {
            "init": arguments,
            "params": parameters(rng, TwoWayBlock(**arguments), scale=0.5),
            "tokens": 0.3 + 1.5 * normal(rng, IMAGES, PROMPTS, 5, 8),
            "pixels": 0.5 + 1.5 * normal(rng, IMAGES, 1 if shared else PROMPTS, 7, 8),
            "token_positions": 1.5 * normal(rng, IMAGES, PROMPTS, 5, 8),
            "pixel_positions": 1.5 * normal(rng, 7, 8),
        }

    return case


def run_block(cls, inputs, **other):
    block = build(cls, inputs["init"], inputs["params"])
    return block, pair(block(*(other.get(name, inputs[name]) for name in BLOCK_INPUTS)), "tokens", "pixels")


def block_value(cls, inputs):
    return run_block(cls, inputs)[1]


def block_gradient(cls, inputs):
    """No input is a leaf, as in a model."""
    leaves = {name: leaf(inputs[name]) for name in BLOCK_INPUTS}
    block, found = run_block(cls, inputs, **{name: x.clone() for name, x in leaves.items()})
    both = torch.cat([found["tokens"].flatten(), found["pixels"].flatten()])
    return gradients(both, **leaves, **dict(block.named_parameters()))


TWO_WAY_BLOCK = Exercise(
    name="TwoWayBlock",
    module="cs_vl.nn.two_way",
    stages=(
        Stage(
            name="a later layer",
            points=3,
            case=block_case(),
            probe=block_value,
            rtol=RTOL,
            atol=ATOL,
            hint="For each sublayer: what are queries, keys and values, which of them have positions, and "
            "is the norm after the sum?",
        ),
        Stage(
            name="the first layer",
            points=2,
            case=block_case(first=True),
            probe=block_value,
            rtol=RTOL,
            atol=ATOL,
            hint="Sublayer 1 alone differs: no positions, and nothing is added to what it gives.",
        ),
        Stage(
            name="an image that the prompts share",
            points=2,
            case=block_case(shared=True, first=True, inner_dim=6),
            probe=block_value,
            rtol=RTOL,
            atol=ATOL,
            hint="The pixels come with prompts = 1 and leave with a picture for each prompt: sums and "
            "attentions broadcast.",
        ),
        Stage(
            name="all inputs are left as they were",
            kind="property",
            points=1,
            cases=1,
            case=block_case(),
            probe=leaves_inputs(run_block, BLOCK_INPUTS),
            rtol=RTOL,
            atol=ATOL,
            hint="x += y changes a tensor that the caller still holds; x = x + y makes a new one.",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=2,
            cases=1,
            case=block_case(shared=True),
            probe=block_gradient,
            rtol=RTOL,
            atol=ATOL,
            needs=("a later layer", "an image that the prompts share"),
            hint="Gradients go through all four sublayers, and to both positions.",
        ),
    ),
)

# --- the mask decoder --------------------------------------------------------------------------------

DECODER_INPUTS = ("image", "positions", "sparse", "dense")
DIM, HEIGHT, WIDTH = 16, 2, 3


class Mixer(nn.Module):
    """In place of the transformer: tokens and pixels look at each other once, without weights."""

    def forward(self, tokens, pixels, pixel_positions):
        keys = pixels + pixel_positions
        looks = (tokens @ keys.mT / 4).softmax(dim=-1)
        looked = tokens + looks @ pixels
        return looked, pixels + torch.tanh(keys @ tokens.mT / 4) @ looked / 2


def decoder_case(n=2, dense=(1, 1), multimask=True, **init):
    """Features of 2 x 3, so that height and width cannot be mixed up."""

    def case(rng):
        # No blocks: `Mixer` takes the transformer's place.
        arguments = {"dim": DIM, "heads": 2, "mlp_dim": 5, "depth": 0, "iou_hidden": 7, **init}
        model = MaskDecoder(**arguments)
        model.transformer = Mixer()
        params = parameters(rng, model, scale=0.4)
        params["upscale.1.weight"] += 1  # a norm's
        return {
            "init": arguments,
            "params": params,
            "image": 0.3 + normal(rng, IMAGES, DIM, HEIGHT, WIDTH),
            "positions": normal(rng, DIM, HEIGHT, WIDTH),
            "sparse": normal(rng, IMAGES, PROMPTS, n, DIM),
            "dense": 0.5 + normal(rng, *dense, DIM, HEIGHT, WIDTH),
            "multimask": multimask,
        }

    return case


def run_decoder(cls, inputs, **other):
    decoder = build(cls, inputs["init"], inputs["params"], transformer=Mixer())
    given = (other.get(name, inputs[name]) for name in DECODER_INPUTS)
    return decoder, pair(decoder(*given, multimask=inputs["multimask"]), "masks", "iou")


def decoder_value(cls, inputs):
    return run_decoder(cls, inputs)[1]


def decoder_gradient(cls, inputs):
    leaves = {name: leaf(inputs[name]) for name in DECODER_INPUTS}
    decoder, found = run_decoder(cls, inputs, **{name: x.clone() for name, x in leaves.items()})
    both = torch.cat([found["masks"].flatten(), found["iou"].flatten()])
    # What belongs to the mask that is not chosen gets zeros from one right answer and None from another.
    learned = {k: p for k, p in decoder.named_parameters() if not k.startswith("hypernetworks.0.")}
    return gradients(both, **leaves, **learned)


def decoder_stage(name, points, hint, *, kind="value", probe=decoder_value, cases=2, **case):
    return Stage(
        name=name, kind=kind, points=points, cases=cases, case=decoder_case(**case), probe=probe,
        rtol=RTOL, atol=ATOL, hint=hint,
    )  # fmt: skip


MASK_DECODER = Exercise(
    name="MaskDecoder",
    module="cs_vl.models.mask_decoder",
    stages=(
        decoder_stage(
            "three masks",
            3,
            "Token 0 is the IoU token and token 1 + i is mask token i. Pixels go in row by row, and come "
            "back so.",
        ),
        decoder_stage("one mask", 1, "multimask=False: mask 0 alone, and its IoU.", multimask=False),
        decoder_stage(
            "a mask prompt for each prompt",
            1.5,
            "dense may have images and prompts of its own: what is added then differs from prompt to prompt.",
            dense=(IMAGES, PROMPTS),
            masks=4,
        ),
        decoder_stage("a prompt without tokens", 0.5, "n = 0: the decoder's own tokens are there.", n=0),
        decoder_stage(
            "all inputs are left as they were",
            0.5,
            "x += y changes a tensor that the caller still holds; x = x + y makes a new one.",
            kind="property",
            probe=leaves_inputs(run_decoder, DECODER_INPUTS),
            cases=1,
            dense=(IMAGES, 1),
        ),
        decoder_stage(
            "gradient",
            1.5,
            "Gradients go to the image, to the prompts, and to the decoder's own tokens.",
            kind="gradient",
            probe=decoder_gradient,
            cases=1,
        ),
    ),
)

EXERCISES = (TWO_WAY_BLOCK, MASK_DECODER)
