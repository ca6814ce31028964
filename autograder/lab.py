"""`make lab`: the student editions in a work folder of one's own, for JupyterLab, VS Code or a plain editor.

Each assignment has a folder with its notebook and a light environment: it borrows the installed packages, but its
`cs_vl` is the assignment's student edition.  So one can begin anywhere: what earlier assignments built is there, and
answers of this one and of later ones are not on the import path.  A notebook that is there already is never overwritten.
"""

import json
import os
import shlex
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import nbformat

from autograder.build.edition import add_data, build_edition, edition_version
from autograder.build.notebooks import student_path
from cs_vl.checks.spec import ASSIGNMENTS

SCRIPTS, PYTHON = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")


def prepare(work: Path) -> list[Path]:
    """Lay out the work folder; returns the notebooks.

    The environments and the editions in them are made anew each time.

    Raises:
        FileNotFoundError: a student notebook has not been built, or some data is missing.
    """
    for name in ASSIGNMENTS:
        if not student_path(name).exists():
            raise FileNotFoundError(f"{name}.ipynb is not built: run `make build` first")
    notebooks = [work / name / f"{name}.ipynb" for name in ASSIGNMENTS]
    for name, target in zip(ASSIGNMENTS, notebooks, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            notebook = nbformat.read(student_path(name), as_version=4)
            notebook.metadata["kernelspec"] = {**kernel_of(name), "name": kernel_name(name)}
            nbformat.write(notebook, target)
        environment = environment_in(work, name)
        venv.EnvBuilder(clear=True, with_pip=False, symlinks=os.name == "posix").create(environment)
        _install(name, environment)
        _add_kernel(name, work)
    return notebooks


def environment_in(work: Path, assignment: str) -> Path:
    """Where an assignment's light environment is."""
    return (work / assignment / ".student").absolute()


def kernel_name(assignment: str) -> str:
    """The first assignment's is also the kernel of notebooks that say nothing of their own."""
    return "python3" if assignment == ASSIGNMENTS[0] else assignment


def kernel_of(assignment: str) -> dict[str, str]:
    return {"display_name": f"Python 3 ({assignment})", "language": "python"}


def _add_kernel(assignment: str, work: Path) -> None:
    """Tell Jupyter of the environment; a cell's `!cs-vl` is the environment's, too."""
    scripts = environment_in(work, assignment) / SCRIPTS
    spec = {
        "argv": [str(scripts / PYTHON), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "env": {"PATH": f"{scripts}{os.pathsep}${{PATH}}"},
        **kernel_of(assignment),
    }
    path = work / ".jupyter" / "kernels" / kernel_name(assignment) / "kernel.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")


def _install(assignment: str, environment: Path) -> None:
    """Put the student edition, its data and its command into the environment, and borrow all other packages."""
    base = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", scheme="venv", vars=base))
    packages.mkdir(parents=True, exist_ok=True)
    # A folder named in a .pth file is searched, but its own .pth files (editable installs) are not followed.
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    add_data(assignment, build_edition(assignment, packages))
    # Without entry points of its own, the edition would have those of the full course: the TA's commands.
    version = edition_version(assignment)
    metadata = packages / f"cs_vl-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: cs-vl\nVersion: {version}\n")
    python = environment / SCRIPTS / PYTHON
    code = "import sys; from cs_vl.cli import main; sys.argv[0] = 'cs-vl'; main()"
    if os.name == "nt":
        (environment / SCRIPTS / "cs-vl.cmd").write_text(f'@"{python}" -P -c "{code}" %*\n')
    else:
        command = environment / SCRIPTS / "cs-vl"
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(str(python))} -P -c "{code}" "$@"\n')
        command.chmod(0o755)


def environment_of(work: Path) -> dict[str, str]:
    """What Jupyter needs to find the kernels, and a terminal in it a student's `cs-vl`: the last one checks them all."""

    def first(folder: Path, variable: str) -> str:
        others = os.environ.get(variable)
        return os.pathsep.join([str(folder.absolute()), *([others] if others else [])])

    return {
        **os.environ,
        "JUPYTER_PATH": first(work / ".jupyter", "JUPYTER_PATH"),
        "PATH": first(environment_in(work, ASSIGNMENTS[-1]) / SCRIPTS, "PATH"),
    }


def open_lab(work: Path) -> int:
    """Start JupyterLab in the work folder; returns its exit status."""
    command = [sys.executable, "-m", "jupyterlab", str(work)]
    return subprocess.run(command, env=environment_of(work), check=False).returncode
