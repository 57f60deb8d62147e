"""The program that an exercise asks for: a line for each value, with the terms it is the sum of, and all their numbers.

It is read off the graph of a loss, or off the source of a NumPy function.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_ce.core import REGISTRY, Array
from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.program.textbook import FUNCTIONS


@dataclass(eq=False)
class Term:
    """One term of a line. of: the operation that it comes back through, in words. upstream: the gradient that comes in.

    op: its name. swapped: two arrays that are easily taken for each other, its input and its result.
    divisor: the number that it divides by, and whether that is the count of a mean. roles: what the arguments of a
    fused loss are called here.
    """

    tree: ast.expr
    of: str = ""
    upstream: str | None = None
    op: str = ""
    swapped: tuple[str, ...] = ()
    divisor: tuple[float, bool] | None = None
    averaged: tuple[int, ...] = ()  # the shape of what it is the mean of
    roles: Mapping[str, str] = field(default_factory=dict)
    weighted_mean: bool = False  # its class weights are divided by their sum over the labels
    overlapping: bool = False  # the numbers of input and result stand in the same places


@dataclass(eq=False)
class Line:
    """The line of a value: a name, and the terms of a sum. about: what it is the gradient of, in words."""

    name: str
    about: str
    terms: list[Term]
    forms: list[Term] = field(default_factory=list)  # the whole line as it is written on paper

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

    right: by name, what is asked for. forward: the lines of the forward pass, where there is a graph.
    data: the names of what is no parameter and was not computed.
    """

    lines: list[Line]
    values: dict[str, Array]
    functions: dict[str, Any]
    right: dict[str, Array]
    forward: list[Line] = field(default_factory=list)
    data: set[str] = field(default_factory=set)

    def run(self, code: Any, values: Mapping[str, Any]) -> Array:
        """What a piece of code gives for these values."""
        return np.asarray(eval(code, {"np": np, **self.functions}, values))

    @cached_property
    def has_square(self) -> bool:
        """Whether something is squared on the way, or multiplied with itself."""
        parts = (part for line in self.forward for term in line.terms for part in ast.walk(term.tree))
        return any(
            isinstance(part, ast.BinOp)
            and (ast.unparse(part).endswith("** 2") or ast.unparse(part.left) == ast.unparse(part.right))
            for part in parts
        )


def compiled(tree: ast.expr) -> Any:
    """An expression, ready to run."""
    return compile(ast.fix_missing_locations(ast.Expression(tree)), "<line>", "eval")


def sum_of(trees: list[ast.expr]) -> ast.expr:
    """The sum of expressions as one; 1 for none: the gradient of the loss itself."""
    whole = trees[0] if trees else ast.Constant(1.0)
    for tree in trees[1:]:
        whole = ast.BinOp(whole, ast.Add(), tree)
    return whole


def names_in(tree: ast.AST) -> set[str]:
    """All names in an expression."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


class Renamed(ast.NodeTransformer):
    """An expression with other names, or with expressions in the place of names."""

    def __init__(self, names: Mapping[str, str | ast.expr]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """Another name or expression, where there is one for this."""
        new = self.names.get(node.id, node)
        return ast.Name(new, ast.Load()) if isinstance(new, str) else new


def renamed(tree: ast.expr, names: Mapping[str, str | ast.expr]) -> ast.expr:
    """A copy of an expression with other names."""
    copied: ast.expr = Renamed(names).visit(ast.parse(ast.unparse(tree), mode="eval").body)
    return copied


# ---- of a graph


def of_graph(graph: Graph) -> Program:
    """The backward pass of a loss."""
    names = graph.gradient_names
    values: dict[str, Array] = {node.name: node.value for node in graph.nodes}
    functions = {"softmax": REGISTRY["softmax"].run, "sigmoid": REGISTRY["sigmoid"].run, **FUNCTIONS}
    printed = {node.derivative.name: name for node, name in names.items() if node.derivative is not None}
    forward = []
    for node in graph.nodes:
        if node.formula is not None:
            formula = node.formula.readable
            values |= {name: array for name, array in formula.arrays.items() if name not in values and name in names_in(formula.whole)}
            functions |= formula.functions
            forward.append(Line(node.name, node.name, [Term(formula.whole)]))
    lines = []
    for node, name in names.items():
        terms = []
        for edge in node.backward_uses:
            assert edge.formula is not None
            assert edge.target.derivative is not None
            formula, above = edge.formula.readable, names[edge.target]
            own = {**printed, edge.target.derivative.name: above}
            values |= {x: array for x, array in formula.arrays.items() if x not in values and x not in own and x in names_in(formula.whole)}
            functions |= formula.functions
            terms.append(_term(edge, renamed(formula.whole, own), above))
        lines.append(Line(name, node.name, terms))
    right = {name: np.asarray(node.gradient) for node, name in names.items()}
    data = {node.name for node in graph.nodes if node.kind == "data"}
    return Program(lines, {**values, **right}, functions, right, forward, data)


def _term(edge: Edge, tree: ast.expr, above: str) -> Term:
    op, instruction = edge.target.op, edge.target.instruction
    assert op is not None
    assert instruction is not None
    count = divided_by(edge)
    roles = {role: x.name for role, x in zip(op.arguments, instruction.inputs, strict=False) if hasattr(x, "example")}
    return Term(
        tree,
        shown(edge.target),
        above if above in names_in(tree) else None,
        op.name,
        (edge.source.name, edge.target.name),
        None if count is None else (count, is_mean(edge, count)),
        edge.source.shape if op.name == "reduce_mean" else (),
        roles if op.name in ("xent", "soft_xent", "sigmoid_xent") else {},
        op.name == "xent" and _is_weighted_mean(edge.target),
        edge.source.shape == edge.target.shape,
    )


def _is_weighted_mean(node: Node) -> bool:
    """Whether the weights of the classes have been divided by their sum over the labels, as a mean wants it."""
    assert node.tensor is not None
    _, y, w = node.tensor.arrays[:3]
    counted = y[y != node.tensor.params.get("ignore_index")]
    return bool(np.ndim(w) and np.isclose(np.asarray(w, np.float64)[counted].sum(), 1, 1e-5))


def divided_by(edge: Edge) -> float | None:
    """The number by which what comes back along an edge is divided: the count of a mean; None if there is none."""
    op = edge.target.op
    if edge.formula is None or op is None:
        return None
    if op.name == "reduce_mean":
        return edge.source.value.size / max(edge.target.value.size, 1)
    for node in ast.walk(edge.formula.readable.whole):
        if isinstance(node, ast.BinOp) and isinstance(node.right, ast.Constant):
            number = float(node.right.value)  # type: ignore[arg-type]
            if isinstance(node.op, ast.Div):
                return number
            if isinstance(node.op, ast.Mult) and op.name == "mul" and 0 < number < 1:
                return 1 / number
    if op.name in ("div", "mul") and isinstance(edge.formula.whole, ast.Constant):
        number = float(edge.formula.whole.value)  # type: ignore[arg-type]
        return 1 / number if 0 < number < 1 else None
    return None


def is_mean(edge: Edge, count: float) -> bool:
    """Whether a division is that of a mean: the operation is one, or what it divides is a sum of so many numbers."""
    target, op = edge.target, edge.source.op
    assert target.op is not None
    assert target.tensor is not None
    if target.op.name in ("reduce_mean", "variance") or target.tensor.params.get("reduction") == "mean":
        return True
    if op is None or op.name != "reduce_sum":
        return False
    numbers = edge.source.inputs[0].source.value.size / max(edge.source.value.size, 1)
    return target.op.name == "div" or bool(np.isclose(count, numbers))


def shown(node: Node) -> str:
    """An operation as it is printed, and where it stands in the user's code."""
    text = f"{node.name} = {node.formula.readable.text}" if node.formula is not None else node.name
    if (len(text) > 64 or "HERE" in text) and node.tensor is not None and node.op is not None:
        text = f"{node.name} = {node.op.name}({', '.join(edge.source.name for edge in node.inputs)})"
    layer = type(node.modules[-1][0]).__name__ if node.modules else None
    places = [x for x in (layer, node.place.short if node.place is not None else None) if x]
    return f"{text} ({', '.join(places)})" if places else text


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
    program = Program([], values, {**closed.globals, **closed.nonlocals}, right, data={*values})
    lines = _lines(function, old)
    try:
        with np.errstate(all="ignore"):
            computed = dict(values)
            for line in lines:
                computed[line.name] = program.run(line.code, computed)
            same = all(np.allclose(computed[name], x, equal_nan=True) for name, x in right.items())
    except Exception:  # what a line of somebody's calls may raise anything
        same = False
    if not same:
        return Program([Line(name, name, []) for name in right], {**values, **right}, {}, right)
    program.values, program.lines, program.forward = computed, lines, lines
    return program


def _lines(function: Callable[..., Any], names: dict[str, str]) -> list[Line]:
    """The assignments of a function, each to a name of its own; [] if there is anything else in it.

    names: what its arguments are called.
    """
    try:
        (body,) = (node.body for node in ast.parse(textwrap.dedent(inspect.getsource(function))).body)  # type: ignore[attr-defined]
        assigned = list(_assigned(body))
    except (OSError, TypeError, SyntaxError, ValueError, AttributeError):
        return []
    count = [name for name, _ in assigned]
    taken, current, lines = {*names.values()}, dict(names), []
    for k, (name, tree) in enumerate(assigned):
        last = name not in count[k + 1 :] and name not in taken
        own = name if last else f"{name}_{count[:k].count(name) + 1}"
        tree = renamed(tree, current)
        if not (isinstance(tree, ast.Name) and tree.id == own):
            lines.append(Line(own, own, [Term(tree, f"{own} = {ast.unparse(tree)}")]))
        current[name] = own
    return lines


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """(name, expression) of each assignment, and of what is returned. ValueError for other statements."""
    for statement in body:
        match statement:
            case ast.Expr(ast.Constant(str())):
                pass
            case ast.Assign([ast.Name(name)], value):
                yield name, value
            case ast.Assign([ast.Tuple(targets)], value):
                for i, target in enumerate(targets):
                    assert isinstance(target, ast.Name)
                    part = value.elts[i] if isinstance(value, ast.Tuple) else ast.Subscript(value, ast.Constant(i))
                    yield target.id, part
            case ast.AugAssign(ast.Name(name), op, value):
                yield name, ast.BinOp(ast.Name(name, ast.Load()), op, value)
            case ast.Return(ast.Dict(keys, returned)):
                for key, value in zip(keys, returned, strict=True):
                    if not (isinstance(value, ast.Name) and value.id == ast.literal_eval(key or value)):
                        yield ast.literal_eval(key or value), value
            case _:
                raise ValueError(f"{ast.unparse(statement)} is no assignment")
