"""The graph of a loss as an SVG picture: from left to right, modules as boxes, values and gradients in the nodes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ce.core import Array, Tensor
from tinygrad_ce.disk import whole_file
from tinygrad_ce.graph.checks import check_unchanged
from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.source_lines import CallSite
from tinygrad_ce.views import notebook
from tinygrad_ce.views.layout import COLUMN_GAP, LANE, Box, Wire, arrange
from tinygrad_ce.views.picture import FONT, SIDES, heat_map, range_of, rows_of, short, wide, written
from tinygrad_ce.views.text import cut, escaped

LARGEST = 1500  # nodes
LARGEST_PNG = 32_000  # pixels of a side
READABLE = 0.4  # of its size, below which a picture does not shrink in a notebook
LARGEST_IN_NOTEBOOK = 1_000_000  # letters of a picture: a notebook holds it, and whoever opens that waits for it
WIDEST_IN_NOTEBOOK = 1_500  # pixels of a PNG: more than a cell shows
SMALL = (4, 4)  # rows and columns of a tensor that is shown as numbers
NAME, TEXT, NUMBER, LABEL = 13.0, 10.5, 11.0, 9.0  # sizes of letters
LINE = 15.0
MOST_ABOVE = 3  # cards on top of an operation
LONGEST_TITLE = 28  # of a module, in letters
MARGIN = 9.0
PORT = 15.0  # between the ends of wires that arrive at one node

STYLE = f"""
.tg-graph rect.paper {{ fill: #ffffff; }}
.tg-graph text {{ font-family: {FONT}; fill: #1b1f24; }}
.tg-graph .node rect.body {{ fill: #ffffff; stroke: #57606a; stroke-width: 1.2; }}
.tg-graph .data rect.body {{ fill: #e9f2fb; stroke: #2a5f95; }}
.tg-graph .parameter rect.body {{ fill: #fdf3d7; stroke: #8a6100; }}
.tg-graph .loss rect.body {{ fill: #f9e6f0; stroke: #8f2260; stroke-width: 2; }}
.tg-graph text.name {{ font-weight: bold; }}
.tg-graph text.soft {{ fill: #57606a; }}
.tg-graph text.gradient {{ fill: #8f2260; }}
.tg-graph .module rect {{ fill: #6e7781; fill-opacity: 0.07; stroke: #8c959f; stroke-dasharray: 4 3; }}
.tg-graph .module text {{ fill: #57606a; }}
.tg-graph .wire path {{ fill: none; stroke: #6e7781; stroke-width: 1.4; }}
.tg-graph .wire path.head {{ fill: #6e7781; stroke: none; }}
.tg-graph .wire.still path {{ stroke-dasharray: 3 3; }}
.tg-graph .wire.still path.head {{ stroke-dasharray: none; }}
.tg-graph image {{ image-rendering: pixelated; }}
""".strip()
DARK = """
.tg-graph rect.paper { fill: #0d1117; }
.tg-graph text { fill: #e6edf3; }
.tg-graph .node rect.body { fill: #161b22; stroke: #9aa4ae; }
.tg-graph .data rect.body { fill: #10263c; stroke: #6cb0f0; }
.tg-graph .parameter rect.body { fill: #2e2508; stroke: #e0b040; }
.tg-graph .loss rect.body { fill: #38142a; stroke: #f08cc0; }
.tg-graph text.soft, .tg-graph .module text { fill: #a6b0ba; }
.tg-graph text.gradient { fill: #f5a3cc; }
.tg-graph .wire path { stroke: #9aa4ae; }
.tg-graph .wire path.head { fill: #9aa4ae; }
""".strip()


class Drawing:
    """A picture of a graph: shown by Jupyter, marimo and VS Code, saved with `.save`."""

    def __init__(self, svg: str, title: str) -> None:
        self.svg = svg
        self.title = title

    def _repr_html_(self) -> str | None:
        """The picture, as wide as it is or as its cell, and scrolled where its letters would become too small.

        None, so that its text is shown, if it is too large.
        """
        if len(self.svg) > LARGEST_IN_NOTEBOOK:
            return None
        (width,) = re.findall(r' width="(\d+)"', self.svg.partition(">")[0])
        return notebook.image(self.svg.encode(), f"the graph of {self.title}", "svg+xml", round(READABLE * int(width)))

    def _repr_svg_(self) -> str | None:
        return self.svg if len(self.svg) <= LARGEST_IN_NOTEBOOK else None

    def _repr_png_(self) -> bytes | None:
        """The same where no SVG may be shown, as in a notebook that is not trusted; None where it cannot be made."""
        return png_for_notebook(self.svg)

    def __repr__(self) -> str:
        large = f", {len(self.svg) / 1e6:.1f} MB" if len(self.svg) > LARGEST_IN_NOTEBOOK else ""
        return f'<a picture of {self.title}{large}: .save("graph.svg"), or ".png", ".html">'

    def save(self, path: str | Path) -> Path:
        """Write it as .svg, .png or .html; the path.

        Raises ValueError for another ending, and for a PNG that would be too large to be opened; ImportError where
        what makes a PNG is not installed.
        """
        path = Path(path)
        content = self._as_file(path)
        with whole_file(path) as draft:
            draft.write_bytes(content)
        return path

    def _as_file(self, path: Path) -> bytes:
        ending = path.suffix.lower()
        if ending == ".svg":
            return self.svg.encode()
        if ending == ".html":
            title = escaped(self.title)
            head = f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
            dark = "@media (prefers-color-scheme: dark) { body { background: #0d1117; } }"
            fit = f"<style>body {{ margin: 1rem; }} {dark}</style>"
            return f"{head}{fit}\n<body>\n{self.svg}\n</body>\n</html>\n".encode()
        if ending == ".png":
            return _png_file(self.svg)
        raise ValueError(f"save: {path.name} must end in .svg, .png or .html")


def draw(loss: Tensor, title: str = "") -> Drawing:
    """The graph of a loss as an SVG picture, with the values and the gradients of this loss in the nodes.

    Small tensors (up to 4 x 4) are shown as numbers, larger ones as heat maps with their range: blue is negative,
    orange positive. A dashed line carries no gradient. Before `loss.backward()` the picture has none, and says so.
    title: which loss it is, as in "after 20 epochs"; it stands below the picture.
    Raises TypeError and ValueError for what has no history, or more than 1,500 nodes.

    >>> w = Tensor(2.0, requires_grad=True, name="w")
    >>> draw(w * w + 1)
    <a picture of loss, 3 nodes: .save("graph.svg"), or ".png", ".html">
    """
    graph = Graph(loss, "tg.draw")
    check_unchanged(loss, "tg.draw")
    return Drawing(Picture(graph, loss.grad is not None).svg(title), f"{graph.loss.name}, {len(graph.nodes)} nodes")


@dataclass(eq=False)
class _Panel:
    """An array as it is shown in a node: numbers, or a heat map with its range."""

    array: Array
    kind: str  # "value" or "gradient"
    also: Sequence[Array] = ()  # what may be shown in its place

    def __post_init__(self) -> None:
        table = rows_of(self.array)
        rows, columns = table.shape
        self.numbers = [[short(x) for x in row] for row in table] if rows <= SMALL[0] and columns <= SMALL[1] else None
        if self.numbers is not None and table.size:
            texts = [short(x) for array in (self.array, *self.also) for x in array.flat]
            self.cell = max(wide(text, NUMBER) for text in texts) + 8
            self.width, self.height = self.cell * columns, LINE * rows
        elif not table.size:
            self.numbers, self.width, self.height = None, wide("empty", TEXT), LINE
        else:
            self.range = range_of(self.array)
            self.image, across, down = heat_map(self.array)
            side = max(min(SIDES[0] / across, SIDES[1] / down, 9.0), 1.0)
            self.picture = (max(across * side, 8.0), max(down * side, 8.0))
            ranges = [self.range, *(range_of(array) for array in self.also)]
            self.width = max(self.picture[0], *(wide(text, TEXT) for text in ranges))
            self.height = self.picture[1] + LINE

    def svg(self, x: float, y: float) -> list[str]:
        if not self.array.size:
            return [written(x, y + LINE - 4, "empty", TEXT, "soft")]
        kind = "gradient" if self.kind == "gradient" else ""
        if self.numbers is None:
            width, height = self.picture
            box = f'x="{x:.1f}" y="{y + 2:.1f}" width="{width:.1f}" height="{height:.1f}"'
            image = f'<image {box} preserveAspectRatio="none" href="{self.image}"/>'
            return [image, written(x, y + height + LINE - 2, self.range, TEXT, kind)]
        cells = ((m, n, text) for m, row in enumerate(self.numbers) for n, text in enumerate(row))
        return [
            written(x + self.cell * (n + 1) - 8, y + LINE * (m + 1) - 4, text, NUMBER, kind, "end", number)
            for number, (m, n, text) in enumerate(cells)
        ]


class _Card(Box):
    """The rectangle of a node, with what stands in it."""

    def __init__(self, node: Node, number: int, with_gradient: bool, is_loss: bool) -> None:
        super().__init__()
        self.node, self.number, self.is_loss = node, number, is_loss
        self.made = _made(node)
        self.shape = "" if node.shape == () else str(node.shape)
        self.panels = [("value", _Panel(node.value, "value"))]
        if with_gradient and node.gradient is not None:
            self.panels.append(("gradient", _Panel(node.gradient, "gradient", _partial_sums(node))))
        heads = wide(cut(node.name, 18), NAME) + (wide(self.shape, TEXT) + 12 if self.shape else 0)
        inner = [heads, wide(cut(self.made, 26), TEXT), *(panel.width for _, panel in self.panels)]
        inner += [wide("gradient", TEXT)] if len(self.panels) > 1 else []
        self.width = max(inner) + 2 * MARGIN
        shown = sum(p.height + (LINE if k == "gradient" else 0) for k, p in self.panels)
        self.height = max(2 * LINE + 2 * MARGIN - 2 + shown, PORT * (len(node.inputs) + 1))

    def svg(self) -> str:
        node = self.node
        x, y = self.x + MARGIN, self.y + MARGIN
        kind = "loss" if self.is_loss else node.kind
        title = node.label if node.label == node.name else f"{node.name} ({node.label})"
        told = f"{title}: {self.made} {node.shape}" + (f", {node.place.short}" if node.place else "")
        parts = [
            f'<g class="node {kind}" data-node="{self.number}">',
            f"<title>{escaped(told)}</title>",
            f'<rect class="body" {_corners(self)} rx="6"/>',
            written(x, y + 10, cut(node.name, 18), NAME, "name"),
        ]
        if self.shape:
            parts.append(written(self.x + self.width - MARGIN, y + 10, self.shape, TEXT, "soft", "end"))
        parts.append(written(x, y + 10 + LINE, cut(self.made, 26), TEXT, "soft"))
        top = y + 2 * LINE - 2
        for kind, panel in self.panels:
            parts.append(f'<g class="panel {kind}">')
            if kind == "gradient":
                parts.append(written(x, top + LINE - 3, "gradient", TEXT, "gradient"))
                top += LINE
            parts += [*panel.svg(x, top), "</g>"]
            top += panel.height
        return "\n".join([*parts, "</g>"])


class Picture:
    """The boxes and wires of a graph, arranged."""

    def __init__(self, graph: Graph, with_gradients: bool) -> None:
        if len(graph.nodes) > LARGEST:
            raise ValueError(
                f"this graph has {len(graph.nodes):,} nodes, and a picture of more than {LARGEST:,} cannot be read: "
                "take a loss of fewer layers or steps, or look at one tensor with tg.explain(tensor, loss)"
            )
        self.graph, self.with_gradients = graph, with_gradients
        self.cards = {n: _Card(n, i, with_gradients, n is graph.loss) for i, n in enumerate(graph.nodes)}
        self.groups: dict[int, Box] = {}
        self.titles: list[tuple[Box, str]] = []
        self.top = Box()
        self._hold()
        self.wires = {
            edge: Wire(self.cards[edge.source], self.cards[edge.target], wide(edge.argument, LABEL))
            for edge in graph.edges
        }
        arrange(self.top, list(self.wires.values()))
        for node in graph.nodes:
            self._part(node)

    def _part(self, node: Node) -> None:
        """Let the wires of a node's inputs arrive one below the other, in the order in which they come."""
        for edge, aside in _beside(node):  # from one point on, so that no other wire from there runs between them
            self.wires[edge].points[2:] = [(x, y + aside) for x, y in self.wires[edge].points[2:]]
        wires = [self.wires[edge] for edge in node.inputs if not self._upright(edge)]
        wires.sort(key=lambda wire: wire.points[-3][1])
        for n, wire in enumerate(wires):
            y = wire.target.middle + PORT * (n - (len(wires) - 1) / 2)
            wire.points[-2:] = [(x, y) for x, _ in wire.points[-2:]]

    def _upright(self, edge: Edge) -> bool:
        return self.cards[edge.source] in self.cards[edge.target].above

    def _hold(self) -> None:
        """Put each card into the box of its module, or on top of the operation that it goes into."""
        for node, card in self.cards.items():
            on = _stands_on(node)
            if on is not None:
                self.cards[on].above.append(card)
            else:
                self._group(_modules(node)).children.append(card)

    def _group(self, modules: list[CallSite]) -> Box:
        """The box of the innermost call of a module; those around it are made where they are missing."""
        outer = self.top
        for call in modules:
            box = self.groups.get(id(call))
            if box is None:
                title = _title(call[0])
                box = self.groups[id(call)] = Box(width=wide(cut(title, LONGEST_TITLE), TEXT) + 16)
                outer.children.append(box)
                self.titles.append((box, title))
            outer = box
        return outer

    def svg(self, title: str = "") -> str:
        """The whole picture, with its title below it."""
        missing = "" if self.with_gradients else "no gradient has been computed yet: call loss.backward()"
        caption = "; ".join(filter(None, (title, missing)))
        width = max(self.top.width, wide(caption, TEXT) + 28)
        height = self.top.height + (LINE + 6 if caption else 0)
        name = escaped(f"the graph of {self.graph.loss.name}: {len(self.graph.nodes)} nodes")
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="tg-graph" role="img" aria-label="{name}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}">',
            f"<style>{STYLE}\n@media (prefers-color-scheme: dark) {{\n{DARK}\n}}</style>",
            f'<rect class="paper" width="{width:.0f}" height="{height:.0f}"/>',
            *(_framed(box, title) for box, title in self.titles),
            *(self._wire(edge, number) for number, edge in enumerate(self.graph.edges)),
            *(card.svg() for card in self.cards.values()),
        ]
        if caption:
            parts.append(written(14, self.top.height + LINE - 4, caption, TEXT, "gradient"))
        return "\n".join([*parts, "</svg>"])

    def _wire(self, edge: Edge, number: int) -> str:
        points, upright, target = self.wires[edge].points, self._upright(edge), self.cards[edge.target]
        still = " still" if edge.share is None else ""
        x, y = points[-1]
        head = f"M{x:.1f},{y:.1f} l-4,-7 h8 z" if upright else f"M{x:.1f},{y:.1f} l-7,-4 v8 z"
        room = target.x + target.width + COLUMN_GAP - x - 6
        if upright and wide(edge.argument, LABEL) <= room:
            label = written(x + 6, y - 4, edge.argument, LABEL, "soft")
        else:
            label = written(x - 8, y - 5, edge.argument, LABEL, "soft", "end")
        return (
            f'<g class="wire{still}" data-edge="{number}"><path d="{_curve(points, upright)}"/>'
            f'<path class="head" d="{head}"/>{label}</g>'
        )


def _beside(node: Node) -> list[tuple[Edge, float]]:
    """The edges into a node, and how far aside of the middle each runs where one source comes several times."""
    count = Counter(edge.source for edge in node.inputs)
    known: Counter[Node] = Counter()
    edges = []
    for edge in node.inputs:
        several = count[edge.source] - 1
        edges.append((edge, min(PORT / 2, LANE / max(several, 1)) * (known[edge.source] - several / 2)))
        known[edge.source] += 1
    return edges


def _stands_on(node: Node) -> Node | None:
    """The operation on top of which a parameter or a second argument stands; None if it has a place of its own."""
    if node.kind == "result" or not node.uses:
        return None
    first = node.uses[0]
    others = Counter(edge.source for edge in first.target.inputs)
    if len(others) == 1 or others[node] > 1 or (first.position == 0 and node.kind == "data"):
        return None
    if first.target.inputs[0].source is node or len(others) > MOST_ABOVE + 1:
        return None
    return first.target


def _partial_sums(node: Node) -> list[Array]:
    """What has arrived of a gradient before it is whole, in the order of the walk."""
    arriving = [edge for edge in node.backward_uses if edge.target.tensor is not None]
    arriving.sort(key=lambda edge: (-edge.target.tensor.serial, edge.position))  # type: ignore[union-attr]
    with np.errstate(all="ignore"):
        return list(accumulate(edge.share for edge in arriving[:-1] if edge.share is not None))


def _modules(node: Node) -> list[CallSite]:
    """The calls in whose boxes a node stands: a parameter in those of the operation that uses it first."""
    return node.uses[0].target.modules if node.kind == "parameter" and node.uses else node.modules


def _made(node: Node) -> str:
    """How a node was made, or what it is; with the user's name for it, where a program can't call it so."""
    own = node.tensor.name if node.tensor is not None else None
    called = f" {own}" if own and own != node.name and "." not in own else ""
    formula = node.formula
    return f"{node.kind}{called}" if formula is None else f"{called} = {formula.readable.text}".strip()


def _title(module: Any) -> str:
    """What a module is called in its box: as it was written, if that is short."""
    text = repr(module)
    return text if len(text) <= LONGEST_TITLE and not text.startswith("<") else type(module).__name__


def _corners(box: Box) -> str:
    return f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'


def _framed(box: Box, title: str) -> str:
    text = written(box.x + 8, box.y + 15, cut(title, LONGEST_TITLE), TEXT)
    return f'<g class="module"><title>{escaped(title)}</title><rect {_corners(box)} rx="8"/>{text}</g>'


def _curve(points: list[tuple[float, float]], upright: bool) -> str:
    """A smooth line through the points that leaves and arrives straight."""
    (x, y), *rest = points
    text = f"M{x:.1f},{y:.1f}"
    for next_x, next_y in rest:
        if upright:
            bend = (next_y - y) / 2
            text += f" C{x:.1f},{y + bend:.1f} {next_x:.1f},{next_y - bend:.1f} {next_x:.1f},{next_y:.1f}"
        elif abs(next_y - y) < 0.05:
            text += f" L{next_x:.1f},{next_y:.1f}"
        else:
            bend = (next_x - x) / 2
            text += f" C{x + bend:.1f},{y:.1f} {next_x - bend:.1f},{next_y:.1f} {next_x:.1f},{next_y:.1f}"
        x, y = next_x, next_y
    return text


def png_for_notebook(svg: str) -> bytes | None:
    """A PNG no larger than a cell shows well; None for a picture that is too large, or where nothing can make one."""
    if len(svg) > LARGEST_IN_NOTEBOOK:
        return None
    try:
        return _as_png(svg, min(2.0, WIDEST_IN_NOTEBOOK / _longest_side(svg)))
    except ImportError:
        return None


def _png_file(svg: str) -> bytes:
    side = _longest_side(svg)
    zoom = min(2.0, LARGEST_PNG / side)
    if zoom < 0.5:
        raise ValueError(
            f"save: a PNG of this picture would be {2 * side:,} pixels long, and few programs open that: save it as "
            ".svg or .html"
        )
    return _as_png(svg, zoom)


def _longest_side(svg: str) -> int:
    size = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    assert size is not None
    return max(int(length) for length in size.groups())


def _as_png(svg: str, zoom: float) -> bytes:
    try:
        import resvg_py
        from matplotlib import get_data_path
    except ImportError:
        raise ImportError(
            'a PNG is made with resvg_py and matplotlib\'s fonts: pip install "tinygrad_ce[plot]"'
        ) from None
    fonts = Path(get_data_path()) / "fonts" / "ttf"
    made = resvg_py.svg_to_bytes(
        svg_string=svg,
        background="white",
        zoom=zoom,
        font_files=[str(fonts / "DejaVuSansMono.ttf"), str(fonts / "DejaVuSansMono-Bold.ttf")],
        font_family="DejaVu Sans Mono",
        monospace_family="DejaVu Sans Mono",
    )
    return bytes(made)
