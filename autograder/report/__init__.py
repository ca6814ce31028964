"""What a run leaves behind: a page a student, a page for the class, CSV and JSON.

Pages stand alone: no script, nothing from the net; whatever a student wrote is escaped.
"""

import csv
import hashlib
import json
import re
import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from autograder.grade import Result
from autograder.journal import grader_version
from cs_vl.checks.card import html_templates
from cs_vl.checks.judge import StageVerdict, Verdict
from cs_vl.checks.spec import Assignment, Exercise

# {status of an exercise or a stage: (its mark, its colour, what it is called)}: never alike, in colour or without.
LOOKS = {
    "passed": ("✓", "good", "passed"),
    "partly": ("◐", "part", "partly right"),
    "failed": ("✗", "bad", "failed"),
    "error": ("!", "bad", "error"),
    "timeout": ("∞", "bad", "did not come to an end"),
    "out of memory": ("▤", "bad", "ran out of memory"),
    "crashed": ("†", "bad", "crashed"),
    "refused": ("⊘", "bad", "result refused"),
    "missing": ("○", "none", "not written"),
    "not run": ("·", "none", "not run"),
    "grader error": ("?", "ours", "grader error"),
}

# Said of a missing score, so that a zero, a crash and a missing file never look alike.
NOTHING = {
    "no file": "Nothing was handed in.",
    "unreadable": "The file could not be read; no score was given. A person has to look at it.",
    "grader error": "The grader failed on this submission. That is a fault of ours: no score was given.",
}


def look(verdict: Verdict | StageVerdict) -> tuple[str, str, str]:
    """Mark, colour and words of a verdict."""
    partly = verdict.status == "failed" and verdict.points > 0
    return LOOKS.get("partly" if partly else verdict.status, ("✗", "bad", verdict.status))


def with_code(sentence: str) -> Markup:
    """A sentence whose `backticks` become code; all else is escaped."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(sentence))))


templates = html_templates("autograder.report")
templates.filters |= {"with_code": with_code, "look": look}


def page_name(student: str) -> str:
    """A file name for any student id; two ids never share one, not even where case does not count."""
    plain = re.sub(r"^\.|[^\w.-]", "_", student)[:40]
    return plain + ("" if plain == student.lower() else "-" + _hash(student)) + ".html"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


def score_line(result: Result) -> str:
    """ "82 of 90, 10 awaiting grading"."""
    if result.points is None:
        return "no score"
    waiting = f", {result.awaiting:g} awaiting grading" if result.awaiting else ""
    return f"{result.points:g} of {result.out_of:g}{waiting}"


@dataclass
class Rate:
    """How a class did on an exercise: how many passed, were partly right, were wrong, wrote nothing."""

    name: str
    points: float
    passed: int
    partly: int
    wrong: int
    missing: int
    mean: float

    @property
    def shares(self) -> list[tuple[str, str, int]]:
        parts = [
            ("good", "passed", self.passed), ("part", "partly right", self.partly),
            ("bad", "wrong", self.wrong), ("none", "not written", self.missing),
        ]  # fmt: skip
        return [part for part in parts if part[2]]


def rate(exercise: Exercise, results: list[Result]) -> Rate:
    verdicts = [v for r in results for v in r.verdicts if v.exercise == exercise.name]
    kinds = Counter(
        v.status if v.status in ("passed", "missing") else "partly" if v.points else "wrong" for v in verdicts
    )
    mean = sum(v.points for v in verdicts) / max(len(verdicts), 1)
    return Rate(
        exercise.name,
        exercise.points,
        kinds["passed"],
        kinds["partly"],
        kinds["wrong"],
        kinds["missing"],
        mean,
    )


def write_report(
    assignment: Assignment, results: list[Result], remarks: list[str], folder: Path, walls: list[str]
) -> Path:
    """Write all pages and tables; returns the class page's path."""
    common = {
        "assignment": assignment, "version": grader_version(), "walls": walls, "nothing": NOTHING,
        "looks": LOOKS, "score_line": score_line, "page_name": page_name,
    }  # fmt: skip
    students = folder / "students"
    students.mkdir(parents=True, exist_ok=True)
    for page in students.glob("*.html"):
        page.unlink()  # also of people who are not in the class any more
    for result in results:
        _write(students / page_name(result.student), "student.html", result=result, **common)
    graded = [r for r in results if r.status == "graded"]
    scores = [r.points or 0.0 for r in graded]
    said = Counter((v.exercise, v.sentence) for r in graded for v in r.verdicts if v.mistake)
    _write(
        folder / "index.html", "class.html", results=results, graded=graded,
        rates=[rate(exercise, graded) for exercise in assignment.exercises], said=said.most_common(10),
        remarks=remarks, total=sum(e.points for e in assignment.exercises),
        mean=statistics.fmean(scores) if scores else None,
        median=statistics.median(scores) if scores else None,
        bins=histogram(scores, sum(e.points for e in assignment.exercises)),
        statuses=Counter(r.status for r in results), **common,
    )  # fmt: skip
    _write_csv(assignment, results, folder / "grades.csv")
    tree = {
        "assignment": assignment.name,
        "grader": grader_version(),
        "results": [r.to_json() for r in results],
    }
    (folder / "grades.json").write_text(json.dumps(tree, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return folder / "index.html"


def _write(path: Path, template: str, **values: Any) -> None:
    text = templates.get_template(template).render(**values)
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def histogram(points: list[float], total: float, bins: int = 10) -> list[dict[str, float]]:
    """How many scores fall into each tenth of the range; a full score into the last."""
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
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["student", "name", "status", "points", "out_of", "awaiting", *names, "file", "notes"]
        )
        for r in results:
            by_name = {v.exercise: v.points for v in r.verdicts if r.status == "graded"}
            points = "" if r.points is None else f"{r.points:g}"
            row = [r.student, r.name, r.status, points, f"{r.out_of:g}", f"{r.awaiting:g}"]
            row += [f"{by_name[n]:g}" if n in by_name else "" for n in names]
            writer.writerow([_safe(x) for x in (*row, r.file, " | ".join(r.notes))])


def _safe(text: str) -> str:
    """A spreadsheet must not take a student's text for a formula."""
    return "'" + text if text.lstrip()[:1] in ("=", "+", "-", "@", "＝", "＋", "－", "＠") else text
