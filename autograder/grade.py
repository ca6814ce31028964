"""Grade a class: submissions -> reader -> workers -> outputs -> judge -> journal -> report.

A student's code runs in processes of its own, behind walls (autograder/sandbox), which hold the student edition of the
library and are sent inputs only; the judge is here, and never runs a student's code.
"""

import ast
import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import nbformat

from autograder.build.edition import build_edition
from autograder.build.notebooks import grade_id_of, student_path
from autograder.journal import Journal, grader_version, key_of
from autograder.reader import Found, printable
from autograder.references import Drawn, sentences
from autograder.sandbox.bwrap import site_packages
from autograder.sandbox.pool import Pool
from autograder.sandbox.walled import Walled
from autograder.stand_ins import stand_ins_for
from cs_vl.checks.cells import MAX_FILE_BYTES, Cell, Unreadable, read_submission
from cs_vl.checks.judge import Verdict
from cs_vl.checks.source import parse
from cs_vl.checks.spec import Assignment
from cs_vl.checks.submission import Submitted
from cs_vl.checks.worker import STAGE_SECONDS, StudentProcess, Worker


@dataclass
class Written:
    """A written answer: "unanswered" scores 0; "awaiting grading" and "cell not found" wait for a person."""

    name: str
    status: str
    out_of: float


@dataclass
class Result:
    """All that grading found of one student.

    `status`: "graded"; "no file"; "unreadable" (the notes say why); "grader error" (a fault of ours, no score).
    `out_of` is what the machine can give, whatever it could grade.
    `cpu_seconds` and `peak_mb` are of the student's processes, memory beyond what Python and torch take; 0 where they ran
    without walls.  `stale`: a former score, which a later attempt to grade left standing.
    """

    student: str
    name: str
    status: str
    file: str = ""
    out_of: float = 0.0
    verdicts: list[Verdict] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    stale: bool = False

    @property
    def points(self) -> float | None:
        """Points by machine; None where it could not be graded."""
        return sum(v.points for v in self.verdicts) if self.status == "graded" else None

    @property
    def awaiting(self) -> float:
        """Points that a person has yet to give or not."""
        return sum(w.out_of for w in self.written if w.status != "unanswered")

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
        sandbox: whether a student's code runs behind walls; without, it can read what you can.
    """

    def __init__(
        self, assignment: Assignment, results: Path, seconds: float = STAGE_SECONDS, *, sandbox: bool = True
    ):
        self.assignment, self.seconds, self.sandbox = assignment, seconds, sandbox
        self.results, self.journal = results, Journal(results)
        source = student_path(assignment.name)
        notebook = nbformat.read(source, as_version=4)
        self.setup = [
            Cell(number, "code", cell.source)
            for number, cell in enumerate(notebook.cells, 1)
            if grade_id_of(cell).startswith("imports-")
        ]
        self.blanks = {
            grade_id_of(cell): cell for cell in notebook.cells if grade_id_of(cell).startswith("written-")
        }
        # What a result depends on beside the submission.
        self.conditions: list[str | bytes] = [
            assignment.name, source.read_bytes(), str(self.journal.secret), str(seconds), grader_version(),
            "walls" if sandbox else "no walls",
        ]  # fmt: skip
        self._modules = _imported(cell.source for cell in notebook.cells if cell.cell_type == "code")
        self._edition: Path | None = None
        self._pool: Pool | None = None
        self._preparing = threading.Lock()

    @property
    def edition(self) -> Path:
        """The folder of the student edition that submissions run on; it is laid out when it is first asked for."""
        if self._edition is None:
            self._edition = build_edition(self.assignment.name, self.results / ".edition").parent
        return self._edition

    @property
    def pool(self) -> Pool:
        """The warm processes behind walls; none is started before it is needed."""
        if self._pool is None:
            self._pool = Pool(self.assignment.name, self.edition, self._modules, hidden=[self.results])
        return self._pool

    def prepare(self) -> None:
        """Lay out the student edition and compute all references: once, before the first submission is graded."""
        with self._preparing:
            if hasattr(self, "drawn"):
                return
            # All in one thread: what follows only reads them.
            drawn = Drawn(self.assignment, self.journal.secret)
            for exercise in self.assignment.exercises:
                for stage in exercise.stages:
                    drawn.cases_of(exercise)(stage)
            _ = self.pool if self.sandbox else self.edition
            self.drawn = drawn

    def start(self) -> StudentProcess:
        """A process for one submission."""
        if self.sandbox:
            return Walled(self.pool, self.seconds)
        return Worker(self.assignment.name, [self.edition, *site_packages()])

    def close(self) -> None:
        """End the warm processes; more start when they are needed."""
        if self._pool:
            self._pool.close()

    def key(self, found: Found) -> str:
        """The same for the same student, file and conditions only."""
        data = b""
        if found.path is not None and found.path.is_file() and found.path.stat().st_size <= MAX_FILE_BYTES:
            data = found.path.read_bytes()
        name = found.path.name if found.path else ""
        return key_of(found.student, name, data, *self.conditions)

    def grade(self, found: Found) -> Result:
        """Grade one submission.  Never raises: a fault of ours is a result too, with status "grader error"."""
        start = time.perf_counter()
        result = Result(found.student, found.name, "no file")
        result.out_of = sum(exercise.points for exercise in self.assignment.exercises)
        try:
            if found.path is not None:
                result.file = printable(found.path.name)
                self.prepare()
                self._grade_file(found.path, result)
        except Unreadable as error:
            result.status = "unreadable"
            result.notes.append(str(error))
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"
            said = f": {error}" if isinstance(error, OSError) else ""  # other texts may tell hidden values
            result.status, result.verdicts = "grader error", []
            result.notes.append(f"The grader failed, not the student ({where}){said}")
        result.seconds = round(time.perf_counter() - start, 2)
        return result

    def _grade_file(self, path: Path, result: Result) -> None:
        submission = read_submission(path)
        result.notes += submission.notes
        submitted = Submitted(
            self.assignment,
            submission.cells,
            setup=self.setup,
            start=self.start,
            stand_ins=partial(stand_ins_for, self.assignment),
            seconds=self.seconds,
        )
        with submitted:
            result.verdicts = list(submitted.verdicts(self.drawn.cases_of, sentences, hidden=True))
            result.notes += submitted.loaded["notes"]
        result.cpu_seconds, result.peak_mb = round(submitted.cpu_seconds, 3), submitted.peak_mb
        result.written = [self._written(name, blank, submission.cells) for name, blank in self.blanks.items()]
        ours = [v for v in result.verdicts if v.status == "grader error"]
        result.notes += [f"{v.exercise}: {v.sentence}" for v in ours]
        result.status = "grader error" if ours else "graded"

    def _written(self, grade_id: str, blank: Any, cells: list[Cell]) -> Written:
        answers = [cell.source.strip() for cell in cells if cell.grade_id == grade_id]
        changed = any(answer and answer != blank.source.strip() for answer in answers)
        # Without its cell it may stand anywhere: somebody has to look.
        status = "awaiting grading" if changed else "unanswered" if answers else "cell not found"
        return Written(grade_id.removeprefix("written-"), status, float(blank.metadata.nbgrader.points))


def _imported(sources: Iterable[str]) -> list[str]:
    """The modules that cells may import, to be loaded once, before any submission is; some of the names are none."""
    names: set[str] = set()
    for node in (node for source in sources for node in parse(source).body):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    return sorted(names)


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

    Raises:
        ValueError: another run is grading into the same folder.
    """
    with grader.journal.alone():
        if executor:
            return _grade_class(grader, submissions, executor, tick)
        pool = ThreadPoolExecutor(jobs)
        try:
            results = _grade_class(grader, submissions, pool, tick)
        except BaseException:  # Ctrl-C: what is under way is not waited for
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
        grader.close()
        return results


def _grade_class(
    grader: Grader, submissions: list[Found], pool: Executor, tick: Callable[[Result], None]
) -> list[Result]:
    finished = grader.journal.finished()
    results: dict[str, Result] = {}
    todo: list[tuple[str, Found]] = []

    def done(found: Found, result: Result) -> None:
        # What is known of the person may have changed since.
        results[found.student] = replace(result, name=found.name, notes=[*found.notes, *result.notes])
        tick(results[found.student])

    for found in submissions:
        key, before = "", None
        if found.path is not None:
            with contextlib.suppress(OSError):  # then grading it says why
                key = grader.key(found)
                before = _restored(finished.get(key))
        if before:
            done(found, before)
        else:
            todo.append((key, found))
    if any(found.path for _, found in todo):
        grader.prepare()
    futures = {pool.submit(grader.grade, found): (key, found) for key, found in todo}
    for future in as_completed(futures):
        key, found = futures[future]
        result = future.result()
        if key and result.status != "grader error":  # that is tried again next time
            grader.journal.append({"key": key, "grader": grader_version(), "result": result.to_json()})
        done(found, result)
    return [results[found.student] for found in submissions]


def _restored(entry: dict[str, Any] | None) -> Result | None:
    try:
        return Result.from_json(entry["result"]) if entry else None
    except (KeyError, TypeError):
        return None
