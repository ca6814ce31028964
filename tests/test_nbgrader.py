"""Stock nbgrader, as it is installed, gives our scores; `validate` says our sentences."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from autograder.build.notebooks import solved_notebook, student_notebook
from autograder.build.sample_class import CLASSES, PROSE, answers, fill, slipped, written_ids
from autograder.grade import Grader
from autograder.reader import Found
from cs_vl.checks.spec import ASSIGNMENTS, Assignment, load_assignment

SECRET = 4711
SLIPS = {
    "a1_transformer": [
        ("scaled_dot_product_attention", " / math.sqrt(q.shape[-1])", ""),
        ("softmax", "x - x.max(axis=axis, keepdims=True)", "x"),
    ],
    "a2_clip": [slip for who in ("edsger", "goran") for slip in CLASSES["a2_clip"][who].slips],
}
SAID = {"a1_transformer": "1/sqrt(d_k)", "a2_clip": "log(max_scale)"}  # by validate, of one of them
# Who hands in: the first assignment speaks for the engine, later ones for their exercises.
STUDENTS = {"a1_transformer": ("right", "wrong", "half", "blank"), "a2_clip": ("right", "wrong")}
ENVIRONMENT = {
    **os.environ,
    "CS_VL_SECRET": str(SECRET),
    "OMP_NUM_THREADS": "1",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # nbgrader calls alembic
}


def without_experiments(notebook):
    """nbgrader runs the story, too; what it scores does not depend on that."""
    notebook.cells = [c for c in notebook.cells if c.cell_type != "code" or "nbgrader" in c.metadata]
    return notebook


def nbgrader(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "nbgrader", *arguments]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=500)


@pytest.fixture(scope="module", params=ASSIGNMENTS)
def assignment(request) -> Assignment:
    return load_assignment(request.param)


@pytest.fixture(scope="module")
def course(assignment, tmp_path_factory):
    """A course of nbgrader's with submissions, graded by it."""
    root = tmp_path_factory.mktemp("course")
    source = without_experiments(solved_notebook(assignment))
    blank = student_notebook(source)
    right = answers(assignment)
    written = {grade_id: PROSE[assignment.name] for grade_id in written_ids(blank)}
    names = list(right)
    notebooks = {
        "right": fill(blank, {**right, **written}),
        "wrong": fill(blank, slipped(assignment, SLIPS[assignment.name])),
        "half": fill(blank, {name: right[name] for name in names[::2]}),
        "blank": blank,
    }
    path = root / "source" / assignment.name / f"{assignment.name}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(source, path)
    for student in STUDENTS[assignment.name]:
        target = root / "submitted" / student / assignment.name / f"{assignment.name}.ipynb"
        target.parent.mkdir(parents=True)
        nbformat.write(notebooks[student], target)
    for command in ("generate_assignment", "autograde"):
        done = nbgrader(command, assignment.name, cwd=root)
        assert done.returncode == 0, done.stderr[-3000:]
    return root


def test_the_student_notebook_is_what_nbgrader_makes(course, assignment):
    path = course / "release" / assignment.name / f"{assignment.name}.ipynb"
    theirs = nbformat.read(path, as_version=4)
    ours = student_notebook(without_experiments(solved_notebook(assignment)))
    assert [c.source for c in theirs.cells] == [c.source for c in ours.cells]
    keys = ("grade_id", "grade", "solution", "locked", "points")
    assert [[c.metadata.get("nbgrader", {}).get(k) for k in keys] for c in theirs.cells] == [
        [c.metadata.get("nbgrader", {}).get(k) for k in keys] for c in ours.cells
    ]


def test_scores_are_equal(course, assignment, tmp_path):
    (tmp_path / "secret").write_text(str(SECRET))
    grader = Grader(assignment, tmp_path, seconds=60)  # nbgrader has no limit for a case
    name, totals = assignment.name, {}
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        for student in STUDENTS[name]:
            graded = gradebook.find_submission_notebook(name, name, student).grades
            theirs = {
                grade.name.removeprefix("check-"): grade.auto_score
                for grade in graded
                if grade.name.startswith("check-")
            }
            path = course / "submitted" / student / name / f"{name}.ipynb"
            ours = {v.exercise: v.points for v in grader.grade(Found(student, path)).verdicts}
            assert theirs == ours, student
            totals[student] = sum(ours.values())
    full = sum(e.points for e in assignment.exercises)
    assert totals.pop("right") == full
    assert totals.pop("blank", 0) == 0
    assert all(0 < total < full for total in totals.values())


@pytest.mark.parametrize("student", ["right", "wrong", "blank"])
def test_validate_says_one_sentence(course, assignment, student):
    if student not in STUDENTS[assignment.name]:
        pytest.skip("the first assignment speaks for blanks")
    said = {"right": "Success", "wrong": SAID[assignment.name], "blank": "is not written yet"}[student]
    path = course / "submitted" / student / assignment.name / f"{assignment.name}.ipynb"
    done = nbgrader("validate", str(path), cwd=course)
    assert said in done.stdout
    assert ("VALIDATION FAILED" in done.stdout.upper()) == (student != "right")
