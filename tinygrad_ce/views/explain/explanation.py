"""Where a gradient comes from: every path to the loss, what comes back along it, and their sum; or the whole graph."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np

from tinygrad_ce.ancestry import reachable
from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.checks import check_not_traced, check_readable
from tinygrad_ce.graph.latex import latex, slope, symbol
from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.report.parts import Part, Report
from tinygrad_ce.source_lines import state
from tinygrad_ce.views.explain.batch import BatchRows, batch_rows
from tinygrad_ce.views.explain.paths import (
    Path,
    all_paths,
    argument,
    largest,
    size_at,
    some_paths,
    ways_to_the_loss,
)
from tinygrad_ce.views.explain.wording import parts_of_graph, parts_of_tensor

ASKED = "tg.explain"


def explain(x: Tensor, loss: Tensor | None = None, at: Any = None, paths: int = 8) -> Explanation:
    """Say where the gradient of a tensor comes from; or, for a loss itself, show its graph as a table.

    x: any tensor of the graph that has a gradient, in any shape; or the loss.
    loss: a single number with a history. Without it: x itself, if it is one; or what `backward()` last started from.
    at: the cell whose numbers are shown, as an index of x; if not given, the one with the largest gradient in size.
    paths: how many ways to the loss are shown at most, the largest first; what the others bring is added up.
    The answer shows itself in a terminal and in a notebook; `.gradient`, `.shares`, `.paths` and `.rows` hold the
    arrays, and `.latex()` gives the rule. Nothing is changed, no `.grad` either.
    Raises TypeError, ValueError and IndexError that say what to pass instead; RuntimeError in a traced step.

    >>> W = Tensor(3.0, requires_grad=True, name="W")
    >>> print(explain(W, W * 2).parts[-1].text)
    2 is the gradient of W: there is only one path.
    """
    graph = Graph(_loss_of(x, loss), ASKED)
    if isinstance(paths, bool) or not isinstance(paths, (int, np.integer)) or paths < 1:
        raise ValueError(f"{ASKED}: paths={paths!r} must be a positive integer")
    if graph.node_of(x) is graph.loss:
        if at is not None:
            raise ValueError(f"{ASKED}: at= is a cell of a tensor that leads to the loss, and {x.label} is the loss")
        return Explanation(graph)
    node = _node_of(x, graph)
    return Explanation(graph, node, _cell(node, at), int(paths))


@dataclass(frozen=True, eq=False)
class Share:
    """What comes back along one use of a tensor: by which result, as which argument of its operation.

    rule: as it is printed in a program. value: in the shape of the tensor. path_count: ways to the loss from there.
    """

    by: str
    argument: str
    rule: str
    value: Array
    path_count: int


class Explanation(Report):
    """What `explain` has found out: of a tensor of a graph, or of the graph of a loss.

    gradient: of the tensor, or of the loss (1). shares: for each use of the tensor; they sum to the gradient.
    paths: those that were followed, the largest contribution to the cell first. path_count: how many there are.
    cell: whose numbers are shown; None where there are none. rows: what each row of the batch adds to the cell.
    """

    def __init__(
        self, graph: Graph, node: Node | None = None, cell: tuple[int, ...] | None = None, most: int = 8
    ) -> None:
        self._graph = graph
        self._node = graph.loss if node is None else node
        assert self._node.gradient is not None
        self.gradient: Array = self._node.gradient
        self.cell = cell
        self.shares: list[Share] = []
        self.paths: list[Path] = []
        self.path_count = 0
        self.rows: BatchRows | None = None
        self.parts: list[Part] = parts_of_graph(graph) if node is None else self._found(node, most)

    def _found(self, node: Node, most: int) -> list[Part]:
        uses = node.backward_uses
        ways = ways_to_the_loss(self._graph, node)
        self.path_count = ways[node]
        self.shares = [_share(use, ways[use.target]) for use in uses]
        found = all_paths(node, ways)
        if found is None:
            shown = largest(uses, self.cell, most)
            found = [path for use in shown for path in some_paths(use, ways, max(1, most // len(shown)))]
        self.paths = sorted(found, key=lambda path: -size_at(path.contribution, self.cell))
        if self.cell is not None:
            rows = batch_rows(self._graph, node, self.cell)
            self.rows = rows if isinstance(rows, BatchRows) else None
            return parts_of_tensor(self._graph, node, self.cell, ways, self.paths, most, rows)
        return parts_of_tensor(self._graph, node, self.cell, ways, self.paths, most, "it has no elements")

    def latex(self) -> str:
        r"""The gradient of the tensor as LaTeX, by the rules of its uses; for a loss, every operation of its graph.

        >>> W = Tensor(3.0, requires_grad=True, name="W")
        >>> print(explain(W, np.tanh(W)).latex())
        \frac{\partial L}{\partial W} = 1 \cdot \left(1 - L \cdot L\right)
        """
        graph, node = self._graph, self._node
        if node is not graph.loss:
            rules = [(use.formula, symbols_of_gradients(graph, use.target)) for use in node.backward_uses]
            shown = [latex(formula.readable, names) for formula, names in rules if formula is not None]
            return f"{slope(node.name)} = {' + '.join(shown)}"
        made = [(other.name, other.formula) for other in graph.nodes]
        lines = [f"{symbol(name)} &= {latex(formula.readable, {})}" for name, formula in made if formula is not None]
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"


def symbols_of_gradients(graph: Graph, after: Node) -> dict[str, str]:
    """By the name of a gradient in the program, what it is the gradient of; where it is that of several, of `after`."""
    return {x.derivative.name: x.name for x in (*graph.nodes, after) if x.derivative is not None}


def _share(use: Edge, path_count: int) -> Share:
    assert use.formula is not None
    assert use.share is not None
    return Share(use.target.name, argument(use), use.formula.readable.text, use.share, path_count)


# ---- what is meant


def _loss_of(x: Any, loss: Tensor | None) -> Tensor:
    """The loss that is meant. Raises where there is none."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{ASKED}: it explains a Tensor, and this is {type(x).__name__}")
    check_not_traced(x, ASKED)
    if loss is not None:
        check_readable(loss, ASKED)
        return loss
    last_loss = state().last_loss
    last = None if last_loss is None else last_loss()
    if last is not None and last.size == 1 and x.serial in reachable(last):
        return last
    if x.op is not None and x.size == 1:
        return x
    if not x.requires_grad:
        raise ValueError(_no_gradient(x))
    if last is not None and last.size != 1:
        missing = f"{last.label}, from which the last backward() started, is no single number either"
    elif last is None:
        missing = "backward() has not been called, or the loss that it started from is gone"
    else:
        missing = f"{last.label}, from which the last backward() started, was not made from it"
    raise ValueError(
        f"{ASKED}: {x.label} of shape {x.shape} is no loss, and {missing}: pass the loss, "
        f"{ASKED}({x.name or 'x'}, loss), or call loss.backward() first"
    )


def _no_gradient(x: Tensor) -> str:
    return (
        f"{ASKED}: {x.label} is data, and has no gradient: none was asked for. To have one, make it with "
        "Tensor(..., requires_grad=True) before the loss is computed"
    )


def _node_of(x: Tensor, graph: Graph) -> Node:
    """The node of a tensor in the graph, if a gradient flows there."""
    if not x.requires_grad:
        raise ValueError(_no_gradient(x))
    node = graph.node_of(x)
    if node is None:
        raise ValueError(
            f"{ASKED}: {x.label} is not among the {len(graph.nodes)} tensors and arrays of which the loss "
            f"{graph.loss.label} was made: pass the loss that was computed from it, {ASKED}({x.name or 'x'}, loss)"
        )
    if node.gradient is None:
        uses = " and ".join(f"as `{argument(use)}` of {use.target.name}" for use in node.uses)
        raise ValueError(f"{ASKED}: no gradient flows to {x.label}: it is used only {uses}, where there is none")
    return node


def _cell(node: Node, at: Any) -> tuple[int, ...] | None:
    """The cell whose numbers are shown, as an index that is not negative; None where there is none."""
    assert node.gradient is not None
    if at is None:
        if not node.value.size:
            return None
        where = np.unravel_index(int(np.argmax(np.abs(node.gradient))), node.shape)
        return tuple(int(i) for i in where)
    try:
        given = tuple(index(i) for i in (at if isinstance(at, tuple) else (at,)))
    except TypeError:
        raise TypeError(f"{ASKED}: at={at!r} must be an index of {node.label}: integers, one for each axis") from None
    if len(given) != len(node.shape) or not all(-n <= i < n for i, n in zip(given, node.shape, strict=True)):
        raise IndexError(f"{ASKED}: at={at!r} is no cell of {node.label}, which has shape {node.shape}")
    return tuple(i % n for i, n in zip(given, node.shape, strict=True))
