"""Multiple choice with a rationale, as in ScienceQA (Lu et al. 2022): first the reasons, then the letter.

What kind of thing is this? (a) bread (b) canine (c) hand tool
This is a fox, and a fox is a kind of canine. The answer is (b).
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

LETTERS = "abcdef"


@dataclass(frozen=True)
class Choice:
    """A question with its choices.

    Attributes:
        question: without the choices.
        choices: two to six texts, no two the same.
        rationale: sentences that lead to the answer; perhaps "".
        answer: which of the choices, from 0.
    """

    question: str
    choices: tuple[str, ...]
    rationale: str
    answer: int

    def __post_init__(self):
        if not 2 <= len(set(self.choices)) == len(self.choices) <= len(LETTERS):
            raise ValueError(f"choices should be 2 to {len(LETTERS)} different texts; got {self.choices}")
        if not 0 <= self.answer < len(self.choices):
            raise ValueError(f"answer should be one of the {len(self.choices)} choices; got {self.answer}")

    def prompt(self) -> str:
        """The question with its choices: "... (a) bread (b) canine"."""
        listed = " ".join(f"({letter}) {text}" for letter, text in zip(LETTERS, self.choices, strict=False))
        return f"{self.question} {listed}"

    def reply(self, rationale: bool = True) -> str:
        """The rationale, where wanted, and "The answer is (b)."."""
        answer = f"The answer is ({LETTERS[self.answer]})."
        return f"{self.rationale} {answer}" if rationale and self.rationale else answer


def make_choice(
    question: str, right: str, wrong: Sequence[str], rationale: str, rng: random.Random, choices: int = 3
) -> Choice:
    """A question whose right answer stands at a random place among wrong ones, drawn from `wrong`."""
    listed = [right, *rng.sample(sorted(set(wrong) - {right}), choices - 1)]
    rng.shuffle(listed)
    return Choice(question, tuple(listed), rationale, listed.index(right))


def chosen_letter(reply: str) -> str | None:
    """The letter that a reply settles for, the last one where it names several; None where it names none.

    >>> chosen_letter("This is a fox. The answer is (b)."), chosen_letter("a fox")
    ('b', None)
    """
    found = re.findall(rf"\(([{LETTERS}])\)", reply)
    return found[-1] if found else None
