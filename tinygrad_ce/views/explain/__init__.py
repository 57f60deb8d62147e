"""Where a gradient comes from: what a call of `explain` means, or what to type instead."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.ancestry import reachable
from tinygrad_ce.core import Tensor
from tinygrad_ce.graph.checks import check_not_traced
from tinygrad_ce.graph.nodes import Graph, Node
from tinygrad_ce.report.words import short
from tinygrad_ce.source_lines import state
from tinygrad_ce.views.explain.explanation import ASKED, Explanation, Share
from tinygrad_ce.views.explain.table import label_of, name_at

__all__ = ["Explanation", "Share", "explain"]


def explain(x: Tensor, loss: Tensor | None = None, at: Any = None, rows: Any = None) -> Explanation:
    """Say where the gradient of a tensor comes from; or, for a loss itself, show its graph as a table.

    x: any tensor of the graph that has a gradient, in any shape; or the loss.
    loss: a single number with a history. Without it: x itself, if it is one; or what `backward()` last started from.
    at: the cell whose numbers are shown, as an index of x; if not given, the one with the largest gradient in size.
    rows: for a loss written by hand, the data (a tensor or array) whose first axis is the batch; ours know it.
    The answer shows itself in a terminal and in a notebook; `.gradient`, `.shares` and `.rows` hold the arrays,
    `.path()` follows one way to the loss, and `.latex()` gives the rule. Nothing is changed, no `.grad` either.
    Raises TypeError, ValueError and IndexError that say what to pass instead; RuntimeError in a traced step.

    >>> W = Tensor(3.0, requires_grad=True, name="W")
    >>> print(explain(W, W * 2).parts[-1].text)
    2 is the gradient of W: it is used only once.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{ASKED}: it explains a Tensor, and this is {type(x).__name__}")
    check_not_traced(x, ASKED)
    if not x.requires_grad:
        advice = "To have one, make it with Tensor(..., requires_grad=True) before the loss is computed"
        raise ValueError(f"{ASKED}: {label_of(x)} is data, and has no gradient: none was asked for. {advice}")
    graph = Graph(_loss_of(x) if loss is None else loss, ASKED)
    node = _node_of(x, graph)
    for name, value in (("at", at), ("rows", rows)):
        if node is graph.loss and value is not None:
            raise ValueError(f"{ASKED}: {name}= is for a tensor that leads to the loss, and {label_of(x)} is the loss")
    cell = None if at is None else _cell_at(node, at)
    return Explanation(graph, node, cell, [] if rows is None else _nodes_of_rows(rows, graph))


def _loss_of(x: Tensor) -> Tensor:
    """The loss that is meant, if none is named: that of the last backward, or x itself."""
    last_loss = state().last_loss
    last = None if last_loss is None else last_loss()
    if last is not None and last.size == 1 and x.serial in reachable(last):
        return last
    if x.op is not None and x.size == 1:
        return x
    missing = "backward() has not been called, or the loss that it started from is gone"
    if last is not None:
        other = "was not made from it" if last.size == 1 else "is no single number either"
        missing = f"{label_of(last)}, from which the last backward() started, {other}"
    call = f"pass the loss, {ASKED}({short(x.name or 'x', 40)}, loss), or call loss.backward() first"
    raise ValueError(f"{ASKED}: {label_of(x)} of shape {x.shape} is no loss, and {missing}: {call}")


def _node_of(x: Tensor, graph: Graph) -> Node:
    """The node of a tensor in the graph. Raises ValueError if no gradient flows there."""
    node = graph.node_of(x)
    if node is None:
        others = f"{len(graph.nodes)} tensors and arrays of which the loss {label_of(graph.loss)} was made"
        call = f"pass the loss that was computed from it, {ASKED}({short(x.name or 'x', 40)}, loss)"
        raise ValueError(f"{ASKED}: {label_of(x)} is not among the {others}: {call}")
    if node.gradient is None:
        uses = " and ".join(f"as `{use.argument}` of {name_at(use.target)}" for use in node.uses)
        raise ValueError(f"{ASKED}: no gradient flows to {label_of(x)}: it is used only {uses}, where there is none")
    return node


def _cell_at(node: Node, at: Any) -> tuple[int, ...]:
    """The cell that `at=` names, as an index that is not negative. Raises IndexError."""
    cell = at if isinstance(at, tuple) else (at,)
    pairs = [*zip(cell, node.shape, strict=False)]
    if len(cell) != len(node.shape) or not all(isinstance(i, int | np.integer) and -n <= i < n for i, n in pairs):
        name = f"{label_of(node)}, which has shape {node.shape}"
        raise IndexError(f"{ASKED}: at={at!r} is no cell of {name}: give an integer for each axis")
    return tuple(int(i) % n for i, n in pairs)


def _nodes_of_rows(rows: Any, graph: Graph) -> list[Node]:
    """The nodes that hold these rows: the tensor itself, or every array that went in with the same numbers."""
    if isinstance(rows, Tensor):
        name, found = label_of(rows), [node for node in graph.nodes if node is graph.node_of(rows)]
    else:
        array = np.asarray(rows)
        name = f"an array of shape {array.shape}"
        leaves = [node for node in graph.nodes if node.op is None and array.dtype.kind in "biuf"]
        found = [node for node in leaves if np.array_equal(node.value, array.astype(node.value.dtype), equal_nan=True)]
    if not found:
        data = [f"{name_at(node)} {node.shape}" for node in graph.nodes if node.kind == "data" and node.shape]
        advice = "pass the data of the batch" + (f"; these went in: {', '.join(data)}" if data else "")
        raise ValueError(f"{ASKED}: rows= is {name}, and nothing of it went into the loss: {advice}")
    if not found[0].shape:
        raise ValueError(f"{ASKED}: rows= is {name}, a single number: pass data whose first axis is the batch")
    return found
