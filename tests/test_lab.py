"""`make lab`: the student editions in a work folder, each with a kernel and a command of its own."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

from autograder import lab
from autograder.build.edition import (
    DATA_FOLDER,
    STAND_INS,
    data_files,
    edition_version,
    stripped_regions,
)
from autograder.build.notebooks import student_path
from autograder.leaks import haystack, secret_statements
from cs_vl.checks.spec import ASSIGNMENTS, load_assignment
from tests.assignments import FIRST_AND_LAST

A1 = load_assignment("a1_transformer")
every_assignment = pytest.mark.parametrize("name", FIRST_AND_LAST)


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "my work"  # a space, as in many home folders
    assert lab.prepare(folder) == [folder / name / f"{name}.ipynb" for name in ASSIGNMENTS]
    return folder


@pytest.fixture
def inside(work, monkeypatch) -> Path:
    """As JupyterLab is started: with its environment."""
    for name, value in lab.environment_of(work).items():
        monkeypatch.setenv(name, value)
    return work


def python(work: Path, program: str, name: str = A1.name) -> subprocess.CompletedProcess:
    command = [work / name / ".student" / lab.SCRIPTS / lab.PYTHON, "-c", program]
    return subprocess.run(command, cwd=work / name, capture_output=True, text=True, timeout=120)


@every_assignment
def test_the_notebook_is_the_students(work, name):
    def without_kernel(path: Path) -> tuple[dict, dict]:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        return notebook["metadata"].pop("kernelspec"), notebook

    kernel, mine = without_kernel(work / name / f"{name}.ipynb")
    assert mine == without_kernel(student_path(name))[1]
    assert kernel["name"] == ("python3" if name == A1.name else name)
    assert [p.name for p in sorted(work.iterdir())] == sorted([".jupyter", *ASSIGNMENTS])
    assert [p.name for p in sorted((work / name).iterdir())] == [".student", f"{name}.ipynb"]


def test_an_edited_notebook_stays_and_the_edition_is_refreshed(tmp_path):
    notebook, *_ = lab.prepare(tmp_path)
    environment = tmp_path / A1.name / ".student"
    edition = next(environment.rglob("student_edition.json")).parent
    notebook.write_text("my answers")
    (tmp_path / A1.name / "notes.txt").write_text("my notes")
    (edition / "nn" / "attention.py").write_text("spoilt")
    (edition / "old.py").write_text("of an older version")
    (edition / "student_edition.json").unlink()
    (environment / lab.SCRIPTS / lab.PYTHON).unlink()  # as after an update of Python
    lab.prepare(tmp_path)
    assert notebook.read_text() == "my answers"
    assert (tmp_path / A1.name / "notes.txt").read_text() == "my notes"
    assert "raise NotImplementedError()" in (edition / "nn" / "attention.py").read_text()
    assert not (edition / "old.py").exists()
    assert json.loads((edition / "student_edition.json").read_text())["assignment"] == A1.name
    assert python(tmp_path, "import cs_vl").returncode == 0


@every_assignment
def test_the_environment_has_its_edition_and_data_and_no_answers(work, name):
    done = python(
        work,
        "import json, sys, torch, cs_vl\n"
        "from importlib.metadata import version\n"
        "from cs_vl.exercise import EDITION\n"
        "try:\n    import autograder\nexcept ModuleNotFoundError:\n    autograder = None\n"
        "told = cs_vl.__version__, version('cs_vl')\n"
        "print(json.dumps([cs_vl.__file__, torch.__file__, list(EDITION), str(autograder), sys.path, told]))",
        name,
    )
    assert done.returncode == 0, done.stderr
    file, torch_file, stripped, autograder, path, told = json.loads(done.stdout)
    assert Path(file).is_relative_to(work / name / ".student")
    assert not Path(torch_file).is_relative_to(work)  # borrowed
    assert stripped == [region.exercise.name for region in stripped_regions(name)]
    assert autograder == "None"
    assert told == [edition_version(name)] * 2
    root = Path(lab.__file__).parents[1]
    assert root not in map(Path, path)
    data = Path(file).with_name("_data")
    assert {p.relative_to(data) for p in data.rglob("*") if p.is_file()} == {
        p.relative_to(DATA_FOLDER) for p in data_files(name)
    }


@every_assignment
def test_the_environment_has_no_stand_ins(work, name):
    edition = next((work / name / ".student").rglob("student_edition.json")).parent
    secrets = [s for s, owner in secret_statements(load_assignment(name)).items() if owner == "a stand-in"]
    assert secrets and not list(edition.rglob(STAND_INS))
    for path in edition.rglob("*.py"):
        text = haystack(path.name, path.read_bytes())
        assert [s for s in secrets if s in text] == [], path


def cs_vl(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["cs-vl", *arguments], cwd=folder, capture_output=True, text=True, timeout=120)


@every_assignment
def test_the_command_on_the_path_checks_every_notebook(inside, name):
    exercises = load_assignment(name).exercises
    checked = cs_vl(inside / name, "check", f"{name}.ipynb")
    assert checked.returncode == 1, checked.stderr
    assert checked.stdout.count("is not written yet.") == len(exercises)
    assert "note:" not in checked.stdout


def test_the_command_has_no_ta_commands(inside):
    helped = cs_vl(inside, "--help")
    assert helped.returncode == 0 and "Usage: cs-vl " in helped.stdout
    refused = cs_vl(inside, "release", A1.name)
    assert refused.returncode == 2 and "No such command" in refused.stderr


@every_assignment
def test_jupyter_finds_the_kernel_that_the_notebook_asks_for(inside, name):
    asked = nbformat.read(inside / name / f"{name}.ipynb", as_version=4).metadata.kernelspec
    spec = KernelSpecManager().get_kernel_spec(asked.name)
    assert Path(spec.argv[0]) == inside / name / ".student" / lab.SCRIPTS / lab.PYTHON
    assert spec.display_name == asked.display_name == f"Python 3 ({name})"


def run_all(notebook: nbformat.NotebookNode, work: Path, name: str = A1.name) -> None:
    """Execute a notebook as JupyterLab does: with the kernel that it asks for, in its folder."""
    resources = {"metadata": {"path": str(work / name)}}
    NotebookClient(notebook, timeout=120, resources=resources).execute()


def test_run_all_with_blanks_runs_on_the_edition_and_goes_on_to_the_end(inside):
    """The whole notebook, as it was handed out: every check says its sentence, no training starts."""
    notebook = nbformat.read(inside / A1.name / f"{A1.name}.ipynb", as_version=4)
    where = nbformat.v4.new_code_cell("import cs_vl\nprint(cs_vl.__file__)")
    command = nbformat.v4.new_code_cell("!command -v cs-vl")
    notebook.cells += [where, command]
    for cell in notebook.cells:  # less to draw; and two threads on a busy machine wait for one another
        cell.source = cell.source.replace("20_000", "200").replace("set_num_threads(2)", "set_num_threads(1)")
    run_all(notebook, inside)
    for cell in (where, command):
        assert cell.outputs[0].text.startswith(str(inside / A1.name / ".student"))
    cells = {c.metadata.get("nbgrader", {}).get("grade_id"): c for c in notebook.cells}
    for exercise in A1.exercises:
        (card,) = cells[f"check-{exercise.name}"].outputs
        assert f"{exercise.name} is not written yet." in card.data["text/plain"]
        assert "text/html" in card.data
    errors = [
        o for c in notebook.cells if c.cell_type == "code" for o in c.outputs if o.output_type == "error"
    ]
    missing = [o for o in errors if o.ename == "MissingExercise"]
    assert len(missing) >= 3
    for error in missing:  # one sentence, not a page of the library's own lines
        assert len(error.traceback) == 1 and "is not written yet: fill in its blank" in error.traceback[0]
    # Whatever else fails lacks a name that such a cell would have made.
    assert {o.ename for o in errors} <= {"MissingExercise", "NameError"}


def test_a_written_exercise_is_used_by_the_librarys_models(inside):
    cells = [
        "from cs_vl.checks import exercise\n@exercise\ndef language_model_mask(kind, length, prefix_length=0):\n    return 'mine'",
        "from cs_vl.nn.masks import language_model_mask as the_librarys\nthe_librarys('causal', 3)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    run_all(notebook, inside)  # it names no kernel: the first assignment's
    assert notebook.cells[1].outputs[0].data["text/plain"] == "'mine'"


def test_who_begins_with_a_later_assignment_has_the_earlier_ones_solved(inside):
    """Its notebook, less the story, with another one in its place."""
    name = ASSIGNMENTS[-1]
    notebook = nbformat.read(inside / name / f"{name}.ipynb", as_version=4)
    notebook.cells = notebook.cells[:1] + [c for c in notebook.cells if "nbgrader" in c.metadata]
    story = [
        "import torch\nfrom cs_vl.nn.vit import ViT\ntorch.manual_seed(0)",
        "ViT(image_size=8, patch_size=4, dim=8, depth=2, heads=2)(torch.zeros(1, 3, 8, 8)).pooled.shape",
        "import cs_vl\nprint(cs_vl.__file__)",
        "!command -v cs-vl",
        "from cs_vl.data.emoji import load_emoji\nlen(load_emoji(size=32, styles=('twemoji',)).names)",
    ]
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in story]
    run_all(notebook, inside, name)
    install, (_, shape, where, command, count) = notebook.cells[0], notebook.cells[-5:]
    assert install.outputs == []
    assert shape.outputs[0].data["text/plain"] == "torch.Size([1, 8])"
    assert int(count.outputs[0].data["text/plain"]) > 1000
    for cell in (where, command):
        assert cell.outputs[0].text.startswith(str(inside / name / ".student"))
    cells = {c.metadata.get("nbgrader", {}).get("grade_id"): c for c in notebook.cells}
    for exercise in load_assignment(name).exercises:
        (card,) = cells[f"check-{exercise.name}"].outputs
        assert f"{exercise.name} is not written yet." in card.data["text/plain"]


def test_open_lab_starts_jupyter_there(work, monkeypatch):
    called = {}

    def started(command, env, check):
        called.update(command=command, env=env)
        return SimpleNamespace(returncode=3)

    monkeypatch.setattr(lab.subprocess, "run", started)
    monkeypatch.setenv("JUPYTER_PATH", "elsewhere")
    assert lab.open_lab(work) == 3
    assert called["command"][1:] == ["-m", "jupyterlab", str(work)]
    assert called["env"]["JUPYTER_PATH"].split(lab.os.pathsep) == [str(work / ".jupyter"), "elsewhere"]
    assert called["env"]["PATH"].split(lab.os.pathsep)[0] == str(
        work / ASSIGNMENTS[-1] / ".student" / lab.SCRIPTS
    )


def test_a_notebook_that_is_not_built_gets_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(lab, "student_path", lambda name: tmp_path / "none" / f"{name}.ipynb")
    with pytest.raises(
        FileNotFoundError, match=r"a1_transformer\.ipynb is not built: run `make build` first"
    ):
        lab.prepare(tmp_path / "work")
