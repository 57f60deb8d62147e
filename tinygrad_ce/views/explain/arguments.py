"""What a call of `explain` means: which loss, node, cell and rows; or what to type instead."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from tinygrad_ce.ancestry import reachable
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.checks import check_not_traced
from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.report.words import cut
from tinygrad_ce.source_lines import state
from tinygrad_ce.views.explain.table import label_of, name_at

ASKED = "tg.explain"


def loss_of(x: Any, loss: Tensor | None) -> Tensor:
    """The loss that is meant: this one, that of the last backward, or x itself. Raises TypeError and ValueError."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{ASKED}: it explains a Tensor, and this is {type(x).__name__}")
    check_not_traced(x, ASKED)
    if not x.requires_grad:
        raise ValueError(
            f"{ASKED}: {label_of(x)} is data, and has no gradient: none was asked for. To have one, make it with "
            "Tensor(..., requires_grad=True) before the loss is computed"
        )
    if loss is not None:
        return loss
    last_loss = state().last_loss
    last = None if last_loss is None else last_loss()
    if last is not None and last.size == 1 and x.serial in reachable(last):
        return last
    if x.op is not None and x.size == 1:
        return x
    missing = "backward() has not been called, or the loss that it started from is gone"
    if last is not None:
        reason = "was not made from it" if last.size == 1 else "is no single number either"
        missing = f"{label_of(last)}, from which the last backward() started, {reason}"
    raise ValueError(
        f"{ASKED}: {label_of(x)} of shape {x.shape} is no loss, and {missing}: pass the loss, "
        f"{ASKED}({cut(x.name or 'x', 40)}, loss), or call loss.backward() first"
    )


def node_of(x: Tensor, graph: Graph) -> Node:
    """The node of a tensor in the graph. Raises ValueError if no gradient flows there."""
    node = graph.node_of(x)
    if node is None:
        raise ValueError(
            f"{ASKED}: {label_of(x)} is not among the {len(graph.nodes)} tensors and arrays of which the loss "
            f"{label_of(graph.loss)} was made: pass the loss that was computed from it, {ASKED}({x.name or 'x'}, loss)"
        )
    if node.gradient is None:
        uses = " and ".join(f"as `{argument(use)}` of {name_at(use.target)}" for use in node.uses)
        raise ValueError(f"{ASKED}: no gradient flows to {label_of(x)}: it is used only {uses}, where there is none")
    return node


def argument(use: Edge) -> str:
    """What the operation calls the tensor: `W`, or `arrays[1]` where it takes any number of inputs."""
    op = use.target.op
    assert op is not None
    first = len(op.arguments) - 1
    return f"{op.starred}[{use.position - first}]" if op.starred and use.position >= first else use.argument


def largest_cell(array: Array) -> tuple[int, ...] | None:
    """The cell of the largest number in size, or of the first that is none; None where there are no cells."""
    return tuple(map(int, np.unravel_index(np.abs(array).argmax(), array.shape))) if array.size else None


def cell_at(node: Node, at: Any) -> tuple[int, ...]:
    """The cell that `at=` names, as an index that is not negative. Raises TypeError and IndexError."""
    name = label_of(node)
    try:
        cell = tuple(map(index, at if isinstance(at, tuple) else (at,)))
    except TypeError:
        raise TypeError(f"{ASKED}: at={at!r} must be an index of {name}: integers, one for each axis") from None
    if len(cell) != len(node.shape) or not all(-n <= i < n for i, n in zip(cell, node.shape, strict=True)):
        raise IndexError(f"{ASKED}: at={at!r} is no cell of {name}, which has shape {node.shape}")
    return tuple(i % n for i, n in zip(cell, node.shape, strict=True))


def nodes_of_rows(rows: Any, graph: Graph) -> list[Node]:
    """The nodes that hold these rows: the tensor itself, or every array that went in with the same numbers."""
    if isinstance(rows, Tensor):
        name, found = label_of(rows), [node for node in graph.nodes if node is graph.node_of(rows)]
    else:
        array = np.asarray(rows)
        name = f"an array of shape {array.shape}"
        found = [node for node in graph.nodes if node.op is None and _same(node.value, array)]
    if not found:
        data = [f"{name_at(node)} {node.shape}" for node in graph.nodes if node.kind == "data" and node.shape]
        went_in = f"; these went in: {', '.join(data)}" if data else ""
        raise ValueError(
            f"{ASKED}: rows= is {name}, and nothing of it went into the loss: pass the data of the batch{went_in}"
        )
    if not found[0].shape:
        raise ValueError(f"{ASKED}: rows= is {name}, a single number: pass data whose first axis is the batch")
    return found


def _same(one: Array, other: Array) -> bool:
    numeric = one.shape == other.shape and other.dtype.kind in "biuf"
    return numeric and np.array_equal(one, other.astype(one.dtype), equal_nan=True)
