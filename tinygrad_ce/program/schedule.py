"""The schedule of a program: which nodes are kept in memory, what fills them, and which loops become one.

Element-by-element operations are not kept, they stand inside the loops that need them; sums run in the loops that
make what they add; matrix products, losses and results are kept. Every buffer is one row of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

from tinygrad_ce.program.abstract import CannotLower, Node, in_order
from tinygrad_ce.program.fill import fill
from tinygrad_ce.program.ir import Function
from tinygrad_ce.program.lowering import Nodes, lowered_to_nodes, nodes_in
from tinygrad_ce.program.numpy_functions import COMPARING, OF_MATH, TRANSCENDENTAL
from tinygrad_ce.program.statements import Buffer, Loop, Schedule, Statement, identity, is_transposed

MATERIALIZED_KINDS = {"reduce", "matmul", "scatter_add", "concatenate", "loss", "slope", "kernel"}
COST = {**dict.fromkeys(TRANSCENDENTAL | OF_MATH, 10), "divide": 4, "sqrt": 4}  # of an element; all others cost 1
MAX_EXPRESSION_COST = 100  # a longer expression would not be read, and Python would not parse it
RECOMPUTE_BELOW = 8  # the cost of an element from which on it is rather read from memory twice than computed twice


def schedule(function: Function, batched: bool = False) -> tuple[Schedule, list[Loop]]:
    """Which statements fill which buffers, and the loops in which they run. CannotLower if an operation has none."""
    nodes = lowered_to_nodes(function, batched)
    plan = _planned(Schedule(function, nodes, batched, set()))
    while hazards := write_after_read_hazards(plan):
        plan = _planned(Schedule(function, nodes, batched, plan.out_of_place | hazards))
    return plan, fused(plan.statements)


# ---- which nodes are kept in memory


def materialized(nodes: Nodes) -> set[Node]:
    """The nodes that get a buffer."""
    ordered, uses = nodes.in_order(), nodes.uses()
    kept = nodes.answers() | {x for node in ordered for x in _read_from_memory(node)}
    kept |= {node for node in ordered if node.kind in MATERIALIZED_KINDS}
    repeated = {node.inputs[0] for node in ordered if node.kind == "view" and node.size > node.inputs[0].size}
    # What is compared is computed once: computed again, with other instructions around it, its last bit may differ.
    compared = {x for node in ordered if _compares(node) for x in nodes_in(node.inputs)}
    compared |= {x.inputs[0] for x in compared if x.kind == "view"}
    kept |= {x for x in compared if x.kind == "map" and uses[x] > 1}
    cost: dict[Node, int] = {}
    for node in ordered:
        own = COST.get(node.detail, 1) if node.kind == "map" else int(node.kind == "gather")
        cost[node] = own + sum(0 if x in kept else cost[x] for x in nodes_in(node.inputs))
        often = (uses[node] > 1 and cost[node] >= RECOMPUTE_BELOW) or (node in repeated and cost[node] > 1)
        if node.kind in ("map", "gather") and (often or cost[node] > MAX_EXPRESSION_COST):
            kept.add(node)
    kept |= {node for node in ordered if node.kind in ("input", "reshape", "constant")}
    return kept | {node.inputs[0] for node in kept if in_order(node)}


def _read_from_memory(node: Node) -> list[Node]:
    """The inputs that an operation can only read from memory."""
    if node.kind == "matmul":
        return [x.inputs[0] if is_transposed(x) else x for x in node.inputs[:2]] + [*node.inputs[2:]]
    if node.kind in ("loss", "slope", "reshape", "kernel"):
        return [*node.inputs]
    return [node.inputs[0]] if node.kind == "gather" else []


def _compares(node: Node) -> bool:
    """Whether equal numbers matter to it."""
    return (node.kind == "map" and node.detail in COMPARING) or (node.kind == "reduce" and node.detail[0] != "sum")


# ---- statements


def _planned(plan: Schedule) -> Schedule:
    """The statements that fill every buffer, in an order in which each finds what it reads."""
    ordered, kept = plan.nodes.in_order(), materialized(plan.nodes)
    updates = {plan.nodes.of(new): old for old, new in plan.function.updates.items()}
    last: set[Node] = set()  # updates and what needs them come last
    for node in ordered:
        if node in updates or any(x in last for x in node.inputs):
            last.add(node)
    slopes = [node for node in ordered if node.kind == "slope"]
    for node in sorted(ordered, key=lambda node: node in last):
        if node in kept and node not in plan.of_node:
            try:
                fill(plan, node, updates.get(node), node in last, slopes)
            except CannotLower as error:
                raise error.located(node.source) from None
    for name, value in plan.function.outputs.items():
        _answer(plan, name, plan.nodes.of(value))
    for old, new in plan.function.updates.items():
        home, source = plan.of_node[plan.nodes.of(old)], plan.nodes.of(new)
        if plan.of_node[source] is not home:
            plan.add(_copy(source, home, is_update=True))
    return plan


def _answer(plan: Schedule, name: str, node: Node) -> None:
    """Where an output lies: of what will be overwritten by an update a copy is made first."""
    origin = node
    while origin.kind == "reshape" or in_order(origin):
        origin = origin.inputs[0]
    plan.answers[name] = plan.of_node[node]
    if origin.kind == "input" and plan.of_node[node].role == "state":
        plan.answers[name] = plan.buffer(name, origin.shape, node.dtype, "temporary")
        plan.add(_copy(origin, plan.answers[name]), first=True)


def _copy(source: Node, target: Buffer, is_update: bool = False) -> Statement:
    here = identity(source.shape)
    return Statement(source, target, source.shape, here, "map", reads={source: {here}}, is_update=is_update)


def write_after_read_hazards(plan: Schedule) -> set[Node]:
    """Updates after which somebody still reads the old value (or somebody else's element of it)."""
    hazards: set[Node] = set()
    for k, s in enumerate(plan.statements):
        for old, new in plan.function.updates.items():
            state, node = plan.nodes.of(old), plan.nodes.of(new)
            home = plan.of_node[state]
            if state not in s.reads or plan.of_node.get(node) is not home or node is state:
                continue
            writer = next(n for n, w in enumerate(plan.statements) if w.node is node and w.target is home)
            beside = s.reads[state] != {identity(state.shape)}
            if writer < k or (writer == k and beside):
                hazards.add(node)
    return hazards


# ---- fusion


def fused(statements: Iterable[Statement]) -> list[Loop]:
    """The statements in as few nests of loops as possible."""
    loops: list[Loop] = []
    written: dict[Buffer, int] = {}  # the last loop that writes a buffer, and that touches it
    touched: dict[Buffer, int] = {}
    for s in statements:
        start = max([0, *(written.get(b, 0) for b in s.touched), *(touched.get(b, 0) for b in s.writes)])
        homes = (k for k in range(start, len(loops)) if s.kind != "call" and _can_join(s, loops[k]))
        home = next(homes, len(loops))
        if home == len(loops):
            loops.append(Loop(s.domain, [], s.is_update))
        loops[home].statements.append(s)
        written |= {b: max(home, written.get(b, 0)) for b in s.writes}
        touched |= {b: max(home, touched.get(b, 0)) for b in s.touched}
    return loops


def _can_join(s: Statement, loop: Loop) -> bool:
    """Whether the statement can run inside the loop, element by element with what is there."""
    if loop.is_call or loop.domain != s.domain or loop.is_update != s.is_update or not s.domain:
        return False
    return not any(_is_hindered(s, other) for other in loop.statements)


def _is_hindered(s: Statement, other: Statement) -> bool:
    """Whether one of two statements needs another element of the other's result than the one just computed."""
    here = {identity(s.domain)}
    if "scatter_add" in (s.kind, other.kind) or other.writes & s.writes:
        return True
    for node, places in s.reads.items():
        is_last = other.node is node and other.kind != "reduce" and places == here
        if s.sources[node] in other.writes and not is_last:
            return True
    return any(
        other.sources[node] in s.writes and (s.kind == "reduce" or places != here)
        for node, places in other.reads.items()
    )
