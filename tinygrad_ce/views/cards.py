"""The cards of a graph's picture: a node with its numbers or heat maps, and a folded group with its output."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.graph.nodes import Node
from tinygrad_ce.report.words import cut, format_number, range_of, several
from tinygrad_ce.views.boxes import Box
from tinygrad_ce.views.groups import Group
from tinygrad_ce.views.picture import (
    Attributes,
    Svg,
    element,
    heat_map,
    rectangle,
    rows_of,
    wide,
    words,
)

SMALL = 4  # rows and columns of a tensor that is shown as numbers
SIDES = (120, 78)  # the largest heat map, in pixels
NAME, TEXT = 13.0, 12.0  # sizes of letters: none is smaller
LINE, BASE = 16.0, 3.0  # the height of a line, and of its base line above its end
MARGIN, BETWEEN = 9.0, 8.0  # around what stands in a card; between two columns of numbers
PORT = 32.0  # between the ends of wires that arrive at one node: two lines of text


class Panel:
    """An array as it is shown in a card: numbers, or a heat map with its range.

    kind: "value" or "gradient". also: arrays that may be shown in its place.
    """

    def __init__(self, array: Array, kind: str, also: Sequence[Array] = ()) -> None:
        self.kind, self.letters = kind, kind if kind == "gradient" else ""
        self.width = self.height = 0.0
        self.pieces: list[
            tuple[str, float, float, Attributes, Sequence[str]]
        ] = []  # tag, place in it, attributes, text
        if kind == "gradient":
            self._add_line(kind, kind)
        table = rows_of(array)
        if not array.size:
            self._add_line("empty", "soft")
        elif max(table.shape) <= SMALL:
            self._add_numbers(table, max(wide(format_number(x, 3), TEXT) for a in (array, *also) for x in a.flat))
        else:
            self._add_heat_map(array)
            self._add_line(range_of(array), self.letters)
            self.width = max(self.width, *(wide(range_of(other), TEXT) for other in (array, *also)))
            if kind == "value":
                axes = f"{several(len(table), 'row')} × {table.shape[1]}"
                self._add_line(axes if array.ndim > 1 else several(array.size, "number"), "soft")

    def _add_line(self, text: str, letters: str) -> None:
        self.height += LINE
        self.width = max(self.width, wide(text, TEXT))
        self.pieces.append(("text", 0.0, self.height - BASE, {"font_size": TEXT, "class_": letters}, [text]))

    def _add_numbers(self, table: Array, widest: float) -> None:
        look: Attributes = {"font_size": TEXT, "class_": self.letters, "text_anchor": "end"}
        for n, number in enumerate(table.flat):
            i, j = divmod(n, table.shape[1])
            x, y = (widest + BETWEEN) * (j + 1) - BETWEEN, self.height + LINE * (i + 1) - BASE
            self.pieces.append(("text", x, y, {**look, "data_cell": n}, [format_number(number, 3)]))
        self.width = max(self.width, (widest + BETWEEN) * table.shape[1])
        self.height += LINE * len(table)

    def _add_heat_map(self, array: Array) -> None:
        address, across, down = heat_map(array)
        side = max(min(SIDES[0] / across, SIDES[1] / down, 9.0), 1.0)
        width, height = max(across * side, 8.0), max(down * side, 8.0)
        look: Attributes = {"width": width, "height": height, "preserveAspectRatio": "none", "href": address}
        self.pieces.append(("image", 0.0, self.height + 2, look, ()))
        self.width, self.height = max(self.width, width), self.height + height + 2

    def svg(self, x: float, y: float) -> Svg:
        """Its element, from this corner on."""
        drawn = (element(tag, *text, x=x + dx, y=y + dy, **look) for tag, dx, dy, look, text in self.pieces)
        return element("g", *drawn, class_=f"panel {self.kind}")


class Card(Box):
    """A rectangle with a heading, a line of text, and panels.

    kind: "node", "outside" or "fold". title: what a pointer shows. marks: the attributes by which a style and a page
    find it. inputs: how many wires arrive.
    """

    def __init__(
        self,
        kind: str,
        node: Node,
        texts: tuple[str, str, str],
        marks: Attributes,
        panels: Sequence[Panel] = (),
        inputs: int = 0,
    ) -> None:
        self.kind, self.node, self.marks, self.panels = kind, node, marks, panels
        heading, line, self.title = texts
        self.heading, self.line = cut(heading, 18), cut(line, 26)
        self.shape = "" if node.shape == () else str(node.shape)
        first = wide(self.heading, NAME) + (wide(self.shape, TEXT) + 12 if self.shape else 0)
        width = max(first, wide(self.line, TEXT), *(panel.width for panel in panels), 0)
        height = 2 * LINE - 2 + sum(panel.height for panel in panels)
        ports = PORT * (inputs + 0.5 if inputs > 1 else inputs)
        super().__init__(width + 2 * MARGIN, max(height + 2 * MARGIN, ports))

    def svg(self) -> Svg:
        """Its element."""
        x, y = self.x + MARGIN, self.y + MARGIN
        parts = [element("title", self.title), rectangle(self, 6, class_="body")]
        parts.append(words(x, y + 10, self.heading, NAME, class_="name"))
        if self.shape:
            parts.append(words(self.right - MARGIN, y + 10, self.shape, TEXT, class_="soft", text_anchor="end"))
        parts.append(words(x, y + 10 + LINE, self.line, TEXT, class_="soft"))
        top = y + 2 * LINE - 2
        for panel in self.panels:
            parts.append(panel.svg(x, top))
            top += panel.height
        return element("g", *parts, **self.marks)


def node_card(node: Node, with_gradient: bool, is_loss: bool) -> Card:
    """The card of a node: its name, how it was computed, its value and its gradient."""
    marks: Attributes = {"class_": f"node {'loss' if is_loss else node.kind}", "data_node": node.number}
    return Card("node", node, _texts(node), marks, _panels(node, with_gradient), len(node.inputs))


def outside_card(node: Node) -> Card:
    """A node of another picture from which a wire comes: its name only. It is no `.node`, for it is one there."""
    return Card("outside", node, _texts(node), {"class_": "outside", "data_node": node.number})


def fold_card(group: Group, with_gradient: bool) -> Card:
    """A group as one card: its title, how many operations it holds, and what comes out of it."""
    output = group.output
    line = f"{several(len(group.results), 'operation')} → {output.name}"
    texts = group.title, line, f"{group.title}: {line} {output.shape}"
    marks: Attributes = {"class_": "fold", "data_group": group.number, "data_output": output.number}
    return Card("fold", output, texts, marks, _panels(output, with_gradient), inputs=2)


def _panels(node: Node, with_gradient: bool) -> list[Panel]:
    panels = [Panel(node.value, "value")]
    if with_gradient and node.gradient is not None:
        panels.append(Panel(node.gradient, "gradient", _partial_sums(node)))
    return panels


def _texts(node: Node) -> tuple[str, str, str]:
    """Its name; how it was computed, or what it is, with a user's name that no program can call it; all of it."""
    own = node.tensor.name if node.tensor is not None else None
    called = f" {own}" if own and own != node.name and "." not in own else ""
    formula = node.formula
    line = f"{node.kind}{called}" if formula is None else f"{called} = {formula.readable.text}".strip()
    label = node.label if node.label == node.name else f"{node.name} ({node.label})"
    return node.name, line, f"{label}: {line} {node.shape}" + (f", {node.place.short}" if node.place else "")


def _partial_sums(node: Node) -> list[Array]:
    """What has arrived of a gradient before it is whole, in the order of the walk."""
    arriving = [edge for edge in node.backward_uses if edge.target.tensor is not None]
    arriving.sort(key=lambda edge: (-edge.target.tensor.serial, edge.position))  # type: ignore[union-attr]
    with np.errstate(all="ignore"):
        return list(accumulate(edge.share for edge in arriving[:-1] if edge.share is not None))
