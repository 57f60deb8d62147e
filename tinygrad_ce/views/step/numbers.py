"""Every number of the page as a value of one program, so that the browser computes them all from the leaves.

Besides what the pass computes anyway there are local derivatives, and the parts of formulas whose numbers are shown.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_ce.core import REGISTRY, Array, Primitive
from tinygrad_ce.graph.cells import Cell
from tinygrad_ce.graph.expressions import names_in
from tinygrad_ce.graph.formula import Formula
from tinygrad_ce.graph.nodes import Edge, Graph
from tinygrad_ce.program import Instruction, Value
from tinygrad_ce.program.ir import Function
from tinygrad_ce.program.slices import javascript_keeping
from tinygrad_ce.views.pages import packed


class Numbers:
    """The arrays of a page, by number, and the program that computes them.

    `of` and `pieces` say which array is meant; `javascript` is the program for all that were asked for so far.
    """

    def __init__(self, graph: Graph) -> None:
        self.program = graph.recorded.program
        self.instructions = [*self.program.instructions]
        self.by_name = {x.name: x for x in values_of(self.program)}
        self.numbers: dict[Value, int] = {}
        self.parts: dict[tuple[Any, ...], Value] = {}
        for x in self.program.inputs:
            self.of(x)

    def of(self, value: Value) -> int:
        """The number of a value's array on the page."""
        return self.numbers.setdefault(value, len(self.numbers))

    def pieces(self, formula: Formula) -> list[Any]:
        """A formula as text, and as places in arrays of the page."""
        return [
            piece if isinstance(piece, str) else _place(piece, self.part(piece.source, formula, piece.array))
            for piece in formula.pieces
        ]

    def part(self, node: ast.expr, formula: Formula, example: Array) -> int:
        """The array of a part of a formula, which an instruction of its own computes if it is no name."""
        if isinstance(node, ast.Name):
            return self.of(self.by_name[node.id])
        names = sorted(names_in(node) & formula.arrays.keys())
        inputs = tuple(self.by_name[name] for name in names)
        text = ast.unparse(node)
        if (text, inputs) not in self.parts:
            op = _operation(f"def _formula({', '.join(names)}):\n    return {text}\n", formula.functions)
            self.parts[text, inputs] = self.computed(op, inputs, example, {})
        return self.of(self.parts[text, inputs])

    def computed(self, op: Primitive, inputs: tuple[Any, ...], example: Array, params: Mapping[str, Any]) -> Value:
        """A new value, by an instruction behind all others."""
        value = Value(f"_shown{len(self.instructions)}", example)
        self.instructions.append(Instruction(op, inputs, params, value, "backward"))
        return value

    def local(self, edge: Edge) -> int | None:
        """The local derivative of an edge: what its rule gives for an upstream of ones. None where it is no product."""
        upstream = edge.target.derivative
        if edge.local is None or edge.rule is None or upstream is None or not edge.local.size:
            return None
        new = {upstream: Value(f"_ones_{upstream.name}", np.ones_like(upstream.example), "constant")}
        instructions, share = edge.rule
        for i in instructions:
            inputs = tuple(new.get(x, x) if isinstance(x, Value) else x for x in i.inputs)
            new[i.result] = self.computed(i.op, inputs, i.result.example, i.params)
        new[share].example = edge.local
        return self.of(new[share])

    def opened(self, formula: Formula) -> list[dict[str, Any]]:
        """The parts of a formula that textbooks give names, each with its array: `p = softmax(z)`, `p - y`."""
        found: dict[str, int] = {}
        for node in _inner_first(formula.whole):
            if node is not formula.whole and names_in(node) & formula.arrays.keys() and not _is_factor(node):
                found.setdefault(ast.unparse(node), self.part(node, formula, formula.evaluate(node)))
        p = next((text for text in found if text.startswith(("softmax(", "sigmoid("))), None)
        return [
            {"text": f"p = {p}" if text == p else text.replace(p, "p") if p else text, "array": array}
            for text, array in found.items()
        ]

    def javascript(self) -> str:
        """The module that computes the arrays: `v3` is that of number 3. CannotLower if JavaScript cannot hold it."""
        program = replace(self.program, instructions=self.instructions)
        with renamed(program, {x: f"v{n}" for x, n in self.numbers.items()}):
            return str(javascript_keeping(program, [x for x in self.numbers if x not in program.inputs]))

    def described(self, recorded: bool) -> list[dict[str, Any]]:
        """What the page knows of each array: its shape and, of leaves or (recorded) of all, its numbers."""
        described = []
        for x, n in self.numbers.items():
            known = packed(x.example) if recorded or x in self.program.inputs else {"shape": x.shape}
            described.append({"name": f"v{n}", **known, "truth": x.dtype.kind == "b"})
        return described


def values_of(program: Function) -> list[Value]:
    """All values of a program, constants too."""
    inputs = (x for i in program.instructions for x in i.inputs if isinstance(x, Value))
    return [*program.values, *inputs]


@contextmanager
def renamed(program: Function, names: Mapping[Value, str]) -> Iterator[None]:
    """Temporarily short names for all values: a user's may be 300 letters long, or mean something in JavaScript."""
    before = {x: x.name for x in (*values_of(program), *names)}
    try:
        for n, x in enumerate(before):
            x.name = names.get(x, f"w{n}")
        yield
    finally:
        for x, name in before.items():
            x.name = name


def _operation(text: str, functions: Mapping[str, Any]) -> Primitive:
    """A part of a formula as an operation, which no other program can call."""
    file = f"<{text}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file  # the loops' comments quote it
    scope: dict[str, Any] = {"__name__": __name__, "np": np, **functions, **WITHOUT_INDICES}
    exec(compile(text, file, "exec"), scope)
    op = Primitive(scope["_formula"])
    del REGISTRY[op.name]
    return op


def _inner_first(node: ast.AST) -> Iterator[ast.expr]:
    """The operations of an expression, each after those that it takes; not names and numbers."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(node, ast.Subscript) and child is node.slice):
            yield from _inner_first(child)
    if isinstance(node, (ast.BinOp, ast.UnaryOp, ast.Subscript, ast.Call)):
        yield node


def _is_factor(node: ast.expr) -> bool:
    """Whether this is a product, or 1 - y: it has no name of its own in textbooks."""
    return isinstance(node, ast.BinOp) and (isinstance(node.op, ast.Mult) or isinstance(node.left, ast.Constant))


def one_hot(y: Any, classes: int) -> Any:
    """(N, classes): 1 where the class is the row's own, else 0."""
    return (np.expand_dims(y, -1) == np.arange(classes)) * 1.0


def smoothed(y: Any, classes: int, smoothing: float) -> Any:
    """(N, classes): the one-hot rows with label smoothing."""
    return (1 - smoothing) * one_hot(y, classes) + smoothing / classes


WITHOUT_INDICES = {"one_hot": one_hot, "smoothed": smoothed}  # loops cannot look a label up in a table of rows


def _place(cell: Cell, array: int) -> dict[str, Any]:
    """Where a number stands: a start and a step for each axis, or a table where there is no such pattern."""
    table, place = cell.table, {"array": array, "leads": cell.leads}
    start = int(table.flat[0]) if table.size else 0
    second = [np.take(table, [1], axis) if size > 1 else table for axis, size in enumerate(table.shape)]
    steps = [int(along.flat[0]) - start if table.size else 0 for along in second]
    if (start + np.tensordot(steps, np.indices(table.shape), 1) == table).all():
        return {**place, "start": start, "steps": steps}
    return {**place, "table": table.ravel().tolist()}
