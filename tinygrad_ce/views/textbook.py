"""The cross-entropies as textbooks write them, for reading: the engine computes the same with more digits.

A form is shown only where its numbers are those of the engine, so that it can't say something else than what was run.
Sources: Goodfellow, Bengio and Courville, Deep Learning (2016), 6.2.2; Bishop, Pattern Recognition (2006), 4.3.
"""

from __future__ import annotations

import ast
from typing import Any, TypeAlias

import numpy as np

from tinygrad_ce.core import Array, Primitive

Inputs: TypeAlias = "dict[str, tuple[ast.expr, Any]]"  # by argument: what stands for it, and its array or number

_LOSS = {
    "labels": "-{weight}np.log(softmax(z))[np.arange({rows}), {label}]",
    "rows": "-({weight}{target} * np.log(softmax(z))).sum(axis=-1)",
    "elements": "-({positive} * np.log(sigmoid(z)) + (1 - y) * np.log(1 - sigmoid(z)))",
}
# Rules that the engine has with one more function, so that they keep digits where out is nearly 1.
_RULES = {
    "tanh": "g * (1 - out * out)",
    "sigmoid": "g * out * (1 - out)",
    "softmax": "out * (g - (g * out).sum(axis={axis}, keepdims=True))",
    "log_softmax": "g - np.exp(out) * g.sum(axis={axis}, keepdims=True)",
}
_REDUCED = {"mean": "({}).mean()", "sum": "({}).sum()", "none": "{}"}


def one_hot(y: Array, classes: int) -> Array:
    """(N, classes): 1 where the class is the row's own, else 0.

    >>> FUNCTIONS["one_hot"](np.array([1, 0]), 2)
    array([[0, 1],
           [1, 0]])
    """
    return np.asarray(np.asarray(y)[:, None] == np.arange(classes), int)


def smoothed(y: Array, classes: int, smoothing: float) -> Array:
    """(N, classes): the one-hot rows with label smoothing: (1 - smoothing) of them, and smoothing / classes everywhere.

    >>> FUNCTIONS["smoothed"](np.array([1, 0]), 2, 0.1)
    array([[0.05, 0.95],
           [0.95, 0.05]])
    """
    return np.asarray((1 - smoothing) * one_hot(y, classes) + smoothing / classes)


FUNCTIONS = {"one_hot": one_hot, "smoothed": smoothed}


def _is(given: tuple[ast.expr, Any], number: float) -> bool:
    """Whether an input is this very number."""
    return isinstance(given[0], ast.Constant) and given[0].value == number


def _loss(params: Any, inputs: Inputs) -> str:
    """The loss of each row."""
    weight = "" if _is(inputs["w"], 1) else "w * "
    if "y" in inputs and not params.get("smoothing"):
        rows, label = np.asarray(inputs["z"][1]).shape[0], _label(params, inputs)
        weight = f"w[{label}] * " if np.ndim(inputs["w"][1]) else weight
        loss = _LOSS["labels"].format(weight=weight, rows=rows, label=label)
    else:
        loss = _LOSS["rows"].format(weight=weight, target=_target(params, inputs))
    return f"(y != {params['ignore_index']}) * ({loss})" if _has_ignored(params, inputs) else loss


def _slope(params: Any, inputs: Inputs) -> str:
    """The gradient at the logits, for an upstream of 1 in each row."""
    target = _target(params, inputs)
    if _is(inputs["w"], 1):
        slope = f"(softmax(z) - {target})"
    elif not np.ndim(inputs["w"][1]):
        slope = f"w * (softmax(z) - {target})"
    elif "y" in inputs and not params.get("smoothing"):
        slope = f"w[{_label(params, inputs)}][:, None] * (softmax(z) - {target})"
    else:
        weighted = f"w * {target}"
        slope = f"(({weighted}).sum(axis=-1, keepdims=True) * softmax(z) - {weighted})"
    return f"(y != {params['ignore_index']})[:, None] * {slope}" if _has_ignored(params, inputs) else slope


def _target(params: Any, inputs: Inputs) -> str:
    """The distribution of each row that the softmax is compared with, without the weights of the classes."""
    classes, smoothing = np.asarray(inputs["z"][1]).shape[-1], params.get("smoothing")
    if "q" in inputs:
        return f"((1 - {smoothing}) * q + {smoothing} / {classes})" if smoothing else "q"
    return f"smoothed(y, {classes}, {smoothing})" if smoothing else f"one_hot(y, {classes})"


def _label(params: Any, inputs: Inputs) -> str:
    """The labels as an index: an ignored one may be no class."""
    ignored, classes = params.get("ignore_index"), np.asarray(inputs["z"][1]).shape[-1]
    if not _has_ignored(params, inputs) or -classes <= ignored < classes:
        return "y"
    return f"np.where(y == {ignored}, 0, y)"


def _has_ignored(params: Any, inputs: Inputs) -> bool:
    """Whether rows are left out because of their label."""
    ignored = params.get("ignore_index")
    return "y" in inputs and ignored is not None and bool((np.asarray(inputs["y"][1]) == ignored).any())


def _binary_loss(inputs: Inputs) -> str:
    """The loss of each element; w: how much a positive counts."""
    loss = _LOSS["elements"].format(positive="y" if _is(inputs["w"], 1) else "w * y")
    return loss if _is(inputs["weight"], 1) else f"weight * ({loss})"


def _binary_slope(inputs: Inputs) -> str:
    """The gradient at the logits, for an upstream of 1 in each element."""
    slope = "(sigmoid(z) - y)" if _is(inputs["w"], 1) else "((1 - y) * sigmoid(z) - w * y * (1 - sigmoid(z)))"
    return slope if _is(inputs["weight"], 1) else f"weight * {slope}"


def _with_upstream(slope: str, name: str, params: Any, inputs: Inputs) -> str:
    """The slope times what comes from above, which a mean divides by how many it is of."""
    reduction, z = params.get("reduction", "none"), np.asarray(inputs["z"][1])
    binary = name == "sigmoid_xent_grad"
    if not _is(inputs["upstream"], 1):
        each = "upstream[:, None]" if reduction == "none" and not binary else "upstream"
        slope = f"{each} * {slope}"
    return f"{slope} / {z.size if binary else z.shape[0]}" if reduction == "mean" else slope


def textbook_form(op: Primitive, params: Any, inputs: Inputs) -> ast.expr | None:
    """The form of one operation, with the program's names; None if textbooks have none.

    inputs: by argument, what stands for it in the program, and its array or number.
    """
    text = None
    if op.name in ("xent", "soft_xent", "sigmoid_xent"):
        loss = _binary_loss(inputs) if op.name == "sigmoid_xent" else _loss(params, inputs)
        text = _REDUCED[params.get("reduction", "none")].format(loss)
    elif op.name in ("xent_grad", "soft_xent_grad", "sigmoid_xent_grad"):
        slope = _binary_slope(inputs) if op.name == "sigmoid_xent_grad" else _slope(params, inputs)
        text = _with_upstream(slope, op.name, params, inputs)
    return None if text is None else _with_names(text, {name: given[0] for name, given in inputs.items()})


def textbook_rule(op: Primitive, params: Any, g: ast.expr, out: ast.expr) -> ast.expr | None:
    """The rule of an operation's one input, from what is upstream and its result; None if it is printed as it is."""
    return _with_names(_RULES[op.name].format(**params), {"g": g, "out": out}) if op.name in _RULES else None


def _with_names(text: str, names: dict[str, ast.expr]) -> ast.expr:
    """A form with the program's names in place of its own."""

    class Named(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return names.get(node.id, node)

    return Named().visit(ast.parse(text, mode="eval").body)  # type: ignore[no-any-return]
