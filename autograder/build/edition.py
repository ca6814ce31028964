"""The student edition of the library: `cs_vl` without the answers of an assignment and of later ones.

Each assignment's edition has a version of its own, `0.1.0+a2`: pip puts one in the place of another, and the notebook's
first cell can tell them apart.
"""

import ast
import json
import shutil
from pathlib import Path

import cs_vl
from autograder.build.regions import Region, find_region, strip, without_marks
from cs_vl.checks.spec import ASSIGNMENTS, load_assignment

LIBRARY = Path(cs_vl.__file__).parent
DATA_FOLDER = Path(__file__).parents[2] / "data"

# What each assignment adds to the data that its students need: folders or files in `data/`.
DATA: dict[str, tuple[str, ...]] = {
    "a1_transformer": (),
    "a2_clip": ("emoji", "features", "checkpoints", "experiments"),
    "a4_vlm": ("world", "vlm"),
    "a5_sam": ("sam",),
}
# Modules of which an exercise could be copied, though they are none: they come solved after that assignment only.
KIN = {"a2_clip": ("losses/distributed.py", "losses/siglip_by_hand.py")}
LEFT_OUT = 'raise NotImplementedError("left out of this student edition: it would give an exercise away")'
STAND_INS = "stand_ins.py"  # of each assignment, in its folder of cs_vl/checks: answers, which grading sends (autograder/stand_ins.py)
SCRIPTS = (".py", ".pyc", ".sh")  # what made the data: students get the data alone
UNFINISHED = "unfinished"  # a folder where such a script keeps what it is at


def edition_version(assignment: str) -> str:
    """ "0.1.0+a2" """
    return f"{cs_vl.__version__}+{edition_label(assignment)}"


def wheel_name(assignment: str) -> str:
    return f"cs_vl-{edition_version(assignment)}-py3-none-any.whl"


def edition_label(assignment: str) -> str:
    """ "a2" of "a2_clip": what an edition's version has after its plus sign."""
    return assignment.partition("_")[0]


def stripped_regions(assignment: str) -> list[Region]:
    """The regions that an edition for this assignment lacks: its own, and those of later assignments."""
    later = ASSIGNMENTS[ASSIGNMENTS.index(assignment) :]
    return [find_region(e) for name in later for e in load_assignment(name).exercises]


def solved_exercises(assignment: str) -> list[str]:
    """The exercises that ship solved: those of earlier assignments."""
    earlier = ASSIGNMENTS[: ASSIGNMENTS.index(assignment)]
    return [e.name for name in earlier for e in load_assignment(name).exercises]


def data_files(assignment: str) -> list[Path]:
    """The data that an assignment can use, its own and that of earlier ones, licences included.

    Raises:
        FileNotFoundError: a part of it is not there.
    """
    found: list[Path] = []
    for name in (part for a in ASSIGNMENTS[: ASSIGNMENTS.index(assignment) + 1] for part in DATA.get(a, ())):
        part = DATA_FOLDER / name
        inside = (p for p in [part, *part.rglob("*")] if p.is_file() and UNFINISHED not in p.parts)
        files = [p for p in inside if p.suffix not in SCRIPTS and not p.name.startswith(".")]
        if not files:
            raise FileNotFoundError(
                f"data/{name} of {assignment} is missing: get it from the course's repository"
            )
        found += files
    return sorted(set(found))


def build_edition(assignment: str, folder: Path) -> Path:
    """Write the student edition to `folder`/cs_vl, without data; returns that path.  An old one is replaced."""
    target = folder / "cs_vl"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(LIBRARY, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", STAND_INS))
    regions = stripped_regions(assignment)
    by_file: dict[Path, list[Region]] = {}
    for region in regions:
        by_file.setdefault(region.path, []).append(region)
    for path, inside in by_file.items():
        lines = path.read_text(encoding="utf-8").split("\n")
        for region in sorted(inside, key=lambda r: -r.first_line):
            lines[region.first_line - 1 : region.last_line] = strip(region.source).split("\n")
        (target / path.relative_to(LIBRARY)).write_text("\n".join(lines), encoding="utf-8")
    for name in ASSIGNMENTS[ASSIGNMENTS.index(assignment) :]:
        for path in (target / kin for kin in KIN.get(name, ())):
            path.write_text(strip(path.read_text(encoding="utf-8"), LEFT_OUT), encoding="utf-8")
    for path in target.rglob("*.py"):
        plain = without_marks(path.read_text(encoding="utf-8"))
        ast.parse(plain)
        path.write_text(plain, encoding="utf-8")
    _set_version(target / "__init__.py", edition_version(assignment))
    edition = {
        "assignment": assignment,
        "stripped": {region.exercise.name: region.methods for region in regions},
    }
    (target / "student_edition.json").write_text(json.dumps(edition, indent=1) + "\n")
    return target


def _set_version(path: Path, version: str) -> None:
    text, line = path.read_text(encoding="utf-8"), '__version__ = "{}"'
    if text.count(line.format(cs_vl.__version__)) != 1:
        raise ValueError(f"{path.name} of cs_vl should have one line {line.format(cs_vl.__version__)}")
    path.write_text(text.replace(line.format(cs_vl.__version__), line.format(version)), encoding="utf-8")


def add_data(assignment: str, edition: Path) -> None:
    """Copy the data that an assignment's students need into its edition, where `cs_vl.data.files` finds them.

    Raises:
        FileNotFoundError: a part of it is not there.
    """
    for path in data_files(assignment):
        target = edition / "_data" / path.relative_to(DATA_FOLDER)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
