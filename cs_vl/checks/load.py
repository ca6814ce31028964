"""Load a student's definitions without running their story.

Only imports, functions, classes and constants of the cells run, in order: an endless training loop above
right answers costs nothing.  A constant that calls something (`TABLE = build_table(256)`) runs only where an
answer needs it.  `cs-vl check` and the autograder load in this same way.
"""

import __future__

import ast
import builtins
import contextlib
import linecache
import re
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from types import NoneType
from typing import Any

from cs_vl.checks.cells import Cell
from cs_vl.checks.keep import DEFINITION, Needs, binds, changes, keeps, without_story
from cs_vl.checks.source import statements

STATEMENT_SECONDS = 10.0  # one import or definition; a class body can hold anything
ALL_SECONDS = 40.0  # all of them: what takes long leaves less to the others, but never nothing
# All assignments that call something and that an answer needs.  A table takes milliseconds; but an answer in
# which a variable was forgotten may need, by accident, what the story trains for minutes.
CALL_SECONDS = 6.0

_FUTURE = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
_BUILTINS = [name for name in dir(builtins) if not name.startswith("_")]
_CHECK = re.compile(r"^check\(\s*[\"'](\w+)[\"']", re.MULTILINE)
_FENCE = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass
class Loaded:
    """The student's namespace; their answers by exercise name; and what went wrong while loading."""

    namespace: dict[str, Any]
    answers: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)  # exercise name -> sentence
    notes: list[str] = field(default_factory=list)  # about cells that hold no answer
    # exercise name -> the globals that its cell saw: later cells may use the same names for other things
    saw: dict[str, dict[str, Any]] = field(default_factory=dict)
    # exercise name -> those of Python's own names (sum, list) that had another meaning there
    shadowed: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, name: str) -> Any:
        """An answer, with the globals in place that it was written with, itself among them."""
        if name in self.shadowed:
            for builtin in _BUILTINS:
                self.namespace.pop(builtin, None)
            self.namespace.update(self.shadowed[name])
        self.namespace.update(self.saw.get(name, {}))
        self.namespace[name] = self.answers[name]
        return self.answers[name]


def load(cells: Iterable[Cell], exercises: Iterable[str], setup: Iterable[Cell] = ()) -> Loaded:
    """Run the definitions of `setup` (the source notebook's import cells), then those of `cells`.

    Args:
        exercises: the names to look for.  Where a name is defined more than once, what is written counts
            before a blank, then the cell whose grade id is the name before others, then the last one.
    """
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    namespace = vars(module)
    namespace.update(_harmless())
    loading = _Loading(namespace, list(exercises))
    for cell in setup:
        for node in statements(cell)[0]:
            loading.run(cell, node)
    loading.take([cell for cell in cells if cell.source.strip()])
    return loading.loaded()


@dataclass
class _Found:
    """A definition of an exercise; the one of the highest rank is the answer."""

    value: Any
    rank: tuple[bool, bool, bool]  # defined here, not imported; written, no blank; in its own cell
    cell: Cell
    node: ast.stmt | None

    @property
    def is_written(self) -> bool:
        return self.rank[:2] == (True, True)

    @property
    def text(self) -> list[str]:
        """Its source, however it is laid out."""
        lines = self.cell.source.split("\n")
        return "\n".join(lines[self.node.lineno - 1 : self.node.end_lineno]).split() if self.node else []


class _Loading:
    """A load under way."""

    def __init__(self, namespace: dict[str, Any], wanted: list[str]):
        self.namespace, self.wanted = namespace, wanted
        self.best: dict[str, _Found] = {}
        self.written: dict[str, list[_Found]] = {name: [] for name in wanted}
        self.saw: dict[str, dict[str, Any]] = {}
        self.shadowed: dict[str, dict[str, Any]] = {}
        self.unchecked: set[str] = set()  # of the last cell that held answers: those not checked since
        self.problems: dict[str, str] = {}
        self.notes: list[str] = []
        self.skipped: set[str] = set()  # names that the story would have given a meaning to
        self.future = 0
        self.seconds, self.call_seconds = ALL_SECONDS, CALL_SECONDS

    def take(self, cells: list[Cell]) -> None:
        """Run the definitions of code cells; of other cells only where an answer is nowhere else."""
        code = [(cell, *statements(cell)) for cell in cells if cell.kind == "code"]
        everything = [node for _, nodes, _ in code for node in nodes]
        needs = Needs(everything)
        needed = needs.of(self.wanted)
        for cell, nodes, failures in code:
            for name in self.unchecked.intersection(_CHECK.findall(cell.source)):
                self._see(name, needs)  # its helpers may have been mended since
                self.unchecked.remove(name)
            self._cell(cell, nodes, failures, needs, needed)
        for cell in cells:
            if cell.kind == "code":
                continue
            missing = [name for name in self.wanted if not self.written[name]]
            if not any(_mentions(cell.source, name) for name in missing):
                continue
            source = "\n".join(_FENCE.findall(cell.source)) or cell.source
            cell = replace(cell, kind="code", source=source)
            nodes, _ = statements(cell)
            needs = Needs([*nodes, *everything])
            self._cell(cell, nodes, [], needs, needs.of(self.wanted))
            for name in missing:
                if self.written[name]:
                    self.notes.append(
                        f"Cell {cell.number} is no code cell, but holds {name}, which was read as code: "
                        "turn it into a code cell."
                    )

    def _cell(
        self,
        cell: Cell,
        nodes: list[ast.stmt],
        failures: list[tuple[str, str]],
        needs: Needs,
        needed: set[str],
    ) -> None:
        filename = f"<cell {cell.number}>"
        lines = [line + "\n" for line in cell.source.split("\n")]
        linecache.cache[filename] = (len(cell.source), None, lines, filename)
        known = {name: self.namespace.get(name) for name in self.wanted}
        made = set()
        for node in nodes:
            sentence = self._statement(cell, node, needed)
            if sentence:
                failures.append(("".join(lines[node.lineno - 1 : node.end_lineno]), sentence))
            for name, before in known.items():
                value = self.namespace.get(name)
                if value is not before:
                    known[name] = value
                    made.add(name)
                    self._take_down(cell, node, name, value)
        answered = {name for name in self.wanted if name in self.best and self.best[name].cell is cell}
        self.unchecked = answered or self.unchecked
        for name in self.wanted:
            if name in answered:
                self._see(name, needs)
            elif name not in made:
                said = [sentence for source, sentence in failures if _mentions(source, name)]
                if said or (failures and cell.grade_id == name):
                    self.problems[name] = said[0] if said else failures[0][1]
        if failures and cell.grade_id not in self.wanted:
            self.notes.append(failures[0][1])

    def _see(self, name: str, needs: Needs) -> None:
        """Keep the meaning that globals have now for an answer that was written here."""
        seen = needs.of([name]).difference(self.wanted)
        self.saw[name] = {n: self.namespace[n] for n in seen if n in self.namespace}
        self.shadowed[name] = {n: self.namespace[n] for n in _BUILTINS if n in self.namespace}

    def _take_down(self, cell: Cell, node: ast.stmt, name: str, value: Any) -> None:
        """Take down what a statement has made of an exercise's name, if it may be an answer."""
        made_by = _module_of(value)
        if not callable(value) or made_by.startswith("cs_vl."):
            return
        own, defined = cell.grade_id == name, _definition(node, name)
        rank = own or made_by == "__main__", defined is None or not _is_blank(defined), own
        found = _Found(value, rank, cell, defined)
        if name not in self.best or rank >= self.best[name].rank:
            self.best[name] = found
        if found.is_written:
            self.written[name].append(found)

    def _statement(self, cell: Cell, node: ast.stmt, needed: set[str]) -> str:
        """Run a statement if it is no story; a sentence if it fails."""
        try:
            kept = without_story(node, needed) if keeps(node, needed) else None
        except RecursionError:
            return f"Cell {cell.number}, line {node.lineno}: this is nested too deeply, and was left out"
        if kept:
            error = self.run(cell, kept, is_call=not keeps(node))
            if error is None:
                return ""
            if not (
                isinstance(error, NameError) and error.name in self.skipped and binds(node).isdisjoint(needed)
            ):
                return f"Cell {cell.number}, line {node.lineno}: {type(error).__name__}: {_text(error)}"[:400]
        names = binds(node)
        self.skipped |= names  # what comes after may stumble over it: no fault of the student's
        values = {
            n for n in changes(node) if not isinstance(self.namespace.get(n), types.ModuleType | NoneType)
        }
        lost = ", ".join(sorted((names | values) & needed))
        if lost:
            self.notes.append(
                f"Cell {cell.number}, line {node.lineno} does not run in grading, where only imports, "
                f"functions, classes and constants do, but an answer needs {lost}: make it in a function."
            )
        return ""

    def run(self, cell: Cell, node: ast.stmt, is_call: bool = False) -> BaseException | None:
        """Run a statement; whatever it raises, SystemExit included, is handed back."""
        start = time.monotonic()
        try:
            code = compile(
                ast.Module([node], []), f"<cell {cell.number}>", "exec", flags=self.future, dont_inherit=True
            )
            self.future = code.co_flags & _FUTURE  # as in a notebook, it holds for the cells after
            left = min(self.seconds, self.call_seconds) if is_call else self.seconds
            with _time_limit(min(STATEMENT_SECONDS, max(left / 4, 0.01))):
                exec(code, self.namespace)
        except BaseException as error:
            return error
        finally:
            self.seconds -= time.monotonic() - start
            self.call_seconds -= (time.monotonic() - start) * is_call
        return None

    def loaded(self) -> Loaded:
        loaded = Loaded(self.namespace, problems=self.problems, notes=self.notes, shadowed=self.shadowed)
        for name in self.wanted:
            best = self.best.get(name)
            # Where a blank is all there is, what is wrong with a try elsewhere tells more.
            if best and (best.is_written or name not in self.problems):
                loaded.answers[name] = best.value
                if name in loaded.problems:
                    loaded.notes.append(loaded.problems.pop(name))
                self._tell_of_others(name, best)
        seen = {n for saw in self.saw.values() for n in saw}.difference(_BUILTINS)
        touched = {n: self.namespace[n] for n in seen if n in self.namespace}
        loaded.saw = {name: {**touched, **saw} for name, saw in self.saw.items()}
        loaded.notes = list(dict.fromkeys(loaded.notes))
        return loaded

    def _tell_of_others(self, name: str, best: _Found) -> None:
        """Say which definition counts where several differ."""
        written = [one for one in self.written[name] if one.node]
        if any(one.text != written[0].text for one in written[1:]):
            cells = list(dict.fromkeys(str(one.cell.number) for one in written))
            several = f"in cells {', '.join(cells)}" if len(cells) > 1 else "more than once"
            self.notes.append(f"{name} is defined {several}: the one in cell {best.cell.number} counts.")


def _harmless() -> dict[str, Callable]:
    """Stand-ins for what only a live notebook has."""

    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    class Shell:
        def __getattr__(self, name: str) -> Callable:
            if name.startswith("__"):
                raise AttributeError(name)
            return nothing

    return {"display": nothing, "get_ipython": Shell, "input": lambda *_: ""}


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """A courtesy to the other cells: raise TimeoutError in a statement that does not end.

    Where there is no SIGALRM (Windows) the worker's own limit ends the whole load.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise TimeoutError(f"this did not come to an end in {seconds:.2g} seconds and was left out")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)  # again and again: the code may catch the first one
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _text(error: BaseException) -> str:
    try:
        if isinstance(error, FileNotFoundError) and str(error).startswith("the data file "):
            return "in grading there are no data files, and an answer must not need them"
        return str(error)[:200]
    except BaseException:  # an exception of the student's own
        return "(it can't say why)"


def _module_of(value: Any) -> str:
    """Where a function or class was made: `__main__`, if by the student."""
    try:
        module = value.__module__
    except BaseException:  # an object of the student's own
        return ""
    return module if isinstance(module, str) else ""


def _definition(node: ast.stmt, name: str) -> Any:
    """The function or class of this name in a top-level statement."""
    inside = ast.walk(node) if isinstance(node, ast.If | ast.Try) else [node]
    return next((inner for inner in inside if isinstance(inner, DEFINITION) and inner.name == name), None)


def _is_blank(node: Any) -> bool:
    """Whether it still raises NotImplementedError where the answer should be; of a class, in some method.

    What returns something is an answer, even where that line was left below it.
    """
    if isinstance(node, ast.ClassDef):
        return any(isinstance(inner, DEFINITION) and _is_blank(inner) for inner in node.body)
    left = any(
        isinstance(inner, ast.Raise) and any(map(_is_not_implemented, ast.walk(inner))) for inner in node.body
    )
    return left and not any(isinstance(inner, ast.Return) for inner in ast.walk(node))


def _is_not_implemented(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "NotImplementedError"


def _mentions(source: str, name: str) -> bool:
    """Whether a cell that is not Python looks as if it should define the name."""
    return re.search(rf"\b(def|class)\s+{name}\b", source) is not None
