"""What a check is made of: an exercise has stages; a stage has a case generator and a probe.

A *case* is inputs only, drawn from a seeded generator.  A *probe* runs the student's function on them and
returns named results; it holds no expected value.  The *judge* (judge.py) compares them with what the
same probe gave with the library's answer.
"""

import importlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np

Inputs = dict[str, Any]  # whatever wire.py carries: tensors, arrays, numbers, strings, bytes, lists, None
Results = dict[str, Any]  # the same, named: "output", "gradient of q"

KINDS = ("value", "gradient", "property")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One mechanism of an exercise, judged by itself.

    Args:
        name: what the report card calls it ("boolean mask", "gradient").
        kind: "value", "gradient" or "property".  The last two earn points only once the stages that they
            need have passed, so that zeros or noise never score by having a zero gradient.
        points: what passing it earns.
        case: draws the inputs of one case.
        probe: `probe(fn, inputs)` -> named results.
        cases: how many cases are drawn; all must pass.
        rtol, atol: |got - expected| <= atol + rtol * |expected|, compared in float64.
        needs: names of the stages that must pass first (default: the first one, except for "value").
        hint: one sentence, said when the stage fails and no known mistake fits.
    """

    name: str
    points: float
    case: Callable[[np.random.Generator], Inputs]
    probe: Callable[[Any, Inputs], Results]
    kind: str = "value"
    cases: int = 2
    rtol: float = 1e-4
    atol: float = 1e-5
    needs: tuple[str, ...] | None = None
    hint: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}; got {self.kind!r}")


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """Something a student writes: a function, or methods of a class whose `__init__` is given.

    Args:
        module: where the answer stands ("cs_vl.nn.attention").
        name: of the function or class, and of the exercise.
        builds_on: the earlier exercises of its assignment that an answer may call, with all that those build
            on, in the notebook's order.  Grading has a stand-in for each (`load_stand_ins`): no exercise's
            points depend on another.
    """

    name: str
    module: str
    stages: tuple[Stage, ...]
    builds_on: tuple[str, ...] = ()

    @property
    def points(self) -> float:
        return sum(stage.points for stage in self.stages)

    @property
    def answer(self) -> Any:
        """The library's object of this name (in the student edition: what forwards to the student's)."""
        return getattr(importlib.import_module(self.module), self.name)

    def needs(self, stage: Stage) -> tuple[str, ...]:
        if stage.needs is not None:
            return stage.needs
        return () if stage.kind == "value" else (self.stages[0].name,)

    def draw(self, stage: Stage, seed: int) -> list[Inputs]:
        """The stage's cases for a seed; other stages and exercises draw others."""
        words = [seed, zlib.crc32(self.name.encode()), zlib.crc32(stage.name.encode())]
        return [stage.case(np.random.default_rng([*words, i])) for i in range(stage.cases)]


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """All exercises of one notebook, in its order.

    Args:
        preload: modules that are slow to import and that answers come to need (torch's first optimiser
            imports its compiler): loaded before any exercise's time runs.
    """

    name: str
    title: str
    exercises: tuple[Exercise, ...]
    preload: tuple[str, ...] = ()

    @property
    def points(self) -> float:
        """What all exercises earn together; written questions come on top."""
        return sum(exercise.points for exercise in self.exercises)

    @property
    def built_on(self) -> set[str]:
        """The names of the exercises that others build on."""
        return {name for exercise in self.exercises for name in exercise.builds_on}

    def __getitem__(self, name: str) -> Exercise:
        for exercise in self.exercises:
            if exercise.name == name:
                return exercise
        raise KeyError(
            f"{self.name} has no exercise {name!r}; it has {', '.join(e.name for e in self.exercises)}"
        )


def in_order(names: Sequence[str], *modules: ModuleType) -> tuple[Exercise, ...]:
    """The exercises that an assignment's modules of checks list as EXERCISES, in the notebook's order."""
    found: dict[str, Exercise] = {e.name: e for module in modules for e in module.EXERCISES}
    return tuple(found[name] for name in names)


ASSIGNMENTS = ("a1_transformer", "a2_clip", "a4_vlm", "a5_sam")  # in the order of the course


@cache
def load_assignment(name: str) -> Assignment:
    """The assignment of this name, from `cs_vl.checks.<name>`.

    Raises:
        ValueError: no such assignment.
    """
    if name not in ASSIGNMENTS:
        raise ValueError(f"there is no assignment {name!r}; there is {', '.join(ASSIGNMENTS)}")
    return importlib.import_module(f"cs_vl.checks.{name}").ASSIGNMENT


@cache
def load_stand_ins(assignment: str) -> dict[str, Any] | None:
    """{exercise: a right function, or a class with right methods}, for each that others build on.

    They take the place of the student's while another exercise is judged.  None where the module is absent,
    as in what students get: a stand-in is an answer.
    """
    name = f"cs_vl.checks.{assignment}.stand_ins"
    try:
        return importlib.import_module(name).STAND_INS
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            return None
        raise


@cache
def find_exercise(name: str) -> tuple[Assignment, Exercise]:
    """The exercise of this name and its assignment.

    Raises:
        ValueError: no such exercise.
    """
    for assignment in map(load_assignment, ASSIGNMENTS):
        for exercise in assignment.exercises:
            if exercise.name == name:
                return assignment, exercise
    raise ValueError(f"there is no exercise {name!r}: use the name in the notebook's own check(...) cell")
