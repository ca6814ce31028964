"""Every task as text (VL-T5, Cho et al. 2021): one model, one loss, and a prefix that says what is wanted.

    vqa: How many foxes are there?      ->  two
    caption:                            ->  a fox and an owl
    grounding: the owl                  ->  region 2
    region: region 2                    ->  an owl
    match: a fox and a bus              ->  no

Question answering, captioning, finding a thing, naming a region, matching a text with a picture: each had a
head of its own, and a loss.  Written like this they are one data format.  A region is one of a picture's
boxes, which VL-T5 gets from a detector together with the picture; here `SceneGraph.boxes`, counted from 1.
"""

import random
import re
from dataclasses import dataclass

from cs_vl.data.captions import a, join
from cs_vl.data.instructions import SceneGraph, scene_instructions

TASKS = ("vqa", "caption", "grounding", "region", "match")


@dataclass(frozen=True)
class TextTask:
    """One piece of work.

    Attributes:
        task: one of TASKS.
        source: what is given besides the picture, without prefix; perhaps "".
        target: what is to be written.
    """

    task: str
    source: str
    target: str

    def __post_init__(self):
        if self.task not in TASKS:
            raise ValueError(f"task should be one of {', '.join(TASKS)}; got {self.task!r}")

    def prompt(self) -> str:
        """What the model reads: "vqa: How many foxes are there?"."""
        return f"{self.task}: {self.source}".rstrip()


def read_prompt(prompt: str) -> tuple[str, str]:
    """(task, source) of a prompt: the way back.

    Raises:
        ValueError: it has no known prefix.
    """
    task, colon, source = prompt.partition(":")
    if not colon or task not in TASKS:
        raise ValueError(f"a prompt begins with one of {', '.join(TASKS)} and a colon; got {prompt!r}")
    return task, source.strip()


def region_text(index: int) -> str:
    """ "region 1" for the first box, index 0."""
    return f"region {index + 1}"


def read_region(text: str) -> int | None:
    """The index of the box that a text names, from 0; None where it names none.

    >>> read_region("region 2"), read_region("a fox")
    (1, None)
    """
    found = re.fullmatch(r"region ([1-9]\d*)", text.strip())
    return int(found[1]) - 1 if found else None


def text_tasks(graph: SceneGraph, absent: tuple[str, ...], rng: random.Random) -> list[TextTask]:
    """One piece of work of every task, about one scene; no "grounding" where no name is unique.

    Args:
        absent: names of things that are not there, one or more: for texts that do not match.
    """
    caption = join([a(name) for name in graph.objects])
    question, answer = rng.choice(scene_instructions(graph, absent)["conversation"])
    index = rng.randrange(len(graph.objects))
    tasks = [
        TextTask("vqa", question, answer),
        TextTask("caption", "", caption),
        TextTask("region", region_text(index), a(graph.objects[index])),
    ]
    if unique := [i for i, name in enumerate(graph.objects) if graph.objects.count(name) == 1]:
        index = rng.choice(unique)
        tasks.append(TextTask("grounding", f"the {graph.objects[index]}", region_text(index)))
    if rng.random() < 0.5:
        tasks.append(TextTask("match", caption, "yes"))
    else:  # one thing is exchanged
        others = list(graph.objects)
        others[rng.randrange(len(others))] = rng.choice(absent)
        tasks.append(TextTask("match", join([a(name) for name in others]), "no"))
    return tasks
