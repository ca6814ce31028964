"""Draw cases and compute, with the library's answers and the known mistakes, what they give.

Only here do answers and mistakes run.  `visible_cases` are stored with the student edition; hidden ones
are drawn from a results folder's secret while grading.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from autograder.known import known_of, load_known
from cs_vl.checks import wire
from cs_vl.checks.judge import StageCases
from cs_vl.checks.run import run_probe
from cs_vl.checks.spec import Assignment, Exercise, Inputs, Results, Stage, load_assignment
from cs_vl.checks.visible import VISIBLE_SEED


class Drawn:
    """The cases of one seed (for hidden ones: a secret), each computed when it is first asked for."""

    def __init__(self, assignment: Assignment, seed: int):
        self.assignment, self.seed = assignment, seed
        load_known(assignment.name)

        self._drawn: dict[tuple[str, str], StageCases] = {}

    def cases_of(self, exercise: Exercise) -> Callable[[Stage], StageCases]:
        """What `judge` asks for the cases of an exercise's stages."""

        def cases(stage: Stage) -> StageCases:
            key = exercise.name, stage.name
            if key not in self._drawn:
                self._drawn[key] = stage_cases(self.assignment, exercise, stage, self.seed)
            return self._drawn[key]

        return cases


def stage_cases(assignment: Assignment, exercise: Exercise, stage: Stage, seed: int) -> StageCases:
    """A stage's cases for a seed: inputs, and what the answer and each known mistake give.

    Raises:
        RuntimeError: the library's own answer fails on a case of its own: a fault of the course.
    """
    inputs = unseen(exercise, stage, seed)
    expected = []
    for case in inputs:
        outcome = run_probe(assignment, exercise, stage, case, exercise.answer)
        if outcome.status != "ok":
            raise RuntimeError(f"the answer of {exercise.name} fails in “{stage.name}”: {outcome}")
        expected.append(outcome.results)
    return StageCases(inputs, expected, Mistaken(assignment, exercise, stage, inputs))


def unseen(exercise: Exercise, stage: Stage, seed: int) -> list[Inputs]:
    """The cases of a seed; where chance made one of them a visible case, which students have seen, others.

    Raises:
        RuntimeError: the stage has no other cases: a fault of the course.
    """
    if seed == VISIBLE_SEED:
        return exercise.draw(stage, seed)
    visible = {_digest(case) for case in exercise.draw(stage, VISIBLE_SEED)}
    for attempt in range(100):
        inputs = exercise.draw(stage, seed + attempt * 2**48)  # secrets are smaller
        if visible.isdisjoint(map(_digest, inputs)):
            return inputs
    raise RuntimeError(
        f"“{stage.name}” of {exercise.name} has too few cases: hidden ones must differ from visible ones"
    )


def _digest(case: Inputs) -> bytes:
    skeleton, arrays = wire.pack(case)
    parts = [json.dumps(skeleton).encode(), *(x for name in sorted(arrays) for x in _parts(arrays[name]))]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def _parts(array: Any) -> list[bytes]:
    return [str((array.shape, array.dtype)).encode(), array.tobytes()]


class Mistaken(Mapping[str, list[Results | None]]):
    """What each known mistake gives on a stage's cases; computed when a failure is first to be named."""

    _one_at_a_time = threading.Lock()  # judges may share it; a probe runs under global settings

    def __init__(self, assignment: Assignment, exercise: Exercise, stage: Stage, inputs: list[Inputs]):
        self._case = assignment, exercise, stage
        self._inputs = inputs
        self._given: dict[str, list[Results | None]] = {}

    def __getitem__(self, name: str) -> list[Results | None]:
        with self._one_at_a_time:
            if name not in self._given:
                wrong = known_of(self._case[1]).mistakes[name]
                outcomes = [run_probe(*self._case, case, wrong) for case in self._inputs]
                self._given[name] = [o.results if o.status == "ok" else None for o in outcomes]
        return self._given[name]

    def __iter__(self) -> Iterator[str]:
        return iter(known_of(self._case[1]).mistakes)

    def __len__(self) -> int:
        return len(known_of(self._case[1]).mistakes)


def sentences(exercise: Exercise) -> dict[str, str]:
    return known_of(exercise).sentences


def build_visible(assignment_name: str) -> dict:
    """The visible cases of an assignment, as they are stored with the student edition."""
    assignment = load_assignment(assignment_name)
    drawn = Drawn(assignment, VISIBLE_SEED)
    return {
        exercise.name: {
            "sentences": sentences(exercise),
            "stages": {stage.name: _stored(drawn.cases_of(exercise)(stage)) for stage in exercise.stages},
        }
        for exercise in assignment.exercises
    }


def _stored(cases: StageCases) -> dict:
    return {**vars(cases), "mistakes": dict(cases.mistakes)}
