"""The picture of a graph: its cards and wires, arranged, as SVG; whole, or in levels with folded groups."""

from __future__ import annotations

from collections import Counter

from tinygrad_ce.graph.nodes import Edge, Graph, Node
from tinygrad_ce.report.words import cut, escaped
from tinygrad_ce.views.boxes import DROP, Box, Wire
from tinygrad_ce.views.cards import LINE, PORT, TEXT, FoldCard, NodeCard, OutsideCard
from tinygrad_ce.views.columns import LANE
from tinygrad_ce.views.groups import LONGEST_TITLE, Group, grouped
from tinygrad_ce.views.layout import COLUMN_GAP, arrange
from tinygrad_ce.views.picture import FONT, wide, written

LARGEST = 1500  # nodes
ROOM = 1230.0  # the width of a row: its letters are not made smaller on a screen of 1280
ONE_ROW = 1800.0  # up to which width a picture is not broken into rows
TALLEST = 2.5  # of its width, the height of a picture on paper
MOST_CARDS, FEW_CARDS = 40, 16  # of one picture of several; and up to which modules in time steps do not fold
MOST_ABOVE = 3  # cards on top of an operation
SHARE = wide("-0.0123", TEXT)  # what a page writes at an edge

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
.tg-graph .step rect {{ fill: none; stroke: #8c959f; stroke-opacity: 0.7; }}
.tg-graph .step text {{ fill: #57606a; }}
.tg-graph .fold rect.body {{ fill: #f0edf8; stroke: #5b4a9c; stroke-width: 2; }}
.tg-graph .outside rect.body {{ fill: none; stroke: #8c959f; stroke-dasharray: 4 3; }}
.tg-graph .wire path {{ fill: none; stroke: #6e7781; stroke-width: 1.4; stroke-linejoin: round; }}
.tg-graph .wire path.head, .tg-graph .wire path.tail {{ fill: #6e7781; stroke: none; }}
.tg-graph .wire.still path {{ stroke-dasharray: 3 3; }}
.tg-graph .wire path.tail, .tg-graph .share {{ display: none; }}
.tg-graph image {{ image-rendering: pixelated; }}
""".strip()
DARK = """
.tg-graph rect.paper { fill: #0d1117; }
.tg-graph text { fill: #e6edf3; }
.tg-graph .node rect.body { fill: #161b22; stroke: #9aa4ae; }
.tg-graph .data rect.body { fill: #10263c; stroke: #6cb0f0; }
.tg-graph .parameter rect.body { fill: #2e2508; stroke: #e0b040; }
.tg-graph .loss rect.body { fill: #38142a; stroke: #f08cc0; }
.tg-graph text.soft, .tg-graph .module text, .tg-graph .step text { fill: #a6b0ba; }
.tg-graph .fold rect.body { fill: #1d1836; stroke: #a99be8; }
.tg-graph text.gradient { fill: #f5a3cc; }
.tg-graph image { filter: invert(1) hue-rotate(180deg); } /* zero is dark, negative still blue, positive orange */
.tg-graph .wire path { stroke: #9aa4ae; }
.tg-graph .wire path.head, .tg-graph .wire path.tail { fill: #9aa4ae; }
""".strip()
PICTURE_STYLE = f"{STYLE}\n@media (prefers-color-scheme: dark) {{\n{DARK}\n}}"


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
        self.number = {node: n for n, node in enumerate(graph.nodes)}
        self.cards: dict[Node | Group, NodeCard] = {}
        self.card_of: dict[Node, NodeCard] = {}  # the one that shows a node, or that it is folded into
        self.framed: list[tuple[Box, Group]] = []
        self.top = Box()
        self._fill(self.top, self.group, opened)
        self._stand_above()
        self.edges: dict[tuple[NodeCard, NodeCard, int], list[Edge]] = {}
        self._collect_edges()
        self.wires = {ends: Wire(ends[0], ends[1], self._label_width(edges)) for ends, edges in self.edges.items()}
        self._arrange(on_paper)

    @property
    def folded(self) -> list[Group]:
        """The groups of which this picture shows one card each."""
        return [group for group in self.cards if isinstance(group, Group)]

    @property
    def nodes(self) -> list[int]:
        """The numbers of the nodes that have a card of their own here."""
        return [
            self.number[node] for node, card in self.cards.items() if isinstance(node, Node) and type(card) is NodeCard
        ]

    def _fill(self, box: Box, group: Group, opened: set[Group] | None) -> None:
        for child in group.children:
            if isinstance(child, Node):
                card = NodeCard(child, self.number[child], self.with_gradients, child is self.graph.loss)
                self.card_of[child] = card
            elif opened is None or child in opened:
                inner = Box(width=_title_width(child), starts_row=child.kind == "step")
                box.children.append(inner)
                self.framed.append((inner, child))
                self._fill(inner, child, opened)
                continue
            else:
                card = self._folded(child)
            self.cards[child] = card
            box.children.append(card)

    def _folded(self, group: Group) -> FoldCard:
        inside = set(group.nodes)
        results = [node for node in group.nodes if node.kind == "result"]
        leaving = [node for node in results if any(edge.target not in inside for edge in node.uses)]
        output = (leaving or results)[-1]
        card = FoldCard(
            group.title, group.number, len(results), output, self.number[output], gradient=self.with_gradients
        )
        self.card_of.update(dict.fromkeys(inside, card))
        return card

    def _stand_above(self) -> None:
        """Put parameters and second arguments on top of the operation that they go into."""
        for node, card in self.cards.items():
            target = _stands_on(node) if isinstance(node, Node) else None
            if target in self.cards:
                self.cards[target].above.append(card)
        for card in self.cards.values():  # a wire needs room for what is written at it
            card.width = max(card.width, 12 + len(card.above) * (SHARE + 16))
        above = {id(x) for card in self.cards.values() for x in card.above}
        for box in (self.top, *(box for box, _ in self.framed)):
            box.children = [child for child in box.children if id(child) not in above]

    def _collect_edges(self) -> None:
        """The wires: one for each edge between two nodes, and one for all from or to a folded group."""
        for node in self.group.nodes:
            target = self.card_of[node]
            for edge in node.inputs:
                source = self.card_of.get(edge.source)
                if source is None:
                    source = self.card_of[edge.source] = OutsideCard(edge.source, self.number[edge.source])
                    self.cards[edge.source] = source
                    self.top.children.insert(0, source)
                if source is not target:
                    apart = edge.position if type(source) is not FoldCard and type(target) is not FoldCard else -1
                    self.edges.setdefault((source, target, apart), []).append(edge)

    def _label_width(self, edges: list[Edge]) -> float:
        """The room at the end of a wire: for the argument, and for what a page writes below it."""
        return max(wide(_argument(edges), TEXT), SHARE if any(edge.share is not None for edge in edges) else 0.0)

    def _arrange(self, on_paper: bool) -> None:
        wires, width = list(self.wires.values()), ROOM
        if len(self.cards) > MOST_CARDS:  # a long way from one row
            area = sum((card.width + SHARE) * (card.height + DROP) for card in self.cards.values())
            width = max(ROOM, (2 * area / TALLEST) ** 0.5) if on_paper else ROOM
            arrange(self.top, wires, width)
        else:
            arrange(self.top, wires)
            if self.top.width > ONE_ROW:
                self._again(wires, width)
        for _ in range(4):  # how a wider picture breaks into rows is not known before
            if not on_paper or self.top.height <= TALLEST * self.top.width:
                break
            width = 1.1 * max(width, (self.top.width * self.top.height / TALLEST) ** 0.5)
            for box, _group in self.framed:
                box.starts_row = False
            self._again(wires, width)
        arriving: dict[NodeCard, list[tuple[NodeCard, NodeCard, int]]] = {}
        for ends in self.edges:
            arriving.setdefault(ends[1], []).append(ends)
        for target, several in arriving.items():
            self._part(target, several)

    def _again(self, wires: list[Wire], width: float) -> None:
        """Arrange what has been arranged before, for another width."""
        self.top.width = 0.0
        for box, group in self.framed:
            box.width = _title_width(group)
        arrange(self.top, wires, width)

    def _part(self, target: NodeCard, arriving: list[tuple[NodeCard, NodeCard, int]]) -> None:
        """Let the wires of a card's inputs arrive one below the other, in the order in which they come."""
        count, known = Counter(ends[0] for ends in arriving), Counter[NodeCard]()
        for ends in arriving:  # aside from one point on, so that no other wire from there runs between them
            source, several = ends[0], count[ends[0]] - 1
            aside = min(LANE / 2, LANE / max(several, 1)) * (known[source] - several / 2)
            known[source] += 1
            self.wires[ends].points[2:] = [(x, y + aside) for x, y in self.wires[ends].points[2:]]
        wires = [self.wires[ends] for ends in arriving if ends[0] not in target.above]
        wires.sort(key=lambda wire: (wire.points[-3][1], -wire.points[-3][0]))
        port = min(PORT, (target.height - 8) / max(len(wires), 1))
        for n, wire in enumerate(wires):
            y = target.middle + port * (n - (len(wires) - 1) / 2)
            wire.points[-2:] = [(x, y) for x, _ in wire.points[-2:]]

    def svg(self, title: str = "", styled: bool = True) -> str:
        """The whole picture, with its title below it; not styled where a page brings `PICTURE_STYLE`."""
        missing = "" if self.with_gradients else "no gradient has been computed yet: call loss.backward()"
        caption = "; ".join(filter(None, (title, missing)))
        width = max(self.top.width, wide(caption, TEXT) + 28)
        height = self.top.height + (LINE + 6 if caption else 0)
        inside = "" if self.group.parent is None else f"{self.group.title} in "
        name = escaped(f"{inside}the graph of {self.graph.loss.name}: {len(self.graph.nodes)} nodes")
        edge_number = {edge: n for n, edge in enumerate(self.graph.edges)}
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="tg-graph" role="img" aria-label="{name}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}">',
            f"<style>{PICTURE_STYLE}</style>" if styled else "",
            f'<rect class="paper" width="{width:.0f}" height="{height:.0f}"/>',
            *(_frame(box, group) for box, group in self.framed),
            *(
                self._wire(ends, edges, [edge_number[edge] for edge in edges])
                for ends, edges in sorted(self.edges.items(), key=lambda item: edge_number[item[1][0]])
            ),
            *(card.svg() for card in self.cards.values()),
        ]
        if caption:
            parts.append(written(14, self.top.height + LINE - 4, caption, TEXT, "gradient"))
        return "\n".join([*parts, "</svg>"])

    def _wire(self, ends: tuple[NodeCard, NodeCard, int], edges: list[Edge], numbers: list[int]) -> str:
        """A line with a head at its target and one at its source, of which one is seen; its argument, and its share."""
        points, target, argument = self.wires[ends].points, ends[1], _argument(edges)
        upright = ends[0] in target.above
        (start_x, start_y), (x, y) = points[0], points[-1]
        room = target.x + target.width + COLUMN_GAP - x - 6
        if upright:
            head, tail = f"M{x:.1f},{y:.1f} l-4,-7 h8 z", f"M{start_x:.1f},{start_y:.1f} l-4,7 h8 z"
            aside = self.wires[ends].label <= room
            at, anchor, above, below = (x + 6 if aside else x - 8), ("start" if aside else "end"), y - 19, y - 5
        else:
            head, tail = f"M{x:.1f},{y:.1f} l-7,-4 v8 z", f"M{start_x:.1f},{start_y:.1f} l7,-4 v8 z"
            at, anchor, above, below = x - 9, "end", y - 5, y + 13
        flows = any(edge.share is not None for edge in edges)
        mark = f'data-edge="{numbers[0]}"' if ends[2] >= 0 else f'data-edges="{" ".join(map(str, numbers))}"'
        parts = [f'<g class="wire{"" if flows else " still"}" {mark}><path d="{_curve(points, upright)}"/>']
        parts += [f'<path class="head" d="{head}"/>', f'<path class="tail" d="{tail}"/>' if flows else ""]
        parts.append(written(at, above, argument, TEXT, "soft", anchor))
        if flows:
            place = f'x="{at:.1f}" y="{below:.1f}" font-size="{TEXT:g}" text-anchor="{anchor}"'
            parts.append(f'<text class="share" {mark} {place} tabindex="0"/>')
        return "".join([*parts, "</g>"])


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
    """The groups of a picture that are shown with what they hold: all of one depth, while there is room.

    A module that is one operation is not folded: there is nothing to hide but its parameters.
    """
    opened = {inner for inner in _groups_in(group) if inner.operations == 1}
    cards, waiting = group.cards, [inner for inner in _groups_in(group) if inner not in opened]
    while waiting:
        cards += sum(inner.cards - 1 for inner in waiting)
        if cards > MOST_CARDS:
            break
        opened.update(waiting)
        opened.update(alone for inner in waiting for alone in _groups_in(inner) if alone.operations == 1)
        waiting = [
            child
            for inner in waiting
            if inner.kind != "step" or cards <= FEW_CARDS
            for child in _groups_in(inner)
            if child not in opened
        ]
    return opened


def _groups_in(group: Group) -> list[Group]:
    return [child for child in group.children if isinstance(child, Group)]


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


def _argument(edges: list[Edge]) -> str:
    """What the operation calls an input; nothing where several edges are one wire."""
    return edges[0].argument if len(edges) == 1 else ""


def _title_width(group: Group) -> float:
    return wide(cut(group.title, LONGEST_TITLE), TEXT) + 16


def _frame(box: Box, group: Group) -> str:
    text = written(box.x + 8, box.y + 15, cut(group.title, LONGEST_TITLE), TEXT)
    kind = "module" if group.kind == "module" else "step"
    return f'<g class="{kind}"><title>{escaped(group.title)}</title><rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="8"/>{text}</g>'


def _curve(points: list[tuple[float, float]], upright: bool) -> str:
    """A smooth line through the points that leaves and arrives straight; square where it turns into a new row."""
    (x, y), *rest = points
    text = f"M{x:.1f},{y:.1f}"
    for next_x, next_y in rest:
        if upright:
            bend = (next_y - y) / 2
            text += f" C{x:.1f},{y + bend:.1f} {next_x:.1f},{next_y - bend:.1f} {next_x:.1f},{next_y:.1f}"
        elif abs(next_y - y) < 0.05 or abs(next_x - x) < 0.05:
            text += f" L{next_x:.1f},{next_y:.1f}"
        else:
            bend = (next_x - x) / 2
            text += f" C{x + bend:.1f},{y:.1f} {next_x - bend:.1f},{next_y:.1f} {next_x:.1f},{next_y:.1f}"
        x, y = next_x, next_y
    return text
