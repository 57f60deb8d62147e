"""A formula: an expression of the printed program, and the same with the numbers of one cell in place of the names."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.graph.cells import Piece, pieces_of
from tinygrad_ce.graph.expressions import compiled
from tinygrad_ce.program.ir import Instruction, Value
from tinygrad_ce.program.numpy_text import expression_of, textbook_form
from tinygrad_ce.program.textbook import FUNCTIONS
from tinygrad_ce.report.words import format_number


@dataclass
class Formula:
    """An expression of arrays by their names.

    arrays: by name, what the names stand for. functions: by name, what the expression calls.
    whole: the expression with every step on the way folded in. textbook: the same as textbooks write it.
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
        """The expression as it is printed in a program."""
        return ast.unparse(self.whole)

    @cached_property
    def value(self) -> Array:
        """The value of the whole expression."""
        return self.evaluate(self.whole)

    @cached_property
    def pieces(self) -> list[Piece]:
        """Text, and the cells whose numbers stand between it; the same for every cell of the result."""
        return pieces_of(self.whole, self.arrays, self.evaluate)

    def filled(self, index: Sequence[int] = ()) -> str:
        """The expression with the numbers of this cell of the result."""
        filled = ""
        for piece in self.pieces:
            text = piece if isinstance(piece, str) else format_number(piece.array.flat[piece.table[tuple(index)]])
            is_negative = not isinstance(piece, str) and text.startswith("-") and not piece.leads
            filled += f"({text})" if is_negative else text
        return filled

    def evaluate(self, node: ast.expr, arrays: Mapping[str, Array] | None = None) -> Array:
        """The value of a part of the expression, with its own arrays or these."""
        arrays = self.arrays if arrays is None else arrays
        if isinstance(node, ast.Name) and node.id in arrays:
            return arrays[node.id]
        with np.errstate(all="ignore"):
            return np.asarray(eval(compiled(node), {"np": np, **self.functions}, dict(arrays)))


def formula_of(
    value: Value, instructions: list[Instruction], form: ast.expr | None = None, reads: Sequence[Value] = ()
) -> Formula:
    """The formula of a value that these instructions compute, with its textbook form where the numbers are the same.

    form: the textbook form, if it is not that of the last instruction; reads: the values that it is made of.
    """
    whole, functions = expression_of(value, instructions)
    inputs = [x for i in instructions for x in i.inputs if isinstance(x, Value)]
    values = [*inputs, *(i.result for i in instructions), value, *reads]
    formula = Formula(whole, {x.name: x.example for x in values}, functions)
    last = next((i for i in instructions if i.result is value), None)
    if form is None and last is not None:
        form = textbook_form(last.op, last.params, last.inputs)
    if form is not None:
        textbook = Formula(form, formula.arrays, {**functions, **FUNCTIONS})
        alike = textbook.value.shape == value.shape
        if alike and np.allclose(textbook.value, value.example, 1e-4, 1e-6, equal_nan=True):
            formula.textbook = textbook
    return formula
