"""The upload for Gradescope: what is in it, and what it says of submissions, in a folder laid out as in its container."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

import jsonschema
import nbformat
import pytest
from typer.testing import CliRunner

from autograder.build.notebooks import ROOT, student_path
from autograder.build.sample_class import FOLDER, answers, fill
from autograder.cli import app
from autograder.gradescope import run
from autograder.gradescope.make import FILES, PACKAGES, make_upload
from autograder.gradescope.other_user import ATTEMPTS, OtherUser, try_other_user
from autograder.sandbox.preflight import Walls
from cs_vl.checks.spec import load_assignment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Gradescope's containers run Linux")

A2 = load_assignment("a2_clip")
FULL = A2.points

# gradescope-autograders.readthedocs.io, Specifications: all that may be in results.json.
TEXT, NUMBER, FORMAT = (
    {"type": "string"},
    {"type": "number"},
    {"enum": ["text", "html", "simple_format", "md", "ansi"]},
)
VISIBILITY = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}
SPECIFICATION = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "score": NUMBER, "execution_time": NUMBER, "output": TEXT, "output_format": FORMAT, "test_output_format": FORMAT,
        "test_name_format": FORMAT, "visibility": VISIBILITY, "stdout_visibility": VISIBILITY, "extra_data": {"type": "object"},
        "tests": {"type": "array", "items": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "score": NUMBER, "max_score": NUMBER, "status": {"enum": ["passed", "failed"]}, "name": TEXT,
                "name_format": FORMAT, "number": TEXT, "output": TEXT, "output_format": FORMAT,
                "tags": {"type": "array", "items": TEXT}, "visibility": VISIBILITY, "extra_data": {"type": "object"},
            },
        }},
    },
}  # fmt: skip


def metadata(*names: str) -> dict:
    """As in Submission Metadata of the same documentation."""
    users = [{"email": f"{n}@example.com", "id": i, "name": n.title()} for i, n in enumerate(names, 1234)]
    return {
        "id": 123456, "created_at": "2018-07-01T14:22:32.365935-07:00", "users": users, "previous_submissions": [],
        "assignment": {
            "due_date": "2018-07-31T23:00:00.000000-07:00", "group_size": 4, "group_submission": True, "id": 25828,
            "course_id": 1234, "late_due_date": None, "release_date": "2018-07-02T00:00:00.000000-07:00",
            "title": "Programming Assignment 1", "total_points": "20.0", "submission_method": "upload",
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def upload(tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("upload") / "autograder.zip"
    done = CliRunner().invoke(app, ["gradescope", "a2_clip", "-o", str(target)])
    assert done.exit_code == 0 and "MB" in done.stdout, done.output
    return target


@pytest.fixture
def lay_out(upload):
    """Gradescope's folder, before setup.sh; in /tmp, since another user has to reach it."""
    root = Path(tempfile.mkdtemp(prefix="gradescope_"))
    root.chmod(0o755)

    def laid_out(submission: Path | None = None) -> Path:
        with zipfile.ZipFile(upload) as archive:
            archive.extractall(root / "source")
        shutil.copy(root / "source" / "run_autograder", root)
        (root / "run_autograder").chmod(0o755)
        (root / "submission_metadata.json").write_text(json.dumps(metadata("ada")))
        (root / "submission").mkdir()
        if submission:
            shutil.copy(submission, root / "submission")
        return root

    yield laid_out
    shutil.rmtree(root)


def autograde(root: Path, path: Path | None = None) -> tuple[dict, str]:
    """Run run_autograder, with what `path` holds before other programs; returns results.json and what was printed."""
    found = f"{path}{os.pathsep}{os.environ['PATH']}" if path else os.environ["PATH"]
    environment = {**os.environ, "AUTOGRADER": str(root), "PATH": found}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [root / "run_autograder"], cwd=root, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0
    tree = json.loads((root / "results" / "results.json").read_text())
    jsonschema.validate(tree, SPECIFICATION)
    assert tree["stdout_visibility"] == "hidden"
    return tree, done.stdout + done.stderr


def no_namespaces(folder: Path) -> Path:
    """A bubblewrap as in a container that allows no namespaces."""
    folder.mkdir(exist_ok=True)
    fake = folder / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    fake.chmod(0o755)
    return folder


def for_staff(tree: dict) -> str:
    (test,) = [test for test in tree["tests"] if test.get("visibility") == "hidden"]
    assert not test.keys() & {"score", "max_score", "status"}
    return test["output"]


# --- the zip -----------------------------------------------------------------------------------------------


def test_the_zip_holds_what_grading_needs(upload):
    with zipfile.ZipFile(upload) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        texts = {name: archive.read(name).decode() for name in ("setup.sh", "run_autograder", "secret")}
    for script in ("setup.sh", "run_autograder"):  # at the root, and programs
        assert entries[script].external_attr >> 16 == 0o755 and texts[script].startswith("#!")
        subprocess.run(["bash", "-n"], input=texts[script], text=True, check=True)
    assert texts["secret"].isdigit() and not re.search("@[A-Z]+@", texts["run_autograder"])
    assert "course/assignments/a2_clip/a2_clip.ipynb" in entries and "course/constraints.txt" in entries
    assert {name.split("/")[1] for name in entries if name.startswith("course/")} == {
        "cs_vl", "autograder", "assignments", "pyproject.toml", "constraints.txt", "README.md", "LICENSE",
    }  # fmt: skip
    assert not [name for name in entries if "sample_class/" in name or name.endswith(".pyc")]
    assert upload.stat().st_size < 10 * 2**20  # Gradescope takes 100 MB
    assert stat.S_IMODE(upload.stat().st_mode) == 0o600  # it holds answers


def test_made_again_it_keeps_the_hidden_cases(upload, tmp_path):
    target = tmp_path / "autograder.zip"
    assert not make_upload(A2, target, seconds=10, total=540)
    other = target.read_bytes()
    assert make_upload(A2, target, seconds=10, total=540)
    assert target.read_bytes() == other != upload.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"), [(["a9_nothing"], "there is no assignment"), (["a2_clip"], "was not made by this")]
)
def test_a_mistake_gets_one_sentence(tmp_path, arguments, said):
    mine = tmp_path / "mine.zip"
    mine.write_text("mine")
    done = CliRunner().invoke(app, ["gradescope", *arguments, "-o", str(mine)])
    assert done.exit_code == 2 and said in " ".join(done.output.split())
    assert mine.read_text() == "mine"


def test_the_container_recipe_copies_what_grading_needs():
    recipe = (ROOT / "docker" / "Dockerfile").read_text()
    copied = {name for line in re.findall("(?m)^COPY (.*) .*$", recipe) for name in line.split()}
    assert copied == {*PACKAGES, *FILES, "assignments"} and all((ROOT / name).exists() for name in copied)
    assert "docker/Dockerfile" in (ROOT / "README.md").read_text()


# --- results.json is always there --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("python", "said"),
    [
        (None, "The autograder failed."),  # setup.sh did not come to its end
        ("echo fault; exit 1", "The autograder failed."),
        ("kill -9 $$", "The autograder failed."),
        ("kill -9 $PPID; kill -9 $$", "The autograder failed."),
        ("sleep 60", "Grading took more than 1 seconds"),
    ],
)
def test_a_fault_of_ours_is_no_score(lay_out, python, said):
    root = lay_out()
    script = root / "run_autograder"
    script.write_text(script.read_text().replace("540", "1"))
    if python:
        (root / "venv" / "bin").mkdir(parents=True)
        (root / "venv" / "bin" / "python").write_text(f"#!/bin/sh\n{python}\n")
        (root / "venv" / "bin" / "python").chmod(0o755)
    tree, printed = autograde(root)
    assert tree["output"].startswith(said) and not {"score", "tests"} & set(tree)
    assert "fault" not in tree["output"] and (python != "echo fault; exit 1" or "fault" in printed)
    for name in ("source", "results", "submission"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o700


# --- the submission ----------------------------------------------------------------------------------------


def test_the_notebook_is_found_among_other_things(lay_out, tmp_path):
    root = lay_out(student_path("a2_clip"))
    (root / "submission_metadata.json").write_text(json.dumps(metadata("ada", "kim")))
    os.mkfifo(root / "submission" / "pipe.ipynb")
    (root / "submission" / "link.ipynb").symlink_to(root / "source" / "secret")
    (root / "submission" / "notes.txt").write_text("my notes")
    found, remarks = run.find(root, A2, tmp_path / "class")
    assert found.path and found.path.read_bytes() == student_path("a2_clip").read_bytes()
    assert found.student == "ada@example.com" and found.name == "Ada"
    assert "handed in by a group: Ada, Kim" in found.notes
    assert {path.name for path in found.path.parent.iterdir()} == {"a2_clip.ipynb", "notes.txt"}
    assert not remarks


@pytest.fixture
def without_walls(monkeypatch):
    monkeypatch.setattr(run, "_behind_walls", lambda grader, results: (grader, Walls(fell=["not tried"])))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a2_clip.ipynb", "{", "JSON"),
        ("essay.txt", "...", "There is no notebook in it: hand in a2_clip.ipynb"),
    ],
)
def test_what_can_not_be_read_is_told_to_the_student(lay_out, without_walls, tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    tree = run.grade_submission(lay_out(tmp_path / name), A2)
    jsonschema.validate(tree, SPECIFICATION)
    test = tree["tests"][0]
    assert tree["score"] == 0 and test["status"] == "failed" and said in test["output"]
    assert "not tried" in for_staff(tree)


def handed_in(student: str) -> Path:
    return FOLDER / "submitted" / student / "a2_clip" / "a2_clip.ipynb"


def check_wrong(tree: dict) -> None:
    """That of edsger, who has one misconception, and of a grader whose hidden cases nobody is told."""
    (failed,) = [test for test in tree["tests"] if test.get("status") == "failed"]
    assert (
        failed["name"] == "siglip_loss"
        and tree["score"] == FULL - failed["max_score"] + failed["score"] < FULL
    )
    assert "siglip_loss" in tree["output"]
    text = json.dumps(tree)
    assert not re.search(r"expected \S+, got", text) and "largest difference" not in text


def test_a_wrong_answer_as_gradescope_runs_it(lay_out):
    root = lay_out(handed_in("edsger"))
    (root / "submission" / "draft.py").write_text("x = 1\n")
    (root / "venv").symlink_to(sys.prefix)
    tree, printed = autograde(root)
    check_wrong(tree)
    assert "several files: a2_clip.ipynb is graded, draft.py left out" in tree["output"]
    assert for_staff(tree) in printed
    assert (root / "source" / "secret").read_text() not in json.dumps(tree) + printed


# --- another user's rights ---------------------------------------------------------------------------------


def test_the_attempts_get_through_where_there_is_no_wall(tmp_path):
    if os.getuid() != 0:
        pytest.skip("only root can become another user, and can everything that is tried")
    (tmp_path / "secret").write_text("1")
    paths = [tmp_path / "secret", tmp_path / "results.json", tmp_path, tmp_path]
    done = subprocess.run([sys.executable, "-c", ATTEMPTS, *map(str, paths)], capture_output=True, text=True)
    *lines, end = done.stdout.splitlines()
    assert end == "end" and len(lines) == 8 and all(line.startswith("through: ") for line in lines)


def test_no_other_user_without_root(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    walls = try_other_user(OtherUser(A2, tmp_path / "results", 10), tmp_path / "results.json")
    assert not walls.stood and walls.fell == ["another user's rights: the grader is not root"]


ATTACK = """
def _tried(function):
    try:
        return function()
    except OSError:
        return None
def logit_for_attack():
    import os, socket
    found = [_tried(lambda: open(path).read()) for path in (SECRET, RUN)]
    found += [_tried(lambda: open(path, "w").write("{}")) for path in (RESULTS, RESULTS + ".draft")]
    found += [_tried(lambda: os.listdir(SOURCE)), _tried(socket.socket), os.getuid() == 0 or None]
    if any(one is not None for one in found):
        raise SystemError("got through")
"""


@pytest.mark.slow
def test_where_no_namespaces_are_allowed_it_goes_on_as_another_user(lay_out, tmp_path):
    python = shutil.which(
        f"python{sys.version_info.major}.{sys.version_info.minor}", path="/usr/bin:/usr/local/bin"
    )
    if os.getuid() != 0 or python is None:
        pytest.skip("needs root, and a Python outside of root's home of the version that runs this")
    notebook = fill(nbformat.read(student_path("a2_clip"), as_version=4), answers(A2))
    root = lay_out()
    paths = {
        "SECRET": root / "source/secret", "RUN": root / "source/run_autograder", "SOURCE": root / "source",
        "RESULTS": root / "results/results.json",
    }  # fmt: skip
    names = "".join(f"{name} = {str(path)!r}\n" for name, path in paths.items())
    cell = next(
        c for c in notebook.cells if "def info_nce_numpy(" in c.source and c.metadata.nbgrader.solution
    )
    cell.source = re.sub(
        r"(?ms)(def info_nce_numpy\(.*?:\n)(?=    )", r"\1    logit_for_attack()\n", cell.source
    )
    notebook.cells.insert(notebook.cells.index(cell), nbformat.v4.new_code_cell(names + ATTACK))
    nbformat.write(notebook, root / "submission" / "a2_clip.ipynb")
    subprocess.run([python, "-m", "venv", "--without-pip", root / "venv"], check=True)
    packages = root / "venv" / "lib" / Path(python).name / "site-packages"
    packages.rmdir()
    packages.symlink_to(sysconfig.get_path("purelib"))
    tree, _ = autograde(root, no_namespaces(tmp_path / "bin"))
    assert "logit_for_attack()" in cell.source and "got through" not in json.dumps(tree)
    assert tree["score"] == FULL, tree["output"]
    said = for_staff(tree)
    assert "no reading of the secret: tried, and it held" in said and "no network: tried, and it held" in said
    assert "NOT STANDING: namespaces: bwrap: No permissions to create new namespace" in said


# --- the whole, with setup.sh ------------------------------------------------------------------------------


@pytest.mark.slow
def test_set_up_and_grade_three_submissions(lay_out, tmp_path):
    """Downloads PyTorch and the rest, as Gradescope does; apt-get is only noted down."""
    if subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", tmp_path, "six"]
    ).returncode:
        pytest.skip("no package index can be reached")
    root = lay_out()
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "apt-get").write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/apt.log\n')
    (programs / "apt-get").chmod(0o755)
    environment = {
        **os.environ,
        "AUTOGRADER": str(root),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    environment.pop("PYTHONPATH", None)
    subprocess.run(["bash", root / "source" / "setup.sh"], env=environment, check=True, timeout=1200)
    assert "bubblewrap libseccomp2" in (tmp_path / "apt.log").read_text()
    assert stat.S_IMODE((root / "source").stat().st_mode) == 0o700

    def graded(path: Path) -> dict:
        shutil.rmtree(root / "submission")
        (root / "submission").mkdir()
        shutil.copy(path, root / "submission" / "a2_clip.ipynb")
        return autograde(root)[0]

    right = graded(handed_in("ada"))
    assert right["score"] == FULL and {test.get("status", "passed") for test in right["tests"]} == {"passed"}
    check_wrong(graded(handed_in("edsger")))
    whole = handed_in("ada").read_bytes()
    (tmp_path / "half.ipynb").write_bytes(whole[: len(whole) // 2])
    half = graded(tmp_path / "half.ipynb")
    assert 0 < half["score"] < FULL and "breaks off or is damaged" in half["output"]
