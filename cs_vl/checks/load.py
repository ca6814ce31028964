"""Load a student's definitions without running their story.

Only imports, functions, classes and constants of the cells run, in order: an endless training loop above
right answers costs nothing.  `cs-vl check` and the autograder load in this same way.
"""

import ast
import contextlib
import linecache
import math
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from cs_vl.checks.cells import Cell

# What a constant may call: it is cheap, and has no effect.
_CALLS = {
    "float", "int", "bool", "str", "bytes", "tuple", "list", "dict", "set", "frozenset", "range", "len",
    "min", "max", "sum", "abs", "sorted", "partial", "namedtuple", "TypeVar", "NewType", "compile",
    "device", "tensor", "finfo", "iinfo", "sqrt", "log", "exp", "array", "staticmethod", "classmethod",
    "Generator", "default_rng",
}  # fmt: skip


STATEMENT_SECONDS = 10.0  # one import or definition; a class body can hold anything


@dataclass
class Loaded:
    """The student's namespace; their answers by exercise name; and what went wrong while loading."""

    namespace: dict[str, Any]
    answers: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)  # exercise name -> sentence
    notes: list[str] = field(default_factory=list)  # about cells that hold no answer


def load(cells: Iterable[Cell], exercises: Iterable[str], setup: Iterable[Cell] = ()) -> Loaded:
    """Run the definitions of `setup` (the source notebook's import cells), then those of `cells`.

    Args:
        exercises: the names to look for.  A cell whose grade id is the name speaks for it; failing
            that, the last cell that defines the name does.
    """
    wanted = list(exercises)
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    namespace = vars(module)
    namespace.update(_harmless())
    loaded = Loaded(namespace)
    for cell in setup:
        for _ in _execute(cell, namespace):
            pass
    given = {name: namespace.get(name) for name in wanted}
    by_id: dict[str, Any] = {}
    for cell in cells:
        if cell.kind != "code" or not cell.source.strip():
            continue
        sentences = list(_execute(cell, namespace))
        for name in wanted:
            found = namespace.get(name)
            mine = found is not given[name] and not getattr(found, "__module__", "").startswith("cs_vl.")
            if cell.grade_id == name:
                if mine and _defines(cell.source, name):
                    by_id[name] = found
                elif sentences:
                    loaded.problems[name] = sentences[0]
            if mine:
                loaded.answers[name] = found
            elif sentences and name not in loaded.problems and _mentions(cell.source, name):
                loaded.problems[name] = sentences[0]
        if sentences and cell.grade_id not in wanted:
            loaded.notes.append(sentences[0])
    loaded.answers.update(by_id)
    loaded.problems = {name: text for name, text in loaded.problems.items() if name not in loaded.answers}
    return loaded


def _harmless() -> dict[str, Callable]:
    """Stand-ins for what only a live notebook has."""

    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    return {
        "display": nothing,
        "get_ipython": lambda: types.SimpleNamespace(run_line_magic=nothing),
        "input": lambda *_: "",
    }


def parse(source: str) -> ast.Module:
    """Parse a cell; lines of magics (%, !) become `pass`, a whole-cell magic keeps its body.

    Raises:
        SyntaxError: as Python's.
    """
    try:
        return ast.parse(source)
    except SyntaxError:
        lines = source.split("\n")
        if any(line.startswith("%%") for line in lines[:1]) and not lines[0].startswith(
            ("%%time", "%%capture")
        ):
            return ast.parse("")  # another language
        plain = [
            line[: len(line) - len(line.lstrip())] + "pass"
            if line.lstrip().startswith(("%", "!", "?"))
            else line
            for line in lines
        ]
        if plain == lines:
            raise
        return ast.parse("\n".join(plain))


def _execute(cell: Cell, namespace: dict[str, Any]) -> Iterable[str]:
    """Run a cell's definitions, one statement after the other; yield a sentence for each that fails."""
    filename = f"<cell {cell.number}>"
    linecache.cache[filename] = (len(cell.source), None, cell.source.splitlines(keepends=True), filename)
    try:
        tree = parse(cell.source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        why = error.msg if isinstance(error, SyntaxError) else "it can't be read as Python"
        yield f"Cell {cell.number}{line} is not Python: {why}"
        return
    for statement in tree.body:
        if not keeps(statement):
            continue
        try:
            code = compile(ast.Module([statement], []), filename, "exec", dont_inherit=True)
            with _time_limit(STATEMENT_SECONDS):
                exec(code, namespace)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            yield f"Cell {cell.number}, line {statement.lineno}: {type(error).__name__}: {str(error)[:200]}"


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """A courtesy to the other cells: raise TimeoutError in a statement that does not end.

    Where there is no SIGALRM (Windows) the worker's own limit ends the whole load.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise TimeoutError(f"this did not come to an end in {seconds:g} seconds and was left out")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def keeps(node: ast.stmt) -> bool:
    """Whether a top-level statement is a definition: the rest is story and does not run."""
    match node:
        case ast.ImportFrom(module=str(module)) if module.split(".")[0] == "autograder":
            return False  # the TA's own, in a copy of a solved notebook
        case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return True
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
            return _is_constant(value)
        case ast.If(test=test, body=body, orelse=orelse):
            return _is_constant(test) and all(map(keeps, [*body, *orelse]))
        case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=finalbody):
            inner = [*body, *(s for h in handlers for s in h.body), *orelse, *finalbody]
            return all(isinstance(s, ast.Pass) or keeps(s) for s in inner)
        case ast.Pass():
            return True
    return False


def _is_constant(node: ast.expr) -> bool:
    """Literals, names, arithmetic on them, lambdas, and calls of a few functions without effect."""
    match node:
        case ast.Constant() | ast.Name() | ast.Lambda():
            return True
        case ast.Attribute(value=value):
            return _is_constant(value)
        case ast.Subscript(value=value, slice=index):
            return _is_constant(value) and _is_constant(index)
        case ast.UnaryOp(operand=operand):
            return _is_constant(operand)
        case ast.BinOp(left=left, op=op, right=right):
            return _is_constant(left) and _is_constant(right) and not _is_huge(op, left, right)
        case (
            ast.BoolOp(values=values) | ast.Tuple(elts=values) | ast.List(elts=values) | ast.Set(elts=values)
        ):
            return all(map(_is_constant, values))
        case ast.Compare(left=left, comparators=others):
            return all(map(_is_constant, [left, *others]))
        case ast.Dict(keys=keys, values=values):
            return all(_is_constant(x) for x in [*keys, *values] if x is not None)
        case ast.JoinedStr() | ast.FormattedValue() | ast.Slice():
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args, keywords=keywords):
            return name in _CALLS and all(map(_is_constant, [*args, *(k.value for k in keywords)]))
    return False


def _is_huge(op: ast.operator, left: ast.expr, right: ast.expr) -> bool:
    """10**10**10, or [0] * 10**12, would not come to an end."""
    big = isinstance(right, ast.Constant) and isinstance(right.value, int) and abs(right.value) > 10_000
    sequence = isinstance(left, ast.List | ast.Tuple | ast.Constant) and isinstance(
        getattr(left, "value", []), list | str | bytes
    )
    if isinstance(op, ast.Pow | ast.LShift):
        return (
            big
            or isinstance(right, ast.BinOp)
            or (isinstance(right, ast.Constant) and not _small(right.value))
        )
    return isinstance(op, ast.Mult) and sequence and (big or not isinstance(right, ast.Constant))


def _small(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and abs(value) <= 100


def _defines(source: str, name: str) -> bool:
    try:
        body = parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(_binds(node, name) for node in body)


def _binds(node: ast.stmt, name: str) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name == name
    if isinstance(node, ast.Assign):
        return any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
    if isinstance(node, ast.Import | ast.ImportFrom):
        return any((a.asname or a.name) == name for a in node.names)
    return False


def _mentions(source: str, name: str) -> bool:
    """Whether a cell that is not Python looks as if it should define the name."""
    return f"def {name}(" in source or f"class {name}(" in source or f"class {name}:" in source
