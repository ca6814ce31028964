"""The visible checks: `check("softmax")` in a notebook, on cases stored with their answers."""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from cs_vl.checks import wire
from cs_vl.checks.card import show
from cs_vl.checks.judge import StageCases, Verdict, judge
from cs_vl.checks.run import Outcome, run_probe, runs_on_own
from cs_vl.checks.spec import Assignment, Exercise, Inputs, Stage, find_exercise
from cs_vl.exercise import find_own

VISIBLE_SEED = 0
FOLDER = Path(__file__).with_name("reference")


class CheckFailed(AssertionError):
    """Raised under `nbgrader validate` only, with one sentence."""


def reference_path(assignment: str, folder: Path = FOLDER) -> Path:
    return folder / assignment


@cache
def references(assignment: str) -> dict[str, Any]:
    """The stored visible cases: {exercise: {"sentences": ..., "stages": {stage: StageCases}}}."""
    tree = wire.load(reference_path(assignment))
    for exercise in tree.values():
        exercise["stages"] = {name: StageCases(**cases) for name, cases in exercise["stages"].items()}
    return tree


def _stored(exercise: Exercise) -> dict[str, Any]:
    assignment, _ = find_exercise(exercise.name)
    stored = references(assignment.name).get(exercise.name)
    if stored is None or stored["stages"].keys() != {stage.name for stage in exercise.stages}:
        raise FileNotFoundError(f"the stored cases of {exercise.name} are not current: run `make build`")
    return stored


def visible_cases(exercise: Exercise) -> Callable[[Stage], StageCases]:
    """What `judge` asks for the visible cases of an exercise's stages.

    Raises:
        FileNotFoundError: with a sentence, where the stored cases are missing, damaged or not current.
    """
    stages = _stored(exercise)["stages"]
    return lambda stage: stages[stage.name]


def visible_sentences(exercise: Exercise) -> dict[str, str]:
    """What to say for each known mistake; raises as `visible_cases` does."""
    return _stored(exercise)["sentences"]


def judge_visible(exercise: Exercise, run: Callable[[Stage, Inputs], Outcome]) -> Verdict:
    """Judge an exercise on its visible cases; `run` is as in `judge`."""
    return judge(exercise, run, visible_cases(exercise), visible_sentences(exercise))


def judge_here(assignment: Assignment, exercise: Exercise, answer: Any) -> Verdict:
    """Judge an answer in this process."""
    return judge_visible(exercise, runner_here(assignment, exercise, answer))


def runner_here(assignment: Assignment, exercise: Exercise, answer: Any) -> Any:
    """What `judge` needs to run an answer in this process; None is an answer that is not there."""

    def run(stage: Stage, inputs: Any) -> Outcome:
        if answer is None:
            return Outcome(
                "missing",
                message=f"{exercise.name} is not defined: run the cell with its blank first "
                "(and keep its first line, @exercise).",
            )
        return run_probe(assignment, exercise, stage, inputs, answer)

    return run


def find_answer(name: str) -> Any:
    """The student's function or class: what `@exercise` registered, or what the notebook calls so."""
    return find_own(name, vars(sys.modules["__main__"]))


OWN_FAILS = (
    "This check runs on your own {} here, which does not pass its check yet: mend that first. "
    "(Grading puts a right one in its place.)"
)


def note_own(
    assignment: Assignment, exercise: Exercise, verdict: Verdict, passes: Callable[[Exercise], bool]
) -> None:
    """Where a check fails that runs on the student's own earlier answers, name the first that fails, too.

    Args:
        passes: whether an earlier exercise passes its own check; asked only then.
    """
    if verdict.status not in ("passed", "missing"):
        wrong = (other.name for other in runs_on_own(assignment, exercise) if not passes(other))
        verdict.note = next(map(OWN_FAILS.format, wrong), "")


def check(exercise: Any) -> float | None:
    """Check one exercise and show its report card.

    Args:
        exercise: its name, or the function or class itself.

    Returns:
        None in a notebook.  Under `nbgrader autograde` the points, a float.

    Raises:
        CheckFailed: under `nbgrader validate`, where the check fails.  Nowhere else: Run All goes on.
    """
    name = exercise if isinstance(exercise, str) else getattr(exercise, "__name__", str(exercise))
    try:
        assignment, spec = find_exercise(name)
        verdict = judge_here(assignment, spec, find_answer(name))
        with contextlib.redirect_stdout(io.StringIO()):  # what the others print is not asked for
            note_own(
                assignment,
                spec,
                verdict,
                lambda other: judge_here(assignment, other, find_answer(other.name)).passed,
            )
    except (ValueError, OSError) as error:
        print(f"check: {error}")
        return 0.0 if os.environ.get("NBGRADER_EXECUTION") == "autograde" else None
    return conclude(verdict)


def conclude(verdict: Verdict) -> float | None:
    """Say a verdict in the way of whoever runs the notebook: a person, `validate` or `autograde`."""
    mode = os.environ.get("NBGRADER_EXECUTION")
    if mode == "autograde":
        return float(verdict.points)
    if mode == "validate" and not verdict.passed:
        raise CheckFailed(f"{verdict.exercise}: {verdict.sentence} {verdict.note}".rstrip())
    show(verdict)
    return None
