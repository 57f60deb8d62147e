"""A NumPy function as a recorded graph: it is run on Tensors that carry its own variables' names."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Tensor


def recorded(forward: Callable[..., Any], arguments: Mapping[str, Array]) -> Tensor:
    """The loss that a NumPy function computes, as a Tensor with a history; floating point arguments get gradients.

    >>> recorded(lambda x, w: ((x * w) ** 2).mean(), {"x": np.ones(2), "w": np.ones(2)}).item()
    1.0
    """
    tensors = {
        name: Tensor(array, requires_grad=True, name=name) if np.asarray(array).dtype.kind == "f" else array
        for name, array in arguments.items()
    }
    loss: Tensor = _with_names(forward)(**tensors)
    return loss


def _with_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with each Tensor named by the variable that it is assigned to; as it is where it has no source."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return function
    if not isinstance(tree.body[0], ast.FunctionDef) or inspect.getclosurevars(function).nonlocals:
        return function
    tree.body[0].decorator_list = []
    namespace = {**function.__globals__, "_named": _named}
    exec(compile(ast.fix_missing_locations(_Naming().visit(tree)), "<forward>", "exec"), namespace)
    named: Callable[..., Any] = namespace[function.__name__]
    return named


class _Naming(ast.NodeTransformer):
    """Writes `z = _named(value, "z")` for `z = value`."""

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        target = node.targets[0]
        if isinstance(target, ast.Name):
            node.value = ast.Call(ast.Name("_named", ast.Load()), [node.value, ast.Constant(target.id)], [])
        return node


def _named(value: Any, name: str) -> Any:
    return value.named(name) if isinstance(value, Tensor) else value
