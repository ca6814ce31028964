"""Grade a class: submissions -> reader -> workers -> outputs -> judge -> journal -> report.

A student's code runs in processes of its own, behind walls (autograder/sandbox), which hold the student edition of the
library and are sent inputs only; the judge is here, and never runs a student's code.
"""

import ast
import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import nbformat

from autograder.build.edition import build_edition
from autograder.build.notebooks import grade_id_of, student_path
from autograder.journal import Journal, grader_version, key_of
from autograder.reader import NO_NOTEBOOK, Found, printable
from autograder.references import Drawn, sentences
from autograder.sandbox import preflight
from autograder.sandbox.bwrap import site_packages
from autograder.sandbox.pool import NoWalls, Pool
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
    without walls.  `stale`: a former score, left standing since the newest submission can't be read, or since the grader
    failed on it; the first of the notes says which.
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
        return self.stale or self.status in ("unreadable", "grader error") or self.awaiting > 0

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
        self.out_of = assignment.points
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
        self.texts = {"", *(cell.source.strip() for cell in notebook.cells if cell.cell_type == "markdown")}
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
            edition = build_edition(self.assignment.name, self.results / ".edition").parent
            # Whoever runs students' code may read it, whatever the umask.
            for path in (edition, *edition.rglob("*")):
                path.chmod(0o755 if path.is_dir() else 0o644)
            self._edition = edition
        return self._edition

    @property
    def pool(self) -> Pool:
        """The warm processes behind walls; none is started before it is needed."""
        if self._pool is None:
            self._pool = Pool(self.assignment.name, self.edition, self._modules, hidden=[self.results])
        return self._pool

    def try_walls(self) -> preflight.Walls:
        """Which walls stand here, tried for real; where nothing runs behind them, none does, and why."""
        try:
            return preflight.preflight(self.pool, self.assignment, self.results)
        except NoWalls as error:
            return preflight.Walls(fell=[str(error)])

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
        name = found.path.name if found.path else ""
        return key_of(found.student, name, contents(found) or b"", *self.conditions)

    def grade(self, found: Found) -> Result:
        """Grade one submission.  Never raises: a fault of ours is a result too, with status "grader error"."""
        start = time.perf_counter()
        # Something else than a notebook may have been handed in.
        other = found.path is None and any(NO_NOTEBOOK in note for note in found.notes)
        result = Result(found.student, found.name, "unreadable" if other else "no file", out_of=self.out_of)
        try:
            if found.path is not None:
                result.file = printable(found.path.name)
                self.prepare()
                self._grade_file(found.path, result)
        except Unreadable as error:
            result.status = "unreadable"
            result.notes.append(str(error))
        except Exception as error:
            result = self.fault(
                found, f"The grader failed, not the student ({where_from(error)})", result.notes
            )
        result.seconds = round(time.perf_counter() - start, 2)
        return result

    def fault(self, found: Found, sentence: str, notes: Iterable[str] = ()) -> Result:
        """The result where we could not grade: no score, and tried again by the next run."""
        file = printable(found.path.name) if found.path else ""
        return Result(found.student, found.name, "grader error", file, self.out_of, notes=[*notes, sentence])

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
        places = [i for i, cell in enumerate(cells) if cell.grade_id == grade_id]
        answers = [cells[i].source.strip() for i in places]
        changed = any(answer and answer != blank.source.strip() for answer in answers)
        # Or it was written into a text cell of its own, below the blank.
        below = (cells[i + 1] for i in places if i + 1 < len(cells))
        changed |= any(cell.kind == "markdown" and cell.source.strip() not in self.texts for cell in below)
        # Without its cell it may stand anywhere: somebody has to look.
        status = "awaiting grading" if changed else "unanswered" if answers else "cell not found"
        return Written(grade_id.removeprefix("written-"), status, float(blank.metadata.nbgrader.points))


def contents(found: Found) -> bytes | None:
    """What was handed in; nothing where there is no file, or one that is too large to be read.

    Raises:
        OSError: it can't be read.
    """
    path = found.path
    return path.read_bytes() if path and path.is_file() and path.stat().st_size <= MAX_FILE_BYTES else None


def where_from(error: Exception) -> str:
    """Where something failed, for the TA; its text only where that can't tell hidden values."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = f": {error}" if isinstance(error, OSError) else ""
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}{said}"


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

    Where the newest submission can't be graded, a score that an earlier one got stands, marked as `stale`.

    Args:
        jobs: how many submissions at a time.
        executor: where to run, in chunks (autograder/chunks.py); by default threads here, each of which waits for a
            student's process of its own.
        tick: called with each result.

    Raises:
        ValueError: another run is grading into the same folder.
        OSError: the journal can't be written.
    """
    with grader.journal.alone():
        if executor is None:
            return _grade_class(grader, submissions, lambda todo: _grade_here(grader, todo, jobs), tick)
        from autograder.chunks import grade_elsewhere  # which imports this module

        return _grade_class(
            grader, submissions, lambda todo: grade_elsewhere(grader, todo, jobs, executor), tick
        )


Graded = Generator[tuple[Found, Result], None, None]  # in the order in which they are done


def _grade_here(grader: Grader, todo: list[Found], jobs: int) -> Graded:
    grader.prepare()
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {pool.submit(grader.grade, found): found for found in todo}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException:  # Ctrl-C, a full disk: what is under way is not waited for
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    grader.close()


def _grade_class(
    grader: Grader,
    submissions: list[Found],
    run: Callable[[list[Found]], Graded],
    tick: Callable[[Result], None],
) -> list[Result]:
    finished = grader.journal.finished()
    former = _last_scores(finished, grader.assignment.name)
    results: dict[str, Result] = {}
    todo: list[Found] = []
    keys: dict[str, str] = {}

    def done(found: Found, result: Result) -> None:
        _, score = former.get(found.student, ("", None))
        result = _left_standing(score, result) if score else result
        # What is known of the person may have changed since.
        results[found.student] = replace(result, name=found.name, notes=[*found.notes, *result.notes])
        tick(results[found.student])

    def append(key: str, result: Result) -> None:
        grader.journal.append(
            {
                "key": key, "assignment": grader.assignment.name, "grader": grader_version(),
                "result": result.to_json(),
            }
        )  # fmt: skip

    for found in submissions:
        key = keys[found.student] = _key(grader, found)
        before = _restored(finished.get(key))
        if before is None:
            todo.append(found)
            continue
        if before.status == "graded" and former.get(found.student, ("", None))[0] != key:
            append(key, before)  # an older one is handed in again: it is the last score now
            former[found.student] = key, before
        done(found, before)
    nothing = [found for found in todo if found.path is None]
    for found in nothing:
        done(found, grader.grade(found))
    todo = [found for found in todo if found.path is not None]
    if not todo:
        return [results[found.student] for found in submissions]
    with contextlib.closing(run(todo)) as graded:
        for found, result in graded:
            key = keys[found.student]
            if key and key != _key(grader, found):
                result = grader.fault(found, "The file changed while it was graded: run the command again.")
            if key and result.status != "grader error":  # that is tried again next time
                append(key, result)
            done(found, result)
    return [results[found.student] for found in submissions]


def _key(grader: Grader, found: Found) -> str:
    """The key in the journal; empty where there is no file, or none that can be read (grading it says why)."""
    if found.path is not None:
        with contextlib.suppress(OSError):
            return grader.key(found)
    return ""


def _restored(entry: dict[str, Any] | None) -> Result | None:
    try:
        return Result.from_json(entry["result"]) if entry else None
    except (KeyError, TypeError):
        return None


def _last_scores(finished: dict[str, dict[str, Any]], assignment: str) -> dict[str, tuple[str, Result]]:
    """{student: key and result of the last submission that got a score}; a folder may hold several assignments."""
    scores = {}
    for key, entry in finished.items():
        result = _restored(entry) if entry.get("assignment") == assignment else None
        if result and result.status == "graded":
            scores[result.student] = key, result
    return scores


def _left_standing(former: Result, result: Result) -> Result:
    """What is shown of somebody who has had a score, after the newest attempt to grade."""
    if result.status == "no file":
        note = f"A former run graded {former.file} ({former.points or 0:g} of {former.out_of:g}), which is not there any more."
        return replace(result, notes=[note, *result.notes])
    if result.status == "graded":
        return result
    failed = (
        "can't be read" if result.status == "unreadable" else "could not be graded, a fault of the grader"
    )
    note = f"This score is a former one, of {former.file}: the newest submission, {result.file}, {failed}."
    return replace(former, stale=True, notes=[note, *result.notes, *former.notes])
