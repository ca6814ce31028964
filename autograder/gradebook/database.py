"""nbgrader's database, through its own models: the assignment once a run, then a commit a submission.

(sqlalchemy and alembic come with nbgrader, which these models are made with.)
"""

import contextlib
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import nbgrader
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from nbformat import NotebookNode
from nbgrader.api import (
    Comment,
    Grade,
    Gradebook,
    GradeCell,
    SolutionCell,
    SourceCell,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
)
from nbgrader.preprocessors import AssignLatePenalties
from nbgrader.utils import is_grade, is_locked, is_solution
from sqlalchemy import create_engine, inspect, make_url, select
from sqlalchemy.exc import SQLAlchemyError

from autograder.build.notebooks import grade_id_of
from autograder.grade import Result
from autograder.gradebook.notebook import harmless, why
from cs_vl.checks.card import text

NO_ANSWER = "No response."  # nbgrader's own words


class GradebookError(RuntimeError):
    """The database can't be used; the message is one sentence for the TA."""


class Database:
    """An assignment's part of a gradebook.  Use it in a `with` statement.

    Raises:
        GradebookError: also of all methods: damaged, of another version, or locked by another program.
    """

    def __init__(self, url: str, assignment: str, late: AssignLatePenalties | None = None):
        """late: nbgrader's preprocessor, which holds the late policy; None leaves penalties alone."""
        self.url, self.name, self.late = url, assignment, late

    def __enter__(self) -> "Database":
        with self._in_one_sentence():
            _stamp(self.url)
            self.gradebook = Gradebook(self.url)
            self.session = self.gradebook.db()
            self.session.expire_on_commit = False  # else each object is read again after each commit
            self.assignment = self.gradebook.update_or_create_assignment(self.name)
            self.notebook = self.gradebook.update_or_create_notebook(self.name, self.name)
            self._read()
        return self

    def __exit__(self, *_: Any) -> None:
        self.gradebook.close()

    def _read(self) -> None:
        """Look up once what each submission needs."""
        self.notebooks = list(self.assignment.notebooks)
        self.grade_cells = {cell.id: cell for nb in self.notebooks for cell in nb.grade_cells}
        self.solution_cells = {cell.id: cell for nb in self.notebooks for cell in nb.solution_cells}
        self.students = {student.id: student for student in self.session.scalars(select(Student))}
        theirs = select(SubmittedAssignment).where(SubmittedAssignment.assignment_id == self.assignment.id)
        self.submissions = {one.student_id: one for one in self.session.scalars(theirs)}

    # --- the assignment ------------------------------------------------------------------------------------

    def set_assignment(self, source: NotebookNode, due: datetime | None = None) -> list[str]:
        """Store the assignment's cells as the source has them; returns remarks.

        A cell that the source has no more is deleted, unless a person has graded it.
        """
        with self._in_one_sentence():
            if due:
                self.assignment.duedate = due
            self.notebook.kernelspec = json.dumps(source.metadata.get("kernelspec", {}))
            old = {
                (type(cell), cell.name): cell
                for cells in (
                    self.notebook.grade_cells,
                    self.notebook.solution_cells,
                    self.notebook.source_cells,
                )
                for cell in cells
            }
            for cell in source.cells:
                for model, values in _rows(cell):
                    row = old.pop((model, grade_id_of(cell)), None)
                    if row is None:
                        row = model(name=grade_id_of(cell), notebook=self.notebook, **values)
                        self.session.add(row)
                    for key, value in values.items():
                        setattr(row, key, value)
            remarks = [remark for cell in old.values() if (remark := self._remove(cell))]
            self.session.commit()
            self.session.expire(self.notebook)
            self._read()
            return remarks

    def _remove(self, cell: Any) -> str:
        """Delete a cell and what the machine said of it; where a person said something, say so instead."""
        inputs: list[Any] = []
        if isinstance(cell, GradeCell):
            inputs = list(self.session.scalars(select(Grade).where(Grade.cell_id == cell.id)))
        elif isinstance(cell, SolutionCell):
            inputs = list(self.session.scalars(select(Comment).where(Comment.cell_id == cell.id)))
        by_hand = ("manual_score", "extra_credit", "manual_comment")
        if any(getattr(one, name, None) is not None for one in inputs for name in by_hand):
            return f"the gradebook keeps {cell.name}, which the assignment has no more: a person graded it"
        for one in [*inputs, cell]:
            self.session.delete(one)
        return ""

    # --- a submission --------------------------------------------------------------------------------------

    def add_student(self, student: str, name: str = "", email: str = "") -> None:
        """Add somebody, or fill in what is not known of them; saved with the next commit."""
        person = self.students.get(student)
        if person is None:
            person = self.students[student] = Student(id=student)
            self.session.add(person)
        first, last = _split(harmless(name))  # formgrader's pages take it as it is
        if not person.first_name and not person.last_name:
            person.first_name, person.last_name = first or None, last or None
        person.email = person.email or email or None

    def knows(self, student: str) -> bool:
        """Whether there is a submission of theirs."""
        return student in self.submissions

    def graded_by_hand(self, student: str) -> bool:
        """Whether a person gave a score in a submission of theirs."""
        with self._in_one_sentence():
            submitted = self._submitted(student)
            return any(grade.manual_score is not None for grade in self._rows_of(submitted, Grade).values())

    def record(self, student: str, result: Result, when: datetime | None, changed: set[str]) -> None:
        """Write a submission's scores and comments, in one commit; what a person gave stays.

        A score given by hand is to be looked at again where the answer has changed since, or the machine's score has.

        Args:
            when: it was handed in, in UTC; None leaves the time as it is.
            changed: the answer cells that have changed since formgrader last showed them.
        """
        with self._in_one_sentence():
            submitted = self._submitted(student)
            submission = self.submissions[student]
            if when:
                submission.timestamp = when
            scores, comments = _verdicts(result)
            reason = why(result)
            for name, grade in self._rows_of(submitted, Grade).items():
                score = scores.get(name)
                again = grade.auto_score != score or name.removeprefix("check-") in changed
                grade.auto_score = score
                if grade.manual_score is None:
                    grade.needs_manual_grade = score is None or bool(reason)
                elif again:
                    grade.needs_manual_grade = True
            for name, comment in self._rows_of(submitted, Comment).items():
                comment.auto_comment = "\n\n".join(filter(None, [reason, comments.get(name)])) or None
            if self.late:
                self._penalise(submission, submitted)
            self.session.commit()

    def _submitted(self, student: str) -> SubmittedNotebook:
        """The student's notebook, made with its submission where there is none."""
        submission = self.submissions.get(student)
        if submission is None:
            self.add_student(student)
            submission = SubmittedAssignment(assignment_id=self.assignment.id, student_id=student)
            self.session.add(submission)
        known = {made.notebook_id: made for made in submission.notebooks}
        for notebook in self.notebooks:  # of an assignment with several each needs its rows
            if notebook.id not in known:
                made = known[notebook.id] = SubmittedNotebook(notebook_id=notebook.id)
                submission.notebooks.append(made)
                self.session.flush()
                for cells, model in ((self.grade_cells, Grade), (self.solution_cells, Comment)):
                    mine = [cell for cell in cells.values() if cell.notebook_id == notebook.id]
                    self.session.add_all(model(cell_id=cell.id, notebook_id=made.id) for cell in mine)
        self.submissions[student] = submission
        return known[self.notebook.id]

    def _rows_of(self, submitted: SubmittedNotebook, model: type[Any]) -> dict[str, Any]:
        """The grades, or the comments, of a submitted notebook by their cell's name."""
        cells = self.grade_cells if model is Grade else self.solution_cells
        mine = {cell.id: cell.name for cell in cells.values() if cell.notebook_id == self.notebook.id}
        # Both columns: the table's only index begins with the cell.
        query = select(model).where(model.cell_id.in_(mine), model.notebook_id == submitted.id)
        rows = {mine[row.cell_id]: row for row in self.session.scalars(query)}
        for cell, name in mine.items():
            if name not in rows:  # the assignment got it later
                rows[name] = model(cell_id=cell, notebook_id=submitted.id)
                self.session.add(rows[name])
        return rows

    def _penalise(self, submission: SubmittedAssignment, submitted: SubmittedNotebook) -> None:
        """What nbgrader's AssignLatePenalties does, in this session."""
        assert self.late
        submitted.late_submission_penalty = None
        if submission.total_seconds_late > 0:
            self.session.flush()
            self.session.refresh(submitted, ["score"])
            try:
                penalty = self.late.plugin_inst.late_submission_penalty(
                    submission.student_id, submitted.score, submission.total_seconds_late
                )
            except Exception as error:
                raise GradebookError(
                    f"the course's late policy failed ({type(error).__name__}: {error}): correct it, and run again"
                ) from error
            if penalty is not None:
                submitted.late_submission_penalty = self.late._check_late_penalty(submitted, penalty)

    @contextlib.contextmanager
    def _in_one_sentence(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            if hasattr(self, "session"):
                self.session.rollback()
            said = str(getattr(error, "orig", None) or error).split("\n")[0]
            raise GradebookError(
                f"{make_url(self.url).database} can't be used ({said}): {_advice(said)}"
            ) from error


def _advice(said: str) -> str:
    if "locked" in said:
        return "another program is writing to it, so close that and run this again"
    if "no such" in said or "has no column" in said:
        return "it is of another version of nbgrader, so copy it for safety and run `nbgrader db upgrade`"
    return "put a copy of it back, or move it away and run this again"


def _stamp(url: str) -> None:
    """Say in a new database which version it is, as nbgrader does, which starts the program alembic for it."""
    if make_url(url).get_backend_name() != "sqlite":
        return
    engine = create_engine(url)
    try:
        if not inspect(engine).get_table_names():
            versions = ScriptDirectory(str(Path(nbgrader.__file__).parent / "alembic"))
            with engine.begin() as connection:
                MigrationContext.configure(connection).stamp(versions, "head")
    finally:
        engine.dispose()


def _rows(cell: NotebookNode) -> list[tuple[type[Any], dict[str, Any]]]:
    """The rows that nbgrader's SaveCells makes of a cell."""
    if not grade_id_of(cell):
        return []
    settings = cell.metadata.nbgrader
    rows: list[tuple[type[Any], dict[str, Any]]] = []
    if is_grade(cell):
        rows.append((GradeCell, {"max_score": float(settings.points), "cell_type": cell.cell_type}))
    if is_solution(cell):
        rows.append((SolutionCell, {}))
    source = {"cell_type": cell.cell_type, "locked": is_locked(cell), "source": cell.source}
    return [*rows, (SourceCell, {**source, "checksum": settings.get("checksum")})]


def _verdicts(result: Result) -> tuple[dict[str, float | None], dict[str, str | None]]:
    """Scores by grade cell (None: for a person to give) and comments by answer cell."""
    scores: dict[str, float | None] = {}
    comments: dict[str, str | None] = {}
    for verdict in result.verdicts:
        scores[f"check-{verdict.exercise}"] = None if verdict.status == "grader error" else verdict.points
        comments[verdict.exercise] = harmless(text(verdict)).replace("\n", "  \n")
    for answer in result.written:
        blank = answer.status == "unanswered"
        scores[f"written-{answer.name}"] = 0.0 if blank else None
        comments[f"written-{answer.name}"] = (
            NO_ANSWER if blank
            else "Its cell is gone: look for the answer elsewhere." if answer.status == "cell not found"
            else None
        )  # fmt: skip
    return scores, comments


def _split(name: str) -> tuple[str, str]:
    """First and last name, of "Lovelace, Ada" or "Ada Lovelace"."""
    if "," in name:
        last, _, first = name.partition(",")
    else:
        first, _, last = name.rpartition(" ") if " " in name else (name, "", "")
    return first.strip(), last.strip()
