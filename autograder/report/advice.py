"""What a student can do next, in a few sentences."""

from autograder.grade import Result
from autograder.report.looks import standing
from cs_vl.checks.judge import Verdict

MOST = 3  # exercises to begin with

_BY_STATUS = {
    "failed": "read what is said of it below, then compare with the numbers that its check cell shows.",
    "error": "run its check cell: there you see the whole message of the error.",
    "timeout": "look for a loop that does not end, and try it on a tiny input.",
    "out of memory": "print the shapes on the way: one of them is larger than it need be.",
    "crashed": "restart the kernel and run this exercise alone.",
    "refused": "return what its docstring says: the type, the shape, no more.",
    "missing": "begin with its docstring.",
}

_BY_STANDING = {
    "no file": ["Hand in your notebook (.ipynb, or .py in percent format) where your course collects it."],
    "unreadable": [
        "Open the file in Jupyter. If it does not open there, put your answers into a fresh copy of the notebook.",
        "Save it, check it with `cs-vl check` and the file's name, and hand it in again.",
    ],
    "grader error": ["Nothing. Whoever grades the course sees this, too, and will have it graded again."],
}


def next_steps(result: Result) -> list[str]:
    """The exercises with most to win first, each with what helps there."""
    known = _BY_STANDING.get(standing(result))
    if known:
        return known
    steps = []
    if standing(result) == "stale":
        steps.append(
            "This score is of an earlier run. Whoever grades sees that, and will have it graded again."
        )
    todo = sorted((v for v in result.verdicts if v.points < v.out_of), key=lambda v: v.points - v.out_of)
    steps += [_step(v) for v in todo[:MOST] if v.status in _BY_STATUS]
    steps += [
        f"Answer “{w.name.replace('_', ' ')}” ({w.out_of:g} points) in words."
        for w in result.written
        if w.status == "unanswered"
    ]
    if todo:
        steps.append("Before you hand in again, `cs-vl check` and the file's name loads it as grading does.")
    return steps or ["Nothing: every exercise passed."]


def _step(verdict: Verdict) -> str:
    win = f"{verdict.out_of - verdict.points:g}"
    points = "1 point" if win == "1" else f"{win} points"
    return f"`{verdict.exercise}`, {points} to win: {_BY_STATUS[verdict.status]}"
