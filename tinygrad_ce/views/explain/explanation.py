"""Where a gradient comes from: a share by each use of a tensor, and their sum; or the whole graph of a loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tinygrad_ce import ops
from tinygrad_ce.core import Array
from tinygrad_ce.graph.expressions import names_in
from tinygrad_ce.graph.latex import latex, slope, symbol
from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.graph.rules import divided_by, is_mean
from tinygrad_ce.report.parts import Heading, Part, Report, Sentence, Table, Words
from tinygrad_ce.report.words import cut, format_number, listed, several
from tinygrad_ce.views.explain.table import changed, label_of, name_at, own_name, parts_of_graph, place
from tinygrad_ce.views.explain.ways import Path, batch_of, batch_rows, largest_cell, sizes

ASKED = "tg.explain"
MOST_USES = 8  # that are shown, those with the largest shares
STEEPEST = {"tanh": 1.0, "sigmoid": 0.25}
SATURATED = 0.05  # of the steepest slope
FLAT = {
    "relu": "relu is off: its input is not positive",
    "where": "`where` took its other value",
    "clip": "clip holds it at a bound",
    "maximum": "the other number is larger",
    "minimum": "the other number is smaller",
    "reduce_max": "another number is the largest",
    "reduce_min": "another number is the smallest",
}


class Share:
    """What comes back along one use of a tensor: by which result, as which argument of its operation.

    number: of the use, as the table counts them. rule: as it is printed in a program. value: in the shape of the
    tensor. upstream: the gradient of the result. local: by what upstream is multiplied, number by number; None where
    the rule is no such product.
    """

    def __init__(self, number: int, edge: Edge, of: Explanation) -> None:
        formula, upstream, op = edge.formula, edge.target.gradient, edge.target.op
        assert edge.share is not None
        assert formula is not None
        assert upstream is not None
        assert op is not None
        n = edge.position + 1 - len(op.arguments)
        self.number, self.by, self.rule = number, edge.target.name, formula.readable.text
        self.argument = f"{op.starred}[{n}]" if op.starred and n >= 0 else edge.argument
        self.value, self.upstream, self.local = edge.share, upstream, edge.local
        self._formula, self._op, self._edge, self._of = formula.readable, op, edge, of

    @property
    def next(self) -> Explanation:
        """The explanation of the result; for the loss, its graph."""
        return Explanation(self._of._graph, self._edge.target, None, self._of._given)

    def __repr__(self) -> str:
        return f"<share of {self.by}: {self.rule}>"

    def _cells(self) -> tuple[str, ...]:
        """In the table: the use, its operation and line, and the numbers of the cell."""
        target, cell = self._edge.target, self._of.cell
        assert target.formula is not None
        operation = f"{name_at(target)} = {cut(target.formula.text, 60)}"
        if sum(edge.source is self._edge.source for edge in target.inputs) > 1:
            operation += f", as {self.argument}"
        arrays = (None, None, self.value) if self.local is None else (self.upstream, self.local, self.value)
        numbers = (
            "" if array is None or cell is None else format_number(np.broadcast_to(array, self.value.shape)[cell])
            for array in arrays
        )
        return str(self.number), operation, place(target), *numbers


class Explanation(Report):
    """What `explain` has found out: of a tensor of a graph, or of the graph of a loss.

    gradient: of the tensor, or of the loss (1). shares: for each use of the tensor; they sum to the gradient.
    cell: whose numbers are shown; None where there are none. rows: what each row of the batch adds to the cell; None
    where no batch is known.
    """

    def __init__(self, graph: Graph, node: Node, cell: tuple[int, ...] | None, rows: list[Node]) -> None:
        assert node.gradient is not None
        self._graph, self._node, self._given = graph, node, rows
        self.gradient: Array = node.gradient
        self.cell = largest_cell(node.gradient) if cell is None and node.gradient.size else cell
        self.shares = [Share(number, use, self) for number, use in enumerate(node.backward_uses)]
        self._batch = batch_of(graph, rows) if self.shares else []
        self.rows = None if self.cell is None else batch_rows(graph, node, self.cell, self._batch)
        self.parts: Sequence[Part] = [*self._parts()] if self.shares else parts_of_graph(graph)

    def path(self, use: int | None = None) -> Path:
        """One way from the cell to the loss, by the largest share at each step.

        use: the number of the use to begin with, as the table counts them. Raises ValueError for the loss itself and
        for a tensor without elements, IndexError for a use that there is not.

        >>> a = Tensor(2.0, requires_grad=True, name="a")
        >>> explain(a, a * a * 5).path(use=0).names
        ('a', 't1', 'loss')
        """
        uses, name = self._node.backward_uses, label_of(self._node)
        if self.cell is None or not uses:
            reason = "it has no elements" if uses else "the loss itself has no way to go"
            raise ValueError(f"{ASKED}: there is no path from {name}: {reason}")
        if use is not None and (isinstance(use, bool) or not isinstance(use, int) or not 0 <= use < len(uses)):
            raise IndexError(f"{ASKED}: use={use!r} is no use of {name}: they are 0 to {len(uses) - 1}")
        return Path(self._node, self.cell, None if use is None else uses[use])

    def latex(self) -> str:
        r"""The gradient of the tensor as LaTeX, by the rules of its uses; for a loss, every operation of its graph.

        >>> W = Tensor(3.0, requires_grad=True, name="W")
        >>> print(explain(W, np.tanh(W)).latex())
        \frac{\partial L}{\partial W} = 1 \cdot \left(1 - L \cdot L\right)
        """
        if self.shares:
            rules = [latex(x._formula, symbols_of_gradients(self._graph, x._edge.target)) for x in self.shares]
            return f"{slope(self._node.name)} = {' + '.join(rules)}"
        results = [(node.name, node.formula) for node in self._graph.nodes]
        lines = [f"{symbol(name)} &= {latex(x.readable, {})}" for name, x in results if x is not None]
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    # ---- in words

    def _parts(self) -> Iterator[Part]:
        node, cell = self._node, self.cell
        order = self.shares if cell is None else sorted(self.shares, key=lambda share: -sizes(share.value)[cell])
        shown, others = [share for share in self.shares if share in order[:MOST_USES]], order[MOST_USES:]
        yield Heading(f"Where the gradient of {name_at(node)} comes from")
        yield Sentence(self._about())
        yield from changed(self._graph)
        yield _table(shown)
        yield self._rules(shown)
        if cell is None:
            return
        name, terms = name_at(node, cell), [share.value[cell] for share in shown]
        if others:
            terms.append(sum(share.value[cell] for share in others))
            yield Sentence(f"And {several(len(others), 'more use')}: together {format_number(terms[-1])}.")
        yield Sentence(_sum([*map(format_number, terms)], format_number(self.gradient[cell]), name))
        yield from _other_grad(node, self.gradient)
        if self.rows is not None:
            yield from self.rows.parts(name)
        elif node.kind == "parameter" and not self._batch and "data" in {x.kind for x in self._graph.nodes if x.shape}:
            text = f"Which rows of the batch push {name}? This loss does not say where the batch is: "
            yield Sentence(f"{text}{ASKED}(..., rows=x) does, with the data x whose first axis is the batch.")

    def _about(self) -> str:
        node, loss = self._node, self._graph.loss
        used = {1: "once", 2: "twice"}.get(len(self.shares), f"{len(self.shares):,} times")
        own = own_name(node)
        made = "" if node.formula is None else f", {cut(node.formula.text, 60)}"
        where = f" in {place(node)}" if node.place else ""
        text = f"{name_at(node)} is {'the' if own else 'a'} {node.kind}{own}{made}{where}, of shape {node.shape}. "
        text += f"It is used {used} on the way to {name_at(loss)} = {format_number(loss.value.item())}."
        if self.cell is None:
            return f"{text} There are no numbers to show: it has no elements."
        if self.cell:
            value = format_number(node.value[self.cell].item())
            text += f" The numbers are those of {name_at(node, self.cell)} = {value} (at= chooses another cell)."
        for share in self.shares:
            result = share._edge.target
            if result.derivative is not None and result.derivative.name in names_in(share._formula.whole):
                gradient, of = result.derivative.name, name_at(result)
                return f"{text} In a rule, {gradient} is the gradient of the loss with respect to {of}."
        return text

    def _rules(self, shown: Sequence[Share]) -> Table:
        """The rule of each use, with the numbers of the cell, and what is to be said of them."""
        rows, cell = [], self.cell
        for share in shown:
            texts = [cut(share.rule, 400)]
            if cell is not None:
                texts += [share._formula.filled(cell), format_number(share.value[cell])]
            rows.append((str(share.number) if len(self.shares) > 1 else "rule", " = ".join(dict.fromkeys(texts))))
            rows += [] if cell is None else [("", Words(text)) for text in _remarks(share, cell)]
        return Table(rows)


def symbols_of_gradients(graph: Graph, after: Node) -> dict[str, str]:
    """By the name of a gradient in the program, what it is the gradient of; where it is that of several, of `after`."""
    return {x.derivative.name: x.name for x in (*graph.nodes, after) if x.derivative is not None}


def _table(shown: Sequence[Share]) -> Table:
    """The uses; without columns in which nothing would stand, as the slopes of a product of matrices."""
    header = ("use", "used in", "line", "upstream", "local", "share")
    columns = zip(header, *(share._cells() for share in shown), strict=True)
    header, *rows = zip(*(column for column in columns if any(column[1:])), strict=True)
    numbers = [n for n, title in enumerate(header) if title in ("upstream", "local", "share")]
    return Table(rows, header, frozenset({0, *numbers}), frozenset(range(2, len(header))))


def _sum(terms: Sequence[str], gradient: str, name: str) -> str:
    if len(terms) == 1:
        return f"{gradient} is the gradient of {name}: it is used only once."
    others = [f"({term})" if term.startswith("-") else term for term in terms[1:]]
    return f"{' + '.join([terms[0], *others])} = {gradient}, which is the gradient of {name}."


def _other_grad(node: Node, gradient: Array) -> list[Part]:
    """A word on `.grad`, where it holds something else."""
    grad = None if node.tensor is None or node.tensor.op is not None else node.tensor.grad
    if grad is None or grad.shape != node.shape or np.allclose(grad, gradient, 1e-5, 1e-8, equal_nan=True):
        return []
    text = "holds other numbers: gradients of several backward() calls, added up, or of another loss. An optimizer's "
    return [Sentence(f"{label_of(node)}.grad {text}zero_grad() empties it.")]


# ---- what a share says besides its number


def _remarks(share: Share, cell: tuple[int, ...]) -> Iterator[str]:
    """A sentence each: why it is exactly zero, saturated, divided by a count, or looked up by rows; mostly nothing."""
    name, count = share._op.name, divided_by(share._edge)
    if name in ("getitem", "pick") and cell:
        yield from _looked_up(share, cell)
    elif share.value[cell] == 0:
        yield _why_zero(share, cell)
    if name in STEEPEST and share.local is not None and abs(share.local[cell]) < SATURATED * STEEPEST[name]:
        slope = format_number(share.local[cell])
        yield f"{name} is saturated: its slope is at most {STEEPEST[name]:g}, and {slope} here."
    if name == "reduce_max" and _is_only_subtracted(share):
        yield "The maximum is only subtracted: it changes no result, and nothing but rounding comes back by it."
    if count is not None and count != 1 and is_mean(share._edge, count):
        yield f"It is divided by {count:,g}, because {name_at(share._edge.target)} is a mean over so many."


def _looked_up(share: Share, cell: tuple[int, ...]) -> Iterator[str]:
    """Which rows of the result an indexing took the cell for: positions are indexed instead of values."""
    source, tensor = share._edge.source, share._edge.target.tensor
    assert tensor is not None
    positions = np.arange(source.value.size).reshape(source.shape)
    taken = np.asarray(share._op.run(positions, *tensor.arrays[1:], **tensor.params))
    places = np.argwhere(taken == positions[cell])
    if not len(places):
        yield f"Exactly 0: the index does not choose {name_at(source, cell)}."
    elif len(tensor.arrays) > 1 and taken.ndim:
        row = positions[cell[0]]
        is_whole = taken.ndim > row.ndim and np.array_equal(taken[tuple(places[0][: taken.ndim - row.ndim])], row)
        rows = [str(n) for n in dict.fromkeys(places[:, 0].tolist())]
        names = " and ".join(rows) if len(rows) < 3 else listed(rows)
        looked_up = name_at(source, cell[:1] if is_whole else cell)
        yield f"{looked_up} was used by row{'s' * (len(rows) > 1)} {names}: what comes back from there is added up."


def _why_zero(share: Share, cell: tuple[int, ...]) -> str:
    result, name, upstream = name_at(share._edge.target), share._op.name, share.upstream
    if not upstream.any():
        return f"Exactly 0: the gradient of {result} is 0 everywhere."
    if share.local is None:
        # Products that cancel each other do so no more when each of them has another weight.
        weights = np.geomspace(1, 2, upstream.size, dtype=upstream.dtype).reshape(upstream.shape)
        if share._edge.pulled(upstream * weights)[cell] != 0:
            return "Exactly 0: what comes back from several numbers cancels."
        return f"Exactly 0: {FLAT.get(name, 'each product in the rule is 0')}."
    if share.local[cell] == 0:
        return f"Exactly 0: {FLAT.get(name, f'the local slope of {name} is 0 there')}."
    if np.broadcast_to(upstream, share.value.shape)[cell] == 0:
        return f"Exactly 0: nothing comes back to this number of {result}."
    return f"The product is smaller than any number of {share.value.dtype}: it is rounded to 0."


def _is_only_subtracted(share: Share) -> bool:
    """Whether a maximum is subtracted from the numbers themselves, so that what comes back by it is rounding."""
    rounding = 1e-6 * np.abs(share._of.gradient).max(initial=0)
    differences = [use.target.inputs[0].source for use in share._edge.target.uses if use.target.op is ops.sub]
    return share._edge.source in differences and bool(np.abs(share.value).max(initial=0) <= rounding)
