"""The columns of a layered layout: boxes and wires, in which order they stand, and how far down (Sugiyama's method)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import TypeAlias

LEAD = 12.0  # of a straight line before its head, at least
LANE = 10.0  # the height of a place where wires pass
ROW_GAP = 18.0  # between what stands one below the other
SWEEPS = 12
STILL = 0.02  # what moves no farther stands


@dataclass(eq=False)
class Box:
    """A rectangle; x and y are its top left corner, known after `arrange`.

    above: boxes that stand above this one, side by side, in its column. children: what a group holds.
    width, height: of a group, they are found out; least: the smallest width that it may have.
    starts_row: whether a new row begins with it, as with a time step.
    """

    width: float = 0.0
    height: float = 0.0
    above: list[Box] = field(default_factory=list)
    children: list[Box] = field(default_factory=list)
    least: float = 0.0
    starts_row: bool = False
    x: float = 0.0
    y: float = 0.0

    @property
    def middle(self) -> float:
        """Half way down."""
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        """Where it ends."""
        return self.x + self.width


@dataclass(eq=False)
class Wire:
    """A line from the right side of one box to the left side of another, or from above a box down to it.

    label: the width of what is written at its end. points: where it passes.
    """

    source: Box
    target: Box
    label: float = 0.0
    points: list[tuple[float, float]] = field(default_factory=list)

    @property
    def is_upright(self) -> bool:
        """Whether it leads down to the box that its source stands above."""
        return self.source in self.target.above

    @property
    def lead(self) -> float:
        """How long it is straight before its head, so that nothing runs through what is written there."""
        return max(LEAD, self.label + 10)


@dataclass(eq=False)
class Item:
    """What stands in a column: a box with what is above it, a group, or a lane for the wires of one source.

    middle: how far down wires begin and end; ports: the same of those sources for which it is elsewhere.
    before, after: the neighbours in the columns beside it, each with the source of the wire from or to there.
    rank: its column; 0 holds the wires that come into the group. number: its place in the column, from the top.
    """

    width: float = 0.0
    height: float = LANE
    middle: float = LANE / 2
    rank: int = 1
    box: Box | None = None
    ports: dict[Box, float] = field(default_factory=dict)
    before: list[tuple[Item, Box]] = field(default_factory=list)
    after: list[tuple[Item, Box]] = field(default_factory=list)
    number: int = 0
    y: float = 0.0

    def port(self, source: Box) -> float:
        """How far down a wire of this source begins or ends."""
        return self.ports.get(source, self.middle)

    def place(self, source: Box) -> float:
        """Where that is in the column, counted in items."""
        return self.number + self.port(source) / self.height

    def barycentre(self, neighbours: Sequence[tuple[Item, Box]]) -> float:
        """The mean place of neighbours in a column beside it; its own, if it has none there."""
        return fmean(item.place(source) for item, source in neighbours) if neighbours else self.number

    def move(self, x: float, y: float) -> None:
        """Move the box and those above it, which stand at their places in this item, by x and y."""
        for box in () if self.box is None else (self.box, *self.box.above):
            box.x, box.y = box.x + x, box.y + y

    def route(self, wire: Wire) -> list[tuple[float, float]]:
        """The points of a wire inside of it: none, but in a group."""
        return []


Pulls: TypeAlias = dict[Item, list[tuple[Item, float, float]]]  # to which neighbours, how much lower, a weight


def rank(items: Sequence[Item], links: Iterable[tuple[Item, Item]]) -> None:
    """Put each item one column to the right of what it needs; what needs nothing just before its first use."""
    targets: dict[Item, list[Item]] = {item: [] for item in items}
    for source, target in links:
        targets[source].append(target)
    for item in items:  # no link goes back in this order
        for target in targets[item]:
            target.rank = max(target.rank, item.rank + 1)
    needy = {target for near in targets.values() for target in near}
    for item in items:
        if targets[item] and item not in needy:
            item.rank = min(target.rank for target in targets[item]) - 1


def join(chain: Sequence[Item], source: Box) -> None:
    """Make neighbours of what a wire of this source connects, and passes on its way."""
    for a, b in pairwise(chain):
        if (b, source) not in a.after:
            a.after.append((b, source))
            b.before.append((a, source))


def order(columns: list[list[Item]]) -> list[list[Item]]:
    """The columns in an order in which few wires cross: each sorted by the mean place of its neighbours, to and fro."""
    _number(columns)
    orders = [[*map(list, columns)]]
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        for column in columns[1:] if forward else columns[-2::-1]:
            column.sort(key=lambda item: item.barycentre(item.before if forward else item.after))
            _number([column])
        orders.append([*map(list, columns)])
    return min(orders, key=_crossings)


def _number(columns: Sequence[Sequence[Item]]) -> None:
    for column in columns:
        for n, item in enumerate(column):
            item.number = n


def _crossings(columns: Sequence[Sequence[Item]]) -> int:
    _number(columns)
    count = 0
    for column in columns:
        ends = [(item.place(source), x.place(source)) for item in column for x, source in item.after]
        count += sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for n, a in enumerate(ends) for b in ends[:n])
    return count


def straighten(columns: Sequence[Sequence[Item]], row_of: Sequence[int]) -> None:
    """Stack the items of each column, as near as their order allows to where the wires inside of a row are straight."""
    pulls: Pulls = {}
    for column in columns:
        y = -sum(item.height + ROW_GAP for item in column) / 2
        for item in column:
            item.y, y = y, y + item.height + ROW_GAP
            pulls[item] = [
                (x, x.port(source) - item.port(source), 4.0 if x.box is None or item.box is None else 2.0)
                for x, source in (*item.before, *item.after)
                if row_of[x.rank] == row_of[item.rank]
            ]
    for _ in range(3 * SWEEPS):
        if max(_settle(column, pulls) for column in (*columns, *reversed(columns))) < STILL:
            break


def _settle(column: Sequence[Item], pulls: Pulls) -> float:
    """Move each item, or a block that would overlap, to the mean of where its wires pull it; the longest move."""
    # Pool adjacent violators: whoever would overlap the block above joins it, at the mean of both.
    blocks: list[tuple[float, float, int]] = []  # where it begins without what stands above it, weight, items
    tops, top = [], 0.0
    for item in column:
        weight = sum(weight for *_, weight in pulls[item])
        pulled = sum((x.y + lower) * weight for x, lower, weight in pulls[item]) / weight if weight else item.y
        blocks.append((pulled - top, weight or 0.1, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (mean, weight, count), (other, heavy, more) = blocks[-2:]
            blocks[-2:] = [((mean * weight + other * heavy) / (weight + heavy), weight + heavy, count + more)]
        tops.append(top)
        top += item.height + ROW_GAP
    starts = [mean for mean, _, count in blocks for _ in range(count)]
    farthest = 0.0
    for item, start, top in zip(column, starts, tops, strict=True):
        farthest, item.y = max(farthest, abs(item.y - start - top)), start + top
    return farthest
