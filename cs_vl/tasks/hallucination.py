"""POPE: does the model say that it sees what is not there?  (Li et al. 2023)

"Is there a fox?", half the time about something in the picture, half the time about something absent.  Three
ways to choose the absent, each harder than the one before for a model that answers by habit:

- random: any absent object;
- popular: the absent objects that are in most pictures;
- adversarial: the absent objects that most often appear together with what is there.

Habits come from the training data.  Where objects are drawn independently and uniformly, as our plain scenes
are, there is none to learn, and the three ask the same.  The last two mean something where the scenes that a
model was trained on are skewed: hand their lists of objects in as `train`.
"""

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from cs_vl.data.captions import a
from cs_vl.tasks.vqa import Answer, VQAItem, ask, by_family

STRATEGIES = ("random", "popular", "adversarial")


def frequencies(scenes: Sequence[Sequence[str]]) -> Counter[str]:
    """In how many scenes each name is."""
    return Counter(name for scene in scenes for name in set(scene))


def co_occurrence(scenes: Sequence[Sequence[str]]) -> Counter[tuple[str, str]]:
    """In how many scenes two different names are together: counts[x, y] = counts[y, x]."""
    return Counter((x, y) for scene in scenes for x in set(scene) for y in set(scene) if x != y)


def is_there(name: str) -> str:
    return f"Is there {a(name)}?"


def pope_questions(
    present: Sequence[Sequence[str]],
    names: Sequence[str],
    how: Literal["random", "popular", "adversarial"],
    *,
    per_image: int = 6,
    seed: int,
    train: Sequence[Sequence[str]] | None = None,
    question: Callable[[str], str] = is_there,
) -> list[VQAItem]:
    """Yes/no questions about each picture, as many right with "yes" as with "no"; of family "POPE <how>".

    Args:
        present: the names of what each picture shows; picture i is `image` i of its questions.
        names: all names.
        how: the strategy for the absent (sec. 4.2 of the paper).  Ties are broken by chance, so where the
            counts say nothing, "popular" and "adversarial" are "random".
        per_image: how many questions a picture, an even number; 6 in the paper.  A picture with fewer
            than half as many different objects (or absent names) gets fewer, still half and half; an empty
            picture gets none.
        seed: of all choices.  The questions about picture i depend on the seed, i, what it shows, and, but
            for "random", on the counts.
        train: the lists of objects that "popular" and "adversarial" count in; by default `present` itself, as
            in the paper.
        question: words it.  By default "Is there a fox?" ("... in the image?" in the paper).

    Raises:
        ValueError: an unknown strategy, an odd `per_image`, or a name in `present` that is not in `names`.
    """
    if how not in STRATEGIES:
        raise ValueError(f"how must be one of {', '.join(STRATEGIES)}; got {how!r}")
    if per_image < 0 or per_image % 2:
        raise ValueError(f"per_image must be even, half of it yes and half no; got {per_image}")
    names = list(dict.fromkeys(names))
    strange = sorted({name for there in present for name in there} - set(names))
    if strange:
        raise ValueError(f"{strange[0]!r} is present in a picture, but not among the names")
    counted = present if train is None else train
    popular, together = frequencies(counted), co_occurrence(counted)

    items = []
    for image, there in enumerate(present):
        rng = random.Random(f"{seed} {image}")
        shown = rng.sample(sorted(set(there)), len(set(there)))
        absent = [name for name in names if name not in shown]
        rng.shuffle(absent)
        counts: Counter[str] = Counter()
        if how == "popular":
            counts = popular
        elif how == "adversarial":
            counts = Counter({name: sum(together[name, other] for other in shown) for name in absent})
        absent.sort(key=counts.__getitem__, reverse=True)  # stable: equals stay in their random order
        for yes, no in list(zip(shown, absent, strict=False))[: per_image // 2]:
            items.append(VQAItem(image, question(yes), "yes", f"POPE {how}"))
            items.append(VQAItem(image, question(no), "no", f"POPE {how}"))
    return items


def says_yes(answer: str) -> bool | None:
    """What a free answer means; None where it says nothing at all.

    The rule of the official `evaluate.py`: the first sentence is a no if "no" or "not" is in it, and
    otherwise a yes ("There is a fox.").  Ours differs in two points: "NO" and "isn't" are a no, too, and
    an answer without words is neither, where the official code takes it for a yes.
    """
    words = re.findall(r"[\w'’]+", answer.lower().lstrip(" .").split(".")[0])
    if not words:
        return None
    return not any(word in ("no", "not") or word.endswith(("n't", "n’t")) for word in words)


def yes_no_scores(answers: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """The paper's five numbers, "yes" being the positive class; all in [0, 1].

    - "accuracy": right answers / all;
    - "precision": right yes / said yes.  Low where the model sees what is not there;
    - "recall": right yes / should be yes;
    - "f1": the harmonic mean of the two;
    - "yes_ratio": said yes / all.  Near 1 where it says yes to everything (0.5 would be right);
    - "n": how many.

    An answer that says nothing is wrong, and no yes.  A share of nothing is 0.

    Raises:
        ValueError: not as many answers as labels, or a label is neither "yes" nor "no".
    """
    if len(answers) != len(labels):
        raise ValueError(f"one answer a question, please; got {len(answers)} for {len(labels)}")
    wrong = [label for label in labels if label not in ("yes", "no")]
    if wrong:
        raise ValueError(f'labels must be "yes" or "no"; got {wrong[0]!r}')
    said = [says_yes(answer) for answer in answers]
    true = [label == "yes" for label in labels]
    n, said_yes, should = len(said), said.count(True), true.count(True)
    right_yes = sum(s is True and t for s, t in zip(said, true, strict=True))
    right_no = sum(s is False and not t for s, t in zip(said, true, strict=True))
    return {
        "accuracy": (right_yes + right_no) / n if n else 0.0,
        "precision": right_yes / said_yes if said_yes else 0.0,
        "recall": right_yes / should if should else 0.0,
        "f1": 2 * right_yes / (said_yes + should) if said_yes + should else 0.0,
        "yes_ratio": said_yes / n if n else 0.0,
        "n": n,
    }


def evaluate_pope(
    answer_fn: Answer,
    images: Float[Tensor, "images 3 height width"] | None,
    items: Sequence[VQAItem],
    batch_size: int = 64,
) -> dict[str, dict[str, float]]:
    """Ask a model all items, and give `yes_no_scores` for each family.

    Raises:
        ValueError: an item's answer is neither "yes" nor "no"; or see `cs_vl.tasks.vqa.ask`.
    """
    answers = ask(answer_fn, images, items, batch_size)
    return {
        family: yes_no_scores([answers[i] for i in positions], [items[i].answers[0] for i in positions])
        for family, positions in by_family(items).items()
    }
