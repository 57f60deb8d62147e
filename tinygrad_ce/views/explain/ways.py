"""By what a number pushes the loss: one way to it, step by step; and each row of a batch, for a gradient sums them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinygrad_ce.ancestry import reachable
from tinygrad_ce.backward import recording
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.functional import gradients
from tinygrad_ce.graph.checks import undisturbed
from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.graph.rules import ON_LOGITS
from tinygrad_ce.ops import index, reshape
from tinygrad_ce.program.record import as_computed
from tinygrad_ce.report.parts import Heading, Part, Report, Sentence, Table
from tinygrad_ce.report.words import cut, format_number
from tinygrad_ce.source_lines import PerRow, tracking
from tinygrad_ce.views.explain.table import first_and_last, name_at, numbers

HARDEST = 5  # rows that are shown
MOST_STEPS = 24  # of a path, that are shown


def slopes(pull: Callable[[Any], Any], upstream: Array, cell: tuple[int, ...]) -> Array:
    """By how much what is pulled back to a cell grows with each number upstream: rules are linear in it."""
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
        # A rule that has no derivative itself is asked for one number after the other.
        units = (np.arange(upstream.size).reshape(upstream.shape) == n for n in range(upstream.size))
        return np.array([pull(unit.astype(upstream.dtype))[cell] for unit in units]).reshape(upstream.shape)


def largest_cell(array: Array) -> tuple[int, ...]:
    """The cell of the largest number in size, or of the first that is none."""
    return tuple(map(int, np.unravel_index(np.abs(array).argmax(), array.shape)))


def sizes(array: Any) -> Array:
    """How large numbers are; what is not a number counts as the largest."""
    return np.asarray(np.nan_to_num(np.abs(array), nan=np.inf))


# ---- one way to the loss


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

    @np.errstate(all="ignore")
    def __init__(self, node: Node, cell: tuple[int, ...], use: Edge | None) -> None:
        assert node.gradient is not None
        self.steps: list[Step] = []
        self._asked = use is not None
        self._name, self._gradient = name_at(node, cell), node.gradient[cell]
        while node.backward_uses:
            edge = use or max(node.backward_uses, key=lambda use: sizes(use.share)[cell])
            upstream = edge.target.gradient
            assert upstream is not None
            local = slopes(edge.pulled, upstream, cell)
            back = local * upstream
            there = largest_cell(back if back.any() else local)  # where nothing comes back, by the largest slope
            self.steps.append(Step(edge, cell, there, float(upstream[there]), float(local[there])))
            node, cell, use = edge.target, there, None

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


# ---- the rows of a batch


@dataclass(frozen=True, eq=False)
class BatchRows:
    """What the loss of each row of the batch adds to one number of a gradient.

    contributions: (N,), in the order of the rows. rest: what comes by no row (weight decay, for one).
    targets: (N,) or (N, ...), what the loss wants of each row; None where the loss does not say.
    of: the array whose rows they are.
    """

    contributions: Array
    rest: float
    targets: Array | None
    of: Node

    @property
    def hardest(self) -> list[int]:
        """The rows, the largest contribution in size first; what is not a number comes before all others."""
        return [int(row) for row in np.argsort(-sizes(self.contributions), kind="stable")]

    def parts(self, name: str) -> list[Part]:
        """The rows that push a number hardest, as a table, and how many push it where."""
        shown = [row for row in self.hardest[:HARDEST] if self.contributions[row] != 0]
        header = ("row", *(() if self.targets is None else ("target",)), "contribution", "direction")
        right = frozenset(range(len(header) - 1))
        table = [Table([self._cells(row, name) for row in shown], header, right, whole=right)] if shown else []
        down, up = self.contributions[self.contributions > 0], self.contributions[self.contributions < 0]
        # A sequence of predictions for each example counts as so many rows, for the loss is a mean over all.
        made = "" if self.of.formula is None else cut(self.of.formula.text, 60)
        of = f" of {name_at(self.of)} = {made}" if self.of.op is reshape else ""
        text = f"A step goes against the gradient. Of {len(self.contributions):,} rows{of}, {len(down):,} "
        text += f"(together {format_number(down.sum())}) would move {name} down, "
        text += f"and {len(up):,} (together {format_number(up.sum())}) up."
        text += f" {format_number(self.rest)} does not come through the rows of the batch." if self.rest else ""
        return [Heading(f"Which rows of the batch push {name} hardest"), *table, Sentence(text)]

    def _cells(self, row: int, name: str) -> tuple[str, ...]:
        share = self.contributions[row]
        way = f"pushes {name} {'down' if share > 0 else 'up'}" if np.isfinite(share) else "not finite"
        target = () if self.targets is None else (_target_text(np.asarray(self.targets[row])),)
        return (str(row), *target, format_number(share), way)


def _target_text(target: Array) -> str:
    """A label, or a row of targets: a class that is certain by its number."""
    if target.ndim == 1 and target.size > 1 and np.count_nonzero(target) == 1 == target.max():
        return str(target.argmax())
    return " ".join(f"{value:.2g}" for value in target) if target.ndim == 1 and target.size < 6 else numbers(target)


def batch_of(graph: Graph, rows: list[Node]) -> list[Node]:
    """The nodes whose first axis is the batch: computed row by row from `rows`, or told by our losses, the last one."""
    if not rows:
        told = [node for node in graph.nodes if node.shape and _targets(node) is not None]
        return [node for node in told if node.shape[0] == told[-1].shape[0]]
    batch = dict.fromkeys(rows)
    for node in graph.nodes:
        if _is_row_by_row(node, batch):
            batch[node] = None
    return [*batch]


def _targets(node: Node) -> Any:
    """What a loss wants of each row of a node; None where none says so."""
    for use in node.uses:
        loss = use.target
        if loss.op is not None and loss.op.name in ON_LOGITS and use.position == 0:
            return next(x.source.value for x in loss.inputs if x.argument == ON_LOGITS[loss.op.name].targets)
    note = None if node.tensor is None else node.tensor.note
    return note.targets if isinstance(note, PerRow) else None


@np.errstate(all="ignore")
def _is_row_by_row(node: Node, batch: dict[Node, None]) -> bool:
    """Whether each row is computed from that row of the batch alone: an axis of the same length may be another one."""
    of_batch = {edge.position: edge.source.value for edge in node.inputs if edge.source in batch}
    lengths = {array.shape[:1] for array in of_batch.values()}
    if node.tensor is None or node.op is None or lengths != {node.shape[:1]}:
        return False
    run = partial(node.op.run, **node.tensor.params)
    before = np.asarray(run(*node.tensor.arrays))  # an optimizer may have changed what the value was computed from
    rounding = 1e-9 * np.abs(before[np.isfinite(before)]).max(initial=0)
    # Some rows are exchanged for others, and those that are kept must stay as they are. Any two rows differ in a binary
    # digit of their numbers: once one of them is exchanged and the other kept.
    halves = [np.arange(len(before)) >> digit & 1 == 1 for digit in range(len(before).bit_length())]
    for kept, factor in (*((half, 0.5) for half in halves), *((~half, 1.5) for half in halves)):
        arrays = list(node.tensor.arrays)
        for position, array in of_batch.items():
            others = np.roll(array, 1, axis=0)  # equal rows need other numbers; but other integers might choose no row
            others = others * factor + 0.3 if array.dtype.kind == "f" else others
            others[kept] = array[kept]
            arrays[position] = others
        try:
            after = np.asarray(run(*arrays))
        except Exception:  # a user's operation that refuses such numbers is not known to work row by row
            return False
        if not np.allclose(before[kept], after[kept], rtol=0, atol=rounding, equal_nan=True):
            return False
    return True


@np.errstate(all="ignore")
def batch_rows(graph: Graph, node: Node, cell: tuple[int, ...], batch: list[Node]) -> BatchRows | None:
    """The contributions of the rows to the gradient of this node at this cell; None for a batch of one row or none."""
    if not batch or batch[0].shape[0] < 2:
        return None
    assert node.gradient is not None
    found = np.zeros(batch[0].shape[0])
    for last, share in _last_shares(graph, batch).items():
        if last.tensor is not None and node.tensor is not None and node.tensor.serial in reachable(last.tensor):
            products = share * slopes(partial(_pulled, last.tensor, node.tensor), share, cell)
            found = found + products.reshape(len(found), -1).sum(axis=1)
    # What remains is said where it is more than rounding, of the rows or of what the gradient itself was summed from.
    largest = max(np.abs(use.target.gradient).max(initial=0) for use in node.backward_uses)  # type: ignore[arg-type]
    rounding = 64 * np.finfo(node.gradient.dtype).eps * (np.abs(found).sum() + largest)
    rest = float(node.gradient[cell] - found.sum())
    targets = [np.asarray(_targets(other)) for other in reversed(graph.nodes)]
    of_rows = [array for array in targets if array.shape[:1] == found.shape]
    is_rounding = np.isnan(rest) or abs(rest) <= rounding
    return BatchRows(found, 0.0 if is_rounding else rest, of_rows[0] if of_rows else None, batch[0])


def _last_shares(graph: Graph, batch: list[Node]) -> dict[Node, Array]:
    """By node of the batch, what comes back where the rows end: each path to the loss leaves them for good once."""
    rows, leads = set(batch), set(batch)
    shares: dict[Node, Array] = {}
    for node in reversed(graph.nodes):
        for use in node.backward_uses:
            if use.target in leads:
                leads.add(node)
            elif node in rows and use.share is not None:
                shares[node] = shares.get(node, 0) + use.share
    return shares


def _pulled(last: Tensor, tensor: Tensor, upstream: Any) -> Any:
    """What arrives at the tensor for this gradient of the last of the batch: of a Tensor, one with a history."""
    tensors = reachable(last).values()
    with as_computed(tensors), undisturbed(tensors):
        return gradients(last, tensor, isinstance(upstream, Tensor), upstream)
