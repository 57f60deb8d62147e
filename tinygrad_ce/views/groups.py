"""What belongs together in a graph: calls of modules, the rounds of a loop, and stretches of what is too long."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tinygrad_ce.graph.nodes import Graph, Node
from tinygrad_ce.report.words import cut
from tinygrad_ce.source_lines import CallSite

MOST = 24  # children of a group before they are bundled
MOST_HELD = 38  # cards of a bundle of small groups, so that it can show them opened
SMALL = 8  # children of such a group
LONGEST_TITLE = 28  # of a module, in letters
ROUND = 3  # operations in each round of a loop that is a group
SHORT_ROUND, MANY = 2, 8  # or fewer, where there are that many rounds


@dataclass(eq=False)
class Group:
    """Some nodes of a graph, and groups of such.

    kind: "graph" for the outermost, "module", "step" for one round of a loop, or "bundle" for neighbours that have
    only their number in common. children: in an order in which no edge goes back. number: its place in `groups`.
    """

    title: str
    kind: str
    parent: Group | None = None
    children: list[Node | Group] = field(default_factory=list)
    number: int = 0

    @property
    def nodes(self) -> Iterator[Node]:
        """All nodes in it, and in the groups that it holds."""
        for child in self.children:
            if isinstance(child, Group):
                yield from child.nodes
            else:
                yield child

    @property
    def groups(self) -> Iterator[Group]:
        """Itself, and all groups that it holds, each after the one around it."""
        yield self
        for child in self.children:
            if isinstance(child, Group):
                yield from child.groups

    @property
    def operations(self) -> int:
        """How many results it holds."""
        return sum(node.kind == "result" for node in self.nodes)

    @property
    def cards(self) -> int:
        """How many cards show what it holds; a group of one operation is not folded."""
        groups = [child for child in self.children if isinstance(child, Group)]
        return len(self.children) + sum(group.cards - 1 for group in groups if group.operations == 1)


def grouped(graph: Graph, bundled: bool = False) -> Group:
    """The groups of a graph: each call of a module, and each round of a loop that has a few operations.

    A round begins where a line of code is run again. bundled: no group has more than about 24 children.
    """
    top = Group(graph.loss.name, "graph")
    _fill(top, [node for node in graph.nodes if node.kind == "result"], 0)
    home = {node: group for group in top.groups for node in group.children if isinstance(node, Node)}
    places: dict[Group, dict[Node | Group, list[Node]]] = {}
    for node in graph.nodes:
        if node.kind != "result":  # it stands before what uses it first
            group, before = _beside_first_use(node, home)
            places.setdefault(group, {}).setdefault(before, []).append(node)
    for group, added in places.items():
        group.children = [x for child in group.children for x in (*added.get(child, ()), child)]
    if bundled:
        for group in list(top.groups):
            _number_those_alike([child for child in group.children if isinstance(child, Group)])
            _bundle(group)
    for number, group in enumerate(top.groups):
        group.number = number
    return top


def _fill(group: Group, results: Sequence[Node], depth: int) -> None:
    """Put results into a group: those of one call of a module into a group of their own, and rounds of a loop."""
    calls: dict[int, tuple[CallSite, list[Node]]] = {}
    items: list[tuple[Hashable, Node | int]] = []
    for node in results:
        if len(node.modules) <= depth:
            items.append((_code_of(node), node))
            continue
        call = node.modules[depth]
        if id(call) not in calls:
            calls[id(call)] = call, []
            items.append(((_title(call[0]), *call[3:]), id(call)))
        calls[id(call)][1].append(node)
    sizes = [1 if isinstance(item, Node) else len(calls[item][1]) for _, item in items]
    for title, stretch in _rounds([key for key, _ in items], sizes):
        holder = group
        if title:
            holder = Group(title, "step", group)
            group.children.append(holder)
        for _, item in items[stretch]:
            if isinstance(item, Node):
                holder.children.append(item)
                continue
            call, inside = calls[item]
            module = Group(_title(call[0]), "module", holder)
            holder.children.append(module)
            _fill(module, inside, depth + 1)


def _code_of(node: Node) -> Hashable:
    """Where in a program the code of an operation stands; of what a layer of ours does, nobody asks."""
    site = node.tensor.note if node.tensor is not None else None
    return id(node) if site is None or site[3] is None or site[2] else (site[3], site[4])


def _rounds(keys: Sequence[Hashable], sizes: Sequence[int]) -> list[tuple[str, slice]]:
    """Stretches of what is done one after the other; those that are rounds of a loop have a title."""
    count = Counter(keys)
    again = [n for n, key in enumerate(keys) if count[key] > 1]
    starts: list[int] = []
    known: set[Hashable] = set()
    for n in range(again[0], again[-1] + 1) if again else ():
        if not starts or keys[n] in known:
            starts.append(n)
            known.clear()
        known.add(keys[n])
    whole = [("", slice(0, len(keys)))]
    if len(starts) < 2:
        return whole
    mean = sum(sizes[again[0] : again[-1] + 1]) / len(starts)
    alone = len(starts) > again[-1] - again[0]  # each round is one call, which is a group already
    if alone or (mean < ROUND and (mean < SHORT_ROUND or len(starts) < MANY)):
        return whole
    bounds = [*starts, again[-1] + 1]
    rounds = [(f"step {n} of {len(starts)}", slice(*ends)) for n, ends in enumerate(pairwise(bounds), start=1)]
    return [("", slice(0, bounds[0])), *rounds, ("", slice(bounds[-1], len(keys)))]


def _beside_first_use(node: Node, home: dict[Node, Group]) -> tuple[Group, Node | Group]:
    """The group of what went in, and the child before which it stands: data in their round, outside of modules."""
    target = node.uses[0].target
    path: list[Node | Group] = [target]
    around: Group | None = home[target]
    while around is not None:
        path.append(around)
        around = around.parent
    kinds = [x.kind for x in path]
    place = 1
    if node.kind == "data":
        place = kinds.index("step") if "step" in kinds else len(path) - 1
    group = path[place]
    assert isinstance(group, Group)
    return group, path[place - 1]


def _bundle(group: Group) -> None:
    """Bundle the children of a group that has too many of them: as many in each as can be seen at once."""
    children = group.children
    if len(children) <= MOST:
        return
    cards = sum(child.cards if isinstance(child, Group) else 1 for child in children)
    number = -(-len(children) // MOST)
    if cards <= SMALL * len(children):
        number = max(number, -(-cards // MOST_HELD))
    number = min(number, MOST)
    bounds = [len(children) * n // number for n in range(number + 1)]
    group.children = []
    for start, end in pairwise(bounds):
        held = children[start:end]
        bundle = Group(_joint_title(held), "bundle", group, held)
        for child in held:
            if isinstance(child, Group):
                child.parent = bundle
        group.children.append(bundle)
        _bundle(bundle)
    _number_those_alike([child for child in group.children if isinstance(child, Group)])


def _number_those_alike(groups: Sequence[Group]) -> None:
    """Tell repeated blocks, and bundles of the same modules, apart by a number; one operation has a name already."""
    count, known = Counter(group.title for group in groups), Counter[str]()
    for group in groups:
        title = group.title
        known[title] += 1
        if count[title] > 1 and group.operations > 1:
            group.title = f"{title}, {known[title]} of {count[title]}"


def _joint_title(children: Sequence[Node | Group]) -> str:
    """What a bundle is called: "steps 23 to 45", or after its first and its last child."""
    first, last = children[0], children[-1]
    names = [child.title if isinstance(child, Group) else child.name for child in (first, last)]
    if all(isinstance(child, Group) and child.kind == "step" for child in (first, last)):
        numbers = [name.split()[1] for name in names]  # "step 23 of 250"
        return f"steps {numbers[0]} to {numbers[1]}"
    numbered = [re.fullmatch(r"(.*), (\d+) of \d+", name) for name in names]
    if numbered[0] and numbered[1] and numbered[0][1] == numbered[1][1]:
        return f"{numbered[0][1]} {numbered[0][2]} to {numbered[1][2]}"
    return f"{cut(names[0], 8)} … {cut(names[1], 8)}" if names[0] != names[1] else names[0]


def _title(module: Any) -> str:
    """What a module is called in its box: as it was written, if that is short."""
    text = repr(module)
    return text if len(text) <= LONGEST_TITLE and not text.startswith("<") else type(module).__name__
