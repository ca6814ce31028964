"""A class that nobody graded: results of every kind, for tests of reports and tables."""

import random

from autograder.grade import Result, Written
from cs_vl.checks.judge import STATUSES, StageVerdict, Verdict
from cs_vl.checks.spec import Assignment, Exercise

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
# Names and texts that want to break a page, a table or a terminal.
HOSTILE = [
    EVIL, "</title></style></script><svg onload=alert(3)>", "{{ 7*7 }}{% raw %}", "\u202egnp.exe\u202c", "=HYPERLINK(\"http://x\")",
    "javascript:alert(4)", "a\x00b\x1b[31mred\x07", "W" * 100_000, "Z" + "\u0301" * 500, "شيماء", "李小龍 👩‍🔬", "&lt;b&gt;&amp;",
    "`<b>x</b>`", "line\nbreak\r\n<!--", "\ud800", "x" * 60 + " " + "y" * 400, "@SUM(A1)", "-1+1", "\tTab", "]]>",
]  # fmt: skip
WRONG = [status for status in STATUSES if status not in ("passed", "grader error")]


def verdict(exercise: Exercise, status="passed", points=None, sentence="", **more) -> Verdict:
    """One on an exercise, its points spread over its stages."""
    got = exercise.points if points is None and status == "passed" else points or 0.0
    stages = [
        StageVerdict(
            s.name, status, got / len(exercise.stages), s.points, sentence=sentence, shapes="q (2, 3)"
        )
        for s in exercise.stages
    ]
    return Verdict(exercise.name, status, got, exercise.points, sentence, stages=stages, **more)


def result(assignment: Assignment, student="ada", status="graded", verdicts=None, **more) -> Result:
    """All passed, unless verdicts or another status say otherwise."""
    graded = status == "graded"
    if verdicts is None:
        verdicts = [verdict(e) for e in assignment.exercises] if graded else []
    total = assignment.points
    file = more.pop("file", "" if status == "no file" else f"{assignment.name}.ipynb")
    return Result(student, more.pop("name", ""), status, file, total, verdicts, **more)


def synthetic_class(assignment: Assignment, n: int, seed: int = 0) -> list[Result]:
    """A class of n, the same for a seed: most do well, all statuses occur, and the first ones' texts are hostile."""
    draw = random.Random(seed)
    found = []
    for i in range(n):
        evil = HOSTILE[i] if i < len(HOSTILE) else ""
        student, name = (
            evil or f"student{i:04}",
            evil or draw.choice(["Kim ", "Noa ", "Ola ", "Sam "]) + f"Number {i}",
        )
        status = draw.choices(["graded", "no file", "unreadable", "grader error"], [90, 6, 3, 1])[0]
        if evil:
            status = "graded"
        more = {"name": name, "seconds": round(draw.lognormvariate(0.5, 0.5), 2)}
        if status != "graded":
            found.append(result(assignment, student, status, notes=[f"{status}: what was seen"], **more))
            continue
        good = draw.betavariate(5, 1.5)
        verdicts = [_drawn(draw, e, good, evil) for e in assignment.exercises]
        answer = draw.choices(["awaiting grading", "unanswered", "cell not found"], [70, 25, 5])[0]
        notes = [evil] if evil else ["handed in late (Canvas)"] if draw.random() < 0.05 else []
        one = result(
            assignment,
            student,
            "graded",
            verdicts,
            written=[Written("why", answer, 5.0)],
            notes=notes,
            **more,
        )
        one.cpu_seconds, one.peak_mb = round(one.seconds * 0.8, 2), draw.uniform(200, 900)
        one.stale = draw.random() < 0.02
        found.append(one)
    return found


def _drawn(draw: random.Random, exercise: Exercise, good: float, evil: str) -> Verdict:
    if draw.random() < good:
        return verdict(exercise)
    status = draw.choices(WRONG, [8, 4, 1, 1, 1, 6, 1])[0]
    if status == "failed":
        points = exercise.points / 2 if draw.random() < 0.3 else 0.0
        mistake = f"mistake{draw.randrange(3)}"
        return verdict(
            exercise, status, points, f"You made {mistake} of `{exercise.name}`. {evil}", mistake=mistake
        )
    where = f"cell 12, line 3: return q @ k  # {evil}" if status == "error" else ""
    said = f"Your code raised ValueError ({where})" if where else f"What is said of {status}. {evil}"
    return verdict(exercise, status, 0.0, said, where=where)
