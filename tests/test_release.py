"""The zip for students: what is in it, what is not, and that it works where nothing else of the course is."""

import email
import html
import json
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nbformat
import pytest
from pygments import highlight
from pygments.formatters import HtmlFormatter, TerminalFormatter
from pygments.lexers import PythonLexer

from autograder import leaks, release
from autograder.build.edition import (
    DATA_FOLDER,
    LIBRARY,
    STAND_INS,
    data_files,
    edition_version,
    solved_exercises,
    stripped_regions,
    wheel_name,
)
from autograder.build.notebooks import solved_path, source_path, student_path
from autograder.build.regions import BEGIN, END, find_region, without_marks
from autograder.build.sample_class import answers, fill
from autograder.known import load_known
from autograder.leaks import Leak, find_leaks, haystack, normalise, secret_statements
from cs_vl.checks.spec import ASSIGNMENTS, Assignment, find_exercise, load_assignment
from tests.assignments import FIRST_AND_LAST

A1 = load_assignment("a1_transformer")
WHEEL = wheel_name(A1.name)
LARGEST = {"a1_transformer": 8, "a2_clip": 40, "a4_vlm": 80, "a5_sam": 90}  # MB of a zip


@pytest.fixture(scope="module")
def archive_of(tmp_path_factory) -> Callable[[Assignment], Path]:
    @cache
    def make(assignment: Assignment) -> Path:
        return release.release(assignment, tmp_path_factory.mktemp("out"))

    return make


@pytest.fixture(scope="module", params=FIRST_AND_LAST)
def assignment(request) -> Assignment:
    return load_assignment(request.param)


@pytest.fixture(scope="module")
def wheel(assignment) -> str:
    return wheel_name(assignment.name)


@pytest.fixture(scope="module")
def archive(archive_of, assignment) -> Path:
    return archive_of(assignment)


@pytest.fixture(scope="module")
def unpacked(archive, assignment, tmp_path_factory) -> Path:
    """The zip's folder, as a student has it."""
    folder = tmp_path_factory.mktemp("student")
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    return folder / assignment.name


# --- what is in it ---------------------------------------------------------------------------------------


def test_the_zip_holds_notebook_wheel_and_readme(archive, unpacked, assignment, wheel):
    name = assignment.name
    with zipfile.ZipFile(archive) as file:
        entries = {entry.filename: entry for entry in file.infolist()}
    assert set(entries) == {f"{name}/{inside}" for inside in (f"{name}.ipynb", wheel, "README.md")}
    for entry in entries.values():
        assert (
            entry.external_attr >> 16 == 0o644
        )  # a zip without modes unpacks into files that nobody may read
        assert entry.compress_type == zipfile.ZIP_DEFLATED
    assert (unpacked / f"{name}.ipynb").read_bytes() == student_path(name).read_bytes()
    install = nbformat.read(unpacked / f"{name}.ipynb", as_version=4).cells[0]
    assert wheel in install.source
    assert archive.stat().st_size < LARGEST[name] * 2**20


def test_the_readme_names_what_is_there(unpacked, assignment, wheel):
    text = (unpacked / "README.md").read_text()
    for name in (
        assignment.title,
        f"{assignment.name}.ipynb",
        wheel,
        "cs-vl check",
        "Windows",
        "VS Code",
        "Colab",
    ):
        assert name in text, name
    assert "{" not in text
    assert ("licence" in text) == bool(data_files(assignment.name))


@pytest.fixture(scope="module")
def files(unpacked, wheel) -> dict[str, bytes]:
    """What is in the wheel."""
    with zipfile.ZipFile(unpacked / wheel) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_the_wheel_holds_the_student_edition_alone(files, assignment):
    information = f"cs_vl-{edition_version(assignment.name)}.dist-info"
    assert {name.split("/")[0] for name in files} == {"cs_vl", information}
    assert not [name for name in files if name.endswith((".pyc", ".pyo", ".so"))]
    library = {str(p.relative_to(LIBRARY.parent)) for p in LIBRARY.rglob("*") if p.is_file()}
    library = {name for name in library if "__pycache__" not in name and not name.endswith(STAND_INS)}
    data = {f"cs_vl/_data/{p.relative_to(DATA_FOLDER).as_posix()}": p for p in data_files(assignment.name)}
    assert {name for name in files if name.startswith("cs_vl/")} == {
        *library,
        *data,
        "cs_vl/student_edition.json",
    }
    assert all(files[name] == path.read_bytes() for name, path in data.items())
    assert not [name for name in data if name.endswith(".py")]
    edition = json.loads(files["cs_vl/student_edition.json"])
    assert edition["assignment"] == assignment.name
    assert list(edition["stripped"]) == [r.exercise.name for r in stripped_regions(assignment.name)]
    assert f"{information}/licenses/LICENSE" in files


def test_data_come_with_their_licences(files, assignment):
    """In each folder that holds pictures, numbers or texts, or above it, somebody says whose they are."""
    names = [Path(name) for name in files if name.startswith("cs_vl/_data/")]
    told = {p.parent for p in names if re.match("(?i)licen[cs]e|copying|readme|notice|attribution", p.name)}
    assert {p for p in names if told.isdisjoint(p.parents)} == set()


def test_answers_of_earlier_assignments_ship_solved(files, assignment):
    for name in ASSIGNMENTS:
        for exercise in load_assignment(name).exercises:
            text = files[exercise.module.replace(".", "/") + ".py"].decode()
            solved = without_marks(find_region(exercise).source) in text
            assert solved == (exercise.name in solved_exercises(assignment.name)), exercise.name


def test_the_wheels_metadata_asks_for_what_a_student_needs(files, assignment):
    version = edition_version(assignment.name)
    metadata = email.message_from_bytes(files[f"cs_vl-{version}.dist-info/METADATA"])
    assert (metadata["Name"], metadata["Version"]) == ("cs-vl", version)
    assert metadata["Requires-Python"] == ">=3.11"
    needed = [r.split(";")[0].lower() for r in metadata.get_all("Requires-Dist")]
    assert any(r.startswith("torch") for r in needed)
    for word in ("nbgrader", "build", "setuptools", "pytest", "transformers", "hypothesis"):
        assert not [r for r in needed if r.startswith(word)]
    assert set(metadata.get_all("Provides-Extra")) == {"lab", "watch"}
    assert b"cs-vl = cs_vl.cli:main" in files[f"cs_vl-{version}.dist-info/entry_points.txt"]
    assert b"autograder" not in files[f"cs_vl-{version}.dist-info/entry_points.txt"]


def test_the_same_sources_give_the_same_zip(archive, assignment, tmp_path):
    assert release.release(assignment, tmp_path).read_bytes() == archive.read_bytes()


def test_a_notebook_that_is_not_built_gets_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "student_path", lambda name: tmp_path / f"{name}.ipynb")
    with pytest.raises(
        FileNotFoundError, match=r"a1_transformer\.ipynb is not built: run `make build` first"
    ):
        release.release(A1, tmp_path)


def test_a_wheel_that_cannot_be_built_gets_a_sentence(tmp_path, monkeypatch):
    project = release._student_project(A1.name).replace('version = "', 'version = "not one ')
    monkeypatch.setattr(release, "_student_project", lambda name: project)
    with pytest.raises(OSError, match=r"the wheel of the student edition can't be built: .+"):
        release.build_wheel(A1.name, tmp_path)


# --- it works where nothing else of the course is ---------------------------------------------------------


@pytest.fixture(scope="module")
def python(unpacked, wheel, tmp_path_factory) -> Path:
    """A fresh environment with the wheel in it, and this one's packages, so that nothing is downloaded."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    base = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=base))
    with zipfile.ZipFile(unpacked / wheel) as file:
        file.extractall(packages)
    (packages / "borrowed.pth").write_text(
        f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n"
    )
    return Path(sysconfig.get_path("scripts", "venv", vars=base)) / "python"


def run(python: Path, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run([python, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300)


def test_with_blanks_every_cell_but_the_story_runs_and_each_check_says_one_sentence(
    python, unpacked, assignment
):
    """As the kernel does it: one cell after the other in `__main__`."""
    notebook = nbformat.read(unpacked / f"{assignment.name}.ipynb", as_version=4)
    cells = [c.source for c in notebook.cells if c.cell_type == "code" and "nbgrader" in c.metadata]
    assert len(cells) == 3 * len(assignment.exercises)
    program = f"""
import cs_vl
assert {str(python.parents[1])!r} in cs_vl.__file__
for cell in {cells!r}:
    exec(compile(cell, "<cell>", "exec"), globals())
"""
    done = run(python, "-c", program, cwd=unpacked)
    assert (done.returncode, done.stderr) == (0, "")
    said = re.findall(r"(?m)^○ (\w+): 0 of .* points\n  (.*)$", done.stdout)
    assert said == [(e.name, f"{e.name} is not written yet.") for e in assignment.exercises]
    assert done.stdout.count("\n") == 2 * len(said)


def test_cs_vl_check_with_blanks(python, unpacked, assignment):
    done = run(python, "-m", "cs_vl.cli", "check", f"{assignment.name}.ipynb", cwd=unpacked)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("is not written yet.") == len(assignment.exercises)
    assert f"0 of {len(assignment.exercises)} exercises pass: 0 of 90 points" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "note:" not in done.stdout


def test_cs_vl_check_with_the_answers(python, unpacked, assignment):
    name, all_ = assignment.name, len(assignment.exercises)
    blank = nbformat.read(unpacked / f"{name}.ipynb", as_version=4)
    nbformat.write(fill(blank, answers(assignment)), unpacked / f"{name}_mine.ipynb")
    done = run(python, "-m", "cs_vl.cli", "check", f"{name}_mine.ipynb", cwd=unpacked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{all_} of {all_} exercises pass: 90 of 90 points" in done.stdout


def test_an_earlier_edition_is_noticed(python, unpacked, assignment):
    """With the wheel of an assignment installed, the notebook of the next one says what to do."""
    index = ASSIGNMENTS.index(assignment.name)
    for later in ASSIGNMENTS[index + 1 : index + 2]:
        shutil.copyfile(student_path(later), unpacked / f"{later}.ipynb")
        done = run(python, "-m", "cs_vl.cli", "check", f"{later}.ipynb", cwd=unpacked)
        assert (
            f"installed here is the one of {assignment.name}: install the wheel that came with {later}"
            in (done.stdout)
        )


def test_data_are_found_where_the_wheel_is_installed(python, unpacked, assignment):
    """And nowhere else: no repository, no network."""
    for path in data_files(assignment.name)[:50]:
        name = path.relative_to(DATA_FOLDER).as_posix()
        program = f"from cs_vl.data.files import data_file; print(data_file({name!r}))"
        done = run(python, "-c", program, cwd=unpacked)
        assert Path(done.stdout.strip()).is_relative_to(python.parents[1]), done.stderr
        break


def test_only_student_commands_are_there(python, unpacked):
    assert run(python, "-c", "import autograder", cwd=unpacked).returncode == 1
    # The borrowed packages know of the full course's commands; the wheel's own metadata goes before them.
    helped = run(python, "-m", "cs_vl.cli", "--help", cwd=unpacked)
    assert helped.returncode == 0 and "check" in helped.stdout and "release" not in helped.stdout


@pytest.fixture(scope="module")
def with_pip(tmp_path_factory) -> Path:
    """A fresh environment with pip and IPython, but no cs_vl."""
    environment = tmp_path_factory.mktemp("with_pip")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    base = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=base))
    borrowed = tmp_path_factory.mktemp("borrowed")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "cs_vl" not in path.name and path.suffix != ".pth":
            (borrowed / path.name).symlink_to(path)
    (packages / "borrowed.pth").write_text(f"{borrowed}\n")
    return Path(sysconfig.get_path("scripts", "venv", vars=base)) / "python"


def test_pip_puts_one_edition_in_the_place_of_another_and_the_first_cell_asks_it_to(
    archive_of, with_pip, tmp_path
):
    """As a student goes from assignment to assignment, and back, in one environment; without a network."""
    pip = """
import subprocess, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
def install(line):
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", *line.split()[1:]]
    subprocess.run(command, check=True)
shell.register_magic_function(install, magic_name="pip")
"""
    state = "import cs_vl, cs_vl.exercise as e; print(cs_vl.__version__, e.EDITION_OF, len(e.EDITION))"
    for name in (ASSIGNMENTS[0], ASSIGNMENTS[-1], ASSIGNMENTS[0]):
        with zipfile.ZipFile(archive_of(load_assignment(name))) as file:
            file.extractall(tmp_path)
        folder = tmp_path / name
        cell = nbformat.read(folder / f"{name}.ipynb", as_version=4).cells[0].source
        aside = (folder / wheel_name(name)).rename(tmp_path / "aside")
        done = run(with_pip, "-c", f"{pip}\nshell.run_cell({cell!r})", cwd=folder)
        assert f"put {wheel_name(name)} beside this notebook" in done.stdout, done
        aside.rename(folder / wheel_name(name))
        for said in ("Successfully installed|^$", "^$"):  # the second time there is nothing to do
            done = run(with_pip, "-c", f"{pip}\nshell.run_cell({cell!r})", cwd=folder)
            assert done.returncode == 0 and re.search(said, done.stdout), done
        done = run(with_pip, "-c", state, cwd=tmp_path)
        stripped = len(stripped_regions(name))
        assert done.stdout.split() == [edition_version(name), name, str(stripped)], done
    assert not list(with_pip.parents[1].rglob("autograder"))
    assert "cs_vl.cli" in with_pip.with_name("cs-vl").read_text()


# --- leaks -----------------------------------------------------------------------------------------------

STATEMENT = "scores = q @ k.mT / math.sqrt(q.shape[-1])"
LOOP = "known = [pair for pair in pairwise(ids) if pair in new_ids]"
SECRETS = {
    "statement": STATEMENT,
    "alternative": "return np.exp(x - np.logaddexp.reduce(x, axis=axis, keepdims=True))",
    "head of a loop": "for new_id in range(256, 256 + merges):",
    "value under another name": "hidden = y * (grad_y - (grad_y * y).sum(axis=axis, keepdims=True))",
    "quotes": 'masks = {"masked": everything, "causal": everything.tril(), "prefix": everything.tril()}',
    "prose": "A softmax of large scores is close to one-hot: nearly all weight falls on one key.",
}
LAYOUTS = {
    "without white space": "scores=q@k.mT/math.sqrt(q.shape[-1])",
    "with more": "scores  =  q  @  k.mT\t/ math.sqrt( q.shape[ -1 ] )",
    "in lines": "scores = (\n    q\n    @ k.mT\n    / math.sqrt(\n        q.shape[-1],\n    )\n)",
    "in lines with comments": "scores = (\n    q @ k.mT  # alike?\n    # by the root\n    / math.sqrt(q.shape[-1])\n)",
    "continued": "scores = q @ k.mT \\\n    / math.sqrt(q.shape[-1])",
    "more parentheses": "scores = (q @ (k.mT)) / (math.sqrt(q.shape[-1]))",
    "on one line with others": "import math; scores = q @ k.mT / math.sqrt(q.shape[-1]); print(scores)",
    "at another depth": "if True:\n            if True:\n                scores = q @ k.mT / math.sqrt(q.shape[-1])",
    "single quotes": "masks = {'masked': everything, 'causal': everything.tril(), 'prefix': everything.tril(),}",
    "Windows": "x = 1\r\nscores = q @ k.mT / \\\r\n    math.sqrt(q.shape[-1])\r\n",
}


def notebook_with(**cell) -> bytes:
    source = {
        "cell_type": "code",
        "metadata": {},
        "source": [],
        "outputs": [],
        "execution_count": None,
        **cell,
    }
    return json.dumps({"cells": [source], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def output(kind: str, **content) -> bytes:
    return notebook_with(outputs=[{"output_type": kind, **content}])


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


TRACEBACK = (
    "Cell In[7], line 3\n      1 def f(q, k):\n      2     # alike?\n"
    "----> 3     scores = (q @ k.mT\n      4         / math.sqrt(q.shape[-1]))\n      5     return scores\n"
)
PROMPT = ">>> scores = (q @ k.mT\n...     / math.sqrt(q.shape[-1]))\n"
COLOURS = highlight(STATEMENT, PythonLexer(), TerminalFormatter())
MARKUP = highlight(STATEMENT, PythonLexer(), HtmlFormatter())
# {file in the zip: its data}: an answer stands in each.
PLACES = {
    **{f"secret/{name}.py": f"def f():\n    {text}\n".encode() for name, text in SECRETS.items() if name != "prose"},
    "secret/prose.md": SECRETS["prose"].encode(),
    **{f"layout/{name}.py": text.encode() for name, text in LAYOUTS.items()},
    **{f"layout/{name}.txt": text.encode() for name, text in LAYOUTS.items()},
    **{f"layout/{name}.ipynb": notebook_with(source=lines(text)) for name, text in LAYOUTS.items()},
    "place/commented out.py": f"def f(q, k):\n    # {STATEMENT}\n    return q\n".encode(),
    "place/commented out in lines.py": b"# scores = (q @ k.mT\n#     / math.sqrt(q.shape[-1]))\n",
    "place/docstring.py": f'"""For example:\n\n    {STATEMENT}\n"""\n'.encode(),
    "place/string.py": f"HINT = {STATEMENT!r}\n".encode(),
    "place/picture.webp": b"RIFF\0\0\x01\0WEBP" + bytes(range(256)) + STATEMENT.encode() + b"\xff\0",
    "place/wide.safetensors": bytes(8) + STATEMENT.encode("utf-16-le"),
    "place/not python.py": f"def f(:\n    {STATEMENT}\n".encode(),
    "place/README.md": f"# Hints\n\n```python\n{STATEMENT}\n```\n".encode(),
    "place/quoted.md": b"> scores = (q @ k.mT\n>     / math.sqrt(q.shape[-1]))\n",
    "place/prompt.md": PROMPT.encode(),
    "place/numbered.txt": b"12  scores = (q @ k.mT\n13      / math.sqrt(q.shape[-1]))\n",
    "place/utf16.txt": STATEMENT.encode("utf-16"),
    "place/page.html": f"<pre>{html.escape(STATEMENT)}</pre>".encode(),
    "place/coloured.html": MARKUP.encode(),
    "place/data.json": json.dumps({"a": [{"b": STATEMENT}]}).encode(),
    "place/key.json": json.dumps({STATEMENT: 1}).encode(),
    "place/lines.json": json.dumps(["import math\n", "scores = q @ k.mT", " / math.sqrt(q.shape[-1])"]).encode(),
    "place/broken.json": b'{"a": "' + STATEMENT.encode() + b'", ',
    "place/METADATA": f"Name: cs-vl\nSummary: {STATEMENT}\n".encode(),
    "place/cell.ipynb": notebook_with(source=STATEMENT),
    "place/markdown.ipynb": notebook_with(cell_type="markdown", source=f"Try `{STATEMENT}`."),
    "place/metadata.ipynb": notebook_with(metadata={"hint": STATEMENT}),
    "place/stream.ipynb": output("stream", name="stdout", text=lines(f"a\n{STATEMENT}\nb\n")),
    "place/result.ipynb": output("execute_result", data={"text/plain": [repr(STATEMENT)]}, metadata={}),
    "place/coloured.ipynb": output("stream", name="stderr", text=COLOURS),
    "place/markup.ipynb": output("display_data", data={"text/html": MARKUP}, metadata={}),
    "place/traceback.ipynb": output("error", ename="E", evalue="", traceback=lines(TRACEBACK)),
}  # fmt: skip
MARKED = {
    "marks/marks.py": f"def f():\n    {BEGIN}\n    pass\n    {END}\n".encode(),
    "marks/hidden.ipynb": notebook_with(source="### BEGIN HIDDEN TESTS\npass\n### END HIDDEN TESTS"),
    "marks/ta.ipynb": notebook_with(
        source='from autograder.hidden import check_hidden\ncheck_hidden("softmax")'
    ),
}
INNOCENT = {
    "innocent/module.py": b"import torch\n\n\ndef f(self, x):\n    for block in self.blocks:\n        x = block(x)\n    return x\n",
    "innocent/words.md": b"Scores are divided by the square root of d_k; masks say who may look at whom.\n",
    "innocent/notebook.ipynb": student_path(A1.name).read_bytes(),
    "innocent/numbers.json": json.dumps(
        {"softmax": {"x": [1.0, 2.0], "sentence": "Divide by the sum."}}
    ).encode(),
}


@pytest.fixture(scope="module")
def found(archive_of, tmp_path_factory) -> dict[str, list[Leak]]:
    """What is found in a zip with all of that in it, by file."""
    folder = tmp_path_factory.mktemp("planted")
    with zipfile.ZipFile(archive_of(A1)) as original:
        wheel = original.read(f"{A1.name}/{WHEEL}")
    (folder / WHEEL).write_bytes(wheel)
    with zipfile.ZipFile(
        folder / WHEEL, "a"
    ) as file:  # inside the wheel: another module; an answer not stripped
        file.writestr("cs_vl/nn/helpers.py", f"def helper(q, k):\n    {STATEMENT}\n    return scores\n")
        file.writestr("cs_vl/nn/not_stripped.py", (LIBRARY / "nn" / "masks.py").read_bytes())
    (folder / "compiled.py").write_text("x = 1\n")
    compiled = py_compile.compile(str(folder / "compiled.py"), str(folder / "compiled.pyc"))
    bare = {
        "opaque/module.pyc": Path(compiled).read_bytes(),
        "opaque/renamed.dat": Path(compiled).read_bytes(),
    }
    stand_ins = LIBRARY / "checks" / A1.name / STAND_INS
    bare["stand-ins/as they are/stand_ins.py"] = stand_ins.read_bytes()
    bare["stand-ins/in another file.py"] = stand_ins.read_bytes()
    bare["stand-ins/of an earlier assignment/stand_ins.py"] = b""
    bare["opaque/data.gz"] = b"\x1f\x8b" + bytes(20)
    inner = folder / "inner.zip"
    with zipfile.ZipFile(inner, "w") as file:
        file.writestr("deep/module.py", STATEMENT)
    path = folder / "planted.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, data in {**PLACES, **MARKED, **INNOCENT, **bare}.items():
            file.writestr(name, data)
        file.write(folder / WHEEL, WHEEL)
        file.writestr("opaque/inner.dat", inner.read_bytes())
        file.writestr("solved.ipynb", solved_path(A1.name).read_bytes())
    by_file: dict[str, list[Leak]] = {}
    for leak in find_leaks(path, A1):
        by_file.setdefault(leak.file.removeprefix("planted.zip/"), []).append(leak)
    return by_file


def test_the_released_zip_holds_no_answer(archive, assignment):
    assert find_leaks(archive, assignment) == []


@pytest.mark.parametrize("place", PLACES)
def test_a_planted_answer_is_found(found, place):
    assert place in found


@pytest.mark.parametrize(
    "place",
    [*MARKED, "opaque/module.pyc", "opaque/renamed.dat", "opaque/data.gz", "opaque/inner.dat/deep/module.py"],
)
def test_marks_and_what_cannot_be_read_are_found(found, place):
    assert place in found


def test_answers_in_the_wheel_and_a_solved_notebook_are_found(found):
    assert "scaled_dot_product_attention" in {leak.exercise for leak in found[f"{WHEEL}/cs_vl/nn/helpers.py"]}
    assert {leak.exercise for leak in found[f"{WHEEL}/cs_vl/nn/not_stripped.py"]} >= {
        "attention_mask",
        "language_model_mask",
    }
    assert {leak.exercise for leak in found["solved.ipynb"]} >= {
        *(e.name for e in A1.exercises),
        "a written answer",
    }


def test_stand_ins_are_found(found):
    by_statement = [leak.statement for leak in found["stand-ins/in another file.py"]]
    assert "returntorch.softmaxtensorxaxis.numpy" in by_statement
    named = "stand-ins are answers: they are for grading alone"
    for name in ("as they are", "of an earlier assignment"):
        assert named in {leak.statement for leak in found[f"stand-ins/{name}/{STAND_INS}"]}


def test_nothing_innocent_is_found(found):
    planted = {*PLACES, *MARKED, "solved.ipynb"}
    assert [
        name
        for name in found
        if name not in planted and not name.startswith(("opaque/", "stand-ins/", WHEEL))
    ] == []
    assert {name for name in found if name.startswith(WHEEL)} == {
        f"{WHEEL}/cs_vl/nn/{n}.py" for n in ("helpers", "not_stripped")
    }


@pytest.mark.parametrize("name", FIRST_AND_LAST)
def test_every_exercise_and_alternative_has_secrets(name):
    secrets = secret_statements(load_assignment(name))
    by_exercise: dict[str, list[str]] = {}
    for statement, owner in secrets.items():
        by_exercise.setdefault(owner, []).append(statement)
    stripped = [region.exercise for region in stripped_regions(name)]
    assert set(by_exercise) == {*(e.name for e in stripped), "a written answer", "a stand-in"}
    for exercise in stripped:
        region = haystack("region.py", find_region(exercise).source.encode())
        assert [s for s in by_exercise[exercise.name] if s in region], exercise.name
        home, _ = find_exercise(exercise.name)
        for known, alternative in load_known(home.name)[exercise.name].alternatives.items():
            text = text_of(str(sys.modules[alternative.__module__].__file__))
            assert any(s in text for s in secrets), known


@cache
def text_of(file: str) -> str:
    return haystack(file, Path(file).read_bytes())


@pytest.mark.slow
def test_idioms_of_the_given_parts_are_no_secret_but_longer_statements_are(archive_of, monkeypatch):
    secrets = secret_statements(A1)
    assert (
        normalise("for block in self.blocks:") not in secrets
    )  # also in the text transformer, which is given
    listed = {normalise(statement) for statement in leaks.GIVEN}
    assert not listed & secrets.keys()
    monkeypatch.setattr(leaks, "GIVEN", ())
    every = [load_assignment(name) for name in ASSIGNMENTS]
    assert {leak.statement for a in every for leak in find_leaks(archive_of(a), a)} == listed


@pytest.mark.slow
def test_what_is_given_does_not_depend_on_what_was_built(monkeypatch):
    """A build that leaves answers in must not make them look given."""
    import autograder.build.edition as editions

    before = secret_statements(A1)
    monkeypatch.setattr(editions, "strip", lambda source: source)
    assert secret_statements(A1) == before
    text = source_path(A1.name).read_text(encoding="utf-8")
    assert SECRETS["prose"] in text  # the model answers stand in the story's own file


@pytest.mark.parametrize(("a", "b"), [(STATEMENT, text) for text in LAYOUTS.values() if "scores" in text])
def test_normalise_and_haystack_see_through_layout(a, b):
    assert normalise(a) in haystack("x.py", b.encode())
    assert normalise(a) in haystack("x.txt", b.encode())


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("x = a - b", "x = a + b"),
        ("x[0]", "x0"),
        ("x = q @ k", "x = q * k"),
        ("axis=-1", "axis=1"),
        ("a.b", "ab"),
    ],
)
def test_normalise_keeps_what_matters(a, b):
    assert normalise(a) != normalise(b)
