"""The command line of bubblewrap: what the file system looks like from inside, and what is cut off.

Read-only: the system's programs, the interpreter, its packages, the student edition, and `inside` of this package.
There is no home, no course, no results folder, no submission; no device but null and random numbers.
"""

import os
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import autograder
import cs_vl

INSIDE = Path(__file__).with_name("inside")
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin")
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
# Where the rest is seen from inside.
GRADER, EDITION, PACKAGES = Path("/grading"), Path("/course"), Path("/packages")


def site_packages() -> list[Path]:
    """The folders of installed packages, of the environment that runs this."""
    return sorted({Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")})


def command(edition: Path, hidden: Sequence[Path] = ()) -> list[str]:
    """All that comes before the program: `bwrap ... --`.

    Args:
        edition: the folder that holds the student edition's `cs_vl`.
        hidden: folders that must not be seen even where they lie in one that is shown.

    Raises:
        FileNotFoundError: bubblewrap is not installed.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise FileNotFoundError("bubblewrap is not installed")
    binds = _binds(edition)
    arguments = [bwrap, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    arguments += ["--unshare-cgroup-try", "--hostname", "grading", "--die-with-parent", "--new-session"]
    arguments += ["--cap-drop", "ALL"]
    if os.getuid() == 0:  # to become nobody; see inside/walls.py
        arguments += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    for name in SYSTEM:
        if os.path.islink(name):
            arguments += ["--symlink", os.readlink(name), name]
    # The warm process's own; a submission gets others, or none, over them.
    arguments += ["--proc", "/proc", "--perms", "1777", "--tmpfs", "/tmp"]
    # Of themselves, parents of what is bound could be read by root alone.
    parents = {parent for where in binds for parent in where.parents} - {Path("/")}
    for parent in sorted({*parents, Path("/dev")}):
        if not any(bound in (parent, *parent.parents) for bound in binds):
            arguments += ["--perms", "0755", "--dir", str(parent)]
    for where in sorted(binds):  # parents first
        arguments += ["--ro-bind", str(binds[where]), str(where)]
    for where in _covered(binds, hidden):
        arguments += ["--perms", "0555", "--tmpfs", str(where), "--remount-ro", str(where)]
    for device in DEVICES:
        arguments += ["--dev-bind", device, device]
    return [*arguments, "--remount-ro", "/", "--chdir", "/", "--"]


def interpreter() -> str:
    """The Python outside of any virtual environment, which is not bound as a whole."""
    return os.path.realpath(sys.executable)


def import_path() -> list[str]:
    """What the warm process has first on its import path."""
    return [str(path) for path in (GRADER, EDITION, *_packages())]


def _packages() -> dict[Path, Path]:
    return {PACKAGES / str(number): path for number, path in enumerate(site_packages())}


def _binds(edition: Path) -> dict[Path, Path]:
    """Where inside: what outside."""
    binds = {Path(name): Path(name) for name in SYSTEM if os.path.isdir(name) and not os.path.islink(name)}
    prefix = Path(os.path.realpath(sys.base_prefix))
    if not any(folder in (prefix, *prefix.parents) for folder in binds):
        binds[prefix] = prefix
    # Where libraries are; and what malloc reads to know whether there are huge pages (see pool.py).
    for path in (Path("/etc/ld.so.cache"), Path("/sys/kernel/mm/transparent_hugepage")):
        if path.exists():
            binds[path] = path
    return binds | _packages() | {GRADER / INSIDE.name: INSIDE, EDITION: edition.absolute()}


def _covered(binds: dict[Path, Path], hidden: Sequence[Path]) -> list[Path]:
    """What is seen through something that is bound, and must not be: the course, with its answers."""
    ours = [Path(module.__file__).parent for module in (cs_vl, autograder) if module.__file__]
    installed = [
        site / one.name for site in site_packages() for one in ours
    ]  # where it is no editable install
    found = set()
    for path in (path.absolute() for path in (*ours, *installed, *hidden)):
        for where, outside in binds.items():
            if path.is_dir() and outside in path.parents:
                found.add(where / path.relative_to(outside))
    return sorted(found)
