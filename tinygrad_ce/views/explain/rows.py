"""What each row of a batch adds to one number of a gradient, which is a sum over the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

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
from tinygrad_ce.report.parts import Heading, Part, Sentence, Table
from tinygrad_ce.report.words import format_number
from tinygrad_ce.source_lines import PerRow, tracking
from tinygrad_ce.views.explain.table import row_text

HARDEST = 5  # rows that are shown


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

    def parts(self, name: str) -> list[Part]:
        """The rows that push a number hardest, as a table, and how many push it where."""
        table: list[tuple[str, ...]] = []
        for row in (row for row in self.hardest[:HARDEST] if self.contributions[row] != 0):
            share = self.contributions[row]
            way = f"pushes {name} {'down' if share > 0 else 'up'}" if np.isfinite(share) else "not finite"
            target = () if self.targets is None else (row_text(self.targets[row]),)
            table.append((str(row), *target, format_number(share), way))
        header = ("row", *(() if self.targets is None else ("target",)), "contribution", "direction")
        right = frozenset(range(len(header) - 1))
        down, up = self.contributions[self.contributions > 0], self.contributions[self.contributions < 0]
        text = f"A step goes against the gradient. Of {len(self.contributions):,} rows, {len(down):,} "
        text += f"(together {format_number(down.sum())}) would move {name} down, "
        text += f"and {len(up):,} (together {format_number(up.sum())}) up."
        text += f" {format_number(self.rest)} does not come through the rows of the batch." if self.rest else ""
        shown = [Table(table, header, right=right, whole=right)] if table else []
        return [Heading(f"Which rows of the batch push {name} hardest"), *shown, Sentence(text)]


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


@np.errstate(all="ignore")
def _is_row_by_row(node: Node, batch: dict[Node, None]) -> bool:
    """Whether each row is computed from that row of the batch alone.

    An axis of the same length may be another one (a transposed square), a sum over the rows, or rows in another order.
    So rows are exchanged for others, and those that are kept must stay as they are. Any two rows differ in a binary
    digit of their numbers: once one of them is exchanged and the other kept.
    """
    given = [edge for edge in node.inputs if edge.source in batch]
    if node.tensor is None or node.op is None or any(node.shape[:1] != edge.source.shape[:1] for edge in given):
        return False
    run, tensor = partial(node.op.run, **node.tensor.params), node.tensor
    others = {edge.position: _other_rows(edge.source.value) for edge in given}
    before = np.asarray(run(*tensor.arrays))
    rounding = 1e-9 * np.abs(before[np.isfinite(before)]).max(initial=0)
    rows = np.arange(len(before))
    for digit in range(len(rows).bit_length()):
        for kept in (rows >> digit & 1 == 0, rows >> digit & 1 == 1):
            arrays = list(tensor.arrays)
            for edge in given:
                arrays[edge.position] = others[edge.position].copy()
                arrays[edge.position][kept] = edge.source.value[kept]
            after = np.asarray(run(*arrays))
            if not np.allclose(before[kept], after[kept], rtol=0, atol=rounding, equal_nan=True):
                return False
    return True


def _other_rows(array: Array) -> Array:
    """For each row of an array another one of its rows, with other numbers."""
    different, places = np.unique(array, axis=0, return_inverse=True)
    others: Array = different[(places.reshape(-1) + 1) % len(different)]
    return others


@np.errstate(all="ignore")
def batch_rows(graph: Graph, node: Node, cell: tuple[int, ...], batch: list[Node]) -> BatchRows | None:
    """The contributions of the rows to the gradient of this node at this cell; None for a batch of one row or none."""
    if not batch or batch[0].shape[0] < 2:
        return None
    assert node.gradient is not None
    found = np.zeros(batch[0].shape[0])
    for last, share in _last_shares(graph, batch).items():
        products = share * slopes(lambda g, last=last: _arrived(last, g, node), share, cell)  # type: ignore[misc]
        found = found + products.reshape(len(found), -1).sum(axis=1)
    # What remains is said where it is more than rounding, of the rows or of what the gradient itself was summed from.
    upstream = [use.target.gradient for use in node.backward_uses if use.target.gradient is not None]
    largest = max((float(np.abs(g).max(initial=0)) for g in upstream), default=0.0)
    rounding = 64 * float(np.finfo(node.gradient.dtype).eps) * (np.abs(found).sum() + largest)
    rest = float(node.gradient[cell]) - float(found.sum())
    return BatchRows(found, 0.0 if np.isnan(rest) or abs(rest) <= rounding else rest, _targets(graph, batch))


def _last_shares(graph: Graph, batch: list[Node]) -> dict[Node, Array]:
    """By node of the batch, what comes back where the rows end: from uses after which nothing has rows any more.

    Each path to the loss leaves the batch for the last time once, so that nothing is counted twice.
    """
    rows, leads = set(batch), set(batch)
    shares: dict[Node, Array] = {}
    for node in reversed(graph.nodes):
        for use in node.backward_uses:
            if use.target in leads:
                leads.add(node)
            elif node in rows and use.share is not None:
                shares[node] = shares.get(node, 0) + use.share
    return shares


def _arrived(last: Node, upstream: Tensor, node: Node) -> Tensor:
    """What arrives at the node for this gradient of the last node of the batch."""
    assert last.tensor is not None
    assert node.tensor is not None
    tensors = reachable(last.tensor).values()
    with as_computed(tensors), undisturbed(tensors):
        for tensor, g in walk(last.tensor, upstream, leading_to({node.tensor.serial}, last.tensor), create_graph=True):
            if tensor is node.tensor:
                return g  # type: ignore[no-any-return]
    return Tensor(np.zeros_like(node.value))


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
