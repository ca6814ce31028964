"""Judge a whole submission in a process of its own: exercise after exercise, whatever the code does."""

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from cs_vl.checks.cells import Cell
from cs_vl.checks.judge import StageCases, StageVerdict, Verdict, judge
from cs_vl.checks.run import Outcome
from cs_vl.checks.spec import Assignment, Exercise, Inputs, Stage
from cs_vl.checks.worker import STAGE_SECONDS, StudentProcess, Worker

Cases = Callable[[Exercise], Callable[[Stage], StageCases]]

ALL_STAGES = 20  # times the limit of one case: what all exercises together may take after loading


class Submitted:
    """A submission whose definitions are loaded in a process; it is replaced when it dies.

    Use it in a `with` statement; `verdicts()` judges the exercises one after the other.

    Args:
        setup: the import cells of the source notebook, for submissions that lack them.
        start: starts a process; by default one without walls, on this one's import path.
        stand_ins: the source of what takes the place of earlier exercises while one is judged; by default the
            process uses the library's own, or the student's.
        seconds: the limit of one case.

    Attributes:
        cpu_seconds, peak_mb: what all its processes have used, after the `with` statement.
    """

    def __init__(
        self,
        assignment: Assignment,
        cells: Iterable[Cell],
        *,
        setup: Iterable[Cell] = (),
        start: Callable[[], StudentProcess] | None = None,
        stand_ins: Callable[[Exercise], str | None] = lambda exercise: None,
        seconds: float = STAGE_SECONDS,
    ):
        self.assignment, self.cells, self.setup = assignment, list(cells), list(setup)
        self.start = start or (lambda: Worker(assignment.name))
        self.stand_ins, self.seconds = stand_ins, seconds
        self.worker: StudentProcess | None = None
        self.loaded: dict[str, Any] = {"answers": [], "problems": {}, "notes": []}
        self.fault: Outcome | None = None  # why nothing of it can run
        self.cpu_seconds = self.peak_mb = 0.0

    def __enter__(self) -> "Submitted":
        try:
            self._start()
        except BaseException:
            self._close()
            raise
        self._until = time.monotonic() + ALL_STAGES * self.seconds
        return self

    def __exit__(self, *_: Any) -> None:
        self._close()

    def _start(self) -> None:
        self.worker = self.start()
        try:
            self.loaded = self.worker.load(self.cells, self.setup)
        except TimeoutError:
            seconds = self.worker.load_seconds
            self.fault = Outcome(
                "timeout", message=f"Its definitions alone did not load in {seconds:g} seconds."
            )
        except EOFError:
            cause = self.worker.cause()
            self.fault = Outcome(cause.status, message=f"While its definitions were loaded: {cause.message}")
        except ValueError as error:
            self.fault = Outcome("crashed", message=f"Its definitions did not load: {error}.")

    def _close(self) -> None:
        if self.worker:
            self.worker.close()
            self.cpu_seconds += self.worker.cpu_seconds
            self.peak_mb = max(self.peak_mb, self.worker.peak_mb)
            self.worker = None

    def verdicts(
        self, cases: Cases, sentences: Callable[[Exercise], dict[str, str]], *, hidden: bool
    ) -> Iterator[Verdict]:
        """A verdict for each exercise, in the assignment's order."""
        for exercise in self.assignment.exercises:
            try:
                yield self._absent(exercise) or judge(
                    exercise, self._runner(exercise), cases(exercise), sentences(exercise), hidden=hidden
                )
            except Exception as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                where = f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"
                sentence = f"The grader failed here, not the student ({where})."
                yield self._unjudged(exercise, "grader error", sentence)

    def _absent(self, exercise: Exercise) -> Verdict | None:
        """The verdict on an exercise whose definition did not load."""
        if self.fault:
            status, sentence = self.fault.status, self.fault.message
        elif exercise.name in self.loaded["answers"]:
            return None
        elif exercise.name in self.loaded["problems"]:
            status, sentence = "error", self.loaded["problems"][exercise.name]
        else:
            status, sentence = "missing", f"No cell defines {exercise.name}: was its cell deleted or renamed?"
        return self._unjudged(exercise, status, sentence)

    def _unjudged(self, exercise: Exercise, status: str, sentence: str) -> Verdict:
        stages = [StageVerdict(stage.name, "not run", 0.0, stage.points) for stage in exercise.stages]
        return Verdict(exercise.name, status, 0.0, exercise.points, sentence, stages=stages)

    def _runner(self, exercise: Exercise) -> Callable[[Stage, Inputs], Outcome]:
        def run(stage: Stage, inputs: Inputs) -> Outcome:
            left = self._until - time.monotonic()
            if left <= 0 and not self.fault:
                limit = f"{ALL_STAGES * self.seconds:g}"
                self.fault = Outcome(
                    "timeout", message=f"The submission as a whole took more than {limit} seconds."
                )
            if self.worker and not self.fault:
                self.worker.turn_to(exercise)
                if self.worker.broken:
                    self._close()
                    self._start()
            if self.fault or self.worker is None:
                return self.fault or Outcome("crashed")
            return self.worker.run(exercise, stage, inputs, min(self.seconds, left), self.stand_ins(exercise))

        return run
