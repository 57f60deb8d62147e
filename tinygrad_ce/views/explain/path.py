"""One way from a number of a tensor to the loss: at each step one number of one result, upstream times local."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygrad_ce.graph.nodes import Edge, Node
from tinygrad_ce.report.parts import Heading, Part, Report, Sentence, Table
from tinygrad_ce.report.words import format_number
from tinygrad_ce.views.explain.arguments import largest_cell
from tinygrad_ce.views.explain.rows import sizes, slopes
from tinygrad_ce.views.explain.table import first_and_last, name_at

MOST_STEPS = 24  # rows of the table


@dataclass(frozen=True, eq=False)
class Step:
    """From one number of a tensor to one of a result. upstream: what comes back to that; local: its slope by this."""

    edge: Edge
    cell: tuple[int, ...]
    next_cell: tuple[int, ...]
    upstream: float
    local: float


class Path(Report):
    """The steps from a number to the loss; the product of their slopes is one term of its gradient."""

    def __init__(self, node: Node, cell: tuple[int, ...], use: Edge | None) -> None:
        assert node.gradient is not None
        self.steps: list[Step] = []
        self._asked = use is not None
        self._name, self._gradient = name_at(node, cell), node.gradient[cell]
        while node.backward_uses:
            edge = use or max(node.backward_uses, key=lambda use: sizes(use.share)[cell])
            self.steps.append(_step(edge, cell))
            node, cell, use = edge.target, self.steps[-1].next_cell, None

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors on the way, the loss last."""
        return (*(step.edge.source.name for step in self.steps), self.steps[-1].edge.target.name)

    @property
    def product(self) -> float:
        """Of all local slopes: how much the loss grows with the number, if it went this way alone."""
        return float(np.prod([step.local for step in self.steps]))

    @property
    def parts(self) -> Sequence[Part]:
        shown, left_out = first_and_last(self.steps, MOST_STEPS, "steps")
        begin = "It begins with the use that was asked for. Then, at" if self._asked else "At"
        about = f"{begin} each step the use, and the number of its result, by which the most comes back."
        header = ("number", "used in", "upstream", "local", "comes back")
        term = f"The local slopes multiply to {format_number(self.product)}: one of the terms that sum to "
        return [
            Heading(f"One way from {self._name} to the loss"),
            Sentence(about + left_out),
            Table([_row(step) for step in shown], header, right=frozenset({2, 3, 4}), whole=frozenset({2, 3})),
            Sentence(f"{term}{format_number(self._gradient)}, the gradient of {self._name}."),
        ]


def _row(step: Step) -> tuple[str, ...]:
    numbers = (format_number(x) for x in (step.upstream, step.local, step.upstream * step.local))
    return name_at(step.edge.source, step.cell), name_at(step.edge.target, step.next_cell), *numbers


def _step(edge: Edge, cell: tuple[int, ...]) -> Step:
    upstream = edge.target.gradient
    assert upstream is not None
    local = slopes(edge.pulled, upstream, cell)
    with np.errstate(all="ignore"):
        back = local * upstream
    # Where nothing comes back at all, the way goes on where the slope is largest.
    there = largest_cell(back if back.any() else local)
    assert there is not None
    return Step(edge, cell, there, float(upstream[there]), float(local[there]))
