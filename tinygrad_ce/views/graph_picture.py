"""The picture of a graph: its cards and wires, arranged, as SVG; whole, or in levels with folded groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.report.page import file_text
from tinygrad_ce.report.words import cut
from tinygrad_ce.views.cards import LINE, PORT, TEXT, Card, fold_card, node_card, outside_card
from tinygrad_ce.views.columns import Box, Wire
from tinygrad_ce.views.groups import LONGEST_TITLE, Group, grouped
from tinygrad_ce.views.layout import arrange
from tinygrad_ce.views.picture import Attributes, Svg, element, rectangle, wide, words

LARGEST = 1500  # nodes
ROOM = 1230.0  # the width of a row: its letters are not made smaller on a screen of 1280
ONE_ROW = 1800.0  # up to which width a picture is not broken into rows
TALLEST = 2.5  # of its width, the height of a picture on paper
MOST_CARDS, FEW_CARDS = 40, 16  # of one picture of several; and up to which modules in time steps do not fold
MOST_ABOVE = 3  # cards on top of an operation
SHARE = wide("-0.0123", TEXT)  # what a page writes at an edge

STYLE = file_text("tinygrad_ce.views", "graph.css")
DARK = file_text("tinygrad_ce.views", "graph_dark.css")
PICTURE_STYLE = f"\n{STYLE}\n@media (prefers-color-scheme: dark) {{\n{DARK}\n}}"


@dataclass(eq=False)
class EdgeWire(Wire):
    """The wire of an edge, or of all edges between two cards of which one is a folded group."""

    edges: list[Edge] = field(default_factory=list)
    folded: bool = False

    @property
    def argument(self) -> str:
        """What the operation calls an input; nothing where several edges are one wire."""
        return self.edges[0].argument if len(self.edges) == 1 else ""

    @property
    def flows(self) -> bool:
        """Whether a gradient comes back along it."""
        return any(edge.share is not None for edge in self.edges)

    def svg(self) -> Svg:
        """A line with a head at its target and one at its source, of which one is seen; its argument, and its share."""
        (start_x, start_y), (x, y) = self.points[0], self.points[-1]
        if self.is_upright:
            head, tail, at, anchor, above, below = "l-4,-7 h8 z", "l-4,7 h8 z", x + 6, "", y - 19, y - 5
        else:
            head, tail, at, anchor, above, below = "l-7,-4 v8 z", "l7,-4 v8 z", x - 9, "end", y - 5, y + 13
        numbers = " ".join(str(edge.number) for edge in self.edges)
        mark: Attributes = {"data_edges" if self.folded else "data_edge": numbers}
        parts = [element("path", d=_curve(self.points))]
        parts.append(element("path", class_="head", d=f"M{x:.1f},{y:.1f} {head}"))
        parts.append(words(at, above, self.argument, TEXT, class_="soft", text_anchor=anchor))
        if self.flows:
            parts.append(element("path", class_="tail", d=f"M{start_x:.1f},{start_y:.1f} {tail}"))
            parts.append(words(at, below, "", TEXT, class_="share", text_anchor=anchor, tabindex=0, **mark))
        return element("g", *parts, class_="wire" if self.flows else "wire still", **mark)


class Picture:
    """The cards and wires of a graph, arranged.

    group: what is in the picture; without it, all there is. opened: the groups in it that are shown with what they
    hold, all without it; each of the others is one card. on_paper: not much taller than it is wide.
    """

    def __init__(
        self,
        graph: Graph,
        with_gradients: bool,
        group: Group | None = None,
        opened: set[Group] | None = None,
        on_paper: bool = False,
    ) -> None:
        if len(graph.nodes) > LARGEST:
            raise ValueError(
                f"this graph has {len(graph.nodes):,} nodes, and a picture of more than {LARGEST:,} cannot be read: "
                "take a loss of fewer layers or steps, or look at one tensor with tg.explain(tensor, loss)"
            )
        self.graph, self.with_gradients = graph, with_gradients
        self.group = grouped(graph) if group is None else group
        self.cards: dict[Node | Group, Card] = {}
        self.card_of: dict[Node, Card] = {}  # the one that shows a node, or that it is folded into
        self.frames: list[tuple[Box, Group]] = []
        self.top = Box()
        self._fill(self.top, self.group, opened)
        self._stand_above()
        self.wires = self._connect()
        self._arrange(on_paper)

    @property
    def folded(self) -> list[Group]:
        """The groups of which this picture shows one card each."""
        return [group for group in self.cards if isinstance(group, Group)]

    @property
    def nodes(self) -> list[int]:
        """The numbers of the nodes that have a card of their own here."""
        return [node.number for node, card in self.cards.items() if card.kind == "node"]

    def _fill(self, box: Box, group: Group, opened: set[Group] | None) -> None:
        for child in group.children:
            if isinstance(child, Node):
                card = node_card(child, self.with_gradients, child is self.graph.loss)
                self.card_of[child] = card
            elif opened is None or child in opened:
                title = wide(cut(child.title, LONGEST_TITLE), TEXT) + 16
                inner = Box(least=title, starts_row=child.kind == "step")
                box.children.append(inner)
                self.frames.append((inner, child))
                self._fill(inner, child, opened)
                continue
            else:
                card = fold_card(child, self.with_gradients)
                self.card_of.update(dict.fromkeys(child.nodes, card))
            self.cards[child] = card
            box.children.append(card)

    def _stand_above(self) -> None:
        """Put parameters and second arguments on top of the operation that they go into."""
        lifted: set[Box] = set()
        for node, card in self.cards.items():
            target = _stands_on(node) if isinstance(node, Node) else None
            if target in self.cards:
                self.cards[target].above.append(card)
                lifted.add(card)
        for box in (self.top, *(box for box, _ in self.frames)):
            box.children = [child for child in box.children if child not in lifted]

    def _connect(self) -> list[EdgeWire]:
        """The wires: one for each edge between two nodes, and one for all from or to a folded group."""
        wires: dict[tuple[Card, Card, int | None], EdgeWire] = {}
        for node in self.group.nodes:
            target = self.card_of[node]
            for edge in node.inputs:
                if edge.source not in self.card_of:
                    card = outside_card(edge.source)
                    self.card_of[edge.source] = self.cards[edge.source] = card
                    self.top.children.insert(0, card)
                source = self.card_of[edge.source]
                if source is not target:
                    folded = "fold" in (source.kind, target.kind)
                    ends = source, target, None if folded else edge.position
                    wires.setdefault(ends, EdgeWire(source, target, folded=folded)).edges.append(edge)
        for wire in wires.values():
            wire.label = max(wide(wire.argument, TEXT), SHARE if wire.flows else 0.0)
            if wire.is_upright:  # there is room for it on the right of the wire
                wire.source.width = max(wire.source.width, 2 * wire.label)
        return list(wires.values())

    def _arrange(self, on_paper: bool) -> None:
        """In one row if that is short; else in rows that a screen has room for, or that make a sheet of paper."""
        arrange(self.top, self.wires)
        width = ROOM
        if self.top.width > ONE_ROW:
            arrange(self.top, self.wires, width)
        for _ in range(4 if on_paper else 0):  # how a wider picture breaks into rows is not known before
            if self.top.height <= TALLEST * self.top.width:
                break
            width = 1.1 * max(width, (self.top.width * self.top.height / TALLEST) ** 0.5)
            for box, _group in self.frames:
                box.starts_row = False
            arrange(self.top, self.wires, width)
        arriving: dict[Box, list[EdgeWire]] = defaultdict(list)
        for wire in self.wires:
            if not wire.is_upright:
                arriving[wire.target].append(wire)
        for wires in arriving.values():
            _part(wires)

    def svg(self, title: str = "", styled: bool = True) -> str:
        """The whole picture, with its title below it; not styled where a page brings `PICTURE_STYLE`."""
        missing = "" if self.with_gradients else "there are no gradients, not yet or no longer: call loss.backward()"
        caption = "; ".join(filter(None, (title, missing)))
        width = round(max(self.top.width, wide(caption, TEXT) + 28))
        height = round(self.top.height + (LINE + 6 if caption else 0))
        inside = "" if self.group.parent is None else f"{self.group.title} in "
        parts = [
            element("style", Svg(PICTURE_STYLE)) if styled else Svg(),
            element("rect", class_="paper", width=width, height=height),
            *(_frame(box, group) for box, group in self.frames),
            *(wire.svg() for wire in sorted(self.wires, key=lambda wire: wire.edges[0].number)),
            *(card.svg() for card in self.cards.values()),
            words(14, self.top.height + LINE - 4, caption, TEXT, class_="gradient") if caption else Svg(),
        ]
        return element(
            "svg",
            Svg("\n".join(filter(None, parts))),
            xmlns="http://www.w3.org/2000/svg",
            class_="tg-graph",
            role="img",
            aria_label=f"{inside}the graph of {self.graph.loss.name}: {len(self.graph.nodes)} nodes",
            viewBox=f"0 0 {width} {height}",
            width=width,
            height=height,
        )


def _part(wires: list[EdgeWire]) -> None:
    """Let the wires of a card's inputs arrive one below the other, in the order in which they come."""
    wires.sort(key=lambda wire: (wire.points[-3][1], -wire.points[-3][0]))
    port = min(PORT, (wires[0].target.height - 8) / len(wires))
    for n, wire in enumerate(wires):
        y = wire.target.middle + port * (n - (len(wires) - 1) / 2)
        wire.points[-2:] = [(x, y) for x, _ in wire.points[-2:]]


def levels(graph: Graph, with_gradients: bool) -> list[Picture]:
    """A graph in pictures that can be read: the first shows all of it, each further one a group folded in another.

    Each node has its own card in one of them, and each edge its own wire in that of its target, unless it comes from
    a folded group. A graph of few nodes is one picture with everything in it.
    """
    pictures, waiting = [], [grouped(graph, bundled=True)]
    while waiting:
        group = waiting.pop(0)
        pictures.append(Picture(graph, with_gradients, group, _opened(group)))
        waiting += pictures[-1].folded
    return pictures


def _opened(group: Group) -> set[Group]:
    """The groups that are shown opened: all of one depth, while there is room, and each that holds one operation."""
    opened: set[Group] = set()
    level, cards = [group], group.cards
    while level and cards <= MOST_CARDS:
        opened.update(level)
        opened.update(child for held in level for child in held.inner if len(child.results) == 1)
        shown = [held for held in level if held is group or held.kind != "step" or cards <= FEW_CARDS]
        level = [child for held in shown for child in held.inner if child not in opened]
        cards += sum(child.cards - 1 for child in level)
    return opened


def _stands_on(node: Node) -> Node | None:
    """The operation on top of which a parameter or a second argument stands; None if it has a place of its own."""
    if node.kind == "result" or not node.uses:
        return None
    target = node.uses[0].target
    first, *others = (edge.source for edge in target.inputs)
    return target if node is not first and others.count(node) == 1 and len(others) <= MOST_ABOVE else None


def _frame(box: Box, group: Group) -> Svg:
    title = words(box.x + 8, box.y + 15, cut(group.title, LONGEST_TITLE), TEXT, class_="soft")
    kind = "module" if group.kind == "module" else "step"
    return element("g", element("title", group.title), rectangle(box, 8), title, class_=kind)


def _curve(points: Sequence[tuple[float, float]]) -> Svg:
    """A smooth line through the points that leaves and arrives straight; square where it turns into a new row."""
    (x, y), *rest = points
    path = f"M{x:.1f},{y:.1f}"
    for end_x, end_y in rest:
        if min(abs(end_x - x), abs(end_y - y)) < 0.05:
            path += f" L{end_x:.1f},{end_y:.1f}"
        else:
            middle = (x + end_x) / 2
            path += f" C{middle:.1f},{y:.1f} {middle:.1f},{end_y:.1f} {end_x:.1f},{end_y:.1f}"
        x, y = end_x, end_y
    return Svg(path)
