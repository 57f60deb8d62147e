"""Where everything of a picture stands: a layered layout from left to right, in rows, with groups inside of groups.

Nothing overlaps by construction: each column stacks what stands in it, an edge that passes a column has a lane of its
own there, and a group is laid out by itself first and is one item of the group around it. After Sugiyama, Tagawa and
Toda, "Methods for visual understanding of hierarchical system structures" (1981); groups after Sander (1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tinygrad_ce.views.columns import LANE, LEAD, ROW_GAP, Box, Item, Wire, join, order, rank, straighten

DROP = 36.0  # between what stands above a box and the box: two lines of text
BESIDE = 10.0  # between those that stand there side by side
COLUMN_GAP = 16.0  # and room for what is written at the wires that arrive
PADDING = 12.0  # inside a group
TITLE = 20.0  # of a group
WIDER = 1.2  # times as wide may be what has a row for itself, before it is broken into rows
AROUND = 60.0  # of the width of a row, what is left beside a group

Points = list[tuple[float, float]]


def arrange(top: Box, wires: Sequence[Wire], width: float = inf) -> None:
    """Give every box its place and every wire its points; `top` is the group that holds all.

    The children of each group stand in an order in which no wire goes back. width: where it would be wider, it goes on
    in a new row, unless one column is.
    """
    sideways = [wire for wire in wires if not wire.is_upright]
    level = Level(top, sideways, width, title=0.0)
    level.move(0.0, 0.0)
    for wire in wires:
        x = wire.source.x + wire.source.width / 2
        wire.points = [(x, wire.source.y + wire.source.height), (x, wire.target.y)]
    for wire in sideways:
        *points, (x, y) = level.route(wire)
        end = (wire.target.x, wire.target.middle)
        wire.points = [(wire.source.right, wire.source.middle), *points, (x - wire.lead, y), end]


def _stacked(box: Box, leaving: set[Box]) -> Item:
    """A box and those above it, whose wires fall straight on it; one that is `leaving` is above all on its right."""
    x = highest = 0.0
    for above in reversed(box.above):
        lift = max(highest + LANE - above.height / 2, 0.0) if above in leaving and highest else 0.0
        highest = max(highest, lift + above.height)
        x -= above.width
        above.x, above.y = x, -DROP - lift - above.height
        x -= BESIDE
    row = -x - BESIDE
    box.width = max([box.width, *(row - above.width + 2 * LEAD for above in box.above)])
    width = max(box.width, row)
    box.x, box.y = (width - box.width) / 2, highest + DROP if box.above else 0.0
    for above in box.above:
        above.x, above.y = above.x + (width + row) / 2, above.y + box.y
    ports = {above: above.middle for above in box.above}
    return Item(width, box.y + box.height, box.middle, box=box, ports=ports)


class Level(Item):
    """One group: its items in columns, where each column stands, and the way of each wire through it.

    The first column and the last hold no boxes, but the places where wires come in and go out.
    """

    def __init__(self, group: Box, wires: Sequence[Wire], width: float, title: float = TITLE) -> None:
        super().__init__(group.least, box=group)
        self.group = group
        self.item_of: dict[Box, Item] = {}  # of each box inside, also of those in groups
        self.lanes: dict[tuple[Box, int], Item] = {}
        self.turns: dict[tuple[int, Box], tuple[float, float, float]] = {}
        self.leaving = {wire.source for wire in wires}
        self.items = [self._item(child, wires, width) for child in group.children]
        held = self.item_of.get
        ends = [(w, a, b) for w in wires if (a := held(w.source)) is not (b := held(w.target))]
        rank(self.items, [(a, b) for _, a, b in ends if a is not None and b is not None])
        self.last = max((item.rank for item in self.items), default=0) + 1
        leads = [LEAD] * (self.last + 1)  # by column, the longest straight end of the wires that arrive there
        for wire, _, target in ends:
            join(self._chain(wire), wire.source)
            if target is not None and target.box is wire.target:
                leads[target.rank] = max(leads[target.rank], wire.lead)
        columns: list[list[Item]] = [[] for _ in range(self.last + 1)]
        for item in (*self.items, *self.lanes.values()):
            columns[item.rank].append(item)
        self.columns = order(columns)
        if not self.columns[0]:  # nothing arrives from the left
            leads[1:2] = [-COLUMN_GAP]
        rows = self._rows(leads, width)
        straighten(self.columns, [n for n, row in enumerate(rows) for _ in row])
        self._stack(rows, PADDING + title)
        group.width, group.height = self.width, self.height
        edges = {source: lane for (source, rank), lane in self.lanes.items() if rank in (0, self.last)}
        self.ports = {source: lane.y + lane.middle for source, lane in edges.items()}

    def _item(self, child: Box, wires: Sequence[Wire], width: float) -> Item:
        """A child as what stands in a column."""
        if not child.children:
            item = _stacked(child, self.leaving)
            self.item_of |= dict.fromkeys((child, *child.above), item)
            return item
        level = Level(child, wires, (width - AROUND) * (WIDER if child.starts_row else 1))
        self.item_of |= dict.fromkeys(level.item_of, level)
        return level

    def _chain(self, wire: Wire) -> list[Item]:
        """What a wire connects here, and the lanes that it passes: one in each column for all wires of a source."""
        source, target = self.item_of.get(wire.source), self.item_of.get(wire.target)
        first = 0 if source is None else source.rank + 1
        end = self.last + 1 if target is None else target.rank
        lanes = [self.lanes.setdefault((wire.source, n), Item(rank=n)) for n in range(first, end)]
        return [item for item in (source, *lanes, target) if item is not None]

    def _rows(self, leads: Sequence[float], width: float) -> list[list[int]]:
        """The columns of each row: as few rows as are not too wide, and those about equally long."""
        fewest = len(self._filled(leads, width))
        narrow_first = (self._filled(leads, width * 0.92**n) for n in range(6, -1, -1))
        return next(rows for rows in narrow_first if len(rows) == fewest)

    def _filled(self, leads: Sequence[float], width: float) -> list[list[int]]:
        """The columns of rows of a width; it notes where each column begins and ends."""
        rows, x = [[0]], PADDING
        self.left, self.right = [0.0], [0.0]
        for n in range(1, self.last):
            wide = max(item.width for item in self.columns[n])
            left = x + leads[n] + COLUMN_GAP
            breaks = any(item.box is not None and item.box.starts_row for item in self.columns[n])
            if n > 1 and (breaks or left + wide + LANE * len(self._sources(n)) + PADDING > width):
                rows.append([])
                left = PADDING + LANE * (len(self._sources(n - 1)) + 1) + leads[n]  # after the wires from above
            rows[-1].append(n)
            x = left + wide
            self.left.append(left)
            self.right.append(x)
        rows[-1].append(self.last)
        return rows

    def _sources(self, column: int) -> list[Box]:
        """The sources whose wires go on from a column to the next, from the topmost down."""
        ends = {source: item.y + item.port(source) for item in self.columns[column] for _, source in item.after}
        return sorted(ends, key=lambda source: ends[source])

    def _stack(self, rows: Sequence[Sequence[int]], y: float) -> None:
        """Put the rows one below the other, from y on, with the wires between them; the size of the group."""
        for row in rows:
            items = [item for column in row for item in self.columns[column]]
            shift = y - min((item.y for item in items), default=y)
            for item in items:
                item.y += shift
            y = max((item.y + item.height for item in items), default=y)
            end = min(row[-1], self.last - 1)
            crossing = self._sources(end) if row is not rows[-1] else []
            self.width = max(self.right[end] + LANE * len(crossing) + PADDING, self.width)
            if row is rows[-1]:
                break
            y += ROW_GAP
            for n, source in enumerate(crossing):  # one around the other, so that they do not cross
                out = LANE * (len(crossing) - n)
                self.turns[end, source] = self.right[end] + out, y + out, PADDING + out
            y += LANE * (len(crossing) + 1) + ROW_GAP
        self.left.append(self.width)
        self.right.append(self.width)
        self.height = y + PADDING

    def move(self, x: float, y: float) -> None:
        """Move everything to its place in the picture; the group's own corner is at x, y."""
        self.group.x, self.group.y = x, y
        for item in self.items:
            item.move(x + (self.left[item.rank] + self.right[item.rank] - item.width) / 2, y + item.y)

    def route(self, wire: Wire) -> Points:
        """The points between the two ends of a wire, of this group and of the groups inside."""
        x, y = self.group.x, self.group.y
        source, target = self.item_of.get(wire.source), self.item_of.get(wire.target)
        if source is not None and source is target:
            return source.route(wire)
        points: Points = []
        for item in self._chain(wire):
            height = y + item.y + item.port(wire.source)
            if (item.rank - 1, wire.source) in self.turns and points:  # the wire goes on in a new row
                right, between, left = self.turns[item.rank - 1, wire.source]
                points += [(x + right, points[-1][1]), (x + right, y + between)]
                points += [(x + left, y + between), (x + left, height)]
            if item is not source:
                points.append((x + self.left[item.rank], height))
            points += item.route(wire)
            if item is not target and 0 < item.rank < self.last:
                points.append((x + self.right[item.rank], height))
        return points
