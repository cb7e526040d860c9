"""Make the mutants of a module: each changes one expression or removes one statement."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add}
# Their text and their types change no behaviour that is promised.
_OPAQUE = (ast.JoinedStr, ast.AnnAssign, ast.arg)


@dataclass(frozen=True)
class Mutant:
    """A change of a tree; `name` says where and what, without line numbers, which other changes move."""

    name: str
    # Of the statement that is changed, without the statements inside it.
    lines: range
    parent: ast.AST
    field: str
    number: int | None
    changed: ast.AST

    def apply(self) -> None:
        """Change the tree, for good."""
        if self.number is None:
            setattr(self.parent, self.field, self.changed)
        else:
            getattr(self.parent, self.field)[self.number] = self.changed


@dataclass(frozen=True)
class _Place:
    """A node that may change, and where it stands."""

    node: Any
    parent: ast.AST
    field: str
    number: int | None
    function: str
    lines: range


def mutants_of(tree: ast.Module) -> list[Mutant]:
    """Return each mutant of a module, in the order of its lines."""
    found, names = [], Counter[str]()
    for at in _places(tree, "", range(0)):
        for change, before, after in _changes(at.node, at.parent, at.field):
            name = f"{at.function}: {_one_line(before)} => {after}"
            names[name] += 1
            if names[name] > 1:
                name += f" ({names[name]})"
            found.append((at.node.lineno, Mutant(name, at.lines, at.parent, at.field, at.number, change)))
    return [mutant for _, mutant in sorted(found, key=lambda each: each[0])]


def _one_line(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:100]


def _places(node: ast.AST, function: str, lines: range) -> Iterator[_Place]:
    for field, value in ast.iter_fields(node):
        for number, each in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(each, ast.AST) or _is_opaque(each, node, field):
                continue
            inner, own = function, lines
            if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                inner = f"{function}.{each.name}".lstrip(".")
            if isinstance(each, ast.stmt):
                own = _own_lines(each)
            yield _Place(each, node, field, number if isinstance(value, list) else None, inner or "module", own)
            yield from _places(each, inner, own)


def _own_lines(statement: ast.stmt) -> range:
    """Return the lines of a statement, without the statements inside it, but with its decorators."""
    decorators = [each.lineno for each in getattr(statement, "decorator_list", [])]
    inside = [getattr(statement, name)[0].lineno for name in ("body", "handlers") if getattr(statement, name, None)]
    end = min(inside, default=(statement.end_lineno or statement.lineno) + 1)
    first = min([statement.lineno, *decorators])
    return range(first, max(end, first + 1))


def _is_opaque(node: ast.AST, parent: ast.AST, field: str) -> bool:
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        return False
    if isinstance(node, _OPAQUE) or field in {"annotation", "returns", "decorator_list", "bases"}:
        return True
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return True
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"__slots__", "__all__"}:
        return True
    # What an error says; that it is raised is what the removal of the statement tests.
    return isinstance(parent, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _changes(node: Any, parent: ast.AST, field: str) -> Iterator[tuple[Any, ast.AST, str]]:
    """Yield what may stand in place of a node, what to name as changed, and the change in words."""
    changed: Any
    if isinstance(node, ast.Compare):
        for number, operator in enumerate(node.ops):
            if type(operator) in _FLIPPED:
                changed = copy.copy(node)
                changed.ops = [*node.ops[:number], _FLIPPED[type(operator)](), *node.ops[number + 1 :]]
                yield changed, node, _one_line(changed)
    elif isinstance(node, ast.BoolOp):
        changed = copy.copy(node)
        changed.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield changed, node, _one_line(changed)
        for number in range(len(node.values)):
            rest = [value for at, value in enumerate(node.values) if at != number]
            changed = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
            yield changed, node, _one_line(changed)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand, node, _one_line(node.operand)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        changed = copy.copy(node)
        changed.op = _OPERATORS[type(node.op)]()
        yield changed, node, _one_line(changed)
    elif isinstance(node, ast.Constant) and not isinstance(parent, (ast.FormattedValue, ast.JoinedStr)):
        for value in _other_values(node.value):
            yield ast.Constant(value), parent, f"{value!r} for {node.value!r}"
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
        changed = copy.copy(node)
        changed.test = ast.UnaryOp(ast.Not(), node.test)
        if not isinstance(node.test, (ast.Compare, ast.UnaryOp)):
            yield changed, node.test, f"not, in its {type(node).__name__.lower()}"
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield ast.Return(ast.Constant(None)), node, "return None"
    elif isinstance(node, (ast.Continue, ast.Break)):
        yield (
            ast.Break() if isinstance(node, ast.Continue) else ast.Continue(),
            parent,
            f"no {type(node).__name__.lower()}",
        )
    elif _is_removable(node) and field in {"body", "orelse", "finalbody"}:
        yield ast.Pass(), node, "removed"


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_removable(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign):
        # The removal of a local variable is a NameError.
        return any(isinstance(target, (ast.Attribute, ast.Subscript)) for target in node.targets)
    return isinstance(node, (ast.Expr, ast.AugAssign, ast.Raise, ast.Delete))


def _other_values(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1]
    if isinstance(value, float):
        return [value * 2 + 1]
    if isinstance(value, str):
        return [value + "?"]
    if isinstance(value, bytes):
        return [value + b"?"]
    return []
