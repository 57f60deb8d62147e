"""What belongs together in a graph: calls of modules, the rounds of a loop, and stretches of what is too long."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tinygrad_ce.graph.nodes import Graph, Node
from tinygrad_ce.report.words import cut

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
    def inner(self) -> list[Group]:
        """The groups that it holds itself."""
        return [child for child in self.children if isinstance(child, Group)]

    @property
    def groups(self) -> Iterator[Group]:
        """Itself, and all groups that it holds, each after the one around it."""
        yield self
        for group in self.inner:
            yield from group.groups

    @property
    def nodes(self) -> Iterator[Node]:
        """All nodes in it, and in the groups that it holds."""
        for child in self.children:
            yield from child.nodes if isinstance(child, Group) else (child,)

    @property
    def results(self) -> list[Node]:
        """The operations in it."""
        return [node for node in self.nodes if node.kind == "result"]

    @property
    def output(self) -> Node:
        """The last of its results that is used outside; the last of all, if none is."""
        inside = set(self.nodes)
        leaving = [node for node in self.results if any(edge.target not in inside for edge in node.uses)]
        return (leaving or self.results)[-1]

    @property
    def cards(self) -> int:
        """How many cards show what it holds; a group of one operation is not folded."""
        return len(self.children) + sum(group.cards - 1 for group in self.inner if len(group.results) == 1)

    def add(self, title: str, kind: str) -> Group:
        """A new group at its end."""
        group = Group(title, kind, self)
        self.children.append(group)
        return group


def grouped(graph: Graph, bundled: bool = False) -> Group:
    """The groups of a graph: each call of a module, and each round of a loop that has a few operations.

    A round begins where a line of code is run again. bundled: no group has more than about 24 children.
    """
    top = Group(graph.loss.name, "graph")
    _fill(top, [node for node in graph.nodes if node.kind == "result"], 0)
    home = {node: group for group in top.groups for node in group.children if isinstance(node, Node)}
    for node in graph.nodes:
        if node.kind != "result":  # it stands before what uses it first: data in their round, outside of modules
            user: Node | Group = node.uses[0].target
            group = home[node.uses[0].target]
            while node.kind == "data" and group.parent is not None and group.kind != "step":
                user, group = group, group.parent
            group.children.insert(group.children.index(user), node)
    if bundled:
        for group in list(top.groups):
            _number_those_alike(group.inner)
            _bundle(group)
    for number, group in enumerate(top.groups):
        group.number = number
    return top


def _fill(group: Group, results: Sequence[Node], depth: int) -> None:
    """Put results into a group: those of one call of a module into a group of their own, and rounds of a loop."""
    items: dict[int, list[Node]] = defaultdict(list)  # by the call of a module, or else by the operation
    for node in results:
        items[id(node.modules[depth] if len(node.modules) > depth else node)].append(node)
    for title, stretch in _rounds([*items.values()], depth):
        holder = group.add(title, "step") if title else group
        for nodes in stretch:
            if len(nodes[0].modules) > depth:
                _fill(holder.add(_title(nodes[0].modules[depth][0]), "module"), nodes, depth + 1)
            else:
                holder.children += nodes


def _code_of(node: Node, depth: int) -> Hashable:
    """Where in a program the code of a call or of an operation stands; of what a layer of ours does, nobody asks."""
    if len(node.modules) > depth:
        module, _, _, *place = node.modules[depth]
        return _title(module), *place
    site = node.tensor.note if node.tensor is not None else None
    return id(node) if site is None or site[3] is None or site[2] else (site[3], site[4])


def _rounds(items: list[list[Node]], depth: int) -> list[tuple[str, list[list[Node]]]]:
    """Stretches of what is done one after the other; those that are rounds of a loop have a title."""
    codes = [_code_of(nodes[0], depth) for nodes in items]
    count = Counter(codes)
    again = [n for n, code in enumerate(codes) if count[code] > 1]
    if not again:
        return [("", items)]
    end, starts, known = again[-1] + 1, again[:1], set[Hashable]()
    for n in range(again[0], end):
        if codes[n] in known:
            starts.append(n)
            known.clear()
        known.add(codes[n])
    operations = sum(map(len, items[starts[0] : end]))
    alone = len(starts) == end - starts[0]  # each round is one call, which is a group already
    if alone or operations < len(starts) * (SHORT_ROUND if len(starts) >= MANY else ROUND):
        return [("", items)]
    ends = enumerate(pairwise([*starts, end]), start=1)
    rounds = [(f"step {n} of {len(starts)}", items[start:stop]) for n, (start, stop) in ends]
    return [("", items[: starts[0]]), *rounds, ("", items[end:])]


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
    group.children = []
    for start, end in pairwise(len(children) * n // number for n in range(number + 1)):
        bundle = group.add(_joint_title(children[start:end]), "bundle")
        bundle.children = children[start:end]
        for child in bundle.inner:
            child.parent = bundle
        _bundle(bundle)
    _number_those_alike(group.inner)


def _number_those_alike(groups: Sequence[Group]) -> None:
    """Tell repeated blocks, and bundles of the same modules, apart by a number; one operation has a name already."""
    count, known = Counter(group.title for group in groups), Counter[str]()
    for group in groups:
        title = group.title
        known[title] += 1
        if count[title] > 1 and len(group.results) > 1:
            group.title = f"{title}, {known[title]} of {count[title]}"


def _joint_title(children: Sequence[Node | Group]) -> str:
    """What a bundle is called: "steps 23 to 45", or after its first and its last child."""
    first, last = (child.title if isinstance(child, Group) else child.name for child in (children[0], children[-1]))
    a, b = (re.fullmatch(r"(.*?),? (\d+) of \d+", title) for title in (first, last))
    if a and b and a[1] == b[1]:
        return f"{'steps' if a[1] == 'step' else a[1]} {a[2]} to {b[2]}"
    return f"{cut(first, 8)} … {cut(last, 8)}" if first != last else first


def _title(module: Any) -> str:
    """What a module is called in its box: as it was written, if that is short."""
    text = repr(module)
    return text if len(text) <= LONGEST_TITLE and not text.startswith("<") else type(module).__name__
