"""Checks of the data engine: stages, with a model, an annotator and a trainer that are made of words.

A model is a text that tells how it came about, a mask one that tells who made it of what; so a result shows
all that has happened.  How often a model or the annotator is asked the same thing makes no difference.
"""

import copy

from cs_vl.checks.probes import pair
from cs_vl.checks.spec import Exercise, Stage

THINGS = ("fox", "owl", "bus", "pear", "kite", "lion", "peach", "onion", "brush", "watch", "ant", "church")
MANUAL, SEMI, FULL = "assisted-manual", "semi-automatic", "fully-automatic"


def pictures(*stages):
    """Draws a case of such stages, (name, how many images) each, with other images and another model."""

    def case(rng):
        names = [str(name) for name in rng.permutation(THINGS)]
        model, *images = names
        cut = iter(images)
        return {
            "model": f"{model} model",
            "stages": (cut_up := [[stage, [next(cut) for _ in range(count)]] for stage, count in stages]),
            "bare": [images[-1] for _, images in cut_up if len(images) > 1],  # the model sees nothing there
        }

    return case


class Workshop:
    """Who proposes, annotates and trains, and what they have been asked."""

    def __init__(self, bare):
        self.bare = bare
        self.given = []  # (who, what it said, the very list)
        self.asked = []  # of the annotator
        self.trained = []

    def hand_out(self, who, masks):
        self.given.append((who, repr(masks), masks))
        return masks

    def propose(self, model, image):
        parts = ("body", "head", "foot")[: 0 if image in self.bare else 1 + len(image) % 3]
        return self.hand_out("model", [f"{part} of {image}, {model}" for part in parts])

    def annotate(self, model, image, masks):
        if image not in self.asked:
            self.asked.append(image)
        there = " and ".join(str(mask).split()[0] for mask in masks)  # "body and head"
        how = f"by hand with {model}" + (f", beside {there}" if there else "")
        parts = ("eye", "tail")[: 1 + len(image) % 2]
        return self.hand_out("annotator", [f"{part} of {image}, {how}" for part in parts])

    def train(self, model, labelled):
        self.trained.append([model, copy.deepcopy(labelled)])
        return f"{model}+{len(labelled)}"

    def run(self, fn, inputs):
        stages = [(name, list(images)) for name, images in inputs["stages"]]
        result = fn(inputs["model"], stages, propose=self.propose, annotate=self.annotate, train=self.train)
        return pair(result, "model", "labelled")


def label(fn, inputs):
    workshop = Workshop(inputs["bare"])
    return {**workshop.run(fn, inputs), "what train was given": workshop.trained}


def annotator(fn, inputs):
    """Which images the annotator has seen."""
    workshop = Workshop(inputs["bare"])
    workshop.run(fn, inputs)
    return {"images that were annotated": sorted(workshop.asked)}


def left_as_it_was(fn, inputs):
    """Whether each list that was handed out is still what it was."""
    workshop = Workshop(inputs["bare"])
    results = workshop.run(fn, inputs)
    changed = [f"{who}'s: {masks}" for who, before, masks in workshop.given if repr(masks) != before]
    return {**results, "lists that were changed": changed}


def with_another_name(rng):
    others = ["all-manual", "automatic", "semi-manual"]
    return {
        **pictures((MANUAL, 2), (SEMI, 2))(rng),
        "others": [str(name) for name in rng.permutation(others)],
    }


def another_name(fn, inputs):
    """What happens where the second stage has a name of another kind."""
    found = {}
    for other in inputs["others"]:
        first, (_, images) = inputs["stages"]
        try:
            results = Workshop(inputs["bare"]).run(fn, {**inputs, "stages": [first, (other, images)]})
            found |= {f"{name} of “{other}”": value for name, value in results.items()}
            found[f"“{other}” raises"] = "nothing"
        except Exception as error:
            found[f"“{other}” raises"] = (
                "ValueError" if isinstance(error, ValueError) else type(error).__name__
            )
    return found


DATA_ENGINE = Exercise(
    name="data_engine",
    module="cs_vl.tasks.data_engine",
    stages=(
        Stage(
            name="assisted-manual",
            points=1,
            case=pictures((MANUAL, 3)),
            probe=label,
            hint="The annotator starts from nothing, an empty list; once all are labelled, train.",
        ),
        Stage(
            name="semi-automatic",
            points=1.5,
            case=pictures((SEMI, 3)),
            probe=label,
            hint="What the model proposes, then what the annotator, who has seen it, adds.",
        ),
        Stage(
            name="fully-automatic",
            points=1,
            case=pictures((FULL, 3)),
            probe=label,
            hint="What the model proposes is all.",
        ),
        Stage(
            name="stage after stage",
            points=2,
            case=pictures((MANUAL, 2), (SEMI, 3), (SEMI, 2), (FULL, 2)),
            probe=label,
            hint="Each stage has the model that the one before has trained, on all that is labelled so far.",
        ),
        Stage(
            name="what the annotator sees",
            kind="property",
            points=0.5,
            case=pictures((FULL, 3), (SEMI, 2), (FULL, 1), (MANUAL, 3)),
            probe=annotator,
            needs=("fully-automatic",),
            hint="In the fully-automatic stage nobody annotates.",
        ),
        Stage(
            name="what was given stays",
            kind="property",
            points=0.5,
            case=pictures((SEMI, 3), (MANUAL, 2), (FULL, 2)),
            probe=left_as_it_was,
            needs=("semi-automatic",),
            hint="The list that the model has proposed is its own: make a new one of both.",
        ),
        Stage(
            name="a stage of another name",
            kind="property",
            points=0.25,
            case=with_another_name,
            probe=another_name,
            hint="Raise a ValueError.",
        ),
        Stage(
            name="nothing to label",
            kind="property",
            points=0.25,
            case=pictures((FULL, 0), (MANUAL, 2), (SEMI, 0)),
            probe=label,
            hint="A stage without images trains all the same.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (DATA_ENGINE,)
