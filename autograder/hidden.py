"""For stock nbgrader: its hidden tests judge an exercise on hidden cases, in the student's own kernel.

`cs-vl grade` keeps the judge out of the student's process; here both share one, as everything does in nbgrader.
"""

import os
from functools import cache

from autograder.references import Drawn, sentences
from cs_vl.checks.judge import judge
from cs_vl.checks.spec import Assignment, Exercise, find_exercise
from cs_vl.checks.visible import conclude, find_answer, runner_here


def secret() -> int:
    """The secret of a run of nbgrader: set CS_VL_SECRET to a number of your own."""
    return int(os.environ.get("CS_VL_SECRET", "20240917"))


@cache
def _hidden(name: str) -> tuple[Assignment, Exercise, Drawn]:
    assignment, exercise = find_exercise(name)
    return assignment, exercise, Drawn(assignment, secret())


def check_hidden(name: str) -> float | None:
    """The points on hidden cases under `nbgrader autograde`; silent everywhere else."""
    if os.environ.get("NBGRADER_EXECUTION") != "autograde":
        return None
    assignment, exercise, hidden = _hidden(name)
    run = runner_here(assignment, exercise, find_answer(name))
    return conclude(judge(exercise, run, hidden.cases_of(exercise), sentences(exercise), hidden=True))
