"""Where everything of a picture stands: a layered layout from left to right, in rows, with groups inside of groups.

Nothing overlaps by construction: each column stacks what stands in it, an edge that passes a column has a lane of its
own there, and a group is laid out by itself first and is one item of the group around it. After Sugiyama, Tagawa and
Toda, "Methods for visual understanding of hierarchical system structures" (1981); groups after Sander (1996).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from tinygrad_ce.views.boxes import BESIDE, DROP, LEAD, Box, Wire
from tinygrad_ce.views.columns import LANE, SWEEPS, Columns, Item

COLUMN_GAP = 16.0  # and room for what is written at the wires that arrive
ROW_GAP = 18.0
PADDING = 12.0  # inside a group
TITLE = 20.0  # of a group
WIDER = 1.2  # times as wide may be what has a row for itself, before it is broken into rows
STILL = 0.02  # what moves no farther stands
AROUND = 60.0  # of the width of a row, what is left beside a group


def arrange(top: Box, wires: Sequence[Wire], width: float = inf) -> None:
    """Give every box its place and every wire its points; `top` is the group that holds all.

    The children of each group stand in an order in which no wire goes back. width: where it would be wider, it goes on
    in a new row, unless one column is.
    """
    _lift(wires)
    level = _Level(top, list(wires), width, outermost=True)
    level.settle(0.0, 0.0)
    for wire in wires:
        if wire.source in wire.target.above:
            wire.points = _down(wire)
        else:
            ends = (wire.source.x + wire.source.width, wire.source.middle), (wire.target.x, wire.target.middle)
            wire.points = [ends[0], *level.route(wire), ends[1]]
            (x, y), end = wire.points[-2:]
            wire.points[-2:] = [(x - wire.lead, y), end]


def _lift(wires: Sequence[Wire]) -> None:
    """Those above a box whose wires also go to the right stand higher than those on their right."""
    leaving = {wire.source for wire in wires if wire.source not in wire.target.above}
    for box in {wire.target for wire in wires}:
        highest = 0.0
        for above in reversed(box.above):
            if above in leaving and highest:
                above.lift = max(highest + LANE - above.height / 2, 0.0)
            highest = max(highest, above.lift + above.height)


def _down(wire: Wire) -> list[tuple[float, float]]:
    """From a box down to the one that it stands above; those beside it have their own place to arrive at."""
    source, target = wire.source, wire.target
    before, last = target.above.index(source), len(target.above) - 1
    apart = min(wire.label + 16, (target.width - 24) / max(last, 1))
    x = source.x + source.width / 2
    free = max(target.width - 24 - last * apart, 0.0)  # what is written at a wire stands on its right
    rightmost = target.x + target.width - 12 - min(free, wire.label) - (last - before) * apart
    inside = min(max(x, target.x + 12 + before * apart), rightmost)
    points = [(x, source.y + source.height), (x, target.y - DROP), (inside, target.y)]
    return points if source.lift else points[::2]


class _Level(Columns):
    """One group: where its items stand, and the way of each wire through it."""

    def __init__(self, group: Box, wires: list[Wire], width: float, outermost: bool = False) -> None:
        self.group, self.width, self.outermost = group, width, outermost
        self.levels = {
            id(child): _Level(child, wires, (width - AROUND) * (WIDER if child.starts_row else 1))
            for child in group.children
            if child.children
        }
        super().__init__(group.children, self.levels, wires)
        self._stack(wires)

    def _stack(self, wires: list[Wire]) -> None:
        """How far down each item stands: as near as the order allows to where its wires are straight."""
        for column in self.columns.values():
            y = -sum(item.height + ROW_GAP for item in column) / 2
            for item in column:
                item.y = y
                y += item.height + ROW_GAP
        ranks = range(-1, self.last + 2)
        self.widths = {rank: max((i.width for i in self.columns[rank]), default=0.0) for rank in ranks}
        leads = self._leads(wires)
        rows = self._rows(leads)
        self.row_of = {rank: n for n, row in enumerate(rows) for rank in row}
        columns = [_Column(self.columns[rank], self.row_of) for rank in ranks]
        for _ in range(3 * SWEEPS):  # to the right, and back
            moved = max(column.settle() for column in (*columns, *reversed(columns)))
            if moved < STILL:
                break
        self._place(rows, leads)

    def _place(self, rows: list[list[int]], leads: dict[int, float]) -> None:
        """Where each column begins, and how far down each row stands."""
        self.left: dict[int, float] = {}
        self.turns: dict[tuple[int, Box], tuple[float, float, float]] = {}
        self.row_ends: set[int] = set()
        right, y = 0.0, PADDING + (0.0 if self.outermost else TITLE)
        for row in rows:
            items = [item for rank in row for item in self.columns[rank]]
            shift = y - min((item.y for item in items), default=y)
            for item in items:
                item.y += shift
            x = self._begin(row)
            for rank in row[row[0] < 0 : len(row) - (row[-1] > self.last)]:
                x += self._before(rank, rank == row[0], leads)
                self.left[rank] = x
                x += self.widths[rank]
            y = max((item.y + item.height for item in items), default=y)
            crossing = self._crossing(row[-1])
            if row[-1] < self.last:
                self.row_ends.add(row[-1])
                y += ROW_GAP
                for n, source in enumerate(crossing):  # one around the other, so that they do not cross
                    out = LANE * (len(crossing) - n)
                    self.turns[row[-1], source] = x + out, y + out, PADDING + out
                x, y = x + LANE * len(crossing), y + LANE * (len(crossing) + 1) + ROW_GAP
            right = max(right, x)
        self.group.width = max(right + PADDING, self.group.width)
        self.group.height = y + PADDING

    def _rows(self, leads: dict[int, float]) -> list[list[int]]:
        """The columns of each row: as few rows as are not too wide, and those about equally long."""
        rows, width = self._filled(leads, self.width), self.width
        for _ in range(6 if len(rows) > 1 else 0):
            narrower = self._filled(leads, width * 0.92)
            if len(narrower) > len(rows):
                break
            rows, width = narrower, width * 0.92
        return rows

    def _filled(self, leads: dict[int, float], width: float) -> list[list[int]]:
        rows, x = [[-1]], PADDING
        for rank in range(self.last + 1):
            x += self._before(rank, rank == 0, leads) + self.widths[rank]
            breaks = any(item.box is not None and item.box.starts_row for item in self.columns[rank])
            if rank and (breaks or x + LANE * len(self._crossing(rank)) + PADDING > width):
                rows.append([])
                x = self._begin([rank]) + self._before(rank, True, leads) + self.widths[rank]
            rows[-1].append(rank)
        rows[-1].append(self.last + 1)
        return rows

    def _begin(self, row: list[int]) -> float:
        """How far right a row begins: after the wires that come from the row above."""
        return PADDING + LANE * (len(self._crossing(row[0] - 1)) + 1 if row[0] > 0 else 0)

    def _before(self, rank: int, first: bool, leads: dict[int, float]) -> float:
        """The room to the left of a column; the first of all has none where nothing comes in."""
        lead = leads.get(rank, LEAD) if rank or self.entries else 0.0
        return lead + (0.0 if first else COLUMN_GAP)

    def _crossing(self, rank: int) -> list[Box]:
        """The sources whose wires go from a column to the next, from the topmost down."""
        ends = {s: item.y + item.port(s) for item in self.columns.get(rank, []) for _, s in item.after}
        return sorted(ends, key=lambda source: ends[source])

    def _leads(self, wires: list[Wire]) -> dict[int, float]:
        """By column, the longest straight end of the wires that arrive there."""
        leads: dict[int, float] = {}
        for wire in wires:
            item = self.item_of.get(id(wire.target))
            if item is not None and item.box is wire.target and wire.source not in wire.target.above:
                leads[item.rank] = max(leads.get(item.rank, LEAD), wire.lead)
        return leads

    def settle(self, x: float, y: float) -> None:
        """Move everything to its place in the picture; the group's own corner is at x, y."""
        self.group.x, self.group.y = x, y
        for item in self.items:
            box = item.box
            assert box is not None
            left = x + self.left[item.rank] + (self.widths[item.rank] - item.width) / 2
            if id(box) in self.levels:
                self.levels[id(box)].settle(left, y + item.y)
                continue
            box.x, box.y = left + (item.width - box.width) / 2, y + item.y + box.height_above
            beside = left + (item.width - box.width_above) / 2
            for above in box.above:
                above.x, above.y = beside, box.y - DROP - above.lift - above.height
                beside += above.width + BESIDE

    def route(self, wire: Wire) -> list[tuple[float, float]]:
        """The points between the two ends of a wire, of this group and of the groups inside."""
        source, target = self.item_of.get(id(wire.source)), self.item_of.get(id(wire.target))
        x, y = self.group.x, self.group.y
        if source is target:
            level = self._inside(source)
            return level.route(wire) if level is not None else []
        points: list[tuple[float, float]] = []
        start = source if source is not None else self.entries[wire.source]
        end = target if target is not None else self.exits[wire.source]
        if source is None:
            points.append((x, y + start.y + LANE / 2))
        else:
            level = self._inside(source)
            points += level.route(wire) if level is not None else []
            points.append((x + self._right(start.rank), y + start.y + start.port(wire.source)))
        for lane in self.lanes[id(wire.source), id(start), id(end)]:
            height = y + lane.y + LANE / 2
            points += self._turn(lane.rank - 1, wire.source, points[-1][1], height)
            points += [(x + self.left[lane.rank], height), (x + self._right(lane.rank), height)]
        if target is None:
            points.append((x + self.group.width, y + end.y + LANE / 2))
        else:
            height = y + end.y + end.port(wire.source)
            points += self._turn(end.rank - 1, wire.source, points[-1][1], height)
            points.append((x + self.left[end.rank], height))
            level = self._inside(target)
            points += level.route(wire) if level is not None else []
        return points

    def _turn(self, rank: int, source: Box, start: float, end: float) -> list[tuple[float, float]]:
        """The way of a wire from the end of a row to the beginning of the next one; none inside of a row."""
        if rank not in self.row_ends:
            return []
        right, between, left = self.turns[rank, source]
        x, y = self.group.x, self.group.y
        return [(x + right, start), (x + right, y + between), (x + left, y + between), (x + left, end)]

    def _right(self, rank: int) -> float:
        return self.left[rank] + self.widths[rank]

    def _inside(self, item: Item | None) -> _Level | None:
        return None if item is None or item.box is None else self.levels.get(id(item.box))


class _Column:
    """The items of a column, each with what it wants to be level with: its neighbours in the same row."""

    def __init__(self, items: list[Item], row_of: dict[int, int]) -> None:
        self.items, self.heights = items, [item.height for item in items]
        self.ends: list[list[tuple[Item, float, float]]] = []  # a neighbour, how much lower it stands then, a weight
        for item in items:
            near = [end for end in (*item.before, *item.after) if row_of[end[0].rank] == row_of[item.rank]]
            self.ends.append(
                [(x, x.port(s) - item.port(s), 4.0 if x.box is None or item.box is None else 2.0) for x, s in near]
            )
        self.weights = [max(sum(weight for *_, weight in ends), 0.1) for ends in self.ends]

    def settle(self) -> float:
        """Move the items to where they want to be, as far as there is room; how far the farthest has moved."""
        wanted = [
            sum((x.y + lower) * weight for x, lower, weight in ends) / total if ends else item.y
            for item, ends, total in zip(self.items, self.ends, self.weights, strict=True)
        ]
        moved = 0.0
        for item, y in zip(self.items, _spread(self.heights, wanted, self.weights), strict=True):
            moved = max(moved, abs(item.y - y))
            item.y = y
        return moved


def _spread(heights: Sequence[float], wanted: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Tops of stacked items, in this order and with gaps, nearest to the wanted ones (pool adjacent violators).

    >>> _spread([10, 10], [0, 0], [1, 1])
    [-14.0, 14.0]
    """
    offsets, total = [], 0.0
    for height in heights:
        offsets.append(total)
        total += height + ROW_GAP
    blocks: list[list[float]] = []  # mean, weight, count
    for y, offset, weight in zip(wanted, offsets, weights, strict=True):
        blocks.append([y - offset, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, heavy, count = blocks.pop()
            before = blocks[-1]
            before[0] = (before[0] * before[1] + mean * heavy) / (before[1] + heavy)
            before[1] += heavy
            before[2] += count
    tops = [mean for mean, _, count in blocks for _ in range(int(count))]
    return [top + offset for top, offset in zip(tops, offsets, strict=True)]
