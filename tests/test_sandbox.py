"""The walls around a student's code: that they stand, that they cost little, and what is said where they don't."""

import textwrap
from types import SimpleNamespace

import pytest
from click.testing import Result

from autograder.build.edition import build_edition
from autograder.build.sample_class import FOLDER
from autograder.grade import Grader
from autograder.reader import Found
from autograder.sandbox.inside.limits import Limits, descendants
from autograder.sandbox.pool import NoWalls, Pool
from autograder.sandbox.preflight import ATTEMPTS, preflight
from autograder.sandbox.seccomp import program
from autograder.sandbox.walled import Walled
from autograder.stand_ins import stand_ins_for
from cs_vl.checks.cells import Cell
from cs_vl.checks.run import Outcome
from cs_vl.checks.spec import ASSIGNMENTS, load_assignment
from cs_vl.checks.worker import NoWorker
from tests.commands import invoke
from tests.walls import needs_walls

A1 = load_assignment("a1_transformer")


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    pool = Pool(A1.name, build_edition(A1.name, tmp_path_factory.mktemp("edition")).parent)
    yield pool
    pool.close()


def walled(pool: Pool, source: str, seconds: float = 5.0) -> Walled:
    """A submission with these definitions, loaded."""
    process = Walled(pool, seconds)
    process.load([Cell(1, "code", textwrap.dedent(source))])
    return process


def outcome(process: Walled, seconds: float = 5.0) -> Outcome:
    exercise = A1["softmax"]
    stage = exercise.stages[0]
    return process.run(exercise, stage, exercise.draw(stage, 1)[0], seconds, "STAND_INS = {}")


def alive(pool: Pool) -> list[int]:
    return [pid for server in pool._idle for pid in descendants(server._process.pid)]


@needs_walls
def test_all_walls_stand_when_tried(pool, tmp_path):
    (tmp_path / "secret").write_text("4711")
    walls = preflight(pool, A1, tmp_path)
    assert walls.fell == []
    assert len(walls.stood) == len(ATTEMPTS) + 2
    assert all("held" in sentence for sentence in walls.sentences)


@needs_walls
def test_a_wall_that_does_not_stand_is_found(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "seccomp", b"")
    monkeypatch.setattr(pool, "limits", Limits(processes=1000))
    walls = preflight(pool, A1, tmp_path)
    fallen = " ".join(walls.fell)
    assert "a filter of system calls (it could run without a filter, make hidden memory" in fallen
    assert "no network" not in fallen  # a namespace of its own holds that, too
    assert any(sentence.startswith("NOT STANDING: ") for sentence in walls.sentences)


@needs_walls
def test_without_a_right_answer_that_runs_no_zero_is_believed(pool, tmp_path, monkeypatch):
    broken = "def softmax(x, axis=-1):\n    raise OSError"
    monkeypatch.setattr(
        "autograder.sandbox.preflight.find_region", lambda e: SimpleNamespace(imports="", source=broken)
    )
    with pytest.raises(NoWalls, match="a right answer does not run there"):
        preflight(pool, A1, tmp_path)


@needs_walls
def test_one_process_serves_many_submissions_and_nothing_stays(pool):
    with walled(pool, "def softmax(x, axis=-1):\n    return x"):
        pass
    before = alive(pool)
    for _ in range(5):
        with walled(
            pool, "import os\ndef softmax(x, axis=-1):\n    os.fork() or os.system('sleep 60')\n    return x"
        ) as process:
            assert outcome(process).status == "ok"
        assert process.cpu_seconds > 0
    assert alive(pool) == before


@needs_walls
def test_memory_and_time_are_measured_from_outside(pool):
    source = """
        import time
        def softmax(x, axis=-1):
            held, until = bytearray(b"x") * (100 * 2**20), time.process_time() + 0.3
            while time.process_time() < until:
                pass
            return x
    """
    with walled(pool, source) as process:
        assert outcome(process).status == "ok"
    assert 90 <= process.peak_mb <= 130
    assert 0.3 <= process.cpu_seconds < 1.5


@needs_walls
def test_a_warm_process_that_is_killed_is_replaced(pool):
    with walled(pool, "def softmax(x, axis=-1):\n    return x"):
        pass
    (server,) = pool._idle
    server._process.kill()
    server._process.wait()
    with walled(pool, "def softmax(x, axis=-1):\n    return x") as process:
        assert outcome(process).status == "ok"


@needs_walls
def test_a_submission_whose_warm_process_is_killed_is_no_zero(pool):
    process = walled(pool, "import time\ndef softmax(x, axis=-1):\n    time.sleep(60)")
    process._server._process.kill()
    with pytest.raises(NoWorker, match="grade again"):
        outcome(process)
    process.close()
    with walled(pool, "def softmax(x, axis=-1):\n    return x") as process:
        assert outcome(process).status == "ok"


@needs_walls
def test_two_submissions_at_a_time_do_not_see_each_other(pool):
    source = "import os\ndef softmax(x, axis=-1):\n    open('/tmp/mine', 'w').close()\n    return [os.listdir('/tmp'), os.getpid()]"
    with walled(pool, source) as one, walled(pool, source) as other:
        found = [outcome(process).results for process in (one, other)]
    assert [next(iter(results.values())) for results in found] == [[["mine"], 2]] * 2


@needs_walls
def test_pids_namespaces_and_users_are_its_own(pool):
    source = "import os\ndef softmax(x, axis=-1):\n    return [os.getppid(), os.getuid(), os.uname().nodename, sorted(os.listdir('/'))]"
    with walled(pool, source) as process:
        ((ppid, uid, node, root),) = outcome(process).results.values()
    assert (ppid, uid, node) == (1, 1000, "grading")
    assert not {"home", "var", "run", "srv", "mnt"} & set(root)


def test_the_filter_is_made_for_this_machine():
    pytest.importorskip("pyseccomp", reason="pyseccomp is not installed")
    assert len(program()) % 8 == 0 and len(program()) > 50 * 8


def test_a_stand_in_goes_only_where_it_is_built_on():
    for assignment in map(load_assignment, ASSIGNMENTS):
        for exercise in assignment.exercises:
            source = stand_ins_for(assignment, exercise)
            namespace: dict = {}
            exec(source, namespace)
            assert list(namespace["STAND_INS"]) == list(exercise.builds_on)
            assert exercise.name not in namespace
            if not exercise.builds_on:
                assert source == "STAND_INS = {}\n"


# --- where the walls don't stand -------------------------------------------------------------------------


def command(*arguments) -> Result:
    return invoke(A1.name, *arguments)


@pytest.fixture
def no_bwrap(monkeypatch):
    monkeypatch.setattr("autograder.sandbox.bwrap.shutil.which", lambda name: None)


def test_without_walls_nothing_is_graded_and_the_way_out_is_told(one, tmp_path, no_bwrap):
    result = command(one, "-o", tmp_path / "out")
    assert result.exit_code == 2
    for said in (
        "bubblewrap is not installed",
        "apt-get install bubblewrap",
        "--unsafe-no-sandbox",
        "README",
    ):
        assert said in result.stderr
    assert "Traceback" not in result.stderr and not (tmp_path / "out" / "journal.jsonl").exists()


def test_with_the_flag_it_goes_on_and_says_so(one, tmp_path, no_bwrap):
    result = command(one, "-o", tmp_path / "out", "--unsafe-no-sandbox")
    assert result.exit_code == 1  # an unreadable notebook
    assert "No walls stand around students' code: bubblewrap is not installed" in result.stderr
    assert "No walls: each submission ran" in (tmp_path / "out" / "index.html").read_text()


def test_a_score_without_walls_is_not_taken_for_one_behind_them(tmp_path, one):
    found = Found("ada", one / "ada.ipynb")
    with_walls, without = (Grader(A1, tmp_path / "results", sandbox=sandbox) for sandbox in (True, False))
    assert with_walls.key(found) != without.key(found)


@needs_walls
def test_walls_change_no_score(tmp_path):
    """Nor does it matter which process runs what: alternatives, mistakes and blanks of a real notebook."""
    path = FOLDER / "submitted" / "goran" / A1.name / f"{A1.name}.ipynb"
    graders = [Grader(A1, tmp_path / str(sandbox), sandbox=sandbox) for sandbox in (True, False)]
    for grader in graders:
        (grader.results / "secret").write_text("4711")
        grader.journal.secret = 4711
    with_walls, without = (grader.grade(Found("goran", path)) for grader in graders)
    assert [v.to_json() for v in with_walls.verdicts] == [v.to_json() for v in without.verdicts]
    assert 0 < with_walls.points < A1.points
    graders[0].close()
