"""Run a probe on a student's function: whatever happens there becomes an `Outcome`, never an exception."""

import contextlib
import io
import linecache
import random
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from cs_vl.checks import wire
from cs_vl.checks.probes import WrongParameters
from cs_vl.checks.spec import Assignment, Exercise, Inputs, Results, Stage, load_stand_ins
from cs_vl.exercise import EDITION, MissingExercise, find_own, registered


@dataclass
class Outcome:
    """What one case gave.

    `status` is "ok" (then `results` holds the named results), "missing" (not written yet), "error" (an
    exception: `error` is its type, `message` its text, `where` the line of the student's own code),
    "refused" (a result that can't be judged: `message` says why), or, told by the process that runs the
    student's, "timeout", "crashed", "out of memory".
    """

    status: str
    results: Results = field(default_factory=dict)
    error: str = ""
    message: str = ""
    where: str = ""


TORCH_IS_OUT_OF_MEMORY = "DefaultCPUAllocator: "  # torch has no type of its own for this, on a CPU
OWN_IS_MISSING = (
    "This check runs on your own {} here, which is not written yet: write that first "
    "(and keep its first line, @exercise)."
)


def run_probe(
    assignment: Assignment,
    exercise: Exercise,
    stage: Stage,
    inputs: Inputs,
    answer: Any,
    stand_ins: dict[str, Any] | None = None,
) -> Outcome:
    """Run one stage's probe on one case, on a copy of its inputs.

    Args:
        answer: the student's function or class.
        stand_ins: what takes the place of the earlier exercises, where grading sent them; else the
            library's (`load_stand_ins`).
    """
    namespace = _namespace(answer)
    try:
        inputs = wire.copy(inputs)
        with isolated(), others_in_place(assignment, exercise, namespace, stand_ins):
            results = stage.probe(answer, inputs)
            return Outcome("ok", wire.copy(results))
    except MissingExercise as error:
        own = error.name in exercise.builds_on  # where there are stand-ins, none of these is missing
        return Outcome("missing", message=OWN_IS_MISSING.format(error.name) if own else str(error))
    except NotImplementedError as error:
        if not _is_own(error, namespace):  # torch raises it, too, for instance for a module without `forward`
            return Outcome("error", {}, type(error).__name__, _text(error), _where(error, namespace))
        return Outcome("missing", message=f"{exercise.name} is not written yet.")
    except (WrongParameters, wire.Refused) as error:
        return Outcome("refused", message=str(error))
    except (MemoryError, torch.OutOfMemoryError) as error:
        return Outcome("out of memory", error=type(error).__name__, where=_where(error, namespace))
    except KeyboardInterrupt:
        return Outcome("timeout", message="interrupted by hand before it came to an end.")
    except BaseException as error:  # SystemExit and its kind too: nothing a student raises stops a check
        if isinstance(error, RuntimeError) and TORCH_IS_OUT_OF_MEMORY in _text(error):
            return Outcome("out of memory", error="MemoryError", where=_where(error, namespace))
        return Outcome("error", {}, type(error).__name__, _text(error), _where(error, namespace))


def _text(error: BaseException) -> str:
    try:
        return str(error).strip().split("\n")[0][:300]
    except Exception:
        return ""


def _namespace(answer: Any) -> dict[str, Any]:
    """The globals that the student's code runs in."""
    if isinstance(answer, type):
        functions = [f for f in vars(answer).values() if hasattr(f, "__globals__")]
        return functions[0].__globals__ if functions else {}
    return getattr(answer, "__globals__", {})


def _is_own(error: BaseException, namespace: dict[str, Any]) -> bool:
    """Whether a `raise` in the student's own code raised it; torch's own operations have no frame to tell."""
    *_, (last, line) = traceback.walk_tb(error.__traceback__)
    text = linecache.getline(_file(last), line)
    return last.f_globals is namespace and (not text or "NotImplementedError" in text)


def _where(error: BaseException, namespace: dict[str, Any]) -> str:
    """The innermost line of the student's own code in a traceback."""
    frames = [f for f, _ in traceback.walk_tb(error.__traceback__) if f.f_globals is namespace]
    lines = [
        s for s in traceback.extract_tb(error.__traceback__) if frames and s.filename == _file(frames[-1])
    ]
    if not lines:
        return ""
    last = lines[-1]
    cell = f"{last.filename[1:-1]}, " if last.filename.startswith("<cell") else ""
    return f"{cell}line {last.lineno}: {(last.line or '').strip()}"


def _file(frame: Any) -> str:
    return frame.f_code.co_filename


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """CPU, float32 and gradients on, whatever the notebook has set; random streams are put back after.

    Warnings and stderr are silent (nbgrader takes any stderr for a failure).
    """
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[]))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))  # costs each call of torch some microseconds
        else:
            stack.callback(_cpu_again)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(np.errstate(all="ignore"))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        warnings.simplefilter("ignore")
        try:
            torch.set_default_dtype(torch.float32)
            torch.set_grad_enabled(True)
            torch.default_generator.manual_seed(0)  # torch.manual_seed would seed a GPU's stream, too
            np.random.seed(0)
            random.seed(0)
            yield
        finally:
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(grad)
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def _cpu_again() -> None:
    if torch.get_default_device().type != "cpu":  # what ran in between has set it
        torch.set_default_device("cpu")


def runs_on_own(assignment: Assignment, exercise: Exercise) -> list[Exercise]:
    """The student's own earlier answers that a check runs on here: none, unless this is a student edition."""
    if load_stand_ins(assignment.name) is not None:
        return []
    return [assignment[name] for name in exercise.builds_on if name in EDITION]


@contextlib.contextmanager
def others_in_place(
    assignment: Assignment,
    exercise: Exercise,
    namespace: dict[str, Any],
    stand_ins: dict[str, Any] | None = None,
) -> Iterator[None]:
    """While one exercise is judged, stand-ins replace those that others build on.

    In the student edition the library forwards to what is registered, so the stand-ins are registered: where
    there are none, the student's own.  Where the student's own namespace defines another exercise, the
    library's name takes its place.  What no exercise builds on stays the student's own: who calls it all the
    same depends on it.
    """
    before = dict(registered)
    others = [other for other in assignment.exercises if other.name != exercise.name]
    shadowed = {other.name: namespace[other.name] for other in others if other.name in namespace}
    there = load_stand_ins(assignment.name) if stand_ins is None else stand_ins
    if there is None:
        own = {name: find_own(name, namespace) for name in assignment.built_on}
        there = {name: answer for name, answer in own.items() if answer is not None}
    try:
        for other in others:
            if other.name in there:
                registered[other.name] = there[other.name]
                if other.name in shadowed:
                    namespace[other.name] = other.answer
        yield
    finally:
        namespace.update(shadowed)
        registered.clear()
        registered.update(before)
