"""Draw cases and compute, with the library's answers and the known mistakes, what they give.

Only here do answers and mistakes run.  `visible_cases` are stored with the student edition; hidden ones
are drawn from a results folder's secret while grading.
"""

from collections.abc import Callable
from pathlib import Path

from autograder.known import known_of, load_known
from cs_vl.checks import wire
from cs_vl.checks.judge import StageCases
from cs_vl.checks.run import run_probe
from cs_vl.checks.spec import Assignment, Exercise, Stage, load_assignment
from cs_vl.checks.visible import VISIBLE_SEED, reference_path


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
    inputs = exercise.draw(stage, seed)
    expected = []
    for case in inputs:
        outcome = run_probe(assignment, exercise, stage, case, exercise.answer)
        if outcome.status != "ok":
            raise RuntimeError(f"the answer of {exercise.name} fails in “{stage.name}”: {outcome}")
        expected.append(outcome.results)
    mistakes = {
        name: [
            o.results if o.status == "ok" else None
            for o in (run_probe(assignment, exercise, stage, case, wrong) for case in inputs)
        ]
        for name, wrong in known_of(exercise).mistakes.items()
    }
    return StageCases(inputs, expected, mistakes)


def sentences(exercise: Exercise) -> dict[str, str]:
    return known_of(exercise).sentences


def build_visible(assignment_name: str, folder: Path | None = None) -> dict:
    """Compute the visible cases of an assignment; write them to `folder` where one is given."""
    assignment = load_assignment(assignment_name)
    drawn = Drawn(assignment, VISIBLE_SEED)
    tree = {
        exercise.name: {
            "sentences": sentences(exercise),
            "stages": {stage.name: vars(drawn.cases_of(exercise)(stage)) for stage in exercise.stages},
        }
        for exercise in assignment.exercises
    }
    if folder is not None:
        wire.save(reference_path(assignment_name, folder), tree)
    return tree
