"""Checks of zero-shot classification: probabilities of classes, and a class from many prompts."""

import zlib

import numpy as np
import torch
import torch.nn.functional as F

from cs_vl.checks.probes import normal
from cs_vl.checks.spec import Exercise, Stage

# --- zero_shot_classify --------------------------------------------------------------------------------


def classes_case(scale, images=4, near=False):
    """Features on the unit sphere; `near`: each image lies close to a class, as after training."""

    def case(rng):
        classes, dim = 7, 5
        class_embeddings = F.normalize(normal(rng, classes, dim))
        image_features = normal(rng, images, dim)
        if near:
            image_features = class_embeddings[rng.integers(classes, size=images)] + 0.1 * image_features
        return {
            "image_features": F.normalize(image_features),
            "class_embeddings": class_embeddings,
            "scale": scale + float(rng.random()),
            "order": torch.from_numpy(rng.permutation(classes)),
        }

    return case


def classify(fn, inputs):
    images, classes = inputs["image_features"], inputs["class_embeddings"]
    return {"probabilities": fn(images.clone(), classes.clone(), inputs["scale"])}


def classify_at_clips_scale(fn, inputs):
    images, classes = inputs["image_features"], inputs["class_embeddings"]
    scale = torch.tensor(inputs["scale"])
    return {"probabilities at a scale near 100": fn(images.clone(), classes.clone(), scale)}


def classify_one_by_one(fn, inputs):
    images, classes, scale = (inputs[name] for name in ("image_features", "class_embeddings", "scale"))
    return {
        f"probabilities of image {i} alone": fn(images[i : i + 1].clone(), classes.clone(), scale)
        for i in range(len(images))
    }


def classify_reordered(fn, inputs):
    """The classes in another order, and the columns put back in the first one."""
    order, classes = inputs["order"], inputs["class_embeddings"][inputs["order"]]
    reordered = torch.as_tensor(fn(inputs["image_features"].clone(), classes, inputs["scale"]))
    fits = reordered.shape == (len(inputs["image_features"]), len(classes))
    return {"probabilities of reordered classes": reordered[:, order.argsort()] if fits else reordered}


ZERO_SHOT_CLASSIFY = Exercise(
    name="zero_shot_classify",
    module="cs_vl.tasks.zero_shot",
    stages=(
        Stage(name="probabilities", points=2, case=classes_case(3.0), probe=classify),
        Stage(
            name="CLIP's own scale",
            points=1,
            case=classes_case(99.0, near=True),
            probe=classify_at_clips_scale,
            hint="exp(90) is more than float32 can hold: torch's softmax subtracts each row's largest first.",
        ),
        Stage(
            name="one image at a time",
            kind="property",
            points=1,
            case=classes_case(3.0, images=3),
            probe=classify_one_by_one,
            hint="An image's probabilities do not depend on which others stand beside it.",
        ),
        Stage(
            name="classes in another order",
            kind="property",
            points=1,
            case=classes_case(5.0),
            probe=classify_reordered,
            hint="Column c is class c: with the classes in another order, the columns are, too.",
        ),
    ),
)


# --- prompt_ensemble -----------------------------------------------------------------------------------

DIM = 6
NAMES = ("fox", "red heart", "cat face", "umbrella", "snail", "violin", "crab", "cloud with rain")
TEMPLATES = (
    "a drawing of a {}.",
    "{}",
    "a flat, glossy {} without a background",
    "{}, the emoji",
    "an icon: {}!",
    "my {} is here",
)


def toy_encoder(seed):
    """A deterministic encoder: each text has a direction of its own, and a length (norm) of its own.

    Which texts stand beside it in a call makes no difference.
    """

    def encode_text(texts):
        if isinstance(texts, str):
            raise TypeError(f"encode_text takes a list of texts; got one text: [{texts!r}] would be a list")
        rows = []
        for text in texts:
            rng = np.random.default_rng([seed, zlib.crc32(text.encode())])
            # Directions have much in common, as a real tower's do.
            rows.append((1 + rng.standard_normal(DIM)) * np.exp(rng.uniform(-2, 2)))
        return torch.from_numpy(np.array(rows).reshape(-1, DIM)).float()

    return encode_text


def prompts_case(classes, prompts):
    def case(rng):
        return {
            "encoder": int(rng.integers(2**31)),
            "names": [str(name) for name in rng.choice(NAMES, classes, replace=False)],
            "templates": [str(template) for template in rng.choice(TEMPLATES, prompts, replace=False)],
        }

    return case


def ensemble(fn, inputs):
    names, templates = list(inputs["names"]), list(inputs["templates"])
    return {"embeddings": fn(toy_encoder(inputs["encoder"]), names, templates)}


def ensemble_class_by_class(fn, inputs):
    encode_text, templates = toy_encoder(inputs["encoder"]), inputs["templates"]
    return {
        f"embedding of {name!r} alone": fn(encode_text, [name], list(templates)) for name in inputs["names"]
    }


def ensemble_backwards(fn, inputs):
    """The templates in another order: no difference.  The names in another order: so are the rows."""
    encode_text, names, templates = toy_encoder(inputs["encoder"]), inputs["names"], inputs["templates"]
    return {
        "embeddings, templates reversed": fn(encode_text, list(names), templates[::-1]),
        "embeddings, names reversed": fn(encode_text, names[::-1], list(templates)),
    }


PROMPT_ENSEMBLE = Exercise(
    name="prompt_ensemble",
    module="cs_vl.tasks.zero_shot",
    stages=(
        Stage(
            name="one template",
            points=1,
            case=prompts_case(5, 1),
            probe=ensemble,
            hint="With one template a class's embedding is that of its prompt, scaled to length 1.",
        ),
        Stage(
            name="several templates",
            points=3,
            case=prompts_case(5, 3),
            probe=ensemble,
            hint="Scale each prompt to length 1, average those of a class, and scale to length 1 again.",
        ),
        Stage(
            name="one class at a time",
            kind="property",
            points=1,
            case=prompts_case(3, 4),
            probe=ensemble_class_by_class,
            needs=("several templates",),
            hint="A class's embedding does not depend on which other classes there are.",
        ),
        Stage(
            name="other orders",
            kind="property",
            points=1,
            case=prompts_case(4, 3),
            probe=ensemble_backwards,
            needs=("several templates",),
            hint="The order of the templates makes no difference; the rows come in the order of the names.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (ZERO_SHOT_CLASSIFY, PROMPT_ENSEMBLE)
