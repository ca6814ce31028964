"""The process in which a student's code runs: it is sent cells and inputs, and sends back results.

It holds no expected value, no points, no case to come.  `StudentProcess` is the other end, for the
judge's process: what is said between the two.  `Worker` is one without walls, for `cs-vl check`, where
students run their own code; grading has one behind walls (autograder/sandbox).  `Serving` is the process's
own side, the same for both.
"""

import contextlib
import importlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cs_vl.checks import wire
from cs_vl.checks.cells import Cell
from cs_vl.checks.hearsay import believe
from cs_vl.checks.run import Outcome
from cs_vl.checks.spec import Assignment, Exercise, Inputs, Stage

LOAD_SECONDS = 60.0  # imports and definitions, torch included
STAGE_SECONDS = 10.0  # one case of one stage

# One thread each, before torch is imported; no window; nothing from the user's own set-up.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": "",
}  # fmt: skip
BOOT = """
import sys
sys.path[:0] = sys.argv[1:]
sys.modules["autograder"] = None
from cs_vl.checks.worker import main
main()
"""


class NoWorker(OSError):
    """The process does not even start: no fault of the student's code."""


class StudentProcess(ABC):
    """A process with one student's definitions loaded.  What comes back from it may be forged: it is data.

    Attributes:
        broken: no more answers come from it; close it.
        load_seconds: how long its definitions may take.
        cpu_seconds, peak_mb: what it has used, once it is closed; 0 where that is not measured.
    """

    broken = False
    load_seconds = LOAD_SECONDS
    cpu_seconds = 0.0
    peak_mb = 0.0
    _begun = ""  # the exercise that it runs
    _cells: dict[int, str] = {}  # noqa: RUF012  (replaced, never changed)

    @abstractmethod
    def ask(self, message: dict[str, Any], seconds: float) -> Any:
        """Send one message and wait for the reply.

        Raises:
            TimeoutError: no reply in time.
            EOFError: it died.
            Refused: its reply is damaged or too large.  After a raise it may be `broken`.
        """

    @abstractmethod
    def close(self) -> None:
        """End the process, and its children."""

    def cause(self) -> Outcome:
        """What to say of a process that died."""
        return Outcome("crashed", message=why_it_died(None))

    def load(self, cells: Iterable[Cell], setup: Iterable[Cell] = ()) -> dict[str, Any]:
        """Load the definitions; returns {"answers": names, "problems": {name: sentence}, "notes": [...]}.

        Raises:
            NoWorker: the library can't be loaded there.  For the rest, as `ask`: the student's code did it.
        """
        cells = list(cells)
        self._cells = {cell.number: cell.source for cell in cells}
        message = {"cells": [asdict(cell) for cell in cells], "setup": [asdict(cell) for cell in setup]}
        reply = self.ask(message, self.load_seconds)
        # Whatever a student's code did over there, from here on these are lists and a dict of strings.
        parts = reply if isinstance(reply, dict) else {}
        problems = parts.get("problems")
        problems = problems if isinstance(problems, dict) else {}
        return {
            "answers": _texts(parts.get("answers")),
            "problems": {name: text[:500] for name, text in problems.items() if isinstance(text, str)},
            "notes": _texts(parts.get("notes")),
        }

    def turn_to(self, exercise: Exercise) -> None:
        """End what is left of the exercise before.  Where that fails, this is `broken`."""
        return

    def begin(self, exercise: Exercise, stand_ins: str | None, seconds: float) -> None:
        """Go on to an exercise; raises as `ask` does.

        Args:
            stand_ins: the source of what takes the place of earlier ones.
        """
        self.ask({"begin": exercise.name, "stand_ins": stand_ins}, seconds)

    def run(
        self,
        exercise: Exercise,
        stage: Stage,
        inputs: Inputs,
        seconds: float = STAGE_SECONDS,
        stand_ins: str | None = None,
    ) -> Outcome:
        """Run one case; a timeout or a crash is an outcome, too.

        Args:
            stand_ins: see `begin`; None where the process has the library's own, or the student's.
        """
        try:
            if self._begun != exercise.name:
                self._begun = ""
                self.begin(exercise, stand_ins, seconds)
                self._begun = exercise.name
            reply = self.ask({"run": exercise.name, "stage": stage.name, "inputs": inputs}, seconds)
            return believe(reply, self._cells)
        except TimeoutError:
            self._begun = ""
            return Outcome(
                "timeout",
                message=f"It did not come to an end in {seconds:g} seconds: is there an endless loop?",
            )
        except EOFError:
            self._begun = ""
            return self.cause()
        except wire.Refused as error:
            return Outcome("refused", message=str(error))

    def __enter__(self) -> "StudentProcess":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Worker(StudentProcess):
    """A child process without walls.

    Args:
        assignment: its name.
        path: folders to put first on its import path; the parent's own where it is None.  With a path,
            nothing else than the standard library is on it: an editable install of the full course, with
            the answers, is out of reach.
        prefix: a command that starts it, as `nice` would.
    """

    def __init__(self, assignment: str, path: Sequence[Path] | None = None, prefix: Sequence[str] = ()):
        self.assignment = assignment
        self._scratch = tempfile.TemporaryDirectory(prefix="cs_vl_", ignore_cleanup_errors=True)
        # Not -I, which would leave out PYTHONHASHSEED: a set's order must not decide over points.
        flags = ["-s", "-P", *(["-S"] if path is not None else [])]
        # Absolute, since it works in a folder of its own.
        folders = [str(Path(p).absolute()) for p in (path if path is not None else sys.path) if str(p)]
        environment = {
            k: v for k, v in os.environ.items() if k in ("PATH", "SYSTEMROOT", "LANG", "LD_LIBRARY_PATH")
        }
        self._process = subprocess.Popen(
            [*prefix, sys.executable, *flags, "-c", BOOT, *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._scratch.name,
            env={
                **environment,
                **ENVIRONMENT,
                "HOME": self._scratch.name,
                "MPLCONFIGDIR": self._scratch.name,
            },
            close_fds=True,
            start_new_session=True,
        )
        self._replies: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout
        try:
            while True:
                self._replies.put(wire.receive(self._process.stdout))
        except (EOFError, OSError, ValueError) as error:
            self._replies.put(error)

    def ask(self, message: dict[str, Any], seconds: float) -> Any:
        assert self._process.stdin
        self.broken = True
        try:
            wire.send(self._process.stdin, message, wire.MAX_BYTES)
        except OSError as error:
            raise EOFError("the process died") from error
        try:
            reply = self._replies.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(reply, wire.Refused):
            raise reply
        if isinstance(reply, BaseException):
            raise EOFError("the process died") from reply
        self.broken = False
        return reply

    def load(self, cells: Iterable[Cell], setup: Iterable[Cell] = ()) -> dict[str, Any]:
        try:
            self.ask({"assignment": self.assignment}, LOAD_SECONDS)
        except (TimeoutError, EOFError, wire.Refused) as error:
            raise NoWorker("the process for a student's code does not start: install cs_vl again") from error
        return super().load(cells, setup)

    def cause(self) -> Outcome:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        return Outcome("crashed", message=why_it_died(self._process.returncode))

    def close(self) -> None:
        if self._process.poll() is None:
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        self._scratch.cleanup()


def why_it_died(code: int | None) -> str:
    """A sentence for the exit code of a process, negative for a signal, as Python tells it; None: unknown."""
    if code is None:
        return "The process that ran it died: too much memory, or a call that ends Python?"
    if code >= 0:
        return f"Your code ended Python (exit status {code}): leave out exit(), quit() and os._exit()."
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    what = {
        "SIGSEGV": "a segmentation fault, as of endless recursion or ctypes",
        "SIGABRT": "Python or a library gave up",
        "SIGKILL": "it was killed: too much memory?",
        "SIGXCPU": "it used up its CPU time",
        "SIGSYS": "a call of the system that is not allowed",
    }.get(name)
    return f"The process that ran it died of {name}" + (f": {what}." if what else ".")


def _texts(x: Any) -> list[str]:
    return [text[:500] for text in x if isinstance(text, str)] if isinstance(x, list) else []


class Serving:
    """The worker's own side: answers messages until its input ends."""

    def __init__(self) -> None:
        self.assignment: Assignment | None = None
        self.loaded: Any = None
        self.stand_ins: dict[str, Any] | None = None

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        from cs_vl.checks.load import load
        from cs_vl.checks.run import run_probe
        from cs_vl.checks.spec import load_assignment

        if "assignment" in message:
            self.assignment = load_assignment(message["assignment"])
            for module in self.assignment.preload:
                importlib.import_module(module)
            return {}
        assert self.assignment
        if "cells" in message:
            cells, setup = ([Cell(**cell) for cell in message[key]] for key in ("cells", "setup"))
            self.loaded = load(cells, [e.name for e in self.assignment.exercises], setup)
            return {
                "answers": list(self.loaded.answers),
                "problems": self.loaded.problems,
                "notes": self.loaded.notes[:50],
            }
        if "begin" in message:
            self.stand_ins = None
            if message["stand_ins"] is not None:
                namespace: dict[str, Any] = {"__name__": "cs_vl.checks.stand_ins"}
                exec(message["stand_ins"], namespace)
                self.stand_ins = namespace["STAND_INS"]
            return {}
        exercise = self.assignment[message["run"]]
        stage = next(stage for stage in exercise.stages if stage.name == message["stage"])
        answer = self.loaded.answer(exercise.name)
        return asdict(run_probe(self.assignment, exercise, stage, message["inputs"], answer, self.stand_ins))

    def reply(self, stream: wire.Sink, message: dict[str, Any]) -> None:
        """Answer one message; results that the wire does not carry become a refusal."""
        reply = self.answer(message)
        try:
            wire.send(stream, reply)
        except (ValueError, RecursionError):
            wire.send(stream, asdict(Outcome("refused", message="the results are too large to be right")))


def main() -> None:
    """Serve standard input; replies go to a private copy of standard output, prints go nowhere."""
    replies = os.fdopen(os.dup(1), "wb")
    messages = os.fdopen(os.dup(0), "rb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    inbox: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_receive, args=(messages, inbox), daemon=True).start()
    serving = Serving()
    while True:
        serving.reply(replies, inbox.get())


def _receive(messages: wire.Source, inbox: queue.Queue[Any]) -> None:
    """Pass messages on; when the judge is gone, end the process, whatever the student's code is doing."""
    while True:
        try:
            inbox.put(wire.receive(messages, wire.MAX_BYTES))
        except EOFError:
            os._exit(0)
