"""Which rows of a batch push a number hardest: a gradient that comes through a batch is a sum over its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.backward import gradients, pulled_back, recorded
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.lines import noted
from tinygrad_ce.ops import index
from tinygrad_ce.views.explain.paths import flowing
from tinygrad_ce.views.reading import Edge, Graph, Node

_ASKS_FOR = ("xent", "soft_xent", "sigmoid_xent", "pick", "place")  # operations with targets


@dataclass(frozen=True, eq=False)
class BatchRows:
    """What each row of the batch adds to one number of a gradient.

    contributions: (N,), in the order of the rows. rest: what does not come through the rows (weight decay, for one).
    targets: (N,) or (N, ...), what the loss wants of each row; None where the graph has no such array.
    """

    contributions: Array
    rest: float
    targets: Array | None

    @property
    def hardest(self) -> list[int]:
        """The rows, the largest contribution in size first."""
        sizes = np.abs(np.where(np.isnan(self.contributions), np.inf, self.contributions))
        return [int(row) for row in np.argsort(-sizes, kind="stable")]


def batch_rows(graph: Graph, node: Node, cell: tuple[int, ...]) -> BatchRows | None:
    """The contributions of the rows to the gradient of this node at this cell; None where there is no batch.

    The first results on the way to the loss that have the batch as first axis are sought. What comes back from there is
    linear in their gradient, so each number of it has a factor, which is the derivative of the rule itself.
    """
    size, batch = the_batch(graph)
    assert node.gradient is not None
    if node in batch:
        return None  # each of its rows is a row of the batch
    between, first = _up_to_the_batch(node, batch)
    if not first:
        return None
    found = np.sum([_contributions(result, node, cell, between) for result in first], axis=0)
    if node.shape[:1] == (size,) and all(_row_by_row(result, node, between) for result in first):
        return None  # each row of it belongs to one row of the batch
    whole, rows = float(node.gradient[cell]), float(found.sum())
    rounding = 1e-6 * float(np.abs(found).max())
    rest = 0.0 if np.isclose(whole, rows, rtol=1e-6, atol=rounding, equal_nan=True) else whole - rows
    return BatchRows(found, rest, _targets(graph, batch, size))


def the_batch(graph: Graph) -> tuple[int, set[Node]]:
    """The size of the batch, and what has it as first axis: data, and what was computed from them; 0 if there is none.

    Other data may have rows, too (a mask of weights): the batch is what the targets have a row for, or most results.
    """
    sizes = _rows_from_data(graph)
    score: dict[int, int] = {}
    for node, size in sizes.items():
        score[size] = score.get(size, 0) + (node.kind == "result")
    for edge in graph.edges:
        if is_target(edge) and edge.source.shape[:1] and edge.source.shape[0] in score:
            score[edge.source.shape[0]] += len(graph.nodes)
    size = max(score, key=lambda size: score[size], default=0)
    return size, {node for node, own in sizes.items() if own == size}


def _rows_from_data(graph: Graph) -> dict[Node, int]:
    """By node, how many rows, for data with rows and what was computed from them row by row."""
    sizes: dict[Node, int] = {}
    for node in graph.nodes:
        several = node.shape and node.shape[0] > 1
        if node.kind == "data" and several and not all(is_target(edge) for edge in node.uses):
            sizes[node] = node.shape[0]
        given = {sizes[edge.source] for edge in node.inputs if edge.source in sizes and not is_target(edge)}
        if node.shape and node.shape[0] in given:
            sizes[node] = node.shape[0]
    return sizes


def is_target(edge: Edge) -> bool:
    """Whether this is how a cross-entropy is told what is right, and how much it counts."""
    op = edge.target.op
    return op is not None and op.name in _ASKS_FOR and edge.argument in ("y", "q", "w", "weight")


def _up_to_the_batch(node: Node, batch: set[Node]) -> tuple[list[Node], list[Node]]:
    """What depends on the node and is no batch yet, itself included; and the first results that are."""
    found = {node: False}  # and whether it is a batch
    stack = [node]
    while stack:
        for edge in flowing(stack.pop()):
            if edge.target not in found:
                found[edge.target] = edge.target in batch
                stack += [] if found[edge.target] else [edge.target]
    return [other for other in found if not found[other]], [other for other in found if found[other]]


def _contributions(result: Node, node: Node, cell: tuple[int, ...], between: list[Node]) -> Array:
    """What each row of the gradient of this result adds to the gradient of the node at the cell."""
    upstream = Tensor(result.gradient, requires_grad=True)
    with recorded(True), noted(False), np.errstate(all="ignore"):
        arrived = _arrived(result, upstream, between)
        try:
            factors = gradients(index(arrived, cell), upstream) if arrived.requires_grad else np.zeros(upstream.shape)
        except NotImplementedError:  # the rule is made of something that has no rule itself
            return _one_by_one(result, cell, between)
        found = np.asarray((upstream.data * factors).reshape(len(factors), -1).sum(axis=1))
        whole = np.isclose(found.sum(), arrived.data[cell], rtol=1e-4, atol=1e-6 * np.abs(found).max(), equal_nan=True)
        return found if whole else _one_by_one(result, cell, between)


def _one_by_one(result: Node, cell: tuple[int, ...], between: list[Node]) -> Array:
    """The same, where each row of the gradient is sent back alone."""
    assert result.gradient is not None
    found = []
    for row, gradient in enumerate(result.gradient):
        upstream = np.zeros_like(result.gradient)
        upstream[row] = gradient
        with recorded(False):
            found.append(float(_arrived(result, Tensor(upstream), between).data[cell]))
    return np.array(found)


def _arrived(result: Node, upstream: Tensor, between: list[Node]) -> Any:
    """What arrives at the first of the nodes between, for this gradient of the result."""
    tensors = [other.tensor for other in (result, *between) if other.tensor is not None]
    needed = {tensor.number: tensor for tensor in tensors}
    back = pulled_back(tensors[0], upstream, needed, create_graph=True)
    return {tensor.number: g for tensor, g in back}[tensors[1].number]


def _row_by_row(result: Node, node: Node, between: list[Node]) -> bool:
    """Whether what comes back from the first and the last row of the result goes to these rows of the node alone."""
    for row in (0, len(result.value) - 1):
        upstream = np.zeros_like(result.value)
        upstream[row] = 1
        with recorded(False), noted(False), np.errstate(all="ignore"):
            elsewhere = np.delete(_arrived(result, Tensor(upstream), between).data, row, axis=0)
        if elsewhere.any():
            return False
    return True


def _targets(graph: Graph, batch: set[Node], size: int) -> Array | None:
    """What the loss wants of each row: what a cross-entropy was given, or the data that joined the results last."""
    data = [node for node in graph.nodes if node.kind == "data" and node.shape[:1] == (size,)]
    for node in data:
        if any(is_target(edge) and edge.argument in ("y", "q") for edge in node.uses):
            return node.value
    joined = [node for node in data if any(_joins_results(edge, batch) for edge in node.uses)]
    return joined[-1].value if joined else None


def _joins_results(edge: Edge, batch: set[Node]) -> bool:
    return any(other.source in batch and other.source.kind == "result" for other in edge.target.inputs)
