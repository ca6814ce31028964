"""The sample class: submissions such as students hand them in, made from the student notebooks.

`make grade` grades them; tests use the same ways to fill in a notebook.
"""

import ast
import inspect
import json
import re
import shutil
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from autograder.build.notebooks import grade_id_of, student_path
from autograder.build.regions import find_region, free_names, without_marks
from autograder.known import load_known
from cs_vl.checks.spec import ASSIGNMENTS, Assignment, Exercise, load_assignment

FOLDER = Path(__file__).parents[1] / "sample_class"

# A slip in an answer, as (exercise, what stands there, what the student wrote).
Slip = tuple[str, str, str]

PROSE = {
    "a1_transformer": (
        "The scores are sums of d_k products, so their variance grows with d_k; without the division the softmax "
        "saturates and its gradient vanishes."
    ),
    "a2_clip": (
        "The loss only ever compares the pairs of one batch, so what the model can tell apart depends on what "
        "stood together in its batches."
    ),
    "a4_vlm": (
        "The language model is frozen, so what it knew of the thing's name before is still there; all that the pictures "
        "had to teach is which name a picture stands for."
    ),
    "a5_sam": (
        "A click on the cheese may mean the cheese or the pizza; a model with one answer learns what is meant on "
        "average, and the average is neither."
    ),
}


@dataclass(frozen=True)
class Student:
    """What somebody handed in.

    Args:
        code: "right", "differently", "half" or "blank".
        slips: mistakes in it.
        cells: whole cells in place of answers, by exercise.
        story: a code cell of their own, near the start.
        deleted: the grade id of a cell that is gone.
    """

    code: str = "right"
    slips: tuple[Slip, ...] = ()
    cells: dict[str, str] = field(default_factory=dict)
    story: str = ""
    deleted: str = ""


OVER_NIGHT = "# let it train over night\nstep = 0\nwhile True:\n    step += 1"

# Right numbers, from a matrix that the memory cap does not allow.
ALL_AT_ONCE = """\
@exercise
def siglip_chunked(image_features, text_features, scale, bias, chunk_size):
    leaves = [x.detach().clone().requires_grad_() for x in (image_features, text_features, scale, bias)]
    images, texts, scale, bias = leaves
    logits = scale * images @ texts.T + bias
    labels = 2 * torch.eye(len(images), dtype=images.dtype) - 1
    loss = -torch.nn.functional.logsigmoid(labels * logits).sum() / len(images)
    loss.backward()
    return loss.detach(), tuple(x.grad for x in leaves)"""

CLASSES: dict[str, dict[str, Student]] = {
    "a1_transformer": {
        "ada": Student(),
        "barbara": Student("differently"),
        "charles": Student("half"),
        "edsger": Student(slips=(("scaled_dot_product_attention", " / math.sqrt(q.shape[-1])", ""),)),
        "fatima": Student(slips=(("softmax", "x - x.max(axis=axis, keepdims=True)", "x"),)),
        "goran": Student(
            slips=(("layer_norm_backward", "g - g.mean(axis=-1, keepdims=True) - x_hat", "g - x_hat"),)
        ),
        "hana": Student(slips=(("PatchEmbed", "permute(0, 2, 4, 1, 3, 5)", "permute(0, 4, 2, 1, 3, 5)"),)),
        "ivan": Student(  # not Python
            slips=(("MultiHeadAttention", "MultiHeadAttention(nn.Module):", "MultiHeadAttention(nn.Module)"),)
        ),
        "jun": Student(  # an endless loop: the line that makes progress is missing
            slips=(("bpe_encode", "ids = merge_pair(ids, first, new_ids[first])", "continue"),)
        ),
        "katherine": Student(story=OVER_NIGHT),
        "leslie": Student(deleted="check-softmax"),
        "maryam": Student("blank"),
    },
    "a2_clip": {
        "ada": Student(),
        "barbara": Student("differently"),
        "charles": Student("half", story=OVER_NIGHT),
        "edsger": Student(slips=(("siglip_loss", ".sum() / len(logits)", ".mean()"),)),
        "fatima": Student(slips=(("info_nce_numpy_backward", "(p - np.eye(len(p))) / len(p)", "p - np.eye(len(p))"),)),
        "goran": Student(slips=(("clamp_logit_scale", "math.log(max_scale)", "max_scale"),)),
        "hana": Student(cells={"siglip_chunked": ALL_AT_ONCE}),
        "maryam": Student("blank"),
    },
    "a4_vlm": {
        "ada": Student(),
        "barbara": Student("differently"),
        "goran": Student(
            slips=tuple(("GatedCrossAttention", f"self.{gate}.tanh()", f"self.{gate}") for gate in ("attn_gate", "mlp_gate"))
        ),
    },
    "a5_sam": {
        "ada": Student(),
        "barbara": Student("differently"),
        "hana": Student(slips=(("best_of_masks_loss", "losses.min(dim=1).values.mean()", "losses.mean()"),)),
    },
}  # fmt: skip


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


def slipped(assignment: Assignment, slips: Iterable[Slip]) -> dict[str, str]:
    """The answers with some slips.

    Raises:
        ValueError: the text to be replaced is not there.
    """
    cells = answers(assignment)
    for name, old, new in slips:
        if old not in cells[name]:
            raise ValueError(f"the answer of {name} does not contain {old!r}: change the sample class's slip")
        cells[name] = cells[name].replace(old, new)
    return cells


def make_class(assignment: Assignment) -> dict[str, NotebookNode]:
    """{student: notebook}."""
    blank = nbformat.read(student_path(assignment.name), as_version=4)
    return {
        name: _handed_in(assignment, blank, student) for name, student in CLASSES[assignment.name].items()
    }


def _handed_in(assignment: Assignment, blank: NotebookNode, student: Student) -> NotebookNode:
    right = answers(assignment)
    written = {grade_id: PROSE[assignment.name] for grade_id in written_ids(blank)}
    names = list(right)
    filled_in = {
        "right": lambda: {**slipped(assignment, student.slips), **written},
        "differently": lambda: {**differently(assignment), **written},
        "half": lambda: {name: right[name] for name in names[: len(names) // 2]},
        "blank": dict,
    }
    notebook = fill(blank, {**filled_in[student.code](), **student.cells})
    if student.story:
        notebook.cells.insert(2, nbformat.v4.new_code_cell(student.story, id="my-own"))
    notebook.cells = [c for c in notebook.cells if not student.deleted or grade_id_of(c) != student.deleted]
    return notebook


def write_class(assignment_name: str) -> None:
    """Write an assignment's part of the sample class in nbgrader's layout, and the roster of all."""
    assignment = load_assignment(assignment_name)
    people = make_class(assignment)
    for old in FOLDER.glob(f"submitted/*/{assignment.name}"):
        shutil.rmtree(old)
    for student, notebook in people.items():
        path = FOLDER / "submitted" / student / assignment.name / f"{assignment.name}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    everyone = dict.fromkeys(who for name in ASSIGNMENTS for who in CLASSES.get(name, {}))
    (FOLDER / "roster.csv").write_text(
        "id,name\n" + "".join(f"{who},{who.title()}\n" for who in [*everyone, "nobody"])
    )
