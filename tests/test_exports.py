"""The tables: what each system reads, what a missing score is there, and that no text is taken for a formula."""

import csv
import json
from pathlib import Path

import pytest
from classes import HOSTILE, result, synthetic_class, verdict
from typer.testing import CliRunner

from autograder.cli import app
from autograder.exports import feedback, gradescope_results, write_exports
from autograder.grade import Result, Written
from autograder.report.text import page_name
from cs_vl.checks.judge import STATUSES
from cs_vl.checks.spec import load_assignment

A2 = load_assignment("a2_clip")
PEOPLE = {
    "ada": {"id": "ada", "name": "Ada L", "canvas_id": "101", "email": "ada@x.edu", "section": "T1"},
    "bob": {"id": "bob", "name": "Bob", "canvas_id": "102", "email": "bob@x.edu", "section": "T2"},
}


def of(student: str, status: str = "graded", **more) -> Result:
    return result(A2, student, status, **more)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        found = list(csv.DictReader(file))
    assert all(None not in row and None not in row.values() for row in found)  # every row has every column
    return found


@pytest.fixture
def export(tmp_path):
    def write(*results: Result, people=None, **options) -> Path:
        write_exports(A2, list(results), tmp_path, people or {}, **options)
        return tmp_path

    return write


# One of each kind: a true zero, nothing handed in, a damaged file, our fault.
ZERO = of("zero", verdicts=[verdict(e, "missing") for e in A2.exercises])
KINDS = [
    ZERO,
    of("none", "no file"),
    of("broken", "unreadable", notes=["it is empty"]),
    of("ours", "grader error"),
]


def test_no_score_is_blank_and_a_zero_is_a_zero(export):
    folder = export(*KINDS)
    grades = {row["student"]: row for row in rows(folder / "grades.csv")}
    assert [grades[r.student]["points"] for r in KINDS] == ["0", "", "", ""]
    assert len({row["status"] for row in grades.values()}) == 4
    canvas = [row["a2_clip"] for row in rows(folder / "canvas.csv")]
    assert canvas == ["90", "0", "", "", ""]
    assert [row["a2_clip"] for row in rows(folder / "moodle.csv")] == ["0", "-", "-", "-"]
    assert len({row["Feedback"] for row in rows(folder / "moodle.csv")}) == 4
    tree = json.loads((folder / "grades.json").read_text())["students"]
    assert [tree[r.student]["points"] for r in KINDS] == [0, None, None, None]
    assert len({one["status"] for one in tree.values()}) == 4


@pytest.mark.parametrize(
    ("no_score", "expected"),
    [("zero", ["90", "0", "0", "", ""]), ("omit", ["90", "0"]), ("blank", ["90", "0", "", "", ""])],
)
def test_canvas_as_asked_for(export, no_score, expected):
    assert [row["a2_clip"] for row in rows(export(*KINDS, no_score=no_score) / "canvas.csv")] == expected


def test_each_exercise_has_its_status_in_the_table(export):
    verdicts = [verdict(e, status) for e, status in zip(A2.exercises, STATUSES, strict=False)]
    (row,) = rows(export(of("ada", verdicts=verdicts)) / "grades.csv")
    assert len({row[f"{v.exercise}: status"] for v in verdicts}) == len(STATUSES)
    assert row[A2.exercises[0].name] == f"{A2.exercises[0].points:g}" and row[A2.exercises[3].name] == "0"


def test_the_table_says_what_waits_and_what_it_took(export):
    one = of("ada", written=[Written("why", "awaiting grading", 5.0)], seconds=2.5)
    one.cpu_seconds, one.peak_mb = 1.5, 300.0
    (row,) = rows(export(one) / "grades.csv")
    assert (row["points"], row["out_of"], row["awaiting"]) == ("90", "90", "5") and "5 points" in row[
        "needs_a_person"
    ]
    assert (row["seconds"], row["cpu_seconds"], row["peak_mb"]) == ("2.5", "1.5", "300")


def test_excel_gets_its_mark_and_importers_do_not(export):
    folder = export(of("ada", name="Zoë 李"))
    assert (folder / "grades.csv").read_bytes().startswith(b"\xef\xbb\xbfstudent,")
    assert (folder / "canvas.csv").read_bytes().startswith(b"Student,")
    assert (folder / "moodle.csv").read_bytes().startswith(b"ID number,")
    assert all(
        "Zoë 李" in (folder / name).read_text(encoding="utf-8") for name in ("grades.csv", "canvas.csv")
    )


# --- Canvas ------------------------------------------------------------------------------------------------


def canvas_reads(path: Path) -> tuple[list[str], dict[str, dict]]:
    """The assignments and rows, by the rules of canvas-lms `lib/gradebook_importer.rb`."""
    with path.open(newline="", encoding="utf-8") as file:
        head, *body = csv.reader(file)
    assert "Student" in head[0] and "ID" in head[1]
    assert (head[2], head[3]) == ("SIS User ID", "SIS Login ID") and "Section" in head[4]
    points = [row for row in body if "Points Possible" in row[0]]
    assert len(points) == 1 and body[0] is points[0]
    return head[5:], {row[0]: dict(zip(head, row, strict=True)) for row in body[1:]}


def test_canvas_knows_people_by_its_own_number_only(export):
    assignments, found = canvas_reads(export(of("ada", name="Ada L"), of("77"), people=PEOPLE) / "canvas.csv")
    assert assignments == ["a2_clip"]
    ada = found["Ada L"]
    assert (ada["ID"], ada["SIS User ID"], ada["SIS Login ID"], ada["Section"]) == (
        "101",
        "ada",
        "ada@x.edu",
        "T1",
    )
    # Canvas would take any number in ID for its own: that of another person.
    assert (found["77"]["ID"], found["77"]["SIS User ID"]) == ("", "77")


def test_a_roster_that_canvas_exported(export):
    row = {
        "student": "Lovelace, Ada",
        "id": "101",
        "sis user id": "u5",
        "sis login id": "al",
        "section": "T1",
    }
    _, found = canvas_reads(export(of("101"), people={"101": row}, column="CLIP (55)") / "canvas.csv")
    (ada,) = found.values()
    assert list(ada.values()) == ["Lovelace, Ada", "101", "u5", "al", "T1", "90"] and "CLIP (55)" in ada


# --- Moodle ------------------------------------------------------------------------------------------------


def test_moodle_gets_no_stranger_and_no_empty_identifier(export):
    """One unknown person stops its import; an empty identifier gives the grade to the person of the row above."""
    folder = export(of("ada"), of("bob"), of("stranger"), people=PEOPLE)
    found = rows(folder / "moodle.csv")
    assert [row["ID number"] for row in found] == ["ada", "bob"]
    assert [row["Email address"] for row in found] == ["ada@x.edu", "bob@x.edu"] and "Username" not in found[
        0
    ]
    assert "stranger" in (folder / "grades.csv").read_text()  # nobody is dropped there
    without = {**PEOPLE, "bob": {"id": "bob", "email": ""}}
    assert "Email address" not in rows(export(of("ada"), of("bob"), people=without) / "moodle.csv")[0]


def test_feedback_is_a_line_on_what_is_not_right_yet():
    first = A2.exercises[0]
    verdicts = [verdict(first, "timeout"), *(verdict(e) for e in A2.exercises[1:])]
    verdicts[1] = verdict(A2.exercises[1], "failed", 4.0, "You forgot it.", mistake="forgot")
    text = feedback(of("ada", verdicts=verdicts, written=[Written("why", "awaiting grading", 5.0)]))
    assert text == (
        "80 of 90, 5 awaiting grading. info_nce_numpy: did not come to an end, 0 of 5. "
        "info_nce_numpy_backward: partly right, 4 of 9. You forgot it."
    )
    assert feedback(of("x", "unreadable", notes=["it is\nempty"])) == "No score: unreadable file. it is empty"


# --- Gradescope --------------------------------------------------------------------------------------------

VISIBILITIES = {"hidden", "after_due_date", "after_published", "visible"}


def check_gradescope(tree: dict) -> None:
    """By the specification of results.json: known fields, of the right types."""
    assert set(tree) <= {
        "score", "execution_time", "output", "output_format", "test_output_format", "test_name_format", "visibility",
        "stdout_visibility", "extra_data", "tests", "leaderboard",
    }  # fmt: skip
    assert tree["stdout_visibility"] in VISIBILITIES and isinstance(tree["execution_time"], int | float)
    for test in tree.get("tests", []):
        assert set(test) <= {
            "score", "max_score", "status", "name", "name_format", "number", "output", "output_format", "tags",
            "visibility", "extra_data",
        }  # fmt: skip
        assert test["status"] in ("passed", "failed") and test["visibility"] in VISIBILITIES
        assert isinstance(test["number"], str) and test["output_format"] == "text"  # never HTML


def test_gradescope_has_a_test_for_each_exercise():
    first = A2.exercises[0]
    where = "cell 3, line 2: return 1 / 0"
    wrong = verdict(first, "error", sentence=f"Your code raised ZeroDivisionError ({where})", where=where)
    tree = gradescope_results(of("ada", verdicts=[wrong, *(verdict(e) for e in A2.exercises[1:])]))
    check_gradescope(tree)
    assert tree["score"] == sum(test["score"] for test in tree["tests"]) == 85
    assert [test["number"] for test in tree["tests"]] == [str(i) for i in range(1, len(A2.exercises) + 1)]
    failed = tree["tests"][0]
    assert (failed["name"], failed["status"], failed["score"], failed["max_score"]) == (
        first.name,
        "failed",
        0,
        5,
    )
    assert "raised an error" in failed["output"] and f"Your line: {where}" in failed["output"]
    assert first.stages[0].name in failed["output"] and "q (2, 3)" in failed["output"]


def test_gradescope_tells_our_fault_from_a_zero_and_from_a_damaged_file():
    zero, none, broken, ours = map(gradescope_results, KINDS)
    assert zero["score"] == 0 and len(zero["tests"]) == len(A2.exercises)
    # Without score and tests Gradescope says that its autograder failed.
    assert not {"score", "tests"} & (set(ours) | set(none))
    (test,) = broken["tests"]
    assert (
        test["name"] == "reading the file" and test["output"] == "it is empty" and test["status"] == "failed"
    )
    assert len({tree["extra_data"]["status"] for tree in (zero, none, broken, ours)}) == 4


def test_gradescope_files_are_those_of_this_run(export):
    export(of("gone"))
    folder = export(of("ada"), of("A/../b")) / "gradescope"
    assert {path.name for path in folder.iterdir()} == {"ada.json", page_name("A/../b", ".json")}
    check_gradescope(json.loads((folder / "ada.json").read_text()))


# --- hostile text ------------------------------------------------------------------------------------------


def test_a_spreadsheet_takes_nothing_for_a_formula(export):
    evil = [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1",
        "＝1",
        'x","=1+1',
        "line\n=1",
        "\tplain",
        "\n+1",
    ]
    folder = export(*(of(text, name=text, notes=[text], file=text) for text in evil))
    found = rows(folder / "grades.csv")
    assert len(found) == len(evil)
    for row, text in zip(found, evil, strict=True):
        assert row["student"].removeprefix("'") == row["file"].removeprefix("'") == text
    for name in ("grades.csv", "canvas.csv", "moodle.csv"):
        for row in rows(folder / name):
            for head, cell in row.items():
                assert cell == "-" or cell[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n"), (
                    name,
                    head,
                    cell,
                )
                assert cell.lstrip()[:1] not in ("=", "+", "@", "＝")


def test_hostile_people_spoil_no_table(export):
    results = synthetic_class(A2, len(HOSTILE) + 20)
    folder = export(*results)
    assert len(rows(folder / "grades.csv")) == len(rows(folder / "moodle.csv")) == len(results)
    assert len(rows(folder / "canvas.csv")) == len(results) + 1
    assert max(len(cell) for row in rows(folder / "grades.csv") for cell in row.values()) < 32_767
    assert len(list((folder / "gradescope").iterdir())) == len(results)
    for path in (folder / "gradescope").iterdir():
        check_gradescope(json.loads(path.read_text()))


# --- the command -------------------------------------------------------------------------------------------


def test_the_tables_are_written_again_as_asked_for(export, tmp_path):
    folder = export(of("ada"), of("none", "no file"))
    roster = tmp_path / "roster.csv"
    roster.write_text("id,name,Canvas_ID\nada,Ada L,101\nnone,No One,102\n")
    arguments = [
        "export",
        str(folder),
        "--column",
        "CLIP (55)",
        "--no-score",
        "zero",
        "--roster",
        str(roster),
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    found = rows(folder / "canvas.csv")
    assert [(row["ID"], row["CLIP (55)"]) for row in found] == [("", "90"), ("101", "90"), ("102", "0")]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        "{}",
        '{"assignment": "a9", "results": []}',
        '{"assignment": "a2_clip", "results": [1]}',
    ],
)
def test_a_missing_or_damaged_result_is_said_in_a_sentence(tmp_path, text):
    if text is not None:
        (tmp_path / "grades.json").write_text(text)
    done = CliRunner().invoke(app, ["export", str(tmp_path)])
    assert done.exit_code == 2 and not isinstance(done.exception, ValueError)
