"""Checks of CLIP and of one step of its training.

Both run with two small towers of torch in place of the transformers, and judge what a case decides: every
number of images, texts, tokens and dimensions is another.
"""

import numbers

import numpy as np
import torch
from torch import nn

from cs_vl.checks.probes import build, gradients, normal, parameters
from cs_vl.checks.spec import Exercise, Stage
from cs_vl.models.clip import CLIP, CLIPOutput
from cs_vl.nn.text import TextOutput
from cs_vl.nn.vit import ViTOutput

CHANNELS, VOCAB = 2, 13


class ImageTower(nn.Module):
    """Stands in for a `ViT`: a pixel is a token."""

    def __init__(self, dim):
        super().__init__()
        self.linear = nn.Linear(CHANNELS, dim)

    def forward(self, images):
        tokens = self.linear(images.flatten(2).mT)
        return ViTOutput(torch.tanh(2 * tokens).sum(1), tokens, (tokens,))


class TextTower(nn.Module):
    """Stands in for a `TextTransformer`: padding is left out, as by its mask."""

    def __init__(self, dim):
        super().__init__()
        self.embed = nn.Embedding(VOCAB, dim)

    def forward(self, ids, lengths=None):
        tokens = self.embed(ids)
        if lengths is None:
            lengths = torch.full(ids.shape[:1], ids.shape[1])
        real = (torch.arange(ids.shape[1]) < lengths[:, None])[..., None]
        return TextOutput(torch.tanh(2 * tokens * real).sum(1), tokens, (tokens,))


def towers(init):
    return {"visual": ImageTower(init["visual_dim"]), "text": TextTower(init["text_dim"])}


def clip_inputs(rng, images, texts, dtype=torch.float32, **init):
    init = {"visual_dim": 7, "text_dim": 6, "embed_dim": 5, **init}
    params = parameters(rng, CLIP(**init, **towers(init)), scale=0.7)
    params["logit_scale"] = 1.2 + 0.3 * params["logit_scale"]
    if "logit_bias" in params:
        params["logit_bias"] = params["logit_bias"] - 1.5
    lengths = 1 + rng.permutation(max(texts, 7))[:texts]
    lengths[0] = 3  # shorter than the longest, whatever else was drawn
    return {
        "init": init,
        "params": {name: value.to(dtype) for name, value in params.items()},
        "images": normal(rng, images, CHANNELS, 2, 3, dtype=dtype),
        "ids": torch.from_numpy(rng.integers(0, VOCAB, (texts, 8))),
        "lengths": torch.from_numpy(lengths),
    }


def build_clip(cls, inputs):
    return build(cls, {**inputs["init"], **towers(inputs["init"])}, inputs["params"])


# --- CLIP --------------------------------------------------------------------------------------------


def clip_case(dtype=torch.float32, **init):
    return lambda rng: clip_inputs(rng, 3, 4, dtype, **init)


def parts(output, of=""):
    """The three parts; where they have no names, what came instead."""
    there = [name for name in CLIPOutput._fields if hasattr(output, name)]
    found = {f"{name}{of}": getattr(output, name) for name in there}
    return {**found, f"parts{of}": there or type(output).__name__}


def clip_images(cls, inputs):
    return parts(build_clip(cls, inputs)(images=inputs["images"]))


def clip_texts(cls, inputs):
    clip = build_clip(cls, inputs)
    return {
        **parts(clip(ids=inputs["ids"], lengths=inputs["lengths"])),
        **parts(clip(ids=inputs["ids"]), " without lengths"),
    }


def clip_both(cls, inputs):
    return parts(build_clip(cls, inputs)(inputs["images"], inputs["ids"], inputs["lengths"]))


def clip_gradient(cls, inputs):
    """Of the logits, in all parameters."""
    clip = build_clip(cls, inputs)
    logits = clip(inputs["images"], inputs["ids"], inputs["lengths"]).logits
    return gradients(logits, **dict(clip.named_parameters()))


CLIP_EXERCISE = Exercise(
    name="CLIP",
    module="cs_vl.models.clip",
    stages=(
        Stage(name="images alone", points=2, case=clip_case(), probe=clip_images),
        Stage(name="texts alone", points=1.5, case=clip_case(), probe=clip_texts),
        Stage(name="logits", points=2, case=clip_case(), probe=clip_both),
        Stage(name="logits with a bias", points=1, case=clip_case(logit_bias=0.0), probe=clip_both),
        Stage(
            name="gradient",
            kind="gradient",
            points=1.5,
            case=clip_case(torch.float64, logit_bias=0.0),
            probe=clip_gradient,
            needs=("logits",),
            hint="Both towers, both projections, logit_scale and logit_bias learn.",
        ),
    ),
)

# --- one step of training ----------------------------------------------------------------------------


def step_case(rng):
    return clip_inputs(rng, 4, 4)


def step_case_with_old_gradients(rng):
    inputs = clip_inputs(rng, 4, 4)
    old = {name: normal(rng, *value.shape) for name, value in inputs["params"].items()}
    return {**inputs, "old gradients": old}


class Momentum:
    """SGD with momentum, as torch.optim has it, whose import would take longer than the whole check."""

    def __init__(self, parameters, lr):
        self.param_groups = [{"params": list(parameters), "lr": lr}]
        self.state = {}

    def zero_grad(self, set_to_none=True):
        for p in self.param_groups[0]["params"]:
            p.grad = None if set_to_none or p.grad is None else torch.zeros_like(p)

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for p in self.param_groups[0]["params"]:
            if p.grad is not None:
                self.state[p] = 0.9 * self.state.get(p, 0.0) + p.grad
                p -= self.param_groups[0]["lr"] * self.state[p]
        return loss


class Trainee:
    """A CLIP and its optimiser, with momentum, which tells one step from two."""

    def __init__(self, inputs, lr=0.1, **changed):
        params = {**inputs["params"], **{name: torch.tensor(value) for name, value in changed.items()}}
        self.inputs = inputs
        self.model = build_clip(CLIP, {**inputs, "params": params})
        self.optimizer = Momentum(self.model.parameters(), lr)
        for name, gradient in inputs.get("old gradients", {}).items():
            self.model.get_parameter(name).grad = gradient

    def step(self, fn, *, lengths=True, **options):
        """The loss that the step returned, as a tensor whether it is one or a number."""
        inputs = self.inputs
        lengths = (inputs["lengths"],) if lengths else ()
        loss = fn(self.model, self.optimizer, inputs["images"], inputs["ids"], *lengths, **options)
        if isinstance(loss, torch.Tensor | np.generic | float | int):
            return torch.as_tensor(loss).detach().squeeze()
        return loss  # of whatever kind: the judge says what it should be

    def parameters(self, when=""):
        return {f"{name}{when}": p.detach().clone() for name, p in self.model.named_parameters()}


def step_once(fn, inputs):
    trainee = Trainee(inputs)
    return {"loss": trainee.step(fn), **trainee.parameters(" after a step")}


def step_without_lengths(fn, inputs):
    trainee = Trainee(inputs)
    return {"loss": trainee.step(fn, lengths=False), **trainee.parameters(" after a step")}


def step_twice(fn, inputs):
    trainee = Trainee(inputs)
    return {
        "first loss": trainee.step(fn),
        "second loss": trainee.step(fn),
        **trainee.parameters(" after two steps"),
    }


def step_clamped(fn, inputs):
    """The scale starts outside its bounds, so far that the step does not bring it back."""
    runs = {
        "too large for max_scale=5": (Trainee(inputs, lr=0.02, logit_scale=2.1), {"max_scale": 5.0}),
        "too large for the default": (Trainee(inputs, lr=1e-3, logit_scale=5.6), {}),
        "too small": (Trainee(inputs, logit_scale=-2.0), {"max_scale": 5.0}),
    }
    found = {}
    for name, (trainee, options) in runs.items():
        trainee.step(fn, **options)
        found[f"logit_scale, {name}"] = trainee.model.logit_scale.detach().clone()
    return found


def step_returns_a_number(fn, inputs):
    trainee = Trainee(inputs)
    loss = fn(trainee.model, trainee.optimizer, inputs["images"], inputs["ids"], inputs["lengths"])
    return {"the loss is a plain number": isinstance(loss, numbers.Real)}


CLIP_TRAIN_STEP = Exercise(
    name="clip_train_step",
    module="cs_vl.train.clip_step",
    builds_on=("info_nce", "clamp_logit_scale", "CLIP"),
    stages=(
        Stage(name="one step", points=2.5, case=step_case, probe=step_once),
        Stage(name="no lengths", points=0.5, cases=1, case=step_case, probe=step_without_lengths),
        Stage(
            name="gradients from before",
            points=1,
            case=step_case_with_old_gradients,
            probe=step_once,
            hint="Gradients are there already when your step begins: they must not count.",
        ),
        Stage(
            name="two steps",
            points=1,
            case=step_case,
            probe=step_twice,
            hint="backward() adds to the gradients that are there.",
        ),
        Stage(
            name="the clamp",
            points=1.5,
            case=step_case,
            probe=step_clamped,
            hint="After the step exp(logit_scale) is at least 1 and at most max_scale.",
        ),
        Stage(
            name="a plain number",
            kind="property",
            points=0.5,
            cases=1,
            case=step_case,
            probe=step_returns_a_number,
            hint="A tensor would keep the whole graph of the step alive: loss.item() lets it go.",
        ),
    ),
)

EXERCISES = (CLIP_EXERCISE, CLIP_TRAIN_STEP)
