"""No exercise depends on another: break each in turn, and every other keeps its full points."""

import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from autograder.build.edition import build_edition
from autograder.build.regions import find_region
from autograder.references import Drawn, sentences
from cs_vl.checks.cells import Cell
from cs_vl.checks.judge import Verdict
from cs_vl.checks.spec import ASSIGNMENTS, Assignment, Exercise, load_assignment
from cs_vl.checks.submission import Submitted
from cs_vl.checks.visible import VISIBLE_SEED

EVERY = [(a, e) for a in map(load_assignment, ASSIGNMENTS) for e in a.exercises]
SITE = [Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")]

BROKEN_FUNCTION = """\
from cs_vl.exercise import exercise

@exercise
def {name}(*args, **kwargs):
    raise RuntimeError("broken")
"""
BROKEN_CLASS = """\
from torch import nn
from cs_vl.exercise import exercise

@exercise
class {name}(nn.Module):
    def broken(self, *args, **kwargs):
        raise RuntimeError("broken")

    {methods} = broken
"""


def broken(exercise: Exercise) -> str:
    """A cell that defines the exercise; whoever so much as makes or calls it gets an exception."""
    if not isinstance(exercise.answer, type):
        return BROKEN_FUNCTION.format(name=exercise.name)
    methods = " = ".join(["__init__", *find_region(exercise).methods])
    return BROKEN_CLASS.format(name=exercise.name, methods=methods)


def notebook(assignment: Assignment, breaks: Exercise | None = None) -> list[Cell]:
    """All answers in one namespace, import cells included, with one exercise broken."""
    cells: list[Cell] = []
    for exercise in assignment.exercises:
        region = find_region(exercise)
        source = broken(exercise) if exercise is breaks else region.source
        cells.append(Cell(len(cells) + 1, "code", region.imports))
        cells.append(Cell(len(cells) + 1, "code", source, exercise.name))
    return cells


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> Callable[[Assignment, Exercise | None], dict[str, Verdict]]:
    """Judges a notebook on the student edition of its assignment, in a worker that sees no answer."""

    @cache
    def edition(assignment: Assignment) -> tuple[Path, Drawn]:
        folder = tmp_path_factory.mktemp(assignment.name)
        build_edition(assignment.name, folder)
        return folder, Drawn(assignment, VISIBLE_SEED)

    def verdicts(assignment: Assignment, breaks: Exercise | None) -> dict[str, Verdict]:
        folder, drawn = edition(assignment)
        with Submitted(assignment, notebook(assignment, breaks), path=[folder, *SITE]) as submitted:
            found = submitted.verdicts(drawn.cases_of, sentences, hidden=False)
            return {verdict.exercise: verdict for verdict in found}

    return verdicts


@pytest.mark.parametrize("assignment", [load_assignment(name) for name in ASSIGNMENTS], ids=ASSIGNMENTS)
def test_all_answers_together_earn_all_points(judged, assignment: Assignment):
    verdicts = judged(assignment, None)
    assert [v.exercise for v in verdicts.values()] == [e.name for e in assignment.exercises]
    assert {n: (v.points, v.sentence) for n, v in verdicts.items() if not v.passed} == {}


@pytest.mark.parametrize(("assignment", "exercise"), EVERY, ids=[e.name for _, e in EVERY])
def test_a_broken_exercise_costs_no_other_points(judged, assignment: Assignment, exercise: Exercise):
    verdicts = judged(assignment, exercise)
    mine = verdicts.pop(exercise.name)
    assert (mine.status, mine.points) == ("error", 0), mine
    assert {name: (v.points, v.sentence) for name, v in verdicts.items() if v.points < v.out_of} == {}
