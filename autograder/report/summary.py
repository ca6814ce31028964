"""A class in numbers: pass rates, the histogram, misconceptions, time, and who needs a person."""

import statistics
from collections import Counter
from dataclasses import dataclass

from autograder.grade import Result
from autograder.report.looks import standing
from cs_vl.checks.spec import Exercise


@dataclass
class Rate:
    """How a class did on an exercise.

    `counts` says how many of the graded submissions have each look (a key of looks.CHECKS).
    """

    name: str
    points: float
    counts: dict[str, int]
    mean: float

    @property
    def passed(self) -> int:
        return self.counts.get("passed", 0)


def rate(exercise: Exercise, results: list[Result]) -> Rate:
    verdicts = [v for r in results for v in r.verdicts if v.exercise == exercise.name]
    counts = Counter("partly" if v.status == "failed" and v.points else v.status for v in verdicts)
    mean = sum(v.points for v in verdicts) / max(len(verdicts), 1)
    return Rate(exercise.name, exercise.points, dict(counts), mean)


@dataclass
class Bar:
    """A bar of the histogram: how many scores lie from `low` up to `high`."""

    low: float
    high: float
    count: int


def histogram(points: list[float], total: float, bins: int = 10) -> list[Bar]:
    """How many scores fall into each tenth of the range; a full score falls into the last."""
    counts = [0] * bins
    for p in points:
        # The small number: 0.7 of 10 is 6.999... in floating point.
        counts[max(0, min(int(bins * p / max(total, 1e-9) + 1e-9), bins - 1))] += 1
    return [Bar(total * i / bins, total * (i + 1) / bins, n) for i, n in enumerate(counts)]


@dataclass
class Misconception:
    """A sentence that was said to these students about this exercise."""

    exercise: str
    sentence: str
    students: list[Result]


def misconceptions(results: list[Result], most: int = 15) -> list[Misconception]:
    """The known mistakes, the commonest first."""
    found: dict[tuple[str, str], Misconception] = {}
    for r in results:
        for v in r.verdicts:
            if v.mistake:
                key = v.exercise, v.mistake
                found.setdefault(key, Misconception(v.exercise, v.sentence, [])).students.append(r)
    return sorted(found.values(), key=lambda m: -len(m.students))[:most]


@dataclass
class Spent:
    """Time and memory of a run: seconds of the clock and of the processor, megabytes; 0 where not measured."""

    seconds: float
    median: float
    cpu_seconds: float
    peak_mb: float
    slowest: list[Result]


def spent(results: list[Result]) -> Spent:
    times = [r.seconds for r in results if r.file]
    return Spent(
        sum(times),
        statistics.median(times) if times else 0.0,
        sum(r.cpu_seconds for r in results),
        max((r.peak_mb for r in results), default=0.0),
        sorted((r for r in results if r.file), key=lambda r: -r.seconds)[:5],
    )


def why(result: Result) -> str:
    """Why somebody has to look at a submission; nothing where nobody has to."""
    lost = [w for w in result.written if w.status == "cell not found"]
    said = {
        "stale": "The score is of an earlier run: grading it again failed.",
        "unreadable": "The file could not be read: ask for it again.",
        "grader error": "A fault of the grader: run the command again, then report it.",
        "waits": f"{result.awaiting:g} points of written answers to grade"
        + (f" ({len(lost)} without their cell: search the notebook)." if lost else "."),
    }
    return said.get(standing(result), "")


# The most pressing first.
URGENT = ("grader error", "stale", "unreadable", "waits")


def to_look_at(results: list[Result]) -> list[tuple[str, list[Result]]]:
    """(status, those whom somebody has to look at for it), for each status that somebody has."""
    groups = [(status, [r for r in results if standing(r) == status]) for status in URGENT]
    return [group for group in groups if group[1]]


def score_line(result: Result) -> str:
    """ "82 of 90, 10 awaiting grading"."""
    if result.points is None:
        return "no score"
    waiting = f", {result.awaiting:g} awaiting grading" if result.awaiting else ""
    former = " (of an earlier run: grading it again failed)" if standing(result) == "stale" else ""
    return f"{result.points:g} of {result.out_of:g}{waiting}{former}"
