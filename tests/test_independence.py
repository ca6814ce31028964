"""No exercise depends on another: break each in turn, and every other keeps its full points.

Stand-ins see to that while grading.  Students get none: there a check runs on their own earlier answers, and says so.
"""

import importlib
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from autograder.build.edition import build_edition
from autograder.build.regions import find_region, free_names, strip
from autograder.references import Drawn, sentences
from autograder.stand_ins import stand_ins_for
from cs_vl.checks.cells import Cell
from cs_vl.checks.judge import Verdict
from cs_vl.checks.run import runs_on_own
from cs_vl.checks.spec import ASSIGNMENTS, Assignment, Exercise, load_assignment, load_stand_ins
from cs_vl.checks.submission import Submitted
from cs_vl.checks.visible import VISIBLE_SEED, judge_here
from cs_vl.checks.worker import Worker
from cs_vl.models.clip import CLIP
from tests.assignments import FIRST_AND_LAST

EVERY = [(a, e) for a in map(load_assignment, ASSIGNMENTS) for e in a.exercises]
# Each takes some seconds: `make test` breaks every fourth exercise, `make test-all` all.
BROKEN_IN_TURN = [
    pytest.param(a, e, id=e.name, marks=pytest.mark.slow if i % 4 else ()) for i, (a, e) in enumerate(EVERY)
]


@pytest.fixture(params=FIRST_AND_LAST)
def assignment(request) -> Assignment:
    return load_assignment(request.param)


SITE = [Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")]

BROKEN_FUNCTION = """\
from cs_vl.exercise import exercise

@exercise
def {name}(*args, **kwargs):
    raise RuntimeError("broken")
"""
BROKEN_CLASS = """\
from torch import nn
from cs_vl.exercise import exercise

@exercise
class {name}(nn.Module):
    def broken(self, *args, **kwargs):
        raise RuntimeError("broken")

    {methods} = broken
"""


def broken(exercise: Exercise) -> str:
    """A cell that defines the exercise; whoever so much as makes or calls it gets an exception."""
    if not isinstance(exercise.answer, type):
        return BROKEN_FUNCTION.format(name=exercise.name)
    methods = " = ".join(["__init__", *find_region(exercise).methods])
    return BROKEN_CLASS.format(name=exercise.name, methods=methods)


def notebook(assignment: Assignment, breaks: Exercise | None = None) -> list[Cell]:
    """All answers in one namespace, import cells included, with one exercise broken."""
    cells: list[Cell] = []
    for exercise in assignment.exercises:
        region = find_region(exercise)
        source = broken(exercise) if exercise is breaks else region.source
        cells.append(Cell(len(cells) + 1, "code", region.imports))
        cells.append(Cell(len(cells) + 1, "code", source, exercise.name))
    return cells


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> Callable[[Assignment, Exercise | None], dict[str, Verdict]]:
    """Judges a notebook on the student edition of its assignment, in a worker that sees no answer."""

    @cache
    def edition(assignment: Assignment) -> tuple[Path, Drawn]:
        folder = tmp_path_factory.mktemp(assignment.name)
        build_edition(assignment.name, folder)
        return folder, Drawn(assignment, VISIBLE_SEED)

    def verdicts(assignment: Assignment, breaks: Exercise | None) -> dict[str, Verdict]:
        folder, drawn = edition(assignment)
        submitted = Submitted(
            assignment,
            notebook(assignment, breaks),
            start=lambda: Worker(assignment.name, [folder, *SITE]),
            stand_ins=partial(stand_ins_for, assignment),
        )
        with submitted:
            found = submitted.verdicts(drawn.cases_of, sentences, hidden=False)
            return {verdict.exercise: verdict for verdict in found}

    return verdicts


def test_all_answers_together_earn_all_points(judged, assignment: Assignment):
    verdicts = judged(assignment, None)
    assert [v.exercise for v in verdicts.values()] == [e.name for e in assignment.exercises]
    assert {n: (v.points, v.sentence) for n, v in verdicts.items() if not v.passed} == {}


@pytest.mark.parametrize(("assignment", "exercise"), BROKEN_IN_TURN)
def test_a_broken_exercise_costs_no_other_points(judged, assignment: Assignment, exercise: Exercise):
    verdicts = judged(assignment, exercise)
    mine = verdicts.pop(exercise.name)
    assert (mine.status, mine.points) == ("error", 0), mine
    assert {name: (v.points, v.sentence) for name, v in verdicts.items() if v.points < v.out_of} == {}


# --- stand-ins -------------------------------------------------------------------------------------------


def test_there_is_a_stand_in_for_each_exercise_that_others_build_on(assignment: Assignment):
    stand_ins = load_stand_ins(assignment.name)
    assert stand_ins is not None and stand_ins.keys() == assignment.built_on
    names = [exercise.name for exercise in assignment.exercises]
    for exercise in assignment.exercises:
        earlier = names[: names.index(exercise.name)]
        assert list(exercise.builds_on) == [name for name in earlier if name in exercise.builds_on]
        below = {name for other in exercise.builds_on for name in assignment[other].builds_on}
        assert below <= set(exercise.builds_on)
        called = free_names(find_region(exercise).source) & assignment.built_on - {exercise.name}
        assert called <= set(exercise.builds_on)
        assert runs_on_own(assignment, exercise) == []  # in the full course


def test_stand_ins_are_right(assignment: Assignment):
    for name, stand_in in (load_stand_ins(assignment.name) or {}).items():
        if not isinstance(stand_in, type):  # CLIP's has no more than a training step needs
            verdict = judge_here(assignment, assignment[name], stand_in)
            assert verdict.passed, verdict


def test_only_an_absent_module_means_that_there_are_none(monkeypatch):
    load = load_stand_ins.__wrapped__
    assert load("a9_of_another_year") is None

    def lacks(module: str) -> None:
        def import_module(name: str) -> None:
            raise ModuleNotFoundError(name=module)

        monkeypatch.setattr(importlib, "import_module", import_module)

    lacks("cs_vl.checks.a2_clip.stand_ins")
    assert load("a2_clip") is None
    lacks("torch")
    with pytest.raises(ModuleNotFoundError):
        load("a2_clip")


# --- in a student's hands --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def students(tmp_path_factory) -> Callable[..., str]:
    """Runs Python where only a student edition can be imported; returns what it printed."""

    @cache
    def edition(assignment: Assignment) -> Path:
        return build_edition(assignment.name, tmp_path_factory.mktemp(assignment.name)).parent

    def run(
        assignment: Assignment, program: str, *arguments: str, status: int = 0, **environment: str
    ) -> str:
        boot = f"import sys; sys.path[:0] = {[str(path) for path in (edition(assignment), *SITE)]!r}\n"
        done = subprocess.run(
            [sys.executable, "-P", "-S", "-c", boot + program, *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == status, done.stderr[-2000:]
        return done.stdout

    return run


def typed_in(assignment: Assignment, instead: dict[str, str] | None = None) -> str:
    """A program that runs the cells as a kernel does, with others in place of some answers."""
    cells = [(instead or {}).get(cell.grade_id, cell.source) for cell in notebook(assignment)]
    return f"for cell in {cells!r}:\n    exec(compile(cell, '<cell>', 'exec'), globals())\n"


BREAK_EACH = """
import contextlib, io, json
from cs_vl.checks import check

def card(name):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        check(name)
    return said.getvalue()

cards = {"": {name: card(name) for name in regions}}
for name, source in broken.items():
    exec(source, globals())
    cards[name] = {other: card(other) for other in regions}
    exec(regions[name], globals())
print(json.dumps(cards))
"""


def test_a_students_check_runs_on_their_own_and_names_the_one_that_fails(students, assignment: Assignment):
    regions = {exercise.name: find_region(exercise).source for exercise in assignment.exercises}
    wrong = {name: broken(assignment[name]) for name in assignment.built_on}
    program = f"{typed_in(assignment)}\nregions, broken = {regions!r}, {wrong!r}\n{BREAK_EACH}"
    cards = json.loads(students(assignment, program).splitlines()[-1])
    assert [card for card in cards.pop("").values() if not card.startswith("✓")] == []
    for name, said in cards.items():
        failed = {other for other, card in said.items() if not card.startswith("✓")} - {name}
        above = {e.name for e in assignment.exercises if name in e.builds_on}
        called = {e.name for e in assignment.exercises if name in free_names(find_region(e).source)}
        assert called & above <= failed <= above
        assert "This check runs on your own" not in said[name]
        for other in failed:
            assert (
                f"\n  This check runs on your own {name} here, which does not pass its check yet: mend that first. "
                "(Grading puts a right one in its place.)\n"
            ) in said[other]


A2 = load_assignment("a2_clip")
STEP = A2["clip_train_step"]
NOT_WRITTEN = (
    "  This check runs on your own info_nce here, which is not written yet: write that first "
    "(and keep its first line, @exercise).\n"
)
BLANK = strip(find_region(A2["info_nce"]).source)
WITHOUT_MARK = find_region(A2["info_nce"]).source.replace("@exercise\n", "")


@pytest.mark.parametrize("cell", [BLANK, "", "info_nce = None"])
def test_an_own_answer_that_is_missing_is_named(students, cell):
    program = typed_in(A2, {"info_nce": cell}) + f"from cs_vl.checks import check\ncheck({STEP.name!r})"
    assert students(A2, program) == f"○ {STEP.name}: 0 of {STEP.points:g} points\n{NOT_WRITTEN}"


def test_without_its_mark_the_own_answer_runs_all_the_same(students):
    program = typed_in(A2, {"info_nce": WITHOUT_MARK})
    # Once more: the import cell of the step has put the library's name in its place.
    program += f"\n{WITHOUT_MARK}\nfrom cs_vl.checks import check\ncheck({STEP.name!r})"
    assert students(A2, program).startswith("✓")


@pytest.mark.parametrize("cell", [BLANK, broken(A2["info_nce"])])
def test_cs_vl_check_says_it_too(students, cell, tmp_path):
    cells = [cell if c.grade_id == "info_nce" else c.source for c in notebook(A2)]
    path = tmp_path / "a2_clip.py"
    path.write_text("".join(f"# %%\n{source}\n\n" for source in cells), encoding="utf-8")
    said = students(A2, "from cs_vl.cli import app; app()", "check", str(path), status=1)
    assert f"{len(A2.exercises) - 2} of {len(A2.exercises)} exercises pass" in said
    mend = "  This check runs on your own info_nce here, which does not pass its check yet: mend that first."
    assert (NOT_WRITTEN if cell is BLANK else mend) in said
    assert said.count("your own") == 1


def test_validate_says_it_too(students):
    program = typed_in(A2, {"info_nce": broken(A2["info_nce"])})
    program += f"""
from cs_vl.checks import check
try:
    check({STEP.name!r})
except AssertionError as error:
    print(error)
"""
    said = students(A2, program, NBGRADER_EXECUTION="validate")
    assert said.startswith(f"{STEP.name}: Your code raised RuntimeError") and said.count("\n") == 1
    assert "on your own info_nce here, which does not pass its check yet: mend that first." in said


def test_the_stand_in_of_clip_encodes_one_side_alone():
    """As `encode_image` and `encode_text` ask it to, in a training step that calls these."""

    class Tower(torch.nn.Linear):
        def forward(self, x, lengths=None):
            return SimpleNamespace(pooled=super().forward(x))

    model = CLIP(visual=Tower(3, 4), text=Tower(5, 6), visual_dim=4, text_dim=6, embed_dim=7)
    images, ids = torch.randn(2, 3), torch.randn(8, 5)
    for given in ({"images": images}, {"ids": ids}, {"images": images, "ids": ids}):
        for ours, theirs in zip(
            load_stand_ins("a2_clip")["CLIP"].forward(model, **given), model(**given), strict=True
        ):
            assert (ours is None) == (theirs is None) and (
                ours is None or torch.allclose(ours, theirs, atol=1e-6)
            )
