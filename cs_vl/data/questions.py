"""Questions about scenes, with answers that can't be guessed from the words alone."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

from cs_vl.data.captions import NUMBERS, a, name, object_names, plural
from cs_vl.data.scenes import RELATIONS, Scenes, spatial_relations

QUESTION_KINDS = ("presence", "count", "colour", "kind", "relation", "position")


@dataclass(frozen=True)
class Question:
    scene: int  # index into the scenes
    text: str
    answer: str
    kind: str  # one of QUESTION_KINDS


def make_questions(
    scenes: Scenes,
    per_scene: int = 1,
    *,
    seed: int,
    kinds: tuple[str, ...] = QUESTION_KINDS,
    margin: float = 0.1,
) -> list[Question]:
    """Ask `per_scene` different questions about each scene (fewer where a scene has not that much to ask).

    The kinds are asked equally often, and of the answers that a scene allows, the one is chosen that has been
    given least often so far: so who sees only the words is little better than chance.  (A scene's questions
    therefore depend on those of the scenes before it.)

    Args:
        seed: of the choice among questions; torch's and Python's global streams are not touched.
        kinds: which of QUESTION_KINDS to ask.
        margin: for "relation" and "position": nearer than this, as a fraction of the canvas, is not asked.
    """
    unknown = [kind for kind in kinds if kind not in QUESTION_KINDS]
    if unknown or not kinds:
        raise ValueError(f"kinds must be some of {', '.join(QUESTION_KINDS)}; got {kinds}")
    rng = random.Random(seed)
    facts = _Facts(scenes, margin)
    asked: Counter[str] = Counter()  # by kind
    given: Counter[tuple[str, str]] = Counter()  # by form and answer
    questions = []
    for scene in range(len(scenes)):
        texts: set[str] = set()
        for _ in range(per_scene):
            for kind in sorted(kinds, key=lambda kind: (asked[kind], rng.random())):
                candidates = [c for c in getattr(facts, kind)(scene, rng) if c[1] not in texts]
                if candidates:
                    form, text, answer = min(candidates, key=lambda c: (given[c[0], c[2]], rng.random()))
                    asked[kind] += 1
                    given[form, answer] += 1
                    texts.add(text)
                    questions.append(Question(scene, text, answer, kind))
                    break
    return questions


class _Facts:
    """For each kind of question: what may be asked of a scene, as (form, text, answer).

    Two questions have the same form where only the names in them differ.
    """

    def __init__(self, scenes: Scenes, margin: float):
        self.scenes = scenes
        self.names = object_names(scenes)
        self.kinds = [[k for k in row if k >= 0] for row in scenes.kind.tolist()]
        self.colours = [[c for c in row if c >= 0] for row in scenes.colour.tolist()]
        self.holds = spatial_relations(scenes, margin).tolist()
        self.places = (scenes.centres / scenes.size - 0.5).tolist()  # x, y from the middle
        self.margin = margin

    def presence(self, scene: int, rng: random.Random) -> Iterator[tuple[str, str, str]]:
        here, kinds, colours = self.names[scene], self.kinds[scene], self.colours[scene]
        # What is absent shares kind or colour with something present, so that neither alone is enough.
        any_kind, any_colour = range(len(self.scenes.kind_names)), range(len(self.scenes.colour_names))
        others = [
            name(self.scenes, rng.choice(any_kind), rng.choice(colours or any_colour)) for _ in range(4)
        ]
        others += [name(self.scenes, rng.choice(kinds or any_kind), rng.choice(any_colour)) for _ in range(4)]
        for noun in dict.fromkeys(here + others):
            yield "presence", f"Is there {a(noun)}?", "yes" if noun in here else "no"

    def count(self, scene: int, rng: random.Random) -> Iterator[tuple[str, str, str]]:
        kinds, colours = self.kinds[scene], self.colours[scene]
        yield "count all", "How many objects are there?", NUMBERS[len(kinds)]
        absent = rng.sample(range(len(self.scenes.kind_names)), min(4, len(self.scenes.kind_names)))
        for kind in dict.fromkeys(kinds + absent):
            noun = plural(self.scenes.kind_names[kind])
            yield "count kind", f"How many {noun} are there?", NUMBERS[kinds.count(kind)]
        for colour, word in enumerate(self.scenes.colour_names):
            if word:
                yield "count colour", f"How many {word} objects are there?", NUMBERS[colours.count(colour)]

    def colour(self, scene: int, rng: random.Random) -> Iterator[tuple[str, str, str]]:
        for kind, colour in zip(self.kinds[scene], self.colours[scene], strict=True):
            if self.kinds[scene].count(kind) == 1 and self.scenes.colour_names[colour]:
                text = f"What colour is the {self.scenes.kind_names[kind]}?"
                yield "colour", text, self.scenes.colour_names[colour]

    def kind(self, scene: int, rng: random.Random) -> Iterator[tuple[str, str, str]]:
        for kind, colour in zip(self.kinds[scene], self.colours[scene], strict=True):
            if self.colours[scene].count(colour) == 1 and self.scenes.colour_names[colour]:
                text = f"What is the {self.scenes.colour_names[colour]} object?"
                yield "kind", text, a(self.scenes.kind_names[kind])

    def relation(self, scene: int, rng: random.Random) -> Iterator[tuple[str, str, str]]:
        names = self.names[scene]
        for i, j in permutations(range(len(names)), 2):
            if names.count(names[i]) == names.count(names[j]) == 1:
                for r, relation in enumerate(RELATIONS):
                    text = f"Is the {names[i]} {relation} the {names[j]}?"
                    if self.holds[scene][i][j][r]:
                        yield relation, text, "yes"
                    elif self.holds[scene][j][i][r]:  # plainly false: the other way round
                        yield relation, text, "no"

    def position(self, scene: int, rng: random.Random) -> Iterator[tuple[str, str, str]]:
        names = self.names[scene]
        for noun, (x, y) in zip(names, self.places[scene], strict=False):
            if names.count(noun) == 1 and min(abs(x), abs(y)) > self.margin / 2:
                answer = f"{'top' if y < 0 else 'bottom'} {'left' if x < 0 else 'right'}"
                yield "position", f"Where is the {noun}?", answer
