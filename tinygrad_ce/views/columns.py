"""The columns of a layout: what stands in each, in an order in which few wires cross."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tinygrad_ce.views.boxes import DROP, Box, Wire

LANE = 10.0  # the height of a place where an edge passes
SWEEPS = 12


@dataclass(eq=False)
class Item:
    """What stands in a column: a box with what is above it, a group, or a lane of an edge."""

    width: float
    height: float
    box: Box | None = None
    ports: dict[Box, float] = field(default_factory=dict)  # how far down an edge of this source enters or leaves
    default_port: float = 0.0
    rank: int = 0
    y: float = 0.0
    before: list[tuple[Item, Box]] = field(default_factory=list)
    after: list[tuple[Item, Box]] = field(default_factory=list)

    def port(self, source: Box) -> float:
        """How far down an edge of this source enters or leaves."""
        return self.ports.get(source, self.default_port)


class Columns:
    """The columns of one group: its items, the wires between them, and those that come in or go out.

    inner: by the id of each group inside, what has placed that one.
    """

    def __init__(self, children: Sequence[Box], inner: Mapping[int, Columns], wires: Sequence[Wire]) -> None:
        self.inner = inner
        self.item_of: dict[int, Item] = {}  # by the id of each box inside, the item that holds it
        self.items = [self._item(child) for child in children]
        self.entries: dict[Box, Item] = {}
        self.exits: dict[Box, Item] = {}
        self.lanes: dict[tuple[int, int, int], list[Item]] = {}
        self.trunks: dict[tuple[int, int], Item] = {}
        self._rank(wires)
        self._connect(wires)
        self._order()

    def _item(self, child: Box) -> Item:
        if id(child) in self.inner:
            level = self.inner[id(child)]
            item = Item(child.width, child.height, child)
            for ports in (level.entries, level.exits):
                item.ports |= {source: port.y + port.height / 2 for source, port in ports.items()}
            for held in level.item_of:
                self.item_of[held] = item
            return item
        above = child.height_above
        item = Item(max(child.width, child.width_above), above + child.height, child)
        item.default_port = above + child.height / 2
        for box in child.above:
            item.ports[box] = above - DROP - box.lift - box.height / 2
        for box in (child, *child.above):
            self.item_of[id(box)] = item
        return item

    def _ends(self, wires: Iterable[Wire]) -> Iterable[tuple[Wire, Item | None, Item | None]]:
        for wire in wires:
            source, target = self.item_of.get(id(wire.source)), self.item_of.get(id(wire.target))
            if (source is not None or target is not None) and source is not target:
                yield wire, source, target

    def _rank(self, wires: Sequence[Wire]) -> None:
        """Each item one column to the right of what it needs; what needs nothing just before its first use."""
        for _ in self.items:
            moved = False
            for _, source, target in self._ends(wires):
                if source is not None and target is not None and target.rank <= source.rank:
                    target.rank, moved = source.rank + 1, True
            if not moved:
                break
        inside = [(a, b) for _, a, b in self._ends(wires) if a is not None and b is not None]
        fed = {id(target) for _, target in inside}
        first: dict[int, int] = {}
        for source, target in inside:
            first[id(source)] = min(target.rank, first.get(id(source), target.rank))
        for item in self.items:
            if id(item) in first and id(item) not in fed:
                item.rank = first[id(item)] - 1
        self.last = max((item.rank for item in self.items), default=0)

    def _connect(self, wires: Sequence[Wire]) -> None:
        """Chains of lanes along every wire, through each column that it passes."""
        self.all = list(self.items)
        for wire, source, target in self._ends(wires):
            start, end = source, target
            if start is None:
                start = self._end(self.entries, wire.source, -1)
            if end is None:
                end = self._end(self.exits, wire.source, self.last + 1)
            key = (id(wire.source), id(start), id(end))
            if key in self.lanes:
                continue
            chain = [self._lane(wire.source, rank) for rank in range(start.rank + 1, end.rank)]
            for a, b in pairwise([start, *chain, end]):
                self._join(a, b, wire.source)
            self.lanes[key] = chain

    def _lane(self, source: Box, rank: int) -> Item:
        """Where the wires of one source pass a column: all in one lane, from which they branch off."""
        key = (id(source), rank)
        if key not in self.trunks:
            self.trunks[key] = Item(0.0, LANE, rank=rank, default_port=LANE / 2)
            self.all.append(self.trunks[key])
        return self.trunks[key]

    def _end(self, ends: dict[Box, Item], source: Box, rank: int) -> Item:
        if source not in ends:
            ends[source] = Item(0.0, LANE, rank=rank, default_port=LANE / 2)
            self.all.append(ends[source])
        return ends[source]

    @staticmethod
    def _join(a: Item, b: Item, source: Box) -> None:
        if (b, source) not in a.after:
            a.after.append((b, source))
            b.before.append((a, source))

    def _order(self) -> None:
        """The order in each column, by the mean position of the neighbours (the barycentre method)."""
        ranks = range(-1, self.last + 2)
        self.columns = {rank: [item for item in self.all if item.rank == rank] for rank in ranks}
        best, fewest = self._copied(), self._crossings()
        for sweep in range(SWEEPS if fewest else 0):
            down = sweep % 2 == 0
            for rank in ranks if down else reversed(ranks):
                self._sort(rank, down)
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = self._copied(), crossings
        self.columns = best

    def _copied(self) -> dict[int, list[Item]]:
        return {rank: list(column) for rank, column in self.columns.items()}

    def _sort(self, rank: int, down: bool) -> None:
        neighbours = self.columns.get(rank - 1 if down else rank + 1, [])
        at = {id(item): n for n, item in enumerate(neighbours)}
        column = self.columns[rank]
        own = {id(item): float(n) for n, item in enumerate(column)}

        def centre(item: Item) -> float:
            near = item.before if down else item.after
            found = [at[id(x)] + x.port(s) / max(x.height, 1) for x, s in near if id(x) in at]
            return sum(found) / len(found) if found else own[id(item)]

        column.sort(key=centre)

    def _crossings(self) -> int:
        count = 0
        for rank, column in self.columns.items():
            following = {id(item): n for n, item in enumerate(self.columns.get(rank + 1, []))}
            ends = [
                (n + item.port(source) / max(item.height, 1), following[id(x)] + x.port(source) / max(x.height, 1))
                for n, item in enumerate(column)
                for x, source in item.after
                if id(x) in following
            ]
            count += sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for n, a in enumerate(ends) for b in ends[:n])
        return count
