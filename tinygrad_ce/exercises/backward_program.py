"""The program that an exercise asks for: a line for each value, with the terms of its sum, and all their numbers."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_ce.assignments.straight import lines_of
from tinygrad_ce.core import REGISTRY, Array
from tinygrad_ce.graph.expressions import compiled, names_in, parsed, renamed, sum_of
from tinygrad_ce.graph.formula import Formula
from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.graph.rules import divided_by, is_mean, shown
from tinygrad_ce.program.textbook import FUNCTIONS

UNCOMPUTABLE = (ValueError, TypeError, IndexError, AttributeError, ArithmeticError, SyntaxError)


@dataclass(eq=False)
class Term:
    """One term of a line. of: what it comes back through, in words. upstream: the gradient that comes in.

    op: the operation that it comes back through, and what goes into it and out of it. overlapping: the numbers of both
    stand in the same places. divisor: the number that it divides by; of_mean: whether that is the count of a mean, and
    averaged: the shape of what it is the mean of. sums_to_one: its class weights are divided by their sum.
    """

    tree: ast.expr
    of: str = ""
    upstream: str | None = None
    op: str = ""
    inside: tuple[str, ...] = ()
    overlapping: bool = False
    divisor: float | None = None
    of_mean: bool = False
    averaged: tuple[int, ...] = ()
    sums_to_one: bool = False


@dataclass(eq=False)
class Line:
    """The line of a value. about: what it is the gradient of. forms: the whole line as it is written on paper."""

    name: str
    about: str
    terms: list[Term]
    forms: list[Term] = field(default_factory=list)

    @cached_property
    def code(self) -> Any:
        """The whole line, ready to run."""
        return compiled(sum_of([term.tree for term in self.terms]))

    @cached_property
    def reads(self) -> set[str]:
        """All names in it."""
        return set().union(*(names_in(term.tree) for term in self.terms))


@dataclass(eq=False)
class Program:
    """Lines in an order in which they run, the values of all names, and the functions that are called.

    right: what is asked for. forward: the lines of the forward pass, where there is a graph. data: the names of what
    is no parameter and was not computed.
    """

    lines: dict[str, Line]
    values: dict[str, Any]
    functions: dict[str, Any]
    right: dict[str, Array]
    forward: list[Line] = field(default_factory=list)
    data: set[str] = field(default_factory=set)
    _between: dict[str, dict[str, list[Line]]] = field(default_factory=dict)

    def run(self, code: Any, values: Mapping[str, Any]) -> Array:
        """What a piece of code gives for these values."""
        return np.asarray(eval(code, {"np": np, **self.functions}, values))

    def tried(self, tree: ast.expr, values: Mapping[str, Any]) -> Array | None:
        """The value of an expression; None if it cannot be computed."""
        try:
            return np.asarray(self.run(compiled(tree), values), np.float64)
        except UNCOMPUTABLE:
            return None

    def between(self, name: str) -> dict[str, list[Line]]:
        """A value and those that lead to it, the nearest first: for each, the lines from there down to the value."""
        if name not in self._between:
            front, nearest = [name], {name: None}  # a dict, for a set has no order
            while front:
                reads = {x for below in front for x in self.lines[below].reads}
                front = [x for x in self.lines if x in reads and x not in nearest]
                nearest |= dict.fromkeys(front)
            self._between[name] = {x: self._depending_on(x, nearest) for x in nearest}
        return self._between[name]

    def _depending_on(self, name: str, among: Container[str]) -> list[Line]:
        """Those of some lines that a value has an influence on, in the order in which they run."""
        reached = {name: self.lines[name]}
        for x, line in self.lines.items():
            if x in among and line.reads & reached.keys():
                reached[x] = line
        return [line for x, line in reached.items() if x != name]

    def carried(self, name: str, above: str, array: Array, values: Mapping[str, Any]) -> Array | None:
        """What a value becomes when one above it is this array; None if it cannot be computed."""
        return self.rerun(self.between(name)[above], {**values, above: array})

    def rerun(self, lines: list[Line], values: dict[str, Any]) -> Array | None:
        """What the last of these lines gives; None if one cannot be computed. The values of all are put there."""
        try:
            for line in lines:
                values[line.name] = self.run(line.code, values)
        except UNCOMPUTABLE:
            return None
        return np.asarray(values[lines[-1].name], np.float64)

    @cached_property
    def has_square(self) -> bool:
        """Whether something is squared on the way, or multiplied with itself."""
        parts = (part for line in self.forward for term in line.terms for part in ast.walk(term.tree))
        of_two = [part for part in parts if isinstance(part, ast.BinOp)]
        return any(ast.unparse(x).endswith("** 2") or ast.unparse(x.left) == ast.unparse(x.right) for x in of_two)


# ---- of a graph


def of_graph(graph: Graph, said: Callable[[Node], str] | None = None) -> Program:
    """The backward pass of a loss. said: an operation in words."""
    said = said or shown
    names = graph.gradient_names
    values: dict[str, Array] = {node.name: node.value for node in graph.nodes}
    functions = {"softmax": REGISTRY["softmax"].run, "sigmoid": REGISTRY["sigmoid"].run, **FUNCTIONS}
    printed = {node.derivative.name: name for node, name in names.items() if node.derivative is not None}
    forward = []
    for node in graph.nodes:
        if node.formula is not None:
            formula = node.formula.readable
            values |= _read(formula, values)
            functions |= formula.functions
            forward.append(Line(node.name, said(node), [Term(formula.whole)]))
    lines = {}
    for node, name in names.items():
        terms = []
        for edge in node.backward_uses:
            assert edge.formula is not None
            assert edge.target.derivative is not None
            formula, above = edge.formula.readable, names[edge.target]
            own = {**printed, edge.target.derivative.name: above}
            values |= _read(formula, {**values, **own})
            functions |= formula.functions
            terms.append(_term(edge, said(edge.target), renamed(formula.whole, own), above))
        lines[name] = Line(name, node.name, terms)
    right = {name: np.asarray(node.gradient) for node, name in names.items()}
    data = {node.name for node in graph.nodes if node.kind == "data"}
    return Program(lines, {**values, **right}, functions, right, forward, data)


def _read(formula: Formula, known: Mapping[str, Any]) -> dict[str, Array]:
    """The arrays of a formula that nobody has named yet, as those of labels and indices."""
    return {x: formula.arrays[x] for x in sorted(names_in(formula.whole) & formula.arrays.keys() - known.keys())}


def _term(edge: Edge, of: str, tree: ast.expr, above: str) -> Term:
    op, count = edge.target.op, divided_by(edge)
    assert op is not None
    return Term(
        tree,
        of=of,
        upstream=above if above in names_in(tree) else None,
        op=op.name,
        inside=(edge.source.name, edge.target.name),
        overlapping=edge.source.shape == edge.target.shape,
        divisor=count,
        of_mean=count is not None and is_mean(edge, count),
        averaged=edge.source.shape if op.name == "reduce_mean" else (),
        sums_to_one=op.name == "xent" and _is_weighted_mean(edge.target),
    )


def _is_weighted_mean(node: Node) -> bool:
    """Whether the weights of the classes have been divided by their sum over the labels, as a mean wants it."""
    assert node.tensor is not None
    _, y, w = node.tensor.arrays[:3]
    counted = y[y != node.tensor.params.get("ignore_index")]
    return bool(np.ndim(w) and np.isclose(np.asarray(w, np.float64)[counted].sum(), 1, 1e-5))


# ---- of a function


def of_source(function: Callable[..., Mapping[str, Any]], arguments: Mapping[str, Any]) -> Program:
    """What a NumPy function returns in a dict, for these arguments; its lines where it is a list of assignments.

    An argument that is called like a value which is asked for gets the name `w_old`.
    """
    copies = {name: np.array(x) if isinstance(x, np.ndarray) else x for name, x in arguments.items()}
    right = {name: np.asarray(x) for name, x in function(**copies).items()}
    old = {name: f"{name}_old" if name in right else name for name in arguments}
    values = {old[name]: x for name, x in arguments.items()}
    closed = inspect.getclosurevars(function)
    program = Program({}, values, {**closed.globals, **closed.nonlocals}, right)
    lines = [Line(name, name, [Term(tree, f"{name} = {ast.unparse(tree)}")]) for name, tree in lines_of(function, old)]
    try:
        with np.errstate(all="ignore"):
            computed = dict(values)
            for line in lines:
                computed[line.name] = program.run(line.code, computed)
            same = all(np.allclose(computed[name], x, equal_nan=True) for name, x in right.items())
    except Exception:  # what a line of somebody's calls may raise anything
        same = False
    if not same:
        known = {name: Line(name, name, [Term(parsed(name))]) for name in right}
        return Program(known, {**values, **right}, {}, right)
    program.values, program.lines, program.forward = computed, {line.name: line for line in lines}, lines
    return program
