"""The process in which a student's code runs: it is sent cells and inputs, and sends back results.

It holds no expected value, no points, no case to come.  `Worker` is the other end, for the judge's process.
"""

import contextlib
import importlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from cs_vl.checks import wire
from cs_vl.checks.cells import Cell
from cs_vl.checks.run import Outcome
from cs_vl.checks.spec import Assignment, Exercise, Inputs, Stage

LOAD_SECONDS = 60.0  # imports and definitions, torch included
STAGE_SECONDS = 10.0  # one case of one stage

# One thread each, before torch is imported; no window; nothing from the user's own set-up.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "Agg",
    "PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": "",
}  # fmt: skip
REPLIES = (
    "ok",
    "missing",
    "error",
    "timeout",
    "out of memory",
    "refused",
)  # what an outcome from there may be
BOOT = """
import sys
sys.path[:0] = sys.argv[1:]
sys.modules["autograder"] = None
from cs_vl.checks.worker import main
main()
"""


class NoWorker(OSError):
    """The process does not even start: no fault of the student's code."""


class Worker:
    """A child process with one student's definitions loaded.

    Args:
        path: folders to put first on its import path; the parent's own where it is None.  With a path,
            nothing else than the standard library is on it: an editable install of the full course, with
            the answers, is out of reach.
    """

    def __init__(self, path: Sequence[Path] | None = None):
        self._scratch = tempfile.TemporaryDirectory(prefix="cs_vl_", ignore_cleanup_errors=True)
        # Not -I, which would leave out PYTHONHASHSEED: a set's order must not decide over points.
        flags = ["-s", "-P", *(["-S"] if path is not None else [])]
        # Absolute, since it works in a folder of its own.
        folders = [str(Path(p).absolute()) for p in (path if path is not None else sys.path) if str(p)]
        environment = {
            k: v for k, v in os.environ.items() if k in ("PATH", "SYSTEMROOT", "LANG", "LD_LIBRARY_PATH")
        }
        self._process = subprocess.Popen(
            [sys.executable, *flags, "-c", BOOT, *folders],
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
        self.broken = False  # no more answers come from it
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
        """Send one message and wait for the reply.

        Raises:
            TimeoutError: no reply in time.
            EOFError: it died.
            Refused: its reply is damaged or too large.  After each of these it is `broken`: close it.
        """
        assert self._process.stdin
        self.broken = True
        try:
            wire.send(self._process.stdin, message)
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

    def load(self, assignment: str, cells: Iterable[Cell], setup: Iterable[Cell] = ()) -> dict[str, Any]:
        """Load the definitions; returns {"answers": names, "problems": {name: sentence}, "notes": [...]}.

        Raises:
            NoWorker: the library can't be loaded there.  For the rest, as `ask`: the student's code did it.
        """
        try:
            self.ask({"assignment": assignment}, LOAD_SECONDS)
        except (TimeoutError, EOFError, wire.Refused) as error:
            raise NoWorker("the process for a student's code does not start: install cs_vl again") from error
        message = {"cells": [asdict(cell) for cell in cells], "setup": [asdict(cell) for cell in setup]}
        reply = self.ask(message, LOAD_SECONDS)
        # Whatever a student's code did over there, from here on these are lists and a dict of strings.
        parts = reply if isinstance(reply, dict) else {}
        problems = parts.get("problems")
        problems = problems if isinstance(problems, dict) else {}
        return {
            "answers": _texts(parts.get("answers")),
            "problems": {name: text[:500] for name, text in problems.items() if isinstance(text, str)},
            "notes": _texts(parts.get("notes")),
        }

    def run(
        self, exercise: Exercise, stage: Stage, inputs: Inputs, seconds: float = STAGE_SECONDS
    ) -> Outcome:
        """Run one case; a timeout or a crash is an outcome, too."""
        try:
            reply = self.ask({"run": exercise.name, "stage": stage.name, "inputs": inputs}, seconds)
            return _outcome(reply)
        except TimeoutError:
            return Outcome(
                "timeout",
                message=f"It did not come to an end in {seconds:g} seconds: is there an endless loop?",
            )
        except EOFError:
            return Outcome(
                "crashed",
                message="The process that ran it died: too much memory, or a call that ends Python?",
            )
        except (wire.Refused, TypeError) as error:
            return Outcome("refused", message=str(error))

    def close(self) -> None:
        """End the process, and its children."""
        if self._process.poll() is None:
            if os.name == "posix":
                import signal

                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        self._scratch.cleanup()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _texts(x: Any) -> list[str]:
    return [text[:500] for text in x if isinstance(text, str)] if isinstance(x, list) else []


def _outcome(reply: Any) -> Outcome:
    """The outcome that a reply tells.

    Raises:
        TypeError: it is none.
    """
    outcome = Outcome(**reply)
    for name in ("error", "message", "where"):
        text = getattr(outcome, name)
        if not isinstance(text, str) or (name == "error" and text and not text.isidentifier()):
            raise TypeError("what came back is no result")
        setattr(outcome, name, text[:500])
    if outcome.status not in REPLIES or not isinstance(outcome.results, dict):
        raise TypeError("what came back is no result")
    return outcome


class Serving:
    """The worker's own side: answers messages until its input ends."""

    def __init__(self) -> None:
        self.assignment: Assignment | None = None
        self.loaded: Any = None

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
        exercise = self.assignment[message["run"]]
        stage = next(stage for stage in exercise.stages if stage.name == message["stage"])
        answer = self.loaded.answer(exercise.name)
        return asdict(run_probe(self.assignment, exercise, stage, message["inputs"], answer))


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
        reply = serving.answer(inbox.get())
        try:
            wire.send(replies, reply)
        except (ValueError, RecursionError):
            wire.send(replies, asdict(Outcome("refused", message="the results are too large to be right")))


def _receive(messages: IO[bytes], inbox: queue.Queue[Any]) -> None:
    """Pass messages on; when the judge is gone, end the process, whatever the student's code is doing."""
    while True:
        try:
            inbox.put(wire.receive(messages))
        except EOFError:
            os._exit(0)
