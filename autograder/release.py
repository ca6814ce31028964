"""Make the zip that students get: the notebook, the wheel of the student edition with its data, and how to start."""

import calendar
import json
import os
import shutil
import subprocess
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from build import BuildBackendException, ProjectBuilder

from autograder.build.edition import add_data, build_edition, data_files, edition_version
from autograder.build.notebooks import ROOT, student_path
from cs_vl.checks.spec import Assignment

DATE = (2020, 1, 1, 0, 0, 0)

README = """\
# {title}

1. Unpack this folder.  With Python 3.11 or newer, in a terminal in this folder:

       python3 -m venv .venv
       .venv/bin/pip install "{wheel}[lab]"
       .venv/bin/jupyter lab {notebook}

   Windows: `python` instead of `python3`, and `.venv\\Scripts\\` instead of `.venv/bin/`.
   An environment of an earlier assignment will do, too: `pip install` puts this wheel in the place of that one.
   Linux without a graphics card: `.venv/bin/pip install torch --index-url https://download.pytorch.org/whl/cpu`
   first saves 2 GB.
   VS Code: open this folder, open the notebook, choose the kernel `.venv`.
   Colab: upload the notebook, then the wheel into its files.
   The notebook's first cell installs the wheel where cs_vl is missing, or is another assignment's.

2. Fill in each blank (`# YOUR CODE HERE`) and run the check below it.  Keep the line `@exercise` and the
   names as they are.

3. Before you hand in, check the whole notebook as it will be graded:

       .venv/bin/cs-vl check {notebook}

Hand in {notebook} alone.
"""
DATA_NOTE = """
The wheel holds data, too (`cs_vl/_data`); each folder there says where they come from, and its licence.
"""


def release(assignment: Assignment, out: Path) -> Path:
    """Write `out`/<assignment>.zip and return its path.

    Raises:
        FileNotFoundError: the student notebook has not been built, or some data is missing.
        OSError: the wheel can't be built; with the builder's last line.
    """
    notebook = student_path(assignment.name)
    if not notebook.exists():
        raise FileNotFoundError(f"{notebook.name} is not built: run `make build` first")
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{assignment.name}.zip"
    with tempfile.TemporaryDirectory() as scratch:
        wheel = build_wheel(assignment.name, Path(scratch))
        readme = README.format(title=assignment.title, wheel=wheel.name, notebook=notebook.name)
        readme += DATA_NOTE if data_files(assignment.name) else ""
        files = {
            notebook.name: notebook.read_bytes(),
            wheel.name: wheel.read_bytes(),
            "README.md": readme.encode(),
        }
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                # A fixed date: the same sources give the same zip.
                entry = zipfile.ZipInfo(f"{assignment.name}/{name}", DATE)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16  # readable for everyone, wherever it is unpacked
                archive.writestr(entry, data)
    return target


def build_wheel(assignment: str, scratch: Path) -> Path:
    """Build the wheel of an assignment's student edition in `scratch`, without any download.

    Raises:
        OSError: it can't be built; with the builder's last line.
    """
    source = scratch / "source"
    source.mkdir()
    add_data(assignment, build_edition(assignment, source))
    (source / "pyproject.toml").write_text(_student_project(assignment), encoding="utf-8")
    shutil.copyfile(ROOT / "LICENSE", source / "LICENSE")
    wheels = scratch / "wheels"

    def quietly(
        cmd: Sequence[str], cwd: str | None = None, extra_environ: Mapping[str, str] | None = None
    ) -> None:
        date = str(calendar.timegm(DATE))
        environment = {**os.environ, "SOURCE_DATE_EPOCH": date, **(extra_environ or {})}
        done = subprocess.run(cmd, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip()).split("\n")[-1]
            raise OSError(last)

    try:
        return Path(ProjectBuilder(source, runner=quietly).build("wheel", wheels))
    except BuildBackendException as error:
        raise OSError(f"the wheel of the student edition can't be built: {error.exception}") from error


def _student_project(assignment: str) -> str:
    """The course's pyproject.toml, less all that only TAs and authors need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return f"""\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "cs-vl"
version = "{edition_version(assignment)}"
description = {json.dumps(project["description"] + " (student edition)")}
requires-python = {json.dumps(project["requires-python"])}
license = "MIT"
license-files = ["LICENSE"]
dependencies = {json.dumps(project["dependencies"])}

[project.optional-dependencies]
lab = {json.dumps(project["optional-dependencies"]["lab"])}
watch = {json.dumps(project["optional-dependencies"]["watch"])}

[project.scripts]
cs-vl = "cs_vl.cli:main"

[tool.setuptools.packages.find]
include = ["cs_vl*"]

[tool.setuptools.package-data]
"*" = ["*"]
"""
