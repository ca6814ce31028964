"""Whether the built files are those that their sources give: structure exactly, floats by tolerance."""

import json
import math
from collections.abc import Iterator

import nbformat

from autograder.build import notebooks, sample_class
from autograder.build.execute import state_hash
from autograder.references import build_visible
from cs_vl.checks import visible, wire
from cs_vl.checks.compare import compare
from cs_vl.checks.spec import load_assignment

RTOL, ATOL = 1e-3, 1e-4  # between machines


def find_drift(assignment: str) -> list[str]:
    """One sentence for each built file that is not current."""
    found = [*_notebooks(assignment), *_references(assignment)]
    if assignment in sample_class.CLASSES:
        found += _sample_class(assignment)
    return [*found, *_execution(assignment)]


def _notebooks(assignment: str) -> Iterator[str]:
    solved = notebooks.solved_notebook(load_assignment(assignment))
    for path, fresh in (
        (notebooks.solved_path(assignment), solved),
        (notebooks.student_path(assignment), notebooks.student_notebook(solved)),
    ):
        file = "/".join(path.parts[-3:])
        if not path.exists():
            yield f"{file} is not built: run `make build`"
        elif _skeleton(nbformat.read(path, as_version=4)) != _skeleton(fresh):
            yield f"{file} is not what its source gives: run `make build`"


def _references(assignment: str) -> Iterator[str]:
    if not _stored(assignment):
        yield f"the references of {assignment} are not stored: run `make build`"
    elif not alike(_stored(assignment), build_visible(assignment)):
        yield f"the stored references of {assignment} are not what the answers give: run `make build`"


def store_references(assignment: str) -> None:
    """Store the visible cases; where the stored ones agree by tolerance, the files stay as they are."""
    fresh = build_visible(assignment)
    if not alike(_stored(assignment), fresh):
        wire.save(visible.reference_path(assignment), fresh)


def _stored(assignment: str) -> dict:
    try:
        return wire.load(visible.reference_path(assignment))
    except FileNotFoundError:
        return {}


def _sample_class(assignment: str) -> Iterator[str]:
    if not notebooks.student_path(assignment).exists():
        return  # said already
    for student, fresh in sample_class.make_class(load_assignment(assignment)).items():
        path = sample_class.FOLDER / "submitted" / student / assignment / f"{assignment}.ipynb"
        if not path.exists() or json.loads(path.read_text(encoding="utf-8")) != json.loads(json.dumps(fresh)):
            yield f"the sample class's {student} is not what its source gives: run `make build`"


def _execution(assignment: str) -> Iterator[str]:
    path = notebooks.solved_path(assignment)
    if not path.exists():
        return  # said already
    executed = nbformat.read(path, as_version=4)
    if executed.metadata.get("cs_vl", {}).get("executed") != state_hash(executed):
        yield f"the solved notebook of {assignment} was executed with other code: run `make execute`"


def _skeleton(notebook: nbformat.NotebookNode) -> list:
    """All but outputs and the hash."""
    metadata = {**notebook.metadata, "cs_vl": {**notebook.metadata.get("cs_vl", {}), "executed": None}}
    return [metadata, [(c.cell_type, c.id, c.source, dict(c.metadata)) for c in notebook.cells]]


def alike(a: object, b: object) -> bool:
    """Whether two trees of references agree: numbers by tolerance, all else exactly."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or math.isclose(a, b, rel_tol=RTOL, abs_tol=ATOL) or (math.isnan(a) and math.isnan(b))
    return compare({"x": a}, {"x": b}, RTOL, ATOL) is None
