"""An optimizer's update of the parameters of a graph as a program: the last phase of a step of training."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.nodes import Graph, Node
from tinygrad_ce.optim import SGD, Optimizer
from tinygrad_ce.program import Program, Value, trace
from tinygrad_ce.program.ir import Function
from tinygrad_ce.views.pages import packed
from tinygrad_ce.views.step.numbers import renamed

RATE = 0.1  # where nobody has said which
MANY = 1000  # of a schedule, so many coming ones are on the page


@dataclass(frozen=True)
class Update:
    """What an optimizer does with the gradients of a graph.

    nodes: the parameters that it changes. program: its update, whose inputs are their gradients.
    lines: those of the printed update; rule: the function that they call, if there is one.
    """

    nodes: list[Node]
    program: Program
    optimizer: str
    lines: list[str]
    rule: list[str]

    def javascript(self) -> str:
        """The module: of parameter 3 `p3`, its gradient `g3`; what the optimizer keeps is `m0`, `m1`."""
        names = {x: f"g{k}" for k, x in enumerate(self.program.arguments)}
        names |= {x: f"p{k}" for k, x in enumerate(self.parameters)}
        names |= {x: f"m{k}" for k, x in enumerate(self.memory)}
        with renamed(self.program, names):
            return str(Program.of(self.program).javascript)

    @property
    def parameters(self) -> list[Value]:
        """The values of the parameters in the program."""
        by_tensor = {id(old.variable): old for old in self.program.updates}
        return [by_tensor[id(node.tensor)] for node in self.nodes]

    @property
    def memory(self) -> list[Value]:
        """What the optimizer keeps from step to step."""
        return [old for old in self.program.updates if old not in self.parameters]

    def described(self, number_of: dict[Node, int]) -> dict[str, Any]:
        """What the page knows of it, but the module that computes it."""
        memory = self.memory
        parameters = []
        for node in self.nodes:
            mine = [(k, x) for k, x in enumerate(memory) if x.name.endswith(f"_{node.name}")]
            kept = [{"label": x.name, "at": k, "shape": x.shape} for k, x in mine]
            parameters.append({"node": number_of[node], "name": node.name, "memory": kept})
        return {
            "optimizer": self.optimizer,
            "parameters": parameters,
            "memory": [packed(x.variable.data) for x in memory],
            "numbers": {name: _coming(read(MANY)) for name, read in self.program.numbers.items()},
            "plain": self.is_plain,
            "texts": [self.text(node) for node in self.nodes],
        }

    @property
    def is_plain(self) -> bool:
        """Whether each parameter only loses the learning rate times its gradient."""
        return not self.memory and all(self.text(node) == plain(node) for node in self.nodes)

    def text(self, node: Node) -> str:
        """The line of the printed update of a parameter."""
        return next((x for x in map(_code, self.lines) if re.match(rf"{node.name}\b", x)), plain(node))

    def line(self, node: Node) -> int | None:
        """Where in `lines` it stands."""
        return next((n for n, x in enumerate(self.lines) if re.match(rf"{node.name}\b", _code(x))), None)


def plain(node: Node) -> str:
    """The update of gradient descent, as it is printed."""
    return f"{node.name} = {node.name} - lr * d_{node.name}"


def _code(line: str) -> str:
    return line.split("#")[0].strip()


def update_of(graph: Graph, optimizer: Optimizer | None, view: str) -> Update:
    """The update of the parameters of a graph; plain SGD if there is no optimizer.

    Raises TypeError for what is no optimizer, ValueError if it has none of the parameters, TraceError and CannotLower
    for an update that is no program.
    """
    leaves = [node for node in graph.nodes if node.kind == "parameter" and node.gradient is not None]
    if optimizer is None:
        optimizer = SGD([_tensor(node) for node in leaves], lr=RATE)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"{view}: optimizer={optimizer!r} is no optimizer: pass one, as in tg.optim.SGD(model.parameters(), lr=0.1)"
        )
    mine = {id(x) for x in optimizer.parameters}
    nodes = [node for node in leaves if id(node.tensor) in mine]
    if not nodes:
        names = ", ".join(node.name for node in leaves[:4])
        raise ValueError(
            f"{view}: the optimizer has none of the parameters of this loss ({names}): make it from "
            "model.parameters() of the model that computed the loss"
        )
    with _named_as(nodes), _gradients_kept(optimizer.parameters):
        program = trace(_step(nodes, optimizer), *(np.array(node.gradient) for node in nodes), models=[])
        text = program.source.split("\n")
    start, end = text.index("    # update"), len(text) - 1
    while not text[end].startswith("    return"):
        end -= 1
    first = next((n for n, line in enumerate(text) if line.startswith("def ") and not line.startswith("def step(")), 0)
    rule = text[first : text.index(next(line for line in text if line.startswith("def step(")))] if first else []
    only_update = Program.of(Function(**{**_fields(program), "outputs": {}}))
    return Update(nodes, only_update, type(optimizer).__name__, text[start:end], rule)


def _step(nodes: list[Node], optimizer: Optimizer) -> Any:
    """A step whose gradients are its arguments: the derivative of sum(W * g) by W is g, to the last bit."""

    def step(*gradients: Array) -> Tensor:
        optimizer.zero_grad()
        total = sum(((_tensor(node) * g).sum() for node, g in zip(nodes, gradients, strict=True)), Tensor(0.0))
        total.backward()
        optimizer.step()
        return total

    kind = Parameter.POSITIONAL_OR_KEYWORD
    step.__signature__ = Signature([Parameter(f"of_{node.name}", kind) for node in nodes])  # type: ignore[attr-defined]
    return step


def _tensor(node: Node) -> Tensor:
    assert node.tensor is not None
    return node.tensor


def _fields(program: Program) -> dict[str, Any]:
    return {name: getattr(program, name) for name in Function.__dataclass_fields__}


def _coming(numbers: Array) -> dict[str, Any]:
    """Coming numbers, by the first and the difference if there is only one."""
    first, by = float(numbers[0]), float(numbers[1] - numbers[0])
    regular = (numbers == first + by * np.arange(len(numbers))).all()
    return {"first": first, "by": by} if regular else {"values": numbers.tolist()}


@contextmanager
def _named_as(nodes: list[Node]) -> Iterator[None]:
    """Temporarily call the tensors what the graph's program calls them."""
    before = [(_tensor(node), _tensor(node).name) for node in nodes]
    try:
        for node in nodes:
            _tensor(node).name = node.name
        yield
    finally:
        for tensor, name in before:
            tensor.name = name


@contextmanager
def _gradients_kept(tensors: list[Tensor]) -> Iterator[None]:
    """Put gradients aside, which tracing would clear."""
    before = [(tensor, tensor.grad) for tensor in tensors]
    try:
        for tensor, _ in before:
            tensor.grad = None
        yield
    finally:
        for tensor, grad in before:
            tensor.grad = grad
