"""`make lab`: the student edition in a work folder, with a kernel and a command of its own."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

from autograder import lab
from autograder.build.notebooks import student_path
from cs_vl.checks.spec import load_assignment

A1 = load_assignment("a1_transformer")


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "my work"  # a space, as in many home folders
    assert lab.prepare(folder) == [folder / A1.name / f"{A1.name}.ipynb"]
    return folder


@pytest.fixture
def inside(work, monkeypatch) -> Path:
    """As JupyterLab is started: with its environment."""
    for name, value in lab.environment_of(work).items():
        monkeypatch.setenv(name, value)
    return work


def python(work: Path, program: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    command = [work / ".student" / lab.SCRIPTS / lab.PYTHON, "-c", program]
    return subprocess.run(command, cwd=cwd or work / A1.name, capture_output=True, text=True, timeout=120)


def test_the_notebook_is_the_students(work):
    assert (work / A1.name / f"{A1.name}.ipynb").read_bytes() == student_path(A1.name).read_bytes()
    assert [p.name for p in sorted(work.iterdir())] == [".jupyter", ".student", A1.name]


def test_an_edited_notebook_stays_and_the_edition_is_refreshed(tmp_path):
    (notebook,) = lab.prepare(tmp_path)
    edition = next(tmp_path.rglob("student_edition.json")).parent
    notebook.write_text("my answers")
    (tmp_path / A1.name / "notes.txt").write_text("my notes")
    (edition / "nn" / "attention.py").write_text("spoilt")
    (edition / "old.py").write_text("of an older version")
    (edition / "student_edition.json").unlink()
    (tmp_path / ".student" / lab.SCRIPTS / lab.PYTHON).unlink()  # as after an update of Python
    lab.prepare(tmp_path)
    assert notebook.read_text() == "my answers"
    assert (tmp_path / A1.name / "notes.txt").read_text() == "my notes"
    assert "raise NotImplementedError()" in (edition / "nn" / "attention.py").read_text()
    assert not (edition / "old.py").exists()
    assert len(json.loads((edition / "student_edition.json").read_text())) == len(A1.exercises)
    assert python(tmp_path, "import cs_vl").returncode == 0


def test_the_environment_has_the_edition_and_no_answers(work):
    done = python(
        work,
        "import json, sys, torch, cs_vl\n"
        "from cs_vl.exercise import EDITION\n"
        "try:\n    import autograder\nexcept ModuleNotFoundError:\n    autograder = None\n"
        "print(json.dumps([cs_vl.__file__, torch.__file__, sorted(EDITION), str(autograder), sys.path]))",
    )
    assert done.returncode == 0, done.stderr
    file, torch_file, stripped, autograder, path = json.loads(done.stdout)
    assert Path(file).is_relative_to(work / ".student")
    assert not Path(torch_file).is_relative_to(work)  # borrowed
    assert stripped == sorted(e.name for e in A1.exercises)
    assert autograder == "None"
    root = Path(lab.__file__).parents[1]
    assert root not in map(Path, path)


def test_the_command_works_and_has_no_ta_commands(inside):
    def cs_vl(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["cs-vl", *arguments], cwd=inside / A1.name, capture_output=True, text=True, timeout=120
        )

    checked = cs_vl("check", f"{A1.name}.ipynb")
    assert checked.returncode == 1 and checked.stdout.count("is not written yet.") == len(A1.exercises), (
        checked.stderr
    )
    helped = cs_vl("--help")
    assert helped.returncode == 0 and "Usage: cs-vl " in helped.stdout
    refused = cs_vl("release", A1.name)
    assert refused.returncode == 2 and "No such command" in refused.stderr


def test_jupyter_finds_the_students_kernel(inside):
    spec = KernelSpecManager().get_kernel_spec("python3")
    assert Path(spec.argv[0]) == inside / ".student" / lab.SCRIPTS / lab.PYTHON
    assert spec.display_name == "Python 3 (student edition)"


def run_all(notebook: nbformat.NotebookNode, work: Path) -> None:
    """Execute a notebook as JupyterLab does: with the kernel called python3, in the notebook's folder."""
    resources = {"metadata": {"path": str(work / A1.name)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()


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
        assert cell.outputs[0].text.startswith(str(inside / ".student"))
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
    run_all(notebook, inside)
    assert notebook.cells[1].outputs[0].data["text/plain"] == "'mine'"


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
    assert called["env"]["PATH"].split(lab.os.pathsep)[0] == str(work / ".student" / lab.SCRIPTS)


def test_a_notebook_that_is_not_built_gets_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(lab, "student_path", lambda name: tmp_path / "none" / f"{name}.ipynb")
    with pytest.raises(
        FileNotFoundError, match=r"a1_transformer\.ipynb is not built: run `make build` first"
    ):
        lab.prepare(tmp_path / "work")
