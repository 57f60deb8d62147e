"""Where a gradient comes from: a share by each use of a tensor, and their sum; or the whole graph of a loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.expressions import names_in
from tinygrad_ce.graph.formula import Formula
from tinygrad_ce.graph.latex import latex, slope, symbol
from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.report.parts import Heading, Part, Report, Sentence, Table, Words
from tinygrad_ce.report.words import cut, format_number, several
from tinygrad_ce.views.explain.arguments import ASKED, argument, cell_at, largest_cell, loss_of, node_of, nodes_of_rows
from tinygrad_ce.views.explain.path import Path, cell_name, size_at
from tinygrad_ce.views.explain.rows import batch_of, batch_rows
from tinygrad_ce.views.explain.table import LONGEST_NAME, changed, exact, origin, parts_of_graph, place
from tinygrad_ce.views.explain.zeros import remarks

MOST_USES = 8  # that are shown, those with the largest shares
LONGEST_RULE = 400


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
    graph = Graph(loss_of(x, loss), ASKED)
    if graph.node_of(x) is graph.loss:
        for name, value in (("at", at), ("rows", rows)):
            if value is not None:
                raise ValueError(f"{ASKED}: {name}= is for a tensor that leads to the loss, and {x.label} is the loss")
        return Explanation(graph)
    node = node_of(x, graph)
    cell = largest_cell(node) if at is None else cell_at(node, at)
    return Explanation(graph, node, cell, [] if rows is None else nodes_of_rows(rows, graph))


@dataclass(frozen=True, eq=False)
class Share:
    """What comes back along one use of a tensor: by which result, as which argument of its operation.

    rule: as it is printed in a program. value: in the shape of the tensor. upstream: the gradient of the result.
    local: by what upstream is multiplied, number by number; None where the rule is no such product.
    """

    by: str
    argument: str
    rule: str
    value: Array
    upstream: Array
    local: Array | None
    _formula: Formula
    _edge: Edge
    _of: Explanation

    @property
    def next(self) -> Explanation:
        """The explanation of the result; for the loss, its graph."""
        graph, node = self._of._graph, self._edge.target
        return (
            Explanation(graph) if node is graph.loss else Explanation(graph, node, largest_cell(node), self._of._given)
        )

    def __repr__(self) -> str:
        return f"<share of {self.by}: {self.rule}>"


class Explanation(Report):
    """What `explain` has found out: of a tensor of a graph, or of the graph of a loss.

    gradient: of the tensor, or of the loss (1). shares: for each use of the tensor; they sum to the gradient.
    cell: whose numbers are shown; None where there are none. rows: what each row of the batch adds to the cell; None
    where no batch is known.
    """

    def __init__(
        self,
        graph: Graph,
        node: Node | None = None,
        cell: tuple[int, ...] | None = None,
        rows: list[Node] | None = None,
    ) -> None:
        self._graph, self._node, self._given, self.cell = graph, node or graph.loss, rows or [], cell
        assert self._node.gradient is not None
        self.gradient: Array = self._node.gradient
        self.shares = [self._share(use) for use in self._node.backward_uses]
        self._batch = [] if cell is None else batch_of(graph, self._given)
        self.rows = None if cell is None else batch_rows(graph, self._node, cell, self._batch)
        self.parts: list[Part] = parts_of_graph(graph) if node is None else self._parts()

    def _share(self, use: Edge) -> Share:
        rule, upstream = use.formula, use.target.gradient
        assert rule is not None
        assert use.share is not None
        assert upstream is not None
        text, name = rule.readable.text, argument(use)
        return Share(use.target.name, name, text, use.share, upstream, use.local, rule.readable, use, self)

    def path(self, use: int | None = None) -> Path:
        """One way from the cell to the loss, by the largest share at each step.

        use: the number of the use to begin with, as the table counts them. Raises ValueError for the loss itself and
        for a tensor without elements, IndexError for a use that there is not.

        >>> a = Tensor(2.0, requires_grad=True, name="a")
        >>> explain(a, a * a * 5).path(use=0).names
        ('a', 't1', 'loss')
        """
        uses = self._node.backward_uses
        if self.cell is None:
            reason = "the loss itself has no way to go" if self._node is self._graph.loss else "it has no elements"
            raise ValueError(f"{ASKED}: there is no path from {cut(self._node.label, LONGEST_NAME)}: {reason}")
        if use is not None and (isinstance(use, bool) or not isinstance(use, int) or not 0 <= use < len(uses)):
            raise IndexError(f"{ASKED}: use={use!r} is no use of {self._node.label}: they are 0 to {len(uses) - 1}")
        return Path(self._node, self.cell, None if use is None else uses[use])

    def latex(self) -> str:
        r"""The gradient of the tensor as LaTeX, by the rules of its uses; for a loss, every operation of its graph.

        >>> W = Tensor(3.0, requires_grad=True, name="W")
        >>> print(explain(W, np.tanh(W)).latex())
        \frac{\partial L}{\partial W} = 1 \cdot \left(1 - L \cdot L\right)
        """
        graph, node = self._graph, self._node
        if node is not graph.loss:
            rules = [latex(x._formula, symbols_of_gradients(graph, x._edge.target)) for x in self.shares]
            return f"{slope(node.name)} = {' + '.join(rules)}"
        results = [(other.name, other.formula) for other in graph.nodes]
        lines = [f"{symbol(name)} &= {latex(x.readable, {})}" for name, x in results if x is not None]
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    # ---- in words

    def _parts(self) -> list[Part]:
        node, cell = self._node, self.cell
        order = sorted(range(len(self.shares)), key=lambda n: -size_at(self.shares[n].value, cell))
        shown, others = sorted(order[:MOST_USES]), order[MOST_USES:]
        parts: list[Part] = [Heading(f"Where the gradient of {cut(node.name, LONGEST_NAME)} comes from")]
        parts += [Sentence(self._about()), *changed(self._graph), self._table(shown), self._rules(shown)]
        if cell is None:
            return parts
        terms = [float(self.shares[n].value[cell]) for n in shown]
        if others:
            terms.append(sum(float(self.shares[n].value[cell]) for n in others))
            parts.append(Sentence(f"And {several(len(others), 'more use')}: together {format_number(terms[-1])}."))
        name = cell_name(node, cell)
        parts += [Sentence(_sum(terms, float(self.gradient[cell]), name)), *_other_grad(node)]
        if self.rows is not None:
            return [*parts, *self.rows.parts(name)]
        has_data = any(x.kind == "data" and x.shape for x in self._graph.nodes)
        if node.kind == "parameter" and has_data and not self._batch:
            text = f"Which rows of the batch push {name}? This loss does not say where the batch is: "
            parts.append(Sentence(f"{text}{ASKED}(..., rows=x) does, with the data x whose first axis is the batch."))
        return parts

    def _about(self) -> str:
        node, loss, name = self._node, self._graph.loss, cut(self._node.name, LONGEST_NAME)
        used = {1: "once", 2: "twice"}.get(len(self.shares), f"{len(self.shares):,} times")
        where = f" in {place(node)}" if node.place else ""
        text = f"{name} is {origin(node)}{where}, of shape {node.shape}. It is used {used} on the way to "
        text += f"{cut(loss.name, LONGEST_NAME)} = {format_number(loss.value.item())}."
        if self.cell is None:
            return f"{text} There are no numbers to show: it has no elements."
        if self.cell:
            value = exact(node.value[self.cell].item())
            text += f" The numbers are those of {cell_name(node, self.cell)} = {value} (at= chooses another cell)."
        for share in self.shares:
            result = share._edge.target
            if result.derivative is not None and result.derivative.name in names_in(share._formula.whole):
                of = cut(result.name, LONGEST_NAME)
                return f"{text} In a rule, {result.derivative.name} is the gradient of the loss with respect to {of}."
        return text

    def _table(self, shown: list[int]) -> Table:
        rows = [(str(n), *_row(self.shares[n], self.cell)) for n in shown]
        header = ("use", "used in", "line", "upstream", "local", "share")
        kept = [n for n in range(len(header)) if any(row[n] for row in rows)]  # a product of matrices has no slope
        right, whole = (frozenset(map(kept.index, {*columns} & {*kept})) for columns in ((0, 3, 4, 5), (2, 3, 4, 5)))
        return Table([[row[n] for n in kept] for row in rows], [header[n] for n in kept], right, whole)

    def _rules(self, shown: list[int]) -> Table:
        """The rule of each use, with the numbers of the cell, and what is to be said of them."""
        rows: list[tuple[str, str]] = []
        for n in shown:
            rows.append((str(n) if len(self.shares) > 1 else "rule", _rule(self.shares[n], self.cell)))
            if self.cell is not None:
                rows += [("", Words(text)) for text in remarks(self.shares[n]._edge, self.cell)]
        return Table(rows)


def symbols_of_gradients(graph: Graph, after: Node) -> dict[str, str]:
    """By the name of a gradient in the program, what it is the gradient of; where it is that of several, of `after`."""
    return {x.derivative.name: x.name for x in (*graph.nodes, after) if x.derivative is not None}


def _row(share: Share, cell: tuple[int, ...] | None) -> tuple[str, ...]:
    """A use in the table: its operation and line, and the numbers of the cell."""
    result = share._edge.target
    assert result.formula is not None
    operation = f"{cut(share.by, LONGEST_NAME)} = {cut(result.formula.text, 60)}"
    if sum(edge.source is share._edge.source for edge in result.inputs) > 1:
        operation += f", as {share.argument}"
    if cell is None:
        return operation, place(result), "", "", ""
    factors = ("", "")
    if share.local is not None:
        upstream = np.broadcast_to(share.upstream, share.value.shape)[cell]
        factors = (format_number(upstream), format_number(share.local[cell]))
    return operation, place(result), *factors, format_number(share.value[cell])


def _rule(share: Share, cell: tuple[int, ...] | None) -> str:
    """The rule as printed, and the same with the numbers of the cell."""
    text = cut(share.rule, LONGEST_RULE)
    if cell is None:
        return text
    return " = ".join(dict.fromkeys((text, share._formula.filled(cell), format_number(share.value[cell]))))


def _sum(terms: list[float], whole: float, name: str) -> str:
    if len(terms) == 1:
        return f"{format_number(whole)} is the gradient of {name}: it is used only once."
    shown = [f"({text})" if n and text.startswith("-") else text for n, text in enumerate(map(format_number, terms))]
    return f"{' + '.join(shown)} = {format_number(whole)}, which is the gradient of {name}."


def _other_grad(node: Node) -> list[Part]:
    """A word on `.grad`, where it holds something else."""
    tensor = node.tensor
    if tensor is None or tensor.grad is None or tensor.op is not None or tensor.grad.shape != node.shape:
        return []
    if node.gradient is None or np.allclose(tensor.grad, node.gradient, 1e-5, 1e-8, equal_nan=True):
        return []
    text = "holds other numbers: gradients of several backward() calls, added up, or of another loss. An optimizer's "
    return [Sentence(f"{cut(node.label, LONGEST_NAME)}.grad {text}zero_grad() empties it.")]
