"""Run the solved notebooks, so that they hold their figures, and record of which code these are."""

import ast
import base64
import hashlib
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

import cs_vl
from autograder.build.notebooks import ROOT, solved_path, write

LIMIT_SECONDS = 1800
WIDGET = "application/vnd.jupyter.widget-view+json"


def state_hash(notebook: nbformat.NotebookNode) -> str:
    """A hash of all that the outputs depend on: the cells, the library's code, the data.

    Comments, docstrings, layout and the version of Python leave it as it is.
    """
    digest = hashlib.sha256()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            digest.update(cell.source.encode())
    library = Path(cs_vl.__file__).parent
    for path in sorted(library.rglob("*.py")):
        digest.update(str(path.relative_to(library)).encode())
        digest.update(repr(_shape(ast.parse(path.read_text(encoding="utf-8")))).encode())
    for path in sorted((ROOT / "data").rglob("*")):
        if path.is_file() and not path.name.endswith((".md", ".pyc")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _shape(node: object) -> object:
    """A syntax tree as nested tuples, without docstrings and without what is empty (newer Pythons add such fields)."""
    if isinstance(node, list):
        return tuple(_shape(x) for x in node if not _is_docstring(x))
    if isinstance(node, ast.AST):
        fields = ((name, _shape(value)) for name, value in ast.iter_fields(node) if value not in (None, []))
        return (type(node).__name__, *fields)
    return node


def _is_docstring(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def execute(assignment: str) -> float:
    """Run an assignment's solved notebook from top to bottom and save it; returns the seconds it took.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails.
    """
    path = solved_path(assignment)
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    NotebookClient(
        notebook, timeout=LIMIT_SECONDS, resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    seconds = time.perf_counter() - start
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day: noise in a diff
        if cell.cell_type == "code":  # a progress bar that has run out is nothing to look at
            cell.outputs = [o for o in cell.outputs if WIDGET not in o.get("data", {})]
        for tag in cell.metadata.get("tags", []):
            if tag.startswith("figure:"):
                _save_figure(cell, path.parent / "figures" / f"{tag.removeprefix('figure:')}.png")
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["cs_vl"]["executed"] = state_hash(notebook)
    write(notebook, path)
    return seconds


def _save_figure(cell: nbformat.NotebookNode, path: Path) -> None:
    """Save a cell's picture, for the README; a cell's tag `figure:name` asks for it."""
    pictures = [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
    if not pictures:
        raise ValueError(f"the cell tagged figure:{path.stem} shows no picture")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(base64.b64decode(pictures[-1]))
