"""Checks of SigLIP: the whole matrix at once, and in chunks under a cap of memory.

Numbers are float32: an answer may hold its labels, or what it adds up, in a plain `torch.zeros`.
"""

import torch
import torch.nn.functional as F

from cs_vl.checks.a2_clip.by_hand import pairs
from cs_vl.checks.memory import MemoryMeter
from cs_vl.checks.probes import gradients, leaf, number
from cs_vl.checks.spec import Exercise, Stage

ARGUMENTS = ("images", "texts", "scale", "bias")


def features(rng, batch, dim):
    """Pairs of length 1, each somewhat alike."""
    images, texts = (torch.from_numpy(x).float() for x in pairs(rng, batch, dim))
    return {"images": images, "texts": texts}


def siglip_case(batch, dim):
    def case(rng):
        return {
            **features(rng, batch, dim),
            "scale": torch.tensor(rng.uniform(2, 4), dtype=torch.float32),
            "bias": torch.tensor(rng.uniform(-1.5, -0.5), dtype=torch.float32),
        }

    return case


# --- the whole matrix ----------------------------------------------------------------------------------


def other_batches(rng):
    """A batch that is larger than its width, and one pair alone; plain numbers for scale and bias."""
    alone = features(rng, 1, 3)
    return {
        **features(rng, 7, 3),
        **{f"{name} alone": x for name, x in alone.items()},
        "scale": float(rng.uniform(2, 4)),
        "bias": float(rng.uniform(-1.5, -0.5)),
    }


def huge_logits(rng):
    """Logits of both signs up to about 200, for right pairs and for wrong ones."""
    signs = rng.choice([-0.5, 0.5], (2, 5, 4))  # of length 1
    signs[1, 0], signs[1, 1], signs[1, 3] = signs[0, 0], -signs[0, 1], signs[0, 2]
    images, texts = torch.from_numpy(signs).float()
    return {
        "images": images,
        "texts": texts,
        "scale": torch.tensor(float(rng.integers(150, 250))),
        "bias": torch.tensor(float(rng.integers(-12, -6))),
    }


def loss_value(fn, inputs):
    return {"loss": number(fn(*(inputs[name] for name in ARGUMENTS)))}


def loss_of_other_batches(fn, inputs):
    alone = inputs["images alone"], inputs["texts alone"], inputs["scale"], inputs["bias"]
    return loss_value(fn, inputs) | {"loss of one pair": number(fn(*alone))}


def loss_gradients(fn, inputs):
    """By features as they are before the caller normalises them, so that doing so again is no mistake."""
    leaves = {name: leaf(inputs[name]) for name in ARGUMENTS}
    images, texts = (F.normalize(leaves[name], dim=1) for name in ("images", "texts"))
    loss = fn(images, texts, leaves["scale"], leaves["bias"])
    if not isinstance(loss, torch.Tensor):  # a plain number: nothing hangs on it
        loss = torch.zeros(())
    return gradients(loss, **leaves)


SIGLIP_LOSS = Exercise(
    name="siglip_loss",
    module="cs_vl.losses.siglip",
    stages=(
        Stage(
            name="loss",
            points=2.5,
            case=siglip_case(5, 4),
            probe=loss_value,
            hint="A sum over all B^2 pairs, divided by B; z is 1 for a right pair and -1 for a wrong one.",
        ),
        Stage(
            name="other batches, plain numbers",
            points=0.5,
            case=other_batches,
            probe=loss_of_other_batches,
            hint="The batch is larger than the width here, or a single pair; scale and bias are numbers.",
        ),
        Stage(
            name="huge logits",
            points=1,
            case=huge_logits,
            probe=loss_value,
            hint="Logits lie near 200 and -200 here: a right pair at -200 costs 200.",
        ),
        Stage(
            name="gradient",
            kind="gradient",
            points=1.5,
            case=siglip_case(5, 4),
            probe=loss_gradients,
            hint="It should reach both sides' features, the scale and the bias.",
        ),
        Stage(
            name="gradient at huge logits",
            kind="gradient",
            points=0.5,
            case=huge_logits,
            probe=loss_gradients,
            needs=("huge logits",),
            hint="Is an exponential infinite on the way, even where its branch is not taken?",
        ),
    ),
)


# --- in chunks -----------------------------------------------------------------------------------------

CHUNKED_RESULTS = ("loss", *(f"gradient of {name}" for name in ARGUMENTS))
MANY, CHUNK = 400, 8  # for the cap: chunks so small that an answer may hold a dozen of them, in float64 too
CAP = 0.95 * MANY * MANY * 4  # bytes: a little less than the B x B logits take, in float32


def chunked_case(*sizes, batch=6, dim=4):
    return lambda rng: {**siglip_case(batch, dim)(rng), "chunk sizes": list(sizes)}


def with_huge_logits(*sizes, batch):
    return lambda rng: {**chunked_case(*sizes, batch=batch)(rng), "huge": huge_logits(rng)}


def chunked(fn, inputs, size):
    """All that it returns, by name; a loss or scalar gradient may be of any kind of number."""
    result = fn(*(inputs[name].clone() for name in ARGUMENTS), size)
    loss, grads = result if isinstance(result, tuple | list) and len(result) == 2 else (result, ())
    found = [loss, *(grads if isinstance(grads, tuple | list) else [grads])]
    scalars = ("loss", "gradient of scale", "gradient of bias")
    named = dict(zip(CHUNKED_RESULTS, found, strict=False))
    return {name: number(x) if name in scalars else x for name, x in named.items()}


def chunked_part(*names):
    def probe(fn, inputs):
        (size,) = inputs["chunk sizes"]
        return {name: x for name, x in chunked(fn, inputs, size).items() if name in names}

    return probe


def chunked_in_sizes(fn, inputs):
    return {
        f"{name} in chunks of {size}": x
        for size in inputs["chunk sizes"]
        for name, x in chunked(fn, inputs, size).items()
    } | {f"{name} at huge logits": x for name, x in chunked(fn, inputs["huge"], 2).items()}


def chunked_under_cap(fn, inputs):
    """Whether memory stays low, and enough numbers to see that it is the same function."""
    (size,) = inputs["chunk sizes"]
    batch = len(inputs["images"])
    with MemoryMeter() as meter:
        found = chunked(fn, inputs, size)
    return {
        "a tensor has room for all B x B pairs": meter.largest >= batch * batch,  # of one byte each
        "memory at a time stays below that of B x B logits": meter.peak <= CAP,
        "loss": found["loss"],
        **{f"some of the {name}": found[name][::64] for name in ("gradient of images", "gradient of texts")},
    }


def chunked_leaves_alone(fn, inputs):
    """What must be as before, for arguments that collect a gradient, hang on a graph, or do neither."""
    (size,) = inputs["chunk sizes"]
    leaves, towers, plain = ([inputs[name].clone() for name in ARGUMENTS] for _ in range(3))
    for x in leaves + towers:
        x.requires_grad_().grad = torch.full_like(x, 7.0)
    loss, grads = fn(*leaves, size)
    fn(*(tower.clone() for tower in towers), size)
    fn(*plain, size)
    return {
        "the loss requires a gradient": getattr(loss, "requires_grad", False),
        "the gradients require a gradient": any(getattr(x, "requires_grad", False) for x in grads),
        ".grad of the arguments": [x.grad if x.grad is None else x.grad.sum().item() for x in leaves],
        ".grad of what the arguments come from": [
            x.grad if x.grad is None else x.grad.sum().item() for x in towers
        ],
        "arguments require a gradient that did not": any(x.requires_grad for x in plain),
    }


SIGLIP_CHUNKED = Exercise(
    name="siglip_chunked",
    module="cs_vl.losses.siglip_chunked",
    stages=(
        Stage(
            name="loss",
            points=2,
            case=chunked_case(2),
            probe=chunked_part("loss"),
            hint="It is the sum of what the chunks contribute: the same number as without chunks.",
        ),
        Stage(
            name="gradients of the features",
            points=2,
            case=chunked_case(2),
            probe=chunked_part("gradient of images", "gradient of texts"),
            hint="With chunks of texts, every chunk adds to the gradient of every image.",
        ),
        Stage(
            name="gradients of scale and bias",
            points=1,
            case=chunked_case(2),
            probe=chunked_part("gradient of scale", "gradient of bias"),
            hint="Every chunk adds to both.",
        ),
        Stage(
            name="chunks that do not divide the batch, huge logits",
            points=1,
            case=with_huge_logits(3, 1, 7, 10, batch=7),
            probe=chunked_in_sizes,
            cases=1,
            hint="There are 7 pairs here, in chunks of 3, 1, 7 and 10: the last may be smaller.  Then logits "
            "lie near 200 and -200.",
        ),
        Stage(
            name="below the memory of B x B logits",
            kind="property",
            points=2,
            case=chunked_case(CHUNK, batch=MANY, dim=3),
            probe=chunked_under_cap,
            cases=1,
            needs=("loss", "gradients of the features"),
            rtol=1e-3,
            hint=f"With B = {MANY} and chunks of {CHUNK}, all that is alive at a time must take less "
            "than B x B logits do: finish a chunk, its gradients too, before you begin the next.",
        ),
        Stage(
            name="the arguments are left as they are",
            kind="property",
            points=1,
            case=chunked_case(2),
            probe=chunked_leaves_alone,
            cases=1,
            needs=("loss", "gradients of the features"),
            hint="Work on detached copies, and return tensors that hang on no graph.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (SIGLIP_LOSS, SIGLIP_CHUNKED)
