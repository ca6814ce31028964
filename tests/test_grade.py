"""Grading: the sample class from end to end, runs that are killed, and submissions that cheat or damage."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import jupytext
import nbformat
import numpy as np
import pytest
import torch
from rich.console import Console

import autograder.cli
import autograder.grade
from autograder.build.notebooks import student_path
from autograder.build.sample_class import CLASSES, FOLDER, answers, fill
from autograder.grade import Grader, Result, grade_class
from autograder.journal import Journal
from autograder.known import load_known
from autograder.reader import Found, find_submissions
from autograder.references import unseen
from autograder.report import write_report
from autograder.sandbox.pool import Pool
from cs_vl.checks.cells import Cell
from cs_vl.checks.compare import compare
from cs_vl.checks.spec import Assignment, load_assignment
from cs_vl.checks.submission import Submitted
from cs_vl.checks.visible import VISIBLE_SEED, references
from cs_vl.checks.worker import Worker
from tests.commands import invoke

A1, A2, A4, A5 = map(load_assignment, ("a1_transformer", "a2_clip", "a4_vlm", "a5_sam"))
FULL = A1.points
SECRET = "4711"
STUDENTS = (
    "ada", "barbara", "charles", "edsger", "fatima", "goran", "hana", "ivan", "jun", "katherine", "leslie", "maryam",
)  # fmt: skip


def command(submissions: Path, results: Path, assignment: Assignment = A1) -> list[str]:
    grade = [
        sys.executable,
        "-m",
        "cs_vl.cli",
        "grade",
        assignment.name,
        str(submissions),
        "-o",
        str(results),
    ]
    return [*grade, "--roster", str(FOLDER / "roster.csv"), "--jobs", "2", "--seconds", "5"]


def results_of(folder: Path) -> dict[str, Result]:
    tree = json.loads((folder / "grades.json").read_text())
    return {r["student"]: Result.from_json(r) for r in tree["results"]}


def without_seconds(folder: Path) -> dict:
    tree = json.loads((folder / "grades.json").read_text())
    measured = {"seconds": 0, "cpu_seconds": 0, "peak_mb": 0}
    return {**tree, "results": [{**result, **measured} for result in tree["results"]]}


def grade_id(cell) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def cells_of(student: str, assignment: Assignment = A1) -> list:
    path = FOLDER / "submitted" / student / assignment.name / f"{assignment.name}.ipynb"
    return nbformat.read(path, as_version=4).cells


def new_results(folder: Path) -> Path:
    folder.mkdir()
    (folder / "secret").write_text(SECRET)
    return folder


# --- the sample class --------------------------------------------------------------------------------------


def grade_class_of(assignment: Assignment, root: Path) -> Path:
    """The sample class, graded by the command line into a folder with a relative name."""
    results = new_results(root / "results")
    arguments = command(FOLDER / "submitted", Path("results"), assignment)
    done = subprocess.run(arguments, cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    assert len(re.findall(r"(?m)^\d+ of 13: ", done.stderr)) == 13  # in a pipe, a plain line for each
    assert "\x1b" not in done.stderr + done.stdout
    assert f"Report: {results.resolve() / 'index.html'}" in done.stdout
    return results


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> Path:
    return grade_class_of(A1, tmp_path_factory.mktemp("class"))


@pytest.fixture(scope="module")
def graded_a2(tmp_path_factory) -> Path:
    return grade_class_of(A2, tmp_path_factory.mktemp("class"))


@pytest.fixture(scope="module")
def graded_a4(tmp_path_factory) -> Path:
    return grade_class_of(A4, tmp_path_factory.mktemp("class"))


@pytest.fixture(scope="module")
def graded_a5(tmp_path_factory) -> Path:
    return grade_class_of(A5, tmp_path_factory.mktemp("class"))


def test_everybody_has_the_expected_score(graded):
    results = results_of(graded)
    assert set(results) == {*STUDENTS, "nobody"}
    for student in ("ada", "barbara", "katherine", "leslie"):
        assert results[student].points == FULL == 90, student
        assert all(verdict.passed for verdict in results[student].verdicts)
    assert results["maryam"].points == 0
    assert {verdict.status for verdict in results["maryam"].verdicts} == {"missing"}
    assert [w.status for w in results["maryam"].written] == ["unanswered"] * 2
    assert results["ada"].awaiting == 10
    assert results["nobody"].status == "no file" and results["nobody"].points is None
    with (graded / "grades.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    for student, result in results.items():
        points = rows[student]["points"]
        assert points == ("" if result.points is None else f"{result.points:g}")


@pytest.mark.parametrize("assignment", [A1, A2, A4, A5], ids=lambda assignment: assignment.name)
def test_the_answers_written_differently_are_written_differently(assignment):
    ada, barbara = ({grade_id(c): c.source for c in cells_of(who, assignment)} for who in ("ada", "barbara"))
    different = [e.name for e in assignment.exercises if ada[e.name].split() != barbara[e.name].split()]
    assert len(different) >= 0.8 * len(assignment.exercises)


def test_half_is_blank(graded):
    charles = results_of(graded)["charles"]
    half = len(A1.exercises) // 2
    assert [v.status for v in charles.verdicts] == ["passed"] * half + ["missing"] * (
        len(A1.exercises) - half
    )
    assert charles.points == sum(e.points for e in A1.exercises[:half])


@pytest.mark.parametrize(
    ("student", "exercise", "mistake"),
    [
        ("edsger", "scaled_dot_product_attention", "without_scale"),
        ("fatima", "softmax", "overflows"),
        ("goran", "layer_norm_backward", "no_path_through_the_mean"),
        ("hana", "PatchEmbed", "ColumnsFirst"),
    ],
)
def test_a_misconception_is_named(graded, student, exercise, mistake):
    result = results_of(graded)[student]
    (wrong,) = [v for v in result.verdicts if not v.passed]
    assert (wrong.exercise, wrong.status, wrong.mistake) == (exercise, "failed", mistake)
    assert wrong.sentence == load_known(A1.name)[exercise].sentences[mistake]
    assert result.points == FULL - wrong.out_of + wrong.points < FULL


@pytest.mark.parametrize(
    ("student", "exercise", "status", "said"),
    [
        ("ivan", "MultiHeadAttention", "error", "is not Python"),
        ("jun", "bpe_encode", "timeout", "is there an endless loop?"),
    ],
)
def test_a_fault_costs_its_own_exercise_only(graded, student, exercise, status, said):
    result = results_of(graded)[student]
    (wrong,) = [v for v in result.verdicts if not v.passed]
    assert (wrong.exercise, wrong.status, wrong.points) == (exercise, status, 0)
    assert said in wrong.sentence
    assert result.points == FULL - wrong.out_of


def test_an_endless_story_and_a_deleted_check_cost_nothing(graded):
    assert any("while True:\n    step += 1" in cell.source for cell in cells_of("katherine"))
    assert "check-softmax" in map(grade_id, cells_of("ada"))
    assert "check-softmax" not in map(grade_id, cells_of("leslie"))
    results = results_of(graded)
    assert results["katherine"].points == results["leslie"].points == FULL
    assert results["katherine"].seconds < 5 * max(results["ada"].seconds, 2)


def test_a2s_class_has_the_expected_scores(graded_a2):
    results = results_of(graded_a2)
    handed_in = {student for student, result in results.items() if result.status != "no file"}
    assert handed_in == set(CLASSES[A2.name]) and len(handed_in) == 8
    assert {results[student].status for student in handed_in} == {"graded"}
    half = A2.exercises[: len(A2.exercises) // 2]
    assert results["ada"].points == results["barbara"].points == FULL
    assert results["charles"].points == sum(e.points for e in half)  # the endless training costs nothing
    assert results["maryam"].points == 0
    assert results["ada"].awaiting == 10 and results["maryam"].awaiting == 0
    assert results["jun"].notes == results["nobody"].notes == ["nothing was handed in"]


@pytest.mark.parametrize(
    ("student", "exercise", "mistake"),
    [
        ("edsger", "siglip_loss", "mean_over_all_pairs"),
        ("fatima", "info_nce_numpy_backward", "one_over_b_missing"),
        ("goran", "clamp_logit_scale", "upper_bound_not_a_logarithm"),
    ],
)
def test_a_misconception_of_a2_is_named(graded_a2, student, exercise, mistake):
    result = results_of(graded_a2)[student]
    (wrong,) = [v for v in result.verdicts if not v.passed]
    assert (wrong.exercise, wrong.status, wrong.mistake) == (exercise, "failed", mistake)
    assert wrong.sentence == load_known(A2.name)[exercise].sentences[mistake]
    assert result.points == FULL - wrong.out_of + wrong.points < FULL


def test_the_whole_matrix_is_over_the_memory_cap_though_its_numbers_are_right(graded_a2):
    result = results_of(graded_a2)["hana"]
    (wrong,) = [v for v in result.verdicts if not v.passed]
    assert wrong.exercise == "siglip_chunked" and wrong.stages[0].status == "passed"
    assert 0 < wrong.points < wrong.out_of
    assert re.search("memory|chunk|at a time|at once|bytes", wrong.sentence), wrong


@pytest.mark.parametrize(
    ("assignment", "student", "exercise", "mistake"),
    [
        pytest.param(A4, "goran", "GatedCrossAttention", "NoTanh", id=A4.name, marks=pytest.mark.slow),
        pytest.param(A5, "hana", "best_of_masks_loss", "mean_of_all", id=A5.name, marks=pytest.mark.slow),
    ],
)
def test_a_small_class_has_the_expected_scores_and_the_misconception_is_named(
    assignment, student, exercise, mistake, request
):
    results = results_of(request.getfixturevalue(f"graded_{assignment.name[:2]}"))
    handed_in = {who for who, result in results.items() if result.status != "no file"}
    assert handed_in == set(CLASSES[assignment.name]) == {"ada", "barbara", student}
    assert results["ada"].points == results["barbara"].points == FULL
    assert [results[who].awaiting for who in sorted(handed_in)] == [10] * 3
    (wrong,) = [v for v in results[student].verdicts if not v.passed]
    assert (wrong.exercise, wrong.mistake) == (exercise, mistake)
    assert wrong.sentence == load_known(assignment.name)[wrong.exercise].sentences[wrong.mistake]
    assert results[student].points == FULL - wrong.out_of + wrong.points < FULL


def test_again_only_what_changed_is_graded(graded, tmp_path):
    results, class_ = tmp_path / "results", tmp_path / "submitted"
    shutil.copytree(graded, results)
    shutil.copytree(FOLDER / "submitted", class_)
    before = (results / "journal.jsonl").read_text()
    arguments = command(class_, results)[4:]
    assert invoke(*arguments).exit_code == 0
    assert (results / "journal.jsonl").read_text() == before
    assert without_seconds(results) == without_seconds(graded)

    path = class_ / "maryam" / A1.name / f"{A1.name}.ipynb"
    nbformat.write(fill(nbformat.read(path, as_version=4), {"softmax": answers(A1)["softmax"]}), path)
    assert invoke(*arguments).exit_code == 0
    more = (results / "journal.jsonl").read_text().removeprefix(before).split("\n")[1:]
    assert [json.loads(line)["result"]["student"] for line in more] == ["maryam"]
    assert results_of(results)["maryam"].points == A1["softmax"].points


# --- one submission at a time ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grader(tmp_path_factory) -> Grader:
    return Grader(A1, new_results(tmp_path_factory.mktemp("grader") / "results"), seconds=3)


@pytest.fixture(scope="module")
def blank() -> nbformat.NotebookNode:
    return nbformat.read(student_path(A1.name), as_version=4)


@pytest.fixture
def grade(grader, tmp_path):
    """Grades a notebook, or a file's text."""

    def submit(notebook, name=f"{A1.name}.ipynb") -> Result:
        path = tmp_path / name
        path.write_text(notebook if isinstance(notebook, str) else nbformat.writes(notebook))
        return grader.grade(Found("x", path))

    return submit


def with_cells(notebook, *sources: str):
    """A copy of a notebook with code cells at its start."""
    filled = fill(notebook, {})
    filled.cells = [nbformat.v4.new_code_cell(source) for source in sources] + filled.cells
    return filled


def test_metadata_is_not_believed(grade, blank):
    right, metadata = fill(blank, answers(A1)), [c.metadata for c in blank.cells]
    for cell, other in zip(right.cells, reversed(metadata), strict=True):
        cell.metadata = nbformat.from_dict(json.loads(json.dumps(other)))
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader.points = 1000
    result = grade(right)
    assert (result.points, result.out_of) == (FULL, FULL)
    for cell in right.cells:
        cell.metadata = nbformat.from_dict({})
    result = grade(right)
    assert result.points == FULL
    assert {w.status for w in result.written} == {"cell not found"} and result.needs_a_person


def test_a_percent_script_is_graded(grade, blank):
    result = grade(jupytext.writes(fill(blank, answers(A1)), "py:percent"), "ada.py")
    assert result.points == FULL and {w.status for w in result.written} == {"unanswered"}


def test_an_answer_below_its_blank_waits_for_a_person(grade, blank):
    notebook = fill(blank, answers(A1))
    (at, *_) = [i for i, c in enumerate(notebook.cells) if grade_id(c).startswith("written-")]
    notebook.cells.insert(at + 1, nbformat.v4.new_markdown_cell("Because the order is lost."))
    statuses = sorted(w.status for w in grade(notebook).written)
    assert statuses == ["awaiting grading", "unanswered"]


def test_what_no_exercise_builds_on_is_the_students_own(grade, blank):
    """Who calls an earlier answer of their own, though no check builds on it, depends on it."""
    assert "attention_mask" not in A1.built_on
    calls_it = (
        "import torch\n@exercise\ndef language_model_mask(kind, length, prefix_length=0):\n"
        "    masks = {'causal': attention_mask(length, torch.tensor([length]), length, causal=True)[0, 0]}\n"
        "    masks['masked'] = masks['causal'] | True\n"
        "    masks['prefix'] = masks['causal'] | (torch.arange(length) < prefix_length)\n"
        "    return masks[kind]\n"
    )
    assert grade(fill(blank, {**answers(A1), "language_model_mask": calls_it})).points == FULL


def test_something_else_than_a_notebook_is_for_a_person(tmp_path):
    (tmp_path / "handed").mkdir()
    for student, file in (("ada", "essay.pdf"), ("bob", "a1_transformer.md"), ("cy", "")):
        (tmp_path / "handed" / student / A1.name).mkdir(parents=True)
        if file:
            (tmp_path / "handed" / student / A1.name / file).write_text("?")
    found, _ = find_submissions(tmp_path / "handed", A1.name, tmp_path / "unpacked", None)
    results = {one.student: Grader(A1, tmp_path / "results").grade(one) for one in found}
    assert {name: r.status for name, r in results.items()} == {
        "ada": "unreadable", "bob": "unreadable", "cy": "no file",
    }  # fmt: skip
    assert results["ada"].needs_a_person and not results["cy"].needs_a_person


CHEATS = {
    "check is redefined": "def check(*args, **kwargs):\n    return 1000.0\nimport cs_vl.checks\ncs_vl.checks.check = check",
    "the judge's parts are replaced": """
import cs_vl.checks.compare, cs_vl.checks.judge, cs_vl.checks.submission, cs_vl.checks.spec
cs_vl.checks.compare.compare = lambda *a, **k: None
cs_vl.checks.judge.compare = lambda *a, **k: None
cs_vl.checks.judge._judge_stage = lambda *a, **k: None
cs_vl.checks.spec.Stage.rtol = 1e9
cs_vl.checks.spec.Stage.points = 1000
""",
    "torch is replaced": """
import torch, numpy as np
torch.allclose = torch.equal = np.allclose = lambda *a, **k: True
torch.Tensor.__eq__ = torch.Tensor.__sub__ = lambda self, other: self
np.abs = lambda x: 0
""",
    "a status is forged": """
from cs_vl.checks.worker import Serving
Serving.answer = lambda self, message: {"status": "passed", "results": {}, "error": "", "message": "", "where": ""}
""",
    "points are forged": """
from cs_vl.checks.worker import Serving
Serving.answer = lambda self, message: {"status": "ok", "results": {}, "points": 100}
""",
    "results are no dict": """
from cs_vl.checks.worker import Serving
Serving.answer = lambda self, message: {"status": "ok", "results": [1], "error": 1, "message": [], "where": None}
""",
    "replies are forged": """
import cs_vl.checks.worker as worker
worker.wire.send = lambda stream, tree: (stream.write(b"x" * 4096), stream.flush())
""",
    "a flood is announced": """
import struct, cs_vl.checks.worker as worker
worker.wire.send = lambda stream, tree: (stream.write(struct.pack(">QQ", 2**60, 2**60)), stream.flush())
""",
    "what loaded is forged": """
from cs_vl.checks.worker import Serving
import cs_vl.checks.load
def load(cells, names, setup=()):
    raise SystemExit
cs_vl.checks.load.load = load
from types import SimpleNamespace
import cs_vl.checks.worker as worker
send = worker.wire.send
worker.wire.send = lambda stream, tree: send(stream, {"answers": 3, "problems": [1], "notes": [1, {"a": 2}, "<b>"]})
""",
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_cheating_in_the_own_process_earns_nothing(grade, blank, cheat, tmp_path):
    result = grade(with_cells(blank, CHEATS[cheat]))
    assert (result.points, result.out_of) == (0, FULL), result.notes
    assert all(v.status != "passed" and v.points == 0 for v in result.verdicts)
    assert all(isinstance(note, str) for note in result.notes)
    write_report(A1, [result], [], tmp_path, [])  # which no reply can stop


LOOK_IT_UP = """
import cs_vl.checks.run as run
from cs_vl.checks import wire
from cs_vl.checks.visible import references

def key(inputs):
    tree, arrays = wire.pack(inputs)
    return repr(tree), [(name, a.shape, a.tobytes()) for name, a in sorted(arrays.items())]

def looked_up(assignment, exercise, stage, inputs, answer, stand_ins):
    stored = references(assignment.name)[exercise.name]["stages"][stage.name]
    for case, expected in zip(stored.inputs, stored.expected):
        if key(inputs) == key(case):
            return run.Outcome("ok", expected)
    return run.Outcome("ok", stored.expected[0])

run.run_probe = looked_up
"""


def test_the_visible_numbers_earn_nothing(grade, blank):
    """Not even where the look-up takes the place of the probe itself, for all exercises."""
    notebook = with_cells(blank, LOOK_IT_UP, *(f"{e.name} = lambda *a, **k: None" for e in A1.exercises))
    notebook.cells = cells = [c for c in notebook.cells if grade_id(c) not in answers(A1)]
    stored = references(A1.name)
    with Submitted(A1, [Cell(i, c.cell_type, c.source) for i, c in enumerate(cells)]) as submitted:
        seen = list(
            submitted.verdicts(
                lambda e: lambda s: stored[e.name]["stages"][s.name], lambda e: {}, hidden=False
            )
        )
    assert [v.exercise for v in seen if not v.passed] == []  # so it would be, were the cases the visible ones
    result = grade(notebook)
    assert {v.exercise: v.points for v in result.verdicts if v.points} == {}


def test_no_hidden_case_is_a_visible_one():
    def same(a, b):
        return not compare(a, b, 0, 0) and not compare(b, a, 0, 0)

    for secret in range(1, 40):
        for exercise in (A1["attention_mask"], A1["language_model_mask"], A1["bpe_train"]):
            for stage in exercise.stages:
                visible = exercise.draw(stage, VISIBLE_SEED)
                assert not any(same(a, b) for a in unseen(exercise, stage, secret) for b in visible)


def test_hidden_values_are_told_nowhere(grade, blank, tmp_path):
    telling = """
from cs_vl.exercise import MissingExercise
def softmax(x, axis=-1):
    raise ValueError(f"MARK {x.tolist()}")
def layer_norm(*args, **kwargs):
    raise MissingExercise(f"MARK {args[0].tolist()}")
def attention(*args, **kwargs):
    raise NotImplementedError(f"MARK {args[0].tolist()}")
def softmax_backward(*args, **kwargs):
    raise SystemExit(f"MARK {args[0].tolist()}")
def bpe_encode(text, merges):
    print("MARK", text)
    raise KeyError(f"MARK {text}")
def bpe_decode(ids, merges):
    raise type(f"MARK {ids}", (Exception,), {})()
def scaled_dot_product_attention(q, k, v, mask=None):
    return v * 0, v * 0
"""
    notebook = with_cells(blank, telling)
    notebook.cells = [c for c in notebook.cells if grade_id(c) not in answers(A1)]
    result = grade(notebook)
    assert result.points == 0
    by_name = {v.exercise: v for v in result.verdicts}
    assert by_name["softmax"].status == "error" and "ValueError" in by_name["softmax"].sentence
    assert "line 4" in by_name["softmax"].sentence or "line 3" in by_name["softmax"].sentence
    write_report(A1, [result], [], tmp_path, [])
    for path in [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.json"), *tmp_path.glob("*.csv")]:
        text = path.read_text()
        code = (
            "MARK {x.tolist()}",
            "MARK {args[0].tolist()}",
            "MARK {text}",
            "MARK {ids}",
        )  # lines of their own
        assert not re.search(r"MARK(?! \{)", text), path
        assert not re.search(r"expected \S+, got", text)
        assert "largest difference" not in text
        assert text.count("MARK") <= sum(text.count(line) for line in code)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("{", "is not a whole notebook"),
        ("[1, 2]", "is not a notebook"),
        ('{"cells": 3}', "is not a notebook"),
        ('{"cells": ' + "[" * 5000, "is not a whole notebook"),
    ],
)
def test_an_unreadable_notebook_gets_a_sentence(grade, text, said):
    result = grade(text)
    assert (result.status, result.points) == ("unreadable", None)
    assert said in result.notes[0] and result.needs_a_person


def test_odd_cells_stop_nothing(grade, blank):
    tree = json.loads(nbformat.writes(fill(blank, {"softmax": answers(A1)["softmax"]})))
    tree["cells"][:0] = [
        None, 3, {}, {"cell_type": "code"}, {"cell_type": "code", "source": [1, "x = '\\ud800'"], "metadata": []},
        {"cell_type": "code", "source": "\ud800", "metadata": {"nbgrader": {"grade_id": ["softmax"]}}},
        {"cell_type": "code", "source": "class Odd:\n    raise Exception(chr(0xd800) + '<b>')", "metadata": {}},
        {"cell_type": "code", "source": "\0", "metadata": {"nbgrader": 3}},
    ]  # fmt: skip
    result = grade(json.dumps(tree))
    assert result.status == "graded" and result.points == A1["softmax"].points, result


def test_a_huge_or_missing_file_is_unreadable(grader, tmp_path):
    path = tmp_path / "big.ipynb"
    with path.open("wb") as file:
        file.truncate(65 * 2**20)
    assert "64 MB" in grader.grade(Found("x", path)).notes[0]
    assert grader.grade(Found("x", tmp_path / "none.ipynb")).status == "unreadable"


# --- faults of ours ----------------------------------------------------------------------------------------


def test_a_fault_of_ours_is_no_zero(grade, grader, blank, monkeypatch, tmp_path):
    def fails(exercise):
        if exercise.name == "softmax":
            raise KeyError("hidden")
        return {}

    monkeypatch.setattr(autograder.grade, "sentences", fails)
    result = grade(fill(blank, answers(A1)))
    assert (result.status, result.points) == ("grader error", None)
    assert {v.exercise: v.status for v in result.verdicts if not v.passed} == {"softmax": "grader error"}
    assert "hidden" not in " ".join(result.notes)

    # No cs_vl there.
    monkeypatch.setattr(grader, "_pool", Pool(A1.name, tmp_path) if grader.sandbox else None)
    monkeypatch.setattr(grader, "_edition", tmp_path)
    result = grade(blank)
    assert (result.status, result.points) == ("grader error", None)
    assert "No module named 'cs_vl'" in result.notes[0] or "does not start" in result.notes[0]


def test_results_that_are_too_large_cost_only_their_exercise(grader, tmp_path, blank):
    large = """
def softmax(x, axis=-1):
    import numpy as np
    return [np.zeros((1000, 9000 + i), dtype=np.float32) for i in range(2)]
"""
    notebook = fill(blank, {"softmax": large, "softmax_backward": answers(A1)["softmax_backward"]})
    path = tmp_path / "large.ipynb"
    path.write_text(nbformat.writes(notebook))
    by_name = {v.exercise: v for v in grader.grade(Found("x", path)).verdicts}
    assert by_name["softmax"].status == "refused" and "too large" in by_name["softmax"].sentence
    assert by_name["softmax_backward"].passed


def test_a_worker_ends_with_its_judge(tmp_path):
    judge = f"""
import sys, time
from cs_vl.checks.cells import Cell
from cs_vl.checks.spec import ASSIGNMENTS, Assignment, load_assignment
from cs_vl.checks.worker import Worker
worker = Worker("{A1.name}"); e = load_assignment("{A1.name}")["softmax"]
worker.load([Cell(1, "code", "def softmax(x, axis=-1):\\n    while True:\\n        pass")])
print(worker._process.pid, flush=True)
worker.run(e, e.stages[0], e.draw(e.stages[0], 1)[0], 100)
"""
    process = subprocess.Popen([sys.executable, "-c", judge], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    child = int(process.stdout.readline())
    time.sleep(0.5)  # now it loops
    process.kill()
    process.wait()
    give_up = time.monotonic() + 20
    while is_alive(child):
        assert time.monotonic() < give_up
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_sets_have_one_order_in_every_worker(tmp_path):
    source = "def softmax(x, axis=-1):\n    raise ValueError(str(list({'a', 'b', 'c', 'd', 'e', 'f'})))"
    exercise = A1["softmax"]
    messages = set()
    for _ in range(3):
        with Worker(A1.name) as worker:
            worker.load([Cell(1, "code", source)])
            case = exercise.draw(exercise.stages[0], 1)[0]
            messages.add(worker.run(exercise, exercise.stages[0], case).message)
    assert len(messages) == 1


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_nothing_is_near_infinity(infinity):
    expected = {"y": torch.tensor([infinity, 1.0])}
    assert compare(expected, expected, 1e-4, 1e-5) is None
    for wrong in (0.0, 1e30, -infinity, np.nan):
        assert compare({"y": torch.tensor([wrong, 1.0])}, expected, 1e-4, 1e-5)


# --- the journal -------------------------------------------------------------------------------------------


@pytest.fixture
def counting(tmp_path, monkeypatch):
    """Three submissions and a grader that only counts."""
    grader = Grader(A1, tmp_path / "results")
    calls: list[str] = []

    def grade(found):
        calls.append(found.student)
        status = "grader error" if found.student == "c" else "graded" if found.path else "no file"
        return Result(found.student, found.name, status, notes=["said"])

    monkeypatch.setattr(grader, "grade", grade)
    monkeypatch.setattr(grader, "prepare", lambda: None)
    found = []
    for student in "abc":
        path = tmp_path / f"{student}.ipynb"
        path.write_text("{}")
        found.append(Found(student, path))

    def again(grader=grader) -> list[str]:
        calls.clear()
        again.results = grade_class(grader, found, jobs=1)
        return sorted(calls)

    again.found, again.grader = found, grader
    return again


def test_what_is_in_the_journal_is_not_graded_again(counting):
    assert counting() == ["a", "b", "c"]
    assert counting() == ["c"]  # a fault of ours is tried again
    counting.found[1].path.write_text("{ }")
    assert counting() == ["b", "c"]
    counting.found[0].path = counting.found[0].path.rename(counting.found[0].path.with_suffix(".py"))
    assert counting() == ["a", "c"]  # a script is read differently


def test_what_is_known_of_a_person_is_not_taken_from_the_journal(counting):
    counting()
    counting.found[0].name, counting.found[0].notes = "Ada", ["handed in late"]
    assert counting() == ["c"]
    assert (counting.results[0].name, counting.results[0].notes) == ("Ada", ["handed in late", "said"])


def test_an_empty_file_is_not_taken_for_none(counting):
    path, counting.found[0].path = counting.found[0].path, None
    counting()
    counting.found[0].path = path
    path.write_text("")
    assert counting() == ["a", "c"]


def test_another_time_limit_or_secret_grades_again(counting, tmp_path, monkeypatch):
    counting()
    other = Grader(A1, tmp_path / "results", seconds=99)
    monkeypatch.setattr(other, "grade", counting.grader.grade)
    monkeypatch.setattr(other, "prepare", lambda: None)
    assert counting(other) == ["a", "b", "c"]


def test_a_damaged_journal_costs_only_its_lines(counting, tmp_path):
    counting()
    journal = tmp_path / "results" / "journal.jsonl"
    lines = [line for line in journal.read_text().split("\n") if '"student": "a"' in line]
    entry = json.loads(lines[0])
    entry["result"] = {"student": "a"}
    journal.write_bytes(b"\xff\xfe{]\n[]\n3\n" + json.dumps(entry).encode() + b'\n{"key": ')
    assert counting() == ["a", "b", "c"]
    assert counting() == ["c"]


def test_the_secret_is_drawn_once_and_for_the_owner_only(tmp_path):
    first = Journal(tmp_path / "r")
    assert Journal(tmp_path / "r").secret == first.secret > 0
    assert (tmp_path / "r" / "secret").stat().st_mode & 0o077 == 0
    (tmp_path / "r" / "secret").write_text("")  # killed while it was drawn
    assert Journal(tmp_path / "r").secret > 0
    (tmp_path / "r" / "secret").write_text("no number")
    with pytest.raises(ValueError, match="should hold a number"):
        Journal(tmp_path / "r")


def test_two_runs_into_one_folder_are_refused(counting):
    journal = counting.grader.journal
    with Journal(journal.folder).alone(), pytest.raises(ValueError, match="another run is grading"):
        counting()
    assert counting() == ["a", "b", "c"]


# --- the command -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a9_nothing", "submitted"], "there is no assignment 'a9_nothing'"),
        (["a1_transformer", "nowhere"], "there is no nowhere"),
        (["a1_transformer", "empty"], "empty holds no notebook"),
        (["a1_transformer", "empty", "--roster", "roster.csv"], "empty holds no notebook"),
        (["a1_transformer", "text.txt"], "neither a folder of submissions nor a zip"),
        (["a1_transformer", "broken.zip"], "zip"),
        (["a1_transformer", "[/] odd"], "there is no [/] odd"),
        (["a1_transformer", "submitted", "--roster", "nothing.csv"], "there is no roster nothing.csv"),
        (["a1_transformer", "submitted", "--roster", "text.txt"], "a column `id`"),
        (["a1_transformer", "submitted", "--roster", "broken.zip"], "save it as CSV in UTF-8"),
        (["a1_transformer", "submitted", "--roster", "nobody.csv"], "lists nobody"),
        (["a1_transformer", "submitted", "-o", "text.txt"], "text.txt is a file"),
        (["a1_transformer", "submitted", "-o", "odd"], "should hold a number"),
    ],
)
def test_a_mistake_of_the_ta_gets_one_sentence(one, monkeypatch, arguments, said):
    root = one.parent
    monkeypatch.chdir(root)
    (root / "empty").mkdir()
    (root / "odd").mkdir()
    (root / "odd" / "secret").write_text("x")
    (root / "roster.csv").write_text("id,name\nada,Ada\n")
    (root / "nobody.csv").write_text("id,name\n,\n")
    (root / "text.txt").write_text("hello\nyou\n")
    (root / "broken.zip").write_bytes(b"PK\x05\x06" + b"\xff" * 18)
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("cs-vl: ")


def test_what_can_not_be_read_is_told_by_the_exit_status(one, tmp_path):
    result = invoke(A1.name, one, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert re.search(r"ada +unreadable", result.stdout)
    assert "1 of 1: ada, unreadable" in result.stderr


def test_on_a_terminal_there_is_a_bar(one, tmp_path, monkeypatch):
    screen = StringIO()
    terminal = Console(file=screen, force_terminal=True, width=80)
    monkeypatch.setattr(autograder.cli, "console", terminal)
    result = invoke(A1.name, one, "-o", tmp_path / "out")
    assert "━" in screen.getvalue() and "1/1" in screen.getvalue()
    assert "of 1:" not in result.stderr
