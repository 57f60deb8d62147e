"""How a number was made, step by step back to ordinary numbers: each operation with what went into this one cell."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.ancestry import edges
from tinygrad_ce.backward import recording
from tinygrad_ce.core import Tensor
from tinygrad_ce.errors import call_text
from tinygrad_ce.graph.nodes import Graph
from tinygrad_ce.losses.misuse import MOVING
from tinygrad_ce.ops.reduction import reduced_axes
from tinygrad_ce.report.words import format_number
from tinygrad_ce.source_lines import Line, line_of
from tinygrad_ce.views.nan.search import Computation, ordinary, place, run_of, tried

LONGEST = 6  # links of a chain
SHOWN = 5  # numbers of a row; of a longer one the range


@dataclass(frozen=True, eq=False)
class Link:
    """One number on the way: of which tensor, at which index, how it was computed, and at which line."""

    tensor: Tensor
    index: tuple[int, ...]
    value: float
    text: str
    line: Line | None


class Cell:
    """One number of a result, and the numbers that it was computed from.

    operands: by argument, the number that went in; an array where it was made of several (a row, a column).
    alone: the operation on these numbers only, recorded; None where it works on rows or matrices.
    """

    def __init__(self, tensor: Tensor, index: tuple[int, ...]) -> None:
        assert tensor.op is not None
        self.tensor, self.op, self.index, self.value = tensor, tensor.op, index, tensor.data[index]
        self.alone = self._by_itself()
        self.regions = self._regions()
        names = [self.op.argument(position) for position in range(len(tensor.arrays))]
        self.operands: dict[str, Any] = {}
        for i, (name, x, region) in enumerate(zip(names, tensor.arrays, self.regions, strict=True)):
            part = np.asarray(x)[region]
            self.operands[f"{name}[{i}]" if names.count(name) > 1 else name] = part if part.ndim else part.item()

    def _by_itself(self) -> Tensor | None:
        """The operation on the numbers of this cell; None if that gives something else."""
        if "axis" in self.tensor.params:  # it works on rows, and a single number would be a row of one
            return None
        wanted = {position for _, position in edges(self.tensor)}
        inputs: list[Any] = [*self.tensor.arrays]
        try:
            for i, x in enumerate(inputs):
                if type(x) not in (int, float, bool):
                    inputs[i] = np.asarray(x[_broadcast(np.shape(x), self.index)])
                if i in wanted:
                    inputs[i] = Tensor(inputs[i], requires_grad=True)
            with recording(True):
                out = self.op(*inputs, **self.tensor.params)
        except Exception:  # it works on rows or matrices, and says so in its own way
            return None
        same = isinstance(out, Tensor) and out.shape == () and out.op is self.op
        return out if same and np.isclose(out.data, self.value, 1e-4, 0, equal_nan=True) else None

    def _regions(self) -> list[Any]:
        """Of each input the part that this cell was computed from, where that is known; else all of it."""
        arrays, params = self.tensor.arrays, self.tensor.params
        if self.alone is not None:
            return [_broadcast(np.shape(x), self.index) for x in arrays]
        if self.op in (ops.matmul, ops.affine) and np.ndim(arrays[0]) == 2 and np.ndim(arrays[1]) == 2:
            row, column = self.index
            return [(row,), (slice(None), column), *(_broadcast(np.shape(x), self.index) for x in arrays[2:])]
        if "axis" in params and len(arrays) == 1 and np.ndim(arrays[0]):
            axes = reduced_axes(arrays[0].ndim, params["axis"])
            rest = iter(i for axis, i in enumerate(self.index) if self.tensor.ndim < arrays[0].ndim or axis not in axes)
            return [tuple(slice(None) if axis in axes else next(rest) for axis in range(arrays[0].ndim))]
        return [()] * len(arrays)

    @property
    def given(self) -> str:
        """What went in, as in "x = [0, 0]"."""
        return ", ".join(f"{name} = {shown(x)}" for name, x in self.operands.items())

    @cached_property
    def numbers(self) -> str:
        """The operation with its numbers, as in "1 - 1 = 0"."""
        if self.alone is None:
            return f"{self.op.name} of {self.given} = {format_number(self.value)}"
        formula = Graph(self.alone, "tg.why_nan").loss.formula
        assert formula is not None
        whole, inputs = formula.readable.filled(), [format_number(x) for x in self.operands.values()]
        if whole in (format_number(self.value), *inputs):  # a body of somebody's own, or one that has no sign
            whole = f"{self.op.name}({', '.join(inputs)})"
        return f"{whole} = {format_number(self.value)}"

    @property
    def symbols(self) -> str:
        """The operation with the names of its inputs, as in "1 - #11"; of a row, with what stands in it."""
        if self.alone is None:
            return f"{call_text(self.op, self.tensor.inputs)} = {format_number(self.value)}, of {self.given}"
        node = Graph(self.alone, "tg.why_nan").loss
        assert node.formula is not None
        inputs, values = self.tensor.inputs, [*self.operands.values()]
        named = [(e.source.name, inputs[e.position], values[e.position]) for e in node.inputs]
        words = {name: x.label if isinstance(x, Tensor) else format_number(value) for name, x, value in named}
        text = node.formula.readable.text.replace("np.", "")
        text = re.sub("|".join(rf"\b{name}\b" for name in words), lambda found: words[found[0]], text)
        text = min(text, call_text(self.op, inputs), key=len)  # softplus is many signs in a program
        return f"{text} = {format_number(self.value)}"

    def rule(self, position: int, upstream: float, share: float) -> str | None:
        """The rule of one input with the numbers of this cell; None if it needs more than its own numbers."""
        if self.alone is None:
            return None
        with recording(True):
            graph = Graph(ops.mul(self.alone, np.asarray(upstream, self.tensor.dtype)), "tg.why_nan")
        node = graph.node_of(self.alone)
        edge = next((e for e in node.inputs if e.position == position), None) if node is not None else None
        if edge is None or edge.formula is None or edge.share is None:
            return None
        same = np.isclose(edge.share, share, 1e-4, 0, equal_nan=True)
        return f"{edge.formula.filled()} = {format_number(share)}" if same else None

    def maker(self) -> tuple[Tensor, tuple[int, ...]] | None:
        """The number to which this one owes what it is: with an ordinary one instead, it would be of another kind."""
        found = None
        for position, x in enumerate(self.tensor.inputs):
            if isinstance(x, Tensor) and x.size and (found is None or x.op is not None):  # data comes last
                changed = [ordinary(y) if i == position else y for i, y in enumerate(self.tensor.arrays)]
                result = tried(run_of(self.tensor), changed)
                if result is not None and _kind(result[self.index]) not in (_kind(self.value), "inf", "nan"):
                    found = x, self._source(position)
        return found

    def _source(self, position: int) -> tuple[int, ...]:
        """The number of an input that counts most in this one: what is not finite, or the largest."""
        array, region = np.asarray(self.tensor.arrays[position]), self.regions[position]
        if region == () and array.ndim:
            computation = Computation(run_of(self.tensor), self.tensor.arrays)
            return computation.source(position, self.index, np.arange(array.size)) or (0,) * array.ndim
        places = np.arange(array.size).reshape(array.shape)[region]
        return place(np.ravel(places)[np.argmax(np.nan_to_num(np.abs(array[region]), nan=np.inf))], array)


def chain_of(tensor: Tensor, index: tuple[int, ...]) -> list[Link]:
    """A number and what it was made of, one operation after the other, back to an ordinary number."""
    links: list[Link] = []
    following: tuple[Tensor, tuple[int, ...]] | None = (tensor, index)
    while following is not None and len(links) < LONGEST:
        tensor, index = following
        value, following = tensor.data[index], None
        name = f"{tensor.label}{list(index)}" if index and (not links or links[-1].index != index) else tensor.label
        text = f"{name} = {format_number(value)}"
        if tensor.op is not None:
            cell = Cell(tensor, index)
            text = f"{name} = {cell.symbols}"
            following = cell.maker() if len(links) < 2 or _kind(value) != "ordinary" else None
        if not links or tensor.op not in MOVING:
            links.append(Link(tensor, index, value, text, line_at(tensor)))
    return links


def line_at(tensor: Tensor) -> Line | None:
    """The line that computed a result; None where no lines are noted (`fit`)."""
    return None if tensor.op is None or tensor.note is None else line_of(tensor.note)


def shown(x: Any) -> str:
    """A number, a short row of numbers, or the range of a long one."""
    array = np.asarray(x)
    if array.ndim == 0:
        return format_number(array[()])
    if array.ndim == 1 and array.size <= SHOWN:
        return f"[{', '.join(map(format_number, array.tolist()))}]"
    finite = array[np.isfinite(array)]
    if not finite.size:
        return f"{array.size} numbers, none finite" if array.size else "no numbers"
    others = f", {array.size - finite.size} not finite" if finite.size < array.size else ""
    return f"{array.size} numbers from {format_number(finite.min())} to {format_number(finite.max())}{others}"


def _broadcast(shape: tuple[int, ...], index: tuple[int, ...]) -> tuple[int, ...]:
    """Which number of an input of this shape went into a cell of the result, in an operation on single numbers."""
    return tuple(0 if n == 1 else i for n, i in zip(shape, index[len(index) - len(shape) :], strict=True))


def _kind(x: Any) -> str:
    """What is remarkable about a number."""
    if not np.isfinite(x):
        return "nan" if np.isnan(x) else "inf"
    size = abs(float(x))
    if size in (0.0, 1.0):
        return str(size)
    return "large" if size > 1e3 else "small" if size < 1e-3 else "ordinary"
