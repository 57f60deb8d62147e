"""The recorded graph of a loss, read once for all views: nodes, edges, their numbers, and their rules as formulas.

The names are those of the printed program, and the formulas are its expressions: text, picture and program cannot
disagree, because there is one source for all.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_ce.backward import walk
from tinygrad_ce.core import Array, Primitive, Tensor, interpreter
from tinygrad_ce.errors import writing_line
from tinygrad_ce.graph import reachable
from tinygrad_ce.kernels.attach import set_aside
from tinygrad_ce.program import source
from tinygrad_ce.program.ir import Instruction, Value
from tinygrad_ce.program.numpy_text import expression_of, textbook_form, textbook_rule
from tinygrad_ce.program.record import as_computed, record
from tinygrad_ce.program.textbook import FUNCTIONS
from tinygrad_ce.source_lines import CallSite, Line, calls_around, line_of
from tinygrad_ce.views.formula import Formula


@dataclass(eq=False)
class Node:
    """An array of the graph: data that went in, a parameter, or the result of an operation.

    name: in the printed program (`W0`, `z1`). label: the user's name for it, or its number (`layers.0.W`, `#17`).
    kind: "data", "parameter" or "result". gradient: None where none flows. place: the line of the user's code that
    made it. modules: the calls of modules that it was made in, the outermost first.
    """

    name: str
    label: str
    kind: str
    value: Array
    tensor: Tensor | None
    gradient: Array | None = None
    op: Primitive | None = None
    inputs: list[Edge] = field(default_factory=list)
    uses: list[Edge] = field(default_factory=list)
    place: Line | None = None
    modules: list[CallSite] = field(default_factory=list)
    instruction: Instruction | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @cached_property
    def formula(self) -> Formula | None:
        """How it is computed from its inputs; None for what went in."""
        return None if self.instruction is None else _formula(self.instruction.result, [self.instruction])

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name} {self.shape}>"


@dataclass(eq=False)
class Edge:
    """One use of a node by an operation.

    argument: what the operation calls it. share: what comes back along this edge in the backward pass; None where no
    gradient flows. The gradient of a node is the sum of the shares of its uses.
    """

    source: Node
    target: Node
    position: int
    argument: str
    share: Array | None = None
    rule: tuple[list[Instruction], Value] | None = None
    upstream: Value | None = None

    @cached_property
    def formula(self) -> Formula | None:
        """The rule of this edge, written with the names of the program; None where no gradient flows."""
        if self.rule is None:
            return None
        op, instruction, g = self.target.op, self.target.instruction, self.upstream
        assert op is not None
        assert instruction is not None
        assert g is not None
        form = textbook_rule(op, instruction.params, g, instruction.result)
        return _formula(self.rule[1], self.rule[0], form, (g, instruction.result))

    @cached_property
    def local(self) -> Array | None:
        """The local derivative, where the share is upstream times it, number by number; else None."""
        upstream = self.target.gradient
        if self.share is None or upstream is None:
            return None
        local = self.pulled(np.ones_like(upstream))
        # Whether this is so is asked of the rule with other numbers: a gradient of zeros would tell nothing.
        other = np.linspace(0.5, 1.5, upstream.size).astype(upstream.dtype).reshape(upstream.shape)
        with np.errstate(all="ignore"):
            try:
                product = other * local
            except ValueError:
                return None
        if product.shape != self.share.shape or not np.allclose(product, self.pulled(other), 1e-5, 0, equal_nan=True):
            return None
        return local

    def pulled(self, upstream: Array) -> Array:
        """What would come back along this edge for another upstream gradient: the engine's own rule is asked."""
        target, source = self.target.tensor, self.source.tensor
        assert target is not None
        assert source is not None
        shares: dict[int, Any] = {}
        both = {target.serial: target, source.serial: source}
        with as_computed([target]), undisturbed([target]), np.errstate(all="ignore"):
            for _ in walk(target, upstream, both, on_share=lambda _, position, g: shares.update({position: g})):
                pass
        return np.asarray(shares[self.position])


class Graph:
    """The graph of a loss, with the gradients of one backward pass.

    nodes: the oldest first. lines: the printed program. Raises TypeError and ValueError for what has no history.
    """

    def __init__(self, loss: Tensor, asked: str) -> None:
        check_readable(loss, asked)
        graph = reachable(loss)
        with undisturbed(graph.values()), np.errstate(all="ignore"):
            self.recorded = record(loss)
            self._take_the_engines_numbers(loss, graph)
        self.nodes: list[Node] = []
        self._by_value: dict[int, Node] = {}
        self._by_tensor: dict[int, Node] = {}
        made = {id(i.result): i for i in self.recorded.program.instructions if i.section == "forward"}
        for number in sorted(graph):
            tensor = graph[number]
            if tensor.op is not None:
                self._read(tensor, made)
        self.loss = self._by_tensor[loss.serial]
        names = {node.name for node in self.nodes}
        assert len(names) == len(self.nodes)

    def _take_the_engines_numbers(self, loss: Tensor, graph: dict[int, Tensor]) -> None:
        """Gradients as `backward()` computes them, to the last bit: while a program is written, sums may be taken
        in another order."""

        def on_share(tensor: Tensor, position: int, share: Any) -> None:
            self.recorded.shares[tensor.serial, position][1].example = np.array(share)

        with as_computed(graph.values()):
            for tensor, g in walk(loss, np.ones_like(loss.data), graph, on_share=on_share):
                self.recorded.gradients[tensor.serial].example = np.asarray(g)

    def _read(self, tensor: Tensor, made: dict[int, Instruction]) -> None:
        """Add the nodes of an operation: of its inputs that are not there yet, and of its result."""
        assert tensor.op is not None
        instruction = made[id(self.recorded.values[id(tensor)])]
        inputs = [
            (position, self._input(x, value))
            for position, (x, value) in enumerate(zip(tensor.inputs, instruction.inputs, strict=True))
            if isinstance(value, Value)
        ]
        node = self._add(instruction.result, tensor, "result")
        node.op, node.instruction = tensor.op, instruction
        if tensor.note is not None:
            node.place, node.modules = line_of(tensor.note), calls_around(tensor.note)
        for position, given in inputs:
            rule = self.recorded.shares.get((tensor.serial, position))
            share = None if rule is None else rule[1].example
            upstream = self.recorded.gradients.get(tensor.serial)
            edge = Edge(given, node, position, tensor.op.argument(position), share, rule, upstream)
            node.inputs.append(edge)
            given.uses.append(edge)

    def _input(self, x: Any, value: Value) -> Node:
        known = self._by_value.get(id(value))
        if known is not None:
            if isinstance(x, Tensor):
                self._by_tensor.setdefault(x.serial, known)
            return known
        tensor = x if isinstance(x, Tensor) else None
        return self._add(value, tensor, "parameter" if tensor is not None and tensor.requires_grad else "data")

    def _add(self, value: Value, tensor: Tensor | None, kind: str) -> Node:
        gradient = self.recorded.gradients.get(tensor.serial) if tensor is not None else None
        label = tensor.label if tensor is not None else f"array {value.shape}"
        node = Node(value.name, label, kind, value.example, tensor, None if gradient is None else gradient.example)
        self.nodes.append(node)
        self._by_value[id(value)] = node
        if tensor is not None:
            self._by_tensor[tensor.serial] = node
        return node

    @property
    def edges(self) -> list[Edge]:
        """All uses, in the order of the operations."""
        return [edge for node in self.nodes for edge in node.inputs]

    @cached_property
    def changed(self) -> list[Node]:
        """What was given to operations and was written to afterwards: the values do not belong together any more."""
        tensors = [node.tensor for node in self.nodes if node.tensor is not None]
        return [node for x in written_to(tensors) if (node := self.of(x)) is not None]

    def of(self, tensor: Tensor) -> Node | None:
        """The node of a tensor; None if it is not in this graph."""
        return self._by_tensor.get(tensor.serial)

    @cached_property
    def source(self) -> list[str]:
        """The lines of the printed program, from `def step` on; what it calls stands above and is left out."""
        assert self.loss.tensor is not None
        with undisturbed(reachable(self.loss.tensor).values()), np.errstate(all="ignore"):
            text = source(self.loss.tensor)
        return text[text.index("def step(") :].splitlines()

    def line(self, name: str) -> int | None:
        """Where in `source` a name gets its value."""
        return next((n for n, line in enumerate(self.source) if line.lstrip().startswith(f"{name} = ")), None)


def check_readable(loss: Any, asked: str, single: bool = True) -> None:
    """Raise if a view cannot be made of this; asked: how the user called the view; single: it needs a single number."""
    if not isinstance(loss, Tensor):
        raise TypeError(f"{asked}: a loss is a Tensor that was computed from others, and this is {type(loss).__name__}")
    check_not_traced(loss, asked)
    if loss.op is None or not loss.requires_grad:
        made = "was made by you" if loss.op is None and loss.requires_grad else "depends on nothing with a gradient"
        raise ValueError(
            f"{asked}: {loss.label} has no history: it {made}. Compute a loss from tensors with requires_grad=True, "
            "outside of no_grad(), and pass that"
        )
    if single and loss.size != 1:
        raise ValueError(
            f"{asked}: a loss is a single number, and {loss.label} has shape {loss.shape}: reduce it with .mean() or "
            ".sum()"
        )


@contextmanager
def undisturbed(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Inside, a walk asks plain rules, leaves what kernels have computed, and does not mind writes to variables."""
    tensors = list(tensors)
    cells = {id(x.writes): x.writes for t in tensors for x in t.inputs if isinstance(x, Tensor) and x.writes}
    versions = [(cell, cell[0]) for cell in cells.values()]
    with set_aside(tensors):
        for cell, _ in versions:
            cell[0] = 0
        try:
            yield
        finally:
            for cell, version in versions:
                cell[0] = version


def check_not_traced(tensor: Tensor, asked: str) -> None:
    """Raise RuntimeError inside of a step that is being traced, where a tensor has no numbers that could be shown."""
    try:
        interpreter.get().numbers(tensor, f"{asked} needs")
    except RuntimeError as error:
        raise RuntimeError(
            f"{asked}: this step is being traced, and a traced step has no numbers of its own: call {asked} on a loss "
            "that you compute outside of trace, compile and fit"
        ) from error


def written_to(graph: Iterable[Tensor]) -> list[Tensor]:
    """The leaves whose arrays were written to after operations had used them: numbers from before and after are mixed.

    Operations are run again, and those with another result tell.
    """
    changed: dict[int, Tensor] = {}
    for tensor in graph:
        leaves = [x for x in tensor.inputs if isinstance(x, Tensor) and x.op is None]
        leaves = [leaf for leaf in leaves if leaf.requires_grad] or leaves
        if not leaves and any(isinstance(x, np.ndarray) for x in tensor.inputs):
            leaves = [tensor]  # whoever made it of an array
        if tensor.op is None or not leaves:
            continue
        with np.errstate(all="ignore"):
            again = np.asarray(tensor.op.run(*tensor.arrays, **tensor.params))
            size = np.abs(tensor.data[np.isfinite(tensor.data)]).max(initial=0)
            rounding = float(np.finfo(tensor.dtype).eps) * 1e4
        if not np.allclose(again, tensor.data, rtol=0, atol=rounding * size, equal_nan=True):
            changed |= {leaf.serial: leaf for leaf in leaves}
    return list(changed.values())


def check_unchanged(loss: Tensor, asked: str) -> None:
    """Raise ValueError if a parameter was written to after the loss was computed: its numbers would be false."""
    changed = written_to(reachable(loss).values())
    if changed:
        names = ", ".join(x.label for x in changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
        where = next((words for x in changed if (words := writing_line(x))), " (optimizer.step()?)")
        raise ValueError(
            f"{asked}: {names} {'was' if len(changed) == 1 else 'were'} written to after the loss was computed{where}, "
            f"so that its numbers are no longer those of one pass: call {asked} before the step, or compute the loss "
            "again"
        )


def _formula(
    value: Value, instructions: list[Instruction], form: ast.expr | None = None, read: tuple[Value, ...] = ()
) -> Formula:
    """A value as an expression; in textbook form where there is one that gives the same numbers.

    form: the textbook form, if it is not that of the last instruction; read: the values that it is made of.
    """
    whole, functions = expression_of(value, instructions)
    arrays = {x.name: x.example for i in instructions for x in i.inputs if isinstance(x, Value)}
    arrays |= {value.name: value.example, **{i.result.name: i.result.example for i in instructions}}
    arrays |= {x.name: x.example for x in read}
    formula = Formula(whole, dict(arrays), functions)
    making = next((i for i in instructions if i.result is value), None)
    if making is None:
        return formula
    form = form or textbook_form(making.op, making.params, making.inputs)
    if form is not None:
        other = Formula(form, dict(arrays), {**functions, **FUNCTIONS})
        if other.value.shape == value.shape and np.allclose(other.value, value.example, 1e-4, 1e-6, equal_nan=True):
            formula.textbook = other
    return formula
