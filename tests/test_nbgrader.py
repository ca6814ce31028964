"""Stock nbgrader, as it is installed, gives our scores; `validate` says our sentences; `autograde` can use our engine."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from autograder.build.notebooks import solved_notebook, student_notebook
from autograder.build.sample_class import CLASSES, PROSE, answers, fill, slipped, written_ids
from autograder.grade import Grader, Result
from autograder.gradebook import Course, write_gradebook
from autograder.reader import Found
from cs_vl.checks.spec import Assignment, load_assignment
from tests.assignments import FIRST

SECRET = 4711
SLIPS = {
    "a1_transformer": [
        ("scaled_dot_product_attention", " / math.sqrt(q.shape[-1])", ""),
        ("softmax", "x - x.max(axis=axis, keepdims=True)", "x"),
    ],
    "a2_clip": [slip for who in ("edsger", "goran") for slip in CLASSES["a2_clip"][who].slips],
    "a4_vlm": list(CLASSES["a4_vlm"]["goran"].slips),
    "a5_sam": list(CLASSES["a5_sam"]["hana"].slips),
}
SAID = {
    "a1_transformer": "1/sqrt(d_k)",
    "a2_clip": "log(max_scale)",
    "a4_vlm": "lack the tanh",
    "a5_sam": "All masks of a prompt learn",
}  # by validate, of one of them
# Who hands in: the first assignment speaks for the engine, later ones for their exercises.
STUDENTS = {
    "a1_transformer": ("right", "wrong", "half", "blank"),
    "a2_clip": ("right", "wrong"),
    "a4_vlm": ("right", "wrong"),
    "a5_sam": ("right", "wrong"),
}
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


@pytest.fixture(scope="module", params=FIRST)
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


def handed_in(course: Path, assignment: Assignment, student: str) -> Found:
    return Found(student, course / "submitted" / student / assignment.name / f"{assignment.name}.ipynb")


@pytest.fixture(scope="module")
def grader(assignment, tmp_path_factory) -> Iterator[Grader]:
    results = tmp_path_factory.mktemp("results")
    (results / "secret").write_text(str(SECRET))
    grader = Grader(assignment, results, seconds=60)  # nbgrader has no limit for a case
    yield grader
    grader.close()


@pytest.fixture(scope="module")
def ours(course, assignment, grader) -> dict[str, Result]:
    """What `cs-vl grade` says."""
    return {who: grader.grade(handed_in(course, assignment, who)) for who in STUDENTS[assignment.name]}


def test_scores_are_equal(course, assignment, ours):
    name, totals = assignment.name, {}
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        for student in STUDENTS[name]:
            graded = gradebook.find_submission_notebook(name, name, student).grades
            theirs = {
                grade.name.removeprefix("check-"): grade.auto_score
                for grade in graded
                if grade.name.startswith("check-")
            }
            assert theirs == {v.exercise: v.points for v in ours[student].verdicts}, student
            totals[student] = ours[student].points
    full = assignment.points
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


def everything(database: Path, name: str, student: str) -> dict:
    """All that a database says of a submission, without random ids."""
    with Gradebook(f"sqlite:///{database}") as gradebook:
        submitted = gradebook.find_submission_notebook(name, name, student)
        columns = (
            "auto_score",
            "manual_score",
            "extra_credit",
            "needs_manual_grade",
            "max_score",
            "failed_tests",
        )
        return {
            "grades": {g.name: [getattr(g, column) for column in columns] for g in submitted.grades},
            "comments": {c.name: (c.auto_comment, c.manual_comment) for c in submitted.comments},
            "late": (submitted.late_submission_penalty, submitted.assignment.timestamp),
        }


def test_nbgrader_autograde_can_use_our_engine(course, assignment, grader, ours, tmp_path):
    """The same database as `cs-vl grade` writes, with what is nbgrader's own: overwritten cells, late work, bad files."""
    if assignment.name != "a2_clip":
        pytest.skip("one assignment speaks for the hook")
    name, root = assignment.name, tmp_path / "course"
    shutil.copytree(course, root, ignore=shutil.ignore_patterns("autograded"))
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        for student in STUDENTS[name]:
            gradebook.remove_submission(name, student)
        gradebook.update_or_create_assignment(name, duedate="2026-01-01 00:00:00")
    right = handed_in(root, assignment, "right").path
    cheat = nbformat.read(right, as_version=4)
    cheat.cells = [c for c in cheat.cells if c.metadata.get("nbgrader", {}).get("grade_id") != "check-CLIP"]
    for cell in cheat.cells:
        settings = cell.metadata.get("nbgrader", {})
        if settings.get("grade_id") == "nt_xent":
            cell.source = "while True:\n    pass"
        if settings.get("grade_id") == "check-nt_xent":
            cell.source, settings["points"] = "1000.0", 1000
    for student, text in (("cheat", nbformat.writes(cheat)), ("cut", right.read_text()[:5000])):
        path = handed_in(root, assignment, student).path
        path.parent.mkdir(parents=True)
        path.write_text(text)
    for student in ("right", "cheat"):
        when = "2026-01-01 05:00:00 UTC" if student == "cheat" else "2025-12-31 23:00:00 UTC"
        (root / "submitted" / student / name / "timestamp.txt").write_text(when)
    settings = (
        "c = get_config()\n"
        "c.Autograde.autograde_preprocessors = [\n"
        '    "autograder.gradebook.plugin.CsVlGrade", "nbgrader.preprocessors.AssignLatePenalties",\n'
        '    "nbgrader.preprocessors.CheckCellMetadata"]\n'
        f"c.CsVlGrade.results, c.CsVlGrade.seconds = {str(grader.results)!r}, 60\n"
        'c.LateSubmissionPlugin.penalty_method = "zero"\n'
    )
    (root / "nbgrader_config.py").write_text(settings)
    done = nbgrader("autograde", name, cwd=root)
    assert "error processing assignment 'a2_clip' for student 'cut'" in done.stderr  # the others are graded
    assert not (root / "autograded" / "cut").exists() or not list(
        (root / "autograded" / "cut" / name).iterdir()
    )

    found = [handed_in(root, assignment, who) for who in ("right", "wrong", "cheat")]
    results = [ours["right"], ours["wrong"], grader.grade(found[2])]
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "nbgrader_config.py").write_text(settings)
    course_of_ours = Course.of(tmp_path, theirs)
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        due = gradebook.find_assignment(name).duedate
    shutil.copytree(root / "submitted", theirs / "submitted")
    found = [handed_in(theirs, assignment, one.student) for one in found]
    assert write_gradebook(course_of_ours, name, results, found, due=due) == []
    for student in ("right", "wrong", "cheat"):
        hooked = everything(root / "gradebook.db", name, student)
        assert hooked == everything(theirs / "gradebook.db", name, student), student
        shown = json.loads((root / "autograded" / student / name / f"{name}.ipynb").read_text())
        sources = {c["metadata"].get("nbgrader", {}).get("grade_id"): c["source"] for c in shown["cells"]}
        assert {"check-CLIP", "CLIP", "nt_xent", "check-nt_xent"} <= set(sources)
        assert "check_hidden" in "".join(sources["check-nt_xent"])
    cheated = everything(root / "gradebook.db", name, "cheat")
    assert cheated["grades"]["check-nt_xent"][0] == 0 and cheated["grades"]["check-CLIP"][0] == 8
    assert cheated["late"][0] == sum(row[0] or 0 for row in cheated["grades"].values())
