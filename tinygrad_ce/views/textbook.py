"""The cross-entropies as textbooks write them, for reading: the engine computes the same with more digits.

A form is shown only where its numbers are those of the engine, so that it can't say something else than what was run.
Sources: Goodfellow, Bengio and Courville, Deep Learning (2016), 6.2.2; Bishop, Pattern Recognition (2006), 4.3.
"""

from __future__ import annotations

import ast
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Primitive

_ROW = "-np.log(softmax(z))[np.arange({rows}), y]"
_SOFT_ROW = "-(q * np.log(softmax(z))).sum(axis=-1)"
_BINARY = "-(y * np.log(sigmoid(z)) + (1 - y) * np.log(1 - sigmoid(z)))"
_SLOPE = {
    "xent_grad": "(softmax(z) - one_hot(y, {classes}))",
    "soft_xent_grad": "(softmax(z) - q)",
    "sigmoid_xent_grad": "(sigmoid(z) - y)",
}
_LOSS = {"xent": _ROW, "soft_xent": _SOFT_ROW, "sigmoid_xent": _BINARY}
_REDUCED = {"mean": "({}).mean()", "sum": "({}).sum()", "none": "{}"}


def one_hot(y: Array, classes: int) -> Array:
    """(N, classes): 1 where the class is the row's own, else 0.

    >>> FUNCTIONS["one_hot"](np.array([1, 0]), 2)
    array([[0, 1],
           [1, 0]])
    """
    return np.asarray(np.asarray(y)[:, None] == np.arange(classes), int)


FUNCTIONS = {"one_hot": one_hot}


def textbook_form(op: Primitive, params: Any, inputs: dict[str, tuple[ast.expr, Any]]) -> ast.expr | None:
    """The form of one operation, with the program's names; None if textbooks have none.

    inputs: by argument, what stands for it in the program, and its array or number.
    """
    reduction = params.get("reduction", "none")
    z = np.asarray(inputs["z"][1]) if "z" in inputs else np.empty((0, 0))
    sizes = {"rows": z.shape[0] if z.ndim else 1, "classes": z.shape[-1] if z.ndim else 1}
    if op.name in _LOSS:
        text = _REDUCED[reduction].format(_LOSS[op.name].format(**sizes))
    elif op.name in _SLOPE:
        text = _SLOPE[op.name].format(**sizes)
        upstream = inputs["upstream"]
        if not (isinstance(upstream[0], ast.Constant) and upstream[0].value == 1):
            rows = op.name != "sigmoid_xent_grad" and reduction == "none"
            text = f"{'upstream[:, None]' if rows else 'upstream'} * {text}"
        if reduction == "mean":
            text += f" / {z.size if op.name == 'sigmoid_xent_grad' else sizes['rows']}"
    else:
        return None
    tree = ast.parse(text, mode="eval").body

    class Named(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return inputs[node.id][0] if node.id in inputs else node

    return Named().visit(tree)  # type: ignore[no-any-return]
