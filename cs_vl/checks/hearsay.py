"""What to take from a reply of a student's process, which may say anything: results, and known words.

Its words come to stand on the student's page.  They may name what the submission itself holds (a line of its
code, an exception, a parameter's name), so that nothing of a hidden case can be told through them.
"""

import builtins
import re
from dataclasses import fields
from typing import Any

import numpy as np
import torch

from cs_vl.checks.run import Outcome

STATUSES = (
    "ok",
    "missing",
    "error",
    "timeout",
    "out of memory",
    "refused",
)  # the others are for the judge to say
_NAMES = (builtins, np.exceptions, np.linalg, torch)  # where exceptions have theirs
_PRIVATE = {"_UFuncNoLoopError", "_UFuncInputCastingError", "_UFuncOutputCastingError", "_ArrayMemoryError"}
_WHERE = re.compile(r"cell (\d{1,6}), line (\d{1,6}): ")

_NAME, _TYPE, _SHAPE = r"[\w.]{1,80}", r"[\w.<>|\[\]]{1,40}", r"\([\d, ]{0,40}\)"
_REFUSALS = tuple(
    re.compile(text)
    for text in (
        rf"an? {_NAME} came where a tensor, array, number, string or list was expected",
        rf"an? {_NAME} came, a class of its own; return a plain [\w.]+",
        rf"a tensor of an unusual kind came \({_NAME}, {_NAME}\); use a plain dense one",
        r"a tensor on the device “meta” came, which holds no numbers",
        rf"an? (tensor|array) of type {_TYPE} came; use numbers or booleans",
        rf"an? (tensor|array) of shape {_SHAPE} came: too large to be right",
        r"the results are too large to be right",
        rf"{_NAME} should have `{_NAME}` {_SHAPE}(; yours (has `{_NAME}`|is {_SHAPE}))?"
        r": keep `__init__` as given\.",
        rf"{_NAME} has a parameter `{_NAME}` of its own: keep `__init__` as given\.",
    )
)
NO_RESULT = "what came back is no result"


def believe(reply: Any, cells: dict[int, str]) -> Outcome:
    """The outcome that a reply tells.

    Args:
        cells: the sources of the submission's cells, by number.
    """
    if not isinstance(reply, dict) or reply.keys() != {field.name for field in fields(Outcome)}:
        return Outcome("refused", message=NO_RESULT)
    outcome = Outcome(**reply)
    texts = (outcome.status, outcome.error, outcome.message, outcome.where)
    if not all(isinstance(text, str) for text in texts) or outcome.status not in STATUSES:
        return Outcome("refused", message=NO_RESULT)
    if not isinstance(outcome.results, dict):
        return Outcome("refused", message=NO_RESULT)
    if outcome.status == "refused" and not any(form.fullmatch(outcome.message) for form in _REFUSALS):
        outcome.message = NO_RESULT
    if outcome.status in ("timeout", "out of memory"):
        outcome.message = ""  # the judge has a sentence for each
    outcome.message = outcome.message[:500]  # of an exception; for visible cases alone
    outcome.error = _exception(outcome.error, cells)
    outcome.where = _line(outcome.where, cells)
    return outcome


def _exception(name: str, cells: dict[int, str]) -> str:
    """The name of an exception: a usual one, or one that stands in the submission."""
    usual = name in _PRIVATE or any(hasattr(module, name) for module in _NAMES)
    own = name.isidentifier() and any(re.search(rf"\b{name}\b", source) for source in cells.values())
    return name if usual or own or not name else "Exception"


def _line(where: str, cells: dict[int, str]) -> str:
    """A line of the submission, as it stands there."""
    found = _WHERE.match(where)
    if not found or int(found[1]) not in cells:
        return ""
    number = int(found[2])
    lines = cells[int(found[1])].split("\n")  # as Python counts them: a form feed ends none
    return f"{found[0]}{lines[number - 1].strip()[:400]}" if 0 < number <= len(lines) else ""
