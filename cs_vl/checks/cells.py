"""Read a submission, notebook or percent script, without trusting it: a list of cells, or one sentence.

Whatever the file holds, reading it ends soon and takes a bounded amount of memory: sizes are capped before
anything is parsed.  What is whole in a damaged file is read; the notes say what is not.
"""

import heapq
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 64 * 2**20
MAX_VALUES = 10_000_000  # of JSON: each takes some 60 bytes of memory, however short it is in the file
MAX_CELLS = 5_000
MAX_CELL_CHARACTERS = 200_000
MAX_CHARACTERS = 2_000_000  # of all cells together
MAX_DAMAGES = (
    10  # places where a damaged notebook is picked up again: each may cost a look at the whole of it
)

KINDS = ("code", "markdown", "raw")
MARKER = re.compile(r"^#[ \t]*%%.*$", re.MULTILINE)  # of a percent script's cells
OTHER_FORMATS = {
    "%PDF": "a PDF",
    "PK\x03\x04": "a zip file",
    "<": "a web page (HTML)",
    "{\\rtf": "a text document",
}


class Unreadable(ValueError):
    """A file that is no notebook; the message is one sentence for the student and the TA."""


@dataclass(slots=True)
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


def printable(text: str) -> str:
    """A name that is safe to show: odd characters, which could steer a terminal, are written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def read_submission(path: Path) -> Submission:
    """Read a `.ipynb` or percent-format `.py` file; what is inside decides, where the name is wrong.

    Raises:
        Unreadable: missing, too large, empty, or not a notebook.
    """
    name = printable(path.name)
    text = _decode(_bytes(path, name), name)
    notes: list[str] = []
    is_script, is_json = path.suffix.lower() == ".py", text.startswith("{")
    if is_script if is_json else not is_script and _PYTHON.search(text):
        is_script = not is_script
        notes.append(
            f"{name} is a {'script' if is_script else 'notebook'} by what it holds, and was read as one"
        )
    raw = _script_cells(text, name) if is_script else _notebook_cells(text, name, notes)
    return Submission(_within_limits(raw, notes), notes)


def _bytes(path: Path, name: str) -> bytes:
    try:
        if not path.is_file() or path.is_symlink():
            raise Unreadable(f"{name}: there is no such file (a plain file is expected, no link or folder)")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise Unreadable(
                f"{name} has more than {MAX_FILE_BYTES // 2**20} MB: clear all outputs and save it again"
            )
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(f"{name} can't be opened ({error.strerror})") from error


def _decode(data: bytes, name: str) -> str:
    """The text: UTF-8, -16 or -32, with or without a byte order mark; a few damaged bytes are passed over."""
    encoding = json.detect_encoding(data)
    # Zeros at the end are what a full disk or a crash leaves of a save.
    text = data.decode(encoding, errors="replace").rstrip("\0").lstrip("\ufeff \t\r\n\f")
    for start, what in OTHER_FORMATS.items():
        if text.startswith(start):
            raise Unreadable(f"{name} is {what}, not a notebook: hand in the .ipynb file itself")
    guessed = not encoding.startswith("utf-8") and data[:2] not in (b"\xff\xfe", b"\xfe\xff")
    if text.count("\ufffd") > len(text) / 20 or (guessed and not text[:1].isascii()):
        raise Unreadable(f"{name} is not text (UTF-8 is expected)")
    if not text:
        raise Unreadable(f"{name} is empty")
    return text


# --- notebooks ---------------------------------------------------------------------------------------------

# Numbers don't matter here, and a long int costs quadratic time.  Nor do control characters in strings.
_DECODER = json.JSONDecoder(strict=False, parse_int=float)
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)  # or its beginning
_CELL_START = re.compile(r'\{\s*+"(?:cell_type|attachments)"\s*+:')
_PYTHON = re.compile(r"^(# ?%%|import \w|from \w[\w.]* import |def \w+\(|class \w)", re.MULTILINE)


def _notebook_cells(text: str, name: str, notes: list[str]) -> list[Any]:
    strings = text.count('"') - text.count('\\"')
    if _values(text) > MAX_VALUES and (strings > MAX_VALUES or _values(_STRING.sub("0", text)) > MAX_VALUES):
        raise Unreadable(f"{name} holds more than {MAX_VALUES:,} values: clear all outputs and save it again")
    try:
        notebook = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        cells: Any = list(_whole_cells(text))
        if not cells:
            raise Unreadable(
                f"{name} is not a whole notebook (its JSON breaks off or is damaged): save it again"
            ) from error
        notes.append(
            f"{name} breaks off or is damaged: {len(cells)} whole cells of it were read, and what else it "
            "held is lost (save it again)"
        )
        return cells
    notebook = notebook if isinstance(notebook, dict) else {}
    cells = notebook.get("cells")
    if cells is None and isinstance(notebook.get("worksheets"), list):  # nbformat 3
        sheets = [sheet.get("cells") for sheet in notebook["worksheets"] if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets if isinstance(sheet, list) for cell in sheet] or None
    if not isinstance(cells, list):
        raise Unreadable(f"{name} is not a notebook: it has no list of cells")
    return cells


def _values(text: str) -> int:
    """At least the number of values in a JSON text; an object takes the memory of four."""
    return text.count(",") + text.count("[") + 4 * text.count("{")


def _whole_cells(text: str) -> Iterator[dict[str, Any]]:
    """The whole cells of a damaged notebook.  (In a string no cell starts: its quotes are escaped.)"""
    at = damages = 0
    while damages < MAX_DAMAGES and (start := _CELL_START.search(text, at)):
        try:
            cell, at = _DECODER.raw_decode(text, start.start())
            yield cell
        except (ValueError, RecursionError):
            at = start.end()
            damages += 1


# --- scripts -----------------------------------------------------------------------------------------------


def _script_cells(text: str, name: str) -> list[Any]:
    import jupytext

    if len(text) > MAX_CHARACTERS:
        raise Unreadable(f"{name} has more than {MAX_CHARACTERS:,} characters, too many for a script")
    if len(MARKER.findall(text)) <= MAX_CELLS // 2:  # with more of them jupytext takes its time
        try:
            return list(jupytext.reads(text, fmt="py:percent").cells)
        except Exception:  # a header that is no YAML, for example
            pass
    return [{"cell_type": "code", "source": source} for source in MARKER.split(text)]


# --- cells -------------------------------------------------------------------------------------------------


def _cell(number: int, data: Any) -> Cell:
    data = data if isinstance(data, dict) else {}
    source = data.get("source", data.get("input", ""))
    if isinstance(source, list):
        source = "".join(part for part in source if isinstance(part, str))
    metadata = data.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    grade_id = nbgrader.get("grade_id", "") if isinstance(nbgrader, dict) else ""
    kind = data.get("cell_type", "code" if "outputs" in data else "raw")
    return Cell(
        number,
        kind if kind in KINDS else "raw",
        _plain(source) if isinstance(source, str) else "",
        grade_id[:200] if isinstance(grade_id, str) else "",
    )


def _plain(source: str) -> str:
    """The source without what no Python takes and no editor shows: NUL, byte order marks, half characters."""
    if "\r" in source:
        source = source.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in source or "\ufeff" in source:
        source = source.replace("\0", "").replace("\ufeff", "")
    return source.encode("utf-8", errors="replace").decode()


def _within_limits(raw: list[Any], notes: list[str]) -> list[Cell]:
    """The cells that are read: those of nbgrader and code first, where they are too many or too long."""
    few = len(raw) <= MAX_CELLS
    cells = (_cell(number, data) for number, data in enumerate(raw, 1) if few or isinstance(data, dict))

    def matters(cell: Cell) -> tuple[bool, bool, int]:
        return not cell.grade_id, cell.kind != "code", cell.number

    if few:
        kept = list(cells)
    else:
        kept = heapq.nsmallest(MAX_CELLS, (c for c in cells if c.source.strip() or c.grade_id), key=matters)
        notes.append(f"{len(kept):,} of {len(raw):,} cells were read; the others are empty, or too many")
    left = MAX_CHARACTERS
    for cell in sorted(kept, key=matters):
        most = min(left, MAX_CELL_CHARACTERS)
        if len(cell.source) > most:
            # The beginning of a text can be read by a person; that of code would be other code.
            said = (
                f"only its first {most:,} characters were read" if cell.kind != "code" else "it was not read"
            )
            if cell.kind == "code" or cell.grade_id:
                notes.append(f"cell {cell.number} is too long: {said}")
            cell.source = "" if cell.kind == "code" else cell.source[:most]
        left -= len(cell.source)
    return sorted(kept, key=lambda cell: cell.number)
