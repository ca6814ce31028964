"""The build: answers out of the library, the student edition, notebooks, and whether all of it is current."""

import ast
import builtins
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbgrader.nbgraderformat import MetadataValidator
from packaging.version import Version

import cs_vl
from autograder.build import drift, execute, notebooks, sample_class
from autograder.build import edition as editions
from autograder.build.notebooks import keep_outputs, solved_notebook, student_notebook
from autograder.build.regions import BEGIN, END, BadRegion, find_region, free_names, strip, without_marks
from autograder.references import build_visible
from cs_vl.checks import visible, wire
from cs_vl.checks.source import parse
from cs_vl.checks.spec import ASSIGNMENTS, Assignment, Exercise, load_assignment
from cs_vl.exercise import registered

A1 = load_assignment("a1_transformer")
every_assignment = pytest.mark.parametrize(
    "assignment", [*map(load_assignment, ASSIGNMENTS)], ids=ASSIGNMENTS
)
EVERY = [(a, e) for a in map(load_assignment, ASSIGNMENTS) for e in a.exercises]
every_exercise = pytest.mark.parametrize("exercise", [e for _, e in EVERY], ids=[e.name for _, e in EVERY])


def code(text: str) -> str:
    return textwrap.dedent(text).strip() + "\n"


# --- regions: what an answer needs -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def f(x): return g(x)", {"g"}),
        ("@decorate(option)\ndef f(): pass", {"decorate", "option"}),
        ("def f(x=default, *, y=other.thing): pass", {"default", "other"}),
        ("def f(x: Float[Tensor, 'batch dim'], *args: A, **more: B) -> C: pass", {"Float", "Tensor", "A", "B", "C"}),
        ("def f():\n    x: Hint = value\n    return x", {"value"}),  # local hints are never evaluated
        ("def f(xs): return [g(x) for x in xs if x in allowed]", {"g", "allowed"}),
        ("def f(xs): return {k: [h(i) for i in v] for k, v in xs.items()}, sum(y for y in xs)", {"h", "sum"}),
        ("def f(a):\n    def inner(b):\n        return a + b + c\n    return inner", {"c"}),
        ("def f(n): return n * f(n - 1) if n else one", {"one"}),  # itself is not free
        ("def f(): return lambda x, y=start: x + y + end", {"start", "end"}),
        ("def f(x):\n    if (y := g(x)) > 0:\n        return y", {"g"}),
        ("def f(x):\n    try:\n        return x\n    except Trouble as error:\n        raise Other from error", {"Trouble", "Other"}),
        ("def f(x):\n    with opened(x) as y:\n        import math\n        return math.pi + y", {"opened"}),
        ("def f(x): return f'{x:{width}} {unit}'", {"width", "unit"}),
        ("def f():\n    global counter\n    counter += 1", {"counter"}),
        ("class C(Base, option=flag):\n    size = SIZE\n    def g(self): return size", {"Base", "flag", "SIZE", "size"}),
        ("class C:\n    n = 3\n    ns = [i + 1 for i in items]\n    def g(self, x=n): return C, super().g", {"items", "super"}),
        ("class C:\n    x: Hint\n    @property\n    def y(self) -> Other: return self.x", {"Hint", "property", "Other"}),
    ],
)  # fmt: skip
def test_free_names_are_those_that_a_cell_needs(source, names):
    assert free_names(source) == names


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Makes a module with the given text; returns the exercise `f` (or of another name) in it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before, made = dict(registered), []

    def make(text: str, name: str = "f") -> Exercise:
        made.append(f"made_for_a_test_{len(made)}_{tmp_path.name}")
        (tmp_path / f"{made[-1]}.py").write_text(code(text), encoding="utf-8")
        return Exercise(name=name, module=made[-1], stages=())

    yield make
    for one in made:
        sys.modules.pop(one, None)
    registered.clear()
    registered.update(before)


BODY = """
    ### BEGIN SOLUTION
    return {}
    ### END SOLUTION
"""
HEAD = "from cs_vl.exercise import exercise\n"


def test_free_names_become_explicit_imports(module):
    exercise = module(
        HEAD + "import math, os.path\nimport numpy as np\nfrom collections import Counter as Count, deque\n"
        "from math import pow\nfrom torch import *\n\nUNIT = 2\n\ndef helper(x): return x\n\ndef max(x): return x\n\n"
        "@exercise\ndef f(x: np.ndarray, unit=UNIT):"
        + BODY.format("helper(max(pow(math.pi, len(os.path.sep + x)))), Count, tensor")
    )
    assert (
        find_region(exercise).imports.split("\n")
        == [
            "import math",
            "import numpy as np",
            "import os.path",
            "from collections import Counter as Count",
            "from cs_vl.exercise import exercise",
            f"from {exercise.module} import UNIT, helper, max, tensor",  # not the builtin max, which means something else
            "from math import pow",
        ]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "def _helper(x): return x\n@exercise\ndef f(x):" + BODY.format("_helper(x)"), "uses _helper: private"),
        (HEAD + "import torch as _t\n@exercise\ndef f(x):" + BODY.format("_t.exp(x)"), "uses _t: private"),
        (HEAD + "@exercise\ndef f(x):" + BODY.format("nothing(x)"), "uses nothing, which is nowhere"),
        (HEAD + "@exercise\ndef g(x):" + BODY.format("x"), "there is no such function"),
        (HEAD + "if True:\n    @exercise\n    def f(x): return x\n", "there is no such function"),
        (HEAD + "@exercise\ndef f(x):\n    return x\n", "exactly one pair"),
        (HEAD + "@exercise\ndef f(x):\n    ### BEGIN SOLUTION\n    return x\n", "exactly one pair"),
        (HEAD + "@exercise\ndef f(x):\n    ### END SOLUTION\n    x = 1\n    ### BEGIN SOLUTION\n", "exactly one pair"),
        (HEAD + "@exercise\ndef f(x):" + 2 * BODY.format("x"), "exactly one pair"),
        (HEAD + "def f(x):" + BODY.format("x"), "lacks the decorator @exercise"),
        (HEAD + "exercises = exercise\n@exercises\ndef f(x):" + BODY.format("x"), "lacks the decorator @exercise"),
    ],
)  # fmt: skip
def test_a_region_that_the_build_cannot_use_gets_a_sentence(module, text, said):
    exercise = module(text)
    with pytest.raises(BadRegion, match=re.escape(said)) as caught:
        find_region(exercise)
    assert exercise.module in str(caught.value) and "\n" not in str(caught.value)


def test_a_region_ends_with_its_closing_mark(module):
    text = (
        HEAD
        + "@exercise\ndef f(x):"
        + BODY.format("x")
        + "\n\n# --- the next chapter ---\n\ndef g(x): return x\n"
    )
    region = find_region(module(text))
    assert region.source.split("\n")[-1] == "    ### END SOLUTION"
    assert region.source.split("\n")[0] == "@exercise"
    assert region.methods == []


def test_of_a_class_the_region_knows_the_methods_with_the_answer(module):
    text = HEAD + (
        "@exercise\nclass C:\n    def __init__(self):\n        self.x = 1\n\n    def forward(self):\n"
        "        ### BEGIN SOLUTION\n        return self.x\n        ### END SOLUTION\n\n    def given(self):\n        return 2\n"
    )
    region = find_region(module(text, "C"))
    assert region.methods == ["forward"]
    assert region.source.endswith("return 2")
    assert region.imports == "from cs_vl.exercise import exercise"


@every_exercise
def test_the_stub_stands_where_the_answer_was(exercise):
    region = find_region(exercise)
    lines = region.source.split("\n")
    begin, end = (next(i for i, line in enumerate(lines) if mark in line) for mark in (BEGIN, END))
    indent = lines[begin][: lines[begin].index("#")]
    stub = [indent + "# YOUR CODE HERE", indent + "raise NotImplementedError()"]
    stripped = strip(region.source).split("\n")
    assert stripped == lines[:begin] + stub + lines[end + 1 :]
    ast.parse("\n".join(stripped))
    assert (
        without_marks(region.source).split("\n") == lines[:begin] + lines[begin + 1 : end] + lines[end + 1 :]
    )
    # All that it needs, and nothing more, is imported.
    imported = {
        alias.asname or alias.name.split(".")[0]
        for node in ast.parse(region.imports).body
        for alias in node.names  # type: ignore[attr-defined]
    }
    assert imported == {name for name in free_names(region.source) if not hasattr(builtins, name)}
    assert "autograder" not in region.imports


# --- the student edition ---------------------------------------------------------------------------------

SITE = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})


@pytest.fixture(scope="module")
def edition_of(tmp_path_factory) -> Callable[[Assignment], Path]:
    @cache
    def make(assignment: Assignment) -> Path:
        return editions.build_edition(assignment.name, tmp_path_factory.mktemp("edition"))

    return make


def in_edition(edition: Path, program: str) -> dict:
    """Run a program where only the edition and the installed packages can be imported; it prints JSON."""
    boot = f"import sys; sys.path[:0] = {[str(edition.parent), *SITE]!r}\n"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", boot + code(program)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@every_assignment
def test_the_edition_holds_the_library_less_the_answers(edition_of, assignment):
    edition = edition_of(assignment)
    assert not list(edition.rglob("*.pyc"))
    library = {p.relative_to(editions.LIBRARY) for p in editions.LIBRARY.rglob("*") if p.is_file()}
    library = {p for p in library if "__pycache__" not in p.parts and p.name != editions.STAND_INS}
    there = {p.relative_to(edition) for p in edition.rglob("*") if p.is_file()}
    assert there - library == {Path("student_edition.json")} and library <= there
    every = {find_region(e).path.relative_to(editions.LIBRARY) for _, e in EVERY}
    # An exercise may stand in the library before its assignment does.
    marked = {path for path in library if b"### BEGIN" in (editions.LIBRARY / path).read_bytes()}
    assert every <= marked
    changed = {*marked, Path("__init__.py")}  # answers or their marks are gone; the version is another
    for path in library:
        before, after = ((root / path).read_bytes() for root in (editions.LIBRARY, edition))
        assert b"### BEGIN" not in after and b"### END" not in after, path
        assert (before != after) == (path in changed), path
    stubs = sum(
        text.count("raise NotImplementedError()") for text in (p.read_text() for p in edition.rglob("*.py"))
    )
    assert stubs == len(editions.stripped_regions(assignment.name))


@every_assignment
def test_no_other_module_gives_an_exercise_away(edition_of, assignment):
    """What can be called in an exercise's place is left out until that exercise is solved."""
    for name, modules in editions.KIN.items():
        left_out = assignment.name in ASSIGNMENTS[: ASSIGNMENTS.index(name) + 1]
        for module in modules:
            text = (edition_of(assignment) / module).read_text()
            assert ("left out of this student edition" in text) == left_out


@every_assignment
def test_student_edition_json_lists_what_is_stripped(edition_of, assignment):
    stored = json.loads((edition_of(assignment) / "student_edition.json").read_text())
    assert stored["assignment"] == assignment.name
    stripped = [r.exercise for r in editions.stripped_regions(assignment.name)]
    assert list(stored["stripped"]) == [e.name for e in stripped]
    for exercise in stripped:
        methods = ["forward"] if isinstance(exercise.answer, type) else []
        assert stored["stripped"][exercise.name] == methods


def test_each_edition_has_a_version_of_its_own_later_ones_later():
    versions = [Version(editions.edition_version(name)) for name in ASSIGNMENTS]
    assert Version(cs_vl.__version__) < versions[0] and versions == sorted(set(versions))
    assert {v.public for v in versions} == {cs_vl.__version__}
    assert str(versions[1]) == f"{cs_vl.__version__}+a2"


@every_assignment
def test_every_module_imports_and_every_stub_says_which_exercise_is_missing(edition_of, assignment):
    edition = edition_of(assignment)
    found = in_edition(
        edition,
        f"""
        import importlib, json, pkgutil
        import cs_vl
        modules = [m.name for m in pkgutil.walk_packages(cs_vl.__path__, "cs_vl.")]
        for name in modules:
            importlib.import_module(name)
        from cs_vl.checks.spec import load_assignment
        from cs_vl.exercise import EDITION, MissingExercise, exercise

        def said(function, *arguments):
            try:
                function(*arguments)
            except MissingExercise as error:
                return str(error)

        def blank(*_):
            raise NotImplementedError()

        sentences, of_blanks = {{}}, {{}}
        for e in load_assignment({assignment.name!r}).exercises:
            answer = e.answer
            methods = EDITION[e.name]
            call = getattr(answer, methods[0]) if methods else answer
            arguments = [object.__new__(answer)] if methods else []
            sentences[e.name] = said(call, *arguments)
            mine = type(e.name, (), dict.fromkeys(methods, blank)) if methods else blank
            mine.__name__ = e.name
            exercise(mine)
            of_blanks[e.name] = said(call, *arguments)
        try:
            import autograder
        except ModuleNotFoundError:
            autograder = None
        print(json.dumps([modules, sentences, of_blanks, cs_vl.__file__, str(autograder)]))
        """,
    )
    modules, sentences, of_blanks, file, autograder = found
    assert Path(file).parent == edition and autograder == "None"
    assert {"cs_vl.cli", "cs_vl.nn.vit", "cs_vl.checks.worker", "cs_vl.data.bpe"} <= set(modules)
    assert list(sentences) == [e.name for e in assignment.exercises]
    for name, sentence in sentences.items():
        assert sentence.startswith(f"{name} is an exercise that is not written yet")
        assert sentence.endswith(".") and "\n" not in sentence
    assert of_blanks == sentences


MODELS = """
import torch
from cs_vl.data.bpe import Tokenizer
from cs_vl.nn import by_hand
from cs_vl.nn.masks import language_model_mask
from cs_vl.nn.text import LanguageModel, TextTransformer
from cs_vl.nn.vit import ViT

torch.manual_seed(0)
vit = ViT(image_size=8, patch_size=4, dim=8, depth=2, heads=2)
seen = vit(torch.randn(2, 3, 8, 8))
language_model = LanguageModel(TextTransformer(
    vocab_size=300, context_length=9, dim=8, depth=2, heads=2, causal=True
))
tokenizer = Tokenizer.train("the red ring above the red ring", vocab_size=270)
ids, lengths = tokenizer.batch(["the red ring", "a ring"])
logits = language_model(ids[:, :9], lengths.clamp(max=9))
x = torch.randn(2, 3, 4, dtype=torch.float64).numpy()
weight = x[0, 0] ** 2
numbers = [
    seen.pooled.sum(), seen.hidden_states[0].square().sum(), logits.square().mean(),
    by_hand.layer_norm(x, weight, weight).sum(), by_hand.layer_norm_backward(x, x, weight)[0].sum(),
    by_hand.attention(x, x, x)[0].sum(), by_hand.attention_backward(x, x, x, x)[1].sum(),
    language_model_mask("prefix", 7, 3).sum(),
]
result = [*(float(torch.as_tensor(x).detach()) for x in numbers), tokenizer.decode(ids[0], skip_specials=True), *ids[1].tolist()]
"""


def typed_in(assignment: Assignment) -> list[str]:
    """All answers as cells; each leaves a trace when it is called."""
    cells = []
    for exercise in assignment.exercises:
        region = find_region(exercise)
        cells += [region.imports, re.sub(BEGIN, f"trace.add({exercise.name!r})", region.source)]
    return cells


def test_the_library_runs_on_the_students_own(edition_of):
    """The results are the full library's."""
    program = f"""
import json
trace = set()
for cell in {typed_in(A1)!r}:
    exec(compile(cell, "<cell>", "exec"), globals())
trace.clear()
exec({MODELS!r}, space := {{"__name__": "elsewhere"}})
print(json.dumps([sorted(trace), space["result"]]))
"""
    trace, theirs = in_edition(edition_of(A1), program)
    assert set(trace) == {e.name for e in A1.exercises}
    exec(MODELS, full := {"__name__": "elsewhere"})
    assert len(theirs) == len(full["result"])
    for a, b in zip(theirs, full["result"], strict=True):
        assert a == (b if isinstance(b, str) else pytest.approx(b, rel=1e-4, abs=1e-5))


@every_assignment
def test_each_name_of_the_library_stands_for_the_students_own(edition_of, assignment):
    """Where the library's own name is called, the student's answer runs and gives what is expected."""
    program = f"""
import json
trace = set()
for cell in {typed_in(assignment)!r}:
    exec(compile(cell, "<cell>", "exec"), globals())
from cs_vl.checks.spec import load_assignment
from cs_vl.checks.visible import judge_here
found = {{}}
assignment = load_assignment({assignment.name!r})
for e in assignment.exercises:
    trace.clear()
    e.stages[0].probe(e.answer, e.draw(e.stages[0], 1)[0])
    found[e.name] = [e.answer.__module__, e.name in trace]
print(json.dumps(found))
"""
    found = in_edition(edition_of(assignment), program)
    assert found == {e.name: [e.module, True] for e in assignment.exercises}


def test_answers_of_earlier_assignments_ship_solved(tmp_path, monkeypatch):
    first, rest = A1.exercises[:2], A1.exercises[2:]
    parts = {
        "first": Assignment(name="first", title="", exercises=first),
        "second": Assignment(name="second", title="", exercises=rest),
    }
    monkeypatch.setattr(editions, "ASSIGNMENTS", tuple(parts))
    monkeypatch.setattr(editions, "load_assignment", parts.__getitem__)
    assert editions.solved_exercises("first") == []
    assert editions.solved_exercises("second") == [e.name for e in first]
    second = editions.build_edition("second", tmp_path)
    stored = json.loads((second / "student_edition.json").read_text())
    assert list(stored["stripped"]) == [e.name for e in rest]
    by_hand = (second / "nn" / "by_hand.py").read_text()
    for exercise in first:
        assert without_marks(find_region(exercise).source) in by_hand
    assert strip(find_region(A1["layer_norm"]).source) in by_hand
    # The first assignment's students see neither answers of the second.
    earlier = editions.build_edition("first", tmp_path)
    stored = json.loads((earlier / "student_edition.json").read_text())
    assert len(stored["stripped"]) == len(A1.exercises)


@pytest.fixture
def some_data(tmp_path, monkeypatch) -> Path:
    """A course of two assignments, each with some data."""
    for name in (
        "a/one.txt",
        "a/LICENSE",
        "a/build.py",
        "a/.cache",
        "a/unfinished/run.json",
        "a/in/two.webp",
        "b/three.txt",
        "c/four.txt",
    ):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.setattr(editions, "DATA_FOLDER", tmp_path / "data")
    monkeypatch.setattr(editions, "DATA", {ASSIGNMENTS[0]: ("a",), ASSIGNMENTS[1]: ("b/three.txt",)})
    return tmp_path


def test_an_edition_gets_the_data_of_its_assignment_and_of_earlier_ones_without_scripts(some_data):
    first = {"a/one.txt", "a/LICENSE", "a/in/two.webp"}
    for name, expected in ((ASSIGNMENTS[0], first), (ASSIGNMENTS[1], {*first, "b/three.txt"})):
        edition = some_data / name
        editions.add_data(name, edition)
        there = {p.relative_to(edition / "_data").as_posix() for p in edition.rglob("*") if p.is_file()}
        assert there == expected
        assert all((edition / "_data" / inside).read_text() == inside for inside in there)


def test_data_that_are_missing_get_a_sentence(some_data):
    shutil.rmtree(some_data / "data" / "b")
    assert editions.data_files(ASSIGNMENTS[0])
    with pytest.raises(FileNotFoundError, match=r"data/b/three.txt of a2_clip is missing: "):
        editions.data_files(ASSIGNMENTS[1])


def test_every_assignment_says_which_data_it_needs():
    assert list(editions.DATA) == list(ASSIGNMENTS)
    assert all(editions.data_files(name) or not editions.DATA[name] for name in ASSIGNMENTS)


# --- notebooks -------------------------------------------------------------------------------------------


@cache
def solved_text(assignment: Assignment) -> str:
    return nbformat.writes(solved_notebook(assignment))


def solved(assignment: Assignment = A1) -> nbformat.NotebookNode:
    return nbformat.reads(solved_text(assignment), as_version=4)


@cache
def student_text(assignment: Assignment) -> str:
    return nbformat.writes(student_notebook(solved(assignment)))


def student(assignment: Assignment = A1) -> nbformat.NotebookNode:
    return nbformat.reads(student_text(assignment), as_version=4)


def graded(notebook: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    return {c.metadata.nbgrader.grade_id: c for c in notebook.cells if "nbgrader" in c.metadata}


@every_assignment
@pytest.mark.parametrize("make", [solved, student])
def test_a_directive_becomes_imports_blank_and_check(make, assignment):
    notebook = make(assignment)
    ids = [c.id for c in notebook.cells]
    for exercise in assignment.exercises:
        at = ids.index(f"imports-{exercise.name}")
        assert ids[at : at + 3] == [f"imports-{exercise.name}", exercise.name, f"check-{exercise.name}"]
        imports, blank, check = notebook.cells[at : at + 3]
        region = find_region(exercise)
        assert imports.source == region.imports
        assert blank.source == (region.source if make is solved else strip(region.source))
        assert check.source.startswith(f'from cs_vl.checks import check\n\ncheck("{exercise.name}")')
        flags = [
            [c.metadata.nbgrader[k] for k in ("grade", "solution", "locked")] for c in (imports, blank, check)
        ]
        assert flags == [[False, False, True], [False, True, False], [True, False, True]]
        assert check.metadata.nbgrader.points == exercise.points
        assert "points" not in blank.metadata.nbgrader
    nbformat.validate(notebook)
    MetadataValidator().validate_nb(notebook)


@every_assignment
def test_a_notebook_is_worth_100_points_10_of_them_by_a_person(assignment):
    cells = graded(student(assignment))
    points = {name: c.metadata.nbgrader.points for name, c in cells.items() if c.metadata.nbgrader.grade}
    written = {name: p for name, p in points.items() if name.startswith("written-")}
    assert sum(points.values()) == 100
    assert sum(written.values()) == 10 and 2 <= len(written) <= 3
    for name in written:
        cell = cells[name]
        assert (
            cell.cell_type == "markdown"
            and cell.metadata.nbgrader.solution
            and not cell.metadata.nbgrader.locked
        )


@every_assignment
def test_the_student_notebook_holds_no_answer_no_output_no_hidden_test(assignment):
    text, notebook = student_text(assignment), student(assignment)
    for word in ("BEGIN", "SOLUTION", "HIDDEN", "autograder", "executed"):
        assert word not in text, word
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None
    with_answers = graded(solved(assignment))
    for exercise in assignment.exercises:
        assert graded(notebook)[exercise.name].source.count("# YOUR CODE HERE") == 1
        assert "check_hidden" in with_answers[f"check-{exercise.name}"].source
    for name, cell in with_answers.items():
        if name.startswith("written-"):
            answer = cell.source.replace(BEGIN, "").replace(END, "").strip()
            assert len(answer) > 100 and answer not in text and json.dumps(answer)[1:-1] not in text
            assert graded(notebook)[name].source == "YOUR ANSWER HERE"


@every_assignment
def test_run_all_goes_on_after_story_cells_only_in_the_student_notebook(assignment):
    def going_on(notebook):
        return [c for c in notebook.cells if "raises-exception" in c.metadata.get("tags", [])]

    first, *rest = student(assignment).cells
    story = [c for c in rest if c.cell_type == "code" and "nbgrader" not in c.metadata]
    assert going_on(student(assignment)) == story and len(story) > 5
    assert going_on(solved(assignment)) == []  # there an error must stop the build
    assert first.metadata["tags"] == ["install"] and "%pip install" in first.source
    assert editions.wheel_name(assignment.name) in first.source


def test_a_rebuild_is_identical(tmp_path, monkeypatch, committed):
    monkeypatch.setattr(notebooks, "ROOT", committed)
    paths = [notebooks.solved_path(A1.name), notebooks.student_path(A1.name)]
    notebooks.build_notebooks(A1.name)
    before = [path.read_bytes() for path in paths]
    notebooks.build_notebooks(A1.name)
    assert [path.read_bytes() for path in paths] == before


@pytest.fixture
def committed(tmp_path) -> Path:
    """A copy of the text notebook in a course folder of its own."""
    path = tmp_path / "solutions" / A1.name / f"{A1.name}.md"
    path.parent.mkdir(parents=True)
    shutil.copyfile(notebooks.source_path(A1.name), path)
    return tmp_path


@pytest.fixture
def story(committed, monkeypatch):
    """Edits the text notebook; returns the solved notebook that it gives."""
    monkeypatch.setattr(notebooks, "ROOT", committed)
    path = notebooks.source_path(A1.name)

    def edit(old: str, new: str) -> nbformat.NotebookNode:
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return solved_notebook(A1)

    return edit


def test_ids_are_unique_and_an_edit_leaves_the_others_alone(story):
    before = [c.id for c in solved().cells]
    assert len(set(before)) == len(before)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", one) for one in before)
    after = [
        c.id for c in story("## 2. Layer norm", "```python\nprint('new')\n```\n\n## 2. Layer norm").cells
    ]
    assert len(after) == len(before) + 1
    assert [one for one in after if one in set(before)] == before
    twice = [
        c.id for c in story("print('new')\n```", "print('new')\n```\n\n```python\nprint('new')\n```").cells
    ]
    assert len(set(twice)) == len(twice) == len(before) + 2


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('exercise="softmax"', 'exercise="sofmax"', "has no exercise 'sofmax'; it has softmax, softmax_backward"),
        ('exercise="softmax"', 'excercise="softmax"', "there is no directive 'excercise'; there is exercise, "),
        ('```python exercise="softmax"\n```', "", "lacks the exercise softmax"),
        ('exercise="softmax_backward"', 'exercise="softmax"', "lacks the exercise softmax_backward"),
        ('```python exercise="ViT"\n```', '```python exercise="ViT"\n```\n\n```python exercise="ViT"\n```', "more than once the exercise ViT"),
        ('exercise="softmax"\n', 'exercise="softmax"\nprint(1)\n', "should be code, and empty"),
        (" points=5", "", "needs points, a number; got None"),
        (" points=5", ' points="five"', "needs points, a number; got 'five'"),
        (f"{BEGIN}\nA score", "A score", "a model answer in marks"),
        ('written="sense_of_place"', 'written="why_the_square_root"', "two cells 'written-why_the_square_root'"),
    ],
)  # fmt: skip
def test_a_wrong_directive_gets_a_sentence(story, old, new, said):
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        story(old, new)
    assert f"{A1.name}.md" in str(caught.value) and "\n" not in str(caught.value)


def test_exercises_in_another_order_are_refused(story):
    encode, decode = '```python exercise="bpe_encode"', '```python exercise="bpe_decode"'
    with pytest.raises(ValueError, match="in the order"):
        story(f"{encode}\n```\n\n{decode}", f"{decode}\n```\n\n{encode}")


def test_outputs_stay_with_unchanged_cells_only(tmp_path):
    def notebook(*sources: str) -> nbformat.NotebookNode:
        cells = [nbformat.v4.new_code_cell(source, id=f"cell-{i}") for i, source in enumerate(sources)]
        return nbformat.v4.new_notebook(cells=cells, metadata={"cs_vl": {}})

    old = notebook("a", "b", "c", "c")
    for i, cell in enumerate(old.cells):
        cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text=str(i))], i + 1
    old.metadata["cs_vl"]["executed"] = "the hash of then"
    nbformat.write(old, tmp_path / "old.ipynb")
    new = keep_outputs(notebook("new", "a", "b, edited", "c", "c"), tmp_path / "old.ipynb")
    assert [[o.text for o in c.outputs] for c in new.cells] == [[], ["0"], [], ["2"], ["3"]]
    assert [c.execution_count for c in new.cells] == [None, 1, None, 3, 4]
    assert new.metadata["cs_vl"]["executed"] == "the hash of then"  # so that drift finds it old
    fresh = keep_outputs(notebook("a"), tmp_path / "none.ipynb")
    assert fresh.cells[0].outputs == [] and "executed" not in fresh.metadata["cs_vl"]


# --- drift -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def references() -> dict:
    return build_visible(A1.name)


def redirect(monkeypatch: pytest.MonkeyPatch, folder: Path, references: dict) -> None:
    """Let the build and drift work in a folder."""
    monkeypatch.setattr(notebooks, "ROOT", folder)
    monkeypatch.setattr(sample_class, "FOLDER", folder / "sample_class")
    monkeypatch.setattr(visible, "reference_path", lambda name: folder / "reference" / name)
    monkeypatch.setattr(drift, "build_visible", lambda name: references)


@pytest.fixture(scope="module")
def current(tmp_path_factory, references) -> Path:
    """A course that is current in all parts."""
    folder = tmp_path_factory.mktemp("current")
    source = folder / notebooks.source_path(A1.name).relative_to(notebooks.ROOT)
    source.parent.mkdir(parents=True)
    shutil.copyfile(notebooks.source_path(A1.name), source)
    with pytest.MonkeyPatch.context() as monkeypatch:
        redirect(monkeypatch, folder, references)
        notebooks.build_notebooks(A1.name)
        sample_class.write_class(A1.name)
        wire.save(visible.reference_path(A1.name), references)
        executed = nbformat.read(notebooks.solved_path(A1.name), as_version=4)
        executed.metadata["cs_vl"]["executed"] = execute.state_hash(executed)
        nbformat.write(executed, notebooks.solved_path(A1.name))
        assert drift.find_drift(A1.name) == []
    return folder


@pytest.fixture
def course(current, references, tmp_path, monkeypatch):
    """A copy of it, where files may be changed."""
    redirect(monkeypatch, tmp_path / "course", references)
    return shutil.copytree(current, tmp_path / "course")


@pytest.mark.slow  # `make drift` does the same
@every_assignment
def test_the_committed_files_are_current(assignment):
    """All but the figures of the solved notebooks: `make drift` asks for those, too."""
    assert [s for s in drift.find_drift(assignment.name) if "make execute" not in s] == []


@every_assignment
def test_the_stored_references_are_small(assignment):
    """They are in the repository and in every zip: a case should show a mistake, not weigh."""
    path = visible.reference_path(assignment.name)
    stored = [path.with_suffix(end).read_bytes() for end in (".json", ".safetensors")]
    if assignment.name in ("a4_vlm", "a5_sam"):  # long lists in words: large here, small in a zip
        assert sum(len(zlib.compress(part)) for part in stored) < 2.5 * 2**20
    else:
        assert sum(map(len, stored)) < 3 * 2**20


def edited(path: Path, change) -> None:
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    nbformat.write(notebook, path)


@pytest.mark.parametrize("path_of", [notebooks.solved_path, notebooks.student_path])
@pytest.mark.parametrize(
    "change",
    [
        lambda nb: nb.cells[1].update(source=nb.cells[1].source + " "),
        lambda nb: nb.cells.pop(3),
        lambda nb: nb.cells.append(nbformat.v4.new_markdown_cell("more")),
        lambda nb: graded(nb)["check-softmax"].metadata.nbgrader.update(points=50),
        lambda nb: nb.cells[0].metadata.update(tags=[]),
        lambda nb: nb.metadata.cs_vl.update(version="0"),
    ],
    ids=["source", "cell gone", "cell more", "points", "tags", "notebook metadata"],
)
def test_a_changed_notebook_is_found(course, monkeypatch, path_of, change):
    monkeypatch.setattr(sample_class, "CLASSES", {})  # it would change, too
    edited(path_of(A1.name), change)
    found = [s for s in drift.find_drift(A1.name) if "make execute" not in s]
    assert len(found) == 1 and "/".join(path_of(A1.name).parts[-3:]) in found[0] and "make build" in found[0]


def test_outputs_are_no_drift(course):
    def draw(notebook):
        notebook.cells[0].outputs = [nbformat.v4.new_output("stream", text="a figure")]

    edited(notebooks.solved_path(A1.name), draw)
    assert drift.find_drift(A1.name) == []


def test_missing_files_are_found(course):
    for path in (notebooks.solved_path(A1.name), notebooks.student_path(A1.name)):
        path.unlink()
    visible.reference_path(A1.name).with_suffix(".safetensors").unlink()
    found = drift.find_drift(A1.name)
    assert len(found) == 3 and all("make build" in sentence for sentence in found)


def test_a_changed_sample_class_is_found(course):
    path = sample_class.FOLDER / "submitted" / "ada" / A1.name / f"{A1.name}.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("softmax", "sofmax", 1), encoding="utf-8")
    assert drift.find_drift(A1.name) == [
        "the sample class's ada is not what its source gives: run `make build`"
    ]


def test_changed_references_are_found_and_noise_is_not(course, references):
    def shaken(tree, noise):
        if isinstance(tree, dict):
            return {key: shaken(value, noise) for key, value in tree.items()}
        if isinstance(tree, list | tuple):
            return type(tree)(shaken(x, noise) for x in tree)
        if isinstance(tree, float):
            return tree * (1 + noise)
        if isinstance(tree, torch.Tensor) and tree.is_floating_point():
            return tree * (1 + noise)
        if isinstance(tree, np.ndarray) and tree.dtype.kind == "f":
            return tree * (1 + noise)
        return tree

    for noise, sentences in ((1e-6, 0), (0.1, 1)):
        wire.save(visible.reference_path(A1.name), shaken(references, noise))
        assert len(drift.find_drift(A1.name)) == sentences, noise
    other = {**references, "softmax": {**references["softmax"], "sentences": {"x": "Another sentence."}}}
    wire.save(visible.reference_path(A1.name), other)
    assert drift.find_drift(A1.name) == [
        f"the stored references of {A1.name} are not what the answers give: run `make build`"
    ]


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 1e-5]), True),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.1]), False),
        (torch.tensor([1.0, 2.0]), torch.tensor([[1.0, 2.0]]), False),
        (torch.tensor([1, 2]), torch.tensor([1, 3]), False),
        (torch.tensor([True]), torch.tensor([1]), False),
        (torch.tensor([float("nan")]), torch.tensor([float("nan")]), True),
        (torch.tensor([float("nan")]), torch.tensor([0.0]), False),
        (torch.tensor([1.0]), torch.tensor([float("inf")]), False),
        (0.1 + 0.2, 0.3, True),
        (float("inf"), float("inf"), True),
        (0.3, 0.31, False),
        ({"x": [1, (2, "a")]}, {"x": [1, (2, "a")]}, True),
        ({"x": [1, (2, "a")]}, {"x": [1, (2, "b")]}, False),
        ({"x": 1}, {"x": 1, "y": 2}, False),
        ({"x": 1}, {"y": 1}, False),
        ([1, 2], [1], False),
        (None, None, True),
        (None, 0, False),
    ],
)
def test_alike(a, b, same):
    assert drift.alike(a, b) == drift.alike(b, a) == same


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library of two files and data of one file, in place of the course's; and the hash of a notebook."""
    module, data = tmp_path / "library" / "cs_vl" / "nn.py", tmp_path / "data" / "numbers" / "one.json"
    for path in (module, data):
        path.parent.mkdir(parents=True)
    monkeypatch.setattr(cs_vl, "__file__", str(module.with_name("__init__.py")))
    monkeypatch.setattr(editions, "DATA_FOLDER", tmp_path / "data")
    monkeypatch.setattr(execute, "DATA_FOLDER", tmp_path / "data")
    monkeypatch.setattr(editions, "DATA", {A1.name: ("numbers",), ASSIGNMENTS[1]: ("more",)})
    module.write_text('"""A file."""\n\ndef f(x):\n    """Twice."""\n    return 2 * x\n')
    module.with_name("other.py").write_text("x = 1\n")
    data.write_text("[1]")

    def hash_of(source: str = "from cs_vl.nn import f\n%time f(1)") -> str:
        cells = [nbformat.v4.new_markdown_cell("story"), nbformat.v4.new_code_cell(source)]
        return execute.state_hash(
            nbformat.v4.new_notebook(cells=cells, metadata={"cs_vl": {"assignment": A1.name}})
        )

    return module, data, hash_of


def test_the_hash_changes_with_code_cells_and_data(library):
    module, data, hash_of = library
    hashes = [hash_of(), hash_of("from cs_vl.nn import f\nf(2)"), hash_of("f(2)")]
    module.write_text("def f(x):\n    return 3 * x\n")
    hashes.append(hash_of())
    module.write_text("def f(x):\n    from cs_vl import other\n    return 3 * x\n")
    hashes.append(hash_of())
    module.with_name("other.py").write_text("x = 2\n")  # reached by way of the first
    hashes.append(hash_of())
    module.rename(module.with_name("third.py"))
    hashes.append(hash_of())
    data.write_text("[2]")
    hashes.append(hash_of())
    data.rename(data.with_name("two.json"))
    hashes.append(hash_of())
    assert len(set(hashes)) == len(hashes)


def test_the_hash_does_not_change_with_words_and_layout(library):
    module, data, hash_of = library
    before = hash_of()
    module.write_text(
        '"""Another."""\n\n# why\ndef f(x):\n    """Two times x."""\n\n    return (2\n        * x)  # so\n'
    )
    (data.parent / "README.md").write_text("where the numbers come from")
    assert hash_of() == before


def test_the_hash_does_not_change_with_what_the_notebook_cannot_use(library):
    module, data, hash_of = library
    before = hash_of()
    module.with_name("other.py").write_text("x = 3\n")
    (data.parents[1] / "more").mkdir()
    (data.parents[1] / "more" / "of_the_next_assignment.json").write_text("[3]")
    (data.parent / "build.py").write_text("[1]")
    assert hash_of() == before


@every_assignment
def test_the_hash_covers_all_modules_of_the_library_that_the_notebook_loads(assignment):
    sources = [c.source for c in solved(assignment).cells if c.cell_type == "code" and "%pip" not in c.source]
    imports = [
        ast.unparse(node)
        for source in sources
        for node in ast.walk(parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom) and "autograder" not in ast.unparse(node)
    ]
    program = "\n".join(
        [
            *dict.fromkeys(imports),
            f"import json, sys, cs_vl.checks.{assignment.name}",
            "print(json.dumps([name for name in sys.modules if name.split('.')[0] == 'cs_vl']))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    loaded = set(json.loads(done.stdout)) if done.returncode == 0 else done.stderr
    reached = set(execute.import_closure([*sources, f"import cs_vl.checks.{assignment.name}"]))
    assert loaded <= reached
    later = ASSIGNMENTS[ASSIGNMENTS.index(assignment.name) + 1 :]
    assert reached.isdisjoint({"cs_vl.cli", *(f"cs_vl.checks.{name}" for name in later)})


def test_an_old_hash_is_found(course):
    def age(notebook):
        notebook.metadata["cs_vl"]["executed"] = "0123456789abcdef"

    edited(notebooks.solved_path(A1.name), age)
    assert drift.find_drift(A1.name) == [
        f"the solved notebook of {A1.name} was executed with other code: run `make execute`"
    ]


def test_execute_keeps_figures_and_the_hash(committed, monkeypatch):
    """On a notebook of two cells, with a real kernel."""
    monkeypatch.setattr(notebooks, "ROOT", committed)
    path = notebooks.solved_path(A1.name)
    cells = [nbformat.v4.new_code_cell("x = 20", id="one"), nbformat.v4.new_code_cell("x + 22", id="two")]
    metadata = {"cs_vl": {"assignment": A1.name}}
    notebooks.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    execute.execute(A1.name)
    done = nbformat.read(path, as_version=4)
    assert done.cells[1].outputs[0].data["text/plain"] == "42"
    assert done.metadata["cs_vl"]["executed"] == execute.state_hash(done)
    assert all("execution" not in c.metadata for c in done.cells)
    edited(path, lambda nb: nb.cells[0].update(source="x = 1 / 0"))
    with pytest.raises(Exception, match="ZeroDivisionError"):
        execute.execute(A1.name)
