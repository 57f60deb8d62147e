"""The cards of a graph's picture: a node with its numbers or heat maps, and a folded group with its output."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from tinygrad_ce.core import Array
from tinygrad_ce.data.checks import several
from tinygrad_ce.graph.nodes import Node
from tinygrad_ce.report.words import cut, escaped
from tinygrad_ce.views.boxes import Box
from tinygrad_ce.views.picture import SIDES, heat_map, range_of, rows_of, short, wide, written

SMALL = (4, 4)  # rows and columns of a tensor that is shown as numbers
NAME, TEXT = 13.0, 12.0  # sizes of letters: none is smaller
LINE = 16.0
MARGIN = 9.0
PORT = 32.0  # between the ends of wires that arrive at one node: two lines of text


class _Panel:
    """An array as it is shown in a node: numbers, or a heat map with its range.

    kind: "value" or "gradient". also: arrays that may be shown in its place.
    """

    def __init__(self, array: Array, kind: str, also: Sequence[Array] = ()) -> None:
        self.array, self.kind = array, kind
        self.numbers: list[list[str]] | None = None
        table = rows_of(array)
        rows, columns = table.shape
        if not table.size:
            self.width, self.height = wide("empty", TEXT), LINE
        elif rows <= SMALL[0] and columns <= SMALL[1]:
            self.numbers = [[short(x) for x in row] for row in table]
            self.cell = max(wide(short(x), TEXT) for shown in (array, *also) for x in shown.flat) + 8
            self.width, self.height = self.cell * columns, LINE * rows
        else:
            image, across, down = heat_map(array)
            side = max(min(SIDES[0] / across, SIDES[1] / down, 9.0), 1.0)
            self.image, self.picture = image, (max(across * side, 8.0), max(down * side, 8.0))
            self.axes = f"{several(rows, 'row')} × {columns}" if array.ndim > 1 else several(columns, "number")
            texts = [self.axes, *(range_of(shown) for shown in (array, *also))]
            self.width = max(self.picture[0], *(wide(text, TEXT) for text in texts))
            self.height = self.picture[1] + (2 if kind == "value" else 1) * LINE
        if kind == "gradient":
            self.width, self.height = max(self.width, wide("gradient", TEXT)), self.height + LINE

    def svg(self, x: float, y: float) -> str:
        """Its texts, or its image; under the value of a heat map stands what its rows and columns are."""
        parts, kind = [f'<g class="panel {self.kind}">'], ""
        if self.kind == "gradient":
            kind = "gradient"
            parts.append(written(x, y + LINE - 3, "gradient", TEXT, kind))
            y += LINE
        if not self.array.size:
            parts.append(written(x, y + LINE - 4, "empty", TEXT, "soft"))
        elif self.numbers is not None:
            cells = ((m, n, text) for m, row in enumerate(self.numbers) for n, text in enumerate(row))
            parts += [
                written(x + self.cell * (n + 1) - 8, y + LINE * (m + 1) - 4, text, TEXT, kind, "end", number)
                for number, (m, n, text) in enumerate(cells)
            ]
        else:
            width, height = self.picture
            box = f'x="{x:.1f}" y="{y + 2:.1f}" width="{width:.1f}" height="{height:.1f}"'
            parts.append(f'<image {box} preserveAspectRatio="none" href="{self.image}"/>')
            parts.append(written(x, y + height + LINE - 2, range_of(self.array), TEXT, kind))
            if self.kind == "value":
                parts.append(written(x, y + height + 2 * LINE - 2, self.axes, TEXT, "soft"))
        return "\n".join([*parts, "</g>"])


class NodeCard(Box):
    """The rectangle of a node, with what stands in it.

    number: of the node. mark: more attributes of its element. full: with its numbers.
    """

    def __init__(self, node: Node, number: int, with_gradient: bool, is_loss: bool, full: bool = True) -> None:
        super().__init__()
        self.node, self.number = node, number
        self.kind = "loss" if is_loss else node.kind
        self.heading, self.line = node.name, _computed(node)
        self.shape = "" if node.shape == () else str(node.shape)
        title = node.label if node.label == node.name else f"{node.name} ({node.label})"
        self.title = f"{title}: {self.line} {node.shape}" + (f", {node.place.short}" if node.place else "")
        self.panels = [_Panel(node.value, "value")] if full else []
        if full and with_gradient and node.gradient is not None:
            self.panels.append(_Panel(node.gradient, "gradient", _partial_sums(node)))
        self._measure(len(node.inputs))

    def _measure(self, inputs: int) -> None:
        heading = wide(cut(self.heading, 18), NAME) + (wide(self.shape, TEXT) + 12 if self.shape else 0)
        self.width = (
            max(heading, wide(cut(self.line, 26), TEXT), *(panel.width for panel in self.panels), 0) + 2 * MARGIN
        )
        shown = sum(panel.height for panel in self.panels)
        self.height = max(2 * LINE + 2 * MARGIN - 2 + shown, PORT * (inputs + 0.5 if inputs > 1 else inputs))

    @property
    def mark(self) -> str:
        """The attributes by which a page finds it."""
        return f'class="node {self.kind}" data-node="{self.number}"'

    def svg(self) -> str:
        """Its element: a title that a pointer shows, the rectangle, two lines, and the panels."""
        x, y = self.x + MARGIN, self.y + MARGIN
        parts = [
            f"<g {self.mark}>",
            f"<title>{escaped(self.title)}</title>",
            f'<rect class="body" x="{self.x:.1f}" y="{self.y:.1f}" width="{self.width:.1f}" height="{self.height:.1f}" rx="6"/>',
            written(x, y + 10, cut(self.heading, 18), NAME, "name"),
        ]
        if self.shape:
            parts.append(written(self.x + self.width - MARGIN, y + 10, self.shape, TEXT, "soft", "end"))
        parts.append(written(x, y + 10 + LINE, cut(self.line, 26), TEXT, "soft"))
        top = y + 2 * LINE - 2
        for panel in self.panels:
            parts.append(panel.svg(x, top))
            top += panel.height
        return "\n".join([*parts, "</g>"])


class OutsideCard(NodeCard):
    """A node of another picture from which a wire comes: its name only."""

    def __init__(self, node: Node, number: int) -> None:
        super().__init__(node, number, with_gradient=False, is_loss=False, full=False)

    @property
    def mark(self) -> str:
        """It is no `.node`: that is in the picture of its own group."""
        return f'class="outside" data-node="{self.number}"'


class FoldCard(NodeCard):
    """A group as one card: its title, how many operations it holds, and what comes out of it.

    number: of the group. node, node_number: its output.
    """

    def __init__(
        self, title: str, number: int, operations: int, output: Node, node_number: int, gradient: bool
    ) -> None:
        super().__init__(output, number, gradient, is_loss=False)
        self.node_number = node_number
        self.heading, self.line = title, f"{several(operations, 'operation')} → {output.name}"
        self.title = f"{title}: {self.line} {output.shape}"
        self._measure(inputs=2)

    @property
    def mark(self) -> str:
        """It stands for its group, and shows the numbers of its output."""
        return f'class="fold" data-group="{self.number}" data-output="{self.node_number}"'


def _computed(node: Node) -> str:
    """How a node was computed, or what it is; with the user's name for it, where a program can't call it so."""
    own = node.tensor.name if node.tensor is not None else None
    called = f" {own}" if own and own != node.name and "." not in own else ""
    formula = node.formula
    return f"{node.kind}{called}" if formula is None else f"{called} = {formula.readable.text}".strip()


def _partial_sums(node: Node) -> list[Array]:
    """What has arrived of a gradient before it is whole, in the order of the walk."""
    arriving = [edge for edge in node.backward_uses if edge.target.tensor is not None]
    arriving.sort(key=lambda edge: (-edge.target.tensor.serial, edge.position))  # type: ignore[union-attr]
    with np.errstate(all="ignore"):
        return list(accumulate(edge.share for edge in arriving[:-1] if edge.share is not None))
