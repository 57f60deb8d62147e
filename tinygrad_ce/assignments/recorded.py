"""A NumPy function as a recorded graph: it is run on Tensors that carry its own variables' names."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_ce.ancestry import reachable
from tinygrad_ce.core import Array, Tensor


def recorded(forward: Callable[..., Any], arguments: Mapping[str, Array]) -> Tensor:
    """What a NumPy function computes, as a Tensor with a history; floating point arguments get gradients.

    forward: returns the result, or a tuple that begins with it: `(out, cache)`. Its lines are those of the Tensors in
    messages. Raises TypeError if the result does not come from its arguments, and whatever the function raises.

    >>> recorded(lambda x, w: ((x * w) ** 2).mean(), {"x": np.ones(2), "w": np.ones(2)}).item()
    1.0
    """
    tensors = {
        name: Tensor(array, requires_grad=True, name=name) if np.asarray(array).dtype.kind == "f" else array
        for name, array in arguments.items()
    }
    result = _with_names(forward)(**tensors)
    if isinstance(result, tuple) and result:
        result = result[0]
    if not isinstance(result, Tensor):
        raise TypeError(
            f"{getattr(forward, '__name__', 'forward')} returns {type(result).__name__}, which does not come from "
            "its arguments: return what is computed from them by NumPy"
        )
    return result


def named_tensors(loss: Tensor) -> dict[str, Tensor]:
    """The variables and arguments of a recorded function that get a gradient, by name; of one name, the last."""
    return {t.name: t for _, t in sorted(reachable(loss).items()) if t.name is not None and t.requires_grad}


def _with_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with each Tensor named by the variable that it is assigned to; as it is where it has no source."""
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
        outside = inspect.getclosurevars(function).nonlocals
    except (OSError, TypeError, SyntaxError, ValueError):
        return function
    (written, *_) = tree.body
    if not isinstance(written, ast.FunctionDef) or written.decorator_list:
        return function
    ast.increment_lineno(tree, first - 1)
    namespace = {**function.__globals__, **outside, "_named": _named}
    code = compile(ast.fix_missing_locations(_Naming().visit(tree)), inspect.getfile(function), "exec")
    exec(code, namespace)
    named: Callable[..., Any] = namespace[written.name]
    return named


class _Naming(ast.NodeTransformer):
    """Writes `z = _named(value, "z")` for `z = value`."""

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        target = node.targets[0]
        if isinstance(target, ast.Name):
            called = ast.Call(ast.Name("_named", ast.Load()), [node.value, ast.Constant(target.id)], [])
            node.value = ast.copy_location(called, node.value)
        return node


def _named(value: Any, name: str) -> Any:
    return value.named(name) if isinstance(value, Tensor) else value
