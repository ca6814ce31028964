"""Checks of instruction data: what a teacher asks of a scene graph, and what it answers.

Lists are compared in any order, several blanks as one.  A scene's things lie on a lattice, so that no
distance is near the margin by accident; one stage puts some exactly there, in numbers without rounding.
"""

import re

from cs_vl.checks.spec import Exercise, Stage
from cs_vl.data.instructions import SceneGraph

# Articles and plurals of all sorts, names of two words, and none that is a part of another.
NAMES = ("fox", "owl", "octopus", "bus", "watch", "ant", "eagle", "church", "lion", "peach", "teddy bear",
         "alarm clock", "pear", "onion", "brush", "kite")  # fmt: skip
STEP = 1 / 32  # of the lattice: 3 steps are within a margin of 0.1, 4 beyond it, and exactly 0.125


def scene(rng, pattern, width=26, margin=0.1):
    """A case with things of a pattern such as "abac": equal letters have equal names.

    Every thing has a column and a row to itself, in a square `width` steps wide: the narrower, the more
    things are within the margin of one another.
    """
    names = [str(name) for name in rng.choice(NAMES, len(set(pattern)) + 2, replace=False)]
    letters = sorted(set(pattern))
    shuffled = [pattern[i] for i in rng.permutation(len(pattern))]
    places = [rng.choice(width, len(pattern), replace=False) for _ in "xy"]
    start = rng.integers(2, 30 - width + 1, 2)
    return {
        "objects": [names[letters.index(letter)] for letter in shuffled],
        "centres": [
            [float(STEP * (start[0] + x)), float(STEP * (start[1] + y))] for x, y in zip(*places, strict=True)
        ],
        "absent": names[len(letters) :],
        "margin": margin,
    }


def counted(rng):
    """One name once, one twice, one three times."""
    return scene(rng, "abbccc")


def apart(rng):
    """Four names once, and one twice; and another margin."""
    return scene(rng, "abcdee", margin=0.2)


def close(rng):
    """Four names once, and one twice, many of them within the margin of one another."""
    return scene(rng, "abcdee", width=11)


def loose(rng):
    """The same, with more room."""
    return scene(rng, "abcdee", width=17)


def beside(rng):
    """Close together, but along one axis one of the two things of a name lies on one side of all the others,
    and along the other axis both do: then two things are there, though of one name."""
    case = scene(rng, "abcdee", width=11)
    single, low, both_low = rng.integers(2, size=3).tolist()
    least = [min(centre[axis] for centre in case["centres"]) for axis in (0, 1)]
    for centre in case["centres"]:  # all into the middle
        centre[:] = [at - lowest + 11 * STEP for at, lowest in zip(centre, least, strict=True)]
    e, other = (i for i, name in enumerate(case["objects"]) if case["objects"].count(name) == 2)
    case["centres"][e][single] = (5 if low else 27) * STEP
    for i, at in ((e, 0), (other, 1)):
        case["centres"][i][1 - single] = ((4 if both_low else 26) + at) * STEP
    # Exactly level with the one that has only `e` on that side: level is on no side.
    unique = [centre[single] for i, centre in enumerate(case["centres"]) if i not in (e, other)]
    case["centres"][other][single] = min(unique) if low else max(unique)
    return case


def compared(rng):
    """Names that occur equally often, more often, less often."""
    return scene(rng, "aabbcd")


def at_the_margin(rng):
    """Things exactly as far apart as the margin, along each axis, and an absent name that is there."""
    case = scene(rng, "abcde", width=11)
    x, y = rng.permutation(5)[:4].tolist(), rng.permutation(5)[:4].tolist()
    case["centres"] = [[0.25 + 0.125 * i, 0.25 + 0.125 * j] for i, j in zip(x, y, strict=True)]
    case["centres"].append([0.0625, 0.90625])
    case["margin"] = 0.125
    case["absent"].insert(1, case["objects"][int(rng.integers(5))])
    return case


def alone(rng):
    return scene(rng, "a")


def tidy(text):
    """A text with single blanks; what is no text stays."""
    return " ".join(text.split()) if isinstance(text, str) else text


def asked(pairs):
    """(question, answer) pairs as sorted texts "question -> answer"."""
    return sorted(f"{tidy(question)} -> {tidy(answer)}" for question, answer in pairs)


def instruct(fn, inputs):
    graph = SceneGraph(tuple(inputs["objects"]), tuple(map(tuple, inputs["centres"])))
    return fn(graph, tuple(inputs["absent"]), inputs["margin"])


def conversation(pattern):
    """A probe of the questions that begin so."""

    def probe(fn, inputs):
        found = asked(instruct(fn, inputs)["conversation"])
        return {"questions and answers": [text for text in found if re.match(pattern, text)]}

    return probe


def description(fn, inputs):
    return {"question and answer": asked(instruct(fn, inputs)["description"])}


def reasoning(fn, inputs):
    return {"questions and answers": asked(instruct(fn, inputs)["reasoning"])}


def everything(fn, inputs):
    found = instruct(fn, inputs)
    return {kind: asked(found[kind]) for kind in ("conversation", "description", "reasoning")}


NEEDS = ("presence and numbers",)

SCENE_INSTRUCTIONS = Exercise(
    name="scene_instructions",
    module="cs_vl.data.instructions",
    stages=(
        Stage(
            name="presence and numbers",
            points=1.5,
            case=counted,
            probe=conversation(r"Is there|How many"),
            hint="Each name is asked for once, however many things have it.",
        ),
        Stage(
            name="relations",
            points=1.5,
            case=close,
            cases=3,
            probe=conversation(r"Is the "),
            needs=NEEDS,
            hint="Only of things with unique names, and only where one is beyond the other by the margin.",
        ),
        Stage(
            name="what is there",
            points=1,
            case=beside,
            cases=4,
            probe=conversation(r"What "),
            needs=NEEDS,
            hint="Only where a single thing lies on that side at all.",
        ),
        Stage(
            name="description",
            points=1.5,
            case=loose,
            cases=4,
            probe=description,
            needs=NEEDS,
            hint="Amounts in the order of the scene, then neighbours from left to right.",
        ),
        Stage(
            name="reasoning",
            points=1,
            case=compared,
            probe=reasoning,
            needs=NEEDS,
            hint="The rationale names both amounts, in the question's order, and comes before the answer.",
        ),
        Stage(
            name="things far apart",
            kind="property",
            points=0.5,
            case=apart,
            probe=everything,
        ),
        Stage(
            name="exactly at the margin",
            kind="property",
            points=0.5,
            case=at_the_margin,
            cases=3,
            probe=everything,
            hint="The margin is 0.125, some things are exactly so far apart, an absent name is to be seen.",
        ),
        Stage(
            name="a single thing",
            kind="property",
            points=0.5,
            case=alone,
            probe=everything,
            hint="A scene of one thing has no relations, and nothing to compare.",
        ),
    ),
)

EXERCISES: tuple[Exercise, ...] = (SCENE_INSTRUCTIONS,)
