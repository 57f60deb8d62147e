"""An optimizer's update of the parameters of a graph as a program: the last phase of a step of training."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.graph.nodes import Graph, Node
from tinygrad_ce.optim import SGD, Optimizer
from tinygrad_ce.program import Program, TraceError, Value
from tinygrad_ce.program.slices import update_alone
from tinygrad_ce.report.words import listed
from tinygrad_ce.views.pages import packed
from tinygrad_ce.views.step.numbers import renamed

ASKED = "tg.step_through"
RATE = 0.1  # where nobody has said which
MANY = 1000  # of a schedule, so many coming rates are on the page


@dataclass(frozen=True)
class Update:
    """What an optimizer does with the gradients of a graph.

    nodes: the parameters that it changes. program: its update. optimizer: what it is called.
    """

    nodes: list[Node]
    program: Program
    optimizer: str

    def javascript(self) -> str:
        """The module: in its `state`, of parameter 3 `p3`, its gradient `g3`; what the optimizer keeps, `m0`, `m1`."""
        names = {x: f"p{k}" for k, x in enumerate(self.parameters)}
        names |= {self.by_name[f"d_{node.name}"]: f"g{k}" for k, node in enumerate(self.nodes)}
        names |= {x: f"m{k}" for k, x in enumerate(self.memory)}
        with renamed(self.program, names):
            return str(self.program.javascript)

    @cached_property
    def by_name(self) -> dict[str, Value]:
        """What the update starts from, by its name."""
        return {x.name: x for x in self.program.inputs}

    @property
    def parameters(self) -> list[Value]:
        """The values of the parameters in the program."""
        return [self.by_name[node.name] for node in self.nodes]

    @property
    def memory(self) -> list[Value]:
        """What the optimizer keeps from step to step."""
        return [old for old, new in self.program.updates.items() if old is not new and old not in self.parameters]

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the printed update, and the function that they call, if each is not written out."""
        text = self.program.source.rstrip().split("\n")
        starts = [n for n, line in enumerate(text) if line.startswith("def ")]
        update = [line.removeprefix("    ") for line in text[text.index("    # update") : -1]]
        return [*update, "", *text[starts[0] : starts[-1]]]

    def place_of(self, node: Node) -> int:
        """Where in `lines` a parameter gets its new value."""
        return next(n for n, line in enumerate(self.lines) if re.match(rf"{node.name}\b.* = ", line))

    def described(self) -> dict[str, Any]:
        """What the page knows of it, but the module that computes it; plain: whether it is gradient descent."""
        memory, parameters, plain = self.memory, [], []
        for node in self.nodes:
            text = self.lines[self.place_of(node)].split("#")[0].strip()
            own = [k for k, x in enumerate(memory) if x.name.endswith(f"_{node.name}")]
            parameters.append({"node": node.number, "text": text, "memory": own})
            plain.append(not own and text == f"{node.name} = {node.name} - lr * d_{node.name}")
        return {
            "optimizer": self.optimizer,
            "parameters": parameters,
            "memory": [{"label": x.name, **packed(x.variable.data)} for x in memory],
            "numbers": {name: _coming(read(MANY)) for name, read in self.program.numbers.items()},
            "plain": all(plain),
        }


def update_of(graph: Graph, optimizer: Optimizer | None) -> Update:
    """The update of the parameters of a graph; plain SGD if there is no optimizer.

    Raises TypeError for what is no optimizer, ValueError if it has none of the parameters, TraceError and CannotLower
    for an update that is no program.
    """
    leaves = [node for node in graph.nodes if node.kind == "parameter" and node.gradient is not None]
    tensors = {node.name: node.tensor for node in leaves if node.tensor is not None}
    if optimizer is None:
        optimizer = SGD(tensors.values(), lr=RATE)
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"{ASKED}: optimizer={optimizer!r} is no optimizer: pass one, as in "
            "tg.optim.SGD(model.parameters(), lr=0.1)"
        )
    mine = {id(x) for x in optimizer.parameters}
    trained = {name: x for name, x in tensors.items() if id(x) in mine}
    if not trained:
        raise ValueError(
            f"{ASKED}: the optimizer has none of the parameters of this loss ({listed([*tensors])}): make it "
            "from model.parameters() of the model that computed the loss"
        )
    program = update_alone(optimizer, trained)
    for old, new in program.updates.items():
        new.name = old.name  # what becomes of W is called W again
    read = {x.name for x in program.inputs}
    nodes = [node for node in leaves if f"d_{node.name}" in read]
    if not nodes:
        raise TraceError(f"the step() of {type(optimizer).__name__} changes no parameter that {ASKED} sees")
    return Update(nodes, program, type(optimizer).__name__)


def _coming(numbers: Array) -> dict[str, Any]:
    """Coming numbers, by the first and the difference if there is only one."""
    first, by = float(numbers[0]), float(numbers[1] - numbers[0])
    regular = (numbers == first + by * np.arange(len(numbers))).all()
    return {"first": first, "by": by} if regular else {"values": numbers.tolist()}
