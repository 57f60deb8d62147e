"""An expression of arrays, cell by cell: the numbers that each cell is computed from, and the signs between them.

No operation has a table here. Where a part of the expression moves numbers about, it is run on their positions instead:
`x.T` of positions says where each number of `x.T` stands in `x`.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from tinygrad_ce.core import REGISTRY, Array
from tinygrad_ce.graph.expressions import COMPARED, LOGICAL, in_operators, name_and_arguments

LOGIC, SUM, PRODUCT, FACTOR, POWER, ATOM = range(6)  # how tightly signs bind
NUMBER = "\0"  # in the text of a part
MAX_TERMS = 4  # of a long sum are shown: the first three and the last


@dataclass(frozen=True, eq=False)
class Cell:
    """A number in a formula: for each cell of the result, where in which array it stands.

    source: the expression whose value the array is. table: flat positions, in the shape of the result. leads: nothing
    stands before it, so that a minus sign needs no parentheses.
    """

    array: Array
    source: ast.expr
    table: Array
    leads: bool = False


Piece: TypeAlias = "str | Cell"
Evaluate: TypeAlias = Callable[[ast.expr, Mapping[str, Array]], Array]


@dataclass(frozen=True, eq=False)
class Part:
    """A part of an expression, cell by cell.

    text: with NUMBER where a number stands. cells: which numbers. binding: how tightly the loosest sign binds.
    """

    shape: tuple[int, ...]
    text: str
    cells: list[Cell]
    binding: int = ATOM

    def moved(self, move: Callable[[Array], Array]) -> Part:
        """The part after a function of arrays that moves numbers about and computes none."""
        cells = [replace(cell, table=move(cell.table)) for cell in self.cells]
        return Part(move(positions(self.shape)).shape, self.text, cells, self.binding)

    def within(self, binding: int) -> Part:
        """The part in parentheses, if what stands around it binds tighter."""
        return self if self.binding >= binding else Part(self.shape, f"({self.text})", self.cells)


def pieces_of(expression: ast.expr, arrays: Mapping[str, Array], evaluate: Evaluate) -> list[Piece]:
    """Text, and the cells whose numbers stand between it; the same for every cell of the value.

    arrays: by name, what the names stand for. evaluate: the value of a part of the expression, with such arrays.
    """
    part = _Tracer(arrays, evaluate).part(in_operators(expression))
    text, *texts = part.text.split(NUMBER)
    pieces: list[Piece] = [text] if text else []
    for cell, after in zip(part.cells, texts, strict=True):
        leads = not text or text.endswith(("(", ", "))
        pieces.append(replace(cell, leads=leads and not after.startswith("**")))  # -2**2 is not (-2)**2
        pieces += [after] if after else []
        text = after
    return pieces


class _Tracer:
    """Follows the cells of arrays through an expression."""

    def __init__(self, arrays: Mapping[str, Array], evaluate: Evaluate) -> None:
        self.arrays = arrays
        self.evaluate = evaluate

    def part(self, node: ast.expr) -> Part:
        """A part of the expression, cell by cell; where its cells cannot be followed, the numbers of its value."""
        match node:
            case ast.Constant():
                return Part((), ast.unparse(node), [])
            case ast.UnaryOp(ast.USub(), operand):
                negated = self.part(operand).within(FACTOR)
                return Part(negated.shape, f"-{negated.text}", negated.cells, PRODUCT)
            case ast.BinOp(left, ast.MatMult(), right):
                return _product(self.part(left), self.part(right))
            case ast.BinOp(left, op, right) if type(op) in _SIGNS:
                sign, binding, before, behind = _SIGNS[type(op)]
                return _joined_by(sign, binding, self.part(left).within(before), self.part(right).within(behind))
            case ast.Compare(left, [op], [right]) if type(op) in COMPARED:
                return self.compared(left, COMPARED[type(op)][1], right)
            case ast.Subscript(inner) | ast.Attribute(inner, "T"):
                return self.rearranged(node, inner)
            case ast.Call() if (called := self.call(node, *name_and_arguments(node))) is not None:
                return called
        value = self.evaluate(node, self.arrays)
        return Part(value.shape, NUMBER, [Cell(value, node, positions(value.shape))])

    def compared(self, left: ast.expr, sign: str, right: ast.expr) -> Part:
        return _joined_by(f" {sign} ", LOGIC, self.part(left).within(SUM), self.part(right).within(SUM))

    def rearranged(self, node: ast.expr, inner: ast.expr) -> Part:
        """A part that only moves the numbers of `inner` about: it is run on their positions."""
        x = self.part(inner)
        copied = deepcopy(node, {id(inner): ast.Name("positions_", ast.Load())})  # with this in the place of inner
        places = self.evaluate(copied, {**self.arrays, "positions_": positions(x.shape)})
        return x.moved(lambda table: np.asarray(table.ravel()[places]))

    def call(self, node: ast.Call, name: str, arguments: list[ast.expr]) -> Part | None:
        """The call of a function or of a method; None for one of which nothing is known."""
        options = {k.arg: k.value for k in node.keywords}
        match name, arguments:
            case _, [left, right] if name in LOGICAL:
                return self.compared(left, LOGICAL[name][0], right)
            case _, [inner, *_] if name in _MOVING:
                return self.rearranged(node, inner)
            case "np.einsum", [ast.Constant(str(subscripts)), *operands] if re.fullmatch(r"[\w,]+->\w*", subscripts):
                return _contraction(subscripts, [*map(self.part, operands)])
            case "sum" | "mean", [inner] if {*options} <= {"axis", "keepdims"}:
                axis = ast.literal_eval(options.get("axis", ast.Constant(None)))
                return _reduced(name, self.part(inner), axis, self.evaluate(node, self.arrays).shape)
        if options or not _works_on_each_number(name):
            return None
        inside = _joined_by(", ", LOGIC, *map(self.part, arguments))
        return Part(inside.shape, f"{name.removeprefix('np.')}({inside.text})", inside.cells)


def _joined_by(sign: str, binding: int, *parts: Part) -> Part:
    """Parts with a sign between them, broadcast to one shape; one alone stays as it is."""
    if len(parts) == 1:
        return parts[0]
    shape = np.broadcast_shapes(*(part.shape for part in parts))
    cells = [cell for part in parts for cell in part.moved(lambda table: np.broadcast_to(table, shape)).cells]
    return Part(shape, sign.join(part.text for part in parts), cells, binding)


def _product(left: Part, right: Part) -> Part:
    """A product of matrices. A vector on the left is a row, on the right a column; further axes are stacked."""
    n, m = len(left.shape), len(right.shape)
    stacked = "hgfedcba"  # the letter of an axis, counted from the right
    rows, columns = (stacked[10 - n :] + "ik" if n > 1 else "k"), (stacked[10 - m :] + "kj" if m > 1 else "k")
    output = stacked[10 - max(n, m, 2) :] + "i" * (n > 1) + "j" * (m > 1)
    return _contraction(f"{rows},{columns}->{output}", [left, right])


def _reduced(name: str, x: Part, axis: int | tuple[int, ...] | None, shape: tuple[int, ...]) -> Part:
    """A sum or mean along axes; shape: that of the result."""
    n = len(x.shape)
    axes = range(n) if axis is None else [a % n for a in np.atleast_1d(axis)]
    letters = "abcdefghijklmnopqrstuvwxyz"[:n]
    kept = "".join(letter for a, letter in enumerate(letters) if a not in axes)
    total = _contraction(f"{letters}->{kept}", [x]).moved(lambda table: table.reshape(shape))
    if name == "sum":
        return total
    return Part(shape, f"{total.within(FACTOR).text} / {math.prod(x.shape[a] for a in axes)}", total.cells, PRODUCT)


def _contraction(subscripts: str, operands: list[Part]) -> Part:
    """An einsum: a cell is the sum of products over all letters that are not in the output.

    Of a long sum, the first three terms and the last are shown.
    """
    inputs, output = subscripts.split("->")
    letters = "".join(dict.fromkeys(output + inputs.replace(",", "")))
    tight = [x.within(FACTOR if len(operands) > 1 else SUM) for x in operands]
    factors = [_spread(x, own, letters) for x, own in zip(tight, inputs.split(","), strict=True)]
    sizes = np.broadcast_shapes(*(factor.shape for factor in factors))
    shape, summed = sizes[: len(output)], sizes[len(output) :]

    def term(k: int) -> Part:
        at: Any = (..., *np.unravel_index(k, summed))
        chosen = (x.moved(lambda table: np.broadcast_to(table, sizes)[at]) for x in factors)
        return _joined_by(" * ", PRODUCT, *chosen)

    count = math.prod(summed)
    terms = [term(k) for k in (range(count) if count <= MAX_TERMS else (0, 1, 2, count - 1))]
    if count > MAX_TERMS:
        terms.insert(3, Part((), "…", []))
    return _joined_by(" + ", SUM, *terms) if terms else Part(shape, "0", [])


def _spread(x: Part, own: str, letters: str) -> Part:
    """An operand of an einsum with an axis for each of the letters, of size 1 for those that are not its own."""
    kept = "".join(letter for letter in letters if letter in own)
    missing = [n for n, letter in enumerate(letters) if letter not in own]
    return x.moved(lambda table: np.expand_dims(np.einsum(f"{own}->{kept}", table), missing))


def positions(shape: Sequence[int]) -> Array:
    """In this shape, where each cell stands in the flat array."""
    return np.arange(math.prod(shape)).reshape(shape)


_SIGNS: dict[type[ast.operator], tuple[str, int, int, int]] = {  # how tightly each binds, and what is on both sides
    ast.Add: (" + ", SUM, SUM, SUM), ast.Sub: (" - ", SUM, SUM, PRODUCT), ast.Mult: (" * ", PRODUCT, PRODUCT, PRODUCT),
    ast.Div: (" / ", PRODUCT, PRODUCT, FACTOR), ast.FloorDiv: (" // ", PRODUCT, PRODUCT, FACTOR),
    ast.Mod: (" % ", PRODUCT, PRODUCT, FACTOR), ast.Pow: ("**", POWER, ATOM, POWER),
    ast.BitAnd: (" & ", LOGIC, SUM, SUM), ast.BitOr: (" | ", LOGIC, SUM, SUM),
}  # fmt: skip
_MOVING = {
    *("np.transpose", "np.swapaxes", "np.moveaxis", "np.reshape", "np.broadcast_to", "np.expand_dims", "np.squeeze"),
    *("getitem", "take_along_axis", "np.flip", "np.roll", "np.diagonal", "np.repeat", "np.tile"),
    *("reshape", "transpose", "swapaxes"),
}
_ON_EACH_NUMBER = {f"tinygrad_ce.ops.{family}" for family in ("elementwise", "inverse", "rounding")}


def _works_on_each_number(name: str) -> bool:
    if name in REGISTRY:
        return REGISTRY[name].body.__module__ in _ON_EACH_NUMBER
    function = getattr(np, name.removeprefix("np."), None) if name.startswith("np.") else None
    return isinstance(function, np.ufunc) or function is np.where
