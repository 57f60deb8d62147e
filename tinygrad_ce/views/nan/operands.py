"""The numbers that one cell of a result was made of, and the operation or its rule written with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.ancestry import edges
from tinygrad_ce.backward import recording
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.nodes import Graph
from tinygrad_ce.ops.reduction import reduced_axes
from tinygrad_ce.report.words import format_number

SHOWN = 5  # numbers of a row; of a longer one the range


@dataclass(frozen=True)
class Made:
    """How one number was made.

    operands: by argument, the number that went in; an array where it was made of several (a row, a column).
    alone: whether these numbers, without any other of their arrays, give the result. text: the operation with them.
    """

    operands: dict[str, Any]
    alone: bool
    text: str


def made(tensor: Tensor, index: tuple[int, ...]) -> Made:
    """How a cell of a result was computed."""
    assert tensor.op is not None
    value = format_number(tensor.data[index])
    cell = _by_itself(tensor, index)
    if cell is not None:
        inputs, out = cell
        operands = dict(zip(_names(tensor), map(_python, inputs), strict=True))
        text = Graph(out, "tg.why_nan").loss.formula
        assert text is not None
        whole = text.readable.filled()
        if whole in (value, *map(format_number, inputs)):  # a body of somebody's own, or one that has no sign
            whole = f"{tensor.op.name}({', '.join(map(format_number, inputs))})"
        return Made(operands, True, f"{whole} = {value}")
    operands = dict(zip(_names(tensor), _regions(tensor, index), strict=True))
    given = ", ".join(f"{name} = {shown(x)}" for name, x in operands.items())
    return Made(operands, False, f"{tensor.op.name} of {given} = {value}")


def sent_back(tensor: Tensor, position: int, index: tuple[int, ...], upstream: float, share: float) -> str | None:
    """The rule of one input with the numbers of a cell; None if the cell needs more than its own numbers."""
    cell = _by_itself(tensor, index)
    if cell is None:
        return None
    _, out = cell
    given = np.asarray(upstream, tensor.dtype)
    with recording(True):
        graph = Graph(ops.mul(out, given), "tg.why_nan")
    node = graph.node_of(out)
    edge = next((e for e in node.inputs if e.position == position), None) if node is not None else None
    if edge is None or edge.formula is None or not _same(edge.share, share):
        return None
    return f"{edge.formula.filled()} = {format_number(share)}"


def _by_itself(tensor: Tensor, index: tuple[int, ...]) -> tuple[list[Any], Tensor] | None:
    """The operation on the numbers of one cell only, recorded; None if that gives something else."""
    assert tensor.op is not None
    if "axis" in tensor.params:  # it works on rows, and a single number would be a row of one
        return None
    wanted = {position for _, position in edges(tensor)}
    numbers, inputs = [], []
    for position, x in enumerate(tensor.arrays):
        try:
            cell = x if type(x) in (int, float, bool) else np.asarray(np.broadcast_to(x, tensor.shape)[index])
        except ValueError:
            return None
        numbers.append(cell)
        inputs.append(Tensor(cell, requires_grad=True) if position in wanted else cell)
    with recording(True):
        try:
            out = tensor.op(*inputs, **tensor.params)
        except Exception:  # it works on rows or matrices, and says so in its own way
            return None
    alone = isinstance(out, Tensor) and out.shape == () and out.op is tensor.op and _same(out.data, tensor.data[index])
    return (numbers, out) if alone else None


def _same(a: Any, b: Any) -> bool:
    return a is not None and np.shape(a) == np.shape(b) and bool(np.isclose(a, b, 1e-4, 0, equal_nan=True))


def _python(x: Any) -> Any:
    """A single number as Python has it."""
    return x.item() if isinstance(x, (np.ndarray, np.generic)) else x


def _names(tensor: Tensor) -> list[str]:
    op = tensor.op
    assert op is not None
    names = [op.argument(position) for position in range(len(tensor.arrays))]
    return [f"{name}[{i}]" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _regions(tensor: Tensor, index: tuple[int, ...]) -> list[Any]:
    """Of each input the part that a cell of the result was made of, where that is known; else all of it."""
    assert tensor.op is not None
    name, values = tensor.op.name, tensor.arrays
    if name in ("matmul", "affine") and np.ndim(values[0]) == 2 and np.ndim(values[1]) == 2:
        row, column = index[-2], index[-1]
        rest = [np.broadcast_to(x, tensor.shape)[index] for x in values[2:]]
        return [values[0][row], values[1][:, column], *rest]
    if "axis" in tensor.params and len(values) == 1 and np.ndim(values[0]):
        return [values[0][_reduced(tensor, values[0], index)]]
    return list(values)


def _reduced(tensor: Tensor, x: Array, index: tuple[int, ...]) -> tuple[Any, ...]:
    """Which part of x a reduction, or a function of whole rows, has made this cell of."""
    axes = reduced_axes(x.ndim, tensor.params["axis"])
    if tensor.data.ndim == x.ndim:
        return tuple(slice(None) if axis in axes else i for axis, i in enumerate(index))
    rest = iter(index)
    return tuple(slice(None) if axis in axes else next(rest) for axis in range(x.ndim))


def shown(x: Any) -> str:
    """A number, a short row of numbers, or the range of a long one."""
    array = np.asarray(x)
    if array.ndim == 0:
        return format_number(array[()])
    if array.ndim == 1 and array.size <= SHOWN:
        return f"[{', '.join(map(format_number, array.tolist()))}]"
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    rest = array.size - finite.size
    if not finite.size:
        return f"{array.size} numbers, " + ("none finite" if array.size else "an empty array")
    others = f", {rest} not finite" if rest else ""
    return f"{array.size} numbers from {format_number(finite.min())} to {format_number(finite.max())}{others}"


def place_in(index: Sequence[int]) -> str:
    """As in "element [2, 0]"; for a single number nothing."""
    return f"element {list(map(int, index))}" if index else ""
