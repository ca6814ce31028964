"""A cell's source as Python statements, whatever only a live notebook understands in it."""

import ast
import itertools
import re
import sys

from cs_vl.checks.cells import Cell

UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # what a source can do to Python's parser
# Lines of magics in a cell; each costs a look at all of it.  After a few, whatever looks like one is one.
MAX_RETRIES, FEW = 100, 10
MAX_BLOCKS = 200

# Cell magics whose body is the notebook's own Python.
_OF_PYTHON = re.compile(r"%%(time|timeit|capture|prun|memit|debug)\b")
_MAGIC = re.compile(r"\s*([%!?]|[\w.,* ]+=\s*[%!]|[\w.]+\?{1,2}\s*$)")  # %time f(), !ls, ?f, x = !ls, f?
_PROMPT = re.compile(r"^(>>>|\.\.\.)( |$)")
_SURELY = re.compile(r"^(\s*)(!|%[a-z]+\b).*[^\\]$")
_HEAD = re.compile(r"@|(async def|def|class|import|from)\s|\w+\s*=[^=]")


def parse(source: str) -> ast.Module:
    """Parse a cell as IPython would; lines of magics (%, !, ?) become `pass`, %%bash and its kind nothing.

    Raises:
        SyntaxError: as Python's.  ValueError, RecursionError, MemoryError: it is no source that Python takes.
    """
    lines = source.split("\n")
    first = next((i for i, line in enumerate(lines) if line.strip()), 0)
    if lines[first].startswith("%%"):
        if not _OF_PYTHON.match(lines[first]):
            return ast.parse("")  # another language
        lines[first] = ""
    elif lines[first].startswith(">>> "):  # pasted with its prompts, which IPython takes away
        lines = [_PROMPT.sub("", line) for line in lines]
    elif indent := lines[first][: -len(lines[first].lstrip())]:  # of the whole cell: IPython takes that, too
        lines = [line.removeprefix(indent) for line in lines]
    for retry in range(MAX_RETRIES):
        if retry == FEW:
            lines = [_SURELY.sub(r"\1pass", line) for line in lines]
        try:
            return ast.parse("\n".join(lines))
        except SyntaxError as error:
            # Only a line that is no Python: "% y" may go on with an expression, or stand in a docstring.
            at = (error.lineno or 0) - 1
            if not (0 <= at < len(lines) and _MAGIC.match(lines[at])):
                raise
            end = at
            while lines[end].rstrip().endswith("\\") and end + 1 < len(lines):
                end += 1
            indent = lines[at][: -len(lines[at].lstrip())]
            lines[at : end + 1] = [indent + "pass", *[""] * (end - at)]
    return ast.parse("\n".join(lines))


def statements(cell: Cell) -> tuple[list[ast.stmt], list[tuple[str, str]]]:
    """The statements of a cell, and (source, sentence) for each part of it that is not Python.

    A syntax error costs the function or class that it stands in, not others: a script may be one cell.
    """
    try:
        return parse(cell.source).body, []
    except UNREADABLE as error:
        blocks = _blocks(cell.source)
        if not 1 < len(blocks) <= MAX_BLOCKS:
            return [], [(cell.source, _not_python(cell, error))]
    body: list[ast.stmt] = []
    failures = []
    for block in blocks:
        try:
            body += parse(block).body
        except UNREADABLE as error:
            failures.append((block, _not_python(cell, error)))
    return body, failures


def _blocks(source: str) -> list[str]:
    """The source cut in front of each definition; empty lines before a piece keep its line numbers."""
    lines = source.split("\n")
    heads = [i for i, line in enumerate(lines) if _HEAD.match(line)]
    cuts = sorted({0, len(lines), *(i for i in heads if not lines[i - 1].startswith("@"))})
    return ["\n" * start + "\n".join(lines[start:end]) for start, end in itertools.pairwise(cuts)]


def _not_python(cell: Cell, error: BaseException) -> str:
    line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
    why = error.msg if isinstance(error, SyntaxError) else "it can't be read as Python"
    return f"Cell {cell.number}{line} is not Python {sys.version_info.major}.{sys.version_info.minor}: {why}"
