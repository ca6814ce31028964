"""After a run: every submission into the gradebook, with the notebook that formgrader shows."""

import contextlib
import json
import traceback
from datetime import datetime
from pathlib import Path

from nbformat import NotebookNode

from autograder.grade import Result
from autograder.gradebook.course import TIME, Course, source_notebook, student_id
from autograder.gradebook.database import Database, GradebookError
from autograder.gradebook.notebook import Pictures, answers, answers_in, autograded, pictures_in
from autograder.reader import Found
from cs_vl.checks.cells import Cell, Unreadable, read_submission

ABSENT = ["nothing was handed in"]  # the reader's note of somebody who is only on the roster


def write_gradebook(
    course: Course,
    assignment: str,
    results: list[Result],
    found: list[Found],
    *,
    people: dict[str, dict[str, str]] | None = None,
    due: datetime | None = None,
) -> list[str]:
    """Write all results; returns remarks.  Killed halfway, the next run writes what is missing.

    Args:
        found: the submissions, in the order of the results.
        people: the roster's columns by student.
        due: the assignment's due date, in UTC; None leaves it as it is.

    Raises:
        GradebookError: the database can't be used, the disk is full, or there is a fault of ours.
    """
    source = source_notebook(assignment)
    try:
        course.add_source(assignment)
        with Database(course.database, assignment, course.late) as database:
            remarks = database.set_assignment(source, due)
            for result, one in zip(results, found, strict=True):
                student = student_id(result.student)
                row = (people or {}).get(result.student, {})
                database.add_student(student, row.get("sortable_name") or result.name, row.get("email", ""))
                if result.status == "no file" and result.notes == ABSENT and not database.knows(student):
                    continue
                when = course.handed_in(one, student, assignment)
                course.add_submitted(one, student, assignment, when)
                notebook = _shown(source, one.path, result)
                path = course.notebook(student, assignment)
                _record(database, path, student, result, notebook, when)
                if when:
                    _put(path.parent / "timestamp.txt", when.strftime(TIME))
            database.session.commit()  # people without a submission
    except OSError as error:
        raise GradebookError(
            f"{course.folder} can't be written to ({error}): make room, and run again"
        ) from error
    except GradebookError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"
        raise GradebookError(
            f"a fault of the grader's ({where}), which its authors should hear of"
        ) from error
    return remarks


def _record(
    database: Database, path: Path, student: str, result: Result, notebook: dict, when: datetime | None
) -> None:
    """Write a submission into the database, then its notebook, from which the next run learns what has changed."""
    text = json.dumps(notebook, ensure_ascii=False) + "\n"
    before = ""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        before = path.read_text(encoding="utf-8")
    changed: set[str] = set()
    if before != text and database.knows(student) and database.graded_by_hand(student):
        old, new = answers_in(before), answers(notebook)
        changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    database.record(student, result, when, changed)
    if before != text:
        _put(path, text)


def _put(path: Path, text: str) -> None:
    """Write a file in one step; nbgrader leaves them read-only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8", errors="backslashreplace")
    draft.replace(path)


def _shown(source: NotebookNode, path: Path | None, result: Result) -> dict:
    """The notebook that formgrader shows; of a file that can't be read, the source's cells alone."""
    cells: list[Cell] = []
    with contextlib.suppress(Unreadable, OSError):
        cells = read_submission(path).cells if path else []
    pictures: Pictures = {}
    if path and any(cell.kind == "markdown" and "attachment:" in cell.source for cell in cells):
        with contextlib.suppress(OSError, ValueError, AttributeError, RecursionError):
            pictures = pictures_in(json.loads(path.read_text(encoding="utf-8-sig")).get("cells"))
    return autograded(source, cells, result, pictures)
