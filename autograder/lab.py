"""`make lab`: the student edition in a work folder of one's own, for JupyterLab, VS Code or a plain editor.

The folder has a light environment: it borrows the installed packages, but its `cs_vl` is the student edition, and the
answers are not on its import path.  A notebook that is there already is never overwritten.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from autograder.build.edition import build_edition
from autograder.build.notebooks import student_path
from cs_vl.checks.spec import ASSIGNMENTS


def prepare(work: Path) -> list[Path]:
    """Lay out the work folder; returns the notebooks."""
    environment = work / ".student"
    venv.EnvBuilder(with_pip=False, symlinks=os.name == "posix").create(environment)
    packages = Path(
        sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)})
    )
    packages.mkdir(parents=True, exist_ok=True)
    # A folder named in a .pth file is searched, but its own .pth files (editable installs) are not followed.
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    notebooks = []
    for name in ASSIGNMENTS:
        target = work / name / f"{name}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copyfile(student_path(name), target)
        notebooks.append(target)
    build_edition(ASSIGNMENTS[0], packages)
    bin_folder = environment / ("Scripts" if os.name == "nt" else "bin")
    python = bin_folder / ("python.exe" if os.name == "nt" else "python")
    _write_command(bin_folder / "cs-vl", python)
    kernel = work / ".jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True, exist_ok=True)
    argv = [str(python.absolute()), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3 (student edition)", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec, indent=1) + "\n")
    return notebooks


def _write_command(path: Path, python: Path) -> None:
    path.write_text(f'#!/bin/sh\nexec {str(python.absolute())!r} -m cs_vl.cli "$@"\n')
    path.chmod(0o755)


def environment_of(work: Path) -> dict[str, str]:
    """What Jupyter needs to find the student kernel."""
    ours = str((work / ".jupyter").absolute())
    others = os.environ.get("JUPYTER_PATH")
    return {**os.environ, "JUPYTER_PATH": os.pathsep.join([ours, *([others] if others else [])])}


def open_lab(work: Path) -> int:
    """Start JupyterLab in the work folder; returns its exit status."""
    command = [sys.executable, "-m", "jupyterlab", str(work)]
    return subprocess.run(command, env=environment_of(work), check=False).returncode
