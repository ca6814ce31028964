"""Stock nbgrader, as it is installed, gives our scores; `validate` says our sentences."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from autograder.build.notebooks import solved_notebook, student_notebook
from autograder.build.sample_class import PROSE, answers, fill, slipped, written_ids
from autograder.grade import Grader
from autograder.reader import Found
from cs_vl.checks.spec import load_assignment

ASSIGNMENT = load_assignment("a1_transformer")
SECRET = 4711
SLIPS = [
    ("scaled_dot_product_attention", " / math.sqrt(q.shape[-1])", ""),
    ("softmax", "x - x.max(axis=axis, keepdims=True)", "x"),
]
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


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course of nbgrader's with four submissions, graded by it."""
    root = tmp_path_factory.mktemp("course")
    source = without_experiments(solved_notebook(ASSIGNMENT))
    blank = student_notebook(source)
    right = answers(ASSIGNMENT)
    written = {grade_id: PROSE for grade_id in written_ids(blank)}
    names = list(right)
    notebooks = {
        "right": fill(blank, {**right, **written}),
        "wrong": fill(blank, slipped(ASSIGNMENT, SLIPS)),
        "half": fill(blank, {name: right[name] for name in names[::2]}),
        "blank": blank,
    }
    path = root / "source" / ASSIGNMENT.name / f"{ASSIGNMENT.name}.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(source, path)
    for student, notebook in notebooks.items():
        target = root / "submitted" / student / ASSIGNMENT.name / f"{ASSIGNMENT.name}.ipynb"
        target.parent.mkdir(parents=True)
        nbformat.write(notebook, target)
    for command in ("generate_assignment", "autograde"):
        done = nbgrader(command, ASSIGNMENT.name, cwd=root)
        assert done.returncode == 0, done.stderr[-3000:]
    return root


def test_the_student_notebook_is_what_nbgrader_makes(course):
    path = course / "release" / ASSIGNMENT.name / f"{ASSIGNMENT.name}.ipynb"
    theirs = nbformat.read(path, as_version=4)
    ours = student_notebook(without_experiments(solved_notebook(ASSIGNMENT)))
    assert [c.source for c in theirs.cells] == [c.source for c in ours.cells]
    keys = ("grade_id", "grade", "solution", "locked", "points")
    assert [[c.metadata.get("nbgrader", {}).get(k) for k in keys] for c in theirs.cells] == [
        [c.metadata.get("nbgrader", {}).get(k) for k in keys] for c in ours.cells
    ]


def test_scores_are_equal(course, tmp_path):
    (tmp_path / "secret").write_text(str(SECRET))
    grader = Grader(ASSIGNMENT, tmp_path)
    totals = {}
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        for student in ("right", "wrong", "half", "blank"):
            theirs = {
                grade.name.removeprefix("check-"): grade.auto_score
                for grade in gradebook.find_submission_notebook(
                    ASSIGNMENT.name, ASSIGNMENT.name, student
                ).grades
                if grade.name.startswith("check-")
            }
            path = course / "submitted" / student / ASSIGNMENT.name / f"{ASSIGNMENT.name}.ipynb"
            ours = {v.exercise: v.points for v in grader.grade(Found(student, path)).verdicts}
            assert theirs == ours, student
            totals[student] = sum(ours.values())
    full = sum(e.points for e in ASSIGNMENT.exercises)
    assert totals["right"] == full
    assert totals["blank"] == 0
    assert 0 < totals["half"] < full
    assert 0 < totals["wrong"] < full


@pytest.mark.parametrize(
    ("student", "said"),
    [("right", "Success"), ("wrong", "1/sqrt(d_k)"), ("blank", "is not written yet")],
)
def test_validate_says_one_sentence(course, student, said):
    path = course / "submitted" / student / ASSIGNMENT.name / f"{ASSIGNMENT.name}.ipynb"
    done = nbgrader("validate", str(path), cwd=course)
    assert said in done.stdout
    assert ("VALIDATION FAILED" in done.stdout.upper()) == (student != "right")
