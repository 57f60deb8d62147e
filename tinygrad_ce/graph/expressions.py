"""Expressions of Python as syntax trees: parsed, compiled, summed, and with other names or signs in them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from copy import deepcopy
from functools import cache, reduce
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
    return reduce(lambda left, right: ast.BinOp(left, ast.Add(), right), trees) if trees else ast.Constant(1.0)


def names_in(tree: ast.AST) -> set[str]:
    """All names in an expression."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def renamed(tree: ast.expr, names: Mapping[str, str | ast.expr]) -> ast.expr:
    """A copy of an expression with other names, also such as #12, or with expressions in the place of names."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in names]
    new = {id(node): names[node.id] for node in found}
    return deepcopy(tree, {key: ast.Name(x, ast.Load()) if isinstance(x, str) else x for key, x in new.items()})


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
        match name_and_arguments(node):
            case "astype" | "np.asarray", [x, *_]:
                return x
            case name, [left, right] if name in _COMPARING:
                return ast.Compare(left, [_COMPARING[name]()], [right])
            case "np.dot" | "np.matmul", [left, right]:
                return ast.BinOp(left, ast.MatMult(), right)
            case "transpose" | "np.transpose", [x, *axes] if [*map(ast.unparse, axes)] in ([], ["(1, 0)"]):
                return ast.Attribute(x, "T", ast.Load())
        return node


def in_operators(tree: ast.expr) -> ast.expr:
    """A copy of an expression, written with signs where there are some: `np.matmul(x, W)` as `x @ W`."""
    copied: ast.expr = _InOperators().visit(deepcopy(tree))
    return copied
