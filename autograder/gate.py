"""The gate: what must hold of every exercise before it may reach a student.

The answer and its alternatives pass; each known mistake fails and is named; the blank, zeros, the inputs returned and
right-shaped noise score nothing; every mutant of the answer fails.
"""

import contextlib
import signal
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from autograder.build.regions import find_region, strip
from autograder.known import load_known
from autograder.mutants import Mutant, equivalents, mutants, realise
from autograder.references import Drawn, sentences
from cs_vl.checks.compare import compare
from cs_vl.checks.judge import Verdict, judge
from cs_vl.checks.run import Outcome, run_probe
from cs_vl.checks.spec import Assignment, Exercise, Inputs, Results, Stage
from cs_vl.checks.visible import VISIBLE_SEED, runner_here

SECRET = 7  # the gate's own hidden cases
MIN_MISTAKES, MIN_ALTERNATIVES = 6, 2
MUTANT_SECONDS = 2.0


class Gate:
    """Judges answers of one assignment on visible and on hidden cases."""

    def __init__(self, assignment: Assignment):
        self.assignment = assignment
        self.known = load_known(assignment.name)
        self.visible = Drawn(assignment, VISIBLE_SEED)
        self.hidden = Drawn(assignment, SECRET)

    def on_visible(self, exercise: Exercise, answer: Any) -> Verdict:
        run = runner_here(self.assignment, exercise, answer)
        return judge(exercise, run, self.visible.cases_of(exercise), sentences(exercise))

    def on_hidden(self, exercise: Exercise, run: Callable[[Stage, Inputs], Outcome]) -> Verdict:
        return judge(exercise, run, self.hidden.cases_of(exercise), sentences(exercise), hidden=True)

    def both(self, exercise: Exercise, answer: Any) -> tuple[Verdict, Verdict]:
        run = runner_here(self.assignment, exercise, answer)
        return self.on_visible(exercise, answer), self.on_hidden(exercise, run)

    def stub(self, exercise: Exercise) -> Any:
        return realise(exercise, strip(find_region(exercise).source))

    def fakes(self, exercise: Exercise) -> dict[str, Callable[[Stage, Inputs], Outcome]]:
        """Runs that know the shapes but not the answer, and one that returns its first input."""
        cases = self.hidden.cases_of(exercise)

        def shaped(make: Callable[[Any], Any]) -> Callable[[Stage, Inputs], Outcome]:
            def run(stage: Stage, inputs: Inputs) -> Outcome:
                known = cases(stage)
                expected = known.expected[next(i for i, x in enumerate(known.inputs) if x is inputs)]
                return Outcome("ok", {name: make(value) for name, value in expected.items()})

            return run

        echo = self.echo(exercise)
        return {
            "zeros": shaped(zeros_like),
            "noise": shaped(noise_like),
            "inputs": lambda stage, inputs: run_probe(self.assignment, exercise, stage, inputs, echo),
        }

    def echo(self, exercise: Exercise) -> Any:
        """An answer that returns its first input."""
        answer = exercise.answer
        if not isinstance(answer, type):
            return lambda *args, **kwargs: args[0] if args else next(iter(kwargs.values()))
        methods = find_region(exercise).methods
        returns_input = {name: lambda self, x, *args, **kwargs: x for name in methods}
        return types.new_class(answer.__name__, (answer,), exec_body=lambda body: body.update(returns_input))

    def survivors(self, exercise: Exercise) -> tuple[list[Mutant], list[Mutant]]:
        """(all mutants, those that pass)."""
        everyone = mutants(exercise)
        return everyone, [m for m in everyone if not self.kills(exercise, m)]

    def kills(self, exercise: Exercise, mutant: Mutant) -> bool:
        try:
            with time_limit(MUTANT_SECONDS):
                answer = realise(exercise, mutant.source)
                run = runner_here(self.assignment, exercise, answer)
                return not self.on_hidden(exercise, run).passed
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            return True

    def listed(self, exercise: Exercise) -> dict[str, str]:
        return equivalents(self.assignment.name).get(exercise.name, {})

    def equal_on(self, exercise: Exercise, mutant: Mutant, cases: int) -> bool:
        """Whether a mutant gives what the answer gives on that many random cases."""
        answer, seed, done = realise(exercise, mutant.source), 1000, 0
        while done < cases:
            seed += 1
            for stage in exercise.stages:
                for inputs in exercise.draw(stage, seed):
                    a, b = (
                        run_probe(self.assignment, exercise, stage, inputs, fn)
                        for fn in (exercise.answer, answer)
                    )
                    if b.status != "ok" or compare(b.results, a.results, stage.rtol, stage.atol):
                        return False
                    done += 1
        return True


def distinct(gate: Gate, exercise: Exercise) -> list[tuple[str, str]]:
    """Pairs of mistakes that give the same results on all cases."""
    cases = gate.hidden.cases_of(exercise)
    names = list(gate.known[exercise.name].mistakes)

    def same(a: str, b: str) -> bool:
        for stage in exercise.stages:
            known = cases(stage)
            for x, y in zip(known.mistakes[a], known.mistakes[b], strict=True):
                if (x is None) != (y is None) or (x is not None and y is not None and _differ(x, y, stage)):
                    return False
        return True

    return [(a, b) for i, a in enumerate(names) for b in names[:i] if same(a, b)]


def _differ(x: Results, y: Results, stage: Stage) -> bool:
    return compare(x, y, stage.rtol, stage.atol) is not None or x.keys() != y.keys()


def zeros_like(x: Any) -> Any:
    if isinstance(x, torch.Tensor):
        return torch.zeros_like(x)
    if isinstance(x, np.ndarray):
        return np.zeros_like(x)
    return type(x)() if isinstance(x, str | list | tuple | int | float | bytes) else None


def noise_like(x: Any) -> Any:
    """Right shape and type, wrong numbers."""
    rng = np.random.default_rng(0)
    if isinstance(x, torch.Tensor | np.ndarray):
        array = x.numpy() if isinstance(x, torch.Tensor) else x
        if array.dtype == bool:
            noise = rng.random(array.shape) < 0.5
        elif array.dtype.kind in "iu":
            noise = rng.integers(0, 5, array.shape).astype(array.dtype)
        else:
            noise = rng.standard_normal(array.shape).astype(array.dtype)
        return torch.from_numpy(np.asarray(noise)) if isinstance(x, torch.Tensor) else noise
    if isinstance(x, list):
        return list(reversed(x))
    if isinstance(x, str):
        return x[::-1] + "?"
    return 1 if isinstance(x, int) else None


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in code that does not end (a mutant's loop), every so many seconds."""

    def stop(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)  # again: a judge goes on to the next stage
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
