"""What a run leaves behind: a page a student, a page for the class, and tables (autograder.exports).

Pages stand alone: nothing from the net, one small script of ours (the class page's, named by its hash in the page's
security policy), and whatever a student wrote is escaped.
"""

import base64
import hashlib
import statistics
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment

from autograder import exports
from autograder.grade import Result
from autograder.journal import grader_version
from autograder.report.advice import next_steps
from autograder.report.looks import CHECKS, SUBMISSIONS, UNKNOWN, look, standing, submission_look
from autograder.report.pairs import chosen_pairs, side_by_side
from autograder.report.summary import (
    histogram,
    misconceptions,
    rate,
    score_line,
    spent,
    to_look_at,
    why,
)
from autograder.report.text import page_name, said, shown, with_code
from autograder.similar import Group
from cs_vl.checks.card import html_templates
from cs_vl.checks.spec import Assignment

__all__ = ["page_name", "score_line", "write_report"]

MOST_NOTES = 40  # of a student, in the own page

# What a standing means, in a sentence for the student.
MEANINGS = {
    "waits": "A person has yet to read the written answers.",
    "stale": "This is the score of an earlier run: grading the newest submission failed.",
    "no file": "Nothing was handed in.",
    "unreadable": "The file could not be read; no score was given. A person has to look at it.",
    "grader error": "The grader failed on this submission. That is a fault of ours: no score was given.",
}


def _templates() -> Environment:
    found = html_templates("autograder.report")
    found.filters |= {
        "with_code": with_code, "shown": shown, "said": said, "look": look, "submission_look": submission_look,
    }  # fmt: skip
    found.globals |= {
        "all_looks": [*CHECKS.values(), *SUBMISSIONS.values(), UNKNOWN], "checks": CHECKS, "submissions": SUBMISSIONS,
        "standing": standing, "page_name": page_name, "why": why, "most_notes": MOST_NOTES,
        "waiting": SUBMISSIONS["waits"], "missing": CHECKS["missing"],
        "verdicts_of": lambda result: {v.exercise: v for v in result.verdicts},
    }  # fmt: skip
    return found


templates = _templates()


def write_report(
    assignment: Assignment,
    results: list[Result],
    remarks: list[str],
    folder: Path,
    walls: list[str],
    people: Mapping[str, Mapping[str, str]] | None = None,
    similar: list[Group] | None = None,
) -> Path:
    """Write all pages and tables; returns the class page's path.

    Args:
        remarks: about files and people that fit nowhere.
        walls: which walls stood between students' code and the machine, a sentence each.
        people: {student id: their row of the roster}, for the tables that other systems import.
        similar: groups of similar submissions (autograder.similar), for the class page alone.
    """
    common: dict[str, Any] = {
        "assignment": assignment,
        "version": grader_version(),
        "walls": walls,
    }
    students = _emptied(folder / "students")
    for result in results:
        _write(
            students / page_name(result.student), "student.html", result=result, steps=next_steps(result),
            meaning=MEANINGS.get(standing(result), ""), **common,
        )  # fmt: skip
    pages = {pair: f"{i}.html" for i, pair in enumerate(chosen_pairs(similar or []), 1)}
    pairs = _emptied(folder / "similar")
    for pair, page in pages.items():
        _write(pairs / page, "pair.html", pair=pair, rows=side_by_side(pair), **common)
    of_class = _of_class(assignment, results) | {"similar": similar or [], "pair_pages": pages}
    _write(folder / "index.html", "class.html", remarks=remarks, **of_class, **common)
    exports.write_exports(assignment, results, folder, people or {})
    return folder / "index.html"


def _emptied(folder: Path) -> Path:
    """A folder without the pages of an earlier run, which may be of people who are not in the class any more."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in folder.glob("*.html"):
        page.unlink()
    return folder


def _of_class(assignment: Assignment, results: list[Result]) -> dict[str, Any]:
    graded = [r for r in results if r.points is not None]
    scores = [r.points or 0.0 for r in graded]
    total = assignment.points
    bars = histogram(scores, total)
    script, _, _ = templates.loader.get_source(templates, "students.js")  # type: ignore[union-attr]
    return {
        "results": results, "graded": graded, "total": total, "counts": Counter(map(standing, results)),
        "written": max((sum(w.out_of for w in r.written) for r in results), default=0.0),
        "mean": statistics.fmean(scores) if scores else None,
        "median": statistics.median(scores) if scores else None,
        "bars": bars, "tallest": max(1, *(bar.count for bar in bars)),
        "rates": [rate(exercise, graded) for exercise in assignment.exercises],
        "mistaken": misconceptions(graded), "times": spent(results),
        "look_at": to_look_at(results), "absent": [r for r in results if r.status == "no file"],
        "script": script, "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }  # fmt: skip


def _write(path: Path, template: str, **values: Any) -> None:
    text = templates.get_template(template).render(**values)
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
