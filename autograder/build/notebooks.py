"""From the text notebook to the solved and the student notebook.

The text notebook (`solutions/<a>/<a>.md`, jupytext Markdown) holds the story.  Its directives are cell metadata:

    ```python exercise="softmax"         pulls the exercise out of the library: imports, blank, check
    <!-- #region written="why" points=5  a written answer, graded by a person; the model answer
                                         stands between solution marks
"""

import hashlib
from collections import Counter, defaultdict, deque
from pathlib import Path

import jupytext
import nbformat
from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbformat import NotebookNode
from nbgrader import preprocessors as nbg

from autograder.build.edition import edition_label, wheel_name
from autograder.build.regions import BEGIN, END, find_region
from cs_vl import __version__
from cs_vl.checks.spec import Assignment, load_assignment

ROOT = Path(__file__).parents[2]
SCHEMA = 3  # of nbgrader's cell metadata
DIRECTIVES = {"exercise", "written", "points", "tags"}

INSTALL = """\
# cs_vl should be here, in this assignment's edition: the wheel that came with this notebook.
from importlib.metadata import distributions
from pathlib import Path

wheel = "{wheel}"
edition = next((found.version for found in distributions(name="cs_vl")), "+none").partition("+")[2]
if edition in ("{label}", ""):
    pass  # it is ("": the whole course)
elif Path(wheel).exists():
    %pip install -q {{wheel}}
else:
    print(f"cs_vl is missing, or another assignment's: choose this one's kernel, or put {{wheel}} beside this notebook.")"""


def install_cell(assignment: str) -> NotebookNode:
    """The first cell: where cs_vl is missing (Colab) or another assignment's edition, it installs the wheel."""
    source = INSTALL.format(wheel=wheel_name(assignment), label=edition_label(assignment))
    return _code(source, tags=["install"])


def source_path(assignment: str) -> Path:
    return ROOT / "solutions" / assignment / f"{assignment}.md"


def solved_path(assignment: str) -> Path:
    return ROOT / "solutions" / assignment / f"{assignment}.ipynb"


def student_path(assignment: str) -> Path:
    return ROOT / "assignments" / assignment / f"{assignment}.ipynb"


def solved_notebook(assignment: Assignment) -> NotebookNode:
    """Expand the text notebook's directives; nothing is executed.

    Raises:
        ValueError: a directive that can't be followed; an exercise that the notebook lacks, or has twice.
    """
    path = source_path(assignment.name)
    cells: list[NotebookNode] = [install_cell(assignment.name)]
    for cell in jupytext.read(path).cells:
        try:
            cells += _expand(assignment, cell)
        except ValueError as error:
            raise ValueError(f"{path.name}: {error}") from error
    _compare_order(path.name, cells, [exercise.name for exercise in assignment.exercises])
    _name_cells(path.name, cells)
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "cs_vl": {"assignment": assignment.name, "version": __version__},
    }
    return notebook


def _expand(assignment: Assignment, cell: NotebookNode) -> list[NotebookNode]:
    """What a cell of the text notebook becomes."""
    unknown = cell.metadata.keys() - DIRECTIVES
    if unknown:
        raise ValueError(f"there is no directive {min(unknown)!r}; there is {', '.join(sorted(DIRECTIVES))}")
    name, written = cell.metadata.pop("exercise", None), cell.metadata.pop("written", None)
    points = cell.metadata.pop("points", None)
    if name is not None:
        if cell.cell_type != "code" or cell.source.strip():
            raise ValueError(
                f'the cell of exercise="{name}" should be code, and empty: its text is the library\'s'
            )
        return _exercise_cells(assignment, name)
    if written is not None:
        if cell.cell_type != "markdown" or cell.source.count(BEGIN) != 1 or cell.source.count(END) != 1:
            raise ValueError(
                f'the cell of written="{written}" should be Markdown, with a model answer in marks'
            )
        if not isinstance(points, int | float):
            raise ValueError(f'the cell of written="{written}" needs points, a number; got {points!r}')
        return [_graded(cell, f"written-{written}", grade=True, solution=True, points=float(points))]
    return [cell]


def _compare_order(file: str, cells: list[NotebookNode], expected: list[str]) -> None:
    """Raise a ValueError where the notebook's exercises are not those of the checks, in their order."""
    pulled = [grade_id for grade_id in map(grade_id_of, cells) if grade_id in expected]
    lacking = [name for name in expected if name not in pulled]
    twice = [name for name, count in Counter(pulled).items() if count > 1]
    for names, what in ((lacking, "lacks"), (twice, "has more than once")):
        if names:
            raise ValueError(f"{file} {what} the exercise {', '.join(names)}")
    if pulled != expected:
        raise ValueError(f"{file} has the exercises in the order {pulled}; the checks have {expected}")


def _name_cells(file: str, cells: list[NotebookNode]) -> None:
    """Give each cell an id: its grade id, or a hash of what it says, so that an edit leaves the others' alone."""
    seen: Counter[str] = Counter()
    for cell in cells:
        name = grade_id_of(cell)
        if name and seen[name]:
            raise ValueError(f"{file} has two cells {name!r}: give each a name of its own")
        name = name or f"story-{hashlib.sha256(cell.source.encode()).hexdigest()[:8]}"
        cell.id = f"{name}-{seen[name] + 1}" if seen[name] else name
        seen[name] += 1


def grade_id_of(cell: NotebookNode) -> str:
    """nbgrader's id of a cell, or "" where it has none."""
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def _exercise_cells(assignment: Assignment, name: str) -> list[NotebookNode]:
    try:
        exercise = assignment[name]
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    region = find_region(exercise)
    check = (
        f'from cs_vl.checks import check\n\ncheck("{name}")\n'
        "### BEGIN HIDDEN TESTS\n"
        "from autograder.hidden import check_hidden\n\n"
        f'check_hidden("{name}")\n'
        "### END HIDDEN TESTS"
    )
    return [
        _graded(_code(region.imports), f"imports-{name}", locked=True),
        _graded(_code(region.source), name, solution=True),
        _graded(_code(check), f"check-{name}", grade=True, locked=True, points=exercise.points),
    ]


def _code(source: str, tags: list[str] | None = None) -> NotebookNode:
    return nbformat.v4.new_code_cell(source, metadata={"tags": tags} if tags else {})


def _graded(
    cell: NotebookNode,
    grade_id: str,
    *,
    grade: bool = False,
    solution: bool = False,
    locked: bool = False,
    points: float | None = None,
) -> NotebookNode:
    cell.metadata["nbgrader"] = {
        "grade_id": grade_id,
        "grade": grade,
        "solution": solution,
        "locked": locked,
        "task": False,
        "schema_version": SCHEMA,
        **({"points": points} if points is not None else {}),
    }
    return cell


def student_notebook(solved: NotebookNode) -> NotebookNode:
    """What nbgrader's own `generate_assignment` makes of the solved notebook, without its database."""
    notebook = nbformat.from_dict(solved)
    notebook = nbformat.reads(nbformat.writes(notebook), as_version=4)
    notebook.metadata.get("cs_vl", {}).pop("executed", None)
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code" and not grade_id_of(cell) and "install" not in tags:
            # Run All goes on after a story cell that needs an exercise which is not written yet.
            cell.metadata["tags"] = [*tags, "raises-exception"]
    resources: dict = {"metadata": {}, "nbgrader": {}}
    for step in (
        nbg.LockCells, nbg.ClearSolutions, nbg.ClearOutput, nbg.CheckCellMetadata,
        nbg.ClearHiddenTests, nbg.ClearMarkScheme, nbg.ComputeChecksums, nbg.CheckCellMetadata,
    ):  # fmt: skip
        notebook, resources = step().preprocess(notebook, resources)
    keep = ClearMetadataPreprocessor(
        clear_notebook_metadata=False,
        preserve_cell_metadata_mask={"nbgrader", "tags", "deletable", "editable"},
    )
    return keep.preprocess(notebook, resources)[0]


def keep_outputs(new: NotebookNode, old_path: Path) -> NotebookNode:
    """Carry the outputs of unchanged cells, and the hash of the last execution, over to a rebuilt solved notebook."""
    if not old_path.exists():
        return new
    old = nbformat.read(old_path, as_version=4)
    before: dict[str, deque[NotebookNode]] = defaultdict(deque)
    for cell in old.cells:
        if cell.cell_type == "code":
            before[cell.source].append(cell)
    for cell in new.cells:
        if cell.cell_type == "code" and before[cell.source]:
            twin = before[cell.source].popleft()
            cell.outputs, cell.execution_count = twin.outputs, twin.execution_count
    if "executed" in old.metadata.get("cs_vl", {}):
        new.metadata["cs_vl"]["executed"] = old.metadata["cs_vl"]["executed"]
    return new


def write(notebook: NotebookNode, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def build_notebooks(assignment_name: str) -> None:
    """Write the solved and the student notebook of an assignment."""
    solved = solved_notebook(load_assignment(assignment_name))
    write(keep_outputs(solved, solved_path(assignment_name)), solved_path(assignment_name))
    write(student_notebook(solved), student_path(assignment_name))
