"""Answers that are known: mistakes, each with the sentence a good teacher would say, and other right answers.

A mistake or alternative is a function or class beside others in `autograder.known.<assignment>`:

    @mistake("softmax", "You divided by the largest entry: divide by the sum.")
    def divided_by_the_largest(x, axis=-1):
        ...

None of this code reaches a student; what the mistakes give on the visible cases does (build.py).
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cs_vl.checks.spec import Exercise, load_assignment


@dataclass
class Known:
    """All that is known of an exercise."""

    mistakes: dict[str, Any] = field(default_factory=dict)
    sentences: dict[str, str] = field(default_factory=dict)
    alternatives: dict[str, Any] = field(default_factory=dict)


_known: dict[str, Known] = {}


def mistake(exercise: str, sentence: str) -> Callable[[Any], Any]:
    """Register a wrong answer under its own name."""

    def register(answer: Any) -> Any:
        known = _known.setdefault(exercise, Known())
        if answer.__name__ in known.mistakes:
            raise ValueError(f"{exercise} has two mistakes called {answer.__name__}")
        known.mistakes[answer.__name__], known.sentences[answer.__name__] = answer, sentence
        return answer

    return register


def alternative(exercise: str) -> Callable[[Any], Any]:
    """Register a right answer that is written differently."""

    def register(answer: Any) -> Any:
        _known.setdefault(exercise, Known()).alternatives[answer.__name__] = answer
        return answer

    return register


@cache
def load_known(assignment: str) -> dict[str, Known]:
    """What is known of each exercise of an assignment."""
    load_assignment(assignment)  # an unknown name gets its sentence there
    importlib.import_module(f"autograder.known.{assignment}")
    return {e.name: known_of(e) for e in load_assignment(assignment).exercises}


def known_of(exercise: Exercise) -> Known:
    return _known.setdefault(exercise.name, Known())
