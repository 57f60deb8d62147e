"""A NumPy function that is a list of assignments, as such: each result with a name of its own."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from tinygrad_ce.graph.expressions import renamed


def lines_of(function: Callable[..., Any], names: dict[str, str]) -> list[tuple[str, ast.expr]]:
    """The assignments of a function, each to a name of its own; [] if there is anything else in it.

    names: what its arguments are called.
    """
    try:
        (body,) = (node.body for node in ast.parse(textwrap.dedent(inspect.getsource(function))).body)  # type: ignore[attr-defined]
        assigned = list(_assigned(body))
    except (OSError, TypeError, SyntaxError, ValueError, AttributeError):
        return []
    count = [name for name, _ in assigned]
    taken, current = {*names.values()}, dict(names)
    lines: list[tuple[str, ast.expr]] = []
    for k, (name, tree) in enumerate(assigned):
        last = name not in count[k + 1 :] and name not in taken
        own = name if last else f"{name}_{count[:k].count(name) + 1}"
        tree = renamed(tree, current)
        if not (isinstance(tree, ast.Name) and tree.id == own):
            lines.append((own, tree))
        current[name] = own
    return lines


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """(name, expression) of each assignment, and of what is returned. ValueError for other statements."""
    for statement in body:
        match statement:
            case ast.Expr(ast.Constant(str())):
                pass
            case ast.Assign([ast.Name(name)], value):
                yield name, value
            case ast.Assign([ast.Tuple(targets)], value):
                for i, target in enumerate(targets):
                    assert isinstance(target, ast.Name)
                    part = value.elts[i] if isinstance(value, ast.Tuple) else ast.Subscript(value, ast.Constant(i))
                    yield target.id, part
            case ast.AugAssign(ast.Name(name), op, value):
                yield name, ast.BinOp(ast.Name(name, ast.Load()), op, value)
            case ast.Return(ast.Dict(keys, returned)):
                for key, value in zip(keys, returned, strict=True):
                    if not (isinstance(value, ast.Name) and value.id == ast.literal_eval(key or value)):
                        yield ast.literal_eval(key or value), value
            case _:
                raise ValueError(f"{ast.unparse(statement)} is no assignment")
