"""Run the solved notebooks, so that they hold their figures, and record of which code these are."""

import ast
import base64
import hashlib
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient

import cs_vl
from autograder.build.edition import DATA_FOLDER, data_files
from autograder.build.notebooks import solved_path, write
from cs_vl.checks.source import parse

LIMIT_SECONDS = 1800
WIDGET = "application/vnd.jupyter.widget-view+json"


def state_hash(notebook: nbformat.NotebookNode) -> str:
    """A hash of all that the outputs depend on: the cells, the modules that they reach, the assignment's data.

    Comments, docstrings, layout and the version of Python leave it as it is; so do the install cell, the modules and
    the data of other assignments.

    Raises:
        FileNotFoundError: some of the data is missing.
    """
    assignment = notebook.metadata["cs_vl"]["assignment"]
    digest = hashlib.sha256()
    sources = [
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "code" and "install" not in cell.metadata.get("tags", [])
    ]
    for source in sources:
        digest.update(source.encode())
    # `check` imports the assignment's checks by name, and the stand-ins, too.
    by_name = f"import cs_vl.checks.{assignment}.stand_ins"
    for module, tree in sorted(import_closure([*sources, by_name]).items()):
        digest.update(module.encode())
        digest.update(repr(_shape(tree)).encode())
    for path in data_files(assignment):
        if path.suffix != ".md":
            digest.update(str(path.relative_to(DATA_FOLDER)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def import_closure(sources: Iterable[str]) -> dict[str, ast.Module]:
    """{module: its syntax tree} of all modules of the library that some cells import, directly or through others."""
    found: dict[str, ast.Module] = {}
    todo = [name for source in sources for name in _imported(parse(source))]
    while todo:
        name = todo.pop()
        path = _module_path(name)
        if path and name not in found:
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
            todo += _imported(found[name])
    return found


def _imported(tree: ast.Module) -> Iterator[str]:
    """What may be modules of the library in a file's imports, packages on the way included, and in its strings.

    Raises:
        ValueError: a relative import.
    """
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"`{ast.unparse(node)}`: write imports with their full names")
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # an exercise's module
            names = [node.value] if re.fullmatch(r"cs_vl(\.\w+)+", node.value) else []
        for parts in (name.split(".") for name in names):
            if parts[0] == "cs_vl":
                yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _module_path(name: str) -> Path | None:
    base = Path(cs_vl.__file__).parents[1].joinpath(*name.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


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
        FileNotFoundError: some data is missing.
    """
    path = solved_path(assignment)
    notebook = nbformat.read(path, as_version=4)
    executed = state_hash(notebook)
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
    notebook.metadata["cs_vl"]["executed"] = executed
    write(notebook, path)
    return seconds


def _save_figure(cell: nbformat.NotebookNode, path: Path) -> None:
    """Save a cell's picture, for the README; a cell's tag `figure:name` asks for it."""
    pictures = [o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {})]
    if not pictures:
        raise ValueError(f"the cell tagged figure:{path.stem} shows no picture")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(base64.b64decode(pictures[-1]))
