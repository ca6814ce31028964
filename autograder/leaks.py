"""Look for answers in what students get: no statement of a stripped region, or of an alternative, may be in it.

Statements that occur in the given parts of the course as well (the sources less all stripped regions) are no secret.
"""

import ast
import contextlib
import inspect
import io
import json
import re
import textwrap
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.build.edition import build_edition, stripped_regions
from autograder.build.notebooks import student_path
from autograder.build.regions import BEGIN, END
from autograder.known import load_known
from cs_vl.checks.spec import Assignment

SHORTEST = 14  # characters: shorter statements (`return x`) say nothing


@dataclass(frozen=True)
class Leak:
    file: str
    exercise: str
    statement: str


def find_leaks(archive: Path, assignment: Assignment, scratch: Path) -> list[Leak]:
    """All answers found in a released zip, wheels inside it included.

    Args:
        scratch: an empty folder; the given sources are laid out there.
    """
    needles = secret_statements(assignment, scratch)
    leaks = []
    for name, data in _files(archive.read_bytes(), archive.name):
        if name.endswith((".pyc", ".pyo", ".so", ".pyd")):
            leaks.append(Leak(name, "", "a compiled file: nothing compiled may be released"))
            continue
        text = haystack(name, data)
        leaks += [
            Leak(name, exercise, statement) for statement, exercise in needles.items() if statement in text
        ]
    return leaks


def secret_statements(assignment: Assignment, scratch: Path) -> dict[str, str]:
    """{normalised statement: exercise} of every stripped region and alternative, less what is given."""
    edition = build_edition(assignment.name, scratch)
    given = [haystack(path.name, path.read_bytes()) for path in edition.rglob("*.py")]
    given.append(haystack("notebook.ipynb", student_path(assignment.name).read_bytes()))
    allowed = "\n".join(given)
    found: dict[str, str] = {}
    for region in stripped_regions(assignment.name):
        name = region.exercise.name
        for statement in _region_statements(region.source):
            found.setdefault(statement, name)
    for name, known in load_known(assignment.name).items():
        for answer in known.alternatives.values():
            for statement in _statements(textwrap.dedent(inspect.getsource(answer))):
                found.setdefault(statement, name)
    return {s: name for s, name in found.items() if len(s) >= SHORTEST and s not in allowed}


def _region_statements(source: str) -> Iterator[str]:
    lines = source.split("\n")
    begin = next(i for i, line in enumerate(lines, 1) if BEGIN in line)
    end = next(i for i, line in enumerate(lines, 1) if END in line)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and begin < node.lineno < end:
            yield from _forms(source, node)


def _statements(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from _forms(source, node)


def _forms(source: str, node: ast.stmt) -> Iterator[str]:
    """A statement as it was written and as Python would write it, without white space; of a compound one its head."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    body = getattr(node, "body", None)
    if isinstance(body, list):
        head: Any = ast.parse(ast.unparse(node)).body[0]
        head.body = [ast.Pass()]
        for field in ("orelse", "finalbody", "handlers"):
            if hasattr(head, field) and field != "handlers":
                setattr(head, field, [])
        yield normalise(ast.unparse(head).split("\n")[0])
        return
    yield normalise(ast.unparse(node))
    yield normalise(ast.get_source_segment(source, node) or "")


def normalise(text: str) -> str:
    """Without comments at line ends, white space and trailing commas; one kind of quote."""
    text = re.sub(r"(?m)[ \t]#.*$", "", text)
    return re.sub(r",(?=[)\]}])", "", re.sub(r"\s+", "", text)).replace("'", '"')


def haystack(name: str, data: bytes) -> str:
    """A file's text, normalised; Python also as Python would write it, notebooks with all their strings."""
    text = data.decode("utf-8", errors="replace")
    if name.endswith((".ipynb", ".json")):
        with contextlib.suppress(ValueError):
            text = "\n".join(_strings(json.loads(text)))
    forms = [normalise(text)]
    if name.endswith(".py"):
        with contextlib.suppress(SyntaxError):
            forms.append(normalise(ast.unparse(ast.parse(text))))
    return "\n".join(forms)


def _strings(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, list):
        if tree and all(isinstance(x, str) for x in tree):
            yield "".join(tree)
        else:
            for x in tree:
                yield from _strings(x)
    elif isinstance(tree, dict):
        for x in tree.values():
            yield from _strings(x)


def _files(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            inside = archive.read(member)
            path = f"{name}/{member.filename}"
            if member.filename.endswith((".whl", ".zip")):
                yield from _files(inside, path)
            else:
                yield path, inside
