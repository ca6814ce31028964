"""Judge a whole submission in a worker process: exercise after exercise, whatever the code does."""

import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cs_vl.checks.cells import Cell
from cs_vl.checks.judge import StageCases, StageVerdict, Verdict, judge
from cs_vl.checks.run import Outcome
from cs_vl.checks.spec import Assignment, Exercise, Inputs, Stage
from cs_vl.checks.worker import LOAD_SECONDS, STAGE_SECONDS, NoWorker, Worker

Cases = Callable[[Exercise], Callable[[Stage], StageCases]]


class Submitted:
    """A submission whose definitions are loaded in a worker; the worker is replaced when it dies.

    Use it in a `with` statement; `verdicts()` judges the exercises one after the other.

    Args:
        setup: the import cells of the source notebook, for submissions that lack them.
        path: the import path of the worker (see `Worker`).
        seconds: the limit of one case.
    """

    def __init__(
        self,
        assignment: Assignment,
        cells: Iterable[Cell],
        *,
        setup: Iterable[Cell] = (),
        path: Sequence[Path] | None = None,
        seconds: float = STAGE_SECONDS,
    ):
        self.assignment, self.cells, self.setup = assignment, list(cells), list(setup)
        self.path, self.seconds = path, seconds
        self.worker: Worker | None = None
        self.loaded: dict[str, Any] = {"answers": [], "problems": {}, "notes": []}
        self.fault: Outcome | None = None  # why nothing of it can run

    def __enter__(self) -> "Submitted":
        self._start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.worker:
            self.worker.close()

    def _start(self) -> None:
        self.worker = Worker(self.path)
        try:
            self.loaded = self.worker.load(self.assignment.name, self.cells, self.setup)
        except NoWorker:
            self.worker.close()
            raise
        except TimeoutError:
            self.fault = Outcome(
                "timeout", message=f"Its definitions alone did not load in {LOAD_SECONDS:g} seconds."
            )
        except (EOFError, ValueError) as error:
            self.fault = Outcome(
                "crashed", message=f"The process died while it loaded the definitions ({error})."
            )

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
            if self.worker and self.worker.broken and not self.fault:
                self.worker.close()
                self._start()
            if self.fault or self.worker is None:
                return self.fault or Outcome("crashed")
            return self.worker.run(exercise, stage, inputs, self.seconds)

        return run
