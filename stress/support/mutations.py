"""Mutants of a module, each of which a test must notice; see `mutants.py`."""

from __future__ import annotations

import ast
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    #: The parent node, its field, the index if that is a list, and the child.
    Place = tuple[ast.AST, str, int | None, ast.AST]

_OPPOSITE: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
#: Characters shown on either side of a change.
_AROUND: Final = 12
_NOT_RUN: Final = ("annotation", "returns", "decorator_list", "type_params")


@dataclass(frozen=True)
class Mutant:
    """A module with one change."""

    module: str
    line: int
    name: str
    source: str


def mutants_of(module: str, source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module."""
    tree, lines = ast.parse(source), source.splitlines()
    seen = {ast.unparse(tree)}
    names: Counter[str] = Counter()
    for scope, (parent, field, index, node) in [*places(tree, module)]:
        for new in changes(node):
            _put(parent, field, index, new)
            text = ast.unparse(ast.fix_missing_locations(tree))
            _put(parent, field, index, node)
            if text not in seen:
                seen.add(text)
                line: int = getattr(node, "lineno", getattr(parent, "lineno", 0))
                change = _difference(ast.unparse(node), ast.unparse(new))
                name = f"{scope}: {lines[line - 1].strip()}: {change}"
                names[name] += 1
                name += f" ({names[name]})" if names[name] > 1 else ""
                yield Mutant(module, line, name, text)


def _difference(before: str, after: str) -> str:
    """Return both without their common beginning and end, but for a few characters."""
    start = max(_alike(before, after) - _AROUND, 0)
    before, after = before[start:], after[start:]
    end = max(_alike(before[::-1], after[::-1]) - _AROUND, 0)
    return " -> ".join(text[: len(text) - end].replace("\n", " ") for text in (before, after))


def _alike(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def places(node: ast.AST, scope: str) -> Iterator[tuple[str, Place]]:
    """Yield the nodes that are run, each with the name of its function or class."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        scope = f"{scope}.{node.name}"
    for field, value in ast.iter_fields(node):
        if field in _NOT_RUN:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not _is_for_readers(child):
                yield scope, (node, field, index, child)
                # Error messages are for people.
                yield from () if isinstance(child, ast.Raise) else places(child, scope)


def _is_for_readers(node: ast.AST) -> bool:
    """Return whether *node* need not be changed: a docstring, an import, a type."""
    match node:
        case ast.Expr(ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.Pass():
            return True
        case ast.If(test=ast.Name("TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(name)]):
            return name == "_Place"
    return False


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the replacements of *node*."""
    match node:
        case ast.stmt():
            yield from _changed_statement(node)
        case ast.ExceptHandler(type=ast.Tuple() as caught):
            for fewer in _fewer(caught, "elts"):
                yield ast.ExceptHandler(fewer, node.name, node.body)
        case ast.expr():
            yield from _changed_expression(node)


def _changed_statement(node: ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.Return(ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Raise() | ast.Expr():
            yield ast.Pass()
        case ast.If(test, body, orelse):
            for always in (True, False):
                yield ast.If(ast.Constant(always), body, orelse)
            if orelse:
                yield ast.If(test, orelse, body)


def _changed_expression(node: ast.expr) -> Iterator[ast.AST]:  # noqa: C901 - one case for each kind
    match node:
        case ast.Compare(left, [op], right):
            yield ast.Compare(left, [_OPPOSITE[type(op)]()], right)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.And() if isinstance(op, ast.Or) else ast.Or(), values)
            yield from _fewer(node, "values")
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.IfExp(test, body, orelse):
            yield from (body, orelse, ast.IfExp(test, orelse, body))
        case ast.Constant(value):
            yield from map(ast.Constant, _other_constants(value))
        case ast.Call(ast.Attribute(value), args):
            yield value  # Without the call, such as a query without its condition.
            yield from _fewer(node, "args") if len(args) > 1 else ()
        case ast.Call(_, args) if len(args) > 1:
            yield from _fewer(node, "args")
        case ast.Tuple() | ast.List() | ast.Set() if len(node.elts) > 1:
            yield from _fewer(node, "elts")
        case ast.BinOp(left, ast.BitAnd(), right):
            yield from (left, ast.BinOp(left, ast.BitOr(), right))
        case ast.Subscript(value, ast.Slice()):
            yield value


def _other_constants(value: object) -> Iterator[Any]:
    match value:
        case bool():
            yield not value
        case int():
            yield from (value + 1, value - 1)
        case str():
            yield from (f"{value}x", value[1:])
        case None:
            yield True


def _fewer(node: ast.AST, field: str) -> Iterator[Any]:
    """Yield copies of *node*, each without one item of *field*."""
    for index in range(len(getattr(node, field))):
        fewer = deepcopy(node)
        del getattr(fewer, field)[index]
        yield fewer.values[0] if isinstance(fewer, ast.BoolOp) and len(fewer.values) == 1 else fewer
