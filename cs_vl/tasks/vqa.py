"""Visual question answering: ask a model about pictures, and compare its words with the right ones.

A model comes in as one function, `Answer`: pictures and questions in, answers out.  So whatever can be asked
(the LLaVA of this package, a CLIP with a list of answers, a model of your own) is scored by the same lines.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

# Pictures (n, 3, height, width) in [0, 1], or None for "no picture", and n questions; gives n answers.
Answer = Callable[[Float[Tensor, "n 3 height width"] | None, list[str]], list[str]]

ARTICLES = ("a", "an", "the")
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = {"none": "0"} | {word: str(i) for i, word in enumerate(NUMBER_WORDS)}
MARKERS = ("is a kind of", "are a kind of", "begins with", "goes with the word", "the answer is", "answer:")


@dataclass(frozen=True)
class VQAItem:
    """One question about one picture."""

    image: int  # index into the pictures
    question: str
    answer: str | tuple[str, ...]  # the right answer, or all that count as right
    family: str  # what kind of question: scores are told apart by it

    @property
    def answers(self) -> tuple[str, ...]:
        return (self.answer,) if isinstance(self.answer, str) else tuple(self.answer)


def normalise(text: str) -> str:
    """The text without what nobody should be marked down for: "The two Foxes." is "2 foxes".

    In SQuAD's order (Rajpurkar et al. 2016, sec. 6.1; the official `evaluate-v1.1.py`): lower case, no ASCII
    punctuation, no articles, single blanks.  Then number words become digits, zero (or none) to ten, as VQA
    has it (Antol et al. 2015; the official `vqaEval.py`).  One deviation: where nothing but articles is
    there, they stay, so that "A" can be the answer of a multiple choice.
    """
    words = text.lower().translate(str.maketrans("", "", string.punctuation)).split()
    words = [word for word in words if word not in ARTICLES] or words
    return " ".join(DIGITS.get(word, word) for word in words)


def exact_match(prediction: str, answers: str | Sequence[str]) -> bool:
    """Whether the prediction equals one of the right answers, both normalised."""
    answers = [answers] if isinstance(answers, str) else answers
    return normalise(prediction) in {normalise(answer) for answer in answers}


def token_f1(prediction: str, answers: str | Sequence[str]) -> float:
    """How many words prediction and answer share, in [0, 1], with the answer for which that is most.

    The harmonic mean of precision (shared / predicted words) and recall (shared / right words), after
    `normalise`; a word counts as often as both have it.  Order does not matter: "left of the fox" and "the
    fox left of" are the same.  Where one side has no words, 1 if the other has none either, else 0
    (SQuAD 2.0's rule).
    """
    answers = [answers] if isinstance(answers, str) else answers
    said = Counter(normalise(prediction).split())
    best = 0.0
    for answer in answers:
        right = Counter(normalise(answer).split())
        words, shared = said.total() + right.total(), (said & right).total()
        best = max(best, 2 * shared / words if words else 1.0)  # = 2 P R / (P + R)
    return best


def final_answer(text: str, markers: Sequence[str] = MARKERS) -> str:
    """The part that counts of an answer that gives its reasons first.

    "This is a fox, and a fox is a kind of canine." -> "canine"
    "The answer is B. Foxes are canines." -> "B"

    The rule: what follows the last of the `markers` (whole words, in any case), to the end of that sentence;
    without a marker, the whole text.  The rule reads no meaning.  It is strict on purpose: compare what it
    gives by `exact_match`.  To accept every answer that *ends* in the right words would also accept "teddy
    bear" for "bear" and "it is not a fox" for "fox"; to accept one that *contains* them would reward listing
    everything.  Who names two answers, each with a marker, is judged by the last.
    """
    if not markers:
        return text.strip()
    pattern = "|".join(map(re.escape, markers))
    found = list(re.finditer(rf"(?<!\w)(?:{pattern})(?!\w)", text, re.IGNORECASE))
    if not found:
        return text.strip()
    sentence = re.split(r"[.!?](?:\s|$)|\n", text[found[-1].end() :].lstrip(" :,"))[0]
    return sentence.strip()


def ask(
    answer_fn: Answer,
    images: Float[Tensor, "images 3 height width"] | None,
    items: Sequence[VQAItem],
    batch_size: int = 64,
) -> list[str]:
    """The model's answer to each item, asked `batch_size` at a time, in order.

    Args:
        images: the pictures that the items' `image` points into; None asks without any.

    Raises:
        ValueError: an item's picture does not exist, or answers are missing.
        TypeError: an answer is not a string.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be 1 or more; got {batch_size}")
    for item in items:
        if images is not None and not 0 <= item.image < len(images):
            raise ValueError(
                f"{item.question!r} is about picture {item.image}; there are {len(images)}, counted from 0"
            )
    answers: list[str] = []
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        pictures = None if images is None else images[[item.image for item in batch]]
        given = answer_fn(pictures, [item.question for item in batch])
        if isinstance(given, str) or len(given) != len(batch):
            got = f"the string {given!r}" if isinstance(given, str) else f"{len(given)}"
            raise ValueError(
                f"the answering function must give a list of one answer a question; "
                f"for {len(batch)} questions it gave {got}"
            )
        wrong = [answer for answer in given if not isinstance(answer, str)]
        if wrong:
            raise TypeError(f"answers must be strings, decoded already; got {type(wrong[0]).__name__}")
        answers += given
    return answers


def by_family(items: Sequence[VQAItem]) -> dict[str, list[int]]:
    """The positions of each family's items, families in order of their first item."""
    positions: dict[str, list[int]] = {}
    for i, item in enumerate(items):
        positions.setdefault(item.family, []).append(i)
    return positions


def score_answers(
    answers: Sequence[str],
    items: Sequence[VQAItem],
    extract: Callable[[str], str] | None = None,
) -> dict[str, dict[str, float]]:
    """Scores of answers that have been given already: {family: {"exact_match", "f1", "n"}}.

    Both scores are means over the family's items, in [0, 1]; n is how many these are.  There is no mean over
    families: that would depend on how many questions of each there happen to be.

    Args:
        extract: applied to each answer first, `final_answer` for instance; by default nothing is.

    Raises:
        ValueError: not as many answers as items.
    """
    if len(answers) != len(items):
        raise ValueError(f"one answer an item, please; got {len(answers)} for {len(items)} items")
    if extract is not None:
        answers = [extract(answer) for answer in answers]
    scores = {}
    for family, positions in by_family(items).items():
        pairs = [(answers[i], items[i].answers) for i in positions]
        scores[family] = {
            "exact_match": sum(exact_match(*pair) for pair in pairs) / len(pairs),
            "f1": sum(token_f1(*pair) for pair in pairs) / len(pairs),
            "n": len(pairs),
        }
    return scores


def evaluate_vqa(
    answer_fn: Answer,
    images: Float[Tensor, "images 3 height width"] | None,
    items: Sequence[VQAItem],
    batch_size: int = 64,
    extract: Callable[[str], str] | None = None,
) -> dict[str, dict[str, float]]:
    """Ask the model every item, and score its answers: `ask`, then `score_answers`."""
    return score_answers(ask(answer_fn, images, items, batch_size), items, extract)
