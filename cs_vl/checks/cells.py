"""Read a submission, notebook or percent script, without trusting it: a list of cells, or one sentence."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 64 * 2**20
MAX_CELLS = 5_000
MAX_CELL_CHARACTERS = 200_000


class Unreadable(ValueError):
    """A file that is no notebook; the message is one sentence for the student and the TA."""


@dataclass
class Cell:
    """One cell: its number from 1, its source, and nbgrader's grade id where it has one."""

    number: int
    kind: str  # "code", "markdown" or "raw"
    source: str
    grade_id: str = ""


@dataclass
class Submission:
    """The cells of a file, and what could not be read of it."""

    cells: list[Cell]
    notes: list[str] = field(default_factory=list)


def read_submission(path: Path) -> Submission:
    """Read a `.ipynb` or percent-format `.py` file.

    Raises:
        Unreadable: missing, too large, empty, or not a notebook.
    """
    name = path.name
    if not path.is_file() or path.is_symlink():
        raise Unreadable(f"{name}: there is no such file (a plain file is expected, no link or folder)")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise Unreadable(
            f"{name} has more than {MAX_FILE_BYTES // 2**20} MB: clear all outputs and save it again"
        )
    text = _decode(path.read_bytes(), name)
    if not text.strip():
        raise Unreadable(f"{name} is empty")
    raw = _script_cells(text, name) if path.suffix == ".py" else _notebook_cells(text, name)
    notes = []
    if len(raw) > MAX_CELLS:
        notes.append(f"only the first {MAX_CELLS} of {len(raw)} cells were read")
    cells = [_cell(number, data) for number, data in enumerate(raw[:MAX_CELLS], start=1)]
    for cell in cells:
        if len(cell.source) > MAX_CELL_CHARACTERS:
            notes.append(f"cell {cell.number} is too long to be read")
            cell.source = ""
    return Submission(cells, notes)


def _decode(data: bytes, name: str) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(f"{name} is not text (UTF-8 is expected)") from error


def _notebook_cells(text: str, name: str) -> list[Any]:
    try:
        notebook = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unreadable(
            f"{name} is not a whole notebook (its JSON breaks off or is damaged): save it again"
        ) from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if cells is None and isinstance(notebook, dict):  # nbformat 3
        sheets = notebook.get("worksheets")
        sheets = [s for s in sheets if isinstance(s, dict)] if isinstance(sheets, list) else []
        cells = [cell for sheet in sheets for cell in (sheet.get("cells") or [])] or None
    if not isinstance(cells, list):
        raise Unreadable(f"{name} is not a notebook: it has no list of cells")
    return cells


def _script_cells(text: str, name: str) -> list[Any]:
    import jupytext

    try:
        return list(jupytext.reads(text, fmt="py:percent").cells)
    except Exception as error:
        raise Unreadable(f"{name} can't be read as a percent script ({type(error).__name__})") from error


def _cell(number: int, data: Any) -> Cell:
    data = data if isinstance(data, dict) else {}
    source = data.get("source", data.get("input", ""))
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    metadata = data.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    grade_id = nbgrader.get("grade_id", "") if isinstance(nbgrader, dict) else ""
    return Cell(
        number,
        str(data.get("cell_type", "raw")),
        source if isinstance(source, str) else "",
        grade_id if isinstance(grade_id, str) else "",
    )
