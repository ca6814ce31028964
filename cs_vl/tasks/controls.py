"""What a score about pictures is worth: the same questions with the picture, or the question, taken away.

A model that answers as well without the picture as with it has read the question, not the picture
(Goyal et al. 2017).  So a score is shown beside its controls:

- "text only": no picture.  What the question alone gives away.
- "grey image": a plain grey picture.  The same, for models that can't do without one.
- "image only": the picture with an empty question.
- "shuffled images": each question with another one's picture.  Everything that the model may expect is there,
  a real picture and a real question, but they don't belong together.
- "perfect, shuffled": who sees perfectly would still be right there by luck, and this often.
- "majority answer": the one answer that is right most often.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from cs_vl.tasks.vqa import Answer, VQAItem, ask, by_family, normalise, score_answers

CONTROLS = ("full", "text only", "grey image", "image only", "shuffled images", "majority answer")


def shuffle_images(items: Sequence[VQAItem], seed: int, n_images: int | None = None) -> list[VQAItem]:
    """Give each item another picture: a derangement within its family.

    The pictures of a family change places among its items, so that no item keeps its own, not even where
    several ask about the same one.  A family's shuffle depends on the seed and on that family alone.

    Args:
        n_images: how many pictures there are.  Where more than half of a family's items ask about one
            picture, no derangement exists; its items then draw from all the other pictures.

    Raises:
        ValueError: a family has no derangement, and there is no other picture to draw.
    """
    shuffled = list(items)
    for family, positions in by_family(items).items():
        rng = random.Random(f"{seed} {family}")
        rng.shuffle(positions)
        counts = Counter(items[i].image for i in positions)  # in order of first occurrence
        order = {image: k for k, image in enumerate(counts)}
        positions.sort(key=lambda i: order[items[i].image])  # grouped by picture, in random order
        n, largest = len(positions), max(counts.values())
        if 2 * largest <= n:
            # Items with the same picture are less than `largest` apart, so this step leads out of the group,
            # either way round the circle.
            step = rng.randint(largest, n - largest)
            images = [items[positions[(k + step) % n]].image for k in range(n)]
        elif n_images is not None and n_images > 1:
            images = [(items[i].image + rng.randrange(1, n_images)) % n_images for i in positions]
        else:
            raise ValueError(
                f"{largest} of the {n} questions of family {family!r} are about one picture, so they can't "
                f"all get another one: ask about more pictures, or leave the shuffled control out"
            )
        for i, image in zip(positions, images, strict=True):
            shuffled[i] = replace(items[i], image=image)
    return shuffled


def majority_answers(items: Sequence[VQAItem]) -> dict[str, str]:
    """The normalised answer that is right for most items of each family; of several, the first."""
    majority = {}
    for family, positions in by_family(items).items():
        # Each of an item's answers counts once, even if two of them are the same after `normalise`.
        votes = Counter(v for i in positions for v in dict.fromkeys(map(normalise, items[i].answers)))
        majority[family] = votes.most_common(1)[0][0] if votes else ""
    return majority


def with_controls(
    answer_fn: Answer,
    images: Float[Tensor, "images 3 height width"],
    items: Sequence[VQAItem],
    *,
    seed: int = 0,
    controls: Sequence[str] = CONTROLS,
    truth: Callable[[int, str], str | tuple[str, ...] | None] | None = None,
    generic_question: str = "",
    train_items: Sequence[VQAItem] | None = None,
    batch_size: int = 64,
    extract: Callable[[str], str] | None = None,
) -> dict[str, dict[str, dict[str, float]]]:
    """The scores of a model and of its controls: {control: {family: {"exact_match", "f1", "n"}}}.

    Args:
        seed: of the shuffled pictures.
        controls: which of CONTROLS, "full" being the model with its pictures; leave "text only" out for a
            model that can't take None for the pictures, "grey image" for one that needs no such picture.
        truth: gives the right answer to (index of a picture, question), or None where the question makes no
            sense for that picture.  With it, "shuffled images" brings "perfect, shuffled" along: how often
            the item's answer is right for the wrong picture, too.
        generic_question: what "image only" asks instead; "" or, say, "What is there?".
        train_items: where "majority answer" looks for it; by default among `items`, the best that a constant
            answer could do.  A family that is not there gets the empty answer.
        batch_size, extract: as in `evaluate_vqa`.

    Raises:
        ValueError: an unknown control; no derangement (`shuffle_images`); or see `ask`.
    """
    unknown = [control for control in controls if control not in CONTROLS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no control; there are {', '.join(CONTROLS)}")

    def score(pictures: Tensor | None, asked: Sequence[VQAItem]) -> dict[str, dict[str, float]]:
        return score_answers(ask(answer_fn, pictures, asked, batch_size), items, extract)

    scores = {}
    for control in controls:
        if control == "full":
            scores[control] = score(images, items)
        elif control == "text only":
            scores[control] = score(None, items)
        elif control == "grey image":
            scores[control] = score(torch.full_like(images, 0.5), items)
        elif control == "image only":
            scores[control] = score(images, [replace(item, question=generic_question) for item in items])
        elif control == "shuffled images":
            shuffled = shuffle_images(items, seed, len(images))
            scores[control] = score(images, shuffled)
            if truth is not None:
                scores["perfect, shuffled"] = _agreement(truth, items, shuffled)
        else:
            majority = majority_answers(items if train_items is None else train_items)
            scores[control] = score_answers([majority.get(item.family, "") for item in items], items)
    return scores


def _agreement(
    truth: Callable[[int, str], str | tuple[str, ...] | None],
    items: Sequence[VQAItem],
    shuffled: Sequence[VQAItem],
) -> dict[str, dict[str, float]]:
    """The scores of the truth about the shuffled pictures.  Of several right answers, the luckiest counts."""
    answers = []
    for item, other in zip(items, shuffled, strict=True):
        there = truth(other.image, item.question)
        right = () if there is None else (there,) if isinstance(there, str) else there
        accepted = {normalise(answer) for answer in item.answers}
        # None has no answer: "\0" equals none, not even an empty one.
        answers.append(next((a for a in right if normalise(a) in accepted), right[0] if right else "\0"))
    return score_answers(answers, items)
