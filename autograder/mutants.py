"""Small automatic changes to an answer: each must fail its check, or the check is too weak.

The changes are those of cosmic-ray's operators, and three of our own: a statement left out, two neighbouring arguments
swapped, a keyword argument left out.
"""

import ast
import copy
import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from autograder.build.regions import BEGIN, END, find_region
from cs_vl.checks.spec import Exercise

# On tensors and arrays the other operators (shifts, xor, matrix product by accident) only raise.
_TARGETS = ("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow", "BitOr", "BitAnd")
_SYMMETRIC = {"transpose", "swapaxes", "maximum", "minimum", "max", "min", "isclose", "gcd"}
_SKIP = ("RemoveDecorator", "VariableReplacer", "VariableInserter", "_Is", "_IsNot", "ExceptionReplacer")


@dataclass(frozen=True)
class Mutant:
    """One change: the line as it was and as it is now, and the whole changed source."""

    exercise: str
    before: str
    after: str
    source: str

    @property
    def key(self) -> str:
        return f"{self.before} -> {self.after}"


@cache
def mutants(exercise: Exercise) -> list[Mutant]:
    """All distinct mutants of an exercise's answer, changed between its marks only."""
    source = find_region(exercise).source
    found: dict[str, Mutant] = {}
    for changed in _changes(source):
        difference = _difference(source, changed)
        if difference and changed not in found:
            found[changed] = Mutant(exercise.name, *difference, changed)
    return list(found.values())


def _changes(source: str) -> Iterator[str]:
    for name in operator_names():
        binary = re.search(r"BinaryOperator_\w+_(\w+)$", name)
        if any(part in name for part in _SKIP) or (binary and binary[1] not in _TARGETS):
            continue
        for occurrence in range(200):
            try:
                changed = mutate_code(source, get_operator(name)(), occurrence)
            except Exception:  # an operator that can't change this place
                break
            if changed is None:
                break
            yield changed
    yield from _own_changes(source)


def _own_changes(source: str) -> Iterator[str]:
    """Statements left out, arguments swapped or left out; positions come from the syntax tree."""
    begin, end = (
        next(i for i, line in enumerate(source.split("\n"), 1) if mark in line) for mark in (BEGIN, END)
    )
    tree = ast.parse(source)
    places = [n for n in ast.walk(tree) if isinstance(n, ast.stmt | ast.Call) and begin < n.lineno < end]
    for place in places:
        if isinstance(place, ast.stmt) and not isinstance(place, ast.Pass):
            yield _replaced(source, place, "pass")
        elif isinstance(place, ast.Call):
            name = getattr(place.func, "attr", getattr(place.func, "id", ""))
            swaps = 0 if name in _SYMMETRIC else len(place.args) - 1
            for i in range(swaps):
                swapped = copy.deepcopy(place)
                swapped.args[i], swapped.args[i + 1] = swapped.args[i + 1], swapped.args[i]
                yield _replaced(source, place, ast.unparse(swapped))
            for i in range(len(place.keywords)):
                shorter = copy.deepcopy(place)
                del shorter.keywords[i]
                yield _replaced(source, place, ast.unparse(shorter))


def _replaced(source: str, node: Any, new: str) -> str:
    lines = source.split("\n")
    # Columns of the tree count bytes.
    first, last = lines[node.lineno - 1].encode(), lines[node.end_lineno - 1].encode()
    joined = first[: node.col_offset].decode() + new + last[node.end_col_offset :].decode()
    return "\n".join([*lines[: node.lineno - 1], joined, *lines[node.end_lineno :]])


def _difference(source: str, changed: str) -> tuple[str, str] | None:
    """The changed line before and after; None where nothing, or something outside the marks, changed."""
    a, b = source.split("\n"), changed.split("\n")
    same_start = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    if same_start is None:
        return None
    same_end = next(i for i, (x, y) in enumerate(zip(a[::-1], b[::-1], strict=False)) if x != y)
    begin = next(i for i, line in enumerate(a) if BEGIN in line)
    end = next(i for i, line in enumerate(a) if END in line)
    if same_start <= begin or len(a) - same_end > end:
        return None
    cut = [" ".join(x.strip() for x in lines[same_start : len(lines) - same_end]) for lines in (a, b)]
    return cut[0], cut[1]


def realise(exercise: Exercise, source: str) -> Any:
    """The object that a changed source defines, in a copy of its module's namespace.

    Raises:
        SyntaxError and whatever the definition raises.
    """
    namespace = dict(vars(importlib.import_module(exercise.module)))
    exec(compile(source, f"<mutant of {exercise.name}>", "exec", dont_inherit=True), namespace)
    return namespace[exercise.name]


def equivalents(assignment: str) -> dict[str, dict[str, str]]:
    """Mutants listed as equal to the answer: {exercise: {key: reason}}."""
    path = Path(__file__).parent / "known" / assignment / "equivalent_mutants.json"
    return json.loads(path.read_text()) if path.exists() else {}
