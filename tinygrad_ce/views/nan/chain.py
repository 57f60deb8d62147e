"""How a number was made, step by step back to ordinary numbers: each operation with what went into this one cell."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.backward import recording, unbroadcast
from tinygrad_ce.core import Tensor
from tinygrad_ce.errors import call_text
from tinygrad_ce.graph.cells import positions
from tinygrad_ce.graph.expressions import renamed
from tinygrad_ce.graph.nodes import Graph, Node
from tinygrad_ce.losses.misuse import MOVING
from tinygrad_ce.report.words import format_number, range_of
from tinygrad_ce.source_lines import Line, line_of
from tinygrad_ce.views.nan.search import Index, ordinary, place, run_of, tried

LONGEST = 6  # links of a chain
SHOWN = 5  # numbers of a row; of a longer one the range


@dataclass(frozen=True, eq=False)
class Link:
    """One number on the way: of which tensor, at which index, how it was computed, and at which line."""

    tensor: Tensor
    index: Index
    value: float
    text: str
    line: Line | None


class Cell:
    """One number of a result, and the numbers that it was computed from.

    operands: by argument, the number that went in; an array where it was made of several (a row, a column).
    alone: the operation on these numbers only, recorded; None where it works on rows or matrices.
    places: of each input, the positions of these numbers; of all that it has, where it is not known of which.
    """

    def __init__(self, tensor: Tensor, index: Index) -> None:
        assert tensor.op is not None
        self.tensor, self.op, self.index, self.value = tensor, tensor.op, index, tensor.data[index]
        self.alone = self._by_itself()
        self.places = self._places()
        names = [self.op.argument(position) for position in range(len(tensor.arrays))]
        names = [f"{name}[{i}]" if names.count(name) > 1 else name for i, name in enumerate(names)]
        self.inputs = dict(zip(names, tensor.inputs, strict=True))
        parts = [np.ravel(x)[places] for x, places in zip(tensor.arrays, self.places, strict=True)]
        self.operands = {n: part if part.ndim else part.item() for n, part in zip(names, parts, strict=True)}

    def _by_itself(self) -> Tensor | None:
        """The operation on the numbers of this cell; None if that gives something else."""
        if "axis" in self.tensor.params:  # it works on rows, and a single number would be a row of one
            return None
        inputs: list[Any] = [*self.tensor.arrays]
        try:
            for i, x in enumerate(inputs):
                if type(x) not in (int, float, bool):
                    number = np.asarray(x[_broadcast(np.shape(x), self.index)])
                    inputs[i] = Tensor(number, requires_grad=True) if number.dtype.kind == "f" else number
            with recording(True):
                out = self.op(*inputs, **self.tensor.params)
        except Exception:  # it works on rows or matrices, and says so in its own way
            return None
        same = isinstance(out, Tensor) and out.shape == () and out.op is self.op
        return out if same and np.isclose(out.data, self.value, 1e-4, 0, equal_nan=True) else None

    def _places(self) -> list[Any]:
        arrays = self.tensor.arrays
        everything = [positions(np.shape(x)) for x in arrays]
        if self.alone is not None:
            return [places[_broadcast(places.shape, self.index)] for places in everything]
        upstream = np.zeros_like(self.tensor.data)
        upstream[self.index] = np.nan  # comes back to what the cell was computed from, and to nothing else

        def share(position: int) -> Any:
            back = self.op.rule(position)(upstream, *map(ordinary, (self.tensor.data, *arrays)), **self.tensor.params)
            shape = np.shape(arrays[position])
            return back if back.shape == shape else unbroadcast(self.op, position, back, shape)

        shares = [tried(share, [position]) for position in range(len(arrays))]
        if self.op not in MOVING and any(share is None for share in shares):
            return everything  # the domain of a loss speaks of all rows and their labels, which have no rule
        pairs = zip(everything, shares, strict=True)
        return [places if share is None else np.flatnonzero(np.isnan(share)) for places, share in pairs]

    @property
    def given(self) -> str:
        """What went in, as in "x = [0, 0]"."""
        return ", ".join(f"{name} = {shown(x)}" for name, x in self.operands.items())

    @cached_property
    def _node(self) -> Node:
        """The operation on these numbers only, in a graph of its own."""
        assert self.alone is not None
        return Graph(self.alone, "tg.why_nan").loss

    @cached_property
    def numbers(self) -> str:
        """The operation with its numbers, as in "1 - 1 = 0"."""
        if self.alone is None:
            return f"{self.op.name} of {self.given} = {format_number(self.value)}"
        assert self._node.formula is not None
        whole, inputs = self._node.formula.readable.filled(), [format_number(x) for x in self.operands.values()]
        if whole in (format_number(self.value), *inputs):  # a body of somebody's own, or one that has no sign
            whole = f"{self.op.name}({', '.join(inputs)})"
        return f"{whole} = {format_number(self.value)}"

    @property
    def symbols(self) -> str:
        """The operation with the names of its inputs, as in "1 - #11"."""
        called = call_text(self.op, self.tensor.inputs)
        if self.alone is None:
            return called
        assert self._node.formula is not None
        inputs, values = self.tensor.inputs, [*map(format_number, self.operands.values())]
        words = [x.label if isinstance(x, Tensor) else value for x, value in zip(inputs, values, strict=True)]
        named = {edge.source.name: ast.Name(words[edge.position]) for edge in self._node.inputs}
        text = ast.unparse(renamed(self._node.formula.readable.whole, named)).replace("np.", "")
        return min(text, called, key=len)  # softplus is many signs in a program

    def rule(self, position: int, upstream: float, share: float) -> str | None:
        """The rule of one input with the numbers of this cell; None if it needs more than its own numbers."""
        if self.alone is None:
            return None
        with recording(True):
            graph = Graph(ops.mul(self.alone, np.asarray(upstream, self.tensor.dtype)), "tg.why_nan")
        node = graph.node_of(self.alone)
        for edge in node.inputs if node is not None else ():
            if edge.position == position and edge.formula is not None and edge.share is not None:
                same = np.isclose(edge.share, share, 1e-4, 0, equal_nan=True)
                return f"{edge.formula.filled()} = {format_number(share)}" if same else None
        return None

    def maker(self) -> tuple[Tensor, Index] | None:
        """The number to which this one owes what it is: with an ordinary one instead, it would be of another kind.

        Of 0 * 0 neither alone is to blame: it owes it to both, and one is followed.
        """
        inputs = [x for x in self.tensor.inputs if isinstance(x, Tensor) and x.size]
        inputs.sort(key=lambda x: (x.op is None, -x.serial))  # data comes last
        for changed in (*([x] for x in inputs), inputs):
            pairs = zip(self.tensor.inputs, self.tensor.arrays, strict=True)
            arrays = [ordinary(array) if any(x is c for c in changed) else array for x, array in pairs]
            result = tried(run_of(self.tensor), arrays) if changed else None
            if result is not None and _kind(result[self.index]) not in (_kind(self.value), "inf", "nan"):
                return changed[0], self._source([x is changed[0] for x in self.tensor.inputs].index(True))
        return None

    def _source(self, position: int) -> Index:
        """The number of an input that counts most in this one: what is not finite, or the largest."""
        places, array = np.ravel(self.places[position]), self.tensor.arrays[position]
        sizes = np.nan_to_num(np.abs(np.ravel(array)[places]), nan=np.inf)
        return place(places[np.argmax(sizes)], array)


def chain_of(tensor: Tensor, index: Index) -> list[Link]:
    """A number and what it was made of, one operation after the other, back to an ordinary number."""
    links: list[Link] = []
    following: tuple[Tensor, Index] | None = (tensor, index)
    while following is not None and len(links) < LONGEST:
        tensor, index = following
        value, following = tensor.data[index], None
        name = f"{tensor.label}{list(index)}" if index and (not links or links[-1].index != index) else tensor.label
        text = f"{name} = {format_number(value)}"
        if tensor.op is not None:
            cell = Cell(tensor, index)
            following = cell.maker() if len(links) < 2 or _kind(value) != "ordinary" else None
            numbers = format_number(value) if cell.alone is not None else f"{format_number(value)}, of {cell.given}"
            if cell.alone is not None and (following is None or sum(isinstance(x, Tensor) for x in tensor.inputs) > 1):
                numbers = cell.numbers  # the end of the chain, or what does not follow from one number alone
            text = f"{name} = {cell.symbols} = {numbers}"
        if not links or tensor.op not in MOVING:
            links.append(Link(tensor, index, value, text, line_at(tensor)))
    return links


def line_at(tensor: Tensor) -> Line | None:
    """The line that computed a result; None where no lines are noted (`fit`)."""
    return None if tensor.op is None or tensor.note is None else line_of(tensor.note)


def shown(x: Any, digits: int = 4) -> str:
    """A number, a short row of numbers, or the range of a long one."""
    array = np.asarray(x)
    if array.ndim == 0:
        return format_number(array[()], digits)
    if array.ndim == 1 and array.size <= SHOWN:
        return f"[{', '.join(map(format_number, array.tolist()))}]"
    return f"{array.size} numbers, {range_of(array)}"


def _broadcast(shape: tuple[int, ...], index: Index) -> Index:
    """Which number of an input of this shape went into a cell of the result, in an operation on single numbers."""
    return tuple(0 if n == 1 else i for n, i in zip(shape, index[len(index) - len(shape) :], strict=True))


def _kind(x: Any) -> str:
    """What is remarkable about a number."""
    size = abs(float(x))
    if size in (0.0, 1.0) or not np.isfinite(size):
        return str(size)
    return "large" if size > 1e3 else "small" if size < 1e-3 else "ordinary"
