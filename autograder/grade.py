"""Grade a class: submissions -> reader -> workers -> outputs -> judge -> journal -> report.

A student's code runs in a process of its own, which holds the student edition of the library and is sent inputs
only; the judge is here, and never runs a student's code.
"""

import sysconfig
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from autograder.build.edition import build_edition
from autograder.build.notebooks import student_path
from autograder.journal import Journal, grader_version, key_of
from autograder.reader import Found
from autograder.references import Drawn, sentences
from cs_vl.checks.cells import Cell, Unreadable, read_submission
from cs_vl.checks.judge import Verdict
from cs_vl.checks.spec import Assignment
from cs_vl.checks.submission import Submitted
from cs_vl.checks.worker import STAGE_SECONDS


@dataclass
class Written:
    """A written answer: "unanswered" scores 0, "awaiting grading" waits for a person."""

    name: str
    status: str
    out_of: float


@dataclass
class Result:
    """All that grading found of one student.

    `status`: "graded"; "no file"; "unreadable" (the notes say why); "grader error" (a fault of ours, no score).
    """

    student: str
    name: str
    status: str
    file: str = ""
    verdicts: list[Verdict] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def points(self) -> float | None:
        """Points by machine; None where it could not be graded."""
        return sum(v.points for v in self.verdicts) if self.status == "graded" else None

    @property
    def out_of(self) -> float:
        return sum(v.out_of for v in self.verdicts)

    @property
    def awaiting(self) -> float:
        """Points that a person has yet to give or not."""
        return sum(w.out_of for w in self.written if w.status == "awaiting grading")

    @property
    def needs_a_person(self) -> bool:
        return self.status in ("unreadable", "grader error") or self.awaiting > 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Result":
        verdicts = [Verdict.from_json(v) for v in data["verdicts"]]
        return cls(**{**data, "verdicts": verdicts, "written": [Written(**w) for w in data["written"]]})


class Grader:
    """Everything that grading an assignment needs, made once a run.

    Args:
        results: the results folder; the secret and the student edition live there.
        seconds: the limit of one case of one stage.
    """

    def __init__(self, assignment: Assignment, results: Path, seconds: float = STAGE_SECONDS):
        self.assignment, self.seconds = assignment, seconds
        self.journal = Journal(results)
        notebook = nbformat.read(student_path(assignment.name), as_version=4)
        self.setup = [
            Cell(number, "code", cell.source)
            for number, cell in enumerate(notebook.cells, 1)
            if _grade_id(cell).startswith("imports-")
        ]
        self.blanks = {
            _grade_id(cell): cell for cell in notebook.cells if _grade_id(cell).startswith("written-")
        }
        edition = build_edition(assignment.name, results / ".edition").parent
        self.path = [edition, *sorted({Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")})]
        # All references first, in this thread: what follows only reads them.
        self.drawn = Drawn(assignment, self.journal.secret)
        for exercise in assignment.exercises:
            for stage in exercise.stages:
                self.drawn.cases_of(exercise)(stage)

    def grade(self, found: Found) -> Result:
        """Grade one submission.  Never raises: a fault of ours is a result too, with status "grader error"."""
        start = time.perf_counter()
        result = Result(found.student, found.name, "no file", notes=list(found.notes))
        try:
            if found.path is not None:
                result.file = found.path.name
                self._grade_file(found.path, result)
        except Unreadable as error:
            result.status, result.notes = "unreadable", [*result.notes, str(error)]
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last.filename).name}, line {last.lineno}"
            result.status, result.verdicts = "grader error", []
            result.notes.append(
                f"The grader failed, not the student: {type(error).__name__}: {error} ({where})"
            )
        result.seconds = round(time.perf_counter() - start, 2)
        return result

    def _grade_file(self, path: Path, result: Result) -> None:
        submission = read_submission(path)
        result.notes += submission.notes
        with Submitted(
            self.assignment, submission.cells, setup=self.setup, path=self.path, seconds=self.seconds
        ) as submitted:
            result.verdicts = list(submitted.verdicts(self.drawn.cases_of, sentences, hidden=True))
            result.notes += submitted.loaded["notes"]
        result.written = [self._written(name, blank, submission.cells) for name, blank in self.blanks.items()]
        result.status = "graded"

    def _written(self, grade_id: str, blank: Any, cells: list[Cell]) -> Written:
        answers = [cell.source.strip() for cell in cells if cell.grade_id == grade_id]
        changed = any(answer and answer != blank.source.strip() for answer in answers)
        status = "awaiting grading" if changed else "unanswered"
        return Written(grade_id.removeprefix("written-"), status, float(blank.metadata.nbgrader.points))


def _grade_id(cell: Any) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def grade_class(
    grader: Grader,
    submissions: list[Found],
    *,
    jobs: int,
    executor: Executor | None = None,
    tick: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Grade all submissions; those in the journal already, unchanged, are taken from there.

    Args:
        jobs: how many worker processes at a time.
        executor: where to run; threads by default (each waits for a worker process of its own).
        tick: called with each result.
    """
    finished = grader.journal.finished()
    results: dict[str, Result] = {}
    todo: list[tuple[str, Found]] = []
    for found in submissions:
        data = found.path.read_bytes() if found.path and found.path.is_file() else b""
        key = key_of(found.student, data, grader.assignment.name, grader.journal.secret)
        if key in finished:
            results[found.student] = Result.from_json(finished[key]["result"])
            tick(results[found.student])
        else:
            todo.append((key, found))
    with executor or ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(grader.grade, found): (key, found) for key, found in todo}
        for future in as_completed(futures):
            key, found = futures[future]
            result = results[found.student] = future.result()
            if result.status != "grader error":  # tried again next time
                entry = {"key": key, "grader": grader_version(), "result": result.to_json()}
                grader.journal.append(entry)
            tick(result)
    return [results[found.student] for found in submissions]
