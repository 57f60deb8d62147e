"""The graph of a loss as a table: each array that went in or was computed, with its value and gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.graph.nodes import Graph, Node
from tinygrad_ce.graph.rules import ON_LOGITS
from tinygrad_ce.report.parts import Heading, Part, Sentence, Table
from tinygrad_ce.report.words import cut, format_number, listed, several, short

MOST_NODES = 400  # rows
LONGEST_PLACE = 24  # characters of a file and line
LONGEST_NAME = 40
SMALL = 3  # numbers that are shown one by one


def parts_of_graph(graph: Graph) -> list[Part]:
    """The table of a graph, in the order of the forward pass."""
    loss, shown = graph.loss, graph.nodes
    operations = several(sum(node.kind == "result" for node in graph.nodes), "operation")
    about = "In the order of the forward pass. The gradient of a number says how fast the loss grows with it."
    if len(shown) > MOST_NODES:
        shown = shown[: MOST_NODES // 2] + shown[-MOST_NODES // 2 :]
        about += f" Shown are the first and the last {MOST_NODES // 2} of {len(graph.nodes):,} rows."
    header = ("#", "name", "made by", "shape", "value", "gradient", "line")
    name = cut(loss.name, LONGEST_NAME) + ("" if loss.tensor is None else f" ({cut(loss.tensor.label, LONGEST_NAME)})")
    return [
        Heading(f"{name} = {format_number(loss.value.item())}, made by {operations}"),
        Sentence(about),
        *changed(graph),
        Table([_row_of(node) for node in shown], header, right=frozenset({0}), whole=frozenset({0, 3, 6})),
        *_form_of_the_loss(graph),
    ]


def _row_of(node: Node) -> tuple[str, ...]:
    own = "" if node.tensor is None else str(node.tensor.serial)
    formula = node.formula
    source = node.kind + _other_name(node) if formula is None else formula.text
    gradient = "" if node.gradient is None else numbers(node.gradient)
    return own, cut(node.name, 16), cut(source, 48), str(node.shape), numbers(node.value), gradient, place(node)


def _other_name(node: Node) -> str:
    """What the user calls it, if that is not its name in the program."""
    has_one = node.tensor is not None and node.label not in (node.name, f"#{node.tensor.serial}")
    return f" {node.label}" if has_one else ""


def origin(node: Node) -> str:
    """In words: `the parameter layers.0.W`, or `a result, np.tanh(z1)`."""
    label = _other_name(node)
    kind = f"the {node.kind}{cut(label, 60)}" if label else f"a {node.kind}"
    return kind if node.formula is None else f"{kind}, {cut(node.formula.text, 60)}"


def place(node: Node) -> str:
    """Where it was computed; a long name of a file without its middle."""
    return "" if node.place is None else short(node.place.short, LONGEST_PLACE)


def _form_of_the_loss(graph: Graph) -> list[Part]:
    """Which of its two forms a cross-entropy has here."""
    names = {node.op.name for node in graph.nodes if node.op is not None}
    texts = [f"{form.words}." for name, form in ON_LOGITS.items() if name in names]
    texts += [
        f"{form.squash} and cross-entropy are shown apart, with the gradient at the probabilities; losses.{form.apart} "
        "without fused=False makes them one operation, on the logits."
        for form in ON_LOGITS.values()
        if {form.squash, "xlogy"} <= names
    ]
    return [Sentence(text) for text in texts[:1]]


def changed(graph: Graph) -> list[Part]:
    """A warning, if parameters have been written to since the loss was computed."""
    if not graph.changed:
        return []
    names = listed([cut(node.label, LONGEST_NAME) for node in graph.changed], 3)
    text = (
        f"Careful: {names}: other numbers stand there now than when the loss was computed (an optimizer's step?), and "
        "the gradients here mix both. Compute the loss again, and look at it before the step."
    )
    return [Sentence(text)]


def numbers(array: Array) -> str:
    """A few numbers as they are, many as their range and mean.

    >>> numbers(np.array([0.5, 2.0])), numbers(np.arange(5.0))
    ('0.5 2', '0 to 4\\nmean 2')
    """
    if array.size <= SMALL:
        return " ".join(map(exact, array.ravel().tolist())) or "no elements"
    if array.dtype.kind == "b":
        return f"{int(array.sum()):,} of {array.size:,} True"
    finite = array[np.isfinite(array)]
    lines = [f"{array.size - finite.size:,} of {array.size:,} not finite"] if finite.size < array.size else []
    if finite.size:
        low, high = exact(finite.min().item()), exact(finite.max().item())
        mean = format_number(finite.mean(dtype=float))
        lines += [f"all {low}"] if low == high else [f"{low} to {high}", f"mean {mean}"]
    return "\n".join(lines)


def exact(value: Any) -> str:
    """An integer with all its digits, any other number with four."""
    return str(value) if isinstance(value, int) else format_number(value)


def row_text(target: Any) -> str:
    """A label, or a row of targets: a class that is certain by its number."""
    row = np.asarray(target)
    if row.ndim == 1 and row.size > 1 and set(row.tolist()) == {0, 1} and row.sum() == 1:
        return str(int(np.argmax(row)))
    return " ".join(f"{value:.2g}" for value in row) if row.ndim == 1 and row.size < 6 else numbers(row)
