"""What a run leaves behind: a page a student, a page for the class, CSV and JSON."""

import csv
import hashlib
import json
import re
from collections import Counter
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from autograder.grade import Result
from autograder.journal import grader_version
from cs_vl.checks.card import MARKS
from cs_vl.checks.spec import Assignment

templates = Environment(
    loader=PackageLoader("autograder.report", "templates"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters["number"] = lambda x: f"{x:g}"
templates.globals["marks"] = MARKS

# Said of the points that are not the student's doing, so that a zero, a crash and a missing file never look alike.
NOTHING = {
    "no file": "Nothing was handed in.",
    "unreadable": "The file could not be read; no score was given. A person has to look at it.",
    "grader error": "The grader failed on this submission. That is a fault of ours: no score was given.",
}


def page_name(student: str) -> str:
    """A file name for any student id."""
    plain = re.sub(r"[^\w.-]", "_", student)[:60]
    same = plain == student
    return plain + ("" if same else "-" + hashlib.sha256(student.encode()).hexdigest()[:8]) + ".html"


def score_line(result: Result) -> str:
    """ "82 of 90, 10 awaiting grading"."""
    if result.points is None:
        return "no score"
    waiting = f", {result.awaiting:g} awaiting grading" if result.awaiting else ""
    return f"{result.points:g} of {result.out_of:g}{waiting}"


def write_report(
    assignment: Assignment, results: list[Result], remarks: list[str], folder: Path, walls: str
) -> Path:
    """Write all pages and tables; returns the class page's path."""
    (folder / "students").mkdir(parents=True, exist_ok=True)
    common = {
        "assignment": assignment, "version": grader_version(), "walls": walls, "nothing": NOTHING, "score_line": score_line,
    }  # fmt: skip
    for result in results:
        page = templates.get_template("student.html").render(result=result, **common)
        (folder / "students" / page_name(result.student)).write_text(page)
    graded = [r for r in results if r.status == "graded"]
    total = sum(e.points for e in assignment.exercises)
    rates = []
    for exercise in assignment.exercises:
        verdicts = [v for r in graded for v in r.verdicts if v.exercise == exercise.name]
        rates.append(
            {
                "name": exercise.name,
                "points": exercise.points,
                "passed": sum(v.passed for v in verdicts),
                "missing": sum(v.status == "missing" for v in verdicts),
                "mean": sum(v.points for v in verdicts) / max(len(verdicts), 1),
            }
        )
    said = Counter((v.exercise, v.sentence) for r in graded for v in r.verdicts if v.mistake)
    page = templates.get_template("class.html").render(
        results=results, graded=graded, rates=rates, common=said.most_common(10), remarks=remarks,
        bins=histogram([r.points or 0.0 for r in graded], total), total=total, page_name=page_name, **common,
    )  # fmt: skip
    (folder / "index.html").write_text(page)
    _write_csv(assignment, results, folder / "grades.csv")
    tree = {
        "assignment": assignment.name,
        "grader": grader_version(),
        "results": [r.to_json() for r in results],
    }
    (folder / "grades.json").write_text(json.dumps(tree, indent=1, sort_keys=True) + "\n")
    return folder / "index.html"


def histogram(points: list[float], total: float, bins: int = 10) -> list[dict[str, float]]:
    """How many scores fall into each tenth of the range."""
    counts = [0] * bins
    for p in points:
        counts[min(int(bins * p / max(total, 1e-9)), bins - 1)] += 1
    top = max([*counts, 1])
    return [
        {"low": total * i / bins, "high": total * (i + 1) / bins, "count": n, "share": n / top}
        for i, n in enumerate(counts)
    ]


def _write_csv(assignment: Assignment, results: list[Result], path: Path) -> None:
    names = [e.name for e in assignment.exercises]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["student", "name", "status", "points", "out_of", "awaiting", *names, "file", "notes"]
        )
        for r in results:
            by_name = {v.exercise: v.points for v in r.verdicts}
            points = "" if r.points is None else f"{r.points:g}"
            row = [r.student, r.name, r.status, points, f"{r.out_of:g}", f"{r.awaiting:g}"]
            row += [f"{by_name[n]:g}" if n in by_name else "" for n in names]
            writer.writerow([_safe(x) for x in (*row, r.file, " | ".join(r.notes))])


def _safe(text: str) -> str:
    """A spreadsheet must not take a student's text for a formula."""
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
