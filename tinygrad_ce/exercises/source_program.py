"""The program of a NumPy function: its assignments, each to a name of its own."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_ce.exercises.program import Line, Program, Term, renamed


def of_source(function: Callable[..., Mapping[str, Any]], arguments: Mapping[str, Any]) -> Program:
    """What a NumPy function returns in a dict, for these arguments; its lines where it is a list of assignments.

    An argument that is called like a value which is asked for gets the name `w_old`.
    """
    copies = {name: np.array(x) if isinstance(x, np.ndarray) else x for name, x in arguments.items()}
    right = {name: np.asarray(x) for name, x in function(**copies).items()}
    old = {name: f"{name}_old" if name in right else name for name in arguments}
    values = {old[name]: x for name, x in arguments.items()}
    closed = inspect.getclosurevars(function)
    program = Program({}, values, {**closed.globals, **closed.nonlocals}, right, data={*values})
    lines = _lines(function, old)
    try:
        with np.errstate(all="ignore"):
            computed = dict(values)
            for line in lines:
                computed[line.name] = program.run(line.code, computed)
            same = all(np.allclose(computed[name], x, equal_nan=True) for name, x in right.items())
    except Exception:  # what a line of somebody's calls may raise anything
        same = False
    if not same:
        return Program({name: Line(name, name, []) for name in right}, {**values, **right}, {}, right)
    program.values, program.lines, program.forward = computed, {line.name: line for line in lines}, lines
    return program


def _lines(function: Callable[..., Any], names: dict[str, str]) -> list[Line]:
    """The assignments of a function, each to a name of its own; [] if there is anything else in it.

    names: what its arguments are called.
    """
    try:
        (body,) = (node.body for node in ast.parse(textwrap.dedent(inspect.getsource(function))).body)  # type: ignore[attr-defined]
        assigned = list(_assigned(body))
    except (OSError, TypeError, SyntaxError, ValueError, AttributeError):
        return []
    count = [name for name, _ in assigned]
    taken, current, lines = {*names.values()}, dict(names), []
    for k, (name, tree) in enumerate(assigned):
        last = name not in count[k + 1 :] and name not in taken
        own = name if last else f"{name}_{count[:k].count(name) + 1}"
        tree = renamed(tree, current)
        if not (isinstance(tree, ast.Name) and tree.id == own):
            lines.append(Line(own, own, [Term(tree, f"{own} = {ast.unparse(tree)}")]))
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
