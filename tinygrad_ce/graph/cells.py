"""An expression of arrays, cell by cell: the numbers that each cell is computed from, and the signs between them.

No operation has a table here. Where a part of the expression moves numbers about, it is run on their positions instead:
`x.T` of positions says where each number of `x.T` stands in `x`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np

from tinygrad_ce.core import REGISTRY, Array
from tinygrad_ce.graph.expressions import COMPARED, LOGICAL, in_operators, name_and_arguments

MAX_TERMS = 4  # of a long sum are shown: the first three and the last

LOGIC, SUM, PRODUCT, FACTOR, POWER, ATOM = range(6)  # how tightly signs bind


@dataclass(frozen=True, eq=False)
class Cell:
    """A number in a formula: for each cell of the result, where in which array it stands.

    table: flat positions, in the shape of the result. leads: nothing stands before it, so that a minus sign needs no
    parentheses.
    """

    array: Array
    table: Array
    leads: bool = False


Piece: TypeAlias = "str | Cell"


@dataclass(frozen=True, eq=False)
class Part:
    """A part of an expression, cell by cell; binding: how tightly its loosest sign binds."""

    shape: tuple[int, ...]
    pieces: list[Piece]
    binding: int = ATOM

    def moved(self, move: Callable[[Array], Array]) -> Part:
        """The part after a function of arrays that moves numbers about and computes none."""
        pieces: list[Piece] = [p if isinstance(p, str) else Cell(p.array, move(p.table), p.leads) for p in self.pieces]
        return Part(move(positions(self.shape)).shape, pieces, self.binding)

    def broadcast(self, shape: tuple[int, ...]) -> list[Piece]:
        """The pieces, repeated to this shape."""
        return self.moved(lambda table: np.broadcast_to(table, shape)).pieces

    def within(self, binding: int) -> Part:
        """The part in parentheses, if what stands around it binds tighter."""
        return self if self.binding >= binding else Part(self.shape, ["(", *leading(self.pieces), ")"])


def pieces_of(
    expression: ast.expr, arrays: Mapping[str, Array], evaluate: Callable[[ast.expr, Mapping[str, Array]], Array]
) -> list[Piece]:
    """Text, and the cells whose numbers stand between it; the same for every cell of the value.

    arrays: by name, what the names stand for. evaluate: the value of a part of the expression, with such arrays.
    """
    return _joined(leading(_Tracer(arrays, evaluate).part(in_operators(expression)).pieces))


class _Tracer:
    """Follows the cells of arrays through an expression."""

    def __init__(self, arrays: Mapping[str, Array], evaluate: Callable[[ast.expr, Mapping[str, Array]], Array]) -> None:
        self.arrays = arrays
        self.evaluate = evaluate

    def part(self, node: ast.expr) -> Part:
        """A part of the expression, cell by cell; where its cells cannot be followed, the numbers of its value."""
        if isinstance(node, ast.Constant):
            return Part((), [ast.unparse(node)])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            operand = self.part(node.operand).within(FACTOR)
            return Part(operand.shape, ["-", *operand.pieces], PRODUCT)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            return _product(self.part(node.left), self.part(node.right))
        if isinstance(node, ast.BinOp) and type(node.op) in _SIGNS:
            sign, binding = _SIGNS[type(node.op)]
            tighter = binding + isinstance(node.op, (ast.Sub, ast.Div))
            left, right = self.part(node.left).within(binding), self.part(node.right).within(tighter)
            return _joined_by(sign, binding, left, right)
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARED:
            return self.comparison(COMPARED[type(node.ops[0])][1], node.left, node.comparators[0])
        if isinstance(node, ast.Subscript) or (isinstance(node, ast.Attribute) and node.attr == "T"):
            return self.rearranged(node, node.value)
        called = self.call(node) if isinstance(node, ast.Call) else None
        if called is not None:
            return called
        value = self.evaluate(node, self.arrays)
        return Part(value.shape, [Cell(value, positions(value.shape))])

    def comparison(self, sign: str, left: ast.expr, right: ast.expr) -> Part:
        return _joined_by(f" {sign} ", LOGIC, self.part(left).within(SUM), self.part(right).within(SUM))

    def rearranged(self, node: ast.expr, inner: ast.expr) -> Part:
        """A part that only moves the numbers of `inner` about: it is run on their positions."""
        x = self.part(inner)
        places = self.evaluate(_replaced(node, inner, "positions_"), {**self.arrays, "positions_": positions(x.shape)})
        return x.moved(lambda table: np.asarray(table.ravel()[places]))

    def call(self, node: ast.Call) -> Part | None:
        """The call of a function or of a method; None for one of which nothing is known."""
        name, arguments = name_and_arguments(node)
        if name in LOGICAL and len(arguments) == 2:
            return self.comparison(LOGICAL[name][0], *arguments)
        if name in _MOVING and arguments:
            return self.rearranged(node, arguments[0])
        if name == "np.einsum" and re.fullmatch(r"'[\w,]+->\w*'", ast.unparse(arguments[0])):
            return _contraction(ast.literal_eval(arguments[0]), [*map(self.part, arguments[1:])])
        options = {k.arg: k.value for k in node.keywords}
        if name in ("sum", "mean") and len(arguments) == 1 and {*options} <= {"axis", "keepdims"}:
            axis = ast.literal_eval(options.get("axis", ast.Constant(None)))
            return _reduced(name, self.part(arguments[0]), axis, self.evaluate(node, self.arrays).shape)
        return None if options or not _works_on_each_number(name) else _called(name, [*map(self.part, arguments)])


def _joined_by(sign: str, binding: int, left: Part, right: Part) -> Part:
    """Two parts with a sign between them, broadcast to one shape."""
    shape = np.broadcast_shapes(left.shape, right.shape)
    return Part(shape, [*left.broadcast(shape), sign, *right.broadcast(shape)], binding)


def _called(name: str, arguments: list[Part]) -> Part:
    """A function that works on each number."""
    shape = np.broadcast_shapes(*(x.shape for x in arguments))
    pieces: list[Piece] = [name.removeprefix("np.") + "("]
    for n, argument in enumerate(arguments):
        pieces += [", "] * (n > 0) + leading(argument.broadcast(shape))
    return Part(shape, [*pieces, ")"])


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
    axes = [*range(n)] if axis is None else [a % n for a in np.atleast_1d(axis)]
    letters = [chr(ord("a") + a) for a in range(n)]
    kept = [letter for a, letter in enumerate(letters) if a not in axes]
    total = _contraction(f"{''.join(letters)}->{''.join(kept)}", [x]).moved(lambda table: table.reshape(shape))
    count = int(np.prod([x.shape[a] for a in axes]))
    return total if name == "sum" else Part(shape, [*total.within(FACTOR).pieces, f" / {count}"], PRODUCT)


def _contraction(subscripts: str, operands: list[Part]) -> Part:
    """An einsum: a cell is the sum of products over all letters that are not in the output.

    Of a long sum, the first three terms and the last are shown.
    """
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    sizes: dict[str, int] = {}
    for letters, operand in zip(terms, operands, strict=True):
        for letter, size in zip(letters, operand.shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 0)) if size else 0
    summed = [letter for letter in sizes if letter not in output]
    counts, shape = [sizes[letter] for letter in summed], tuple(sizes[letter] for letter in output)
    count = int(np.prod(counts))
    places = dict(zip(output, np.ogrid[tuple(map(slice, shape))], strict=True)) if shape else {}

    def factor(letters: str, operand: Part, at: dict[str, Any]) -> Part:
        index: Any = tuple(at[letter] if size != 1 else 0 for letter, size in zip(letters, operand.shape, strict=True))
        tight = operand.within(FACTOR if len(operands) > 1 else SUM)
        return tight.moved(lambda table: np.broadcast_to(table[index], shape))

    def term(k: int) -> Part:
        at = {**places, **dict(zip(summed, np.unravel_index(k, counts) if counts else (), strict=True))}
        factors = [factor(letters, operand, at) for letters, operand in zip(terms, operands, strict=True)]
        return reduce(partial(_joined_by, " * ", PRODUCT), factors)

    if count < 2:
        return term(0) if count else Part(shape, ["0"])
    pieces = term(0).pieces
    for k in range(1, count) if count <= MAX_TERMS else (1, 2, count - 1):
        pieces = [*pieces, " + … + " if k > 2 and count > MAX_TERMS else " + ", *term(k).pieces]
    return Part(shape, pieces, SUM)


def positions(shape: Sequence[int]) -> Array:
    """In this shape, where each cell stands in the flat array."""
    return np.arange(int(np.prod(shape))).reshape(shape)


_SIGNS: dict[type[ast.operator], tuple[str, int]] = {
    ast.Add: (" + ", SUM), ast.Sub: (" - ", SUM), ast.Mult: (" * ", PRODUCT), ast.Div: (" / ", PRODUCT),
    ast.FloorDiv: (" // ", PRODUCT), ast.Mod: (" % ", PRODUCT), ast.Pow: ("**", POWER), ast.BitAnd: (" & ", LOGIC),
    ast.BitOr: (" | ", LOGIC),
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


def _replaced(node: Any, inner: ast.expr, name: str) -> Any:
    """A copy of an expression with a name in place of one of its parts."""
    if node is inner:
        return ast.Name(name, ast.Load())
    if isinstance(node, list):
        return [_replaced(each, inner, name) for each in node]
    if not isinstance(node, ast.AST):
        return node
    return type(node)(**{field: _replaced(value, inner, name) for field, value in ast.iter_fields(node)})


def leading(pieces: list[Piece]) -> list[Piece]:
    """The pieces, the first number without parentheses, also where it is negative; but -2**2 is not (-2)**2."""
    if pieces and isinstance(pieces[0], Cell) and not (pieces[1:] and str(pieces[1]).startswith("**")):
        return [Cell(pieces[0].array, pieces[0].table, True), *pieces[1:]]
    return pieces


def _joined(pieces: list[Piece]) -> list[Piece]:
    """The pieces, texts that follow each other as one."""
    joined: list[Piece] = []
    for is_text, group in groupby(pieces, lambda piece: isinstance(piece, str)):
        run = [*group]
        joined += ["".join(map(str, run))] if is_text else run
    return joined
