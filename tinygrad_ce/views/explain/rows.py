"""What each row of a batch adds to one number of a gradient, which is a sum over the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.ancestry import leading_to, reachable
from tinygrad_ce.backward import recording, walk
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.functional import gradients
from tinygrad_ce.graph.checks import undisturbed
from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.graph.rules import ON_LOGITS
from tinygrad_ce.ops import index
from tinygrad_ce.program.record import as_computed
from tinygrad_ce.source_lines import PerRow, tracking


@dataclass(frozen=True, eq=False)
class BatchRows:
    """What the loss of each row of the batch adds to one number of a gradient.

    contributions: (N,), in the order of the rows. rest: what comes by no row (weight decay, for one).
    targets: (N,) or (N, ...), what the loss wants of each row; None where the loss does not say.
    """

    contributions: Array
    rest: float
    targets: Array | None

    @property
    def hardest(self) -> list[int]:
        """The rows, the largest contribution in size first; what is not a number comes before all others."""
        sizes = np.abs(np.where(np.isnan(self.contributions), np.inf, self.contributions))
        return [int(row) for row in np.argsort(-sizes, kind="stable")]


def batch_of(graph: Graph, rows: list[Node]) -> list[Node]:
    """The nodes whose first axis is the batch: what was computed row by row from `rows`, or what our losses tell.

    Of several losses with batches of different sizes, it is that of the last one.
    """
    if rows:
        found = dict.fromkeys(rows)
        for node in graph.nodes:
            if any(edge.source in found for edge in node.inputs) and _is_row_by_row(node, found):
                found[node] = None
        return list(found)
    told = [node for node in graph.nodes if node.shape and (_is_noted(node) or any(map(_is_logits, node.uses)))]
    return [node for node in told if node.shape[0] == told[-1].shape[0]]


def _is_noted(node: Node) -> bool:
    return node.tensor is not None and isinstance(node.tensor.note, PerRow)


def _is_logits(use: Edge) -> bool:
    return use.target.op is not None and use.target.op.name in ON_LOGITS and use.position == 0


def _is_row_by_row(node: Node, batch: dict[Node, Any]) -> bool:
    """Whether other numbers in the first row of what it is computed from change its first row alone.

    An axis of the same length may be another one (a transposed square), or a sum over the rows.
    """
    tensor = node.tensor
    given = [edge for edge in node.inputs if edge.source in batch]
    if tensor is None or tensor.op is None or any(node.shape[:1] != edge.source.shape[:1] for edge in given):
        return False
    values = [edge.source.value for edge in given]
    arrays = list(tensor.arrays)
    for edge, value in zip(given, values, strict=True):
        other = next((row for row in value[:0:-1] if not np.array_equal(row, value[0])), value[0])
        arrays[edge.position] = np.concatenate([other[None], value[1:]])
    with np.errstate(all="ignore"):
        before, after = (np.asarray(tensor.op.run(*x, **tensor.params))[1:] for x in (tensor.arrays, arrays))
        rounding = 1e-9 * np.abs(before[np.isfinite(before)]).max(initial=0)
    return bool(np.allclose(before, after, rtol=0, atol=rounding, equal_nan=True))


def batch_rows(graph: Graph, node: Node, cell: tuple[int, ...], batch: list[Node]) -> BatchRows | None:
    """The contributions of the rows to the gradient of this node at this cell; None for a batch of one row or none."""
    if not batch or batch[0].shape[0] < 2:
        return None
    assert node.gradient is not None
    found = np.zeros(batch[0].shape[0])
    for last, upstream in _last_shares(graph, batch).items():
        products = upstream * slopes(lambda g, last=last: _arrived(last, g, node), upstream, cell)  # type: ignore[misc]
        found = found + products.reshape(len(found), -1).sum(axis=1)
    whole, rounding = float(node.gradient[cell]), 1e-6 * float(np.abs(found).max())
    close = np.isclose(whole, found.sum(), rtol=1e-6, atol=rounding, equal_nan=True)
    return BatchRows(found, 0.0 if close else float(whole - found.sum()), _targets(graph, batch))


def _last_shares(graph: Graph, batch: list[Node]) -> dict[Node, Array]:
    """By node of the batch, what comes back where the rows end: from uses after which nothing has rows any more.

    Each path to the loss leaves the batch for the last time once, so that nothing is counted twice.
    """
    before: set[Node] = set()  # what leads to a node of the batch
    for node in reversed(graph.nodes):
        if any(use.target in before or use.target in batch for use in node.backward_uses):
            before.add(node)
    shares: dict[Node, Array] = {}
    for node in batch:
        for use in node.backward_uses:
            if use.share is not None and use.target not in before and use.target not in batch:
                shares[node] = shares[node] + use.share if node in shares else use.share
    return shares


def _arrived(last: Node, upstream: Tensor, node: Node) -> Tensor:
    """What arrives at the node for this gradient of the last node of the batch."""
    assert last.tensor is not None
    assert node.tensor is not None
    between = leading_to({node.tensor.serial}, last.tensor)
    with as_computed(reachable(last.tensor).values()), undisturbed(reachable(last.tensor).values()):
        back = {x.serial: g for x, g in walk(last.tensor, upstream, between, create_graph=True)}
    arrived: Tensor = back.get(node.tensor.serial, Tensor(np.zeros_like(node.value)))
    return arrived


def _targets(graph: Graph, batch: list[Node]) -> Array | None:
    for node in reversed(graph.nodes):
        told = node.tensor.note.targets if node.tensor is not None and _is_noted(node) else None
        if node.op is not None and node.op.name in ON_LOGITS:
            told = next(x.source.value for x in node.inputs if x.argument == ON_LOGITS[node.op.name].targets)
        if told is not None and np.shape(told)[:1] == batch[0].shape[:1]:
            return np.asarray(told)
    return None


def slopes(pull: Callable[[Tensor], Tensor], upstream: Array, cell: tuple[int, ...]) -> Array:
    """By how much what is pulled back to a cell grows with each number upstream.

    Rules are linear in what is upstream, so that these are factors: the derivative of the pull itself. A rule that has
    no derivative is asked for one number after the other.
    """
    seed = Tensor(upstream, requires_grad=True)
    with tracking(False), np.errstate(all="ignore"):
        try:
            with recording(True):
                arrived = pull(seed)
                found = np.asarray(gradients(index(arrived, cell), seed)) if arrived.requires_grad else 0 * upstream
                products = found * upstream
                rounding = 1e-6 * np.abs(products).max(initial=0)
                if np.isclose(products.sum(), arrived.data[cell], rtol=1e-4, atol=rounding, equal_nan=True):
                    return found
        except NotImplementedError:
            pass
        with recording(False):
            units = (np.arange(upstream.size).reshape(upstream.shape) == n for n in range(upstream.size))
            one_by_one = [pull(Tensor(unit.astype(upstream.dtype))).data[cell] for unit in units]
    return np.array(one_by_one).reshape(upstream.shape)
