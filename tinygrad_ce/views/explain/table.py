"""The graph of a loss as a table: each array that went in or was computed, with its value and gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.graph.nodes import Graph, Node
from tinygrad_ce.graph.rules import ON_LOGITS
from tinygrad_ce.report.parts import Heading, Part, Sentence, Table
from tinygrad_ce.report.words import cut, format_number, listed, several, short

MOST_NODES = 400  # rows
SMALL = 3  # numbers that are shown one by one


def parts_of_graph(graph: Graph) -> list[Part]:
    """The table of a graph, in the order of the forward pass."""
    loss, (shown, left_out) = graph.loss, first_and_last(graph.nodes, MOST_NODES, "rows")
    operations = several(sum(node.kind == "result" for node in graph.nodes), "operation")
    about = "In the order of the forward pass. The gradient of a number says how fast the loss grows with it."
    header = ("#", "name", "made by", "shape", "value", "gradient", "line")
    return [
        Heading(f"{name_at(loss)} ({label_of(loss)}) = {format_number(loss.value.item())}, made by {operations}"),
        Sentence(about + left_out),
        *changed(graph),
        Table([_row_of(node) for node in shown], header, right=frozenset({0}), whole=frozenset({0, 3, 6})),
        *_form_of_the_loss(graph),
    ]


def _row_of(node: Node) -> tuple[str, ...]:
    serial = "" if node.tensor is None else str(node.tensor.serial)
    source = node.kind + own_name(node) if node.formula is None else node.formula.text
    gradient = "" if node.gradient is None else numbers(node.gradient)
    return serial, cut(node.name, 16), cut(source, 48), str(node.shape), numbers(node.value), gradient, place(node)


def _form_of_the_loss(graph: Graph) -> list[Part]:
    """Which of its two forms a cross-entropy has here."""
    names = {node.op.name for node in graph.nodes if node.op is not None}
    for name, form in ON_LOGITS.items():
        if name in names:
            return [Sentence(f"{form.words}.")]
        if {form.squash, "xlogy"} <= names:
            text = f"{form.squash} and cross-entropy are shown apart, with the gradient at the probabilities; losses."
            return [Sentence(f"{text}{form.apart} without fused=False makes them one operation, on the logits.")]
    return []


def changed(graph: Graph) -> list[Part]:
    """A warning, if parameters have been written to since the loss was computed."""
    if not graph.changed:
        return []
    names = listed([label_of(node) for node in graph.changed], 3)
    text = f"Careful: {names}: other numbers stand there now than when the loss was computed (an optimizer's step?), "
    return [Sentence(f"{text}and the gradients here mix both. Compute the loss again, and look at it before the step.")]


# ---- words of all files of the room


def first_and_last(items: Sequence[Any], most: int, what: str) -> tuple[Sequence[Any], str]:
    """Of many items those at both ends, and a sentence that says so."""
    half = most // 2
    if len(items) <= most:
        return items, ""
    return [*items[:half], *items[-half:]], f" Shown are the first and the last {half} of {len(items):,} {what}."


def name_at(node: Node, cell: tuple[int, ...] | None = None) -> str:
    """The name of a tensor in the program, or of one of its numbers: `W0[1, 2]`."""
    return cut(node.name, 40) + (str(list(cell)) if cell else "")


def label_of(x: Tensor | Node) -> str:
    """What the user calls it, or its number: `layers.0.W`, `#17`."""
    return short(x.label, 40)


def own_name(node: Node) -> str:
    """What the user calls it, after a space, if that is not its name in the program."""
    name = None if node.tensor is None else node.tensor.name
    return f" {short(name, 60)}" if name and name != node.name else ""


def place(node: Node) -> str:
    """Where it was computed; a long name of a file without its middle."""
    return "" if node.place is None else short(node.place.short, 24)


def numbers(array: Array) -> str:
    """A few numbers as they are, many as their range and mean.

    >>> numbers(np.array([0.5, 2.0])), numbers(np.arange(5.0))
    ('0.5 2', '0 to 4\\nmean 2')
    """
    if array.size <= SMALL:
        return " ".join(map(format_number, array.ravel().tolist())) or "no elements"
    if array.dtype.kind == "b":
        return f"{array.sum():,} of {array.size:,} True"
    finite = array[np.isfinite(array)]
    lines = [f"{array.size - finite.size:,} of {array.size:,} not finite"] if finite.size < array.size else []
    if finite.size:
        low, high = format_number(finite.min().item()), format_number(finite.max().item())
        mean = format_number(finite.mean(dtype=float))
        lines.append(f"all {low}" if low == high else f"{low} to {high}\nmean {mean}")
    return "\n".join(lines)
