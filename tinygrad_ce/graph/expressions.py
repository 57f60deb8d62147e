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
