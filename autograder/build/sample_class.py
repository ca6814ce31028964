"""The sample class: submissions such as students hand them in, made from the student notebook.

`make grade` grades them; tests use the same ways to fill in a notebook.
"""

import ast
import inspect
import json
import re
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.build.notebooks import grade_id_of, student_path
from autograder.build.regions import find_region, free_names, without_marks
from autograder.known import load_known
from cs_vl.checks.spec import Assignment, Exercise, load_assignment

FOLDER = Path(__file__).parents[1] / "sample_class"
ASSIGNMENT = "a1_transformer"

# Slips in the answer, as (exercise, what stands there, what the student wrote).
Slip = tuple[str, str, str]
SLIPS: dict[str, list[Slip]] = {
    "edsger": [("scaled_dot_product_attention", " / math.sqrt(q.shape[-1])", "")],
    "fatima": [("softmax", "x - x.max(axis=axis, keepdims=True)", "x")],
    "goran": [("layer_norm_backward", "g - g.mean(axis=-1, keepdims=True) - x_hat", "g - x_hat")],
    "hana": [("PatchEmbed", "permute(0, 2, 4, 1, 3, 5)", "permute(0, 4, 2, 1, 3, 5)")],
}

PROSE = (
    "The scores are sums of d_k products, so their variance grows with d_k; without the division the softmax "
    "saturates and its gradient vanishes."
)


def answers(assignment: Assignment) -> dict[str, str]:
    """The library's own answers, as a student would have typed them."""
    return {e.name: without_marks(find_region(e).source) for e in assignment.exercises}


def differently(assignment: Assignment) -> dict[str, str]:
    """Right answers written differently, where an alternative stands on its own feet."""
    known = load_known(assignment.name)
    return {
        e.name: next(filter(None, (_as_student(e, a) for a in known[e.name].alternatives.values())), answer)
        for e, answer in zip(assignment.exercises, answers(assignment).values(), strict=True)
    }


def _as_student(exercise: Exercise, alternative: Any) -> str | None:
    """An alternative under the exercise's name, with its imports; None if it needs helpers from its file."""
    source = textwrap.dedent(inspect.getsource(alternative))
    node: Any = ast.parse(source).body[0]
    imports = _imports_of(alternative)
    if isinstance(alternative, type):
        region = find_region(exercise)
        methods = [m for m in node.body if isinstance(m, ast.FunctionDef)]
        if [m.name for m in methods] != region.methods:
            return None
        body = ast.get_source_segment(source, methods[0]) or ""
        if "super()" in body:
            return None
        given, _, _ = without_marks(region.source).rpartition(f"    def {methods[0].name}(")
        cell = given + "    " + body
    else:
        start = node.lineno - 1
        cell = "\n".join(source.split("\n")[start:])
        cell = "@exercise\n" + re.sub(rf"^def {node.name}\(", f"def {exercise.name}(", cell, count=1)
        if re.search(rf"\b{node.name}\b", cell):
            return None
    needed = free_names(cell) & (imports.keys() | vars(inspect.getmodule(alternative)).keys())
    local = {n for n in needed if n not in imports and n not in find_region(exercise).imports}
    if local:
        return None
    return "\n".join([*sorted({imports[n] for n in needed if n in imports}), "", cell]).strip()


def _imports_of(alternative: Any) -> dict[str, str]:
    """{name: import statement} of the file that an alternative stands in."""
    found = {}
    module: Any = inspect.getmodule(alternative)
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("autograder", "cs_vl")):
                continue
            for alias in node.names:
                single = (
                    ast.Import([alias])
                    if isinstance(node, ast.Import)
                    else ast.ImportFrom(node.module, [alias], 0)
                )
                found[alias.asname or alias.name.split(".")[0]] = ast.unparse(single)
    return found


def fill(notebook: NotebookNode, cells: dict[str, str]) -> NotebookNode:
    """A copy of a student notebook with the sources of cells replaced, by grade id."""
    filled = nbformat.reads(nbformat.writes(notebook), as_version=4)
    for cell in filled.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        if grade_id in cells:
            cell.source = cells[grade_id]
    return filled


def written_ids(notebook: NotebookNode) -> list[str]:
    """The grade ids of a notebook's written answers."""
    ids = map(grade_id_of, notebook.cells)
    return [grade_id for grade_id in ids if grade_id.startswith("written-")]


def slipped(assignment: Assignment, slips: list[Slip]) -> dict[str, str]:
    """The answers with some slips.

    Raises:
        ValueError: the text to be replaced is not there.
    """
    cells = answers(assignment)
    for name, old, new in slips:
        if name not in cells:
            continue
        if old not in cells[name]:
            raise ValueError(f"the answer of {name} does not contain {old!r}: change the sample class's slip")
        cells[name] = cells[name].replace(old, new)
    return cells


def make_class(assignment: Assignment) -> dict[str, NotebookNode]:
    """{student: notebook}."""
    blank = nbformat.read(student_path(assignment.name), as_version=4)
    right = answers(assignment)
    names = list(right)
    written = {grade_id: PROSE for grade_id in written_ids(blank)}

    def with_code(name: str, change: Callable[[str], str]) -> dict[str, str]:
        return {**right, **written, name: change(right[name])}

    people = {
        "ada": fill(blank, {**right, **written}),
        "barbara": fill(blank, {**differently(assignment), **written}),
        "charles": fill(blank, {name: right[name] for name in names[: len(names) // 2]}),
        **{who: fill(blank, {**slipped(assignment, slips), **written}) for who, slips in SLIPS.items()},
        "ivan": fill(blank, with_code("MultiHeadAttention", lambda s: s.replace("class MultiHeadAttention(nn.Module):", "class MultiHeadAttention(nn.Module)"))),
        "jun": fill(blank, with_code("bpe_encode", _endless)),
        "katherine": fill(blank, {**right, **written}),
        "leslie": fill(blank, {**right, **written}),
        "maryam": blank,
    }  # fmt: skip
    loop = nbformat.v4.new_code_cell(
        "# let it train over night\nstep = 0\nwhile True:\n    step += 1", id="overnight"
    )
    people["katherine"].cells.insert(2, loop)
    people["leslie"].cells = [
        c for c in people["leslie"].cells if c.metadata.get("nbgrader", {}).get("grade_id") != "check-softmax"
    ]
    return people


def _endless(source: str) -> str:
    """An endless loop as a student writes one: the line that makes progress is missing."""
    line = "            ids = merge_pair("
    if line not in source:
        raise ValueError(
            "the answer of bpe_encode has no line to forget: change the sample class's endless loop"
        )
    return re.sub(rf"(?m)^{re.escape(line)}.*\n", "            continue\n", source)


def write_class() -> None:
    """Write the sample class in nbgrader's layout, with a roster."""
    assignment = load_assignment(ASSIGNMENT)
    shutil.rmtree(FOLDER / "submitted", ignore_errors=True)
    people = make_class(assignment)
    for student, notebook in people.items():
        path = FOLDER / "submitted" / student / assignment.name / f"{assignment.name}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    (FOLDER / "roster.csv").write_text(
        "id,name\n" + "".join(f"{s},{s.title()}\n" for s in [*people, "nobody"])
    )
