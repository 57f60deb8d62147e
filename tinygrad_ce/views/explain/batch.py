"""Which rows of a batch push a number hardest: a gradient that comes through a batch is a sum over its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.backward import recording, walk
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.functional import gradients
from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.ops import index
from tinygrad_ce.source_lines import tracking

_ADDS = ("add", "sub", "neg")  # what comes back does not depend on what else is added
_KEEPS_APART = (
    *_ADDS,
    "reduce_sum",
    "reduce_mean",
    "reshape",
    "squeeze",
    "expand_dims",
    "transpose",
    "broadcast_to",
    "identity",
    "astype",
    "getitem",
)  # the sum over rows stays a sum over rows
_SCALES = ("mul", "matmul", "contract")  # so do these, by what does not depend on the batch
_ASKS_FOR = ("xent", "soft_xent", "sigmoid_xent", "pick", "place")  # operations with targets


@dataclass(frozen=True, eq=False)
class BatchRows:
    """What each row of the batch adds to one number of a gradient.

    contributions: (N,), in the order of the rows. rest: what does not come through the rows (weight decay, for one).
    targets: (N,) or (N, ...), what the loss wants of each row; None where the graph has no such array.
    of: the names of the data whose rows they are; separate: whether these are several batches, added up row by row.
    meet: the result in which rows meet otherwise than in a sum: what comes back to a row depends on the others, too.
    """

    contributions: Array
    rest: float
    targets: Array | None
    of: tuple[str, ...] = ()
    separate: bool = False
    meet: str | None = None

    @property
    def hardest(self) -> list[int]:
        """The rows, the largest contribution in size first."""
        sizes = np.abs(np.where(np.isnan(self.contributions), np.inf, self.contributions))
        return [int(row) for row in np.argsort(-sizes, kind="stable")]


def batch_rows(graph: Graph, node: Node, cell: tuple[int, ...]) -> BatchRows | str:
    """The contributions of the rows to the gradient of this node at this cell; or why there are none to show.

    The first results on the way to the loss that have the batch as first axis are sought. What comes back from there is
    linear in their gradient, so each number of it has a factor, which is the derivative of the rule itself.
    """
    size, batch = the_batch(graph)
    assert node.gradient is not None
    if not size:
        return _no_batch(graph)
    if node in batch:
        return f"each row of {node.name} belongs to one row of the batch"
    between, first = _up_to_the_batch(node, batch)
    from_data = _computed_from(batch, graph)
    mixed = _mixed(between, from_data)
    if mixed is not None:
        return f"the batch does not stand on the first axis of {mixed.name}, where {node.name} meets the data"
    if not first:
        return "the batch does not stand on the first axis of what uses it"
    found = np.sum([_contributions(result, node, cell, between) for result in first], axis=0)
    if node.shape[:1] == (size,) and all(_row_by_row(result, node, between) for result in first):
        return f"each row of {node.name} belongs to one row of the batch"
    whole, rows = float(node.gradient[cell]), float(found.sum())
    rounding = 1e-6 * float(np.abs(found).max())
    rest = 0.0 if np.isclose(whole, rows, rtol=1e-6, atol=rounding, equal_nan=True) else whole - rows
    origins = [_origins(result, batch) for result in first]
    if _only_shaped_so(node, set().union(*origins), graph):
        return "only constants have its rows, and a tensor with as many rows may be the data"
    separate = any(not one & other for one in origins for other in origins)
    names = tuple(other.name for other in graph.nodes if any(other in own for own in origins))
    return BatchRows(found, rest, _targets(graph, batch, size), names, separate, _meeting(first, batch, graph))


def _no_batch(graph: Graph) -> str:
    unsure = next((node for node in graph.nodes if _may_be_data(node)), None)
    if unsure is None:
        return "no data with several rows go into the loss"
    return (
        f"nothing tells which tensor holds the batch: {unsure.name} wants a gradient, and may be a parameter as well "
        "(data without requires_grad, or targets with a row for each, would tell)"
    )


def the_batch(graph: Graph) -> tuple[int, set[Node]]:
    """The size of the batch, and what has it as first axis: data, and what was computed from them; 0 if there is none.

    Other data may have rows, too (a mask of weights): the batch is what the targets have a row for, or most results.
    Data that want a gradient look like parameters: they are found by having as many rows.
    """
    sizes = _rows_from_data(graph, set())
    score: dict[int, int] = {}
    for node, size in sizes.items():
        score[size] = score.get(size, 0) + (node.kind == "result")
    unsure = [node for node in graph.nodes if _may_be_data(node)]
    known = {*score, *(node.shape[0] for node in unsure)}
    for edge in graph.edges:
        if is_target(edge) and edge.source.shape[:1] and edge.source.shape[0] in known:
            score[edge.source.shape[0]] = score.get(edge.source.shape[0], 0) + len(graph.nodes)
    for node in unsure:  # without a cross-entropy, targets are data that join what was computed
        if not score:
            break
        if node.shape[0] in score:
            score[node.shape[0]] += 1
    size = max(score, key=lambda size: score[size], default=0)
    wanted = {node for node in unsure if node.shape[0] == size}
    if wanted:
        sizes = _rows_from_data(graph, wanted)
    return size, {node for node, own in sizes.items() if own == size}


def _may_be_data(node: Node) -> bool:
    """Whether a tensor that wants a gradient is used as data are: first, and with nothing computed before."""
    if node.kind != "parameter" or "." in node.label or len(node.shape) < 1 or node.shape[0] < 2:
        return False
    return any(_is_first_input(edge, node) for edge in node.uses)


def _is_first_input(edge: Edge, node: Node) -> bool:
    others = [other.source for other in edge.target.inputs if other is not edge]
    with_rows = [other for other in others if other.kind != "parameter" and other.shape[:1] == node.shape[:1]]
    return (
        edge.position == 0
        and bool(others)
        and not with_rows
        and any(o.kind == "parameter" and o is not node for o in others)
    )


def _rows_from_data(graph: Graph, wanted: set[Node]) -> dict[Node, int]:
    """By node, how many rows, for data with rows and what was computed from them row by row.

    wanted: tensors with a gradient that are data, too.
    """
    sizes: dict[Node, int] = {}
    for node in graph.nodes:
        several = node.shape and node.shape[0] > 1
        if node in wanted or (node.kind == "data" and several and not all(is_target(edge) for edge in node.uses)):
            sizes[node] = node.shape[0]
        given = [edge for edge in node.inputs if edge.source in sizes and not is_target(edge)]
        given = [edge for edge in given if node.shape[:1] == (sizes[edge.source],)]
        if given and _each_row_alone(node, given):
            sizes[node] = node.shape[0]
    return sizes


def _each_row_alone(node: Node, given: list[Edge]) -> bool:
    """Whether other numbers in the first row of what is given change the first row of a result alone.

    An axis of the same length may be another one (a transposed square), or a sum over the rows.
    """
    tensor = node.tensor
    assert tensor is not None
    assert tensor.op is not None
    values = list(tensor.arrays)
    for edge in given:
        rows = np.array(edge.source.value)
        rows[0] = next((row for row in rows[:0:-1] if not np.array_equal(row, rows[0])), rows[0])
        values[edge.position] = rows
    with np.errstate(all="ignore"):
        changed = np.asarray(tensor.op.run(*values, **tensor.params))
        if _same(changed[1:], node.value[1:]):
            return True
        before = np.asarray(tensor.op.run(*tensor.arrays, **tensor.params))  # a parameter may be another one now
    return _same(changed[1:], before[1:])


def _same(one: Array, other: Array) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind not in "fc":
        return bool(np.array_equal(one, other))
    finite = np.abs(other[np.isfinite(other)])
    rounding = 1e3 * float(np.finfo(one.dtype).eps) * float(finite.max(initial=0))
    return bool(np.allclose(one, other, rtol=0, atol=rounding, equal_nan=True))


def _computed_from(nodes: set[Node], graph: Graph) -> set[Node]:
    """These nodes, and all that was computed from them."""
    found = set(nodes)
    for node in graph.nodes:
        if any(edge.source in found for edge in node.inputs):
            found.add(node)
    return found


def _meeting(first: list[Node], batch: set[Node], graph: Graph) -> str | None:
    """The first result after these in which rows meet otherwise than in a sum over them."""
    after = _computed_from(set(first), graph)
    for node in graph.nodes:
        given = [edge for edge in node.inputs if edge.source in after and edge.share is not None]
        reduced = [edge for edge in given if edge.source not in batch]
        if node.op is None or not given or (node in batch and not reduced):
            continue
        sums = node.op.name in _KEEPS_APART or (node.op.name in _SCALES and len(given) == 1)
        sums = sums or (node.op.name == "div" and len(given) == 1 and given[0].position == 0)
        if (node in batch and reduced) or not (sums or (node.op.name in _ASKS_FOR and not reduced)):
            return node.name
    return None


def _mixed(between: list[Node], from_data: set[Node]) -> Node | None:
    """Where the node meets data of the batch without their rows, and not just to be added: transposed, or summed."""
    seen = set(between)
    for node in between:
        for edge in node.backward_uses:
            target = edge.target
            op = target.op
            others = [other for other in target.inputs if other.source not in seen and other.source in from_data]
            if target in seen and others and op is not None and op.name not in _ADDS:
                return target
    return None


def _only_shaped_so(node: Node, origins: set[Node], graph: Graph) -> bool:
    """Whether the rows are just those of the ones that a gradient starts with, and another tensor may be the batch."""
    sizes = {origin.shape[0] for origin in origins}
    leaves = [leaf for leaf in graph.nodes if leaf.kind == "parameter" and leaf is not node and leaf not in origins]
    unsure = any(leaf.shape and leaf.shape[0] in sizes for leaf in leaves)
    return unsure and all(not (origin.value != origin.value.flat[0]).any() for origin in origins)


def _origins(result: Node, batch: set[Node]) -> set[Node]:
    """The data from which the rows of a result come."""
    found, stack, seen = set(), [result], {result}
    while stack:
        node = stack.pop()
        given = [edge.source for edge in node.inputs if edge.source in batch]
        if not given:
            found.add(node)
        stack += [other for other in given if other not in seen]
        seen |= set(given)
    return found


def is_target(edge: Edge) -> bool:
    """Whether this is how a cross-entropy is told what is right, and how much it counts."""
    op = edge.target.op
    return op is not None and op.name in _ASKS_FOR and edge.argument in ("y", "q", "w", "weight")


def _up_to_the_batch(node: Node, batch: set[Node]) -> tuple[list[Node], list[Node]]:
    """What depends on the node and is no batch yet, itself included; and the first results that are."""
    found = {node: False}  # and whether it is a batch
    stack = [node]
    while stack:
        for edge in stack.pop().backward_uses:
            if edge.target not in found:
                found[edge.target] = edge.target in batch
                stack += [] if found[edge.target] else [edge.target]
    return [other for other in found if not found[other]], [other for other in found if found[other]]


def _contributions(result: Node, node: Node, cell: tuple[int, ...], between: list[Node]) -> Array:
    """What each row of the gradient of this result adds to the gradient of the node at the cell."""
    upstream = Tensor(result.gradient, requires_grad=True)
    with recording(True), tracking(False), np.errstate(all="ignore"):
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
        with recording(False):
            found.append(float(_arrived(result, Tensor(upstream), between).data[cell]))
    return np.array(found)


def _arrived(result: Node, upstream: Tensor, between: list[Node]) -> Any:
    """What arrives at the first of the nodes between, for this gradient of the result."""
    tensors = [other.tensor for other in (result, *between) if other.tensor is not None]
    needed = {tensor.serial: tensor for tensor in tensors}
    back = walk(tensors[0], upstream, needed, create_graph=True)
    return {tensor.serial: g for tensor, g in back}[tensors[1].serial]


def _row_by_row(result: Node, node: Node, between: list[Node]) -> bool:
    """Whether what comes back from the first and the last row of the result goes to these rows of the node alone."""
    for row in (0, len(result.value) - 1):
        upstream = np.zeros_like(result.value)
        upstream[row] = 1
        with recording(False), tracking(False), np.errstate(all="ignore"):
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
    differ = [node for node in joined if (node.value != node.value.flat[0]).any()]  # ones start a gradient
    return differ[-1].value if differ else None


def _joins_results(edge: Edge, batch: set[Node]) -> bool:
    return any(other.source in batch and other.source.kind == "result" for other in edge.target.inputs)
