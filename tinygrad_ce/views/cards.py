"""The cards of a graph's picture: a node with its numbers or heat maps, and a folded group with its output."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from tinygrad_ce.core import Array
from tinygrad_ce.graph.nodes import Node
from tinygrad_ce.report.words import cut, format_number, range_of, several
from tinygrad_ce.views.columns import Box
from tinygrad_ce.views.groups import Group
from tinygrad_ce.views.picture import Attribute, Svg, element, heat_map, rectangle, rows_of, wide, words

SMALL = 4  # rows and columns of a tensor that is shown as numbers
SIDES = (120, 78)  # the largest heat map, in pixels
NAME, TEXT = 13.0, 12.0  # sizes of letters: none is smaller
LINE, BASE = 16.0, 3.0  # the height of a line, and of its base line above its end
MARGIN, BETWEEN = 9.0, 8.0  # around what stands in a card; between two columns of numbers
PORT = 32.0  # between the ends of wires that arrive at one node: two lines of text


class Panel:
    """An array as it is shown in a card, "value" or "gradient": numbers, or a heat map with its range."""

    def __init__(self, array: Array, kind: str) -> None:
        self.kind, self.letters = kind, kind if kind == "gradient" else ""
        self.width = self.height = 0.0
        self.pieces: list[tuple[partial[Svg], float, float]] = []  # each with its place in the panel
        if kind == "gradient":
            self._add_line(kind, kind)
        table = rows_of(array)
        if not array.size:
            self._add_line("empty", "soft")
        elif max(table.shape) <= SMALL:
            self._add_numbers(table)
        else:
            self._add_heat_map(array)
            self._add_line(range_of(array), self.letters)
            if kind == "value":
                axes = f"{several(len(table), 'row')} × {table.shape[1]}"
                self._add_line(axes if array.ndim > 1 else several(array.size, "number"), "soft")

    def _add_line(self, text: str, letters: str) -> None:
        drawn = partial(element, "text", text, font_size=TEXT, class_=letters)
        self.pieces.append((drawn, 0.0, self.height + LINE - BASE))
        self._extend(wide(text, TEXT), LINE)

    def _add_numbers(self, table: Array) -> None:
        texts = [format_number(number, 3) for number in table.flat]
        column = max(wide(text, TEXT) for text in texts) + BETWEEN
        for n, text in enumerate(texts):
            i, j = divmod(n, table.shape[1])
            drawn = partial(element, "text", text, font_size=TEXT, class_=self.letters, text_anchor="end", data_cell=n)
            self.pieces.append((drawn, column * (j + 1) - BETWEEN, self.height + LINE * (i + 1) - BASE))
        self._extend(column * table.shape[1], LINE * len(table))

    def _add_heat_map(self, array: Array) -> None:
        address, across, down = heat_map(array)
        side = max(min(SIDES[0] / across, SIDES[1] / down, 9.0), 1.0)
        width, height = max(across * side, 8.0), max(down * side, 8.0)
        drawn = partial(element, "image", width=width, height=height, preserveAspectRatio="none", href=address)
        self.pieces.append((drawn, 0.0, self.height + 2))
        self._extend(width, height + 2)

    def _extend(self, width: float, height: float) -> None:
        self.width, self.height = max(self.width, width), self.height + height

    def svg(self, x: float, y: float) -> Svg:
        """Its element, from this corner on."""
        drawn = [piece(x=x + right, y=y + down) for piece, right, down in self.pieces]
        return element("g", *drawn, class_=f"panel {self.kind}")


class Card(Box):
    """A rectangle with a heading, a line of text, and panels.

    kind: "node", "outside" or "fold". title: what a pointer shows. inputs: how many wires arrive.
    marks: the attributes by which a style and a page find it.
    """

    def __init__(
        self,
        kind: str,
        texts: tuple[str, str, str],
        shape: tuple[int, ...],
        panels: Sequence[Panel] = (),
        inputs: int = 0,
        **marks: Attribute,
    ) -> None:
        heading, line, self.title = texts
        self.kind, self.marks, self.panels = kind, marks, panels
        self.heading, self.line, self.shape = cut(heading, 18), cut(line, 26), str(shape) if shape else ""
        first = wide(self.heading, NAME) + (wide(self.shape, TEXT) + 12 if shape else 0)
        width = max(first, wide(self.line, TEXT), *(panel.width for panel in panels), 0)
        height = 2 * LINE - 2 + sum(panel.height for panel in panels)
        ports = PORT * (inputs + 0.5 if inputs > 1 else inputs)
        super().__init__(width + 2 * MARGIN, max(height + 2 * MARGIN, ports))

    def svg(self) -> Svg:
        """Its element."""
        x, y = self.x + MARGIN, self.y + MARGIN
        parts = [
            element("title", self.title),
            rectangle(self, 6, class_="body"),
            words(x, y + 10, self.heading, NAME, class_="name"),
            words(x, y + 10 + LINE, self.line, TEXT, class_="soft"),
        ]
        if self.shape:
            parts.insert(3, words(self.right - MARGIN, y + 10, self.shape, TEXT, class_="soft", text_anchor="end"))
        y += 2 * LINE - 2
        for panel in self.panels:
            parts.append(panel.svg(x, y))
            y += panel.height
        return element("g", *parts, **self.marks)


def node_card(node: Node, with_gradient: bool, is_loss: bool) -> Card:
    """The card of a node: its name, how it was computed, its value and its gradient."""
    panels, kind = _panels(node, with_gradient), "loss" if is_loss else node.kind
    return Card(
        "node", _texts(node), node.shape, panels, len(node.inputs), class_=f"node {kind}", data_node=node.number
    )


def outside_card(node: Node) -> Card:
    """A node of another picture from which a wire comes: its name only. It is no `.node`, for it is one there."""
    return Card("outside", _texts(node), node.shape, class_="outside", data_node=node.number)


def fold_card(group: Group, with_gradient: bool) -> Card:
    """A group as one card: its title, how many operations it holds, and what comes out of it."""
    output = group.output
    line = f"{several(len(group.results), 'operation')} → {output.name}"
    texts, panels = (group.title, line, f"{group.title}: {line} {output.shape}"), _panels(output, with_gradient)
    marks = {"data_group": group.number, "data_output": output.number}
    return Card("fold", texts, output.shape, panels, inputs=2, class_="fold", **marks)


def _panels(node: Node, with_gradient: bool) -> list[Panel]:
    panels = [Panel(node.value, "value")]
    return [*panels, Panel(node.gradient, "gradient")] if with_gradient and node.gradient is not None else panels


def _texts(node: Node) -> tuple[str, str, str]:
    """Its name; how it was computed, or what it is, with a user's name that no program can call it; all of it."""
    own = node.tensor.name if node.tensor is not None else None
    called = f" {own}" if own and own != node.name and "." not in own else ""
    formula = node.formula
    line = f"{node.kind}{called}" if formula is None else f"{called} = {formula.readable.text}".strip()
    label = node.label if node.label == node.name else f"{node.name} ({node.label})"
    return node.name, line, f"{label}: {line} {node.shape}" + (f", {node.place.short}" if node.place else "")
