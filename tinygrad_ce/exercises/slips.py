"""Slips of the pen: a formula with one thing in it wrong, as it happens to those who write it down by hand.

Nothing is known here about any operation: what can go wrong is read off the formula of its rule.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tinygrad_ce.graph.formula import Formula


@dataclass(frozen=True)
class Slip:
    """A wrong formula: what kind of slip (a stable key), what was done in words, and the expression.

    lost: the part that is missing, where one is. cost: the larger, the less likely.
    """

    key: str
    words: str
    tree: ast.expr
    lost: str = ""
    cost: float = 1.5


def slips(formula: Formula, upstream: str | None) -> Iterator[Slip]:
    """Each formula with one thing left out, turned round or summed wrongly; many of them cannot even be computed.

    upstream: the name of what comes from above; None if the formula does not name it.
    """
    last = formula.whole
    while isinstance(last, ast.Call) and ast.unparse(last.func) == "np.reshape":
        last = last.args[0]
    summed_last = isinstance(last, ast.Call) and _method(last) in ("sum", "mean")
    for slip in _slips(formula.whole, formula):
        if upstream is not None and upstream not in names_in(slip.tree):
            if slip.lost != upstream:  # that alone is asked of the rule itself
                yield replace(slip, cost=slip.cost + 0.4)
        elif slip.key in _OF_SUMS and not summed_last:
            yield replace(slip, cost=slip.cost + 0.5)
        else:
            yield slip


_TOUCHING = {
    "np.greater": "np.greater_equal",
    "np.greater_equal": "np.greater",
    "np.less": "np.less_equal",
    "np.less_equal": "np.less",
}
_OF_SUMS = ("not summed", "averaged", "wrong axis")


def names_in(tree: ast.expr) -> set[str]:
    """All names in an expression."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _slips(tree: ast.expr, formula: Formula) -> Iterator[Slip]:
    """The slips at the top of this expression, and those inside it."""
    yield from _at_the_top(tree, formula)
    for field, index, part in _parts(tree):
        for slip in _slips(part, formula):
            yield replace(slip, tree=_with(tree, field, index, slip.tree))


def _parts(tree: ast.expr) -> Iterator[tuple[str, int | None, ast.expr]]:
    """The operands of an expression: each with its field, and its place where the field is a list."""
    if isinstance(tree, ast.BinOp):
        yield "left", None, tree.left
        yield "right", None, tree.right
    elif isinstance(tree, ast.UnaryOp):
        yield "operand", None, tree.operand
    elif isinstance(tree, (ast.Attribute, ast.Subscript)):
        yield "value", None, tree.value
    elif isinstance(tree, ast.Compare):
        yield "left", None, tree.left
    elif isinstance(tree, ast.Call):
        if _method(tree) is not None:
            yield "func", None, tree.func
        for i, argument in enumerate(tree.args):
            if isinstance(argument, (ast.BinOp, ast.UnaryOp, ast.Attribute, ast.Call, ast.Compare)):
                yield "args", i, argument


def _with(tree: ast.expr, field: str, index: int | None, part: ast.expr) -> ast.expr:
    """The expression with another part in this place."""
    changed = copy.copy(tree)
    if index is None:
        setattr(changed, field, part)
    else:
        parts = list(getattr(tree, field))
        parts[index] = part
        setattr(changed, field, parts)
    return changed


def _at_the_top(tree: ast.expr, formula: Formula) -> Iterator[Slip]:
    if isinstance(tree, ast.BinOp):
        yield from _of_arithmetic(tree)
    elif isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
        yield Slip("sign", "the minus sign is missing", tree.operand, cost=1.3)
    elif isinstance(tree, ast.Attribute) and tree.attr == "T":
        yield Slip("transpose", f"{ast.unparse(tree.value)} was not transposed", tree.value, cost=1.2)
    elif isinstance(tree, ast.Call):
        yield from _of_call(tree, formula)


def _of_arithmetic(tree: ast.BinOp) -> Iterator[Slip]:
    left, right = ast.unparse(tree.left), ast.unparse(tree.right)
    if isinstance(tree.op, ast.Mult):
        for kept, part, text in ((tree.left, tree.right, right), (tree.right, tree.left, left)):
            cost = 1.05 if isinstance(part, ast.Constant) else 1.5
            yield Slip("missing factor", f"the factor {text} is missing", kept, text, cost)
        words = f"divided by {right} instead of multiplied with it"
        yield Slip("inverse", words, _as(tree, ast.Div()), cost=2)
    elif isinstance(tree.op, ast.Div):
        yield Slip("missing factor", f"the division by {right} is missing", tree.left, right)
        words = f"multiplied with {right} instead of divided by it"
        yield Slip("inverse", words, _as(tree, ast.Mult()), cost=2)
    elif isinstance(tree.op, ast.Sub):
        yield Slip("missing term", f"{right} was not subtracted", tree.left, right)
        yield Slip("missing term", f"the term {left} is missing", ast.UnaryOp(ast.USub(), tree.right), left)
        yield Slip("sign", f"{right} was added instead of subtracted", _as(tree, ast.Add()), cost=1.3)
    elif isinstance(tree.op, ast.Add):
        yield Slip("missing term", f"the term {right} is missing", tree.left, right)
        yield Slip("missing term", f"the term {left} is missing", tree.right, left)
        yield Slip("sign", f"{right} was subtracted instead of added", _as(tree, ast.Sub()), cost=1.3)
    elif isinstance(tree.op, ast.Pow):
        yield Slip("missing factor", f"the power {right} is missing", tree.left, right)
        try:
            exponent = ast.literal_eval(tree.right)
        except ValueError:
            return
        for other in (exponent + 1, exponent - 1):
            words = f"the exponent of {left} is {other:g} instead of {exponent:g}"
            yield Slip("exponent", words, ast.BinOp(tree.left, ast.Pow(), ast.Constant(other)), cost=1.2)


def _as(tree: ast.BinOp, op: ast.operator) -> ast.BinOp:
    return ast.BinOp(tree.left, op, tree.right)


def _of_call(tree: ast.Call, formula: Formula) -> Iterator[Slip]:
    method = _method(tree)
    if method in ("sum", "mean"):
        assert isinstance(tree.func, ast.Attribute)
        yield from _of_sum(tree, tree.func, formula)
    elif ast.unparse(tree.func) == "np.where" and len(tree.args) == 3:
        condition, first, second = tree.args
        shown = ast.unparse(condition)
        for branch in (first, second):
            if not isinstance(branch, ast.Constant):
                yield Slip("no derivative", f"the choice by {shown} is missing", branch, cost=1.1)
        turned = ast.Call(tree.func, [condition, second, first], [])
        yield Slip("mask", f"what {shown} chooses and what it leaves out have changed places", turned)
    elif ast.unparse(tree.func) in _TOUCHING:
        words = f"right but for the kink: where {ast.unparse(tree)} compares equal numbers, the slope here is the other"
        other = ast.parse(_TOUCHING[ast.unparse(tree.func)], mode="eval").body
        yield Slip("kink", words, ast.Call(other, tree.args, []), cost=1.2)
    elif len(tree.args) == 1 and not tree.keywords and method is None:
        yield Slip("missing function", f"{ast.unparse(tree.func)} was not applied", tree.args[0], cost=2)


def _of_sum(tree: ast.Call, method: ast.Attribute, formula: Formula) -> Iterator[Slip]:
    """A sum or mean: left out, one for the other, or along another axis."""
    inner, shown = method.value, ast.unparse(method.value)
    options = {k.arg: ast.literal_eval(k.value) for k in tree.keywords}
    axis = options.get("axis")
    along = "" if axis is None else f" over axis {axis}"
    if method.attr == "sum":
        yield Slip("not summed", f"{shown} was not summed{along}", inner, cost=1)
        average = ast.Call(ast.Attribute(inner, "mean", ast.Load()), tree.args, tree.keywords)
        yield Slip("averaged", f"{shown} was averaged{along} instead of summed", average, cost=0.9)
    else:
        yield Slip("missing factor", f"the mean of {shown}{along} was not taken", inner)
        total = ast.Call(ast.Attribute(inner, "sum", ast.Load()), tree.args, tree.keywords)
        yield Slip("mean", f"{shown} was summed{along} instead of averaged", total)
    dimensions = formula.evaluate(inner).ndim
    for other in (None, *range(dimensions)):
        if other not in (axis, None if axis is None or isinstance(axis, tuple) else axis % dimensions):
            words = "over all axes" if other is None else f"over axis {other}"
            kept = [k for k in tree.keywords if k.arg != "axis"]
            changed = ast.Call(method, tree.args, [ast.keyword("axis", ast.Constant(other)), *kept])
            words = f"{shown} was summed {words} instead of{along or ' over all axes'}"
            yield Slip("wrong axis", words, changed, cost=1)


def _method(tree: ast.Call) -> str | None:
    """The name of the method that is called; None for a function."""
    if isinstance(tree.func, ast.Attribute) and not ast.unparse(tree.func).startswith("np."):
        return tree.func.attr
    return None
