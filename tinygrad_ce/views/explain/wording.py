"""The words of an explanation: the table of a graph, and the sections on one tensor of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.report.parts import Heading, Part, Sentence, Table
from tinygrad_ce.report.words import format_number
from tinygrad_ce.views.explain.batch import BatchRows
from tinygrad_ce.views.explain.paths import Path, argument, largest

MOST_NODES = 400  # rows of the table of a graph
HARDEST = 5  # rows of the batch that are shown
LONGEST_CHAIN = 12  # names of a path that are written out
LONGEST_PLACE = 24  # characters of a file and line
LONGEST_NAME = 40
LONGEST_RULE = 400
SMALL = 3  # numbers that are shown one by one
MOST_COUNTED = 10**12  # what is more is no longer written with all its digits

# ---- the graph of a loss


def parts_of_graph(graph: Graph) -> list[Part]:
    """The table of a graph, in the order of the forward pass."""
    loss, shown = graph.loss, graph.nodes
    operations = count(sum(node.kind == "result" for node in graph.nodes), "operation")
    about = "In the order of the forward pass. The gradient of a number says how fast the loss grows with it."
    if len(shown) > MOST_NODES:
        shown = shown[: MOST_NODES // 2] + shown[-MOST_NODES // 2 :]
        about += f" Shown are the first and the last {MOST_NODES // 2} of {len(graph.nodes):,} rows."
    header = ("#", "name", "made by", "shape", "value", "gradient", "line")
    return [
        Heading(f"{_named(loss)} = {format_number(loss.value.item())}, made by {operations}"),
        Sentence(about),
        *_changed(graph),
        Table([_row_of(node) for node in shown], header, right=frozenset({0}), whole=frozenset({0, 3, 6})),
        *_form_of_the_loss(graph),
    ]


def _row_of(node: Node) -> tuple[str, ...]:
    own = "" if node.tensor is None else str(node.tensor.serial)
    made = node.kind + (f" {node.label}" if _has_other_name(node) else "")
    if node.formula is not None:
        made = node.formula.text
    gradient = "" if node.gradient is None else numbers(node.gradient)
    return own, _cut(node.name, 16), _cut(made, 48), str(node.shape), numbers(node.value), gradient, _line(node)


def _has_other_name(node: Node) -> bool:
    """Whether the user calls it otherwise than the program does."""
    return node.tensor is not None and node.label not in (node.name, f"#{node.tensor.serial}")


def _named(node: Node) -> str:
    return node.name if node.tensor is None else f"{node.name} ({_cut(node.tensor.label, LONGEST_NAME)})"


def _line(node: Node) -> str:
    """Where it was made; of a long name of a file, the end."""
    place = "" if node.place is None else node.place.short
    return place if len(place) <= LONGEST_PLACE else "…" + place[1 - LONGEST_PLACE :]


def _form_of_the_loss(graph: Graph) -> list[Part]:
    """Which of its two forms a cross-entropy has here."""
    names = {node.op.name for node in graph.nodes if node.op is not None}
    told: list[Part] = []
    for squash, as_one, loss in (
        ("softmax", {"xent", "soft_xent"}, "cross_entropy"),
        ("sigmoid", {"sigmoid_xent"}, "binary_cross_entropy"),
    ):
        if names & as_one:
            text = (
                f"{squash} and cross-entropy are shown as one operation, on the logits; "
                f"losses.{loss}(..., fused=False) shows them apart."
            )
            told.append(Sentence(text))
        elif squash in names and "xlogy" in names:
            text = (
                f"{squash} and cross-entropy are shown apart, with the gradient at the probabilities; "
                f"losses.{loss} without fused=False makes them one operation, on the logits."
            )
            told.append(Sentence(text))
    return told


def _changed(graph: Graph) -> list[Part]:
    """A warning, if parameters have been written to since the loss was computed."""
    if not graph.changed:
        return []
    names = ", ".join(_cut(node.label, LONGEST_NAME) for node in graph.changed[:3])
    names += ", ..." if len(graph.changed) > 3 else ""
    text = (
        f"Careful: {names}: other numbers stand there now than when the loss was computed (an optimizer's step?), and "
        "the gradients here mix both. Compute the loss again, and look at it before the step."
    )
    return [Sentence(text)]


# ---- one tensor of it


def parts_of_tensor(
    graph: Graph,
    node: Node,
    cell: tuple[int, ...] | None,
    ways: dict[Node, int],
    paths: list[Path],
    most: int,
    rows: BatchRows | str,
) -> list[Part]:
    """Each use of the tensor with its paths and their numbers, the sum of what was shown, and the rows of the batch.

    ways: paths to the loss, from each node. paths: those that were followed, the largest first; `most` are shown.
    rows: or why there are none to show.
    """
    uses = node.backward_uses
    first = largest(uses, cell, most)
    called = _cut(node.name, LONGEST_NAME)
    parts: list[Part] = [Heading(f"Where the gradient of {called} comes from")]
    parts += [Sentence(_about(graph, node, cell, ways)), *_changed(graph)]
    terms: list[float] = []
    for n, use in enumerate(first, start=1):
        own = [path for path in paths if path.edges[0] is use]
        shown = [path for path in paths[:most] if path.edges[0] is use]
        told = _Use(graph, use, cell, ways[use.target])
        parts += told.parts(n, shown, own)
        terms += told.terms(shown, own)
    others = [use for use in uses if use not in first]
    if others:
        paths_there = count(sum(ways[use.target] for use in others), "path")
        parts.append(Sentence(f"And {count(len(others), 'more use')}, with {paths_there}{_together(others, cell)}."))
        terms += [] if cell is None else [_sum_at(others, cell)]
    if cell is None:
        return parts
    name = called + (str(list(cell)) if cell else "")
    assert node.gradient is not None
    parts += [Heading("The sum"), Sentence(_sum(terms, float(node.gradient[cell]), name)), *_told_grad(node)]
    if isinstance(rows, str):
        why = f"There is no table of the rows of a batch: {rows}."
        single = all(other.value.size <= 1 for other in graph.nodes)  # numbers alone: nobody looks for rows
        return [*parts, Sentence(why)] if node.kind == "parameter" and not single else parts
    return [*parts, *_parts_of_rows(rows, name)]


def _about(graph: Graph, node: Node, cell: tuple[int, ...] | None, ways: dict[Node, int]) -> str:
    loss = graph.loss
    what = f"the {node.kind} {_cut(node.label, 60)}" if _has_other_name(node) else f"a {node.kind}"
    made = "" if node.formula is None else f", {_cut(node.formula.text, 60)}"
    where = f" in {_line(node)}" if node.place else ""
    uses = node.backward_uses
    used = {1: "once", 2: "twice"}.get(len(uses), f"{len(uses):,} times")
    there = count(ways[node], "path leads", "paths lead")
    name = _cut(node.name, LONGEST_NAME)
    text = f"{name} is {what}{made}{where}, of shape {node.shape}. It is used {used}, and {there} from it to "
    text += f"{loss.name} = {format_number(loss.value.item())}. "
    if cell is None:
        return text + "There are no numbers to show: it has no elements."
    if cell:
        text += f"The numbers are those of {name}{list(cell)} = {_exact(node.value[cell].item())} (at= chooses "
        text += "another cell). "
    for use in uses:
        upstream = _upstream(use)
        if use.formula is not None and upstream in re.findall(r"\w+", use.formula.readable.text):
            text += f"In a rule, {upstream} is the gradient of the loss with respect to {use.target.name}"
            text += "; in the numbers of a path, the part of it that comes back on it." if ways[node] > 1 else "."
            break
    return text.strip()


def _upstream(use: Edge) -> str:
    """What the program calls the gradient that the rule of this use starts from."""
    assert use.target.derivative is not None
    return use.target.derivative.name


class _Use:
    """What is told of one use of the tensor."""

    def __init__(self, graph: Graph, use: Edge, cell: tuple[int, ...] | None, path_count: int) -> None:
        self.graph = graph
        self.use = use
        self.cell = cell
        self.path_count = path_count

    def parts(self, n: int, shown: list[Path], own: list[Path]) -> list[Part]:
        """shown: the paths that are told one by one. own: all that were followed."""
        use, target = self.use, self.use.target
        assert use.formula is not None
        assert target.formula is not None
        place = f" ({_line(target)})" if target.place else ""
        title = f"Use {n}, as `{argument(use)}`: {target.name} = {_cut(target.formula.text, 60)}{place}"
        rows: list[tuple[str, ...]] = [("rule", _cut(use.formula.readable.text, LONGEST_RULE))]
        for path in shown:
            rows.append(("path", chain(path)))
            if self.cell is not None:
                rows += self.numbers(path, self.cell)
        more = self.path_count - len(shown)
        if more:
            together = "" if self.cell is None else f": together {format_number(self.rest(shown, own))}"
            text = f"and {count(more, 'more path')}" if shown else count(more, "path")
            rows.append(("" if shown else "paths", f"{text} through {target.name}{together}"))
        return [Heading(title), Table(rows)]

    def terms(self, shown: list[Path], own: list[Path]) -> list[float]:
        """The numbers that were told, and that sum to the share."""
        if self.cell is None:
            return []
        terms = [float(path.contribution[self.cell]) for path in shown]
        return terms + ([self.rest(shown, own)] if self.path_count > len(shown) else [])

    def rest(self, shown: list[Path], own: list[Path]) -> float:
        """What the paths that are not shown bring together."""
        if len(own) == self.path_count:
            return float(sum(path.contribution[self.cell] for path in own if path not in shown))
        assert self.use.share is not None
        with np.errstate(all="ignore"):
            return float(self.use.share[self.cell] - sum(path.contribution[self.cell] for path in shown))

    def numbers(self, path: Path, cell: tuple[int, ...]) -> list[tuple[str, str]]:
        """The rule with the numbers of the cell and, where it works on each number, upstream times local."""
        contribution = format_number(path.contribution[cell])
        filled = self.filled(path, cell)
        rows = [] if filled in (None, contribution) else [("numbers", f"{filled} = {contribution}")]
        if self.use.local is not None:
            upstream = format_number(np.broadcast_to(path.upstream, path.contribution.shape)[cell])
            local = format_number(self.use.local[cell])
            rows.append(("", f"upstream {upstream} x local {local} = {contribution}"))
        return rows or [("numbers", contribution)]

    def filled(self, path: Path, cell: tuple[int, ...]) -> str | None:
        """The rule with the numbers of this path; None if it is not an expression of what is upstream."""
        assert self.use.formula is not None
        formula = self.use.formula.readable.with_numbers({_upstream(self.use): path.upstream})
        same = np.allclose(formula.value, path.contribution, 1e-4, 1e-6, equal_nan=True)
        return formula.filled(cell) if same else None


def _sum_at(uses: list[Edge], cell: tuple[int, ...]) -> float:
    return float(sum(float(use.share[cell]) for use in uses if use.share is not None))


def _together(uses: list[Edge], cell: tuple[int, ...] | None) -> str:
    return "" if cell is None else f": together {format_number(_sum_at(uses, cell))}"


def _sum(terms: Sequence[float], whole: float, name: str) -> str:
    if len(terms) == 1:
        return f"{format_number(whole)} is the gradient of {name}: there is only one path."
    shown = [f"({text})" if n and text.startswith("-") else text for n, text in enumerate(map(format_number, terms))]
    return f"{' + '.join(shown)} = {format_number(whole)}, which is the gradient of {name}."


def _told_grad(node: Node) -> list[Part]:
    """A word on `.grad`, where it holds something else."""
    tensor = node.tensor
    if tensor is None or tensor.grad is None or tensor.op is not None or tensor.grad.shape != node.shape:
        return []
    if node.gradient is None or np.allclose(tensor.grad, node.gradient, 1e-5, 1e-8, equal_nan=True):
        return []
    text = (
        f"{_cut(node.label, LONGEST_NAME)}.grad holds other numbers: gradients of several backward() calls, added up, "
        "or of another loss. An optimizer's zero_grad() empties it."
    )
    return [Sentence(text)]


# ---- the rows of the batch


def _parts_of_rows(rows: BatchRows, name: str) -> list[Part]:
    header: tuple[str, ...] = ("row", "contribution", "direction")
    table: list[tuple[str, ...]] = []
    for row in rows.hardest[:HARDEST]:
        contribution = rows.contributions[row]
        if contribution == 0:
            break
        way = f"pushes {name} {'down' if contribution > 0 else 'up'}" if np.isfinite(contribution) else "not finite"
        target = () if rows.targets is None else (_target(rows.targets[row]),)
        table.append((str(row), *target, format_number(contribution), way))
    if rows.targets is not None:
        header = ("row", "target", *header[1:])
    right = frozenset(range(len(header) - 1))
    return [
        Heading(f"Which rows of the batch push {name} hardest"),
        *([Table(table, header, right=right, whole=right)] if table else []),
        Sentence(_rows_together(rows, name)),
    ]


def _rows_together(rows: BatchRows, name: str) -> str:
    down, up = rows.contributions[rows.contributions > 0], rows.contributions[rows.contributions < 0]
    text = f"A step goes against the gradient. Of {count(len(rows.contributions), 'row')}, {len(down):,} "
    text += f"(together {format_number(down.sum())}) would move {name} down, "
    text += f"and {len(up):,} (together {format_number(up.sum())}) up."
    text += f" {format_number(rows.rest)} does not come through the rows of the batch." if rows.rest else ""
    if rows.separate:
        each = " and ".join(_cut(of, LONGEST_NAME) for of in rows.of)
        text += f" There are several batches, {each}: a row here is that row of each of them, added up."
    elif rows.rest:
        text += f" The rows are those of {' and '.join(_cut(of, LONGEST_NAME) for of in rows.of)}."
    if rows.meet is not None:
        text += (
            f" The rows meet in {_cut(rows.meet, LONGEST_NAME)}: what comes back to one depends on the others as well."
        )
    return text


def _target(target: Any) -> str:
    """A label, or a row of targets: a class that is certain by its number."""
    row = np.asarray(target)
    if row.ndim == 1 and row.size > 1 and set(row.tolist()) == {0, 1} and row.sum() == 1:
        return str(int(np.argmax(row)))
    return " ".join(f"{value:.2g}" for value in row) if row.ndim == 1 and row.size < 6 else numbers(row)


# ---- words and numbers


def count(n: int, one: str, many: str | None = None) -> str:
    """So many of something.

    >>> count(1, "path"), count(1_000, "path")
    ('1 path', '1,000 paths')
    """
    shown = f"{n:,}" if n < MOST_COUNTED else f"about {n:.3g}" if n < 10**300 else f"more than {10**300:.0g}"
    return f"{shown} {one if n == 1 else many or one + 's'}"


def chain(path: Path) -> str:
    """The names along a path; where an operation uses a tensor twice, the argument too."""
    names = [_cut(path.names[0], LONGEST_NAME)]
    for edge in path.edges:
        twice = sum(other.source is edge.source for other in edge.target.inputs) > 1
        names.append(_cut(edge.target.name, LONGEST_NAME) + (f" (as {argument(edge)})" if twice else ""))
    if len(names) > LONGEST_CHAIN:
        half = LONGEST_CHAIN // 2
        names = [*names[:half], f"({len(names) - 2 * half:,} more)", *names[-half:]]
    return " -> ".join(names)


def _cut(text: str, width: int) -> str:
    """The beginning of a text; signs that would move the cursor or colour a terminal are written out."""
    text = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text[: width + 1])
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def numbers(array: Array) -> str:
    """A few numbers as they are, many as their range and mean.

    >>> numbers(np.array([0.5, 2.0])), numbers(np.arange(5.0))
    ('0.5 2', '0 to 4\\nmean 2')
    """
    if array.size <= SMALL:
        return " ".join(map(_exact, array.ravel().tolist())) or "no elements"
    if array.dtype.kind == "b":
        return f"{int(array.sum()):,} of {array.size:,} True"
    finite = array[np.isfinite(array)]
    strange = array.size - finite.size
    told = [f"{strange:,} of {array.size:,} not finite"] if strange else []
    if finite.size:
        low, high = _exact(finite.min().item()), _exact(finite.max().item())
        told += (
            [f"all {low}"] if low == high else [f"{low} to {high}", f"mean {format_number(finite.mean(dtype=float))}"]
        )
    return "\n".join(told)


def _exact(value: Any) -> str:
    return str(value) if isinstance(value, int) else format_number(value)
