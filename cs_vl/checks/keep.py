"""Which top-level statements run: imports, functions, classes, constants.  The rest is story."""

import ast
import dis
import math
import types
from collections.abc import Iterable
from typing import Any

# What a constant may call, whether an answer needs it or not: it is cheap, and has no effect that matters.
_CALLS = {
    "float", "int", "bool", "str", "dict", "range", "len", "abs", "partial", "namedtuple", "defaultdict",
    "OrderedDict", "TypeVar", "NewType", "compile", "device", "is_available", "hasattr", "tensor", "array",
    "finfo", "iinfo", "sqrt", "log", "exp", "staticmethod", "classmethod", "Generator", "default_rng",
    "manual_seed",
}  # fmt: skip

DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_TYPE_ALIAS = getattr(ast, "TypeAlias", ast.ClassDef)  # `type X = ...`, from Python 3.12 on
_GLOBAL = ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS")


def keeps(node: ast.stmt, needed: Iterable[str] = ()) -> bool:
    """Whether a top-level statement is a definition: the rest is story and does not run.

    Args:
        needed: the global names that the answers read (see `Needs`).  An assignment to one of them is a
            definition whatever it calls; one to another name is where it is a plain constant.
    """
    match node:
        case ast.ImportFrom(module=str(module)) if module.split(".")[0] == "autograder":
            return False  # the TA's own, in a copy of a solved notebook
        case ast.Import() | ast.ImportFrom() | ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return True
        case ast.Assign(value=value, targets=others):
            return all(map(is_constant, [value, *others])) or not binds(node).isdisjoint(needed)
        case ast.AnnAssign(value=ast.expr() as value, target=target, annotation=annotation):
            plain = all(map(is_constant, [value, target, annotation]))
            return plain or not binds(node).isdisjoint(needed)
        case ast.AugAssign(value=value, target=target, op=op):
            plain = is_constant(value) and is_constant(target) and not _is_huge(op, target, value)
            return plain or not binds(node).isdisjoint(needed)
        case ast.Expr(value=ast.NamedExpr(value=value)):
            return is_constant(value) or not binds(node).isdisjoint(needed)
        case ast.If(test=test):
            return is_constant(test) and any(keeps(inner, needed) for inner in _inside(node))
        case ast.Try():
            return any(keeps(inner, needed) for inner in _inside(node))
        case ast.Pass():
            return True
    return isinstance(node, _TYPE_ALIAS)


def without_story(node: ast.stmt, needed: Iterable[str] = ()) -> ast.stmt:
    """A statement that `keeps` keeps, without the story in its branches (it is changed in place)."""
    if isinstance(node, ast.If | ast.Try):
        for part in (node, *getattr(node, "handlers", [])):
            for branch in ("body", "orelse", "finalbody"):
                inner = getattr(part, branch, [])
                kept = [without_story(s, needed) for s in inner if keeps(s, needed)]
                if inner:
                    setattr(part, branch, kept or [ast.copy_location(ast.Pass(), node)])
    return node


def _inside(node: Any) -> list[ast.stmt]:
    """The statements in the branches of an `if` or `try`."""
    handlers = [inner for handler in getattr(node, "handlers", []) for inner in handler.body]
    return [*node.body, *handlers, *node.orelse, *getattr(node, "finalbody", [])]


def is_constant(node: ast.expr | None) -> bool:
    """Literals, names, arithmetic on them, lambdas, and calls of a few functions without effect."""
    match node:
        case None | ast.Constant() | ast.Name():
            return True
        case ast.Lambda(args=args):  # its body runs later; its defaults run now
            return all(map(is_constant, [*args.defaults, *args.kw_defaults]))
        case ast.Attribute(value=value) | ast.Starred(value=value):
            return is_constant(value)
        case ast.FormattedValue(value=value, format_spec=spec):
            return is_constant(value) and is_constant(spec)
        case ast.NamedExpr(value=value) | ast.UnaryOp(operand=value):
            return is_constant(value)
        case ast.Subscript(value=value, slice=index):
            return is_constant(value) and is_constant(index)
        case ast.BinOp(left=left, op=op, right=right):
            return is_constant(left) and is_constant(right) and not _is_huge(op, left, right)
        case (
            ast.BoolOp(values=values)
            | ast.Tuple(elts=values)
            | ast.List(elts=values)
            | ast.Set(elts=values)
            | ast.JoinedStr(values=values)
        ):
            return all(map(is_constant, values))
        case ast.Compare(left=left, comparators=others):
            return all(map(is_constant, [left, *others]))
        case ast.IfExp(test=test, body=body, orelse=orelse):
            return all(map(is_constant, [test, body, orelse]))
        case ast.Slice(lower=lower, upper=upper, step=step):
            return all(map(is_constant, [lower, upper, step]))
        case ast.Dict(keys=keys, values=values):
            return all(map(is_constant, [*keys, *values]))
        case ast.Call(
            func=ast.Name(id=name) | ast.Attribute(attr=name) as func, args=args, keywords=keywords
        ):
            values = [func, *args, *(k.value for k in keywords)]
            return name in _CALLS and all(map(is_constant, values))
    return False


def _is_huge(op: ast.operator, left: ast.expr, right: ast.expr) -> bool:
    """10**10**10, or [0] * 10**12, would not come to an end."""
    if isinstance(op, ast.Pow | ast.LShift):
        return isinstance(left, ast.BinOp) or isinstance(right, ast.BinOp) or not _is_at_most(right, 100)
    if isinstance(op, ast.Mult):
        return any(
            _may_be_sequence(a) and not _is_at_most(b, 10_000) for a, b in ((left, right), (right, left))
        )
    return isinstance(op, ast.Mod) and _may_be_sequence(left)  # "%1000000000d" % 1


def _may_be_sequence(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str | bytes)
    return isinstance(node, ast.List | ast.Tuple | ast.JoinedStr)


def _is_at_most(node: ast.expr, most: float) -> bool:
    """Whether it is no number that is larger."""
    if isinstance(node, ast.UnaryOp):
        return _is_at_most(node.operand, most)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return math.isfinite(node.value) and abs(node.value) <= most
    return False


# --- names -------------------------------------------------------------------------------------------------


def binds(node: ast.stmt) -> set[str]:
    """The names that a top-level statement gives a meaning to: x also in `x[i] = ...` and `x.y = ...`."""
    if isinstance(node, DEFINITION):
        return {node.name}
    names = set()
    for inner in ast.walk(node):
        match inner:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.alias(name=name, asname=asname):
                names.add(asname or name.split(".")[0])
            case ast.Name() | ast.Attribute() | ast.Subscript() if isinstance(inner.ctx, ast.Store):
                names |= _roots([inner])
    return names


def changes(node: ast.stmt) -> set[str]:
    """The names whose values a bare call changes: SIDES.append(x), zeros_(layer.weight), setattr(A, ...)."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=value, attr=attr), args=args)):
            return _roots(args) if attr.endswith("_") else _roots([value])
        case ast.Expr(value=ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[first, *_])):
            return _roots([first])
        case ast.For() | ast.While() | ast.With():
            return set().union(*map(changes, node.body))
    return set()


def _roots(nodes: Iterable[ast.expr]) -> set[str]:
    """a of a, a.b, a[0].b"""
    names = set()
    for node in nodes:
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        if isinstance(node, ast.Name):
            names.add(node.id)
    return names


def reads(node: ast.stmt) -> set[str]:
    """The global names that a statement needs, now or when what it defines is called."""
    names: set[str] = set()
    try:
        codes = [compile(ast.Module([node], []), "<cell>", "exec", dont_inherit=True)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return names
    while codes:
        code = codes.pop()
        instructions = list(dis.get_instructions(code))
        own = {i.argval for i in instructions if i.opname == "STORE_NAME"}  # of a class body
        names |= {i.argval for i in instructions if i.opname in _GLOBAL} - own
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return names


class Needs:
    """What of a submission's statements an answer needs, helpers of helpers included."""

    def __init__(self, nodes: Iterable[ast.stmt]):
        self._binders: dict[str, list[ast.stmt]] = {}
        self._reads: dict[ast.stmt, set[str]] = {}
        for node in nodes:
            for name in binds(node):
                self._binders.setdefault(name, []).append(node)

    def of(self, names: Iterable[str]) -> set[str]:
        """The names, and all global names that their definitions read."""
        needed = set(names)
        todo = list(needed)
        while todo:
            for node in self._binders.get(todo.pop(), ()):
                if isinstance(node, ast.For | ast.While | ast.With | ast.AsyncFor | ast.AsyncWith):
                    continue  # that does not run
                if node not in self._reads:
                    self._reads[node] = reads(node)
                todo += self._reads[node] - needed
                needed |= self._reads[node]
        return needed
