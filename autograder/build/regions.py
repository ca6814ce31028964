"""Find an exercise's source in the library, the imports that it needs, and the text without its answer."""

import ast
import builtins
import dis
import importlib
import types
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat.v4
from nbgrader.preprocessors import ClearSolutions

from cs_vl.checks.spec import Exercise

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"


class BadRegion(ValueError):
    """An exercise that the build can't use; the message says what to change."""


@dataclass(frozen=True)
class Region:
    """An exercise as it stands in the library."""

    exercise: Exercise
    path: Path
    first_line: int  # of its decorators, from 1
    last_line: int
    source: str  # decorators included, marks included
    imports: str  # the import cell

    @property
    def methods(self) -> list[str]:
        """For a class: the methods whose bodies are the answer."""
        (node,) = ast.parse(self.source).body
        if not isinstance(node, ast.ClassDef):
            return []
        lines = self.source.splitlines()
        return [
            member.name
            for member in node.body
            if isinstance(member, ast.FunctionDef)
            and any(BEGIN in line for line in lines[member.lineno - 1 : member.end_lineno])
        ]


@cache
def find_region(exercise: Exercise) -> Region:
    """Find an exercise in its module.

    Raises:
        BadRegion: it is not there, has not exactly one solution region, or needs a private helper.
    """
    module = importlib.import_module(exercise.module)
    assert module.__file__
    path = Path(module.__file__)
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    where = f"{exercise.module}.{exercise.name}"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == exercise.name:
            break
    else:
        raise BadRegion(f"{where}: there is no such function or class at the top level of {path.name}")
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    last = node.end_lineno or node.lineno
    lines = text.split("\n")
    # The closing mark is an indented comment after the last statement: it belongs to the region.
    while last < len(lines) and (not lines[last].strip() or lines[last].startswith(" ")):
        last += 1
    while not lines[last - 1].strip():
        last -= 1
    source = "\n".join(lines[first - 1 : last])
    marks = [line.strip() for line in lines[first - 1 : last] if line.strip() in (BEGIN, END)]
    if marks != [BEGIN, END]:
        raise BadRegion(f"{where}: exactly one pair of {BEGIN} / {END} is needed")
    if "exercise" not in [ast.unparse(d) for d in node.decorator_list]:
        raise BadRegion(f"{where}: it lacks the decorator @exercise")
    return Region(exercise, path, first, last, source, _imports(where, exercise.module, source, tree))


def _imports(where: str, module: str, source: str, tree: ast.Module) -> str:
    """The import cell: one import for each free name of the region."""
    plain: set[str] = set()
    from_: dict[str, set[str]] = {}
    imported = _imported_names(where, tree)
    own = vars(importlib.import_module(module))
    for name in sorted(free_names(source)):
        if name.startswith("_"):
            raise BadRegion(f"{where} uses {name}: private helpers are not allowed in exercises")
        if name in imported:
            home, alias = imported[name]
            if home:
                from_.setdefault(home, set()).add(alias)
            else:
                plain.add(f"import {alias}")
        elif name in own:  # the module's own: it goes before a builtin of the same name
            from_.setdefault(module, set()).add(name)
        elif not hasattr(builtins, name):
            raise BadRegion(f"{where} uses {name}, which is nowhere defined or imported in its file")
    lines = sorted(plain)
    lines += [f"from {home} import {', '.join(sorted(names))}" for home, names in sorted(from_.items())]
    return "\n".join(lines)


def _imported_names(where: str, tree: ast.Module) -> dict[str, tuple[str, str]]:
    """{name: (module or "", what to import)} of a file's top-level imports."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = ("", ast.unparse(alias))
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise BadRegion(f"{where}: its file has a relative import; write it with the full name")
            for alias in node.names:
                found[alias.asname or alias.name] = (node.module or "", ast.unparse(alias))
    return found


def free_names(source: str) -> set[str]:
    """The global names that a piece of source needs, decorators, defaults and annotations included."""
    needed: set[str] = set()
    # Names that are looked up outside all functions (the last one: in class bodies, from Python 3.12 on).
    loads = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS")

    def visit(code: types.CodeType, own: set[str]) -> None:
        # Names that a class body or the module itself stores are not free there.
        stored = {i.argval for i in dis.get_instructions(code) if i.opname == "STORE_NAME"}
        for instruction in dis.get_instructions(code):
            if instruction.opname in loads and instruction.argval not in stored | own:
                needed.add(instruction.argval)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                visit(constant, own)

    top = compile(source, "<region>", "exec", dont_inherit=True)
    own = {i.argval for i in dis.get_instructions(top) if i.opname == "STORE_NAME"}
    visit(top, own)
    # Python's own (`__name__`, `__annotations__`) are there wherever code runs.
    return {name for name in needed - own if not (name.startswith("__") and name.endswith("__"))}


def strip(source: str, stub: str = "# YOUR CODE HERE\nraise NotImplementedError()") -> str:
    """The source with its solution regions replaced by a stub, nbgrader's by default, by nbgrader's own converter."""
    cell = nbformat.v4.new_code_cell(source)
    ClearSolutions(code_stub={"python": stub})._replace_solution_region(cell, "python")
    return cell.source


def without_marks(source: str) -> str:
    """The source with its answer, but without the two marking comments."""
    lines = source.split("\n")
    return "\n".join(line for line in lines if line.strip() not in (BEGIN, END))
