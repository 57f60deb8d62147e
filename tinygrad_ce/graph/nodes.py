"""The recorded graph of a loss, read once for all views: nodes, edges, their numbers, and their rules as formulas.

The names are those of the printed program, and the formulas are its expressions: text, picture and program cannot
disagree, because there is one source for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_ce.ancestry import reachable
from tinygrad_ce.backward import fitted, walk
from tinygrad_ce.core import Array, Primitive, Tensor
from tinygrad_ce.graph.checks import check_readable, undisturbed, written_to
from tinygrad_ce.graph.formula import Formula, formula_of
from tinygrad_ce.program import source
from tinygrad_ce.program.ir import Instruction, Value
from tinygrad_ce.program.names import Names
from tinygrad_ce.program.numpy_text import textbook_rule
from tinygrad_ce.program.record import as_computed, record
from tinygrad_ce.source_lines import CallSite, Line, calls_around, line_of


@dataclass(eq=False)
class Node:
    """An array of the graph: data that went in, a parameter, or the result of an operation.

    number: its place among the nodes of the graph. name: in the printed program (`W0`, `z1`). label: the user's name
    for it, or its number there (`layers.0.W`, `#17`).
    kind: "data", "parameter" or "result". instruction: how the program computes it; None for what went in.
    derivative: the value that is its gradient in the program; None where none flows.
    """

    number: int
    name: str
    label: str
    kind: str
    value: Array
    tensor: Tensor | None
    derivative: Value | None = None
    instruction: Instruction | None = None
    inputs: list[Edge] = field(default_factory=list)
    uses: list[Edge] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    @property
    def op(self) -> Primitive | None:
        """The operation that it is the result of."""
        return None if self.instruction is None else self.instruction.op

    @property
    def gradient(self) -> Array | None:
        """The gradient of the loss with respect to it; None where none flows."""
        return None if self.derivative is None else self.derivative.example

    @cached_property
    def place(self) -> Line | None:
        """The line of the user's code that computed it; None for what went in."""
        return None if self.op is None or self.tensor is None else line_of(self.tensor.note)

    @cached_property
    def modules(self) -> list[CallSite]:
        """The calls of modules inside which it was computed, the outermost first."""
        return [] if self.op is None or self.tensor is None else calls_around(self.tensor.note)

    @property
    def backward_uses(self) -> list[Edge]:
        """The uses along which something comes back: the sum of their shares is the gradient."""
        return [edge for edge in self.uses if edge.share is not None]

    @cached_property
    def formula(self) -> Formula | None:
        """The expression that computes it from its inputs; None for what went in."""
        return None if self.instruction is None else formula_of(self.instruction.result, [self.instruction])

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name} {self.shape}>"


@dataclass(eq=False)
class Edge:
    """One use of a node by an operation.

    number: its place among the edges of the graph. argument: what the operation calls it. share: what comes back along
    this edge in the backward pass; None where no gradient flows. The gradient of a node is the sum of the shares of its
    uses. rule: the instructions that compute the share, and its value.
    """

    number: int
    source: Node
    target: Node
    position: int
    argument: str
    rule: tuple[list[Instruction], Value] | None

    @property
    def share(self) -> Array | None:
        return None if self.rule is None else self.rule[1].example

    @cached_property
    def formula(self) -> Formula | None:
        """The rule of this edge, written with the names of the program; None where no gradient flows."""
        if self.rule is None:
            return None
        instructions, share = self.rule
        forward, g = self.target.instruction, self.target.derivative
        assert forward is not None
        assert g is not None
        form = textbook_rule(forward.op, forward.params, g, forward.result)
        return formula_of(share, instructions, form, (g, forward.result))

    @cached_property
    def local(self) -> Array | None:
        """The local derivative, where the share is upstream times it, number by number; else None."""
        upstream = self.target.gradient
        if self.share is None or upstream is None:
            return None
        local: Array = self.pulled(np.ones_like(upstream))
        # The rule is asked with other numbers, too: with an upstream of zeros every rule would look like a product.
        other = np.linspace(0.5, 1.5, upstream.size).astype(upstream.dtype).reshape(upstream.shape)
        share = self.pulled(other)
        with np.errstate(all="ignore"), suppress(ValueError):  # shapes that do not broadcast
            product = other * local
            if product.shape == share.shape and np.allclose(product, share, 1e-5, 0, equal_nan=True):
                return local
        return None

    def pulled(self, upstream: Any) -> Any:
        """The share for another upstream gradient, by the engine's own rule; of a Tensor, one with a history."""
        tensor = self.target.tensor
        assert tensor is not None
        assert tensor.op is not None
        with as_computed([tensor]), np.errstate(all="ignore"):
            out, values = (tensor, tensor.inputs) if isinstance(upstream, Tensor) else (tensor.data, tensor.arrays)
            share = tensor.op.rule(self.position)(upstream, out, *values, **tensor.params)
            return fitted(share, upstream, tensor, self.position)


class Graph:
    """The graph of a loss, with the gradients of one backward pass.

    nodes: the oldest first. edges: all uses, in the order of the operations. recorded: the program, and which of its
    values stand for what. view: the call that the user wrote, for messages. arrays: what arrays that are no Tensors are
    called, labels for example. Raises TypeError and ValueError for what has no history.

    >>> x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> graph = Graph((x * x).sum(), "tg.explain")
    >>> graph.nodes, graph.node_of(x).gradient
    ([<parameter x (2,)>, <result t1 (2,)>, <result loss ()>], array([2., 4.]))
    """

    def __init__(self, loss: Tensor, view: str, arrays: Mapping[str, Array] | None = None) -> None:
        check_readable(loss, view)
        self._tensors = dict(sorted(reachable(loss).items()))  # the oldest first
        with undisturbed(self._tensors.values()), np.errstate(all="ignore"):
            self.recorded = record(loss, arrays)
            self._take_gradients_of_the_engine(loss)
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self._by_value: dict[Value, Node] = {}
        self._by_tensor: dict[int, Node] = {}
        forward = (i for i in self.recorded.program.instructions if i.section == "forward")
        results = (x for x in self._tensors.values() if x.op is not None)
        for tensor, instruction in zip(results, forward, strict=True):
            self._read(tensor, instruction)
        self.loss = self._by_tensor[loss.serial]

    def _take_gradients_of_the_engine(self, loss: Tensor) -> None:
        """Keep gradients as `backward()` computes them: the recorded rules may sum in another order."""

        def on_share(tensor: Tensor, position: int, share: Any) -> None:
            self.recorded.shares[tensor.serial, position][1].example = np.array(share)

        with as_computed(self._tensors.values()):
            for tensor, g in walk(loss, np.ones_like(loss.data), self._tensors, on_share=on_share):
                self.recorded.gradients[tensor.serial].example = np.asarray(g)

    def _read(self, tensor: Tensor, instruction: Instruction) -> None:
        """Add the nodes of an operation, of its inputs that are not there yet and of its result, and its edges."""
        pairs = enumerate(zip(tensor.inputs, instruction.inputs, strict=True))
        sources = {position: self._node(x, value) for position, (x, value) in pairs if isinstance(value, Value)}
        target = self._node(tensor, instruction.result, instruction)
        for position, node in sources.items():
            rule = self.recorded.shares.get((tensor.serial, position))
            edge = Edge(len(self.edges), node, target, position, instruction.op.argument(position), rule)
            for edges in (self.edges, target.inputs, node.uses):
                edges.append(edge)

    def _node(self, x: Any, value: Value, instruction: Instruction | None = None) -> Node:
        """The node of a value, which is a new one if it has not been read before. x: the tensor or array."""
        tensor = x if isinstance(x, Tensor) else None
        if value not in self._by_value:
            label = f"array {value.shape}" if tensor is None else tensor.label
            leaf = "parameter" if tensor is not None and tensor.requires_grad else "data"
            kind = leaf if instruction is None else "result"
            derivative = None if tensor is None else self.recorded.gradients.get(tensor.serial)
            node = Node(len(self.nodes), value.name, label, kind, value.example, tensor, derivative, instruction)
            self._by_value[value] = node
            self.nodes.append(node)
        if tensor is not None:
            self._by_tensor.setdefault(tensor.serial, self._by_value[value])
        return self._by_value[value]

    @cached_property
    def changed(self) -> list[Node]:
        """The inputs that were written to after operations had used them: the numbers no longer belong together."""
        return [self._by_tensor[x.serial] for x in written_to(self._tensors.values())]

    @cached_property
    def gradient_names(self) -> dict[Node, str]:
        """What the gradient of each node is called: `d_z1`. A result stands before the parameters that it used first.

        Each stands after all that it depends on. Where a tensor has that name, it gets a number behind it.
        """
        results = [node for node in reversed(self.nodes) if node.kind == "result" and node.gradient is not None]
        leaves = [node for node in self.nodes if node.kind == "parameter" and node.gradient is not None]
        in_order = (x for node in results for x in (node, *(leaf for leaf in leaves if leaf.uses[0].target is node)))
        names = Names(*(node.name for node in self.nodes))
        return {node: names.free(f"d_{node.name}") for node in in_order}

    def node_of(self, tensor: Tensor) -> Node | None:
        """The node of a tensor; None if it is not in this graph."""
        return self._by_tensor.get(tensor.serial)

    @cached_property
    def source(self) -> list[str]:
        """The lines of the printed program, from `def step` on; what it calls stands above and is left out."""
        assert self.loss.tensor is not None
        with undisturbed(self._tensors.values()), np.errstate(all="ignore"):
            text = source(self.loss.tensor)
        return text[text.index("def step(") :].splitlines()

    @cached_property
    def line_numbers(self) -> dict[str, int]:
        """By name, the first line of `source` that gives it a value."""
        lines = [(line.lstrip().partition(" = ")[0], n) for n, line in enumerate(self.source) if " = " in line]
        return dict(reversed(lines))
