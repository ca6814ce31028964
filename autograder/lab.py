"""`make lab`: the student edition in a work folder of one's own, for JupyterLab, VS Code or a plain editor.

The folder has a light environment: it borrows the installed packages, but its `cs_vl` is the student edition, and the
answers are not on its import path.  A notebook that is there already is never overwritten.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from autograder.build.edition import build_edition
from autograder.build.notebooks import student_path
from cs_vl import __version__
from cs_vl.checks.spec import ASSIGNMENTS

SCRIPTS, PYTHON = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")


def prepare(work: Path) -> list[Path]:
    """Lay out the work folder; returns the notebooks.

    The environment and the edition in it are made anew each time.

    Raises:
        FileNotFoundError: a student notebook has not been built.
    """
    notebooks = [work / name / f"{name}.ipynb" for name in ASSIGNMENTS]
    for name, target in zip(ASSIGNMENTS, notebooks, strict=True):
        if not student_path(name).exists():
            raise FileNotFoundError(f"{name}.ipynb is not built: run `make build` first")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copyfile(student_path(name), target)
    environment = environment_in(work)
    venv.EnvBuilder(clear=True, with_pip=False, symlinks=os.name == "posix").create(environment)
    _install(environment)
    kernel = work / ".jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True, exist_ok=True)
    argv = [str(environment / SCRIPTS / PYTHON), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3 (student edition)", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")
    return notebooks


def environment_in(work: Path) -> Path:
    """Where the light environment is."""
    return (work / ".student").absolute()


def _install(environment: Path) -> None:
    """Put the student edition and its command into the environment, and borrow all other packages."""
    base = {"base": str(environment), "platbase": str(environment)}
    packages = Path(sysconfig.get_path("purelib", scheme="venv", vars=base))
    packages.mkdir(parents=True, exist_ok=True)
    # A folder named in a .pth file is searched, but its own .pth files (editable installs) are not followed.
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    build_edition(ASSIGNMENTS[0], packages)
    # Without entry points of its own, the edition would have those of the full course: the TA's commands.
    metadata = packages / f"cs_vl-{__version__}.dist-info" / "METADATA"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: cs-vl\nVersion: {__version__}\n")
    python = environment / SCRIPTS / PYTHON
    code = "import sys; from cs_vl.cli import main; sys.argv[0] = 'cs-vl'; main()"
    if os.name == "nt":
        (environment / SCRIPTS / "cs-vl.cmd").write_text(f'@"{python}" -P -c "{code}" %*\n')
    else:
        command = environment / SCRIPTS / "cs-vl"
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(str(python))} -P -c "{code}" "$@"\n')
        command.chmod(0o755)


def environment_of(work: Path) -> dict[str, str]:
    """What Jupyter needs to find the student kernel, and a terminal in it the student's `cs-vl`."""

    def first(folder: Path, variable: str) -> str:
        others = os.environ.get(variable)
        return os.pathsep.join([str(folder.absolute()), *([others] if others else [])])

    return {
        **os.environ,
        "JUPYTER_PATH": first(work / ".jupyter", "JUPYTER_PATH"),
        "PATH": first(environment_in(work) / SCRIPTS, "PATH"),
    }


def open_lab(work: Path) -> int:
    """Start JupyterLab in the work folder; returns its exit status."""
    command = [sys.executable, "-m", "jupyterlab", str(work)]
    return subprocess.run(command, env=environment_of(work), check=False).returncode
