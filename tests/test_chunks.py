"""Grading through an executor: whatever becomes of workers, each submission has one result.  And with Dask, for real."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest

from autograder import chunks
from autograder.chunks import AHEAD, CHUNK, Handed, Ready, Terms, grade_chunk
from autograder.grade import Grader, Result, grade_class
from autograder.reader import Found
from cs_vl.checks.cells import MAX_FILE_BYTES
from cs_vl.checks.spec import ASSIGNMENTS, load_assignment
from tests.commands import invoke
from tests.test_nothing_lost import hand_in, scores
from tests.walls import needs_walls

A1 = load_assignment(ASSIGNMENTS[0])


class Grading:
    """A class of ten, and a worker's grader that only says what it was sent."""

    def __init__(self, folder: Path):
        self.folder, self.results = folder, folder / "on_worker"
        self.results.mkdir()
        self.grader = Grader(A1, folder / "results")
        self.grader.grade = lambda found: Result(found.student, "", "unreadable", notes=["read here"])  # type: ignore[method-assign]
        self.found = []
        for i in range(10):
            path = folder / f"student{i}.ipynb"
            path.write_text(f"text {i}")
            self.found.append(Found(path.stem, path))
        self.sent: list[str] = []

    def grade(self, found: Found) -> Result:
        assert found.path
        self.sent.append(found.student)
        return Result(found.student, found.name, "graded", found.path.name, notes=[found.path.read_text()])

    def again(self, executor: Executor, jobs: int = 2) -> dict[str, Result]:
        self.sent.clear()
        results = grade_class(self.grader, self.found, jobs=jobs, executor=executor)
        assert [r.student for r in results] == [f.student for f in self.found]
        return {r.student: r for r in results}


@pytest.fixture
def grading(tmp_path, monkeypatch) -> Grading:
    grading = Grading(tmp_path)
    monkeypatch.setattr(chunks, "_ready", lambda terms: Ready(grading, []))  # type: ignore[arg-type]
    return grading


class Losing(Executor):
    """Runs at once, but its worker dies of some students' submissions, so many times."""

    def __init__(self, times: dict[str, int]):
        self.times, self.most, self.running = times, 0, 0

    def submit(self, function, terms, chunk):
        future: Future = Future()
        deadly = [one.student for one in chunk if self.times.get(one.student, 0) > 0]
        for student in deadly:
            self.times[student] -= 1
        if deadly:
            future.set_exception(BrokenProcessPool("died"))
        else:
            future.set_result(function(*pickle.loads(pickle.dumps((terms, chunk)))))
        return future


class Silent(Executor):
    """Its workers never answer."""

    def submit(self, *_):
        return Future()


def all_are_right(results: dict[str, Result], but: str = "") -> bool:
    return all(
        (r.status, r.notes) == ("graded", [f"text {r.student[-1]}"])
        for r in results.values()
        if r.student != but
    )


def test_each_is_graded_once_and_kept(grading):
    with ThreadPoolExecutor(2) as executor:
        assert all_are_right(grading.again(executor))
        assert sorted(grading.sent) == [found.student for found in grading.found]
        grading.found[3].path.write_text("text 3 ")
        assert grading.again(executor)["student3"].notes == ["text 3 "]
        assert grading.sent == ["student3"]


def test_what_a_dying_worker_had_is_sent_again(grading):
    assert all_are_right(grading.again(Losing({"student1": 1, "student9": 1})))


def test_a_submission_whose_workers_die_is_a_fault_and_tried_again(grading):
    results = grading.again(Losing({"student1": 2}))
    assert all_are_right(results, but="student1")
    one = results["student1"]
    assert (one.status, one.points, one.file) == (
        "grader error",
        None,
        "student1.ipynb",
    ) and "died" in one.notes[0]
    assert all_are_right(grading.again(Losing({})))
    assert grading.sent == ["student1"]


def test_an_executor_that_is_closed_is_a_fault_of_ours(grading):
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    results = grading.again(executor)
    assert {r.status for r in results.values()} == {"grader error"}


@pytest.mark.parametrize("status", ["closed", "connecting"])
def test_a_dask_scheduler_that_is_gone_is_not_waited_for_without_end(grading, monkeypatch, status):
    class Client:  # Dask's, after it has lost its scheduler
        def get_executor(self, pure):
            return Silent()

    Client.status = status
    monkeypatch.setattr(chunks, "CONNECT_SECONDS", 0.01)
    assert {r.status for r in grading.again(chunks.OnDask(Client())).values()} == {"grader error"}


def test_a_worker_that_cannot_grade_says_why(grading, monkeypatch):
    def unfit(terms):
        raise chunks.Unfit("the walls do not stand on there")

    monkeypatch.setattr(chunks, "_ready", unfit)
    for result in grading.again(Losing({})).values():
        assert (result.status, result.notes) == ("grader error", ["the walls do not stand on there"])


def test_a_chunk_never_raises(grading, monkeypatch):
    def fails(terms):
        raise KeyError("hidden")

    monkeypatch.setattr(chunks, "_ready", fails)
    answer = grade_chunk(Terms.of(grading.grader), [])
    assert isinstance(answer, str) and "KeyError in test_chunks.py" in answer and "hidden" not in answer


def test_another_version_of_the_course_grades_nothing(tmp_path):
    terms = Terms(A1.name, 1, 10.0, True, "another")
    assert "install the same there" in grade_chunk(terms, [Handed("ada", "a.ipynb", b"{")])


def test_workers_that_do_not_answer_are_not_waited_for_without_end(grading, monkeypatch):
    monkeypatch.setattr(chunks, "START_SECONDS", 0.2)
    monkeypatch.setattr(grading.grader, "seconds", 0.0)

    results = grading.again(Silent(), jobs=1)
    assert {r.status for r in results.values()} == {"grader error"}
    assert "No worker answered" in results["student9"].notes[0]


def test_no_more_is_on_its_way_than_workers_can_soon_take(grading):
    """A thousand notebooks of a megabyte need not be in memory at once."""
    going, most, lock = [0], [0], threading.Lock()

    class Counting(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            with lock:
                going[0] += 1
                most[0] = max(most[0], going[0])
            future = super().submit(function, *arguments)
            future.add_done_callback(lambda _: going.__setitem__(0, going[0] - 1))
            return future

    for i in range(10, 200):
        path = grading.folder / f"student{i}.ipynb"
        path.write_text(f"text {i}")
        grading.found.append(Found(path.stem, path))
    with Counting(1) as executor:
        assert len(grading.again(executor, jobs=2)) == 200
    assert len(grading.found) / CHUNK > most[0] and most[0] <= AHEAD * 2


def test_what_can_not_be_sent_is_read_here(grading):
    with grading.found[0].path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    grading.found[1].path.unlink()
    results = grading.again(Losing({}))
    assert results["student0"].notes == results["student1"].notes == ["read here"]
    assert {r.status for r in list(results.values())[2:]} == {"graded"}


def test_a_full_disk_stops_the_run_and_calls_the_rest_off(grading, monkeypatch):
    futures: list[Future] = []

    class Slow(Losing):
        def submit(self, function, terms, chunk):
            future = super().submit(function, terms, chunk) if not futures else Future()
            futures.append(future)
            return future

    def full(entry):
        raise OSError("the disk is full")

    monkeypatch.setattr(grading.grader.journal, "append", full)
    with pytest.raises(OSError, match="full"):
        grading.again(Slow({}))
    assert len(futures) > 1 and all(future.done() for future in futures)


# --- Dask --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def class_(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("class") / "class"
    hand_in(folder, 12)
    return folder


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of a scheduler on loopback, without workers."""
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'cs-vl[dask]'")
    file = tmp_path_factory.mktemp("dask") / "scheduler.json"
    arguments = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    process = dask("scheduler", *arguments, cwd=file.parent)
    address = ""
    give_up = time.monotonic() + 60
    while not address:
        assert process.poll() is None and time.monotonic() < give_up
        time.sleep(0.1)
        if file.exists() and file.read_text().endswith("}"):
            address = json.loads(file.read_text())["address"]
    yield address
    process.kill()
    process.wait()


def dask(*arguments: str, cwd: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_without_a_scheduler_there_is_a_sentence(class_, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CONNECT_SECONDS", 0.5)
    result = invoke(A1.name, class_, "-o", tmp_path / "results", "--dask", "tcp://127.0.0.1:9")
    assert result.exit_code == 2 and "no Dask scheduler answers at tcp://127.0.0.1:9" in result.stderr
    result = invoke(A1.name, class_, "-o", tmp_path / "results", "--dask", "no address: at all")
    assert result.exit_code == 2 and "no Dask scheduler answers" in result.stderr


def test_without_workers_there_is_a_sentence(scheduler, class_, tmp_path):
    result = invoke(A1.name, class_, "-o", tmp_path / "results", "--dask", scheduler)
    assert result.exit_code == 2 and "has no workers" in result.stderr


@pytest.mark.slow
@needs_walls
def test_dasks_workers_grade_and_one_may_die(scheduler, class_, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for results in (here, there):
        results.mkdir()
        (results / "secret").write_text("4711")
    options = ["--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    workers = [dask("worker", scheduler, *options, "--name", name, cwd=tmp_path) for name in ("one", "two")]
    grade = [sys.executable, "-m", "cs_vl.cli", "grade", A1.name, str(class_), "--seconds", "2"]
    try:
        wait_for_workers(scheduler, 2)
        process = subprocess.Popen(
            [*grade, "-o", str(there), "--dask", scheduler],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        give_up = time.monotonic() + 300
        journal = there / "journal.jsonl"
        while not (journal.exists() and journal.read_text().endswith("}")):
            assert process.poll() is None and time.monotonic() < give_up, process.communicate()[1][-3000:]
            time.sleep(0.02)
        children = psutil.Process(workers[0].pid).children(recursive=True)
        assert children  # what it grades, behind walls
        assert process.poll() is None and len(lines(journal)) < 12
        os.kill(workers[0].pid, signal.SIGKILL)
        workers[0].wait()
        _, err = process.communicate(timeout=300)
        _, alive = psutil.wait_procs(children, 5)
        assert not alive
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert process.returncode == 1, err[-3000:]  # some files are damaged
    assert "Traceback" not in err
    local = subprocess.run(
        [*grade, "-o", str(here), "--jobs", "2"], capture_output=True, text=True, timeout=300
    )
    assert local.returncode == 1
    assert scores(there) == scores(here)
    page = (there / "index.html").read_text()
    assert "no network: tried, and it held" in page and "on each of the 2 Dask workers" in page
    assert len(lines(journal)) == 12  # nobody twice


def lines(journal: Path) -> list[str]:
    return [line for line in journal.read_text().split("\n") if line]


def wait_for_workers(address: str, n: int) -> None:
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(n, timeout=60)
