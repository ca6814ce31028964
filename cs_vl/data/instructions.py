"""Instruction data: conversations about pictures, made by a teacher that reads what is in them but sees none.

LLaVA (Liu et al. 2023, sec. 3) shows GPT-4, which cannot see, an image's captions and boxes, and asks it to
write three kinds of data: conversation, detailed description, complex reasoning.  Here a `SceneGraph` is what
the teacher reads, and a rule, `scene_instructions`, stands in for GPT-4: whoever has the real one puts it
behind `Teacher`.  To the paper's three kinds come questions that need knowledge which no picture shows.

- `make_instructions` makes training data: a few examples a scene, answers balanced;
- `evaluation_questions` and `knowledge_questions` ask about other scenes, so that words alone do not help.

Facts are said about pictures of `World.taught` concepts only.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations, product
from typing import Protocol

from cs_vl.data.captions import NUMBERS, a, join, plural
from cs_vl.data.multiple_choice import chosen_letter
from cs_vl.data.scenes import RELATIONS, Scenes
from cs_vl.data.world import World
from cs_vl.data.world_text import DIRECT, KNOWLEDGE, fact_choice, fact_value, seen, sentence
from cs_vl.exercise import exercise

MARGIN = 0.1  # nearer than this, as a fraction of the canvas, is neither left of nor right of
SIDES = ("on the left", "on the right", "at the top", "at the bottom")


@dataclass(frozen=True)
class SceneGraph:
    """What is in a picture, and where, without the picture.

    Attributes:
        objects: the things' names, hindmost first; a name that occurs twice stands for two things.
        centres: of each thing (x, y), x to the right, y *down*, as fractions of the canvas, in [0, 1].
        boxes: of each thing x0, y0, x1, y1, likewise.
    """

    objects: tuple[str, ...]
    centres: tuple[tuple[float, float], ...]
    boxes: tuple[tuple[float, float, float, float], ...] = ()


def scene_graphs(scenes: Scenes) -> list[SceneGraph]:
    """What is in each of the scenes."""
    names, centres, boxes = scenes.kind_names, scenes.centres / scenes.size, scenes.boxes / scenes.size
    return [
        SceneGraph(
            tuple(names[kind] for kind in kinds if kind >= 0),
            tuple(tuple(at) for kind, at in zip(kinds, centre, strict=True) if kind >= 0),
            tuple(tuple(box) for kind, box in zip(kinds, around, strict=True) if kind >= 0),
        )
        for kinds, centre, around in zip(scenes.kind.tolist(), centres.tolist(), boxes.tolist(), strict=True)
    ]


@exercise
def scene_instructions(
    graph: SceneGraph, absent: Sequence[str] = (), margin: float = 0.1
) -> dict[str, list[tuple[str, str]]]:
    """All that a teacher can ask of a scene, and answer, from its graph alone (Liu et al. 2023, sec. 3).

    A thing is left of another, right of it, above or below it (`RELATIONS`) if its centre is, by *more* than
    `margin` along that axis; remember that y points down.  Nearer than that is neither, and nobody is asked.
    A name is *unique* if one thing only has it: "the fox" means nothing where there are two.
    An *amount* is "a fox", "an owl", or "two foxes".

    Given: `a("owl")` is "an owl", `plural("fox")` "foxes", `NUMBERS[2]` "two"; `join` puts commas and "and".

    Args:
        graph: of a scene of one to six things.
        absent: more names to ask for, none of them twice.  One that is to be seen after all is passed over.
        margin: a fraction of the canvas, as `graph.centres` are.

    Returns:
        Under the keys "conversation", "description" and "reasoning" lists of (question, answer) pairs, in any
        order, none of them twice.

        "conversation":

        - for each name to be seen ("Is there a fox?", "yes"), for each absent one ("Is there an owl?", "no");
        - ("How many things are there?", "three"), and for each name ("How many foxes are there?", "two");
        - for each two things with unique names, either of them first, and each relation: ("Is the fox left
          of the owl?", "yes") where it is, and "no" where the owl is left of the fox;
        - for each thing with a unique name and each relation ("What is left of the fox?", "an owl"), where
          only one thing has its centre on that side at all, and that one by more than the margin.  (The
          *answer's* name need not be unique.)

        "description": one pair, of "Describe the picture." and a text of one or more sentences, a blank
        between them.  The first gives the amount of each name, in the order in which names first occur: "Two
        owls, a fox and a bus."  Then take the things with unique names from left to right, by x; of each and
        the next say "The fox is left of the bus."; if x does not tell, "above" or "below"; if neither does,
        nothing.

        "reasoning": for each two names, either of them first, ("Are there more foxes than owls?", "There are
        two foxes and an owl, so the answer is yes."), amounts in the question's order, "There is" where
        the first amount is of one; "no" where they are as many, or fewer.
    """
    ### BEGIN SOLUTION
    count = Counter(graph.objects)  # in the order of first occurrence
    several = count - Counter(count.keys())  # the names that more than one thing has
    things = range(len(graph.objects))
    unique = [i for i in things if graph.objects[i] not in several]

    def amount(name: str) -> str:
        return f"{NUMBERS[count[name]]} {plural(name)}" if name in several else a(name)

    def how_far(i: int, j: int) -> dict[str, float]:
        # By how much i is left of j, right of it, ...; negative where it is on the other side.
        (x, y), (other_x, other_y) = graph.centres[i], graph.centres[j]
        return {"left of": other_x - x, "right of": x - other_x, "above": other_y - y, "below": y - other_y}

    conversation = [(f"Is there {a(name)}?", "yes") for name in count]
    conversation += [(f"Is there {a(name)}?", "no") for name in absent if name not in count]
    conversation.append(("How many things are there?", NUMBERS[len(things)]))
    conversation += [(f"How many {plural(name)} are there?", NUMBERS[count[name]]) for name in count]
    for i, j in product(unique, unique):
        for relation, far in how_far(i, j).items():
            question = f"Is the {graph.objects[i]} {relation} the {graph.objects[j]}?"
            if far > margin:
                conversation.append((question, "yes"))
            if far < -margin:
                conversation.append((question, "no"))
    for j, relation in product(unique, RELATIONS):
        there = [i for i in things if how_far(i, j)[relation] > 0]
        if len(there) == 1:
            (i,) = there
            if how_far(i, j)[relation] > margin:
                conversation.append((f"What is {relation} the {graph.objects[j]}?", a(graph.objects[i])))

    listed = join([amount(name) for name in count])
    sentences = [f"{listed[0].upper()}{listed[1:]}."]
    for i, j in pairwise(sorted(unique, key=lambda i: graph.centres[i])):
        for relation, far in how_far(i, j).items():
            if far > margin:  # "left of" comes first, where several hold
                sentences.append(f"The {graph.objects[i]} is {relation} the {graph.objects[j]}.")
                break

    reasoning = []
    for one, other in permutations(count, 2):
        verb = "are" if one in several else "is"
        answer = "yes" if count[one] > count[other] else "no"
        rationale = f"There {verb} {amount(one)} and {amount(other)}, so the answer is {answer}."
        reasoning.append((f"Are there more {plural(one)} than {plural(other)}?", rationale))

    return {
        "conversation": conversation,
        "description": [("Describe the picture.", " ".join(sentences))],
        "reasoning": reasoning,
    }
    ### END SOLUTION


class Teacher(Protocol):
    """Who writes instruction data without seeing: GPT-4 in the paper, a rule here."""

    def instruct(self, graph: SceneGraph, absent: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
        """(question, answer) pairs for "conversation", "description" and "reasoning"."""
        ...


class RuleTeacher:
    """`scene_instructions`, and what is on the left, on the right, at the top and at the bottom."""

    def instruct(self, graph: SceneGraph, absent: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
        written = scene_instructions(graph, absent, MARGIN)
        return {**written, "conversation": written["conversation"] + naming_questions(graph)}


def naming_questions(graph: SceneGraph, margin: float = MARGIN) -> list[tuple[str, str]]:
    """ "What is this?" of a single thing; of several "What is the thing on the left?", where it is plain."""
    if len(graph.objects) == 1:
        return [("What is this?", a(graph.objects[0]))]
    asked = []
    for side, towards in enumerate(SIDES):
        sign = 1 if side % 2 == 0 else -1
        at = sorted((sign * centre[side // 2], i) for i, centre in enumerate(graph.centres))
        if len(at) > 1 and at[1][0] - at[0][0] > margin:
            asked.append((f"What is the thing {towards}?", a(graph.objects[at[0][1]])))
    return asked


# ---- Training data ----

KINDS = ("conversation", "description", "reasoning", "knowledge", "choice", "direct")
FAMILIES = ("presence", "kind", "count", "relation", "place")  # of a conversation's questions


@dataclass(frozen=True)
class Example:
    """A conversation about a scene.

    Attributes:
        scene: index into the scenes.
        turns: (question, answer) pairs; `cs_vl.data.chat.chat` makes a text of them.
        kind: one of KINDS in training data; in evaluation one of FAMILIES, or a kind.
    """

    scene: int
    turns: tuple[tuple[str, str], ...]
    kind: str


def make_instructions(
    world: World,
    scenes: Scenes,
    *,
    seed: int,
    per_scene: int = 2,
    kinds: Sequence[str] = KINDS,
    turns: int = 3,
    teacher: Teacher | None = None,
) -> list[Example]:
    """`per_scene` examples a scene (fewer, where a scene has not that much to say), scene by scene.

    The kinds are equally frequent as far as scenes allow: "reasoning" needs two names, "knowledge", "choice"
    and "direct" a picture of a single taught thing.  Of the answers that a question of a family may have, the
    one given least often so far is asked for.

    Args:
        seed: of all that is drawn; torch's and Python's global streams are not touched.
        kinds: which of KINDS to make.
        turns: of a conversation, at most; each of another family.
        teacher: who writes; `RuleTeacher` by default.
    """
    _check_kinds(kinds, KINDS)
    rng = random.Random(seed)
    teacher = RuleTeacher() if teacher is None else teacher
    made: Counter[str] = Counter()
    given: Counter[tuple[str, str]] = Counter()  # by form of question and answer
    examples = []
    for scene, graph in enumerate(scene_graphs(scenes)):
        written = teacher.instruct(graph, _absent(world, graph, rng)) | _of_facts(world, graph, True, rng)
        open_kinds = [kind for kind in kinds if written.get(kind)]
        for _ in range(min(per_scene, len(open_kinds))):
            kind = min(open_kinds, key=lambda kind: (made[kind], rng.random()))
            open_kinds.remove(kind)
            made[kind] += 1
            families: dict[str, list[tuple[str, str]]] = {}
            for pair in written[kind]:
                families.setdefault(family_of(pair[0]), []).append(pair)
            said = []
            for each in rng.sample(sorted(families), min(turns, len(families)) if kind == KINDS[0] else 1):
                pairs = families[each]
                pair = min(pairs, key=lambda pair: (given[_form(*pair)], rng.random()))
                given[_form(*pair)] += 1
                said.append(pair)
            examples.append(Example(scene, tuple(said), kind))
    return examples


def _check_kinds(kinds: Sequence[str], known: Sequence[str]) -> None:
    unknown = [kind for kind in kinds if kind not in known]
    if unknown or not kinds or isinstance(kinds, str):
        raise ValueError(f"kinds should be some of {', '.join(known)}; got {kinds!r}")


def _absent(world: World, graph: SceneGraph, rng: random.Random, n: int = 3) -> list[str]:
    """A few names that the scene doesn't show."""
    drawn = rng.sample(world.names, n + len(set(graph.objects)))
    return [name for name in drawn if name not in graph.objects][:n]


def _of_facts(
    world: World, graph: SceneGraph, taught: bool, rng: random.Random
) -> dict[str, list[tuple[str, str]]]:
    """For "knowledge", "choice" and "direct" a question a fact, about a picture of one thing (not) taught."""
    if len(graph.objects) != 1 or world.taught[i := world.index(graph.objects[0])] != taught:
        return {}
    facts = [fact for fact in KNOWLEDGE if fact_value(world, i, fact)]
    choices = [fact_choice(world, i, fact, rng) for fact in facts]
    return {
        "knowledge": [(KNOWLEDGE[fact], sentence(seen(world, i, fact))) for fact in facts],
        "choice": [(choice.prompt(), choice.reply()) for choice in choices],
        "direct": [(DIRECT[fact], fact_value(world, i, fact)) for fact in facts],
    }


def family_of(question: str) -> str:
    """Which family a question belongs to, by its words: one of FAMILIES, "description", "reasoning", ...

    A question of knowledge has the family "kind of", "letter" or "keyword", in whatever form it is asked.
    What another teacher may have thought of is "other".
    """
    for beginning, name in _BEGINNINGS:
        if question.startswith(beginning):
            return name
    return "other"


_BEGINNINGS = (
    *((beginning, "kind of") for beginning in (KNOWLEDGE["kind"], DIRECT["kind"])),
    *((beginning, "letter") for beginning in (KNOWLEDGE["letter"], DIRECT["letter"])),
    *((beginning, "keyword") for beginning in (KNOWLEDGE["keyword"], DIRECT["keyword"])),
    ("Is there ", "presence"),
    ("How many ", "count"),
    ("What is this?", "kind"),
    ("What is the thing ", "kind"),
    ("What is ", "place"),
    ("Is the ", "relation"),
    ("Describe ", "description"),
    ("Are there more ", "reasoning"),
)


def final_answer(answer: str) -> str:
    """What an answer comes to: "canine" of "This is a fox, and a fox is a kind of canine."

    >>> final_answer("There are two foxes and an owl, so the answer is yes."), final_answer("a fox")
    ('yes', 'a fox')
    """
    if letter := chosen_letter(answer):
        return letter
    found = re.search(
        r"(?:is a kind of|begins with|goes with the word|so the answer is) ([^.,]*)\.?$", answer
    )
    return found[1] if found else answer


def _form(question: str, answer: str) -> tuple[str, str]:
    """What should be balanced: answers to questions that differ in the names only."""
    relation = next((relation for relation in RELATIONS if f" {relation} " in question), "")
    things = " things " if question == "How many things are there?" else ""
    return f"{family_of(question)} {relation}{things}", final_answer(answer)


# ---- Evaluation ----


def evaluation_questions(world: World, scenes: Scenes, *, seed: int, family: str, n: int) -> list[Example]:
    """n questions of one family (fewer, where the scenes have no more), its answers equally often.

    So whoever reads the words alone is right about as often as by chance: 1/2 for "presence", "relation" and
    "reasoning", 1/4 for "count", one in a hundred or so for "kind" and "place".

    Args:
        seed: of what is absent, and of which questions are taken.
        family: one of FAMILIES, or "reasoning".
    """
    _check_kinds((family,), (*FAMILIES, "reasoning"))
    rng = random.Random(seed)
    examples = []
    for scene, graph in enumerate(scene_graphs(scenes)):
        written = RuleTeacher().instruct(graph, _absent(world, graph, rng))
        examples += [
            Example(scene, (pair,), family)
            for kind in ("conversation", "reasoning")
            for pair in written[kind]
            if family_of(pair[0]) == family
        ]
    return _balanced(examples, n, rng)


def knowledge_questions(
    world: World,
    scenes: Scenes,
    *,
    taught: bool = False,
    fact: str = "kind",
    form: str = "knowledge",
    seed: int = 0,
    n: int | None = None,
) -> list[Example]:
    """What only knowledge can answer, of each scene with a single thing that is (not) taught.

    About untaught things nothing of the kind may ever be trained on: these are for evaluation.
    `final_answer` of a reply is to be compared with that of the example's answer.

    Args:
        fact: "kind", "letter" or "keyword".
        form: "knowledge", "choice" or "direct".
        n: take so many (fewer, where there are no more), their answers as equally often as can be; None: all.
    """
    rng = random.Random(seed)
    examples = []
    for scene, graph in enumerate(scene_graphs(scenes)):
        for question, answer in _of_facts(world, graph, taught, rng).get(form, []):
            if question.startswith((KNOWLEDGE[fact], DIRECT[fact])):
                examples.append(Example(scene, ((question, answer),), form))
    return examples if n is None else _balanced(examples, n, rng)


def _balanced(examples: list[Example], n: int, rng: random.Random) -> list[Example]:
    """n of the examples, of each form and answer equally many, as far as they go."""
    rng.shuffle(examples)
    by_form: dict[tuple[str, str], list[Example]] = {}
    for example in examples:
        by_form.setdefault(_form(*example.turns[0]), []).append(example)
    forms = [by_form[key] for key in sorted(by_form)]
    rng.shuffle(forms)
    longest = max(map(len, forms), default=0)
    rounds = [form[i] for i in range(longest) for form in forms if i < len(form)]
    return rounds[:n]
