"""Groups of submissions that say the same in other words: a hint for a person to look, never a verdict.

Each definition becomes the tokens of its syntax tree, so that names of variables, comments, docstrings, types and
layout make no difference.  Of all runs of RUN tokens, winnowing (Schleimer, Wilkerson and Aiken, SIGMOD 2003) chooses the
fingerprints, such that no common stretch of RUN + WINDOW - 1 tokens is missed.  What the starter code holds is no
evidence, and the more of the class write a stretch, the less it weighs: that is how one writes it.  A short answer has
few fingerprints, so it says little.

copydetect on PyPI winnows whole files of lexer tokens; we compare by definition, on the syntax tree, less the blanks.
"""

import ast
import builtins
import contextlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

import nbformat
import numpy as np

from autograder.build.notebooks import student_path
from autograder.reader import Found
from cs_vl.checks.cells import Unreadable, read_submission
from cs_vl.checks.source import parse

RUN, WINDOW = 14, 8  # tokens; a line of code has about ten
# Two are similar where they have so many fingerprints in common, and this share of the smaller one's, weighed.  Disguised
# copies have 0.85 or more.  Of a hundred who chose at random among the five or so ways that we know of each exercise, the
# two most alike have 0.7 to 0.8; people have more ways than that.
LEAST, SHARE = 25, 0.8
CHUNK = 4096  # fingerprints compared at a time
MOST_CHARACTERS = 500_000  # of a submission's code
_BUILTINS = frozenset(dir(builtins))


@dataclass
class Definition:
    """A function or class at the top of a cell: its lines, less docstrings, and at which each fingerprint stands."""

    name: str
    lines: dict[int, str]  # by number, from 1 in its cell
    prints: dict[bytes, set[int]]


@dataclass(eq=False)
class Code:
    """All definitions of a submission."""

    student: str
    definitions: list[Definition]
    prints: frozenset[bytes] = frozenset()


@dataclass(eq=False)
class Pair:
    """Two submissions: the share of the smaller one's fingerprints that the other one has, rare ones counting more."""

    one: Code
    other: Code
    share: float
    common: frozenset[bytes]


@dataclass
class Group:
    """Submissions of which each is similar to another one; the most similar pairs first."""

    students: list[str]
    pairs: list[Pair] = field(default_factory=list)


def find_similar(assignment: str, submissions: Iterable[Found]) -> list[Group]:
    """The groups, the largest first.  A submission that can't be read is left out; one of several people counts once."""
    codes = []
    for path, student in {found.path: found.student for found in submissions if found.path}.items():
        with contextlib.suppress(Unreadable, OSError):
            cells = read_submission(path).cells
            codes.append(Code(student, definitions(c.source for c in cells if c.kind == "code")))
    starter = nbformat.read(student_path(assignment), as_version=4).cells
    return groups(codes, definitions((c.source for c in starter if c.cell_type == "code"), window=1))


def groups(codes: list[Code], starter: list[Definition]) -> list[Group]:
    """Compare all with all.

    Args:
        starter: definitions with all their runs (window=1): none of them is evidence.
    """
    given = {one for definition in starter for one in definition.prints}
    holders: dict[bytes, list[int]] = defaultdict(list)
    for i, code in enumerate(codes):
        code.prints = frozenset(one for d in code.definitions for one in d.prints) - given
        for one in code.prints:
            holders[one].append(i)
    shared, own = _weighed(list(holders.values()), len(codes))
    shares = shared / np.maximum(np.minimum.outer(own, own), 1e-9)
    found = np.argwhere(np.triu(shares >= SHARE, 1))
    pairs = [
        Pair(codes[i], codes[j], float(shares[i, j]), codes[i].prints & codes[j].prints)
        for i, j in found.tolist()
    ]
    pairs = [pair for pair in pairs if len(pair.common) >= LEAST]
    return _grouped(sorted(pairs, key=lambda p: (-p.share, p.one.student, p.other.student)))


def _weighed(holders: list[list[int]], n: int) -> tuple[np.ndarray, np.ndarray]:
    """How much each two of n share, an (n, n) matrix, and how much each has: the more hold a fingerprint, the less it weighs.

    One that one or two hold weighs 1; one that all hold weighs next to nothing.
    """
    shared, own = np.zeros((n, n)), np.zeros(n)
    for start in range(0, len(holders), CHUNK):
        some = holders[start : start + CHUNK]
        has = np.zeros((n, len(some)), np.float32)
        for column, who in enumerate(some):
            has[who, column] = 1
        weights = 1 - np.log(np.maximum(has.sum(0) - 1, 1)) / np.log(max(n, 3))
        shared += (has * weights) @ has.T
        own += has @ weights
    return shared, own


def _grouped(pairs: list[Pair]) -> list[Group]:
    group_of: dict[str, Group] = {}
    for pair in pairs:
        names = pair.one.student, pair.other.student
        one, other = (group_of.get(name) or Group([name]) for name in names)
        if one is not other:
            one.students += other.students
            one.pairs += other.pairs
        one.pairs.append(pair)
        group_of |= dict.fromkeys(one.students, one)
    found = list({id(group): group for group in group_of.values()}.values())
    for group in found:
        group.students.sort()
        group.pairs.sort(key=lambda p: -p.share)
    return sorted(found, key=lambda g: (-len(g.students), g.students))


# --- fingerprints ------------------------------------------------------------------------------------------


def definitions(cells: Iterable[str], window: int = WINDOW) -> list[Definition]:
    """The top-level functions and classes of code cells, with their fingerprints."""
    found, left = [], MOST_CHARACTERS
    for source in cells:
        if len(source) > left:
            continue
        left -= len(source)
        # A cell that is not Python, or that is too much for the parser, says nothing.
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in students' strings
            for node in parse(source).body:
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    found.append(
                        Definition(node.name, _lines(node, source.split("\n")), _prints(node, window))
                    )
    return found


def _lines(node: ast.stmt, source: list[str]) -> dict[int, str]:
    """The definition's lines; those of docstrings are left out: they are given, and the same for everybody."""
    inside = [
        n for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    docstrings = [n.body[0] for n in inside if ast.get_docstring(n, clean=False) is not None]
    left_out = {line for d in docstrings for line in range(d.lineno, (d.end_lineno or d.lineno) + 1)}
    numbers = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    return {number: source[number - 1] for number in numbers if number not in left_out}


def _prints(node: ast.stmt, window: int) -> dict[bytes, set[int]]:
    """The chosen fingerprints, each with its lines."""
    tokens = list(_tokens(node, node.lineno))
    runs = [
        blake2b(
            "\n".join(word for word, _ in tokens[i : i + RUN]).encode(errors="replace"), digest_size=8
        ).digest()
        for i in range(len(tokens) - RUN + 1)
    ]
    found: dict[bytes, set[int]] = {}
    for start in range(len(runs) - window + 1):
        # Of equal ones the last, as in the paper: neighbouring windows then choose the same.
        at = min(range(start, start + window), key=lambda i: (runs[i], -i))
        found.setdefault(runs[at], set()).update(line for _, line in tokens[at : at + RUN])
    return found


def _tokens(node: ast.AST, line: int) -> Iterator[tuple[str, int]]:
    """What a syntax tree says, in the order of the source, each word with its line."""
    line = getattr(node, "lineno", line)
    match node:
        case ast.expr_context():
            return
        case ast.Name(id=name):
            yield (name if name in _BUILTINS else "name"), line
            return
        case ast.Constant(value=value):
            yield ("text" if isinstance(value, str | bytes) else repr(value)[:20]), line
            return
        case ast.arg():
            yield "arg", line
            return
        case ast.Attribute(attr=word) | ast.keyword(arg=str(word)):
            yield f"{type(node).__name__} {word}", line
        case ast.FunctionDef(args=args, body=body, decorator_list=decorators):
            yield "FunctionDef", line
            for part in (*decorators, args, *_without_docstring(body)):
                yield from _tokens(part, line)
            return
        case ast.AnnAssign(target=target, value=value):  # the type says nothing
            yield "Assign", line
            for part in filter(None, (target, value)):
                yield from _tokens(part, line)
            return
        case _:
            yield type(node).__name__, line
    for child in ast.iter_child_nodes(node):
        yield from _tokens(child, line)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return body
