"""What a student's process is sent in place of earlier exercises: the source of their stand-ins, and no more of it.

A stand-in is a right answer in other words.  So the edition that a submission runs on has none, and the process of an
exercise is sent those that it builds on, all of them judged before; that of an exercise which builds on nothing, none.
"""

import ast
import importlib
import inspect
from functools import cache

from cs_vl.checks.spec import Assignment, Exercise, load_stand_ins


@cache
def stand_ins_for(assignment: Assignment, exercise: Exercise) -> str:
    """Python that defines STAND_INS, {name: a right function or class}, for what an exercise builds on."""
    given = {name: (load_stand_ins(assignment.name) or {})[name] for name in exercise.builds_on}
    if not given:
        return "STAND_INS = {}\n"
    module = importlib.import_module(f"cs_vl.checks.{assignment.name}.stand_ins")
    tree = ast.parse(inspect.getsource(module))
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    wanted = {answer.__name__ for answer in given.values()}
    while more := {name for one in wanted for name in _names(defined[one]) & defined.keys()} - wanted:
        wanted |= more
    kept = [*imports, *(node for name, node in defined.items() if name in wanted)]
    table = ", ".join(f"{name!r}: {answer.__name__}" for name, answer in given.items())
    return "\n\n".join(map(ast.unparse, kept)) + f"\n\nSTAND_INS = {{{table}}}\n"


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
