"""The student edition of the library: `cs_vl` without the answers of an assignment and of later ones."""

import ast
import json
import shutil
from pathlib import Path

import cs_vl
from autograder.build.regions import Region, find_region, strip, without_marks
from cs_vl.checks.spec import ASSIGNMENTS, load_assignment

LIBRARY = Path(cs_vl.__file__).parent


def stripped_regions(assignment: str) -> list[Region]:
    """The regions that an edition for this assignment lacks: its own, and those of later assignments."""
    later = ASSIGNMENTS[ASSIGNMENTS.index(assignment) :]
    return [find_region(e) for name in later for e in load_assignment(name).exercises]


def solved_exercises(assignment: str) -> list[str]:
    """The exercises that ship solved: those of earlier assignments."""
    earlier = ASSIGNMENTS[: ASSIGNMENTS.index(assignment)]
    return [e.name for name in earlier for e in load_assignment(name).exercises]


def build_edition(assignment: str, folder: Path) -> Path:
    """Write the student edition to `folder`/cs_vl; returns that path.  An old one is replaced."""
    target = folder / "cs_vl"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(LIBRARY, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    regions = stripped_regions(assignment)
    by_file: dict[Path, list[Region]] = {}
    for region in regions:
        by_file.setdefault(region.path, []).append(region)
    for path, inside in by_file.items():
        lines = path.read_text(encoding="utf-8").split("\n")
        for region in sorted(inside, key=lambda r: -r.first_line):
            lines[region.first_line - 1 : region.last_line] = strip(region.source).split("\n")
        (target / path.relative_to(LIBRARY)).write_text("\n".join(lines), encoding="utf-8")
    for path in target.rglob("*.py"):
        plain = without_marks(path.read_text(encoding="utf-8"))
        ast.parse(plain)
        path.write_text(plain, encoding="utf-8")
    edition = {region.exercise.name: region.methods for region in regions}
    (target / "student_edition.json").write_text(json.dumps(edition, indent=1) + "\n")
    return target
