"""The tables that a run leaves behind, for people, programs and other systems.

| file | for | a missing score is |
|---|---|---|
| grades.csv | people with a spreadsheet: points and status of each exercise, time, notes | blank |
| grades.json | programs: everything but the secret | null |
| canvas.csv | Canvas, Grades > Import | blank |
| moodle.csv | Moodle, Grades > Import > CSV file | "-" |
| gradescope/*.json | Gradescope's results.json, one for each student | no score |

They hold the machine's points; those of written answers are the gradebook's (`nbgrader export`).

grades.json: `students` has {id: name, status (in words), points, out_of, awaiting, needs_a_person}; `results` has, for each,
all that grading found (`autograder.grade.Result`): `verdicts` (exercise, status, points, the sentence said, the known
mistake's name, the student's own line, each stage with the shapes of its case), `written`, `notes`, `seconds`.

grades.csv alone begins with a byte-order mark: without it Excel takes UTF-8 for an old code page and spoils names.  The
importers read plain UTF-8, and a mark could become part of their first header.
"""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autograder.grade import Result
from autograder.journal import grader_version
from autograder.report.looks import look, submission_look
from autograder.report.summary import score_line, why
from autograder.report.text import page_name, said, shown
from cs_vl.checks.judge import Verdict
from cs_vl.checks.spec import Assignment, load_assignment

People = Mapping[str, Mapping[str, str]]  # {student id: {column of the roster, in lower case: text}}

LONGEST = 32_000  # characters; Excel's limit is 32,767


def write_exports(
    assignment: Assignment,
    results: list[Result],
    folder: Path,
    people: People,
    *,
    column: str = "",
    no_score: str = "blank",
) -> None:
    """Write all tables into the results folder.

    Args:
        people: the rows of the roster; they tell other systems who is who.
        column: what Canvas and Moodle call the assignment (default: its name).  In Canvas it is "title (number)", as in
            Canvas' own export: without the number Canvas looks for the title, and makes a new assignment where there is none.
        no_score: what canvas.csv says of who has no score: "blank" (clears a score that stands in Canvas, after its
            preview), "zero" (0 for those who handed in nothing, blank for the rest), or "omit" (leaves Canvas as it is).
    """
    column = column or assignment.name
    _write_grades(assignment, results, folder / "grades.csv")
    _write_json(assignment, results, folder / "grades.json")
    _write_csv(folder / "canvas.csv", _canvas(assignment, results, people, column, no_score))
    _write_csv(folder / "moodle.csv", _moodle(results, people, column))
    gradescope = folder / "gradescope"
    gradescope.mkdir(exist_ok=True)
    for old in gradescope.glob("*.json"):
        old.unlink()  # also of people who are not in the class any more
    for r in results:
        _dump(gradescope_results(r), gradescope / page_name(r.student, ".json"))


def read_results(folder: Path) -> tuple[Assignment, list[Result]]:
    """What `grades.json` of a results folder holds.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    path = folder / "grades.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no grades.json: name the results folder of `cs-vl grade`")
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return load_assignment(tree["assignment"]), [Result.from_json(r) for r in tree["results"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: run `cs-vl grade` again, which writes it anew") from error


# --- for people and programs -------------------------------------------------------------------------------


def _write_grades(assignment: Assignment, results: list[Result], path: Path) -> None:
    names = [e.name for e in assignment.exercises]
    head = ["student", "name", "status", "needs_a_person", "points", "out_of", "awaiting", *names]
    head += [f"{name}: status" for name in names]
    rows: list[list[Any]] = [[*head, "seconds", "cpu_seconds", "peak_mb", "file", "notes"]]
    for r in results:
        found = {v.exercise: v for v in r.verdicts}
        row: list[Any] = [r.student, r.name, submission_look(r).words, why(r), r.points, r.out_of, r.awaiting]
        row += [found[n].points if n in found and r.points is not None else None for n in names]
        row += [look(found[n]).words if n in found else "" for n in names]
        rows.append([*row, r.seconds, r.cpu_seconds, r.peak_mb, r.file, " | ".join(map(shown, r.notes))])
    _write_csv(path, rows, encoding="utf-8-sig")


def _write_json(assignment: Assignment, results: list[Result], path: Path) -> None:
    students = {
        r.student: {
            "name": r.name, "status": submission_look(r).words, "points": r.points, "out_of": r.out_of,
            "awaiting": r.awaiting, "needs_a_person": why(r),
        }
        for r in results
    }  # fmt: skip
    tree = {
        "assignment": assignment.name, "grader": grader_version(), "students": students,
        "results": [r.to_json() for r in results],
    }  # fmt: skip
    _dump(tree, path)


def _dump(tree: Any, path: Path) -> None:
    path.write_text(json.dumps(tree, indent=1, sort_keys=True) + "\n", encoding="utf-8")


# --- for other systems -------------------------------------------------------------------------------------


def _canvas(
    assignment: Assignment, results: list[Result], people: People, column: str, no_score: str
) -> Iterable[list[Any]]:
    """As `lib/gradebook_importer.rb` of canvas-lms reads it.

    Canvas finds people by its own number, then by SIS id, by login, by name.  Any other number in the column ID would
    be taken for somebody else's, so that it stays empty unless the roster knows Canvas' (`canvas_id`, or a roster that
    Canvas itself exported).
    """
    yield ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", column]
    total = assignment.points
    yield ["    Points Possible", None, None, None, None, total]
    for r in results:
        row = people.get(r.student, {})
        own = row.get("id") if "sis user id" in row or "sis login id" in row else None
        points = 0 if no_score == "zero" and r.status == "no file" else r.points
        if points is None and no_score == "omit":
            continue
        yield [
            r.name or row.get("student") or r.student,
            row.get("canvas_id") or own,
            _first(row, "sis user id", "sis_user_id", "sis_id") or (None if own else r.student),
            _first(row, "sis login id", "sis_login_id", "login", "username", "email"),
            row.get("section"),
            points,
        ]


def _moodle(results: list[Result], people: People, column: str) -> Iterable[list[Any]]:
    """As `grade/import/csv` of Moodle reads it.

    There one unknown person stops the whole import, so those who are not on the roster are left out; and a row whose
    identifier is empty goes to the person of the row above, so a column of identifiers is there only if it is full.
    """
    listed = [r for r in results if not people or r.student in people]
    identifiers: dict[str, list[str | None]] = {
        "ID number": [
            _first(people.get(r.student, {}), "id number", "idnumber") or r.student for r in listed
        ],
        "Username": [_first(people.get(r.student, {}), "username", "login") for r in listed],
        "Email address": [_first(people.get(r.student, {}), "email", "email address") for r in listed],
    }
    full = {head: values for head, values in identifiers.items() if all(values)}
    yield [*full, column, "Feedback"]
    for i, r in enumerate(listed):
        points = "-" if r.points is None else r.points
        yield [*(values[i] for values in full.values()), points, feedback(r)]


def _first(row: Mapping[str, str], *columns: str) -> str | None:
    return next((row[c] for c in columns if row.get(c)), None)


def feedback(result: Result) -> str:
    """A line on what is not right yet, with the sentence on each known mistake."""
    if result.points is None:
        notes = "".join(f" {shown(note, 200)}" for note in result.notes[:3])
        return f"No score: {submission_look(result).words}.{notes}"
    wrong = [
        f"{v.exercise}: {look(v).words}, {v.points:g} of {v.out_of:g}."
        + (f" {v.sentence}" if v.mistake else "")
        for v in result.verdicts
        if not v.passed
    ]
    return " ".join([f"{score_line(result)}.", *wrong])


def gradescope_results(result: Result) -> dict[str, Any]:
    """The results.json that Gradescope reads (gradescope-autograders.readthedocs.io, Specifications).

    Without a score and tests Gradescope says itself that its autograder failed: that is how a fault of the grader
    looks.  A file that can't be read has one failed test, which tells the student why.
    """
    tree: dict[str, Any] = {
        "output": feedback(result),
        "output_format": "text",
        "execution_time": result.seconds,
        "stdout_visibility": "hidden",  # what the grader prints is for staff
        "extra_data": {"status": submission_look(result).words},
    }
    if result.status == "unreadable":
        why_not = {"name": "reading the file", "output": "\n".join(map(shown, result.notes))}
        tree |= {"score": 0, "tests": [_test(1, 0, result.out_of, "failed", "unreadable file", **why_not)]}
    if result.points is not None:
        tree |= {"score": result.points}
        tree["tests"] = [
            _test(
                i, v.points, v.out_of, "passed" if v.passed else "failed", look(v).words,
                name=v.exercise, output=in_words(v),
            )
            for i, v in enumerate(result.verdicts, 1)
        ]  # fmt: skip
    return tree


def _test(number: int, score: float, out_of: float, status: str, tag: str, **more: str) -> dict[str, Any]:
    return {
        "number": str(number), "score": score, "max_score": out_of, "status": status, "tags": [tag],
        "output_format": "text", "name_format": "text", "visibility": "visible", **more,
    }  # fmt: skip


def in_words(verdict: Verdict) -> str:
    """An exercise in a few lines of text: how it went, what is said, the student's line, the stages."""
    lines = [f"{look(verdict).sign} {look(verdict).words}: {verdict.points:g} of {verdict.out_of:g} points"]
    if not verdict.passed:
        lines += [shown(said(verdict))] if verdict.sentence else []
        lines += [f"Your line: {shown(verdict.where, 300)}"] if verdict.where else []
        for stage in verdict.stages:
            wrong = stage.status not in ("passed", "not run")
            case = f" [{shown(stage.shapes)}]" if wrong and stage.shapes else ""
            lines.append(f"{look(stage).sign} {stage.name}: {look(stage).words}{case}")
    return "\n".join(lines)


# --- CSV ---------------------------------------------------------------------------------------------------


def _write_csv(path: Path, rows: Iterable[list[Any]], encoding: str = "utf-8") -> None:
    with path.open("w", newline="", encoding=encoding, errors="backslashreplace") as file:
        csv.writer(file).writerows([_cell(value) for value in row] for row in rows)


def _cell(value: Any) -> str:
    """A number, text that fits a spreadsheet's cell, or blank for None.  No text may be taken for a formula."""
    if value is None:
        return ""
    if isinstance(value, int | float):
        return f"{value:g}"
    value = value[:LONGEST]
    formula = value.lstrip()[:1] in ("=", "+", "-", "@", "＝", "＋", "－", "＠") or value[:1] in (
        "\t",
        "\r",
        "\n",
    )
    # Moodle's sign for no grade is the one text of ours that begins so.
    return "'" + value if formula and value != "-" else value
