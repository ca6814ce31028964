"""Look for answers in what students get: no statement of a stripped region, an alternative or a stand-in may be in it.

What is compared is what a statement says, not how it is laid out: white space, line breaks, quotes, parentheses,
commas, comments, prompts, colours and HTML make no difference.  Neither does where it stands: notebooks, their
outputs, data, packages inside the zip, comments.  Idioms that occur in the given parts of the course as well (its
sources less all stripped regions) are no secret; a longer statement is one, unless it is listed as `GIVEN` here.

The given parts are worked out from the sources alone, so that a fault of the build can't make an answer look given.
"""

import ast
import contextlib
import html
import importlib.util
import inspect
import io
import json
import re
import textwrap
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.build.edition import LIBRARY, STAND_INS, stripped_regions
from autograder.build.notebooks import source_path
from autograder.build.regions import BEGIN, END
from autograder.known import load_known
from cs_vl.checks.spec import ASSIGNMENTS, Assignment

SHORTEST = 14  # characters, normalised: shorter statements (`return x`) say nothing
IDIOM = 30  # shorter ones that are in the given parts too are idioms (`for block in self.blocks`)
LONG_VALUE = (
    24  # what is assigned or returned is a secret by itself, whatever it is called (unless it is given)
)

# Longer statements of answers that stand in given parts as well, each because it gives nothing away.
GIVEN = (
    "context = x if context is None else context",  # how an optional argument is filled in
)

MARKS = (BEGIN, END, "### BEGIN HIDDEN TESTS", "from autograder")

OPAQUE = (
    ".pyc", ".pyo", ".so", ".pyd", ".dll", ".dylib", ".pkl", ".pickle", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".tar",
)  # fmt: skip
MAGIC = (importlib.util.MAGIC_NUMBER, b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf")


@dataclass(frozen=True)
class Leak:
    file: str
    exercise: str
    statement: str


def find_leaks(archive: Path, assignment: Assignment) -> list[Leak]:
    """All answers found in a released zip, packages inside it included."""
    needles = secret_statements(assignment) | {normalise(mark): "a mark" for mark in MARKS}
    leaks = []
    for name, data in _files(archive.read_bytes(), archive.name):
        if name.endswith(f"/{STAND_INS}"):
            leaks.append(Leak(name, "", "stand-ins are answers: they are for grading alone"))
        if name.endswith(OPAQUE) or data.startswith(MAGIC):
            leaks.append(Leak(name, "", "compiled or packed: nothing that can't be read may be released"))
            continue
        text = haystack(name, data)
        leaks += [Leak(name, exercise, needle) for needle, exercise in needles.items() if needle in text]
    return leaks


# --- what is secret ------------------------------------------------------------------------------------------


def secret_statements(assignment: Assignment) -> dict[str, str]:
    """{normalised statement: exercise} of all that students are to find by themselves, less what is given."""
    library, solved, story = _given(assignment)
    listed = {normalise(statement) for statement in GIVEN}
    found: dict[str, str] = {}
    for statement, name, is_value in _answers(assignment):
        idiom = (is_value or len(statement) < IDIOM) and statement in library + story
        if len(statement) >= SHORTEST and not (idiom or statement in listed or statement in solved):
            found.setdefault(statement, name)
    return found


def _later(assignment: Assignment) -> tuple[str, ...]:
    """This assignment and those after it."""
    return ASSIGNMENTS[ASSIGNMENTS.index(assignment.name) :]


def _answers(assignment: Assignment) -> Iterator[tuple[str, str, bool]]:
    """(normalised statement, exercise, whether it is a value alone) of regions, alternatives, stand-ins, model answers."""
    for region in stripped_regions(assignment.name):
        lines = region.source.split("\n")
        begin, end = (next(i for i, line in enumerate(lines, 1) if mark in line) for mark in (BEGIN, END))
        for node in ast.walk(ast.parse(region.source)):
            if isinstance(node, ast.stmt) and begin < node.lineno < end:
                yield from _forms(region.source, node, region.exercise.name)
    for later in _later(assignment):
        for name, known in load_known(later).items():
            for answer in known.alternatives.values():
                yield from _statements(textwrap.dedent(inspect.getsource(answer)), name)
        for path in sorted((LIBRARY / "checks" / later).glob(STAND_INS)):
            text = path.read_text(encoding="utf-8")
            for part in ast.parse(text).body:  # the functions that they call, too
                if isinstance(part, ast.FunctionDef | ast.ClassDef):
                    yield from _statements(ast.get_source_segment(text, part) or "", "a stand-in")
        for answer in re.findall(f"(?s){BEGIN}\n(.*?){END}", _story(later)):
            for sentence in re.split(r"(?<=[.:;?!])\s", answer):
                if len(normalise(sentence)) >= IDIOM:
                    yield normalise(sentence), "a written answer", False


def _statements(source: str, name: str) -> Iterator[tuple[str, str, bool]]:
    """What `_forms` says of each statement in a function or class."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from _forms(source, node, name)


def _forms(source: str, node: ast.stmt, name: str) -> Iterator[tuple[str, str, bool]]:
    """A statement as Python would write it and as it was written; of a compound one its head; its value alone."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    text = ast.unparse(node)
    if isinstance(getattr(node, "body", None), list):
        yield normalise(text.split("\n")[0]), name, False
        return
    yield normalise(text), name, False
    yield normalise(ast.get_source_segment(source, node) or ""), name, False
    value = getattr(node, "value", None)
    if isinstance(value, ast.expr) and len(form := normalise(ast.unparse(value))) >= LONG_VALUE:
        yield form, name, True


def _given(assignment: Assignment) -> tuple[str, str, str]:
    """What students may see, as haystacks: the library outside of all exercises, exercises already solved, the story."""
    stripped: dict[Path, list[str]] = {}
    for region in stripped_regions(assignment.name):
        stripped.setdefault(region.path, []).append(region.source)
    library, solved = [], []
    for path in sorted(p for p in LIBRARY.rglob("*.py") if p.name != STAND_INS):
        text = path.read_text(encoding="utf-8")
        for source in stripped.get(path, []):
            text = text.replace(source, _without_answers(source))
        solved += [
            haystack(path.name, answer.encode()) for answer in re.findall(f"(?s){BEGIN}\n(.*?){END}", text)
        ]
        library.append(haystack(path.name, _without_answers(text, "pass").encode()))
    story = [haystack("story.md", _without_answers(_story(name)).encode()) for name in ASSIGNMENTS]
    return "\n".join(library), "\n".join(solved), "\n".join(story)


def _without_answers(text: str, instead: str = "raise NotImplementedError") -> str:
    return re.sub(f"(?s){BEGIN}\n.*?{END}", instead, text)


def _story(name: str) -> str:
    return source_path(name).read_text(encoding="utf-8")


# --- where it could be -----------------------------------------------------------------------------------------


def normalise(text: str) -> str:
    """Without what changes nothing: comments, white space, quotes, parentheses, commas, line continuations."""
    text = re.sub(r"(?m)[ \t]#.*$", "", text)
    return re.sub(r"[\s,()\\\"'`#\0]+", "", text)


def haystack(name: str, data: bytes) -> str:
    """All that a file says, normalised, in every form in which an answer could stand there."""
    if _is_binary(data):  # pictures, numbers: what can be read in them
        return normalise("\n".join(run.decode() for run in _LEGIBLE.findall(data.replace(b"\0", b""))))
    text = _decode(data)
    texts: Iterable[str] = [text]
    if name.endswith((".ipynb", ".json")):
        with contextlib.suppress(ValueError):
            texts = _strings(json.loads(text))
    return "\n".join(normalise(form) for text in texts for form in _readings(text))


_LEGIBLE = re.compile(rb"[\t\n\r -~]{%d,}" % SHORTEST)


def _is_binary(data: bytes) -> bool:
    return b"\0" in data and data[:2] not in (b"\xff\xfe", b"\xfe\xff")


def _decode(data: bytes) -> str:
    return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", errors="replace")


def _readings(text: str) -> Iterator[str]:
    """A text; with its comments; without prompts, line numbers, colours and tags; its Python as Python writes it."""
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    yield text
    if "#" in text:
        yield text.replace("#", " ")
    if "\n" in text:
        yield re.sub(r"(?m)^[ \t]*(?:[-#>|+.:*]+[ \t]*)*(?:\d+[.:|]?[ \t])?", "", text).replace("#", " ")
    if re.search("<[^>]+>|&[a-z#0-9]+;", text):
        yield html.unescape(re.sub(r"<[^<>]*>", "", text))
    for code in [text, *re.findall(r"(?s)```[^\n]*\n(.*?)```", text)]:
        if "=" in code or "return" in code:
            with contextlib.suppress(SyntaxError, ValueError, RecursionError):
                yield ast.unparse(ast.parse(textwrap.dedent(code)))


def _strings(tree: Any) -> Iterator[str]:
    """Every string of a JSON tree, keys too; lines of a list in one piece."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, list):
        lines = [x for x in tree if isinstance(x, str)]
        if lines:
            yield "".join(lines)
        for x in tree:
            if not isinstance(x, str):
                yield from _strings(x)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            yield from _strings(value)


def _files(data: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            inside, path = archive.read(member), f"{name}/{member.filename}"
            if zipfile.is_zipfile(io.BytesIO(inside)):
                yield from _files(inside, path)
            else:
                yield path, inside
