"""Hostile and accidental submissions (tests/attacks.py): each costs itself, and nobody and nothing else.

`python -m pytest tests/test_attacks.py -s` prints them as a table.
"""

import dataclasses
import json
import os
import re
import socket
from pathlib import Path

import nbformat
import pytest
from rich.console import Console
from rich.table import Table

import autograder
import cs_vl
from autograder.build.sample_class import answers
from autograder.grade import Grader, Result
from autograder.reader import Found
from autograder.sandbox.inside.limits import Limits, descendants
from cs_vl.checks.spec import load_assignment
from tests.attacks import ATTACKS, CHANCE, RIGHT, SETUP, Attack
from tests.walls import needs_walls

pytestmark = needs_walls

SECONDS = 2.0
# The attacked one and one beside it: all the rest of a notebook would only take time.
A1 = load_assignment("a1_transformer")
SMALL = dataclasses.replace(A1, exercises=(A1["softmax"], A1["layer_norm"]))
LAYER_NORM = answers(A1)["layer_norm"]


@pytest.fixture(scope="module")
def table():
    rows = Table("kind", "attack", "verdict", "seconds", "CPU-s", "MB", "what is said")
    yield rows
    Console(width=180).print(rows)


@pytest.fixture(scope="module")
def class_(tmp_path_factory):
    """A class to attack: a grader, a neighbour's submission, a server that listens, a secret in the environment."""
    root = tmp_path_factory.mktemp("class")
    grader = Grader(SMALL, root / "results", seconds=SECONDS)
    grader.prepare()
    grader.pool.limits = Limits(memory=256)  # less to fill
    neighbour = write(root / "neighbour.ipynb", [SETUP, RIGHT, LAYER_NORM])
    grader.grade(Found("first", neighbour))  # the warm process starts
    os.environ["CS_VL_SECRET"] = "4711"
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield grader, neighbour, server
    del os.environ["CS_VL_SECRET"]
    grader.close()


def write(path: Path, cells: list[str]) -> Path:
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    return path


@pytest.fixture
def grade(class_, tmp_path):
    grader, neighbour, server = class_
    values = {
        "PORT": server.getsockname()[1],
        "SECRET": str(grader.results / "secret"),
        "OTHER": str(neighbour),
        "HOME": str(Path.home() / next((p.name for p in Path.home().iterdir() if p.is_file()), "nothing")),
        "PIDS": [os.getpid(), os.getppid()],
        "COURSE": [str(Path(module.__file__)) for module in (autograder, cs_vl) if module.__file__],
    }

    def submit(cells: list[str]) -> Result:
        for name, value in values.items():
            cells = [
                cell.replace(f"{{{name}!r}}", repr(value)).replace(f"{{{name}}}", str(value))
                for cell in cells
            ]
        return grader.grade(Found("x", write(tmp_path / "x.ipynb", cells)))

    return submit


def processes(grader: Grader) -> list[int]:
    """All that run behind the walls, of warm processes that are not in use."""
    return [pid for server in grader.pool._idle for pid in descendants(server._process.pid)]


@pytest.mark.parametrize("attack", ATTACKS, ids=[a.name for a in ATTACKS])
def test_an_attack_costs_itself_alone(attack: Attack, grade, class_, table):
    grader, neighbour, server = class_
    before = {path: path.read_bytes() for path in grader.results.rglob("*") if path.is_file()}
    alive = processes(grader)
    result = grade([*attack.cells, LAYER_NORM])
    softmax, layer_norm = result.verdicts
    said = softmax.sentence
    table.add_row(
        attack.kind, attack.name, softmax.status, f"{result.seconds:.1f}", f"{result.cpu_seconds:.2f}",
        f"{result.peak_mb:.0f}", said,
    )  # fmt: skip

    assert result.status == "graded"
    assert softmax.status in attack.status.split("|"), softmax
    assert re.search(attack.says, said), said
    assert (softmax.points == softmax.out_of) == (softmax.status == "passed")
    if softmax.status != "passed":  # what a stage before the attack earned is its own
        assert softmax.points < softmax.out_of
    assert layer_norm.passed == attack.others, layer_norm
    # In time: an exercise, or the loading, to its limit.
    limit = SECONDS * (1 if attack.others else 3)
    assert result.seconds < limit + 2
    # Nothing stays, inside or outside; nothing came out.
    assert processes(grader) == alive
    assert before == {path: path.read_bytes() for path in grader.results.rglob("*") if path.is_file()}
    with pytest.raises(BlockingIOError):
        server.accept()
    assert "MARK" not in json.dumps(result.to_json()).replace("f'MARK", "").replace("'MARK_%d'", "")
    # The next one is graded rightly, in its usual time.
    after = grader.grade(Found("next", neighbour))
    assert after.points == SMALL.points
    assert after.seconds < 2


@pytest.mark.parametrize("attack", CHANCE, ids=[a.name for a in CHANCE])
def test_chance_has_one_outcome(attack: Attack, grade):
    scores = {
        json.dumps([v.to_json() for v in grade([*attack.cells, LAYER_NORM]).verdicts]) for _ in range(5)
    }
    assert len(scores) == 1


def test_what_one_writes_the_next_does_not_find(grade):
    leave = "class Leave:\n    open('/tmp/left', 'w').close()\n    libc.shmget(4711, 100, 0o1600)\n"
    find = "def softmax(x, axis=-1):\n    through(os.listdir('/tmp') or libc.shmget(4711, 100, 0) >= 0)"
    assert grade([SETUP, leave, RIGHT]).verdicts[0].passed
    assert "Held" in grade([SETUP, find]).verdicts[0].sentence


def test_what_an_exercise_writes_or_starts_the_next_does_not_find(grade):
    leave = "def softmax(x, axis=-1):\n    open('/tmp/left', 'w').close()\n    os.fork() or time.sleep(60)\n    return right(x, axis)"
    find = "def layer_norm(*args, **kwargs):\n    through(os.listdir('/tmp') or held_by_another())"
    find += "\ndef held_by_another():\n    try: return os.kill(-1, 0) is None\n    except ProcessLookupError: return False"
    first, second = grade([SETUP, leave, find]).verdicts
    assert first.passed and "Held" in second.sentence
