"""What a student's process says of itself is believed as far as it can tell nothing of a hidden case."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn

from cs_vl.checks import wire
from cs_vl.checks.hearsay import NO_RESULT, believe
from cs_vl.checks.probes import WrongParameters, build
from cs_vl.checks.run import Outcome

CELLS = {7: "def softmax(x):\n    raise MyOwn('x')\n"}


class Always(torch.Tensor):
    pass


@pytest.mark.parametrize(
    "reply",
    [
        None, [], [1, 2], "ok", {}, {"status": "ok"}, {**asdict(Outcome("ok")), "points": 100}, asdict(Outcome("passed")),
        asdict(Outcome("grader error")), {**asdict(Outcome("ok")), "results": [1]}, {**asdict(Outcome("ok")), "where": 3},
        {**asdict(Outcome("ok")), "status": ["ok"]},
    ],
)  # fmt: skip
def test_what_is_no_outcome_is_refused(reply):
    assert believe(reply, CELLS) == Outcome("refused", message=NO_RESULT)


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        ("cell 7, line 2: raise MyOwn('x')", "cell 7, line 2: raise MyOwn('x')"),
        ("cell 7, line 2: 0.1234 0.5678", "cell 7, line 2: raise MyOwn('x')"),
        ("cell 7, line 99: raise", ""),
        ("cell 8, line 1: raise", ""),
        ("0.1234", ""),
    ],
)
def test_a_line_is_the_submissions_own(said, believed):
    assert believe(asdict(Outcome("error", error="ValueError", where=said)), CELLS).where == believed


@pytest.mark.parametrize(
    ("said", "believed"),
    [("ValueError", "ValueError"), ("LinAlgError", "LinAlgError"), ("MyOwn", "MyOwn"), ("V0_1234", "Exception"), ("a b", "Exception")],
)  # fmt: skip
def test_an_exception_is_a_usual_one_or_the_submissions_own(said, believed):
    assert believe(asdict(Outcome("error", error=said)), CELLS).error == believed


def refusals() -> list[str]:
    """What the wire and the probes say."""
    said = []
    for thing in (
        object(), (x for x in ()), np.array(["a"]), np.ma.zeros(3), torch.zeros(2, dtype=torch.complex64),
        torch.eye(2).to_sparse(), torch.zeros(2, device="meta"), torch.zeros(2, dtype=torch.float8_e4m3fn),
        torch.zeros(1).expand(2**30), np.broadcast_to(np.zeros(1), (2**30,)), torch.zeros(2).as_subclass(Always),
        [torch.zeros(2**23)] * 3,
    ):  # fmt: skip
        with pytest.raises(wire.Refused) as refused:
            wire.pack(thing)
        said.append(str(refused.value))
    shapes = {"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}
    for change in ({"weigth": torch.zeros(2, 3)}, {"weight": torch.zeros(3, 2)}, {"bias": None}):
        values = {name: value for name, value in {**shapes, **change}.items() if value is not None}
        with pytest.raises(WrongParameters) as wrong:
            build(nn.Linear, {"in_features": 3, "out_features": 2}, values)
        said.append(str(wrong.value))
    return said


def test_refusals_of_ours_are_believed_and_no_others():
    for text in refusals():
        assert believe(asdict(Outcome("refused", message=text)), CELLS).message == text
    for text in ("0.1234", "an array of shape (0.1, 2) came: too large to be right", "x is 1 2 3"):
        assert believe(asdict(Outcome("refused", message=text)), CELLS).message == NO_RESULT


def test_a_limit_is_told_in_the_judges_words():
    for status in ("timeout", "out of memory"):
        assert believe(asdict(Outcome(status, message="0.1234")), CELLS).message == ""
