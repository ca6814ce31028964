"""Grade on other machines, in chunks: through a `concurrent.futures.Executor`, such as Dask's.

    here: the engine, the journal                       a worker: trusted, with the course installed
    Terms, a few submissions' bytes               -->   grade_chunk: a Grader, made once a process
    their results, or why none could be graded    <--   behind walls of its own, which it has tried

A chunk never raises.  Where a worker dies with one, each of its submissions is sent again by itself; what is lost twice is
a fault of the grader, and the next run tries it again.  The secret is sent to workers: they are judges, and student code
in their sandboxes sees as little of them as of this process.
"""

import atexit
import contextlib
import shutil
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from autograder.grade import Graded, Grader, Result, contents, where_from
from autograder.journal import grader_version
from autograder.reader import Found
from autograder.sandbox.preflight import Walls
from cs_vl.checks.spec import load_assignment
from cs_vl.checks.submission import ALL_STAGES

CHUNK = 4  # submissions: a few seconds of work, and little to do again
AHEAD = 3  # chunks for each submission at a time: enough to keep workers busy, few enough to hold in memory
START_SECONDS = 300.0  # a worker's: torch, the walls, the references
CONNECT_SECONDS = 20.0


@dataclass(frozen=True)
class Terms:
    """What a run's results depend on beside the submissions."""

    assignment: str
    secret: int = field(repr=False)  # so that no worker's log has it
    seconds: float
    sandbox: bool
    version: str

    @classmethod
    def of(cls, grader: Grader) -> "Terms":
        name, secret = grader.assignment.name, grader.journal.secret
        return cls(name, secret, grader.seconds, grader.sandbox, grader_version())


@dataclass(frozen=True)
class Handed:
    """A submission on its way: whose, the file's name and what is in it."""

    student: str
    name: str
    data: bytes = field(repr=False)


class Unfit(RuntimeError):
    """This worker can't grade; the message is one sentence that says why."""


# --- on a worker -------------------------------------------------------------------------------------------


class Ready(NamedTuple):
    """A grader, and the walls that it has tried."""

    grader: Grader
    walls: list[str]


_graders: dict[Terms, Ready] = {}  # of this process
_making = threading.Lock()


def grade_chunk(terms: Terms, chunk: list[Handed]) -> list[dict[str, Any]] | str:
    """Grade a few submissions; returns their results as JSON, or a sentence where the worker can't.  Never raises."""
    try:
        ready = _ready(terms)
        return [_grade_one(ready.grader, handed) for handed in chunk]
    except Unfit as error:
        return str(error)
    except Exception as error:
        return f"The grader failed on {socket.gethostname()}, not the student ({where_from(error)})"


def make_ready(terms: Terms) -> list[str] | str:
    """Make ready for chunks; returns the walls that stand, a sentence each, or one where this worker can't grade."""
    answer = grade_chunk(terms, [])
    return answer if isinstance(answer, str) else _graders[terms].walls


def forget(terms: Terms) -> None:
    """End the warm processes of a run, and delete its secret."""
    with _making:
        ready = _graders.pop(terms, None)
    if ready:
        ready.grader.close()
        shutil.rmtree(ready.grader.results, ignore_errors=True)


def _ready(terms: Terms) -> Ready:
    with _making:
        if terms not in _graders:
            here = socket.gethostname()
            if grader_version() != terms.version:
                raise Unfit(
                    f"the worker on {here} has {grader_version()} of the course, not {terms.version}: install the same there"
                )
            folder = Path(tempfile.mkdtemp(prefix="cs_vl_worker_"))  # the owner's alone
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            (folder / "secret").write_text(str(terms.secret))
            grader = Grader(load_assignment(terms.assignment), folder, terms.seconds, sandbox=terms.sandbox)
            walls = _tried(grader, here)
            # The walls were to hide it; now it is in memory alone, since a worker that is killed leaves its folder.
            (folder / "secret").unlink()
            grader.prepare()
            _graders[terms] = Ready(grader, walls)
        return _graders[terms]


def _tried(grader: Grader, here: str) -> list[str]:
    if not grader.sandbox:
        return Walls().sentences
    walls = grader.try_walls()
    if walls.fell:
        grader.close()
        raise Unfit(f"the walls around students' code do not stand on {here}: {'; '.join(walls.fell)}")
    return walls.sentences


def _grade_one(grader: Grader, handed: Handed) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=grader.results) as folder:
        path = Path(folder) / handed.name
        path.write_bytes(handed.data)
        return grader.grade(Found(handed.student, path)).to_json()


# --- here --------------------------------------------------------------------------------------------------


def grade_elsewhere(grader: Grader, todo: list[Found], jobs: int, executor: Executor) -> Graded:
    """Grade through an executor.  Whatever becomes of a worker, each submission gets a result, once.

    Args:
        jobs: how many submissions the workers grade at a time.
    """
    terms = Terms.of(grader)
    patience = START_SECONDS + CHUNK * (ALL_STAGES + 5) * grader.seconds  # no chunk takes longer
    waiting = deque(todo[i : i + CHUNK] for i in range(0, len(todo), CHUNK))
    running: dict[Future[Any], list[Found]] = {}
    lost: set[str] = set()  # students whose worker has died once
    try:
        while waiting or running:
            while waiting and len(running) < AHEAD * jobs:
                chunk = [(found, _handed(found)) for found in waiting.popleft()]
                for found, handed in chunk:
                    if handed is None:
                        yield found, grader.grade(found)  # which says why
                sent = [handed for _, handed in chunk if handed]
                running[_submit(executor, terms, sent)] = [found for found, handed in chunk if handed]
            if not (finished := wait(running, patience, FIRST_COMPLETED).done):
                for found in chain(*running.values(), *waiting):
                    yield found, grader.fault(found, f"No worker answered for {patience:.0f} seconds.")
                return
            for future in finished:
                chunk_of = running.pop(future)
                answer = _answer(future, len(chunk_of))
                for number, found in enumerate(chunk_of):
                    if isinstance(answer, list):
                        yield found, Result.from_json(answer[number])
                    elif answer:
                        yield found, grader.fault(found, answer)
                    elif found.student in lost:
                        yield found, grader.fault(found, "Its worker died, and so did the next.")
                    else:
                        lost.add(found.student)
                        waiting.append([found])
    finally:  # a full disk, Ctrl-C, no answer
        for future in running:
            future.cancel()


def _handed(found: Found) -> Handed | None:
    """What is sent; nothing where there is nothing to send."""
    with contextlib.suppress(OSError):
        data = contents(found)
        if found.path and data is not None:
            return Handed(found.student, found.path.name, data)
    return None


def _submit(executor: Executor, terms: Terms, handed: list[Handed]) -> Future[Any]:
    try:
        return executor.submit(grade_chunk, terms, handed)
    except Exception as error:  # the executor itself is broken or closed
        future: Future[Any] = Future()
        future.set_exception(error)
        return future


def _answer(future: Future[Any], submissions: int) -> list[dict[str, Any]] | str | None:
    """What a worker said; nothing where it died."""
    try:
        answer = future.result()
    except Exception:
        return None
    return answer if isinstance(answer, str) or len(answer) == submissions else None


# --- Dask --------------------------------------------------------------------------------------------------


class Workers(NamedTuple):
    """Workers that are ready: how to reach them, how many submissions they grade at a time, and their walls."""

    executor: Executor
    jobs: int
    walls: list[str]


class OnDask(Executor):
    """Dask's executor, which refuses where the scheduler is gone: Dask's own would wait without end."""

    def __init__(self, client: Any):
        self._client, self._executor = client, client.get_executor(pure=False)

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        give_up = time.monotonic() + 2 * CONNECT_SECONDS
        while self._client.status == "connecting" and time.monotonic() < give_up:  # again
            time.sleep(0.1)
        if self._client.status != "running":
            raise ConnectionError("the Dask scheduler is gone")
        return self._executor.submit(function, *arguments, **options)


@contextlib.contextmanager
def dask_workers(address: str, grader: Grader) -> Iterator[Workers]:
    """All workers of a Dask scheduler, each of which has tried its walls.

    One that joins later tries them before its first submission; where they don't stand, what it got is a fault of the grader.

    Raises:
        ValueError: Dask is not installed, no scheduler answers, it has no workers, or one of them is not fit.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ValueError('--dask needs Dask: pip install "cs-vl[dask]"') from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"no Dask scheduler answers at {address}: start one with `dask scheduler`, which prints its address"
        ) from error
    terms = Terms.of(grader)
    with client:
        threads = client.nthreads()
        if not threads:
            raise ValueError(f"the Dask scheduler at {address} has no workers: `dask worker {address}`")
        try:
            walls = _made_ready(client, terms, list(threads))
            yield Workers(OnDask(client), sum(threads.values()), walls)
        finally:
            with contextlib.suppress(Exception):
                if client.status == "running":
                    client.run(forget, terms)


def _made_ready(client: Any, terms: Terms, workers: list[str]) -> list[str]:
    walls: list[str] = []
    futures = {name: client.submit(make_ready, terms, workers=[name], pure=False) for name in workers}
    for name, future in futures.items():
        try:
            walls = future.result(START_SECONDS)
        except Exception as error:
            raise ValueError(
                f"the Dask worker {name} can't grade ({type(error).__name__}): it needs this version of cs-vl"
            ) from error
        if isinstance(walls, str):
            raise ValueError(f"the Dask worker {name} can't grade: {walls}")
    return [*walls, f"So it was on each of the {len(workers)} Dask workers."]
