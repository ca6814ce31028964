"""The notebook that formgrader shows: a student's cells, with nbgrader's metadata and our verdicts."""

import json
import re
from typing import Any

from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_solution

from autograder.build.notebooks import grade_id_of
from autograder.grade import Result
from cs_vl.checks.card import text
from cs_vl.checks.cells import Cell
from cs_vl.checks.judge import Verdict

ABSENT = "No cell of its own was handed in for this: the autograder put this one here."
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
WHY = {
    "no file": "Nothing that can be graded was handed in.",
    "unreadable": "The file could not be read, so no score was given.",
    "grader error": "The grader failed on this submission. That is a fault of ours, so no score was given.",
}
STALE = "This score is of an earlier run: grading again failed."

Pictures = dict[int, dict[str, dict[str, str]]]  # of a cell by its number: {name: {mime type: base64}}


def autograded(
    source: NotebookNode, cells: list[Cell], result: Result, pictures: Pictures | None = None
) -> dict[str, Any]:
    """A notebook of the student's cells, as JSON; nothing is executed, and outputs of theirs are left out.

    A cell of the source's takes its metadata to the student's cell of the same grade id, an answer failing that to the
    last cell that defines it.  Checks are the source's, with the verdict as their output; a cell that is missing is
    added after the one before it, so that each can be graded by hand.

    Args:
        source: as `course.source_notebook` gives it.
        pictures: those pasted into answers, as `pictures_in` finds them.
    """
    # Each of the student's cells, followed by what is added after it; the first stands for the start.
    slots: list[list[dict[str, Any]]] = [_head(result), *([_plain(cell)] for cell in cells)]
    verdicts = {f"check-{verdict.exercise}": verdict for verdict in result.verdicts}
    taken: set[int] = set()
    last = 0
    for original in source.cells:
        name = grade_id_of(original)
        if not name:
            continue
        found = _find(original, cells, taken)
        if found is None and not (is_grade(original) or is_solution(original)):
            continue  # the imports of an exercise
        cell = _as(original, cells[found - 1].source if found is not None else None)
        if is_grade(original) and not is_solution(original):
            cell["outputs"] = _outputs(verdicts.get(name))
        if found is None:
            slots[last].append(cell)
        else:
            if is_solution(original) and pictures and found in pictures and original.cell_type == "markdown":
                cell["attachments"] = pictures[found]
            slots[found][0] = cell
            taken.add(found)
            last = found
    shown = [cell for slot in slots for cell in slot]
    for number, cell in enumerate(shown, 1):
        cell["id"] = f"cell-{number}"
    metadata = {"kernelspec": source.metadata.get("kernelspec", {}), "language_info": {"name": "python"}}
    return {"cells": shown, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def answers(notebook: Any) -> dict[str, str]:
    """What stands in a notebook's answer cells, by grade id; nothing where it is no notebook."""
    found = {}
    for cell in notebook.get("cells", []) if isinstance(notebook, dict) else []:
        metadata = cell.get("metadata", {}).get("nbgrader", {})
        if metadata.get("solution"):
            found[metadata["grade_id"]] = "".join(cell["source"]).strip()
    return found


def pictures_in(cells: Any) -> Pictures:
    """The pictures pasted into a notebook's Markdown cells, as its JSON holds them; nothing else is taken from it."""
    found: Pictures = {}
    for number, cell in enumerate(cells if isinstance(cells, list) else [], 1):
        attached = cell.get("attachments") if isinstance(cell, dict) else None
        for name, kinds in attached.items() if isinstance(attached, dict) else ():
            for kind, data in kinds.items() if isinstance(kinds, dict) else ():
                if kind in PICTURES and isinstance(data, str):
                    found.setdefault(number, {})[name] = {kind: data}
    return found


def answers_in(text: str) -> dict[str, str]:
    """The same of a file's text."""
    try:
        return answers(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def harmless(text: str) -> str:
    """A text that is shown as Markdown, and quotes a student's code: no tag of theirs survives, nor half a character."""
    whole = text.encode(errors="backslashreplace").decode()
    return re.sub(r"<(?=[a-zA-Z/!?])", "< ", whole)


def why(result: Result) -> str:
    """Why a submission needs a person, or nothing."""
    if result.status == "graded" and not result.stale:
        return ""
    return harmless(" ".join([WHY.get(result.status, STALE), *result.notes]))


def _head(result: Result) -> list[dict[str, Any]]:
    lines = [why(result)] if why(result) else [f"- {harmless(note)}" for note in result.notes]
    return [_cell("markdown", "\n".join(["**Notes of the autograder**\n", *lines]))] if lines else []


def _find(original: NotebookNode, cells: list[Cell], taken: set[int]) -> int | None:
    """The number, from 1, of the student's cell for one of the source's."""
    name = grade_id_of(original)
    free = [n for n in range(1, len(cells) + 1) if n not in taken]
    numbers = [n for n in free if cells[n - 1].grade_id == name]
    if not is_solution(original):
        better = []
    elif original.cell_type == "code":
        defines = re.compile(rf"^(?:def|async def|class) +{name}\b|^{name} *=", re.MULTILINE)
        better = [n for n in numbers if defines.search(cells[n - 1].source)] or [
            n for n in free if cells[n - 1].kind == "code" and defines.search(cells[n - 1].source)
        ]
    else:
        better = [n for n in numbers if cells[n - 1].source.strip() not in ("", original.source.strip())]
    return next(reversed(better or numbers), None)


def _as(original: NotebookNode, answer: str | None) -> dict[str, Any]:
    """The source's cell with the student's answer in it, where it is one to be answered."""
    comment = "# " if original.cell_type == "code" else ""
    if answer is None:
        answer = f"{comment}{ABSENT}" + (f"\n\n{original.source}" if is_grade(original) else "")
    cell = _cell(original.cell_type, answer if is_solution(original) else original.source)
    cell["metadata"] = {"nbgrader": {**original.metadata.nbgrader, "cell_type": original.cell_type}}
    return cell


def _plain(cell: Cell) -> dict[str, Any]:
    return _cell(cell.kind if cell.kind in ("code", "markdown") else "raw", cell.source)


def _cell(kind: str, source: str) -> dict[str, Any]:
    code: dict[str, Any] = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source, **code}


def _outputs(verdict: Verdict | None) -> list[dict[str, Any]]:
    """The card as plain text, and the points as nbgrader reads them."""
    if verdict is None or verdict.status == "grader error":
        said = verdict.sentence if verdict else "This was not graded: the autograder's notes say why."
        return [{"output_type": "stream", "name": "stderr", "text": said}]
    card = {"output_type": "display_data", "data": {"text/plain": text(verdict)}, "metadata": {}}
    points = {"text/plain": repr(float(verdict.points))}
    return [card, {"output_type": "execute_result", "data": points, "metadata": {}, "execution_count": None}]
