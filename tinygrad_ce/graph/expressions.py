"""Expressions of Python as syntax trees: parsed, compiled, summed, and with other names in them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from typing import Any


@cache
def parsed(text: str) -> ast.expr:
    """The expression that a text is."""
    return ast.parse(text, mode="eval").body


def compiled(tree: ast.expr) -> Any:
    """An expression, ready to run."""
    return compile(ast.fix_missing_locations(ast.Expression(tree)), "<line>", "eval")


def sum_of(trees: list[ast.expr]) -> ast.expr:
    """The sum of expressions as one; 1 for none: the gradient of the loss itself."""
    whole = trees[0] if trees else ast.Constant(1.0)
    for tree in trees[1:]:
        whole = ast.BinOp(whole, ast.Add(), tree)
    return whole


def names_in(tree: ast.AST) -> set[str]:
    """All names in an expression."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


class _Renamed(ast.NodeTransformer):
    """An expression with other names, or with expressions in the place of names."""

    def __init__(self, names: Mapping[str, str | ast.expr]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Another name or expression, where there is one for this."""
        new = self.names.get(node.id, node)
        return ast.Name(new, ast.Load()) if isinstance(new, str) else new


def renamed(tree: ast.expr, names: Mapping[str, str | ast.expr]) -> ast.expr:
    """A copy of an expression with other names."""
    copied: ast.expr = _Renamed(names).visit(parsed.__wrapped__(ast.unparse(tree)))
    return copied


COMPARED: dict[type[ast.cmpop], tuple[str, str, str]] = {  # what NumPy calls it, its sign, and that in LaTeX
    ast.Eq: ("np.equal", "==", "="), ast.NotEq: ("np.not_equal", "!=", r"\neq"), ast.Gt: ("np.greater", ">", ">"),
    ast.GtE: ("np.greater_equal", ">=", r"\geq"), ast.Lt: ("np.less", "<", "<"),
    ast.LtE: ("np.less_equal", "<=", r"\leq"),
}  # fmt: skip
_COMPARING = {name: op for op, (name, _, _) in COMPARED.items()}
LOGICAL = {"np.logical_and": ("and", r"\wedge"), "np.logical_or": ("or", r"\vee")}  # in words, and in LaTeX


def name_and_arguments(node: ast.Call) -> tuple[str, list[ast.expr]]:
    """What is called ("np.tanh", "softmax"), with its arguments; of `x.sum()` and np.sum(x), "sum" and x."""
    name = ast.unparse(node.func)
    if name in ("np.sum", "np.mean"):
        return name.removeprefix("np."), node.args
    if name.startswith("np.") or not isinstance(node.func, ast.Attribute):
        return name, node.args
    return node.func.attr, [node.func.value, *node.args]


class _InOperators(ast.NodeTransformer):
    """Calls for which Python has a sign are written with it, and conversions of the dtype are left out."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """The operator, or the call as it is."""
        self.generic_visit(node)
        name, arguments = name_and_arguments(node)
        if name in ("astype", "np.asarray"):
            return arguments[0]
        if name in _COMPARING and len(arguments) == 2:
            return ast.Compare(arguments[0], [_COMPARING[name]()], arguments[1:])
        if name in ("np.dot", "np.matmul") and len(arguments) == 2:
            return ast.BinOp(arguments[0], ast.MatMult(), arguments[1])
        if name in ("transpose", "np.transpose") and [*map(ast.unparse, arguments[1:])] in ([], ["(1, 0)"]):
            return ast.Attribute(arguments[0], "T", ast.Load())
        return node


def in_operators(tree: ast.expr) -> ast.expr:
    """A copy of an expression, written with signs where there are some: `np.matmul(x, W)` as `x @ W`."""
    copied: ast.expr = _InOperators().visit(parsed.__wrapped__(ast.unparse(tree)))
    return copied
