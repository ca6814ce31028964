"""What grading costs: CPU, wall time and memory for a class, and of that, what the walls cost.

    python -m tests.bench.grading            nbgrader's autograde beside it, a class of 50, the walls
    python -m tests.bench.grading --scale    classes of 100, 300 and 1,000

CPU is that of all processes: the judge's, the students' (each result tells) and the warm ones that they are forked from.
"""

import argparse
import contextlib
import itertools
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import nbformat
import psutil

from autograder.build.notebooks import solved_notebook, student_notebook
from autograder.build.sample_class import answers, fill
from autograder.grade import Grader, grade_class
from autograder.reader import Found
from cs_vl.checks.cells import Cell
from cs_vl.checks.spec import Assignment, load_assignment
from cs_vl.checks.submission import Submitted

ASSIGNMENT = "a2_clip"
JOBS = os.cpu_count() or 1


@dataclass
class Cost:
    """Of a class: seconds of all processors, of the clock, and the most memory at a time (MB)."""

    cpu: float
    wall: float
    memory: float


def notebook(assignment: Assignment) -> nbformat.NotebookNode:
    """A right submission; the cells of the story, which train and draw, are left out."""
    source = solved_notebook(assignment)
    source.cells = [c for c in source.cells if c.cell_type != "code" or "nbgrader" in c.metadata]
    return fill(student_notebook(source), answers(assignment))


def write_class(content: nbformat.NotebookNode, folder: Path, n: int) -> list[Found]:
    """n students who have handed in the same answers, each in a file of its own hash."""
    found = []
    for i in range(n):
        path = folder / f"student{i:04}" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
        path.parent.mkdir(parents=True)
        content.metadata["student"] = i
        nbformat.write(content, path)
        found.append(Found(f"student{i:04}", path))
    return found


def processes() -> list[psutil.Process]:
    me = psutil.Process()
    return [me, *me.children(recursive=True)]


@contextlib.contextmanager
def memory_watch() -> Iterator[list[float]]:
    """The proportional memory of this process and all below it, in MB, as often as that can be asked."""
    seen, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.5):
            total = 0
            for process in processes():
                with contextlib.suppress(psutil.Error):
                    total += process.memory_full_info().pss
            seen.append(total / 1e6)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield seen
    stop.set()
    thread.join()


def warm_servers_cpu() -> float:
    """CPU of the processes below this one themselves; that of students is told by their results."""
    total = 0.0
    for process in processes()[1:]:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def our_class(assignment: Assignment, folder: Path, n: int, *, watch_memory: bool = False) -> Cost:
    """Grade a class, warm: the first submissions have started the processes and drawn the cases."""
    found = write_class(notebook(assignment), folder / "submitted", n + 2 * JOBS)
    grader = Grader(assignment, folder / "results")
    with ThreadPoolExecutor(JOBS) as pool:
        grade_class(grader, found[: 2 * JOBS], jobs=JOBS, executor=pool)
        with memory_watch() if watch_memory else contextlib.nullcontext([0.0]) as memory:
            start, cpu, servers = time.perf_counter(), time.process_time(), warm_servers_cpu()
            results = grade_class(grader, found[2 * JOBS :], jobs=JOBS, executor=pool)
            wall = time.perf_counter() - start
            cpu = time.process_time() - cpu + warm_servers_cpu() - servers
    grader.close()
    full = assignment.points
    assert all(result.points == full for result in results), "the numbers would not be of right submissions"
    return Cost(cpu + sum(result.cpu_seconds for result in results), wall, max(memory))


def nbgraders_class(assignment: Assignment, folder: Path, n: int) -> Cost:
    """The same notebooks through nbgrader's autograde, in this process, after a first one."""
    from nbgrader.apps import NbGraderAPI
    from traitlets.config import Config

    source = folder / "source" / ASSIGNMENT / f"{ASSIGNMENT}.ipynb"
    source.parent.mkdir(parents=True)
    handed_out = solved_notebook(assignment)
    handed_out.cells = [c for c in handed_out.cells if c.cell_type != "code" or "nbgrader" in c.metadata]
    nbformat.write(handed_out, source)
    write_class(notebook(assignment), folder / "submitted", n + 1)
    config = Config()
    config.CourseDirectory.root = str(folder)
    # It calls alembic by its name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with contextlib.chdir(folder), mock.patch.dict(os.environ, {"OMP_NUM_THREADS": "1", "PATH": path}):
        api = NbGraderAPI(config=config)
        told = api.generate_assignment(ASSIGNMENT)
        assert told["success"], told["log"][-2000:]
        assert api.autograde(ASSIGNMENT, "student0000")["success"]
        start, cpu = time.perf_counter(), _cpu_with_children()
        for i in range(1, n + 1):
            told = api.autograde(ASSIGNMENT, f"student{i:04}")
            assert told["success"], told["log"][-2000:]
        return Cost(_cpu_with_children() - cpu, time.perf_counter() - start, 0.0)


def _cpu_with_children() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def walls(assignment: Assignment, folder: Path, n: int = 40) -> tuple[float, float]:
    """CPU seconds of a submission that holds nothing, and of an exercise that does nothing, behind walls."""
    grader = Grader(assignment, folder / "results")
    grader.prepare()
    names = [exercise.name for exercise in assignment.exercises]
    nothing: list[Cell] = []
    # A class where a class is asked for; each fails at its first call.
    empty = [
        Cell(i, "code", f"def {name}(*args, **kwargs):\n    raise ValueError")
        for i, name in enumerate(names, 1)
        if not isinstance(assignment[name].answer, type)
    ]

    def cost(cells: list[Cell]) -> float:
        used = 0.0
        servers, here = warm_servers_cpu(), time.process_time()
        for _ in range(n):
            with Submitted(assignment, cells, setup=[], start=grader.start, seconds=10) as submitted:
                for exercise in assignment.exercises:
                    if exercise.name in submitted.loaded["answers"]:
                        submitted.worker.begin(exercise, None, 10)  # type: ignore[union-attr]
            used += submitted.cpu_seconds
        return (used + warm_servers_cpu() - servers + time.process_time() - here) / n

    cost(nothing)
    without, with_exercises = cost(nothing), cost(empty)
    grader.close()
    return without, (with_exercises - without) / len(empty)


def rows(n: int = 50, theirs: int = 4) -> Iterator[tuple[str, str, float, float, str]]:
    """The table's rows: what, peer, ratio, ours, unit."""
    assignment = load_assignment(ASSIGNMENT)
    with tempfile.TemporaryDirectory() as folder:
        parts = itertools.count()

        def fresh() -> Path:
            return Path(folder) / str(next(parts))

        nbgraders = nbgraders_class(assignment, fresh(), theirs).cpu / theirs
        ours = our_class(assignment, fresh(), n)
        each = ours.cpu / n
        yield (
            f"CPU of grading a submission of {ASSIGNMENT}, of {n}",
            "nbgrader autograde",
            each / nbgraders,
            each,
            "s",
        )
        yield (
            f"clock of grading these {n}",
            f"CPU / {JOBS} cores",
            ours.wall / (ours.cpu / JOBS),
            ours.wall,
            "s",
        )
        a_submission, an_exercise = walls(assignment, fresh())
        yield "walls: CPU of a submission that holds nothing", "60 ms", a_submission / 0.06, a_submission, "s"
        yield "walls: CPU of an exercise's fork", "20 ms", an_exercise / 0.02, an_exercise, "s"


def scale(sizes: tuple[int, ...] = (100, 300, 1000)) -> None:
    """Time and memory by the size of the class."""
    assignment = load_assignment(ASSIGNMENT)
    print("| submissions | clock | clock each | CPU each | most memory |\n|---|---|---|---|---|")
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            cost = our_class(assignment, Path(folder), n, watch_memory=True)
        print(
            f"| {n:,} | {cost.wall:.0f} s | {cost.wall / n:.3f} s | {cost.cpu / n:.3f} s | {cost.memory:.0f} MB |",
            flush=True,
        )


if __name__ == "__main__":
    from tests.bench.__main__ import say

    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", action="store_true", help="classes of 100, 300 and 1,000")
    if parser.parse_args().scale:
        scale()
    else:
        for row in rows():
            say(*row)
