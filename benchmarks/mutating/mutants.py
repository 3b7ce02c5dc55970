"""Mutants of a source file: one small change each, of the kinds that people make by mistake."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
NAMES = {
    "min": "max",
    "max": "min",
    "amin": "amax",
    "amax": "amin",
    "any": "all",
    "all": "any",
    "minimum": "maximum",
    "maximum": "minimum",
    "positive": "negative",
    "negative": "positive",
    "argmin": "argmax",
    "argmax": "argmin",
}


@dataclass(frozen=True)
class Mutant:
    """A file with one change."""

    line: int
    change: str
    """The changed piece, before and after."""
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a file, one for each change; annotations, docstrings and messages of errors stay.

    >>> for mutant in mutants("def half(x):\\n    return x / 2 if x > 0 else x"):
    ...     print(mutant.change)
    return x / 2 if x > 0 else x -> return None
    x / 2 if x > 0 else x -> x / 2 if not x > 0 else x
    x > 0 -> x >= 0
    x / 2 -> x * 2
    0 -> 1
    2 -> 3
    """
    tree = ast.parse(source)
    kept = _left_alone(tree)
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in kept:
            continue
        for change in _changes(node):
            other = copy.deepcopy(tree)
            place = next(n for i, n in enumerate(ast.walk(other)) if i == number)
            assert isinstance(place, (ast.expr, ast.stmt))  # nothing else is changed
            before = ast.unparse(place)
            change(place)
            after = ast.unparse(place)
            if before != after:
                yield Mutant(place.lineno, f"{_short(before)} -> {_short(after)}", ast.unparse(other))


def _left_alone(tree: ast.AST) -> set[int]:
    """What is no behaviour: annotations, decorators, imports, what an error says, and strings that stand alone."""
    parts = [part for node in ast.walk(tree) for part in ([node] if _is_declaration(node) else _wordings(node))]
    return {id(inside) for part in parts for inside in ast.walk(part)}


def _is_declaration(node: ast.AST) -> bool:
    """Whether a node as a whole is no behaviour."""
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) == "__all__"
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.Assert, ast.JoinedStr)) or _is_docstring(node)


def _wordings(node: ast.AST) -> list[ast.AST]:
    """The parts of a node that are no behaviour: its annotations and decorators, and the words of an error."""
    parts = [getattr(node, "returns", None), getattr(node, "annotation", None), *getattr(node, "decorator_list", [])]
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        parts += node.exc.args
    return [part for part in parts if part is not None]


def _changes(node: ast.AST) -> Iterator[Callable[[ast.AST], None]]:
    """What can be done to a node."""
    yield from _other_operators(node)
    if isinstance(node, ast.Constant) and not isinstance(node.value, (str, bytes, type(None), type(...))):
        value = node.value
        yield _set("value", not value if isinstance(value, bool) else value + 1)
    if isinstance(node, (ast.If, ast.IfExp)):
        yield _negated
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        yield _set("attr", NAMES[node.attr])
    if isinstance(node, ast.Name) and node.id in NAMES:
        yield _set("id", NAMES[node.id])
    if isinstance(node, ast.Call) and node.keywords:
        yield _without_keyword
    if isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        # None would be as false as an empty text, and mostly taken alike.
        empty = isinstance(node.value, ast.Constant) and node.value.value == ""
        yield _set("value", ast.Constant("something" if empty else None))


def _other_operators(node: ast.AST) -> Iterator[Callable[[ast.AST], None]]:
    """What can be done to the operator of a node."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield _operator_of(COMPARISONS[type(node.ops[0])])
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield _set("op", OPERATORS[type(node.op)]())
    if isinstance(node, ast.BoolOp):
        yield _set("op", ast.Or() if isinstance(node.op, ast.And) else ast.And())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield _set("op", ast.UAdd())


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _set(name: str, value: object) -> Callable[[ast.AST], None]:
    return lambda node: setattr(node, name, value)


def _operator_of(kind: type[ast.cmpop]) -> Callable[[ast.AST], None]:
    def change(node: ast.AST) -> None:
        assert isinstance(node, ast.Compare)
        node.ops[0] = kind()

    return change


def _negated(node: ast.AST) -> None:
    assert isinstance(node, (ast.If, ast.IfExp))
    node.test = ast.UnaryOp(ast.Not(), node.test)


def _without_keyword(node: ast.AST) -> None:
    assert isinstance(node, ast.Call)
    node.keywords.pop()


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 90 else f"{line[:88]}…"
