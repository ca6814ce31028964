"""The judge: runs the stages of an exercise in order and says what was reached, why, and for how many points.

It never runs a student's code itself: it is given a function that does, in this process or another one.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from cs_vl.checks.compare import Difference, compare
from cs_vl.checks.run import Outcome
from cs_vl.checks.spec import Exercise, Inputs, Results, Stage

STATUSES = (
    "passed", "failed", "error", "timeout", "out of memory", "crashed", "missing", "refused", "grader error",
)  # fmt: skip


@dataclass
class StageCases:
    """The cases of a stage: inputs, what the answer gives, and what each known mistake gives.

    A mistake's results are None where it raises.
    """

    inputs: list[Inputs]
    expected: list[Results]
    mistakes: Mapping[str, list[Results | None]] = field(default_factory=dict)


@dataclass
class StageVerdict:
    """One line of the report card."""

    name: str
    status: str  # one of STATUSES, or "not run"
    points: float
    out_of: float
    reached: str = ""  # "shape" or "value", where it failed
    sentence: str = ""  # what a teacher would say; never a hidden number
    detail: str = ""  # the numbers, for visible cases
    shapes: str = ""  # of the case's inputs


@dataclass
class Verdict:
    """What an exercise earned, and why."""

    exercise: str
    status: str
    points: float
    out_of: float
    sentence: str = ""
    mistake: str = ""  # the known mistake's name
    where: str = ""  # the line of the student's own code
    note: str = ""  # a sentence on the answers that the check ran on
    stages: list[StageVerdict] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Verdict":
        return cls(**{**data, "stages": [StageVerdict(**stage) for stage in data["stages"]]})


def judge(
    exercise: Exercise,
    run: Callable[[Stage, Inputs], Outcome],
    cases: Callable[[Stage], StageCases],
    sentences: dict[str, str],
    *,
    hidden: bool = False,
) -> Verdict:
    """Judge one exercise, stage by stage.

    Args:
        run: runs the stage's probe on the student's code.
        cases: the stage's cases; called only for stages that are judged.
        sentences: what to say for each known mistake.
        hidden: the cases are hidden ones: leave out numbers and exception messages.
    """
    verdict = Verdict(exercise.name, "passed", 0.0, exercise.points)
    passed: set[str] = set()
    votes: Counter[str] = Counter()  # on how many stages a known mistake fails as the student's code does
    seen: set[str] = set()  # those that agree in more than that nothing came back
    failed = 0
    right: list[tuple[Stage, StageCases, list[Outcome]]] = []  # where it passes, they should, too
    for stage in exercise.stages:
        line = StageVerdict(stage.name, "not run", 0.0, stage.points)
        verdict.stages.append(line)
        missing = [name for name in exercise.needs(stage) if name not in passed]
        if missing:
            line.sentence = f"judged once “{missing[0]}” has passed"
            continue
        if verdict.status in ("missing", "timeout", "crashed", "out of memory"):
            line.sentence = "not run"
            continue
        known = cases(stage)
        outcomes = []
        for inputs in known.inputs:
            outcomes.append(run(stage, inputs))
            if outcomes[-1].status != "ok":
                break
        _judge_stage(stage, line, known, outcomes, hidden)
        if line.status == "passed":
            passed.add(stage.name)
            right.append((stage, known, outcomes))
            continue
        if line.status == "failed":
            alike = _alike(stage, known, outcomes)
            votes.update(alike)
            failed += 1
            if any(outcome.results for outcome in outcomes):
                seen |= alike
        if verdict.status == "passed":  # the first stage that fails speaks for the exercise
            verdict.status, verdict.sentence = line.status, line.sentence
            verdict.where = outcomes[-1].where
    # A mistake explains the failures if it gives what the student's code gives on half of the stages or more
    # (there may be a second mistake), and passes where that passes; that which explains most is named.
    candidates = {name for name in seen if 2 * votes[name] >= failed}
    for where in right if candidates else []:
        candidates &= _alike(*where)
    most = max((votes[name] for name in candidates), default=0)
    verdict.mistake = next((name for name in sentences if name in candidates and votes[name] == most), "")
    if verdict.mistake:
        verdict.sentence = sentences[verdict.mistake]
    verdict.points = sum(line.points for line in verdict.stages)
    return verdict


def _judge_stage(
    stage: Stage, line: StageVerdict, known: StageCases, outcomes: list[Outcome], hidden: bool
) -> None:
    for inputs, outcome, expected in zip(known.inputs, outcomes, known.expected, strict=False):
        if outcome.status != "ok":
            line.status, line.sentence = outcome.status, _say(outcome, hidden)
            line.shapes = describe(inputs, hidden)
            return
        difference = compare(outcome.results, expected, stage.rtol, stage.atol)
        if difference:
            line.status, line.reached = "failed", difference.reached
            line.sentence = _sentence(stage, difference)
            line.detail = "" if hidden else difference.detail
            line.shapes = describe(inputs, hidden)
            return
    line.status, line.points = "passed", stage.points


def _sentence(stage: Stage, difference: Difference) -> str:
    return difference.sentence + (f" {stage.hint}" if stage.hint and difference.reached == "value" else "")


def _say(outcome: Outcome, hidden: bool) -> str:
    if outcome.status == "error":
        text = f": {outcome.message}" if outcome.message and not hidden else ""
        where = f" ({outcome.where})" if outcome.where else ""
        return f"Your code raised {outcome.error}{text}{where}"
    message = "" if hidden and outcome.status == "missing" else outcome.message
    return message or {
        "timeout": "It did not come to an end within the time limit: is there an endless loop?",
        "crashed": "The process that ran it died.",
        "out of memory": "It ran out of memory: are the sizes right?",
        "missing": "It is not written yet.",
    }.get(outcome.status, outcome.status)


def _alike(stage: Stage, known: StageCases, outcomes: list[Outcome]) -> set[str]:
    """The known mistakes that give, on every case of the stage, what the student's code gives."""

    def agree(outcome: Outcome, theirs: Results | None) -> bool:
        if theirs is None or theirs.keys() != outcome.results.keys():
            return False
        return compare(outcome.results, theirs, stage.rtol, stage.atol) is None

    def same(mistaken: list[Results | None]) -> bool:
        return len(mistaken) == len(outcomes) and all(map(agree, outcomes, mistaken))

    return {name for name, mistaken in known.mistakes.items() if same(mistaken)}


def describe(inputs: Inputs, hidden: bool) -> str:
    """The shapes of a case: "q (2, 3, 5, 4), text of length 26"; of a visible one short values, too."""
    parts = []
    for name, value in inputs.items():
        if hasattr(value, "shape"):
            parts.append(f"{name} {tuple(value.shape)}")
        elif (
            not hidden
            and isinstance(value, str | bytes | bool | int | float | list)
            and len(repr(value)) <= 60
        ):
            parts.append(f"{name}={value!r}")
        elif isinstance(value, list | tuple | str | bytes):
            parts.append(f"{name} of length {len(value)}")
    return ", ".join(parts)
