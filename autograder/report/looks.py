"""How each status looks: a sign, words and colours of its own, so that no two are ever taken for one another.

The sign and the words tell them apart without colour; every pair of colours is readable (a test computes the contrast).
"""

from dataclasses import dataclass

from autograder.grade import Result
from cs_vl.checks.judge import StageVerdict, Verdict


@dataclass(frozen=True)
class Look:
    """`light` and `dark` are (ink, paper): the colours of the sign in a light and in a dark page.

    `solid`: the paper is the strong one of the two.
    """

    sign: str
    words: str
    light: tuple[str, str]
    dark: tuple[str, str]
    solid: bool = False

    @property
    def css(self) -> str:
        """The name of its class in the style sheet."""
        return "is-" + self.words.replace(" ", "-")

    def colours(self, dark: bool) -> str:
        """The style sheet's variables."""
        ink, paper = self.dark if dark else self.light
        return f"--status-ink: {ink}; --status-paper: {paper}; --status-edge: {paper if self.solid else ink}"


# Of an exercise or a stage.
CHECKS = {
    "passed": Look("✓", "passed", ("#0f5c37", "#d4efdf"), ("#7fdcab", "#15392a")),
    "partly": Look("◐", "partly right", ("#6d4c00", "#fdeab3"), ("#e8c15a", "#3d3012")),
    "failed": Look("✗", "failed", ("#96290a", "#fbddd0"), ("#f79b79", "#47241a")),
    "error": Look("!", "raised an error", ("#8f1149", "#fad7e6"), ("#f792bf", "#451a30")),
    "timeout": Look("∞", "did not come to an end", ("#1c4a94", "#d8e5fb"), ("#8fb8f7", "#1b2d4d")),
    "out of memory": Look("▤", "ran out of memory", ("#0a5468", "#cfecf3"), ("#74cbe0", "#10363f")),
    "crashed": Look("†", "crashed", ("#ffffff", "#3f454c"), ("#14171b", "#d3d8dd"), solid=True),
    "refused": Look("⊘", "result refused", ("#5f4013", "#efe1cd"), ("#d9b98a", "#3a2d1a")),
    "missing": Look("○", "not written", ("#4d5761", "#e9ecef"), ("#aab4be", "#2a3037")),
    "not run": Look("·", "not run", ("#59636e", "#ffffff"), ("#9aa5b1", "#14171b")),
    "grader error": Look("?", "grader error", ("#57309f", "#e7ddfa"), ("#c3a6f5", "#33264f")),
}

# Of a whole submission.
SUBMISSIONS = {
    "graded": Look("■", "graded", ("#1d2126", "#e3e6ea"), ("#e6e9ec", "#31373e")),
    "waits": Look("…", "written answers wait", ("#6d4c00", "#fff7dd"), ("#e8c15a", "#2b2410")),
    "stale": Look("↺", "former score stands", ("#ffffff", "#17706a"), ("#08211f", "#6fd3c9"), solid=True),
    "no file": Look("–", "nothing handed in", ("#4d5761", "#f6f7f8"), ("#aab4be", "#1d2127")),
    "unreadable": Look("▨", "unreadable file", ("#ffffff", "#a3280d"), ("#2a0d05", "#f79b79"), solid=True),
    "grader error": Look(
        "⁇", "fault of the grader", ("#ffffff", "#5b35a5"), ("#1b0f33", "#c3a6f5"), solid=True
    ),
}

UNKNOWN = Look("¿", "unknown status", ("#ffffff", "#000000"), ("#000000", "#ffffff"), solid=True)


def look(verdict: Verdict | StageVerdict) -> Look:
    """Of an exercise or a stage."""
    partly = verdict.status == "failed" and verdict.points > 0
    return CHECKS.get("partly" if partly else verdict.status, UNKNOWN)


def standing(result: Result) -> str:
    """The status of a submission as a report tells it: a key of SUBMISSIONS."""
    if result.stale and result.points is not None:
        return "stale"
    return "waits" if result.status == "graded" and result.awaiting else result.status


def submission_look(result: Result) -> Look:
    return SUBMISSIONS.get(standing(result), UNKNOWN)
