"""A formula: an expression of the printed program, and the same with the numbers of one cell in place of the names.

Nothing is known here about any operation. Which cells of its operands a cell is made of is found by sending positions
through the expression instead of values: `x.T` of positions says where each number of `x.T` stands in `x`.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from tinygrad_ce.core import REGISTRY, Array

LARGE = 10_000  # elements; of more, only the cells are followed that are asked for
MOST_TERMS = 4  # of a long sum are shown: the first three and the last

Piece: TypeAlias = "str | Cell"


@dataclass(frozen=True)
class Cell:
    """A number in a formula: for each cell of the result, where in which array it stands."""

    name: str
    table: Array  # flat positions, in the shape of the result
    leads: bool = False  # nothing stands before it, so that a minus sign needs no parentheses


def number(value: Any, digits: int = 4) -> str:
    """A number with so many significant digits.

    >>> number(0.25), number(2 / 3), number(1e-9), number(True)
    ('0.25', '0.6667', '1e-09', 'True')
    """
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    text = f"{value:.{digits}g}"
    return "0" if text == "-0" else text


@dataclass
class Formula:
    """An expression of arrays by their names.

    arrays: by name, what the names stand for. functions: by name, what the expression calls.
    whole: the expression with every step on the way folded in.
    """

    whole: ast.expr
    arrays: dict[str, Array]
    functions: Mapping[str, Any] = field(default_factory=dict)
    textbook: Formula | None = None

    def __post_init__(self) -> None:
        self.whole = ast.parse(ast.unparse(self.whole), mode="eval").body  # printing needs less of a node than running

    @property
    def readable(self) -> Formula:
        """The textbook form where there is one."""
        return self.textbook or self

    @property
    def text(self) -> str:
        """As it is printed in a program."""
        return ast.unparse(self.whole)

    @cached_property
    def value(self) -> Array:
        """What the expression gives."""
        return self.evaluate(self.whole)

    @cached_property
    def pieces(self) -> list[Piece]:
        """Text, and the cells whose numbers stand between it; the same for every cell of the result."""
        return self._pieces(_positions(self.value.shape))

    def filled(self, index: Sequence[int] = ()) -> str:
        """The expression with the numbers of this cell of the result."""
        if self.value.size > LARGE and "pieces" not in self.__dict__:
            pieces, index = self._pieces(_positions(self.value.shape)[tuple(index)]), ()  # of this cell alone
        else:
            pieces = self.pieces
        return "".join(self._shown(piece, tuple(index)) for piece in pieces)

    def _pieces(self, wanted: Array) -> list[Piece]:
        return _leading(_joined(self._of(self.whole, np.asarray(wanted), 0)))

    def with_numbers(self, arrays: Mapping[str, Array]) -> Formula:
        """The same expression, with other arrays for some of its names."""
        own = {name: array for name, array in self.arrays.items() if name.isidentifier()}
        return Formula(self.whole, {**own, **arrays}, self.functions)

    def _shown(self, piece: Piece, index: tuple[int, ...]) -> str:
        if isinstance(piece, str):
            return piece
        text = number(self.arrays[piece.name].flat[piece.table[index]])
        return f"({text})" if text.startswith("-") and not piece.leads else text

    def evaluate(self, node: ast.expr) -> Array:
        """The value of a part of the expression."""
        if isinstance(node, ast.Name) and node.id in self.arrays:
            return self.arrays[node.id]
        code = compile(ast.fix_missing_locations(ast.Expression(node)), "<formula>", "eval")
        with np.errstate(all="ignore"):
            return np.asarray(eval(code, {"np": np, **self.functions}, self.arrays))

    # ---- which cells a cell is made of

    def _of(self, node: ast.expr, wanted: Array, outside: int) -> list[Piece]:
        """The pieces of a part of the expression. wanted: flat positions in its value. outside: what binds it."""
        if isinstance(node, ast.Constant):
            return [ast.unparse(node)]
        if isinstance(node, ast.Name) and node.id in self.arrays:
            return [Cell(node.id, wanted)]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return _bound(["-", *self._of(node.operand, wanted, 3)], 2, outside)
        if isinstance(node, ast.BinOp):
            if isinstance(node.op, ast.MatMult):
                return self._product(node.left, node.right, wanted, outside)
            return self._arithmetic(node, wanted, outside)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return self._comparison(node, wanted, outside)
        moved = self._moved(node, wanted, outside)
        if moved is not None:
            return moved
        if isinstance(node, ast.Call):
            return self._call(node, wanted, outside)
        return self._as_a_number(node, wanted)

    def _as_a_number(self, node: ast.expr, wanted: Array) -> list[Piece]:
        """What a cell is made of is not known: the part is shown as the number that it gives."""
        name = ast.unparse(node)
        self.arrays.setdefault(name, self.evaluate(node))
        return [Cell(name, wanted)]

    def _arithmetic(self, node: ast.BinOp, wanted: Array, outside: int) -> list[Piece]:
        sign, binding = _SIGNS[type(node.op)]
        tighter = binding + isinstance(node.op, (ast.Sub, ast.Div))
        left = self._of(node.left, self._broadcast(node, node.left, wanted), binding)
        right = self._of(node.right, self._broadcast(node, node.right, wanted), tighter)
        return _bound([*left, f" {sign} " if sign != "**" else sign, *right], binding, outside)

    def _comparison(self, node: ast.Compare, wanted: Array, outside: int) -> list[Piece]:
        sign = ast.unparse(ast.Compare(ast.Name("a"), node.ops, [ast.Name("b")]))[1:-1]
        sides = (node.left, node.comparators[0])
        left, right = (self._of(side, self._broadcast(node, side, wanted), 1) for side in sides)
        return _bound([*left, sign, *right], 0, outside)

    def _broadcast(self, whole: ast.expr, part: ast.expr, wanted: Array) -> Array:
        """Where the cells of a broadcast value stand in one of its operands."""
        return self._sent(self.evaluate(part).shape, lambda x: np.broadcast_to(x, self.evaluate(whole).shape), wanted)

    def _sent(self, shape: tuple[int, ...], move: Any, wanted: Array) -> Array:
        return _taken(np.asarray(move(_positions(shape))), wanted)

    def _product(self, left: ast.expr, right: ast.expr, wanted: Array, outside: int) -> list[Piece]:
        """A cell of a product of matrices: a sum over row and column. A vector on the left is a row, else a column."""
        a, b = (_positions(self.evaluate(side).shape) for side in (left, right))
        a = a[None, :] if a.ndim == 1 else a
        b = b[:, None] if b.ndim == 1 else b
        stacked = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        shape = (*stacked, a.shape[-2], b.shape[-1])

        def term(k: int) -> list[Piece]:
            sides = (left, a[..., :, k, None]), (right, b[..., k, None, :])
            rows, columns = (
                self._of(side, _taken(np.broadcast_to(positions, shape), wanted), 3) for side, positions in sides
            )
            return [*rows, " * ", *columns]

        return self._sum(term, a.shape[-1], outside)

    def _contraction(self, subscripts: str, operands: list[ast.expr], wanted: Array, outside: int) -> list[Piece]:
        """A cell of an einsum: the sum of products over all letters that are not in the output."""
        inputs, output = subscripts.split("->")
        terms = inputs.split(",")
        sizes: dict[str, int] = {}
        for letters, operand in zip(terms, operands, strict=True):
            for letter, size in zip(letters, self.evaluate(operand).shape, strict=True):
                sizes[letter] = max(size, sizes.get(letter, 0)) if size else 0
        summed = [letter for letter in sizes if letter not in output]
        shape = [sizes[letter] for letter in output]
        places = dict(zip(output, np.unravel_index(wanted, shape), strict=True)) if shape else {}
        counts = [sizes[letter] for letter in summed]

        def term(k: int) -> list[Piece]:
            at = places | dict(zip(summed, np.unravel_index(k, counts), strict=True)) if counts else places
            pieces: list[Piece] = []
            for letters, operand in zip(terms, operands, strict=True):
                position = np.zeros(wanted.shape, int)
                for letter, size in zip(letters, self.evaluate(operand).shape, strict=True):
                    position = position * size + (at[letter] if size > 1 else 0)
                pieces += [" * "] if pieces else []
                pieces += self._of(operand, np.asarray(position), 3)
            return pieces

        return self._sum(term, int(np.prod(counts)), outside)

    def _sum(self, term: Any, count: int, outside: int) -> list[Piece]:
        if count == 0:
            return ["0"]
        shown = range(count) if count <= MOST_TERMS else (0, 1, 2, count - 1)
        pieces: list[Piece] = []
        for n, k in enumerate(shown):
            pieces += [" + "] if n else []
            pieces += ["… + "] if n and k != shown[n - 1] + 1 else []
            pieces += term(k)
        return _bound(pieces, 1, outside) if len(pieces) > 1 else pieces

    def _moved(self, node: ast.expr, wanted: Array, outside: int) -> list[Piece] | None:
        """The pieces of a part that only moves the numbers of its first operand about; None if it does more."""
        if (isinstance(node, ast.Attribute) and node.attr == "T") or isinstance(node, ast.Subscript):
            inner = node.value
        elif isinstance(node, ast.Call) and _called(node) in _MOVING and node.args:
            inner = node.args[0]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MOVING_METHODS:
            inner = node.func.value
        else:
            return None
        if isinstance(inner, ast.Name) and inner.id == "np":
            return None
        if isinstance(node, ast.Call) and (_called(node) == "astype" or _called(node) == "np.asarray"):
            return self._of(inner, wanted, outside)  # the same number in another dtype
        x = self.evaluate(inner)
        positions = Formula(
            _replaced(node, inner, "positions_"),
            {**self.arrays, "positions_": _positions(x.shape)},
            self.functions,
        ).value
        return self._of(inner, _taken(positions, wanted), outside)

    def _call(self, node: ast.Call, wanted: Array, outside: int) -> list[Piece]:
        name = _called(node)
        if name in _COMPARISONS and len(node.args) == 2:
            return self._comparison(ast.Compare(node.args[0], [_COMPARISONS[name]], node.args[1:]), wanted, outside)
        if name in _WORDS and len(node.args) == 2:
            left, right = (self._of(side, self._broadcast(node, side, wanted), 1) for side in node.args)
            return _bound([*left, f" {_WORDS[name]} ", *right], 0, outside)
        if name in ("np.dot", "np.matmul") and len(node.args) == 2:
            return self._product(node.args[0], node.args[1], wanted, outside)
        if name == "np.einsum" and isinstance(node.args[0], ast.Constant):
            return self._contraction(str(node.args[0].value), node.args[1:], wanted, outside)
        if name in ("sum", "mean"):
            return self._reduced(node, name, wanted, outside)
        if not node.keywords and self._works_on_each_number(node, name):
            pieces: list[Piece] = [name.removeprefix("np.") + "("]
            for n, argument in enumerate(node.args):
                inner = _leading(self._of(argument, self._broadcast(node, argument, wanted), 0))
                pieces += [", ", *inner] if n else inner
            return [*pieces, ")"]
        return self._as_a_number(node, wanted)

    def _works_on_each_number(self, node: ast.Call, name: str) -> bool:
        function = getattr(np, name.removeprefix("np."), None) if name.startswith("np.") else None
        ours = REGISTRY.get(name)
        if ours is not None:
            return ours.body.__module__ in _ON_EACH_NUMBER
        return isinstance(function, np.ufunc) or function is np.where

    def _reduced(self, node: ast.Call, name: str, wanted: Array, outside: int) -> list[Piece]:
        """A sum or mean, as the sum of the numbers that it is made of."""
        inner = _owner(node) or node.args[0]
        options = {k.arg: ast.literal_eval(k.value) for k in node.keywords}
        x = self.evaluate(inner)
        axis = options.get("axis")
        axes = range(x.ndim) if axis is None else [a % x.ndim for a in ((axis,) if isinstance(axis, int) else axis)]
        rest = [a for a in range(x.ndim) if a not in axes]
        positions = _positions(x.shape).transpose([*rest, *axes])
        count = int(np.prod([x.shape[a] for a in axes]))
        terms = positions.reshape(-1, count) if count else positions.reshape(-1, 1)[:0]

        def term(k: int) -> list[Piece]:
            return self._of(inner, np.asarray(terms[:, k][wanted]), 1)

        if name == "sum":
            return self._sum(term, count, outside)
        return _bound([*self._sum(term, count, 3), f" / {count}"], 2, outside)


def _taken(array: Array, flat: Array) -> Array:
    """The elements at these flat positions; for a few, an array that is broadcast is not written out."""
    if array.ndim and 8 * flat.size < array.size:
        return np.asarray(array[np.unravel_index(flat, array.shape)])
    return np.asarray(array.ravel()[flat])


def _positions(shape: Sequence[int]) -> Array:
    """In this shape, where each cell stands in the flat array."""
    return np.arange(int(np.prod(shape))).reshape(shape)


_SIGNS: dict[type[ast.operator], tuple[str, int]] = {
    ast.Add: ("+", 1), ast.Sub: ("-", 1), ast.Mult: ("*", 2), ast.Div: ("/", 2), ast.Pow: ("**", 4),
    ast.FloorDiv: ("//", 2), ast.Mod: ("%", 2), ast.BitAnd: ("&", 0), ast.BitOr: ("|", 0),
}  # fmt: skip
_COMPARISONS: dict[str, ast.cmpop] = {
    "np.equal": ast.Eq(), "np.not_equal": ast.NotEq(), "np.greater": ast.Gt(), "np.greater_equal": ast.GtE(),
    "np.less": ast.Lt(), "np.less_equal": ast.LtE(),
}  # fmt: skip
_WORDS = {"np.logical_or": "or", "np.logical_and": "and"}
_ON_EACH_NUMBER = {f"tinygrad_ce.ops.{family}" for family in ("elementwise", "inverse", "rounding")}
_MOVING = {
    *("np.transpose", "np.swapaxes", "np.moveaxis", "np.reshape", "np.broadcast_to", "np.expand_dims", "np.squeeze"),
    *("np.asarray", "getitem", "take_along_axis", "np.flip", "np.roll", "np.diagonal", "np.repeat", "np.tile"),
}
_MOVING_METHODS = {"reshape", "transpose", "swapaxes", "astype"}


def _called(node: ast.Call) -> str:
    """What is called: "np.tanh", "softmax", or the method "sum" (also where it is written np.sum)."""
    name = ast.unparse(node.func)
    if name in ("np.sum", "np.mean"):
        return name[3:]
    return name if _owner(node) is None else name.rpartition(".")[2]


def _owner(node: ast.Call) -> ast.expr | None:
    """The array whose method is called: `x` in `x.sum()`; None where a function is called, or one of NumPy's."""
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    outermost = owner
    while isinstance(outermost, ast.Attribute):
        outermost = outermost.value
    return None if isinstance(outermost, ast.Name) and outermost.id == "np" else owner


def _replaced(node: ast.expr, part: ast.expr, name: str) -> ast.expr:
    """The expression with a name in place of one part."""

    class Replaced(ast.NodeTransformer):
        def visit(self, inner: ast.AST) -> Any:
            return ast.Name(name, ast.Load()) if inner is part else self.generic_visit(inner)

    import copy

    memo: dict[int, Any] = {id(part): part}
    return Replaced().visit(copy.deepcopy(node, memo))  # type: ignore[no-any-return]


def _bound(pieces: list[Piece], binding: int, outside: int) -> list[Piece]:
    """In parentheses, if what stands around binds tighter."""
    return ["(", *_leading(pieces), ")"] if outside > binding else pieces


def _leading(pieces: list[Piece]) -> list[Piece]:
    """With the first number without parentheses, also where it is negative; but -2**2 is not (-2)**2."""
    if pieces and isinstance(pieces[0], Cell) and not (pieces[1:] and str(pieces[1]).startswith("**")):
        return [Cell(pieces[0].name, pieces[0].table, True), *pieces[1:]]
    return pieces


def _joined(pieces: list[Piece]) -> list[Piece]:
    """With texts that follow each other as one."""
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined
