"""One way from a number of a tensor to the loss: at each step one number of one result, upstream times local."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.backward import walk
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.checks import undisturbed
from tinygrad_ce.graph.nodes import Edge, Node
from tinygrad_ce.program.record import as_computed
from tinygrad_ce.report.parts import Heading, Part, Report, Sentence, Table
from tinygrad_ce.report.words import cut, format_number
from tinygrad_ce.views.explain.rows import slopes

MOST_STEPS = 24  # rows of the table
HEADER = ("number", "used in", "upstream", "local", "comes back")


@dataclass(frozen=True, eq=False)
class Step:
    """From one number of a tensor to one of a result: upstream, what comes back to that; local, how it grows with this.

    What comes back to this number on the way is upstream times local.
    """

    edge: Edge
    cell: tuple[int, ...]
    next_cell: tuple[int, ...]
    upstream: float
    local: float

    @property
    def back(self) -> float:
        """What comes back to the number by this step."""
        return self.upstream * self.local


class Path(Report):
    """The steps from a number to the loss; the product of their slopes is one term of its gradient."""

    def __init__(self, node: Node, cell: tuple[int, ...], use: Edge | None) -> None:
        self.steps: list[Step] = []
        self._name, self._gradient = cell_name(node, cell), node.gradient
        while node.backward_uses:
            edge = use or max(node.backward_uses, key=lambda use: size_at(use.share, cell))
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
        assert self._gradient is not None
        rows = [_row(step) for step in self.steps]
        about = "At each step the use, and the number of its result, by which the most comes back."
        if len(rows) > MOST_STEPS:
            half = MOST_STEPS // 2
            about += f" Shown are the first and the last {half} of {len(rows):,} steps."
            rows = rows[:half] + rows[-half:]
        whole = format_number(self._gradient[self.steps[0].cell])
        text = f"The local slopes multiply to {format_number(self.product)}: "
        return [
            Heading(f"One way from {self._name} to the loss"),
            Sentence(about),
            Table(rows, HEADER, frozenset({2, 3, 4}), frozenset({2, 3})),
            Sentence(f"{text}one of the terms that sum to {whole}, the gradient of {self._name}."),
        ]


def cell_name(node: Node, cell: tuple[int, ...]) -> str:
    """A number of a tensor, as in `W0[1, 2]`."""
    return cut(node.name, 40) + (str(list(cell)) if cell else "")


def size_at(array: Array | None, cell: tuple[int, ...] | None) -> float:
    """How large an array is at a cell; what is not a number counts as the largest."""
    size = 0.0 if array is None or cell is None else float(np.abs(array[cell]))
    return np.inf if np.isnan(size) else size


def _row(step: Step) -> tuple[str, ...]:
    numbers = (format_number(x) for x in (step.upstream, step.local, step.back))
    return cell_name(step.edge.source, step.cell), cell_name(step.edge.target, step.next_cell), *numbers


def _step(edge: Edge, cell: tuple[int, ...]) -> Step:
    upstream = edge.target.gradient
    assert upstream is not None
    local = slopes(lambda g: _share(edge, g), upstream, cell)
    with np.errstate(all="ignore"):
        sizes = np.abs(local * upstream)
    sizes = np.where(np.isnan(sizes), np.inf, sizes)
    # Where nothing comes back at all, the way goes on where the slope is largest.
    largest = np.argmax(sizes if sizes.any() else np.abs(local))
    there = tuple(int(i) for i in np.unravel_index(int(largest), upstream.shape))
    return Step(edge, cell, there, float(upstream[there]), float(local[there]))


def _share(edge: Edge, upstream: Tensor) -> Tensor:
    """What comes back along the edge, with a history."""
    target, source = edge.target.tensor, edge.source.tensor
    assert target is not None
    assert source is not None
    shares: dict[int, Any] = {}
    with as_computed([target]), undisturbed([target]):
        back = walk(target, upstream, {source.serial}, True, lambda _, position, g: shares.update({position: g}))
        next(back)  # the target itself
        next(back)  # the source: by then all shares have come
    share: Tensor = shares[edge.position]
    return share
